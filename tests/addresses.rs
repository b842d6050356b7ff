//! Where the slices of a governed Service lead is looked at afterwards: an address that no Pod of the Service has is taken
//! out, whoever put it there, and the others stay.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use gitadel::demo::control_plane::Options;
use serde_json::{Value, json};
use support::bypass::get;
use support::governed::Governed;
use support::{eventually, kubectl_with_input};

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec:
  nodeName: n1
  serviceAccountName: web
  containers: [{name: web, image: "registry.example/web:1"}]
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: shop, labels: {app: other}}
spec:
  nodeName: n1
  serviceAccountName: web
  containers: [{name: other, image: "registry.example/other:1"}]
"#;

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";

fn endpoint(pod: &str, address: &str) -> Value {
    json!({"addresses": [address], "targetRef": {"kind": "Pod", "namespace": "shop", "name": pod}})
}

/// A slice as endpointslice-controller would make it.
fn slice(service: &Value, endpoints: &[Value]) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-abcde", "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "controller": true,
                "blockOwnerDeletion": true, "uid": service["metadata"]["uid"]}]},
        "endpoints": endpoints, "ports": [{"name": "", "port": 80, "protocol": "TCP"}]})
}

fn addresses(slice: &Value) -> Vec<&str> {
    slice["endpoints"].as_array().unwrap().iter().map(|endpoint| endpoint["addresses"][0].as_str().unwrap()).collect()
}

async fn until_leading_to(governed: &Governed, expected: &[&str]) {
    eventually(&format!("a slice that leads to {expected:?}"), async || {
        let slice = get(&governed.client, &format!("{SLICES}/web-abcde")).await?;
        (addresses(&slice) == expected).then_some(())
    })
    .await;
}

fn has_address(governed: &Governed, pod: &str, address: &str) {
    let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}}).to_string();
    let kubelet = ["--as=system:node:n1", "--as-group=system:nodes", "--as-group=system:masters"];
    let patch = ["-n", "shop", "patch", "pod", pod, "--subresource=status", "-p", &status];
    governed.admits(&[&patch[..], &kubelet].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leads_to_no_pod_of_the_service_is_taken_out_of_its_slices() {
    // endpointslice-controller would put it right itself, and its work be mistaken for gitadel's.
    let options = Options { controller_manager: false, ..Options::default() };
    let mut governed = Governed::prepare_on(options, &[("shop.yaml", SHOP)]).await;
    governed.run();
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;
    has_address(&governed, "web-0", "10.1.0.1");
    has_address(&governed, "other", "10.1.0.2");

    let service = get(&governed.client, "/api/v1/namespaces/shop/services/web").await.unwrap();
    let write = |verb: &str, endpoints: &[Value]| {
        let controller = "--as=system:serviceaccount:kube-system:endpointslice-controller";
        let arguments = [verb, "-f", "-", controller, "--as-group=system:masters"];
        let said = kubectl_with_input(
            governed.control_plane.kubeconfig(),
            &arguments,
            &slice(&service, endpoints).to_string(),
        );
        assert!(said.success, "{said:?}");
    };
    // Of nobody, and of a Pod that the Service does not select: both are said to be of one that it does.
    write("create", &[endpoint("web-0", "10.1.0.1"), endpoint("web-0", "6.6.6.6"), endpoint("web-0", "10.1.0.2")]);
    until_leading_to(&governed, &["10.1.0.1"]).await;
    governed.rejects(
        &["-n", "shop", "patch", "endpointslice", "web-abcde", "--type=merge", "-p", r#"{"endpoints": []}"#],
        "endpoints",
    );

    write("replace", &[endpoint("web-0", "6.6.6.6"), endpoint("web-0", "10.1.0.1")]);
    until_leading_to(&governed, &["10.1.0.1"]).await;
    let metrics = governed.reconciler_metrics();
    assert!(metrics.sum("gitadel_drift_detected_total", &[("cause", "misdirected")]) >= 1.0);
    assert_eq!(metrics.sum("gitadel_drift_reverted_total", &[]), 2.0);
}
