//! What somebody could try who has the accounts of MetalLB, and all rights of RBAC.

use hyper::Method;
use serde_json::{Value, json};

use crate::metallb::*;

/// One write, and what gitadel says of it.
pub struct Attempt(pub &'static str, pub Method, pub String, pub Value, pub &'static str);

pub fn replace(path: &str, value: Value) -> Value {
    json!([{"op": "replace", "path": path, "value": value}])
}

pub fn add(path: &str, value: Value) -> Value {
    json!([{"op": "add", "path": path, "value": value}])
}

pub fn secret(name: &str, owners: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "data": {"secretkey": "c2VjcmV0"},
        "metadata": {"name": name, "ownerReferences": owners}})
}

pub fn of_controller(deployment: &Value) -> Vec<Attempt> {
    let owned = [owner("apps/v1", "Deployment", deployment)];
    let foreign = [json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "other", "uid": "0-0"})];
    let mut larger = secret("memberlist", &owned);
    larger["data"]["more"] = json!("bW9yZQ==");
    let to_admin = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "metallb-admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": "metallb-system"}]});
    let rules = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    let undeclared = "is not declared in Git";
    let (post, patch, delete) = (|| Method::POST, || Method::PATCH, || Method::DELETE);
    let role = "/apis/rbac.authorization.k8s.io/v1/namespaces/metallb-system/roles/controller";
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let annotation = "/metadata/annotations";
    let conversion = "/spec/conversion/webhook/clientConfig";
    vec![
        Attempt("another Secret", post(), SECRETS.into(), secret("other", &owned), undeclared),
        Attempt("one of its own that nobody owns", post(), SECRETS.into(), secret("memberlist", &[]), undeclared),
        Attempt(
            "one whose owner Git does not know",
            post(),
            SECRETS.into(),
            secret("memberlist", &foreign),
            undeclared,
        ),
        Attempt("one with more in it", post(), SECRETS.into(), larger, undeclared),
        Attempt(
            "in another namespace",
            post(),
            "/api/v1/namespaces/shop/secrets".into(),
            secret("memberlist", &owned),
            undeclared,
        ),
        Attempt(
            "a Secret that Git declares",
            patch(),
            format!("{SECRETS}/bgp-password"),
            replace("/data/password", json!("c3RvbGVu")),
            "data.password must be",
        ),
        Attempt(
            "another key of the certificate's Secret",
            patch(),
            CERTIFICATE.into(),
            add("/data/more", json!("bW9yZQ==")),
            "data is not declared",
        ),
        Attempt("that Secret", delete(), CERTIFICATE.into(), Value::Null, "must not be deleted"),
        Attempt(
            "a label of that Secret",
            patch(),
            CERTIFICATE.into(),
            add("/metadata/labels", json!({"a": "b"})),
            "metadata.labels",
        ),
        Attempt(
            "its image",
            patch(),
            DEPLOYMENT.into(),
            replace("/spec/template/spec/containers/0/image", json!("evil:1")),
            "image must be",
        ),
        Attempt(
            "its replicas",
            patch(),
            DEPLOYMENT.into(),
            replace("/spec/replicas", json!(5)),
            "spec.replicas must be",
        ),
        Attempt(
            "its replicas, by scale",
            patch(),
            format!("{DEPLOYMENT}/scale"),
            replace("/spec/replicas", json!(5)),
            "must be",
        ),
        Attempt(
            "who converts its objects",
            patch(),
            BGP_PEERS.into(),
            replace(&format!("{conversion}/service/namespace"), json!("evil")),
            "namespace must be",
        ),
        Attempt(
            "which versions of its objects are served",
            patch(),
            BGP_PEERS.into(),
            replace("/spec/versions/0/served", json!(false)),
            "spec.versions must be",
        ),
        Attempt(
            "a definition that it has no part in",
            patch(),
            POOLS.into(),
            add("/metadata/labels", json!({"a": "b"})),
            "metadata.labels",
        ),
        Attempt("its own rights", patch(), role.into(), add("/rules/-", rules), "rules"),
        Attempt("all rights", post(), bindings.into(), to_admin, undeclared),
        Attempt(
            "the type of a Service",
            patch(),
            WEB.into(),
            replace("/spec/type", json!("NodePort")),
            "spec.type must be",
        ),
        Attempt(
            "where a Service leads",
            patch(),
            INTERNAL.into(),
            replace("/spec/selector/app", json!("evil")),
            "spec.selector",
        ),
        Attempt(
            "another annotation",
            patch(),
            INTERNAL.into(),
            add(annotation, json!({"metallb.io/loadBalancerIPs": "192.0.2.9"})),
            "metadata.annotations",
        ),
        Attempt(
            "another annotation, by way of the status",
            patch(),
            format!("{INTERNAL}/status"),
            add(
                annotation,
                json!({"metallb.io/ip-allocated-from-pool": "a", "metallb.io/loadBalancerIPs": "192.0.2.9"}),
            ),
            "metadata.annotations[metallb.io/loadBalancerIPs]",
        ),
        Attempt(
            "that annotation where it is not delegated",
            patch(),
            "/api/v1/namespaces/metallb-system/services/metallb-webhook-service".into(),
            add(annotation, json!({"metallb.io/ip-allocated-from-pool": "a"})),
            "metadata.annotations",
        ),
    ]
}

pub fn of_speaker(pod: &Value, made: &str) -> Vec<Attempt> {
    let owned = [owner("v1", "Pod", pod)];
    let foreign = [json!({"apiVersion": "v1", "kind": "Pod", "name": "other-x7k2p", "uid": "0-0"})];
    let undeclared = "is not declared in Git";
    let (post, patch) = (|| Method::POST, || Method::PATCH);
    let elsewhere = L2_STATUSES.replace("metallb-system", "shop");
    let kept = "controller";
    vec![
        Attempt("a status of nobody", post(), L2_STATUSES.into(), status_object(L2_STATUSES, &[]), undeclared),
        Attempt("of an unknown Pod", post(), L2_STATUSES.into(), status_object(L2_STATUSES, &foreign), undeclared),
        Attempt("in another namespace", post(), elsewhere, status_object(L2_STATUSES, &owned), undeclared),
        Attempt("another's label", patch(), made.into(), replace("/metadata/labels", json!({"a": "b"})), kept),
        Attempt(
            "what is the controller's",
            patch(),
            CERTIFICATE.into(),
            replace("/data/tls.key", json!("c3RvbGVu")),
            "data is not declared",
        ),
        Attempt(
            "the controller's annotation",
            patch(),
            INTERNAL.into(),
            add("/metadata/annotations", json!({"metallb.io/ip-allocated-from-pool": "a"})),
            "metadata.annotations",
        ),
        Attempt(
            "a Pod",
            post(),
            PODS.into(),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "evil"},
            "spec": {"containers": [{"name": "evil", "image": "evil:1"}]}}),
            undeclared,
        ),
        Attempt("a Secret of the controller's", post(), SECRETS.into(), secret("memberlist", &owned), ""),
    ]
}
