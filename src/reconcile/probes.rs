//! The reconciler's plain HTTP listener: health, readiness, metrics, and notifications of pushes.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::receiver::{Notified, Receiver};
use crate::telemetry::encode;

/// A notification of a push; hosting services send some kilobytes.
const LARGEST_NOTIFICATION: usize = 1024 * 1024;

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    ready: watch::Receiver<bool>,
    receiver: Receiver,
    stop: CancellationToken,
) {
    let state = Arc::new((registry, ready, receiver));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(request, &state.0, &state.1, &state.2).await) }
            });
            let server = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "probe connection");
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    registry: &Registry,
    ready: &watch::Receiver<bool>,
    receiver: &Receiver,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    match (request.method(), path.as_str()) {
        (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") if *ready.borrow() => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the first round is not done: see the log\n")
        }
        (&Method::GET, "/metrics") => match encode(registry) {
            Ok(metrics) => text(StatusCode::OK, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        (&Method::POST, path) if path.starts_with("/notify/") => {
            let enforcement = path.trim_start_matches("/notify/").to_owned();
            let signature =
                request.headers().get("x-hub-signature-256").and_then(|v| v.to_str().ok()).map(str::to_owned);
            let body = Limited::new(request.into_body(), LARGEST_NOTIFICATION).collect().await;
            let Ok(body) = body else { return text(StatusCode::PAYLOAD_TOO_LARGE, "the notification is too large\n") };
            match receiver.notify(&enforcement, signature.as_deref(), &body.to_bytes()) {
                Notified::Accepted => text(StatusCode::ACCEPTED, "fetching\n"),
                Notified::UnknownSource => text(StatusCode::NOT_FOUND, "no Enforcement has this name\n"),
                Notified::BadSignature => text(StatusCode::UNAUTHORIZED, "X-Hub-Signature-256 is missing or wrong\n"),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz, /metrics or POST /notify/<enforcement>\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
