//! A cluster with one of everything that is attacked, governed by a running gitadel.

use std::time::{Duration, Instant};

use gitadel::demo::control_plane::Options;
use gitadel::demo::control_plane::guard::tail;
use hyper::Method;
use kube::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::audit::Audit;
use super::rows::FRONT;
use super::state::{State, collections};
use super::support::bypass::send;
use super::support::governed::Governed;
use super::support::shop::SETTINGS_PATH;
use super::wire::Attackers;

pub struct Victim {
    pub governed: Governed,
    pub attackers: Attackers,
    pub audit: Audit,
    collections: Vec<String>,
    /// What every row finds, and must leave.
    pub before: State,
    _audit_directory: TempDir,
}

impl Victim {
    /// With these files in Git, and these settings of the Enforcement of the whole cluster.
    pub async fn with(files: &[(&str, &str)], settings: Value) -> Self {
        let mut victim = Self::prepare(files).await;
        victim.governed.enforce(victim.governed.enforcement_with(settings)).await;
        victim.governed.converged().await;
        victim.governed.commit("the revision that counts", &[("front.yaml", &FRONT.replace("front:0", "front:1"))]);
        victim.governed.notify().await;
        victim.settle().await;
        victim
    }

    /// With gitadel running and nothing enforced yet.
    pub async fn prepare(files: &[(&str, &str)]) -> Self {
        let audit_directory = tempfile::tempdir().unwrap();
        let log = audit_directory.path().join("audit.log");
        let options = Options { apiserver_flags: Audit::flags(&log), ..Options::default() };
        let mut governed = Governed::prepare_on(options, files).await;
        for (path, object) in there_before() {
            send(&governed.client, Method::POST, path, &object).await.unwrap();
        }
        governed.run();
        let attackers = Attackers::of(&governed.control_plane).await;
        Self {
            governed,
            attackers,
            audit: Audit::of(&log),
            collections: Vec::new(),
            before: State::default(),
            _audit_directory: audit_directory,
        }
    }

    /// Waits until all is as Git says and the controllers have done their work, and takes that for the state to keep.
    pub async fn settle(&mut self) {
        self.governed.converged().await;
        self.governed.obeyed().await;
        self.collections = collections(&self.governed).await;
        let mut last = self.state().await;
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            // Longer than a controller takes to answer to what it sees.
            tokio::time::sleep(Duration::from_millis(700)).await;
            let now = self.state().await;
            if now == last {
                break;
            }
            assert!(Instant::now() < deadline, "the cluster does not settle: {:?}", now.differences(&last));
            last = now;
        }
        self.before = last;
    }

    pub async fn state(&self) -> State {
        State::of(&self.governed, &self.collections).await
    }

    pub fn client(&self) -> &Client {
        &self.governed.client
    }

    /// Waits until the API server asks the webhook again, after a write past it.
    pub async fn obeyed(&self) {
        let path = format!("{SETTINGS_PATH}?dryRun=All");
        let paint = json!([{"op": "replace", "path": "/data/colour", "value": "red"}]);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match send(self.client(), Method::PATCH, &path, &paint).await {
                Err(kube::Error::Api(status)) if status.message.contains("gitadel.dev") => return,
                _ if Instant::now() > deadline => panic!("the webhook is not asked:\n{}", self.log()),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    pub fn log(&self) -> String {
        tail(&self.governed.log("reconcile"), 40)
    }
}

/// What no source declares and enforcement finds: it becomes the baseline. A node belongs to nobody.
fn there_before() -> Vec<(&'static str, Value)> {
    vec![
        (
            "/api/v1/namespaces/default/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old"}, "data": {"a": "b"}}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "old-reader"},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        ),
        ("/api/v1/nodes", json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}})),
    ]
}
