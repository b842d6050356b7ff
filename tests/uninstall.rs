//! The way out, as docs/operations.md gives it, where gitadel governs everything: its own objects included.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::json;
use support::eventually;
use support::governed::{Governed, NAME};
use support::shop::SHOP;

const CONFIGURATION: &str = "validatingwebhookconfiguration/gitadel";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gitadel_goes_by_a_commit_and_leaves_what_it_governed() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    governed.rejects(&["delete", "enforcements", "--all", "--wait=false"], "denied the request");
    let refused = governed.rejects(&["delete", "namespace", "gitadel-system", "--wait=false"], "denied the request");
    assert!(refused.contains("action: Observe"), "{refused}");

    let enforcement = governed.enforcement_with(json!({"action": "Observe"}));
    governed.commit("let go of the cluster", &[("enforcement.yaml", &enforcement.to_string())]);
    governed.notify().await;
    eventually("the commit to be in force", async || {
        let action = governed.kubectl(&["get", "enforcement", NAME, "-o", "jsonpath={.spec.action}"]);
        (action.stdout == "Observe").then_some(())
    })
    .await;
    eventually("the API server to let writes through", async || {
        governed.kubectl(&["delete", "enforcements", "--all"]).success.then_some(())
    })
    .await;
    // What `kubectl delete -f manifests` deletes here: the Pods of this installation are two processes.
    for object in ["namespace/gitadel-system", "crd/enforcements.gitadel.dev", "clusterrolebinding/gitadel"] {
        governed.admits(&["delete", object, "--timeout=60s"]);
    }
    governed.stop_reconciler();
    governed.stop_webhook();
    governed.admits(&["delete", CONFIGURATION, "--ignore-not-found"]);

    let kept = governed.kubectl(&["-n", "shop", "get", "configmap", "settings", "-o", "jsonpath={.data.colour}"]);
    assert_eq!(kept.stdout, "blue");
    governed.admits(&["-n", "shop", "patch", "configmap", "settings", "-p", r#"{"data":{"colour":"red"}}"#]);
    governed.admits(&["-n", "shop", "create", "configmap", "mine"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_delete_webhook_configurations_is_never_locked_out() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    // Nobody answers reviews any more; the reconciler goes on restoring the configuration that demands an answer.
    governed.stop_webhook();
    let create = |name: &str| governed.kubectl(&["-n", "shop", "create", "configmap", name]);
    let said = create("mine");
    assert!(!said.success && said.stderr.contains("failed calling webhook"), "{said:?}");

    eventually("a moment without the configuration", async || {
        // By one process: between two, the configuration is back.
        let delete = ["delete", "--wait=false", "--ignore-not-found", CONFIGURATION, "clusterrolebinding/gitadel"];
        governed.kubectl(&delete).success.then_some(())
    })
    .await;
    eventually("the configuration to be gone for good", async || {
        governed.admits(&["delete", CONFIGURATION, "--ignore-not-found"]);
        create("mine").success.then_some(())
    })
    .await;
    let restored = governed.kubectl(&["get", CONFIGURATION, "--ignore-not-found", "-o", "name"]);
    assert_eq!((restored.success, restored.stdout.as_str()), (true, ""), "{restored:?}");
}
