//! Reads a process's metrics.

pub use gitadel::demo::metrics::Metrics;

use super::governed::Governed;
use super::http::request;

/// What a process shows at `/metrics`.
pub fn scrape(port: u16) -> String {
    request("GET", port, "/metrics")
}

impl Governed {
    pub fn reconciler_metrics(&self) -> Metrics {
        Metrics::parse(&scrape(self.reconciler_probe))
    }

    /// `None` while the reconciler does not listen.
    pub fn try_reconciler_metrics(&self) -> Option<Metrics> {
        std::net::TcpStream::connect(("127.0.0.1", self.reconciler_probe)).is_ok().then(|| self.reconciler_metrics())
    }

    pub fn webhook_metrics(&self) -> Metrics {
        Metrics::parse(&scrape(self.webhook_probe))
    }
}
