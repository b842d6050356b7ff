//! What one process leaves to the next, and from when on it says that the cluster is what Git declares.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use gitadel::snapshot::{FILE_NAME, Snapshot};
use hyper::Method;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::eventually;
use support::governed::{Governed, condition, reason};
use support::shop::{SETTINGS_PATH, SHOP, WEB, WEB_PATH};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_enforcement_is_converged_when_its_baseline_is_recorded() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    // Nobody proves a webhook that does not run, and before the proof nothing is recorded.
    governed.run_reconciler();
    // With nothing to enforce it gives the webhook an empty snapshot. That is no word that there is one.
    let snapshot = governed.run_directory.join("snapshot").join(FILE_NAME);
    eventually("the empty snapshot", async || snapshot.exists().then_some(())).await;
    governed.enforce(governed.enforcement()).await;
    let recording = |status: &Value| {
        assert_eq!(condition(status, "Converged") == "True", reason(status, "Converged") == "Converged", "{status:#}");
        assert_ne!(condition(status, "Converged"), "True", "no baseline is recorded: {status:#}");
        reason(status, "Converged") == "RecordingBaseline"
    };
    governed.until("the baseline to be all that is missing", LIMIT, recording).await;
    assert!(get(&governed.client, SETTINGS_PATH).await.is_some(), "all that is declared is there");
    governed.run_webhook();
    governed.converged().await;
    assert!(governed.status().await["objects"]["baseline"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_says_converged_when_it_has_compared_the_cluster_itself() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    let path = "/apis/gitadel.dev/v1alpha1/enforcements/all";
    governed.stop_reconciler();
    governed.slip_in(Method::DELETE, SETTINGS_PATH, &Value::Null).await;
    let before = get(&governed.client, path).await.unwrap();
    assert_eq!(condition(&before["status"], "Converged"), "True", "nobody was there to see it");
    governed.run_reconciler();
    // The conditions carry the time when they changed, which is too coarse here: each write of the status is looked at.
    let mut last = before["metadata"]["resourceVersion"].clone();
    eventually("the new process to say that the cluster converged", async || {
        let now = get(&governed.client, path).await.unwrap();
        let written = std::mem::replace(&mut last, now["metadata"]["resourceVersion"].clone()) != last;
        let converged = condition(&now["status"], "Converged") == "True";
        if written && converged {
            assert!(get(&governed.client, SETTINGS_PATH).await.is_some(), "{:#}", now["status"]);
        }
        (last != before["metadata"]["resourceVersion"] && converged).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_over_drift_is_one_write() {
    let files = [("shop.yaml", SHOP), ("web.yaml", WEB)];
    let mut governed = Governed::start(&files).await;
    let generation =
        async || get(&governed.client, WEB_PATH).await.unwrap()["metadata"]["generation"].as_u64().unwrap();
    let declared = generation().await;
    governed.stop_reconciler();
    // Other fields than the one that the commit changes, and one that makes Pods anew.
    let drift = json!([
        {"op": "replace", "path": "/spec/replicas", "value": 3},
        {"op": "add", "path": "/spec/template/metadata/labels/mine", "value": "yes"},
    ]);
    governed.slip_in(Method::PATCH, WEB_PATH, &drift).await;
    eventually("the Pods of the drift", async || (governed.replica_sets().await.len() == 2).then_some(())).await;
    governed.commit("a new image", &[("web.yaml", &WEB.replace("web:1", "web:2"))]);
    // Git is slow: the drift is seen before the commit.
    let directory = governed.control_plane.directory().join("slow");
    let (program, gate) = (directory.join("git-upload-pack"), directory.join("gate"));
    std::fs::create_dir(&directory).unwrap();
    let script = "#!/bin/sh\nuntil [ -e \"${0%/*}/gate\" ]; do sleep 0.05; done\nexec git upload-pack \"$@\"\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    governed.programs = Some(directory);
    governed.run_reconciler();
    let seen = async || {
        let metrics = governed.try_reconciler_metrics()?;
        (metrics.sum("gitadel_drift_detected_total", &[]) > 0.0).then_some(())
    };
    eventually("the drift to be seen", seen).await;
    std::fs::write(&gate, "").unwrap();
    governed.converged().await;
    let live = get(&governed.client, WEB_PATH).await.unwrap();
    let spec = &live["spec"];
    assert_eq!(spec["template"]["spec"]["containers"][0]["image"], "registry.example/web:2");
    assert_eq!((&spec["replicas"], &spec["template"]["metadata"]["labels"]["mine"]), (&json!(2), &Value::Null));
    assert_eq!(live["metadata"]["generation"], declared + 2, "the drift was one write, and what undid it another");
    let image = |set: &Value| set["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let is_of_drift = |set: &Value| set["metadata"]["labels"]["mine"] == "yes";
    let of_commit = async || {
        let sets = governed.replica_sets().await;
        sets.into_iter().find(|set| image(set) == "registry.example/web:2")
    };
    let new = eventually("the Pods of the commit", of_commit).await;
    assert_eq!(new["metadata"]["labels"]["mine"], Value::Null);
    let sets = governed.replica_sets().await;
    let first = sets.iter().find(|set| image(set) == "registry.example/web:1" && !is_of_drift(set)).expect("the first");
    let revision = &first["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    assert_eq!(revision, "1", "the first Pods did not come back in between: {first:#}");
    eventually("the Pods of the drift to go", async || {
        (!governed.replica_sets().await.iter().any(is_of_drift)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_asked_to_stop_finishes_its_writes_and_gives_the_lease_back() {
    const CONFIG_MAPS: usize = 400;
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    // A Git server that takes a connection and then says nothing holds nobody up.
    governed.transports.push("http");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let mut other = governed.enforcement();
    other["metadata"]["name"] = json!("silent");
    other["spec"]["source"]["url"] = json!(format!("http://{}/silent.git", silent.local_addr().unwrap()));
    other["spec"]["scope"] = json!({"namespaces": ["elsewhere"]});
    other["spec"]["action"] = json!("Observe");
    governed.enforce(other).await;
    governed.run();
    let _connection = eventually("a fetch from the silent server", async || silent.accept().ok()).await;
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;

    let config_map = |n| {
        format!(
            "---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c-{n}, namespace: shop}}, data: {{a: b}}}}\n"
        )
    };
    governed.commit("many objects", &[("many.yaml", &(0..CONFIG_MAPS).map(config_map).collect::<String>())]);
    governed.notify().await;
    let client = governed.client.clone();
    let list = async || {
        let list = send(&client, Method::GET, "/api/v1/namespaces/shop/configmaps", &Value::Null).await.unwrap();
        list["items"].as_array().unwrap().clone()
    };
    eventually("some objects", async || (list().await.len() > 20).then_some(())).await;
    governed.terminate_reconciler();
    // A request to a silent server ends by itself after half a minute; a Pod that stops has no such time.
    let ended = eventually("the reconciler to end", async || governed.reconciler_exit());
    let status = tokio::time::timeout(Duration::from_secs(15), ended).await.expect("nothing holds it up");
    assert_eq!(status.code(), Some(0), "{status}");
    assert_eq!(governed.log_records("reconcile", "stopped").len(), 1);
    let lease = get(&client, "/apis/coordination.k8s.io/v1/namespaces/gitadel-system/leases/gitadel").await.unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "", "{:#}", lease["spec"]);
    let written = list().await;

    governed.run_reconciler();
    governed.converged().await;
    let now = list().await;
    // settings and kube-root-ca.crt are the two more.
    assert_eq!(now.len(), CONFIG_MAPS + 2);
    for object in &written {
        assert!(now.contains(object), "written again: {:#}", object["metadata"]);
    }
}

const HELD: &str = "example.com/held";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_went_unseen_is_not_taken_for_the_one_that_is_there() {
    let held = SHOP.replace("{name: shop}", &format!("{{name: shop, finalizers: [{HELD}]}}"));
    let mut governed = Governed::start(&[("shop.yaml", &held)]).await;
    let path = "/api/v1/namespaces/shop";
    governed.slip_in(Method::DELETE, path, &Value::Null).await;
    let snapshot = governed.run_directory.join("snapshot").join(FILE_NAME);
    let terminates = || Snapshot::open(&snapshot, None).unwrap().meta().terminating_namespaces.contains("shop");
    eventually("the webhook to know", async || terminates().then_some(())).await;
    governed.stop_reconciler();
    let again = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "finalizers": [HELD]}});
    eventually("another one", async || {
        let release = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
        match get(&governed.client, path).await {
            Some(_) => _ = send(&governed.client, Method::PATCH, path, &release).await,
            None => return send(&governed.client, Method::POST, "/api/v1/namespaces", &again).await.ok(),
        }
        None
    })
    .await;
    assert!(terminates(), "nobody told the webhook");
    governed.run_reconciler();
    governed.converged().await;
    eventually("the webhook to know that it lives", async || (!terminates()).then_some(())).await;
    eventually("a refusal", async || {
        let said = governed.kubectl(&["-n", "shop", "delete", "configmap/settings", "--dry-run=server"]);
        (!said.success && said.stderr.contains("is governed by Git")).then_some(())
    })
    .await;
}
