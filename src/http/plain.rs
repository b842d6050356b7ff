//! A listener for probes, metrics and notifications. What it takes from outside is bounded in time, so that nobody can
//! hold its connections open by saying nothing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves plain HTTP on one listener.
#[derive(Debug)]
pub struct PlainServer {
    listener: TcpListener,
}

impl PlainServer {
    pub fn new(listener: TcpListener) -> Self {
        Self { listener }
    }

    /// Serves until it is told to stop; `answer` says what is answered to each request.
    pub async fn serve<F, R>(self, answer: F, stop: CancellationToken)
    where
        F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Full<Bytes>>> + Send,
    {
        let answer = Arc::new(answer);
        while let Some(accepted) = stop.run_until_cancelled(self.listener.accept()).await {
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (answer, stop) = (Arc::clone(&answer), stop.clone());
            tokio::spawn(async move {
                let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
                let connection = hyper::server::conn::http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // A client that went away is nobody's concern.
                let _ = stop.run_until_cancelled(connection).await;
            });
        }
    }
}
