//! Health, readiness, metrics, and which generation is served.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use prometheus::Registry;
use serde_json::json;

use super::self_test::SelfTestFailure;
use crate::http::respond;
use crate::snapshot::{Snapshot, SnapshotStore};
use crate::tls::ServingCertificate;

/// Nobody waits longer for a generation in one request.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Proves that decisions by this snapshot are what they should be.
pub type SelfTest = Box<dyn Fn(&Snapshot) -> Result<(), SelfTestFailure> + Send + Sync>;

/// What probes are answered from.
pub struct Probes {
    store: Arc<SnapshotStore>,
    certificate: Arc<ServingCertificate>,
    registry: Registry,
    self_test: SelfTest,
    draining: AtomicBool,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").field("draining", &self.draining).finish_non_exhaustive()
    }
}

impl Probes {
    pub fn new(
        store: Arc<SnapshotStore>,
        certificate: Arc<ServingCertificate>,
        registry: Registry,
        self_test: SelfTest,
    ) -> Self {
        Self { store, certificate, registry, self_test, draining: AtomicBool::new(false) }
    }

    /// From here on not ready: the endpoints forget this Pod while it still answers.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Answers one request, whatever it asks.
    pub async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            return respond::method_not_allowed("GET");
        }
        match request.uri().path() {
            "/healthz" => respond::text(StatusCode::OK, "ok"),
            "/readyz" => match self.ready() {
                Ok(()) => respond::text(StatusCode::OK, "ok"),
                Err(reason) => respond::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}")),
            },
            "/metrics" => respond::metrics(&self.registry),
            "/serving" => self.serving(request.uri().query().unwrap_or_default()).await,
            _ => respond::text(StatusCode::NOT_FOUND, "there are /healthz, /readyz, /metrics and /serving"),
        }
    }

    fn ready(&self) -> Result<(), NotReady> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(NotReady::Draining);
        }
        if !self.certificate.is_loaded() {
            return Err(NotReady::NoCertificate);
        }
        let snapshot = self.store.load().ok_or(NotReady::NoSnapshot)?;
        (self.self_test)(&snapshot).map_err(NotReady::SelfTest)
    }

    /// Holds the request until at least a generation is served, or its time is up.
    async fn serving(&self, query: &str) -> Response<Full<Bytes>> {
        let (generation, timeout) = match parse_serving(query) {
            Ok(asked) => asked,
            Err(message) => return respond::text(StatusCode::BAD_REQUEST, message),
        };
        // Whoever asks has just written a snapshot: it must not depend on a notification that may have been lost.
        let store = Arc::clone(&self.store);
        if let Err(error) = tokio::task::spawn_blocking(move || store.check()).await {
            return respond::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
        }
        let served = self.store.wait_for(generation, timeout).await;
        let reached = served.is_some_and(|served| served >= generation);
        let status = if reached { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        respond::json(status, json!({"generation": served}).to_string())
    }
}

/// `generation=7&timeout_ms=200`; both may be missing: any generation, no waiting.
fn parse_serving(query: &str) -> Result<(u64, Duration), String> {
    let (mut generation, mut timeout) = (0, Duration::ZERO);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let number: u64 = value.parse().map_err(|_| format!("{name}: \"{value}\" is no number"))?;
        match name {
            "generation" => generation = number,
            "timeout_ms" => timeout = Duration::from_millis(number).min(LONGEST_WAIT),
            _ => return Err(format!("\"{name}\" is not known here: there are generation and timeout_ms")),
        }
    }
    Ok((generation, timeout))
}

#[derive(Debug, thiserror::Error)]
enum NotReady {
    #[error("shutting down")]
    Draining,
    #[error("there is no serving certificate yet")]
    NoCertificate,
    #[error("there is no snapshot yet: the reconciler writes it once it has read Git")]
    NoSnapshot,
    #[error("the self-test failed: {0}")]
    SelfTest(SelfTestFailure),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_serving() {
        assert_eq!(parse_serving(""), Ok((0, Duration::ZERO)));
        assert_eq!(parse_serving("generation=7&timeout_ms=200"), Ok((7, Duration::from_millis(200))));
        assert_eq!(parse_serving("timeout_ms=99999999"), Ok((0, LONGEST_WAIT)));
        for wrong in ["generation=", "generation=-1", "generation=x", "generations=1", "generation"] {
            assert!(parse_serving(wrong).is_err(), "{wrong}");
        }
    }
}
