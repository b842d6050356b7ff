//! Drift that got in past admission is found, undone, and told of; values of Secrets are told to nobody.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gitadel::demo::control_plane::guard::tail;
use gitadel::snapshot::FILE_NAME;
use hyper::Method;
use serde_json::{Value, json};
use support::bypass::{content, get, send};
use support::governed::Governed;
use support::metrics::scrape;
use support::shop::{SETTINGS_PATH, SHOP, WEB, WEB_PATH};

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: shop}
stringData: {password: correct-horse-battery}
";

const PASSWORD: &str = "/api/v1/namespaces/shop/secrets/password";
const OLD: &str = "/api/v1/namespaces/default/configmaps/old";
const READER: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/old-reader";

/// Values that must appear nowhere: the declared one, and the one of a bypassing edit.
const SECRETS: [&str; 2] = ["correct-horse-battery", "stolen-staple-battery"];

fn edits() -> Vec<(&'static str, &'static str, Value)> {
    let nobody = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone",
        "uid": "00000000-0000-0000-0000-000000000000"}]);
    let container = "/spec/template/spec/containers/0";
    let add = |path: String, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    vec![
        ("field", WEB_PATH, json!([{"op": "replace", "path": "/spec/replicas", "value": 5}])),
        (
            "image",
            WEB_PATH,
            json!([{"op": "replace", "path": format!("{container}/image"), "value": "evil.example/web:1"}]),
        ),
        (
            "sidecar",
            WEB_PATH,
            add("/spec/template/spec/containers/-".into(), json!({"name": "spy", "image": "evil.example/spy"})),
        ),
        ("env", WEB_PATH, add(format!("{container}/env/-"), json!({"name": "LD_PRELOAD", "value": "/tmp/evil.so"}))),
        ("duplicate key", WEB_PATH, add(format!("{container}/env/-"), json!({"name": "COLOUR", "value": "red"}))),
        (
            "order",
            WEB_PATH,
            json!([{"op": "move", "from": format!("{container}/env/1"), "path": format!("{container}/env/0")}]),
        ),
        ("label", WEB_PATH, add("/metadata/labels/mine".into(), json!("yes"))),
        ("removed label", WEB_PATH, json!([{"op": "remove", "path": "/metadata/labels/app"}])),
        ("annotation", WEB_PATH, add("/metadata/annotations/mine".into(), json!("yes"))),
        ("finalizer", SETTINGS_PATH, add("/metadata/finalizers".into(), json!(["example.com/hold"]))),
        ("owner", SETTINGS_PATH, add("/metadata/ownerReferences".into(), nobody)),
        ("removed data", SETTINGS_PATH, json!([{"op": "remove", "path": "/data/colour"}])),
        (
            "Secret",
            PASSWORD,
            json!([{"op": "replace", "path": "/data/password", "value": STANDARD.encode(SECRETS[1])}]),
        ),
        ("baseline", OLD, json!([{"op": "replace", "path": "/data/a", "value": "c"}])),
        ("baseline of the cluster", READER, json!([{"op": "replace", "path": "/rules/0/verbs/0", "value": "*"}])),
    ]
}

fn foreign() -> Vec<(&'static str, Value)> {
    let metadata = |namespace: Option<&str>| json!({"name": "foreign", "namespace": namespace});
    vec![
        (
            "/api/v1/namespaces/shop/configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(Some("shop"))}),
        ),
        (
            "/api/v1/namespaces/default/pods",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(Some("default")),
                "spec": {"containers": [{"name": "a", "image": "evil.example/a"}]}}),
        ),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": metadata(None),
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}]}),
        ),
        ("/api/v1/namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata(None)})),
    ]
}

