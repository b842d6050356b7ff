//! What becomes of objects that leave Git, beside those that just go.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use support::bypass::get;
use support::eventually;
use support::governed::Governed;
use support::shop::NAMESPACE;

const ACCOUNT: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
automountServiceAccountToken: false
imagePullSecrets: [{name: registry}]
";
const DATABASE: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: registry.example/db:1}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: nowhere, resources: {requests: {storage: 1Gi}}}
";
const CLAIM: &str = "/api/v1/namespaces/shop/persistentvolumeclaims/data-db-0";
/// gitadel's own configuration, without what makes it one, and a record of the baseline.
const RESERVED: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: gitadel}
webhooks: []
---
apiVersion: v1
kind: Secret
metadata: {name: gitadel-baseline-all-0, namespace: gitadel-system}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_something_else_is_as_if_git_had_never_declared_it() {
    let files = [("shop.yaml", NAMESPACE), ("account.yaml", ACCOUNT), ("database.yaml", DATABASE)];
    let governed = Governed::start(&files).await;
    let account = async || get(&governed.client, "/api/v1/namespaces/shop/serviceaccounts/default").await;
    assert_eq!(account().await.unwrap()["automountServiceAccountToken"], false);
    let claim = eventually("the claim", async || get(&governed.client, CLAIM).await).await;
    // A claim that Git declares follows from the StatefulSet all the same.
    let declared = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-db-0", "namespace": "shop", "labels": claim["metadata"]["labels"]},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "nowhere",
            "resources": {"requests": {"storage": "1Gi"}}}});
    governed.commit("the claim as well", &[("claim.yaml", &declared.to_string())]);
    governed.notify().await;
    governed.converged().await;

    governed.commit("without both", &[("account.yaml", ""), ("claim.yaml", "")]);
    governed.notify().await;
    governed.converged().await;
    eventually("the account to be empty", async || {
        let account = account().await?;
        (account["automountServiceAccountToken"].is_null() && account["imagePullSecrets"].is_null()).then_some(())
    })
    .await;
    let now = get(&governed.client, CLAIM).await.unwrap();
    assert_eq!(now["metadata"]["uid"], claim["metadata"]["uid"], "it is the StatefulSet's");
    assert!(now["metadata"]["deletionTimestamp"].is_null(), "{now:#}");

    // What followed from something that is gone is seen without waiting for another list.
    governed.commit("no database", &[("database.yaml", "")]);
    governed.notify().await;
    governed.converged().await;
    eventually("the claim to go", async || {
        let claim = get(&governed.client, CLAIM).await;
        claim.is_none_or(|claim| claim["metadata"]["deletionTimestamp"].is_string()).then_some(())
    })
    .await;

    let fights = || {
        let metrics = governed.reconciler_metrics();
        ["gitadel_drift_detected_total", "gitadel_webhook_configuration_restored_total"]
            .map(|name| metrics.sum(name, &[]))
    };
    let before = fights();
    governed.commit("what is gitadel's own", &[("reserved.yaml", RESERVED)]);
    governed.notify().await;
    let reserved = |status: &Value| {
        let problems = status["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
        problems.len() == 2 && problems.iter().all(|problem| problem["reason"] == "Reserved")
    };
    governed.until("both to be refused", Duration::from_secs(30), reserved).await;
    governed.commit("no more", &[("reserved.yaml", "")]);
    governed.notify().await;
    governed.converged().await;
    assert_eq!(fights(), before, "nobody fought over it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_another_to_go_is_made_when_that_is_gone() {
    const HELD: &str = "/api/v1/namespaces/shop/configmaps/held";
    let held =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: held, namespace: shop, finalizers: [example.com/held]}}";
    let free = held.replace(", finalizers: [example.com/held]", "");
    let governed = Governed::start(&[("shop.yaml", NAMESPACE), ("held.yaml", held)]).await;
    governed.commit("remove it", &[("held.yaml", "")]);
    governed.notify().await;
    eventually("its end to begin", async || {
        get(&governed.client, HELD).await.unwrap()["metadata"]["deletionTimestamp"].is_string().then_some(())
    })
    .await;
    governed.commit("and back", &[("held.yaml", &free)]);
    governed.notify().await;
    let waits = |status: &Value| status["problems"].to_string().contains("ConfigMap shop/held");
    governed.until("it to wait", Duration::from_secs(30), waits).await;
    let release = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
    governed.slip_in(Method::PATCH, HELD, &release).await;
    governed.converged().await;
    let due = governed.log_records("reconcile", "gone: the next round need not wait any longer");
    assert!(
        due.iter().any(|record| record["object"].as_str().is_some_and(|object| object.contains("held"))),
        "{due:?}"
    );
    assert!(get(&governed.client, HELD).await.unwrap()["metadata"]["deletionTimestamp"].is_null());
}

/// A commit, or a record that was lost, may make undeclared what an operator has had in hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_tidies_up_after_what_nobody_declares_any_more() {
    const MAPS: &str = "/api/v1/namespaces/shop/configmaps";
    let path = format!("{MAPS}/left");
    let mut governed = Governed::prepare(&[("shop.yaml", NAMESPACE)]).await;
    governed.run();
    let delegation = json!({"user": "operator", "group": "", "kind": "ConfigMap",
        "fields": ["metadata.finalizers[=example.com/tidy]"]});
    governed.enforce(governed.enforcement_with(json!({"delegations": [delegation]}))).await;
    governed.converged().await;
    let left = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "left", "namespace": "shop", "finalizers": ["example.com/tidy"]}});
    governed.slip_in(Method::POST, MAPS, &left).await;
    eventually("its removal", async || {
        let removed = governed.log_records("reconcile", "undeclared object removed");
        removed.iter().any(|record| record["object"].as_str().is_some_and(|id| id.contains("left"))).then_some(())
    })
    .await;
    let left = get(&governed.client, &path).await.expect("what its operator has not tidied up after");
    assert!(left["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(left["metadata"]["finalizers"], json!(["example.com/tidy"]));
    let release = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
    governed.slip_in(Method::PATCH, &path, &release).await;
    eventually("it to be gone", async || get(&governed.client, &path).await.is_none().then_some(())).await;
}
