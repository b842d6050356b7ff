//! Reads a process's metrics.

pub use gitadel::demo::metrics::Metrics;

use super::eventually;
use super::git::git;
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

    /// Waits until the running process has brought about the newest commit itself: for what the one before it has written
    /// into the status, the cluster may have converged before it begins.
    pub async fn round_is_over(&self) {
        let commit = git(&self.work_tree, &["rev-parse", "HEAD"]);
        eventually("the round", async || {
            let metrics = self.try_reconciler_metrics()?;
            let enforced = metrics.sum("gitadel_source_commit_info", &[("commit", &*commit)]) > 0.0;
            (enforced && metrics.sum("gitadel_leader", &[]) > 0.0).then_some(())
        })
        .await;
        self.converged().await;
    }

    pub fn webhook_metrics(&self) -> Metrics {
        Metrics::parse(&scrape(self.webhook_probe))
    }
}
