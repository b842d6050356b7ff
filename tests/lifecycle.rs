//! What comes and goes with commits, and what a restart at any point leaves as it is.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use support::bypass::{content, get, send};
use support::eventually;
use support::git::git;
use support::governed::{Governed, NAME, condition, reason};
use support::shop::NAMESPACE;

fn deployment(name: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec: {{containers: [{{name: a, image: registry.example/a:1}}]}}
"
    )
}

fn config_map(name: &str, annotations: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}, namespace: shop, annotations: {{{annotations}}}}}
data: {{colour: blue}}
"
    )
}

fn path_of(name: &str) -> String {
    format!("/api/v1/namespaces/shop/configmaps/{name}")
}

/// uid, resourceVersion and generation of all objects in the namespace that Git declares there.
async fn versions(governed: &Governed) -> BTreeMap<String, (Value, Value, Value)> {
    let mut versions = BTreeMap::new();
    for path in ["/api/v1/namespaces/shop/configmaps", "/apis/apps/v1/namespaces/shop/deployments"] {
        let list = get(&governed.client, path).await.unwrap();
        for object in list["items"].as_array().unwrap() {
            let metadata = &object["metadata"];
            let known = (metadata["uid"].clone(), metadata["resourceVersion"].clone(), metadata["generation"].clone());
            versions.insert(format!("{path}/{}", metadata["name"].as_str().unwrap()), known);
        }
    }
    versions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_at_any_point_loses_nothing_and_applies_nothing_twice() {
    const DEPLOYMENTS: usize = 40;
    const CONFIG_MAPS: usize = 160;
    let mut governed = Governed::prepare(&[("shop/namespace.yaml", NAMESPACE)]).await;
    let client = governed.client.clone();
    let old = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "namespace": "default"}});
    send(&client, Method::POST, "/api/v1/namespaces/default/configmaps", &old).await.unwrap();
    governed.run();
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;
    let metrics = governed.reconciler_metrics();
    assert!(metrics.sum("gitadel_canonicalisations_total", &[("outcome", "asked")]) > 0.0);
    assert!(metrics.sum("gitadel_applies_total", &[]) > 0.0);

    let names = |prefix: &str, count: usize| (0..count).map(|n| format!("{prefix}-{n}")).collect::<Vec<_>>();
    let deployments: String = names("d", DEPLOYMENTS).iter().map(|name| deployment(name)).collect();
    let config_maps: String = names("c", CONFIG_MAPS).iter().map(|name| config_map(name, "")).collect();
    let kept = config_map("kept", "");
    let files = [("shop/c.yaml", config_maps.as_str()), ("shop/d.yaml", &deployments), ("shop/kept.yaml", &kept)];
    governed.commit("many objects", &files);
    // Not at the same point each time: when so many objects are there.
    for there in [1, 30, 90, 150] {
        let list = async || get(&client, "/api/v1/namespaces/shop/configmaps").await.unwrap();
        governed.notify().await;
        eventually("some objects", async || (list().await["items"].as_array().unwrap().len() > there).then_some(()))
            .await;
        governed.stop_reconciler();
        governed.run_reconciler();
        governed.listening().await;
    }
    governed.converged().await;
    let after = versions(&governed).await;
    // kube-root-ca.crt is the one more.
    assert_eq!(after.len(), DEPLOYMENTS + CONFIG_MAPS + 2);
    for (path, (_, _, generation)) in &after {
        assert!(*generation == 1 || generation.is_null(), "{path} was written more than once: {generation}");
    }
    eventually("the ReplicaSets", async || (governed.replica_sets().await.len() == DEPLOYMENTS).then_some(())).await;

    // Over a converged cluster there is nothing to ask and nothing to write.
    let before = settled(&governed).await;
    governed.stop_reconciler();
    governed.run_reconciler();
    governed.listening().await;
    governed.round_is_over().await;
    let metrics = governed.reconciler_metrics();
    assert_eq!(metrics.sum("gitadel_canonicalisations_total", &[("outcome", "asked")]), 0.0);
    assert_eq!(metrics.sum("gitadel_canonicalisations_total", &[("outcome", "predicted")]), 0.0);
    assert!(
        metrics.sum("gitadel_canonicalisations_total", &[("outcome", "cached")]) >= (DEPLOYMENTS + CONFIG_MAPS) as f64
    );
    assert_eq!(metrics.sum("gitadel_applies_total", &[]), 0.0);
    assert_eq!(metrics.sum("gitadel_drift_detected_total", &[]), 0.0);
    assert_eq!(settled(&governed).await, before);

    // The file is there for the next webhook, whatever becomes of it.
    let file = governed.run_directory.join("snapshot/snapshot");
    let whole = std::fs::metadata(&file).unwrap().len();
    let is_whole = async || std::fs::metadata(&file).is_ok_and(|file| file.len() >= whole).then_some(());
    std::fs::remove_file(&file).unwrap();
    eventually("a deleted snapshot to be back", is_whole).await;
    let other = governed.run_directory.join("snapshot/other");
    std::fs::write(&other, "nothing").unwrap();
    std::fs::rename(&other, &file).unwrap();
    eventually("another file to be replaced", is_whole).await;

    // The webhook needs nobody but the file.
    governed.stop_reconciler();
    governed.stop_webhook();
    governed.run_webhook();
    let denied = eventually("a denial by the new webhook", async || {
        let said = governed.kubectl(&["-n", "shop", "label", "configmap/c-0", "mine=yes"]);
        assert!(!said.success, "nothing is admitted meanwhile: {said:?}");
        said.stderr.contains("is governed by Git").then_some(said.stderr)
    })
    .await;
    assert!(denied.contains("shop/c.yaml:"), "{denied}");

    // A new Pod has neither the snapshot nor the repository. Meanwhile objects left Git, and somebody forged a line.
    governed.lose_volume();
    let commit = git(&governed.work_tree, &["rev-parse", "HEAD~1"]);
    forge(&governed, &format!("/ConfigMap/default/old {commit} shop/c.yaml")).await;
    let fewer: String = names("c", CONFIG_MAPS - 2).iter().map(|name| config_map(name, "")).collect();
    governed.commit("forbid to prune it", &[("shop/kept.yaml", &config_map("kept", "gitadel.dev/prune: 'false'"))]);
    governed.commit("fewer objects", &[("shop/c.yaml", &fewer), ("shop/kept.yaml", "")]);
    governed.run();
    governed.converged().await;
    let metrics = governed.reconciler_metrics();
    assert_eq!(metrics.sum("gitadel_pruned_total", &[("enforcement", "all")]), 2.0);
    // What is kept gets the annotation with which it was last declared, before it left Git.
    eventually("the annotation", async || {
        let kept = get(&client, &path_of("kept")).await.unwrap();
        (kept["metadata"]["annotations"]["gitadel.dev/prune"] == "false").then_some(())
    })
    .await;
    eventually("the revert to be counted", async || {
        (governed.reconciler_metrics().sum("gitadel_drift_reverted_total", &[]) > 0.0).then_some(())
    })
    .await;
    let reverted = governed.reconciler_metrics().sum("gitadel_drift_reverted_total", &[]);
    assert_eq!(reverted, 1.0, "nothing declared was taken for undeclared");
    assert!(get(&client, "/api/v1/namespaces/default/configmaps/old").await.is_some(), "a forged line deletes nothing");
    eventually("the forged line to go", async || {
        (!inventory(&governed).await.contains("/ConfigMap/default/old")).then_some(())
    })
    .await;
    let now = settled(&governed).await;
    for (path, known) in &before {
        let gone = [path_of("c-158"), path_of("c-159")].contains(path);
        let annotated = *path == path_of("kept");
        assert!(gone || annotated || now.get(path) == Some(known), "{path}: {:?}, not {known:?}", now.get(path));
        assert!(!gone || !now.contains_key(path), "{path}");
    }
    governed.rejects(&["-n", "shop", "label", "configmap/kept", "mine=yes"], "no longer declared");
    governed.admits(&["-n", "shop", "delete", "configmap/kept"]);
}

