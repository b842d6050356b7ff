//! The pair that a Pod holds, as two processes: the webhook without any credential, the reconciler with the token of its
//! ServiceAccount. They share two directories and loopback.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::control_plane::guard::{GuardError, Guarded, Launch, Scratch, tail};
use super::metrics::{Metrics, ScrapeError, get};
use super::ports;

/// All that the children take over of the environment. No `KUBECONFIG` and no proxy is among it: the webhook has no
/// access to any cluster, and everything is on loopback.
const INHERITED: [&str; 5] = ["PATH", "HOME", "TMPDIR", "LANG", "RUST_LOG"];
const START_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 25;

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("the program itself cannot be found: {0}")]
    Program(#[source] io::Error),
    #[error("{} cannot be made: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("no free port on 127.0.0.1: {0}")]
    Port(#[source] io::Error),
    #[error("{name} ended ({status})")]
    Ended { name: String, status: String },
    #[error("{name} was not healthy after {} s: {last}", START_LIMIT.as_secs())]
    NotHealthy { name: String, last: ScrapeError },
}

/// Where the processes listen and lie: known before they start, since each is told of the other.
#[derive(Clone, Debug)]
pub struct Layout {
    pub program: PathBuf,
    directory: PathBuf,
    admission: u16,
    webhook_probes: u16,
    reconciler_probes: u16,
}

impl Layout {
    pub fn new(directory: &Path) -> Result<Self, ProcessError> {
        let [admission, webhook_probes, reconciler_probes] = ports::free().map_err(ProcessError::Port)?;
        let program = std::env::current_exe().map_err(ProcessError::Program)?;
        for part in ["snapshot", "tls", "repositories"] {
            let path = directory.join(part);
            fs::create_dir_all(&path).map_err(|source| ProcessError::Directory { path, source })?;
        }
        Ok(Self { program, directory: directory.into(), admission, webhook_probes, reconciler_probes })
    }

    pub fn notification_url(&self, enforcement: &str) -> String {
        local(self.reconciler_probes, &format!("notify/{enforcement}"))
    }

    pub fn webhook_metrics(&self) -> String {
        local(self.webhook_probes, "metrics")
    }

    pub fn reconciler_metrics(&self) -> String {
        local(self.reconciler_probes, "metrics")
    }

    /// The command lines, short: options that only this machine's layout calls for are left out.
    pub fn summary(&self) -> [String; 2] {
        let listen = format!("127.0.0.1:{}", self.admission);
        [
            format!("gitadel webhook --listen {listen}  (no kubeconfig, no token, no Git)"),
            format!("gitadel reconcile --webhook-url https://{listen}/admit  (token of its ServiceAccount)"),
        ]
    }

    fn path(&self, option: &str, part: &str) -> String {
        format!("{option}={}", self.directory.join(part).display())
    }

    fn webhook(&self, logs: &Path) -> Launch {
        Launch::new("gitadel webhook", &self.program, &logs.join("webhook.log")).inheriting(&INHERITED).arguments([
            "webhook".to_owned(),
            self.path("--snapshot-dir", "snapshot"),
            self.path("--tls-dir", "tls"),
            format!("--listen=127.0.0.1:{}", self.admission),
            format!("--probe-listen=127.0.0.1:{}", self.webhook_probes),
            "--log-format=text".into(),
        ])
    }

    fn reconciler(&self, logs: &Path, kubeconfig: &Path) -> Launch {
        Launch::new("gitadel reconcile", &self.program, &logs.join("reconcile.log"))
            .inheriting(&INHERITED)
            .environment("KUBECONFIG", kubeconfig)
            .arguments([
                "reconcile".to_owned(),
                self.path("--snapshot-dir", "snapshot"),
                self.path("--tls-dir", "tls"),
                self.path("--repository-dir", "repositories"),
                "--allow-transport=file".into(),
                format!("--webhook-url=https://127.0.0.1:{}/admit", self.admission),
                format!("--serving-url=http://127.0.0.1:{}", self.webhook_probes),
                format!("--probe-listen=127.0.0.1:{}", self.reconciler_probes),
                "--identity=demo".into(),
                "--log-format=text".into(),
            ])
    }
}

/// The running pair. Dropping it ends both.
pub struct Pair {
    webhook: Guarded,
    reconciler: Guarded,
    layout: Layout,
}

impl Pair {
    pub fn start(layout: &Layout, kubeconfig: &Path, scratch: &Scratch) -> Result<Self, ProcessError> {
        let logs = scratch.path().join("logs");
        let webhook = Guarded::spawn(&layout.webhook(&logs), Some(scratch))?;
        let reconciler = Guarded::spawn(&layout.reconciler(&logs, kubeconfig), Some(scratch))?;
        Ok(Self { webhook, reconciler, layout: layout.clone() })
    }

    /// Waits until both answer. Whether they enforce anything is another question.
    pub async fn wait_until_healthy(&mut self) -> Result<(), ProcessError> {
        let deadline = Instant::now() + START_LIMIT;
        for (child, port) in
            [(&mut self.webhook, self.layout.webhook_probes), (&mut self.reconciler, self.layout.reconciler_probes)]
        {
            while let Err(last) = get(&local(port, "healthz")).await {
                let name = child.name().to_owned();
                if let Ok(Some(status)) = child.exited() {
                    return Err(ProcessError::Ended { name, status: status.to_string() });
                }
                if Instant::now() > deadline {
                    return Err(ProcessError::NotHealthy { name, last });
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether both still run; a story in which one has died is over.
    pub fn check(&mut self) -> Result<(), ProcessError> {
        for child in [&mut self.webhook, &mut self.reconciler] {
            if let Ok(Some(status)) = child.exited() {
                return Err(ProcessError::Ended { name: child.name().to_owned(), status: status.to_string() });
            }
        }
        Ok(())
    }

    /// The end of each process's log.
    pub fn logs(&self) -> Vec<(String, String)> {
        let end = |child: &Guarded| (child.name().to_owned(), tail(child.log(), LOG_LINES));
        vec![end(&self.webhook), end(&self.reconciler)]
    }

    pub async fn webhook_metrics(&self) -> Result<Metrics, ScrapeError> {
        Ok(Metrics::parse(&get(&self.layout.webhook_metrics()).await?))
    }

    pub async fn reconciler_metrics(&self) -> Result<Metrics, ScrapeError> {
        Ok(Metrics::parse(&get(&self.layout.reconciler_metrics()).await?))
    }
}

fn local(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_webhook_is_told_of_no_credential() {
        let scratch = Scratch::temporary().unwrap();
        let layout = Layout::new(scratch.path()).unwrap();
        let webhook = layout.webhook(scratch.path());
        assert!(webhook.environment.is_empty());
        assert!(!webhook.inherited.unwrap().iter().any(|name| name.contains("KUBE") || name.contains("PROXY")));
        let reconciler = layout.reconciler(scratch.path(), Path::new("/k"));
        assert_eq!(reconciler.environment, [("KUBECONFIG".into(), "/k".into())]);
    }
}
