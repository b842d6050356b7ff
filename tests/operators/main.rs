//! An operator under full enforcement: MetalLB's own manifests in Git, the delegations of `examples/operators`, and a
//! stand-in that makes the writes of its controllers with their accounts and their RBAC. All of them are admitted and stay,
//! and whoever has those accounts, with whatever RBAC, gets nothing else.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attempts;
mod metallb;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use attempts::{Attempt, of_controller, of_speaker, replace, secret};
use hyper::Method;
use metallb::*;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::governed::{Governed, NAME};
use support::{client_for, eventually, kubectl_with_input};

const EXAMPLE: &str = "examples/operators/metallb.yaml";

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: internal, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Secret
metadata: {name: bgp-password, namespace: metallb-system}
type: kubernetes.io/basic-auth
stringData: {username: bgp, password: correct-horse-battery}
"#;

const MORE: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: blue}
";

/// The Enforcement of the example, of the test's repository.
fn example(governed: &Governed) -> Value {
    let mut example: Value = serde_saphyr::from_str(&std::fs::read_to_string(EXAMPLE).unwrap()).unwrap();
    example["metadata"]["name"] = json!(NAME);
    example["spec"]["source"] = governed.enforcement()["spec"]["source"].clone();
    example
}

/// Nobody was denied anything, and nothing was undone.
fn assert_undisturbed(governed: &Governed) {
    let denied = governed.log_records("webhook", "a write that does not match Git");
    assert!(denied.is_empty(), "{denied:#?}");
    let drift = governed.log_records("reconcile", "differs from Git");
    assert_eq!(governed.reconciler_metrics().sum("gitadel_drift_detected_total", &[]), 0.0, "{drift:#?}");
    assert_eq!(governed.reconciler_metrics().sum("gitadel_drift_reverted_total", &[]), 0.0);
    let removed = governed.log_records("reconcile", "undeclared object removed");
    assert!(removed.is_empty(), "{removed:#?}");
}

/// What MetalLB wrote, and only it.
async fn written(governed: &Governed) -> Value {
    let client = &governed.client;
    let (webhooks, definition) = (read(client, WEBHOOKS).await, read(client, BGP_PEERS).await);
    let service = read(client, WEB).await;
    json!({
        "certificate": read(client, CERTIFICATE).await["data"],
        "memberlist": read(client, MEMBERLIST).await["data"],
        "webhooks": webhooks["webhooks"].as_array().unwrap().iter().map(|w| &w["clientConfig"]["caBundle"]).collect::<Vec<_>>(),
        "conversion": definition["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"],
        "service": [service["metadata"]["annotations"], service["status"]["loadBalancer"]],
        "l2": read(client, L2_STATUSES).await["items"],
        "bgp": read(client, BGP_STATUSES).await["items"],
    })
}

async fn start() -> (Governed, MetalLb) {
    let mut governed = Governed::prepare(&[("metallb.yaml", &manifests()), ("shop.yaml", SHOP)]).await;
    governed.run();
    governed.enforce(example(&governed)).await;
    governed.converged().await;
    let metallb = join(&governed).await;
    (governed, metallb)
}

