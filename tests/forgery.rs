//! Objects that came past admission, dressed as something that Kubernetes keeps, on a real API server: a forged owner, a
//! label or an annotation saves nothing from being seen.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use hyper::Method;
use serde_json::{Value, json};
use support::bypass::get;
use support::eventually;
use support::governed::Governed;

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example/web:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80}]
"#;

const KEPT: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, namespace: shop, annotations: {gitadel.dev/prune: "false"}}
data: {colour: blue}
"#;

const OWN: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: gitadel}
webhooks: []
"#;

const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gitadel";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

fn binding(metadata: Value) -> Value {
    json!({"metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}]})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dressed_as_kept_is_seen_all_the_same() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP), ("kept.yaml", KEPT)]).await;
    governed.commit("keep it no longer", &[("kept.yaml", "")]);
    governed.notify().await;
    governed.converged().await;
    let client = &governed.client.clone();

    let controller = async |kind: &str, api_version: &str, path: &str| {
        let owner = get(client, path).await.unwrap();
        let (name, uid) = (&owner["metadata"]["name"], &owner["metadata"]["uid"]);
        json!([{"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true}])
    };
    let of_web = controller("Deployment", "apps/v1", "/apis/apps/v1/namespaces/shop/deployments/web").await;
    let of_view = controller("ClusterRole", "rbac.authorization.k8s.io/v1", &format!("{RBAC}/clusterroles/view")).await;
    let bootstrapping = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    let (bindings, cluster_bindings) =
        (format!("{RBAC}/namespaces/shop/rolebindings"), format!("{RBAC}/clusterrolebindings"));
    let mut pod = named("web-x");
    pod["metadata"]["ownerReferences"] = of_web.clone();
    pod["spec"] = json!({"automountServiceAccountToken": false,
        "containers": [{"name": "web", "image": "registry.example/evil:1"}]});
    let forged = [
        (bindings.as_str(), binding(json!({"name": "of-a-deployment", "ownerReferences": of_web}))),
        (&cluster_bindings, binding(json!({"name": "of-a-role", "ownerReferences": of_view}))),
        // Deleted, it would still bind.
        (&cluster_bindings, binding(json!({"name": "held", "finalizers": ["example.com/hold"]}))),
        (&cluster_bindings, binding(json!({"name": "system:helper", "labels": bootstrapping}))),
        ("/api/v1/namespaces/shop/pods", pod),
    ];
    for (collection, object) in &forged {
        governed.slip_in(Method::POST, collection, object).await;
    }
    for (collection, object) in &forged {
        let path = format!("{collection}/{}", object["metadata"]["name"].as_str().unwrap());
        eventually(&format!("{path} to go"), async || get(client, &path).await.is_none().then_some(())).await;
    }

    // Frozen as it was declared last.
    let path = "/api/v1/namespaces/shop/configmaps/kept";
    let red = json!([{"op": "replace", "path": "/data/colour", "value": "red"}]);
    governed.slip_in(Method::PATCH, path, &red).await;
    eventually("the last colour", async || {
        let live = get(client, path).await.unwrap();
        (live["data"]["colour"] == "blue").then_some(())
    })
    .await;

    // A volume that nothing is bound to holds no data.
    let volume = |name: &str| {
        json!({"metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": "nobody"}},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/"}}})
    };
    let volumes = "/api/v1/persistentvolumes";
    governed.slip_in(Method::POST, volumes, &volume("root")).await;
    let path = format!("{volumes}/root");
    eventually("the volume to go", async || get(client, &path).await.is_none().then_some(())).await;

    // With one that was bound, data would go: that is for people to decide.
    governed.stop_reconciler();
    let mut bound = volume("bound");
    bound["spec"]["claimRef"] = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop",
        "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"});
    governed.slip_in(Method::POST, volumes, &bound).await;
    let path = format!("{volumes}/bound");
    eventually("its claim to be missed", async || {
        (get(client, &path).await.unwrap()["status"]["phase"] == "Released").then_some(())
    })
    .await;
    governed.run_reconciler();
    governed.listening().await;
    eventually("the volume to be reported", async || {
        let counted = governed.reconciler_metrics().sum("gitadel_drift_detected_total", &[("cause", "kept")]);
        (counted >= 1.0).then_some(())
    })
    .await;
    assert!(get(client, &path).await.is_some());
    governed.converged().await;

    // Git itself may not declare what gitadel makes: the two would fight.
    governed.commit("mine", &[("own.yaml", OWN)]);
    governed.notify().await;
    eventually("the problem", async || {
        let problems = governed.status().await["problems"].to_string();
        (problems.contains("Reserved") && problems.contains("own.yaml:2")).then_some(())
    })
    .await;
    // The last write past it has been put right: whoever writes it now is in a fight.
    let restored = || governed.reconciler_metrics().sum("gitadel_webhook_configuration_restored_total", &[]);
    let before = restored();
    let commit = governed.commit("colour", &[("colour.yaml", KEPT)]);
    governed.notify().await;
    eventually("the next commit", async || (governed.status().await["commit"]["id"] == *commit).then_some(())).await;
    let now = get(client, CONFIGURATION).await.unwrap();
    assert_eq!((restored(), now["webhooks"] == json!([])), (before, false), "{now:#}");
}

const FORGED_SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-forged";
const ENDPOINTS: &str = "/api/v1/namespaces/shop/endpoints/web";
const ACCOUNT: &str = "/api/v1/namespaces/shop/serviceaccounts/default";
const ROOT_CA: &str = "/api/v1/namespaces/shop/configmaps/kube-root-ca.crt";

/// Where traffic goes, whom a namespace trusts, and as whom its Pods come: nobody declares it, and it follows from what is
/// declared.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_git_is_held_to_what_it_has_to_be() {
    let governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    let client = &governed.client;
    let kept = async |path: &str| eventually(&format!("{path} to be there"), async || get(client, path).await).await;
    let service = kept("/api/v1/namespaces/shop/services/web").await;
    for path in [ENDPOINTS, ACCOUNT, ROOT_CA] {
        kept(path).await;
    }

    let controller = |name: &str| format!("--as=system:serviceaccount:kube-system:{name}");
    let stray = json!([{"addresses": [{"ip": "192.0.2.6"}], "ports": [{"port": 80}]}]);
    for (who, what, patch) in [
        ("root-ca-cert-publisher", ["configmap", "kube-root-ca.crt"], json!({"data": {"ca.crt": "evil"}})),
        ("service-account-controller", ["serviceaccount", "default"], json!({"imagePullSecrets": [{"name": "evil"}]})),
        ("endpoint-controller", ["endpoints", "web"], json!({"subsets": stray})),
    ] {
        let (who, patch) = (controller(who), patch.to_string());
        let denied = async || {
            let arguments = ["-n", "shop", &who, "--as-group=system:masters", "patch", what[0], what[1], "-p", &patch];
            let said = governed.kubectl(&[&arguments[..], &["--dry-run=server"]].concat());
            said.stderr.contains("denied the request").then_some(())
        };
        // The cluster's authority is known a moment after the cluster has published it.
        eventually(&format!("{who} to be denied"), denied).await;
    }

    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-forged", "labels": {"kubernetes.io/service-name": "web"}, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Service", "name": "web", "uid": service["metadata"]["uid"], "controller": true}]},
        "endpoints": [{"addresses": ["192.0.2.6"]}], "ports": [{"port": 80}]});
    let slices = FORGED_SLICE.trim_end_matches("/web-forged");
    governed.slip_in(Method::POST, slices, &slice).await;
    eventually("the slice to go", async || get(client, FORGED_SLICE).await.is_none().then_some(())).await;

    let metadata = json!({"role-arn": "evil"});
    for (path, field, value) in [
        (ENDPOINTS, "/subsets", stray),
        (ACCOUNT, "/metadata/annotations", metadata.clone()),
        (ACCOUNT, "/imagePullSecrets", json!([{"name": "evil"}])),
        (ROOT_CA, "/data/ca.crt", json!("evil")),
        (ROOT_CA, "/metadata/labels", metadata),
        (ROOT_CA, "/metadata/finalizers", json!(["example.com/hold"])),
    ] {
        let at = |object: &Value| object.pointer(field).cloned();
        let wanted = at(&kept(path).await);
        let add = json!([{"op": "add", "path": field, "value": value}]);
        assert_ne!(at(&governed.slip_in(Method::PATCH, path, &add).await), wanted, "{field} was stored");
        let back = async || get(client, path).await.is_some_and(|now| at(&now) == wanted).then_some(());
        eventually(&format!("{field} of {path} to be put right"), back).await;
    }
    governed.converged().await;
}