/// Of kinds about which Kubernetes asks no webhook: nothing has to be bypassed.
fn unasked() -> Vec<(&'static str, Value)> {
    let group = "admissionregistration.k8s.io/v1";
    let rules =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]);
    vec![
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
            json!({"apiVersion": group, "kind": "MutatingWebhookConfiguration", "metadata": {"name": "foreign"},
                "webhooks": [{"name": "inject.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "failurePolicy": "Ignore", "timeoutSeconds": 1, "rules": rules,
                    "clientConfig": {"url": "https://127.0.0.1:1/inject"}}]}),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
            json!({"apiVersion": group, "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "foreign"},
                "webhooks": [{"name": "deny.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "failurePolicy": "Ignore", "timeoutSeconds": 1, "rules": rules,
                    "clientConfig": {"url": "https://127.0.0.1:1/deny"}}]}),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
            json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "foreign"},
                "spec": {"matchConstraints": {"resourceRules": rules},
                    "validations": [{"expression": "object.metadata.name != 'x'"}]}}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_found_and_undone() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP), ("web.yaml", WEB), ("secret.yaml", SECRET)]).await;
    let before = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "namespace": "default"},
        "data": {"a": "b"}});
    let reader = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "old-reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    let client = governed.client.clone();
    send(&client, Method::POST, "/api/v1/namespaces/default/configmaps", &before).await.unwrap();
    send(&client, Method::POST, "/apis/rbac.authorization.k8s.io/v1/clusterroles", &reader).await.unwrap();
    governed.run();
    governed.enforce(governed.enforcement()).await;
    governed.converged().await;

    for (what, path, patch) in edits() {
        let wanted = content(&get(&client, path).await.unwrap());
        let stored = governed.slip_in(Method::PATCH, path, &patch).await;
        assert_ne!(content(&stored), wanted, "{what}: the edit was stored");
        let took =
            until(&governed, what, async || get(&client, path).await.is_some_and(|o| content(&o) == wanted)).await;
        println!("{what:<24} undone after {took:?}");
    }
    for path in [SETTINGS_PATH, WEB_PATH, OLD, READER] {
        let wanted = get(&client, path).await.unwrap();
        governed.slip_in(Method::DELETE, path, &json!({})).await;
        let back = async || {
            let now = get(&client, path).await;
            now.is_some_and(|o| o["metadata"]["uid"] != wanted["metadata"]["uid"] && content(&o) == content(&wanted))
        };
        let took = until(&governed, path, back).await;
        println!("{path} was deleted and is back after {took:?}");
    }
    for (path, object) in foreign() {
        governed.slip_in(Method::POST, path, &object).await;
        let took = until(&governed, path, async || get(&client, &format!("{path}/foreign")).await.is_none()).await;
        println!("{path}/foreign is removed after {took:?}");
    }
    for (path, object) in unasked() {
        send(&client, Method::POST, path, &object).await.unwrap();
        let took = until(&governed, path, async || get(&client, &format!("{path}/foreign")).await.is_none()).await;
        println!("{path}/foreign is removed after {took:?}");
    }
    governed.converged().await;
    told_of(&governed).await;
    secrets_are_told_to_nobody(&governed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_to_somebody_is_put_right_when_git_takes_it_back() {
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    let delegation = json!({"user": "mallory", "group": "", "kind": "ConfigMap", "fields": ["data"]});
    let left = governed.enforcement_with(json!({"delegations": [delegation]}));
    governed.commit("leave it", &[("enforcement.yaml", &left.to_string())]);
    governed.run();
    governed.enforce(left).await;
    governed.converged().await;
    let edit = ["-n", "shop", "patch", "configmap/settings", "-p", r#"{"data":{"colour":"evil"}}"#];
    governed.admits(&[&["--as=mallory", "--as-group=system:masters"][..], &edit].concat());
    governed.commit("take it back", &[("enforcement.yaml", &governed.enforcement().to_string())]);
    governed.notify().await;
    let is_as_declared = async || get(&governed.client, SETTINGS_PATH).await.unwrap()["data"]["colour"] == "blue";
    until(&governed, "what was left to somebody", is_as_declared).await;
    governed.converged().await;
}

async fn until(governed: &Governed, what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let start = Instant::now();
    while !holds().await {
        let log = governed.log("reconcile");
        assert!(start.elapsed() < Duration::from_secs(60), "{what} is not undone:\n{}", tail(&log, 60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

async fn told_of(governed: &Governed) {
    let metrics = governed.reconciler_metrics();
    let reverted = metrics.sum("gitadel_drift_reverted_total", &[("enforcement", "all")]);
    let expected = (edits().len() + foreign().len() + unasked().len() + 4) as f64;
    assert!(reverted >= expected, "{reverted} of {expected}");
    assert!(metrics.sum("gitadel_drift_detected_total", &[("cause", "deleted")]) >= 4.0);
    let undeclared = (foreign().len() + unasked().len()) as f64;
    assert!(metrics.sum("gitadel_drift_detected_total", &[("cause", "undeclared")]) >= undeclared);
    assert!(metrics.sum("gitadel_webhook_configuration_restored_total", &[]) >= 1.0);

    let counted = |status: &Value| {
        status["drift"]["reverted"].as_f64().is_some_and(|count| count >= expected) && status["drift"]["objects"] == 0
    };
    governed.until("the drift to be counted in the status", Duration::from_secs(30), counted).await;

    let events = governed.kubectl(&["get", "events", "--all-namespaces", "-o", "json"]);
    let events: Value = serde_json::from_str(&events.stdout).unwrap();
    for (reason, kind, name, says) in [
        ("DriftReverted", "Deployment", "web", "spec.replicas must be 2, not 5"),
        ("DriftReverted", "ConfigMap", "settings", "it was deleted"),
        ("DriftReverted", "Secret", "password", "data.password"),
        ("UndeclaredRemoved", "ClusterRoleBinding", "foreign", "is not declared in Git"),
        ("WebhookConfigurationRestored", "ValidatingWebhookConfiguration", "gitadel", "was deleted"),
    ] {
        let told = events["items"].as_array().unwrap().iter().any(|event| {
            event["reason"] == reason
                && event["involvedObject"]["kind"] == kind
                && event["involvedObject"]["name"] == name
                && event["message"].as_str().is_some_and(|message| message.contains(says))
        });
        assert!(told, "no Event {reason} of {kind} {name} says {says:?} in {events:#}");
    }
}

/// Looks for the values everywhere where gitadel speaks or writes.
async fn secrets_are_told_to_nobody(governed: &Governed) {
    let patch = json!({"stringData": {"password": SECRETS[1]}}).to_string();
    let denied = governed.rejects(&["-n", "shop", "patch", "secret", "password", "-p", &patch], "data.password");
    let events = governed.admits(&["get", "events", "--all-namespaces", "-o", "json"]).stdout;
    let places = [
        ("the denial", denied),
        ("the Events", events),
        ("the status", governed.status().await.to_string()),
        ("the reconciler's metrics", scrape(governed.reconciler_probe)),
        ("the webhook's metrics", scrape(governed.webhook_probe)),
    ];
    let values: Vec<String> = SECRETS.iter().flat_map(|value| [(*value).to_owned(), STANDARD.encode(value)]).collect();
    for (place, text) in &places {
        for value in &values {
            assert!(!text.contains(value.as_str()), "{place}: {text}");
        }
    }
    let mut files = Vec::new();
    collect(&governed.run_directory, &mut files);
    let lasting =
        [governed.log("reconcile"), governed.log("webhook"), governed.run_directory.join("snapshot").join(FILE_NAME)];
    files.extend(lasting.clone());
    for file in files {
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            // What is written anew goes by another name until it is whole.
            Err(error) if error.kind() == ErrorKind::NotFound && !lasting.contains(&file) => continue,
            Err(error) => panic!("{}: {error}", file.display()),
        };
        for value in &values {
            let found = bytes.windows(value.len()).any(|window| window == value.as_bytes());
            assert!(!found, "{} holds {value}", file.display());
        }
    }
}

fn collect(directory: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
