//! What the reconciler answers in plain HTTP: health, readiness, metrics, and notifications of pushes.

use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::{Method, Request, Response, StatusCode};
use prometheus::Registry;
use tokio::sync::watch;

use super::receiver::{Notified, Receiver};
use crate::http::respond;

/// A notification of a push; hosting services send some kilobytes.
const LARGEST_NOTIFICATION: usize = 1024 * 1024;
const NOTIFICATION_TIMEOUT: Duration = Duration::from_secs(10);

/// What probes are answered from.
pub struct Probes {
    registry: Registry,
    ready: watch::Receiver<bool>,
    receiver: Receiver,
}

impl Probes {
    pub fn new(registry: Registry, ready: watch::Receiver<bool>, receiver: Receiver) -> Self {
        Self { registry, ready, receiver }
    }

    /// Answers one request, whatever it asks.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path();
        if let Some(enforcement) = path.strip_prefix("/notify/") {
            let enforcement = enforcement.to_owned();
            return match *request.method() {
                Method::POST => self.notified(&enforcement, request).await,
                _ => respond::method_not_allowed("POST"),
            };
        }
        match path {
            "/healthz" | "/readyz" | "/metrics" if request.method() != Method::GET => {
                respond::method_not_allowed("GET")
            }
            "/healthz" => respond::text(StatusCode::OK, "ok"),
            "/readyz" if *self.ready.borrow() => respond::text(StatusCode::OK, "ok"),
            "/readyz" => respond::text(StatusCode::SERVICE_UNAVAILABLE, "the first round is not done: see the log"),
            "/metrics" => respond::metrics(&self.registry),
            _ => respond::text(
                StatusCode::NOT_FOUND,
                "there are /healthz, /readyz, /metrics and POST /notify/<enforcement>",
            ),
        }
    }

    async fn notified<B>(&self, enforcement: &str, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, LARGEST_NOTIFICATION).collect();
        let body = match tokio::time::timeout(NOTIFICATION_TIMEOUT, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                return respond::text(StatusCode::PAYLOAD_TOO_LARGE, "the notification is too large");
            }
            Ok(Err(error)) => return respond::text(StatusCode::BAD_REQUEST, error.to_string()),
            Err(_) => return respond::text(StatusCode::REQUEST_TIMEOUT, "the notification did not arrive in time"),
        };
        match self.receiver.notify(enforcement, &parts.headers, &body) {
            Notified::Accepted => respond::text(StatusCode::ACCEPTED, "fetching"),
            Notified::UnknownSource => respond::text(StatusCode::NOT_FOUND, "no Enforcement has this name"),
            Notified::NotProven => respond::text(
                StatusCode::UNAUTHORIZED,
                "the secret is not proven: X-Hub-Signature-256 or X-Gitlab-Token is missing or wrong",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes() -> (Probes, watch::Sender<bool>) {
        let (ready, seen) = watch::channel(false);
        let receiver = Receiver::default();
        receiver.bell("shop");
        (Probes::new(crate::telemetry::registry().unwrap(), seen, receiver), ready)
    }

    async fn ask(probes: &Probes, method: Method, path: &str) -> Response<Full<Bytes>> {
        let body = Full::new(Bytes::new());
        probes.answer(Request::builder().method(method).uri(path).body(body).unwrap()).await
    }

    #[tokio::test]
    async fn each_path_is_answered_as_what_it_is() {
        let (probes, ready) = probes();
        let cases = [
            (Method::GET, "/healthz", StatusCode::OK),
            (Method::GET, "/readyz", StatusCode::SERVICE_UNAVAILABLE),
            (Method::POST, "/readyz", StatusCode::METHOD_NOT_ALLOWED),
            (Method::POST, "/notify/shop", StatusCode::ACCEPTED),
            (Method::GET, "/notify/shop", StatusCode::METHOD_NOT_ALLOWED),
            (Method::POST, "/notify/notify/shop", StatusCode::NOT_FOUND),
            (Method::GET, "/", StatusCode::NOT_FOUND),
        ];
        for (method, path, status) in cases {
            assert_eq!(ask(&probes, method.clone(), path).await.status(), status, "{method} {path}");
        }
        ready.send_replace(true);
        assert_eq!(ask(&probes, Method::GET, "/readyz").await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_are_declared_as_the_text_format_of_prometheus() {
        let (probes, _ready) = probes();
        let response = ask(&probes, Method::GET, "/metrics").await;
        assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4");
    }

    #[tokio::test]
    async fn a_notification_has_a_greatest_size() {
        let (probes, _ready) = probes();
        let body = Full::new(Bytes::from(vec![b'x'; LARGEST_NOTIFICATION + 1]));
        let response = probes.answer(Request::post("/notify/shop").body(body).unwrap()).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