/// The versions of all objects when controllers wrote their last status: no Pod ever becomes ready here.
async fn settled(governed: &Governed) -> BTreeMap<String, (Value, Value, Value)> {
    eventually("the controllers' last word", async || {
        let list = get(&governed.client, "/apis/apps/v1/namespaces/shop/deployments").await.unwrap();
        let rolled_out = |deployment: &Value| {
            let status = &deployment["status"];
            status["observedGeneration"] == deployment["metadata"]["generation"]
                && (&status["replicas"], &status["updatedReplicas"]) == (&json!(1), &json!(1))
        };
        list["items"].as_array().unwrap().iter().all(rolled_out).then_some(())
    })
    .await;
    versions(governed).await
}

async fn inventory(governed: &Governed) -> String {
    let list = get(&governed.client, "/api/v1/namespaces/gitadel-system/configmaps").await.unwrap();
    let shards = list["items"].as_array().unwrap().iter().filter_map(|shard| shard["data"]["objects"].as_str());
    shards.collect::<Vec<_>>().join("\n")
}

async fn forge(governed: &Governed, line: &str) {
    let path = format!("/api/v1/namespaces/gitadel-system/configmaps/gitadel-inventory-{NAME}-x");
    let shard = get(&governed.client, &path).await.unwrap();
    let text = format!("{}\n{line}", shard["data"]["objects"].as_str().unwrap());
    let patch = json!([{"op": "replace", "path": "/data/objects", "value": text}]);
    governed.slip_in(Method::PATCH, &path, &patch).await;
}

