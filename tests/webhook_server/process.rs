//! `gitadel webhook` as a process, with a snapshot directory and certificates of its own.

// The test and the benchmark each use a part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use gitadel::compare::ListSchema;
use gitadel::object::ObjectId;
use gitadel::snapshot::{EntryClass, EntryDraft, HistoryDraft, KindInfo, Meta, SnapshotWriter};
use gitadel::tls::issue::Authority;
use serde_json::{Value, json};

use crate::client;
use crate::source::source;

pub const CLUSTER: &str = "0a1b2c3d-0000-4000-8000-000000000001";
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Webhook {
    child: Child,
    directory: tempfile::TempDir,
    pub reviews: SocketAddr,
    pub probes: SocketAddr,
}

impl Webhook {
    /// Starts a webhook that shows a certificate of this authority.
    pub fn start(authority: &Authority, drain: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["snapshot", "tls"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        write_pair(&directory.path().join("tls"), authority);
        let mut child = command(directory.path())
            .args(["--cluster", CLUSTER, "--drain", &drain.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, started) = mpsc::channel();
        // Read to the end: a full pipe would stop the process.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("{line}");
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                let address = |name: &str| line[name].as_str().and_then(|address| address.parse::<SocketAddr>().ok());
                if let (Some(reviews), Some(probes)) = (address("reviews"), address("probes")) {
                    let _ = sender.send((reviews, probes));
                }
            }
        });
        let (reviews, probes) = started.recv_timeout(PATIENCE).expect("the webhook says where it listens");
        Self { child, directory, reviews, probes }
    }

    pub fn snapshot_path(&self) -> PathBuf {
        self.directory.path().join("snapshot/snapshot")
    }

    pub fn tls_directory(&self) -> PathBuf {
        self.directory.path().join("tls")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub async fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(Instant::now() < deadline, "the webhook does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks a probe until it answers with this status, and returns its text.
    pub async fn probe_until(&self, path: &str, status: u16) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (last, text) = client::probe(self.probes, path).await;
            if last == status {
                return text;
            }
            assert!(Instant::now() < deadline, "{path} still answers {last}: {text}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// One value from the metrics, 0 where there is none.
    pub async fn metric(&self, series: &str) -> u64 {
        let (_, text) = client::probe(self.probes, "/metrics").await;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gitadel"));
    command
        .args(["--log-format", "json", "webhook", "--listen", "127.0.0.1:0", "--probe-listen", "127.0.0.1:0"])
        .arg("--snapshot-dir")
        .arg(directory.join("snapshot"))
        .arg("--tls-dir")
        .arg(directory.join("tls"));
    command
}

pub fn write_pair(directory: &Path, authority: &Authority) {
    let issued = authority.issue_server(&["localhost"], Duration::from_secs(3600)).unwrap();
    std::fs::write(directory.join("tls.crt"), issued.certificate).unwrap();
    std::fs::write(directory.join("tls.key"), issued.key).unwrap();
}

/// The Deployment that Git declares in [`write_snapshot`].
pub fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2}})
}

pub fn write_snapshot(path: &Path, generation: u64, cluster: &str, replicas: u32) {
    let kind = KindInfo {
        group: "apps".into(),
        kind: "Deployment".into(),
        resource: "deployments".into(),
        version: "v1".into(),
        namespaced: true,
        subresources: ["scale", "status"].map(String::from).into(),
        scale_paths: Default::default(),
        schema: ListSchema::default(),
        registered: true,
    };
    let (sources, kinds) = (vec![source("all", json!({"cluster": "All"}))], vec![kind]);
    let meta = Meta { generation, cluster: cluster.into(), sources, kinds, ..Meta::default() };
    let mut canonical = deployment();
    canonical["spec"]["replicas"] = replicas.into();
    let draft = EntryDraft {
        id: ObjectId::new("apps", "Deployment", "shop", "web"),
        class: EntryClass::Declared,
        source: Some(0),
        version: "apps/v1".into(),
        canonical: Some(canonical),
        inputs: "digest".into(),
        file: Some("apps/web.yaml".into()),
        lines: None,
        recreate: false,
        uid: None,
        problem: None,
        history: HistoryDraft::default(),
    };
    let mut writer = SnapshotWriter::create(path, &meta).unwrap();
    writer.put(&draft).unwrap();
    writer.finish().unwrap();
}
