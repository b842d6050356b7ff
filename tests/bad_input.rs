//! Whatever a commit holds, and whoever is away: it is named where people look, and the last good state stays enforced.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use support::bypass::get;
use support::eventually;
use support::git::git;
use support::governed::{Governed, condition, message, reason};
use support::shop::{SETTINGS_PATH, SHOP};

const LIMIT: Duration = Duration::from_secs(40);

fn has_problem(status: &Value, position: &str, commit: &str, says: &str) -> bool {
    status["problems"].as_array().into_iter().flatten().any(|problem| {
        problem["position"].as_str().is_some_and(|at| at.starts_with(position))
            && problem["commit"] == commit
            && problem["message"].as_str().is_some_and(|message| message.contains(says))
    })
}

impl Governed {
    /// The webhook rejects by the commit, and what gets past it is undone.
    async fn enforces(&self, commit: &str) {
        self.rejects(&["-n", "shop", "label", "configmap/settings", "mine=yes"], &commit[..7]);
        let red = json!([{"op": "replace", "path": "/data/colour", "value": "red"}]);
        let stored = self.slip_in(Method::PATCH, SETTINGS_PATH, &red).await;
        assert_eq!(stored["data"]["colour"], "red");
        let is_blue = async || (get(&self.client, SETTINGS_PATH).await?["data"]["colour"] == "blue").then_some(());
        eventually("the drift to be undone", is_blue).await;
        self.obeyed().await;
    }

    async fn undo_last_commit(&self) {
        git(&self.work_tree, &["revert", "--no-edit", "HEAD"]);
        git(&self.work_tree, &["push", "--quiet", "origin", "HEAD:main"]);
        self.notify().await;
        self.converged().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_broken_is_named_and_the_last_good_state_stays() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    let client = governed.client.clone();

    // Commits that count as a whole: nothing of them is enforced.
    let big = format!("{SHOP}# {}\n", "x".repeat(50 * 1024 * 1024));
    let broken = [
        ("a.yaml", "apiVersion: v1\nkind: [\n", "a.yaml:", "is not valid YAML"),
        ("b.yaml", SHOP, "shop.yaml:", "is declared in b.yaml"),
        ("c.yaml", big.as_str(), "c.yaml", "bytes"),
        ("d.yaml", "link", "d.yaml", "is a link to \"/etc/passwd\", outside of the repository"),
    ];
    for (number, (file, text, position, says)) in broken.into_iter().enumerate() {
        let good = git(&governed.work_tree, &["rev-parse", "HEAD"]);
        let bad = if text == "link" {
            std::os::unix::fs::symlink("/etc/passwd", governed.work_tree.join(file)).unwrap();
            governed.commit("a link", &[])
        } else {
            governed.commit("something broken", &[(file, text)])
        };
        governed.notify().await;
        let named = |status: &Value| {
            has_problem(status, position, &bad, says)
                && status["seenCommit"] == *bad
                && status["commit"]["id"] == *good
                && condition(status, "Degraded") == "True"
        };
        governed.until(says, LIMIT, named).await;
        if number == 0 {
            governed.enforces(&good).await;
        }
        governed.undo_last_commit().await;
    }

    // Objects that cannot be: they hold back only themselves.
    let mixed = "
apiVersion: v1
kind: ConfigMap
metadata: {name: sound, namespace: shop}
---
apiVersion: example.com/v1
kind: Unknown
metadata: {name: thing, namespace: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: misspelt, namespace: shop}
dada: {colour: blue}
";
    let commit = governed.commit("some sound, some not", &[("mixed.yaml", mixed)]);
    governed.notify().await;
    let named = |status: &Value| {
        status["commit"]["id"] == *commit
            && has_problem(status, "mixed.yaml:6", &commit, "serves no kind Unknown")
            && has_problem(status, "mixed.yaml:10", &commit, "dada")
    };
    governed.until("the two objects to be named", LIMIT, named).await;
    assert!(get(&client, "/api/v1/namespaces/shop/configmaps/sound").await.is_some());
    assert!(get(&client, "/api/v1/namespaces/shop/configmaps/misspelt").await.is_none());
    governed.undo_last_commit().await;

    // Another Enforcement that cannot be used, or whose Git cannot be read.
    let other = |name: &str, url: &str, field: &str| {
        json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": name},
            "spec": {"source": {"url": url, "branch": "main"}, "scope": {"namespaces": ["elsewhere"]}, "action": "Enforce",
                "delegations": [{"user": "scaler", "group": "apps", "kind": "Deployment", "fields": [field]}]}})
        .to_string()
    };
    let files = [
        ("aaa.yaml", other("aaa", "file:///nowhere", "spec..replicas")),
        ("bbb.yaml", other("bbb", "file:///nowhere", "spec.replicas")),
        ("ccc.yaml", other("ccc", "http://127.0.0.1:1/shop.git", "spec.replicas")),
    ];
    let good = governed.commit("others", &files.each_ref().map(|(file, text)| (*file, text.as_str())));
    governed.notify().await;
    governed.converged().await;
    for (name, reason, says) in [
        ("aaa", "InvalidSpec", "spec.delegations[0].fields"),
        ("bbb", "Unreachable", "nowhere"),
        ("ccc", "TransportNotAllowed", "--allow-transport=http"),
    ] {
        eventually(reason, async || {
            let status = governed.status_of(name).await;
            let told = message(&status, "SourceReady").contains(says) && self::reason(&status, "SourceReady") == reason;
            (told && condition(&status, "SourceReady") == "False").then_some(())
        })
        .await;
    }
    governed.enforces(&good).await;

    // Git is away, also for a process that starts meanwhile.
    let aside = governed.repository.with_extension("aside");
    std::fs::rename(&governed.repository, &aside).unwrap();
    governed.notify().await;
    let unreachable = |status: &Value| condition(status, "SourceReady") == "False";
    governed.until("Git to be missed", LIMIT, unreachable).await;
    governed.enforces(&good).await;
    governed.stop_reconciler();
    governed.run_reconciler();
    governed.enforces(&good).await;
    std::fs::rename(&aside, &governed.repository).unwrap();
    governed.until("Git to be back", LIMIT, |status| condition(status, "SourceReady") == "True").await;

    // So is the API server.
    governed.control_plane.restart_apiserver().await.unwrap();
    governed.enforces(&good).await;
    governed.commit("after all of that", &[("shop.yaml", &SHOP.replace("blue}", "blue, size: big}"))]);
    governed.notify().await;
    governed.converged().await;
    assert_eq!(get(&client, SETTINGS_PATH).await.unwrap()["data"]["size"], "big");
}
