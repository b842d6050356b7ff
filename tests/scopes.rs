//! Scopes of every kind on a real API server: each is proven to be enforced, and only what it holds is.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::eventually;
use support::governed::{Governed, condition, reason};
use support::shop::SHOP;

fn canaries_judged(governed: &Governed) -> f64 {
    governed.webhook_metrics().sum("gitadel_admission_reviews_total", &[("outcome", "proof"), ("rule", "canary")])
}

const GOVERNED: &str = "is governed by Git";
const REPAINT: &[&str] = &["-n", "shop", "patch", "configmap/settings", "-p", r#"{"data":{"colour":"red"}}"#];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_of_one_namespace_that_is_yet_to_come() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"scope": {"namespaces": ["shop"]}}))).await;
    governed.converged().await;
    assert!(canaries_judged(&governed) >= 1.0);
    governed.rejects(REPAINT, GOVERNED);
    governed.admits(&["create", "namespace", "other"]);
    governed.admits(&["-n", "default", "create", "configmap", "gitadel-canary"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_world_is_proven_without_leaving_anything() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    governed.run();
    let scope = json!({"excludedNamespaces": ["kube-*", "gitadel-system"], "cluster": "All"});
    governed.enforce(governed.enforcement_with(json!({"scope": scope, "undeclaredObjects": "Allow"}))).await;
    governed.converged().await;
    assert!(canaries_judged(&governed) >= 1.0);
    governed.rejects(REPAINT, GOVERNED);
    governed.admits(&["-n", "shop", "create", "configmap", "mine"]);
    let said = governed.kubectl(&["-n", "shop", "create", "configmap", "gitadel-canary"]);
    assert!(!said.success && said.stderr.contains("reserved"), "{said:?}");
    let left = governed.admits(&["get", "configmaps", "-A", "--field-selector=metadata.name=gitadel-canary"]);
    assert_eq!(left.stdout, "", "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_of_cluster_roles_alone() {
    const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
  - {apiGroups: [""], resources: [pods], verbs: [get]}
"#;
    let mut governed = Governed::prepare(&[("role.yaml", ROLE)]).await;
    governed.run();
    let kinds = json!([{"group": "rbac.authorization.k8s.io", "kind": "ClusterRole"}]);
    let scope = json!({"namespaces": [], "cluster": "Listed", "clusterKinds": kinds});
    governed.enforce(governed.enforcement_with(json!({"scope": scope}))).await;
    governed.converged().await;
    assert!(canaries_judged(&governed) >= 1.0);
    governed.rejects(&["label", "clusterrole/reader", "mine=yes"], GOVERNED);
    governed.admits(&["create", "clusterrolebinding", "mine", "--clusterrole=reader", "--user=me"]);
    let left = governed.admits(&["get", "clusterrole", "gitadel-canary", "--ignore-not-found"]);
    assert_eq!(left.stdout, "", "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_in_which_nothing_can_be_tried() {
    const CLASS: &str = r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: slow}
provisioner: example.com/slow
"#;
    let mut governed = Governed::prepare(&[("class.yaml", CLASS)]).await;
    governed.run();
    let kinds = json!([{"group": "storage.k8s.io", "kind": "StorageClass"}]);
    let scope = json!({"namespaces": [], "cluster": "Listed", "clusterKinds": kinds});
    governed.enforce(governed.enforcement_with(json!({"scope": scope}))).await;
    let converged = |status: &Value| condition(status, "Converged") == "True";
    governed.until("convergence", std::time::Duration::from_secs(60), converged).await;
    let status = governed.status().await;
    assert_eq!((condition(&status, "Enforcing"), reason(&status, "Enforcing")), ("False", "Unproven"));
    eventually("the API server to obey", async || {
        (!governed.kubectl(&["label", "storageclass/slow", "mine=yes"]).success).then_some(())
    })
    .await;
    governed.rejects(&["label", "storageclass/slow", "mine=yes"], GOVERNED);
    governed.admits(&["-n", "default", "create", "configmap", "mine"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_enforced_nothing_is_proven() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"action": "Observe"}))).await;
    eventually("the webhook to observe", async || {
        let _created = governed.kubectl(&["create", "namespace", "mine"]);
        governed.kubectl(&["label", "--overwrite", "namespace/mine", "seen=yes"]);
        (governed.webhook_metrics().sum("gitadel_admission_reviews_total", &[]) > 0.0).then_some(())
    })
    .await;
    let observing = |s: &Value| (condition(s, "Enforcing"), reason(s, "Enforcing")) == ("False", "Observing");
    governed.until("the status to tell", std::time::Duration::from_secs(60), observing).await;
    assert_eq!(canaries_judged(&governed), 0.0);
}