impl Governed {
    async fn push(&self, subject: &str, files: &[(&str, &str)]) {
        self.commit(subject, files);
        self.notify().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_make_change_and_remove_objects() {
    let mut governed = Governed::prepare(&[("shop/namespace.yaml", NAMESPACE)]).await;
    let client = governed.client.clone();
    let enforcement = |guard: u32| governed.enforcement_with(json!({"deletionGuard": {"maxObjects": guard}}));
    // Declared by itself: so a commit changes it, and nothing else does.
    let (strict, lenient) = (enforcement(3), enforcement(20));
    let many: String = (0..5).map(|n| config_map(&format!("c-{n}"), "")).collect();
    let kept = config_map("kept", "gitadel.dev/prune: 'false'");
    let web = deployment("web");
    governed.commit(
        "the beginning",
        &[
            ("enforcement.yaml", &strict.to_string()),
            ("shop/many.yaml", &many),
            ("shop/kept.yaml", &kept),
            ("shop/one.yaml", &config_map("one", "")),
            ("shop/web.yaml", &web),
        ],
    );
    governed.run();
    governed.enforce(strict.clone()).await;
    governed.converged().await;

    // What leaves Git goes, but for what Git forbids to prune.
    governed.push("remove two", &[("shop/kept.yaml", ""), ("shop/one.yaml", "")]).await;
    governed.converged().await;
    assert!(get(&client, &path_of("one")).await.is_none());
    governed.rejects(&["-n", "shop", "label", "configmap/kept", "mine=yes"], "no longer declared");
    let drifted = r#"{"data":{"colour":"red"}}"#;
    governed.rejects(&["-n", "shop", "patch", "configmap/kept", "-p", drifted], "no longer declared");
    // Free to go, and not to come back.
    governed.admits(&["-n", "shop", "delete", "configmap/kept"]);
    let again = ["-n", "shop", "create", "configmap", "kept", "--from-literal=colour=blue"];
    governed.rejects(&again, "is not declared in Git");

    // git revert brings back what a commit removed.
    git(&governed.work_tree, &["revert", "--no-edit", "HEAD"]);
    git(&governed.work_tree, &["push", "--quiet", "origin", "HEAD:main"]);
    governed.notify().await;
    governed.converged().await;
    assert!(get(&client, &path_of("one")).await.is_some() && get(&client, &path_of("kept")).await.is_some());

    // An object that moves to another file is the same object.
    let before = get(&client, &path_of("one")).await.unwrap();
    governed.push("move it", &[("shop/one.yaml", ""), ("shop/moved.yaml", &config_map("one", ""))]).await;
    governed.converged().await;
    assert_eq!(get(&client, &path_of("one")).await.unwrap()["metadata"], before["metadata"]);
    governed.rejects(&["-n", "shop", "label", "configmap/one", "mine=yes"], "shop/moved.yaml:");

    // More than the guard allows stays, is reported, and goes when a commit raises the limit.
    governed.push("remove five", &[("shop/many.yaml", "")]).await;
    let reported = |status: &Value| status["problems"].to_string().contains("DeletionGuard");
    governed.until("the guard to be reported", Duration::from_secs(30), reported).await;
    for n in 0..5 {
        assert!(get(&client, &path_of(&format!("c-{n}"))).await.is_some());
    }
    governed.push("raise the limit", &[("enforcement.yaml", &lenient.to_string())]).await;
    eventually("the five to go", async || get(&client, &path_of("c-4")).await.is_none().then_some(())).await;
    governed.converged().await;

    // A change that the live object cannot take is reported, and made where Git allows to recreate.
    let recreated = web.replace("app: web", "app: other");
    governed.push("another selector", &[("shop/web.yaml", &recreated)]).await;
    let reported = |status: &Value| {
        status["problems"].as_array().into_iter().flatten().any(|problem| {
            problem["reason"] == "NeedsRecreate"
                && problem["position"] == "shop/web.yaml:2"
                && problem["message"].as_str().is_some_and(|message| message.contains("gitadel.dev/recreate"))
        })
    };
    governed.until("the need to recreate to be reported", Duration::from_secs(30), reported).await;
    let web_path = "/apis/apps/v1/namespaces/shop/deployments/web";
    let live = get(&client, web_path).await.unwrap();
    // The last good state stays.
    governed.rejects(&["-n", "shop", "scale", "deployment/web", "--replicas=3"], "spec.replicas must be 1, not 3");
    governed.rejects(&["-n", "shop", "delete", "deployment/web"], "must not be deleted");
    let allowed = recreated.replace(
        "metadata: {name: web, namespace: shop}",
        "metadata: {name: web, namespace: shop, annotations: {gitadel.dev/recreate: 'true'}}",
    );
    governed.push("allow it", &[("shop/web.yaml", &allowed)]).await;
    governed.converged().await;
    let new = get(&client, web_path).await.unwrap();
    assert_ne!(new["metadata"]["uid"], live["metadata"]["uid"]);
    assert_eq!(new["spec"]["selector"]["matchLabels"]["app"], "other");
    // The permission is for what differs.
    governed.rejects(&["-n", "shop", "delete", "deployment/web"], "must not be deleted");
    eventually("the children of the old one to go", async || (governed.replica_sets().await.len() == 1).then_some(()))
        .await;

    // A kind and its first object in one commit.
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "shelves.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "shelves", "singular": "shelf", "kind": "Shelf", "listKind": "ShelfList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "properties": {"width": {"type": "integer", "default": 3}}}}}}}]}});
    let shelf = json!({"apiVersion": "example.com/v1", "kind": "Shelf",
        "metadata": {"name": "first", "namespace": "shop"}, "spec": {}});
    governed.push("a kind", &[("kinds/a.yaml", &shelf.to_string()), ("kinds/b.yaml", &definition.to_string())]).await;
    governed.converged().await;
    let shelf = get(&client, "/apis/example.com/v1/namespaces/shop/shelves/first").await.unwrap();
    assert_eq!(shelf["spec"]["width"], 3, "{:#}", content(&shelf));
    let wider = ["-n", "shop", "patch", "shelf/first", "--type=merge", "-p", r#"{"spec":{"width":4}}"#];
    governed.rejects(&wider, "spec.width must be 3, not 4");

    // A namespace leaves Git with all that is in it.
    governed.rejects(&["delete", "namespace", "shop", "--wait=false"], "must not be deleted");
    let files = ["shop/namespace.yaml", "shop/moved.yaml", "shop/kept.yaml", "shop/web.yaml", "kinds/a.yaml"]
        .map(|file| (file, ""));
    governed.push("close the shop", &files).await;
    eventually("the namespace to go", async || get(&client, "/api/v1/namespaces/shop").await.is_none().then_some(()))
        .await;
    governed.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observe_and_warn_only_tell() {
    let files = [("shop/namespace.yaml", NAMESPACE), ("shop/one.yaml", &config_map("one", ""))];
    let mut governed = Governed::prepare(&files).await;
    let client = governed.client.clone();
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"action": "Observe"}))).await;
    let seen = |status: &Value| {
        condition(status, "SourceReady") == "True"
            && status["commit"]["id"].is_string()
            && status["objects"]["declared"] == 2
    };
    governed.until("the commit to be observed", Duration::from_secs(30), seen).await;
    assert!(get(&client, "/api/v1/namespaces/shop").await.is_none(), "nothing is written");

    // What is there differs from Git: that is counted, and left.
    let said = governed.kubectl(&["create", "namespace", "shop"]);
    assert!(said.success && said.stderr.is_empty(), "{said:?}");
    let found = |status: &Value| status["drift"]["objects"].as_u64().is_some_and(|count| count > 0);
    governed.until("a finding", Duration::from_secs(30), found).await;
    let counted = |governed: &Governed| {
        governed.webhook_metrics().sum("gitadel_admission_reviews_total", &[("outcome", "observe")])
    };
    eventually("a review that would have been denied", async || {
        let said = governed.kubectl(&["-n", "shop", "create", "configmap", "one", "--from-literal=colour=red"]);
        assert!(said.success && said.stderr.is_empty(), "{said:?}");
        let said = governed.kubectl(&["-n", "shop", "delete", "configmap", "one"]);
        assert!(said.success && said.stderr.is_empty(), "{said:?}");
        (counted(&governed) > 0.0).then_some(())
    })
    .await;

    // So is what comes to be that Git does not declare, and what changes that was there before.
    let rules = |governed: &Governed, rule: &str| {
        governed.webhook_metrics().sum("gitadel_admission_reviews_total", &[("outcome", "observe"), ("rule", rule)])
    };
    eventually("a creation that would have been denied", async || {
        let said = governed.kubectl(&["create", "configmap", "undeclared"]);
        assert!(said.success && said.stderr.is_empty(), "{said:?}");
        let said = governed.kubectl(&["delete", "configmap", "undeclared"]);
        assert!(said.success && said.stderr.is_empty(), "{said:?}");
        (rules(&governed, "undeclared") > 0.0).then_some(())
    })
    .await;
    let before = rules(&governed, "declared");
    let said = governed.kubectl(&["label", "namespace/default", "mine=yes"]);
    assert!(said.success && rules(&governed, "declared") > before, "what was there is frozen: {said:?}");
    governed.admits(&["create", "configmap", "late"]);
    let status = governed.status().await;
    assert_eq!((condition(&status, "Enforcing"), reason(&status, "Enforcing")), ("False", "Observing"));
    assert_eq!(status["objects"]["applied"], 0, "{status:#}");
    assert!(status["objects"]["baseline"].as_u64().is_some_and(|count| count > 0), "{status:#}");

    governed.enforce(governed.enforcement_with(json!({"action": "Warn"}))).await;
    eventually("a warning of what is undeclared", async || {
        let said = governed.kubectl(&["create", "configmap", "undeclared"]);
        let gone = governed.kubectl(&["delete", "configmap", "undeclared"]);
        assert!(said.success && gone.success, "{said:?}, {gone:?}");
        (said.stderr.contains("Warning:") && said.stderr.contains("is not declared in Git")).then_some(())
    })
    .await;
    eventually("a warning", async || {
        let said = governed.admits(&["-n", "shop", "create", "configmap", "one", "--from-literal=colour=red"]);
        governed.admits(&["-n", "shop", "delete", "configmap", "one"]);
        (said.stderr.contains("Warning:") && said.stderr.contains("Git")).then_some(())
    })
    .await;
    governed.admits(&["-n", "shop", "create", "configmap", "one", "--from-literal=colour=red"]);
    let found = |status: &Value| status["drift"]["objects"].as_u64().is_some_and(|count| count > 0);
    governed.until("drift", Duration::from_secs(30), found).await;
    let live = get(&client, &path_of("one")).await.unwrap();
    assert_eq!(live["data"]["colour"], "red", "nothing is put back");
    assert_eq!(governed.reconciler_metrics().sum("gitadel_applies_total", &[]), 0.0);
    let events = || governed.admits(&["get", "events", "-A", "-o", "jsonpath={.items[*].message}"]).stdout;
    assert!(!events().contains("is in force"), "{}", events());

    // What is there when enforcement begins is what was there before it, whenever it came.
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;
    assert_eq!(get(&client, &path_of("one")).await.unwrap()["data"]["colour"], "blue");
    // Recorded, and frozen.
    governed.rejects(&["label", "configmap/late", "mine=yes"], "baseline");
    governed.rejects(&["create", "configmap", "undeclared"], "is not declared in Git");
    assert!(governed.reconciler_metrics().sum("gitadel_applies_total", &[]) > 0.0);
    eventually("the Event of the commit", async || events().contains("is in force").then_some(())).await;
}
