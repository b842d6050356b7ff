//! `gitadel demo` as a visitor meets it: it tells its story and succeeds, and with `--keep` it can be attacked.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gitadel::demo::control_plane::assets::Assets;
use gitadel::demo::control_plane::guard::Scratch;
use support::git::git;
use support::http::request;
use support::processes::processes_naming;
use support::{eventually, gitadel, kubectl};

/// What a process shows at an address that the demo gives.
fn get(url: &str) -> String {
    let (port, path) = url.strip_prefix("http://127.0.0.1:").unwrap().split_once('/').unwrap();
    request("GET", port.parse().unwrap(), &format!("/{path}"))
}

/// The directory that the demo made below the one for temporary files.
fn directories(temporary: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(temporary).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

#[tokio::test]
async fn the_story_is_true_and_leaves_nothing_behind() {
    Assets::find_or_build().await.unwrap();
    let scratch = Scratch::temporary().unwrap();
    let temporary = scratch.path().join("demo");
    fs::create_dir(&temporary).unwrap();
    let output = tokio::task::spawn_blocking({
        let temporary = temporary.clone();
        move || gitadel().arg("demo").env("TMPDIR", temporary).stdin(Stdio::null()).output().unwrap()
    })
    .await
    .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    // Lines are broken for the reader.
    let text = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "10 objects converged",
        "spec.replicas must be 2, not 9 (web.yaml:9 at main@",
        "\"intruder\" in \"shop\" is not declared in Git",
        "denied to system:masters",
        "spec.replicas is 5",
        "Deployment web scaled to 9: in",
        "a sidecar in Deployment worker: in",
        "no Pod of the shop is left with another image than those declared: registry.example/shop/web:1.4.2,",
        "the webhook configuration was back after",
        "and enforcing again after",
        "Revert \"Scale web up for the sale\"",
        "gitadel_webhook_configuration_restored_total",
    ] {
        assert!(text.contains(line), "no line `{line}` in:\n{told}");
    }
    assert!(!told.contains('\x1b'), "colours in a pipe");
    assert_eq!(directories(&temporary), Vec::<PathBuf>::new());
    assert_eq!(processes_naming(&temporary), Vec::<String>::new());
}

/// A demo that is kept, with what it invites to paste.
struct Kept {
    child: Child,
    exported: HashMap<String, String>,
}

impl Kept {
    fn start(temporary: &Path) -> Self {
        let mut child = gitadel()
            .args(["demo", "--keep"])
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut exported = HashMap::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once('=')) {
                exported.insert(name.to_owned(), value.to_owned());
            }
            told.push_str(&line);
            told.push('\n');
            if exported.len() == 4 {
                return Self { child, exported };
            }
        }
        panic!("the demo ended ({:?}) before it invited to anything:\n{told}", child.wait());
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_visitor_can_attack_and_push_until_ctrl_c() {
    Assets::find_or_build().await.unwrap();
    let scratch = Scratch::temporary().unwrap();
    let temporary = scratch.path().join("demo");
    fs::create_dir(&temporary).unwrap();
    let start = temporary.clone();
    let mut kept = tokio::task::spawn_blocking(move || Kept::start(&start)).await.unwrap();
    let kubeconfig = PathBuf::from(&kept.exported["KUBECONFIG"]);

    let said = kubectl(&kubeconfig, &["-n", "default", "create", "configmap", "visitor", "--from-literal=a=b"]);
    assert!(!said.success && said.stderr.contains("\"visitor\" in \"default\" is not declared in Git"), "{said:?}");

    git(scratch.path(), &["clone", "--quiet", &kept.exported["GITADEL_REPOSITORY"], "visit"]);
    let clone = scratch.path().join("visit");
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: visitor\n  namespace: default\n";
    fs::write(clone.join("visitor.yaml"), manifest).unwrap();
    git(&clone, &["add", "visitor.yaml"]);
    git(&clone, &["commit", "--quiet", "--message", "A visit"]);
    git(&clone, &["push", "--quiet"]);
    eventually("the visitor's ConfigMap", async || {
        kubectl(&kubeconfig, &["-n", "default", "get", "configmap", "visitor"]).success.then_some(())
    })
    .await;
    for (metrics, sample) in
        [("GITADEL_METRICS", "gitadel_leader 1"), ("GITADEL_WEBHOOK_METRICS", "gitadel_admission_reviews_total{")]
    {
        let text = get(&kept.exported[metrics]);
        assert!(text.contains(sample), "{metrics}: {text}");
    }

    let id = kept.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let status = tokio::task::spawn_blocking(move || kept.child.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
    eventually("the end of all processes", async || processes_naming(&temporary).is_empty().then_some(())).await;
    assert_eq!(directories(&temporary), Vec::<PathBuf>::new());
}
