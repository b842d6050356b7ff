//! gitadel with manifests that no one here wrote, on a real API server with the controllers running: they converge and
//! stay as they are, nothing but Git changes them, and what was there before is adopted without a restart.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod edits;
mod manifests;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use edits::Target;
use futures::{StreamExt, stream};
use kube::discovery::Discovery;
use manifests::{Manifests, delegations};
use serde_json::{Value, json};
use support::governed::{Governed, condition};
use support::{eventually, kubectl_with_input};

/// Whose certificate the tests use.
const ADMINISTRATOR: &str = "kubernetes-admin";
/// Objects that are attacked at once.
const PARALLEL: usize = 8;

/// Runs gitadel over what [`Governed::prepare`] made, with replicas left to the autoscaler.
async fn enforce(governed: &mut Governed) {
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"delegations": delegations()}))).await;
    let took = governed.converged().await;
    println!("converged after {took:.1?}");
}

async fn targets(governed: &Governed, manifests: &Manifests) -> Vec<Target> {
    let discovery = Discovery::new(governed.client.clone()).run().await.unwrap();
    manifests.objects.iter().map(|manifest| Target::new(&governed.client, &discovery, manifest)).collect()
}

/// Watches for a while that nothing happens.
async fn stays_converged(governed: &Governed, duration: Duration) {
    let applied = governed.reconciler_metrics().sum("gitadel_applies_total", &[]);
    let end = Instant::now() + duration;
    while Instant::now() < end {
        let status = governed.status().await;
        assert_eq!(condition(&status, "Converged"), "True", "{status:#}");
        assert_eq!(status["drift"]["objects"], 0, "{status:#}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(governed.reconciler_metrics().sum("gitadel_applies_total", &[]), applied, "nothing had to be written");
}

fn denials(governed: &Governed) -> Vec<Value> {
    governed.log_records("webhook", "a write that does not match Git")
}

/// No drift was ever seen, and nobody but the administrator of the tests was denied anything.
fn assert_undisturbed(governed: &Governed) {
    let drift = governed.log_records("reconcile", "differs from Git");
    assert_eq!(governed.reconciler_metrics().sum("gitadel_drift_detected_total", &[]), 0.0, "{drift:#?}");
    assert_eq!(governed.reconciler_metrics().sum("gitadel_drift_reverted_total", &[]), 0.0);
    let mut denied = denials(governed);
    denied.retain(|denial| denial["user"] != ADMINISTRATOR);
    assert!(denied.is_empty(), "{denied:#?}");
    assert_eq!(governed.webhook_metrics().sum("gitadel_admission_errors_total", &[]), 0.0);
    let log = std::fs::read_to_string(governed.control_plane.logs().join("kube-controller-manager.log")).unwrap();
    let refused = |line: &&str| line.contains("webhook") && line.contains(".gitadel.dev");
    let refused: Vec<&str> = log.lines().filter(refused).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_converge_and_only_git_changes_them() {
    let manifests = Manifests::fetch();
    let mut governed = Governed::prepare(&manifests.files()).await;
    enforce(&mut governed).await;
    let status = governed.status().await;
    assert_eq!(status["objects"]["declared"], manifests.objects.len(), "{status:#}");
    stays_converged(&governed, Duration::from_secs(60)).await;
    assert_undisturbed(&governed);
    rolled_out(&governed).await;

    let targets = targets(&governed, &manifests).await;
    let before = states(&targets).await;
    let start = Instant::now();
    let results: Vec<(String, Result<usize, String>)> = stream::iter(&targets)
        .map(|target| async { (target.title(), target.attack().await) })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let failed: Vec<_> = results.iter().filter_map(|(title, result)| Some((title, result.as_ref().err()?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let denied: usize = results.iter().filter_map(|(_, result)| result.as_ref().ok()).sum();
    let told = denials(&governed).iter().filter(|denial| denial["user"] == ADMINISTRATOR).count();
    // With a label and a deletion of each.
    assert!(told >= denied + 2 * targets.len(), "{told} denials are in the log");
    println!("{denied} edits of {} objects denied in {:.1?}", targets.len(), start.elapsed());
    assert_eq!(states(&targets).await, before, "not one of them was changed");

    let stream = manifests.stream();
    for command in [
        &["apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", "-"][..],
        &["apply", "-f", "-"],
        &["replace", "-f", "-"],
    ] {
        let said = kubectl_with_input(governed.control_plane.kubeconfig(), command, &stream);
        assert!(said.success, "kubectl {command:?}: {}", said.stderr);
        assert_eq!(said.stdout.lines().count(), targets.len(), "{}", said.stdout);
    }
    rolled_out(&governed).await;
    stays_converged(&governed, Duration::from_secs(5)).await;
    assert_undisturbed(&governed);
}

/// Deployments that drift before a commit changes them; the first three are Argo CD's.
const DRIFTED: &[(&str, &str)] = &[
    ("argocd", "argocd-server"),
    ("argocd", "argocd-repo-server"),
    ("argocd", "argocd-notifications-controller"),
    ("webapp", "backend"),
    ("podinfo", "podinfo"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_created_before_is_adopted_and_a_commit_over_drift_is_one_rollout() {
    let manifests = Manifests::fetch();
    let mut governed = Governed::prepare(&manifests.files()).await;
    let create = ["create", "-f", "-"];
    let said = kubectl_with_input(governed.control_plane.kubeconfig(), &create, &manifests.stream());
    assert!(said.success, "{}", said.stderr);
    rolled_out(&governed).await;
    let targets = targets(&governed, &manifests).await;
    let (before, workloads) = (states(&targets).await, workloads(&governed));

    enforce(&mut governed).await;
    stays_converged(&governed, Duration::from_secs(5)).await;
    assert_undisturbed(&governed);
    assert_eq!(states(&targets).await, before, "adopted as they were");
    assert_eq!(self::workloads(&governed), workloads, "and what they own as well");

    governed.stop_reconciler();
    let said = governed.kubectl(&["delete", "validatingwebhookconfiguration", "gitadel"]);
    assert!(said.success, "{said:?}");
    for (namespace, name) in DRIFTED {
        let image = ["-n", namespace, "set", "image", "deployment", name, "*=registry.example/drift:1"];
        eventually("the API server to forget the webhook", async || governed.kubectl(&image).success.then_some(()))
            .await;
    }
    rolled_out(&governed).await;
    let drifted = replica_sets(&governed);
    let (argo_cd, podinfo) = ("quay.io/argoproj/argocd:v2.14.21", "ghcr.io/stefanprodan/podinfo:6.9.2");
    let changed: Vec<(&str, String)> = manifests
        .files()
        .into_iter()
        .filter(|(_, content)| content.contains(argo_cd) || content.contains(podinfo))
        .map(|(path, content)| {
            (path, content.replace(argo_cd, "registry.example/argocd:2").replace(podinfo, "registry.example/podinfo:2"))
        })
        .collect();
    let changed: Vec<(&str, &str)> = changed.iter().map(|(path, content)| (*path, content.as_str())).collect();
    governed.commit("new images", &changed);
    governed.run_reconciler();
    let took = governed.converged().await;
    println!("a commit over drift converged after {took:.1?}");
    rolled_out(&governed).await;
    let mut changed = 0;
    for (deployment, after) in replica_sets(&governed) {
        // What no template yields goes at once.
        let is_of_drift = |set: &Value| set["image"] == "registry.example/drift:1";
        let (mut expected, mut after) = (drifted[&deployment].clone(), after);
        expected.retain(|set| !is_of_drift(set));
        after.retain(|set| !is_of_drift(set));
        let new = after.iter().find(|set| !expected.contains(set));
        let changes = manifests.objects.iter().any(|object| {
            let text = object.to_string();
            is(object, &deployment) && (text.contains(argo_cd) || text.contains(podinfo))
        });
        if changes {
            // One more than before; and none of the others was gone back to, or it would have another revision.
            let new = new.unwrap_or_else(|| panic!("{deployment:?} was not rolled out: {after:#?}"));
            expected.push(new.clone());
            changed += 1;
        }
        assert_eq!(sorted(after), sorted(expected), "{deployment:?}");
    }
    assert_eq!(changed, 9, "six Deployments of Argo CD and three of podinfo are of these images");
}

/// Namespace and name.
type Named = (String, String);

fn is(object: &Value, (namespace, name): &Named) -> bool {
    object["kind"] == "Deployment"
        && object["metadata"]["namespace"] == *namespace
        && object["metadata"]["name"] == *name
}

fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(Value::to_string);
    values
}

fn list(governed: &Governed, kinds: &str) -> Vec<Value> {
    let said = governed.kubectl(&["get", kinds, "--all-namespaces", "-o", "json"]);
    assert!(said.success, "{said:?}");
    let mut list: Value = serde_json::from_str(&said.stdout).unwrap();
    serde_json::from_value(list["items"].take()).unwrap()
}

/// The ReplicaSets of each Deployment, with the revisions that each of them is and was.
fn replica_sets(governed: &Governed) -> BTreeMap<Named, Vec<Value>> {
    let mut found: BTreeMap<Named, Vec<Value>> = BTreeMap::new();
    for set in list(governed, "replicasets") {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &set["metadata"];
        let owner = (text(&metadata["namespace"]), text(&metadata["ownerReferences"][0]["name"]));
        let annotation = |name: &str| &metadata["annotations"][format!("deployment.kubernetes.io/{name}")];
        found.entry(owner).or_default().push(json!({
            "name": metadata["name"],
            "image": set["spec"]["template"]["spec"]["containers"][0]["image"],
            "revision": annotation("revision"),
            "was": annotation("revision-history"),
        }));
    }
    found
}

/// What the declared workloads own, by uid.
fn workloads(governed: &Governed) -> BTreeMap<String, String> {
    let owned = list(governed, "replicasets,controllerrevisions,pods");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    owned.iter().map(|o| (text(&o["metadata"]["uid"]), text(&o["metadata"]["name"]))).collect()
}

/// Waits until the controllers did what they can without a node, where no Pod is ever ready, and the autoscaler too.
async fn rolled_out(governed: &Governed) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut workloads = list(governed, "deployments,statefulsets");
        assert!(!workloads.is_empty(), "there is nothing that could be rolled out");
        workloads.retain(|workload| !is_rolled_out(workload));
        if workloads.is_empty() {
            return;
        }
        let late =
            || workloads.iter().map(|w| format!("{}: {}", w["metadata"]["name"], w["status"])).collect::<Vec<_>>();
        assert!(Instant::now() < deadline, "waited too long for the rollout of {:#?}", late());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_rolled_out(workload: &Value) -> bool {
    let (spec, status) = (&workload["spec"], &workload["status"]);
    status["observedGeneration"] == workload["metadata"]["generation"]
        // A StatefulSet replaces no Pod before the one that is there is ready.
        && (workload["kind"] == "StatefulSet" || status["updatedReplicas"].as_u64() >= Some(1))
        && status["replicas"].as_u64() >= spec["replicas"].as_u64()
        && (workload["metadata"]["name"] != "podinfo" || spec["replicas"] == 2)
}

/// All that a write would change, object by object.
async fn states(targets: &[Target]) -> BTreeMap<String, Value> {
    let states = stream::iter(targets).map(|target| async {
        let mut live = target.live().await;
        for (parent, name) in [("", "status"), ("/metadata", "resourceVersion"), ("/metadata", "managedFields")] {
            if let Some(members) = live.pointer_mut(parent).and_then(Value::as_object_mut) {
                members.remove(name);
            }
        }
        (target.title(), live)
    });
    states.buffer_unordered(PARALLEL).collect().await
}
