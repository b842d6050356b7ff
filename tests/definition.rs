//! The CustomResourceDefinition on a real API server: what it refuses before gitadel ever sees it, and what it explains.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use gitadel::demo::control_plane::{ControlPlane, Options};
use serde_json::{Value, json};
use support::{eventually, kubectl, kubectl_with_input};

fn enforcement(spec: Value) -> Value {
    json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": "production"}, "spec": spec})
}

/// A valid spec with one field replaced.
fn with(field: &str, value: Value) -> Value {
    let mut spec = json!({
        "source": {"url": "https://git.example/platform.git", "branch": "main"},
        "scope": {"excludedNamespaces": ["kube-*"], "cluster": "All"},
    });
    spec[field] = value;
    enforcement(spec)
}

fn delegation(bounds: Value) -> Value {
    let mut delegation = json!({"user": "scaler", "group": "apps", "kind": "Deployment", "fields": ["spec.replicas"]});
    delegation.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
    with("delegations", json!([delegation]))
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_refused_with_what_to_do_instead() {
    let control_plane = ControlPlane::start(Options { controller_manager: false, ..Options::default() }).await.unwrap();
    let kubeconfig = control_plane.kubeconfig();
    let applied = kubectl(kubeconfig, &["apply", "-f", "manifests/10-crd.yaml"]);
    assert!(applied.success, "{applied:?}");
    let create = |object: &Value| {
        let arguments = ["create", "--dry-run=server", "--validate=strict", "-f", "-"];
        kubectl_with_input(kubeconfig, &arguments, &object.to_string())
    };
    let valid = with("action", json!("Enforce"));
    eventually("the Enforcement to be served", async || create(&valid).success.then_some(())).await;

    let group = json!([{"group": "rbac.authorization.k8s.io", "kind": "ClusterRole"}]);
    let accepted = [
        with("scope", json!({"namespaces": ["shop", "a-1"]})),
        with("scope", json!({"namespaces": [], "cluster": "All"})),
        with("scope", json!({"excludedNamespaces": [], "cluster": "All"})),
        with("scope", json!({"excludedNamespaces": ["gitadel-system", "team-*", "kube-*"]})),
        with("scope", json!({"namespaces": [], "cluster": "Listed", "clusterKinds": group})),
        delegation(json!({"minimum": 2, "maximum": 2})),
        delegation(json!({"maximum": 10})),
        with("source", json!({"url": "ssh://git@git.example:2222/a"})),
        with("source", json!({"url": "git@git.example:a@b:c"})),
        with("source", json!({"url": "https://git.example/a@b"})),
    ];
    for object in &accepted {
        let said = create(object);
        assert!(said.success, "{object}: {said:?}");
    }

    let refused = [
        (with("scope", json!({})), "set namespaces ([] for none) or excludedNamespaces"),
        (with("scope", json!({"cluster": "All"})), "set namespaces ([] for none) or excludedNamespaces"),
        (with("scope", json!({"namespaces": ["a"], "excludedNamespaces": ["b"]})), "exclude one another"),
        (with("scope", json!({"namespaces": ["team-*"]})), "only excludedNamespaces takes a trailing *"),
        (with("scope", json!({"namespaces": ["Shop"]})), "must be the name of a namespace"),
        (with("scope", json!({"excludedNamespaces": ["*-system"]})), "or its beginning and a trailing *"),
        (with("scope", json!({"namespaces": ["a"], "clusterKinds": group})), "clusterKinds belongs to cluster: Listed"),
        (with("scope", json!({"namespaces": ["a"], "cluster": "Listed"})), "needs at least one kind"),
        (delegation(json!({"minimum": 3, "maximum": 2})), "minimum must not be greater than maximum"),
        (with("source", json!({"url": "https://git.example/a", "branch": "b", "tag": "t"})), "at most one of branch"),
        (with("source", json!({"url": "https://alice:s3cret@git.example/a"})), "must hold no password or token"),
        (with("source", json!({"url": "http://t0ken@git.example/a"})), "must hold no password or token"),
        (with("source", json!({"url": "ssh://git:s3cret@git.example/a"})), "must hold no password or token"),
        (with("source", json!({"url": "/srv/platform"})), "must be an http(s), ssh or file URL"),
        (with("source", json!({"url": "https://git.example/a", "path": "../b"})), "must be relative to the repository"),
        (with("source", json!({"url": "https://git.example/a", "intervalSeconds": 0})), "greater than or equal to 1"),
        (with("action", json!("Reject")), "Unsupported value"),
        (with("suspended", json!(true)), "unknown field \"spec.suspended\""),
    ];
    for (object, reason) in &refused {
        let said = create(object);
        assert!(!said.success && said.stderr.contains(reason), "{object}: {said:?}");
    }

    let explained = kubectl(kubeconfig, &["explain", "enforcement"]);
    assert!(explained.stdout.contains("Makes a Git source the only way into a part of this cluster"), "{explained:?}");
}
