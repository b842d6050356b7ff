//! What the tests on a real control plane share.

// Each test binary uses a part of it.
#![allow(dead_code)]
// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bypass;
pub mod git;
pub mod go;
pub mod governed;
pub mod http;
pub mod metrics;
pub mod processes;
pub mod shop;
pub mod verdicts;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use gitadel::demo::control_plane::{ControlPlane, Options, assets};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::OnceCell;

/// The control plane that the tests of one binary share. A test that stops components or changes what all see (webhook
/// configurations, cluster roles of others) starts its own with [`ControlPlane::start`].
///
/// A static is never dropped; the guards of the processes end them with the test binary.
pub async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED.get_or_init(|| async { ControlPlane::start(Options::default()).await.expect("the control plane") }).await
}

/// An administrator's client that lives on this test's runtime.
pub async fn client(control_plane: &ControlPlane) -> Client {
    let config = control_plane.client_config().await.expect("a client configuration");
    Client::try_from(config).expect("a client")
}

/// A client of some user with the rights that RBAC gives.
pub async fn client_for(control_plane: &ControlPlane, user: &str, group: Option<&str>) -> Client {
    let config = control_plane.client_config_for(user, group).await.expect("a client configuration");
    Client::try_from(config).expect("a client")
}

/// Makes a namespace that no other test uses, ready for Pods.
pub async fn namespace(client: &Client, prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.expect("a namespace");
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &name);
    eventually("the default service account", async || accounts.get_opt("default").await.expect("an answer")).await;
    name
}

/// Waits until there is something, for at most half a minute.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `kubectl` as the user of the kubeconfig.
pub fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Said {
    kubectl_with_input(kubeconfig, arguments, "")
}

pub fn kubectl_with_input(kubeconfig: &Path, arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(assets::kubectl().expect("kubectl"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        // What it learns of this API server is of no use to the next one on the same port.
        .env("KUBECACHEDIR", kubeconfig.with_extension("cache"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    // It may have ended without reading; then its answer tells why.
    let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("kubectl ends");
    Said {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The program under test.
pub fn gitadel() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gitadel"))
}
