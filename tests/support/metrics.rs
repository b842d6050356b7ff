//! Reads a process's metrics.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use super::governed::Governed;

/// `name{labels}` → value.
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn scrape(port: u16) -> Self {
        let text = scrape(port);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            samples
                .filter_map(|line| {
                    let (name, value) = line.rsplit_once(' ')?;
                    Some((name.to_owned(), value.parse().ok()?))
                })
                .collect(),
        )
    }

    /// The sum of the series of a metric whose labels contain all of `labels`, each as `name="value"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name =
            |series: &str| series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        self.0
            .iter()
            .filter(|(series, _)| of_name(series) && labels.iter().all(|l| series.contains(l)))
            .map(|(_, v)| v)
            .sum()
    }
}

/// What a process shows at `/metrics`.
pub fn scrape(port: u16) -> String {
    let url = format!("http://127.0.0.1:{port}/metrics");
    let output = std::process::Command::new("curl").args(["-sS", "--noproxy", "*", &url]).output().unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Governed {
    pub fn reconciler_metrics(&self) -> Metrics {
        Metrics::scrape(self.reconciler_probe)
    }

    /// `None` while the reconciler does not listen.
    pub fn try_reconciler_metrics(&self) -> Option<Metrics> {
        std::net::TcpStream::connect(("127.0.0.1", self.reconciler_probe)).is_ok().then(|| self.reconciler_metrics())
    }

    pub fn webhook_metrics(&self) -> Metrics {
        Metrics::scrape(self.webhook_probe)
    }
}
