//! TLS connections from the API server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::places::{PLACES, PLACES_OF_ADDRESS, Places};
use super::reviews::Reviews;
use crate::telemetry::ConnectionMetrics;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Tells apart an API server that is silent from one that is gone.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Longer than any review lasts: the body's arrival, the wait for a snapshot, the answer.
const LAST_REQUESTS: Duration = Duration::from_secs(15);
/// After a failed accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// As many requests as an API server has in flight by default, and more, go through one connection.
const STREAMS: u32 = 1000;
const STREAM_WINDOW: u32 = 256 << 10;
/// What one connection may have sent that nobody has read yet.
const CONNECTION_WINDOW: u32 = 2 << 20;

/// Serves reviews on one listener.
#[derive(Debug)]
pub struct HttpsServer {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    reviews: Arc<Reviews>,
    metrics: ConnectionMetrics,
}

impl HttpsServer {
    pub fn new(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        reviews: Arc<Reviews>,
        metrics: ConnectionMetrics,
    ) -> Self {
        Self { listener, tls, reviews, metrics }
    }

    /// Serves until it is told to stop, then finishes what has begun, within a bound.
    pub async fn serve(self, stop: CancellationToken) {
        let acceptor = TlsAcceptor::from(self.tls);
        let graceful = GracefulShutdown::new();
        let http = http();
        let mut places = Places::new(PLACES, PLACES_OF_ADDRESS, self.metrics.open.clone());
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(place) = places.take(peer.ip().to_canonical()) else {
                self.metrics.refused.inc();
                tracing::debug!(%peer, "a connection is refused: too many are open");
                continue;
            };
            let connection =
                connection(stream, acceptor.clone(), http.clone(), Arc::clone(&self.reviews), graceful.watcher());
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended");
                }
                drop(place);
            });
        }
        drop(self.listener);
        if tokio::time::timeout(LAST_REQUESTS, graceful.shutdown()).await.is_err() {
            tracing::warn!("connections were still open after {} s and are cut", LAST_REQUESTS.as_secs());
        }
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    http
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("the TLS handshake took longer than {} s", HANDSHAKE_TIMEOUT.as_secs())]
    SlowHandshake,
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("{0}")]
    Http(Box<dyn std::error::Error + Send + Sync>),
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    http: auto::Builder<TokioExecutor>,
    reviews: Arc<Reviews>,
    watcher: Watcher,
) -> Result<(), ConnectionError> {
    // Answers are small and awaited: never hold one back to fill a packet.
    stream.set_nodelay(true).map_err(ConnectionError::Handshake)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream))
        .await
        .map_err(|_| ConnectionError::SlowHandshake)?
        .map_err(ConnectionError::Handshake)?;
    let service = service_fn(move |request| {
        let reviews = Arc::clone(&reviews);
        async move { Ok::<_, std::convert::Infallible>(reviews.answer(request).await) }
    });
    watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await.map_err(ConnectionError::Http)
}