/// Makes nodes, so that there are speakers.
async fn join(governed: &Governed) -> MetalLb {
    for name in ["n1", "n2"] {
        let node = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}});
        create(&governed.client, "/api/v1/nodes", &node).await;
    }
    MetalLb::new(governed).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_its_controllers_write_is_admitted_and_stays() {
    let (mut governed, metallb) = start().await;
    let speakers_then = speakers(&governed, 2).await;
    metallb.make_memberlist().await;
    metallb.rotate().await;
    metallb.allocate("192.0.2.1", "public").await;
    let l2 = metallb.announce(L2_STATUSES, &speakers_then[0]).await;
    let bgp = metallb.announce(BGP_STATUSES, &speakers_then[0]).await;
    update(&metallb.speaker, &bgp, "", |status| {
        let owners = status["metadata"]["ownerReferences"].as_array_mut().unwrap();
        owners.push(owner("v1", "Pod", &speakers_then[1]));
    })
    .await;
    // And once more, over what is there.
    metallb.rotate().await;
    metallb.allocate("192.0.2.2", "private").await;

    let before = written(&governed).await;
    governed.commit("nothing of MetalLB", &[("shop/more.yaml", MORE)]);
    governed.notify().await;
    governed.converged().await;
    assert_undisturbed(&governed);
    // A process that knows nothing looks at everything anew.
    governed.lose_volume();
    governed.run();
    governed.round_is_over().await;
    assert_undisturbed(&governed);
    assert_eq!(written(&governed).await, before);

    // With its owner goes what belongs to it, and what has another stays.
    let gone = speakers_then[0]["metadata"]["name"].as_str().unwrap();
    governed.admits(&["-n", "metallb-system", "delete", "pod", gone]);
    eventually("the status to be collected", async || get(&governed.client, &l2).await.is_none().then_some(())).await;
    eventually("the dead owner to be forgotten", async || {
        let status = read(&governed.client, &bgp).await;
        (status["metadata"]["ownerReferences"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let successor = speakers(&governed, 2)
        .await
        .into_iter()
        .find(|pod| pod["metadata"]["uid"] != speakers_then[1]["metadata"]["uid"]);
    let l2 = metallb.announce(L2_STATUSES, &successor.unwrap()).await;
    send(&metallb.speaker, Method::DELETE, &l2, &Value::Null).await.unwrap();
    governed.round_is_over().await;
    assert_undisturbed(&governed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn their_accounts_get_nothing_else_with_all_rights_of_rbac() {
    let (governed, metallb) = start().await;
    let pod = &speakers(&governed, 2).await[0];
    metallb.rotate().await;
    let made = metallb.announce(L2_STATUSES, pod).await;
    let deployment = read(&governed.client, DEPLOYMENT).await;
    let mut wrong = Vec::new();
    for (user, attempts) in [(CONTROLLER, of_controller(&deployment)), (SPEAKER, of_speaker(pod, &made))] {
        let client = client_for(&governed.control_plane, user, Some("system:masters")).await;
        for Attempt(what, method, path, body, reason) in attempts {
            let error = send(&client, method, &path, &body).await.err().map(|error| error.to_string());
            let denied = |e: &str| e.contains(".gitadel.dev\" denied the request") && e.contains(reason);
            if !error.as_deref().is_some_and(denied) {
                wrong.push(format!("{user}: {what}: {error:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Nobody else may do what is theirs.
    let admin = &governed.client;
    let secret = secret("memberlist", &[owner("apps/v1", "Deployment", &deployment)]);
    for (what, method, path, body) in [
        ("the Secret", Method::POST, SECRETS, &secret),
        ("a status", Method::POST, L2_STATUSES, &status_object(L2_STATUSES, &[owner("v1", "Pod", pod)])),
        ("its removal", Method::DELETE, &*made, &Value::Null),
        ("a certificate", Method::PATCH, CERTIFICATE, &replace("/data/tls.crt", json!("c3RvbGVu"))),
    ] {
        let error = send(admin, method, path, body).await.err().map(|error| error.to_string());
        assert!(error.as_deref().is_some_and(|e| e.contains(".gitadel.dev\" denied the request")), "{what}: {error:?}");
    }

    // A status that is let go is nobody's: it is removed, as the speaker may do itself.
    let release = json!([{"op": "remove", "path": "/metadata/ownerReferences"}]);
    send(&metallb.speaker, Method::PATCH, &made, &release).await.unwrap();
    eventually("its removal", async || get(admin, &made).await.is_none().then_some(())).await;

    // About webhook configurations nobody is asked: what is not delegated is put back, and what is stays.
    let edit = replace("/webhooks/0/failurePolicy", json!("Ignore"));
    send(&metallb.controller, Method::PATCH, WEBHOOKS, &edit).await.unwrap();
    eventually("the policy to be put back", async || {
        let webhook = read(admin, WEBHOOKS).await["webhooks"][0].take();
        assert_eq!(webhook["clientConfig"]["caBundle"], metallb.authority, "{webhook}");
        (webhook["failurePolicy"] == "Fail").then_some(())
    })
    .await;
}

/// Who writes what without leave: user and object, as denials name it.
fn findings(governed: &Governed) -> BTreeSet<(String, String)> {
    let findings = governed.log_records("webhook", "a write that does not match Git");
    let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
    let object = |finding: String| finding.split('"').take(2).collect::<Vec<_>>().join("");
    findings.iter().map(|record| (text(record, "user"), object(text(record, "finding")))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observing_tells_what_to_delegate() {
    let mut governed = Governed::prepare(&[("metallb.yaml", &manifests()), ("shop.yaml", SHOP)]).await;
    let stream = format!("{}\n---\n{SHOP}", manifests());
    let said = kubectl_with_input(governed.control_plane.kubeconfig(), &["apply", "-f", "-"], &stream);
    assert!(said.success, "{said:?}");
    governed.run();
    let mut enforcement = example(&governed);
    enforcement["spec"]["action"] = json!("Observe");
    enforcement["spec"]["delegations"] = json!([]);
    governed.enforce(enforcement.clone()).await;
    let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
    eventually("a finding", async || {
        create(&governed.client, "/api/v1/namespaces/shop/configmaps?dryRun=All", &probe).await;
        (!findings(&governed).is_empty()).then_some(())
    })
    .await;

    let metallb = join(&governed).await;
    let pod = &speakers(&governed, 2).await[0];
    metallb.make_memberlist().await;
    metallb.rotate().await;
    metallb.allocate("192.0.2.1", "public").await;
    let status = metallb.announce(L2_STATUSES, pod).await;
    let name = status.rsplit('/').next().unwrap();
    let mut found = findings(&governed);
    found.retain(|(user, _)| user == CONTROLLER || user == SPEAKER);
    let expected = [
        (CONTROLLER, "customresourcedefinitions.apiextensions.k8s.io bgppeers.metallb.io"),
        (CONTROLLER, "secrets memberlist"),
        (CONTROLLER, "secrets metallb-webhook-cert"),
        (CONTROLLER, "services web"),
        (SPEAKER, &format!("servicel2statuses.metallb.io {name}")),
    ];
    assert_eq!(found, expected.map(|(user, object)| (user.to_owned(), object.to_owned())).into());
    // Of webhook configurations no review tells; they are among what differs.
    eventually("the drift", async || (governed.status().await["drift"]["objects"].as_u64()? >= 1).then_some(())).await;

    // And with the delegations there is nothing more to tell: what was written meanwhile stays as it is.
    enforcement["spec"] = example(&governed)["spec"].clone();
    let before = written(&governed).await;
    governed.enforce(enforcement).await;
    governed.converged().await;
    assert_eq!(written(&governed).await, before);
}
