//! What is installed: the manifests are what the program expects, the API server takes them as they are, and the chart
//! says the same. Cargo runs tests in the directory of the package, whichever checkout compiled them.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use gitadel::api::Enforcement;
use gitadel::demo::control_plane::{ControlPlane, Options};
use kube::CustomResourceExt;
use serde_json::{Value, json};
use support::{eventually, kubectl};

fn files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}

fn manifest(name: &str) -> Vec<Value> {
    documents(&fs::read_to_string(Path::new("manifests").join(name)).unwrap())
}

#[test]
fn the_custom_resource_definition_is_the_one_of_the_types() {
    let generated = serde_json::to_value(Enforcement::crd()).unwrap();
    let renew = "run `cargo run -- crd` and put its output into manifests/10-crd.yaml and charts/gitadel/crds/";
    assert_eq!(manifest("10-crd.yaml"), std::slice::from_ref(&generated), "{renew}");
    let chart = fs::read_to_string("charts/gitadel/crds/enforcements.yaml").unwrap();
    assert_eq!(documents(&chart), [generated], "{renew}");
}

#[test]
fn only_the_reconciler_has_a_token() {
    let deployment = &manifest("40-deployment.yaml")[0];
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in pod["containers"].as_array().unwrap() {
        let mounts = container["volumeMounts"].as_array().unwrap();
        let name = container["name"].as_str().unwrap();
        assert_eq!(mounts.iter().any(|mount| mount["name"] == "token"), name == "reconcile", "{name}");
        if name == "webhook" {
            assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "the webhook writes nothing");
        }
    }
}

/// The templates use plain values only, so that setting them is replacing text.
#[test]
fn the_chart_says_what_the_manifests_say() {
    let values: Value = serde_saphyr::from_str(&fs::read_to_string("charts/gitadel/values.yaml").unwrap()).unwrap();
    let mut replacements = Vec::new();
    flatten(".Values", &values, &mut replacements);
    let mut rendered = Vec::new();
    for path in files("charts/gitadel/templates").iter().filter(|path| path.extension().is_some_and(|e| e == "yaml")) {
        let mut text = fs::read_to_string(path).unwrap();
        for (name, value) in &replacements {
            text = text.replace(&format!("{{{{ {name} }}}}"), value);
        }
        assert!(!text.contains("{{"), "{}: a value is not in values.yaml", path.display());
        rendered.extend(documents(&text));
    }
    // Helm installs a chart's definitions by itself, and makes the namespace on request.
    let mut expected: Vec<_> = files("manifests")
        .iter()
        .flat_map(|path| documents(&fs::read_to_string(path).unwrap()))
        .filter(|object| !["Namespace", "CustomResourceDefinition"].contains(&object["kind"].as_str().unwrap()))
        .collect();
    rendered.sort_by_key(ToString::to_string);
    expected.sort_by_key(ToString::to_string);
    assert_eq!(rendered, expected);
}

fn flatten(prefix: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{prefix}.{name}"), value, into);
            }
        }
        Value::String(text) => into.push((prefix.to_owned(), text.clone())),
        other => into.push((prefix.to_owned(), other.to_string())),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_apply_installs_everything() {
    let control_plane = ControlPlane::start(Options { controller_manager: false, ..Options::default() }).await.unwrap();
    let kubeconfig = control_plane.kubeconfig();
    let apply = ["apply", "--validate=strict", "-f", "manifests"];
    let first = kubectl(kubeconfig, &apply);
    assert!(first.success, "{first:?}");
    let second = kubectl(kubeconfig, &apply);
    // kubectl always sends a PodDisruptionBudget's selector again (its patch strategy is to replace it).
    let settled = |line: &str| line.ends_with(" unchanged") || line.starts_with("poddisruptionbudget.policy/");
    assert!(second.success && second.stdout.lines().all(settled), "{second:?}");

    let example = "examples/enforcement.yaml";
    let applied = eventually("the Enforcement to be served", async || {
        let applied = kubectl(kubeconfig, &["apply", "--validate=strict", "-f", example]);
        applied.success.then_some(applied)
    })
    .await;
    assert!(applied.stderr.is_empty(), "{applied:?}");
    let stored = kubectl(kubeconfig, &["get", "enforcement", "production", "-o", "json"]);
    let stored: Value = serde_json::from_str(&stored.stdout).unwrap();
    let written = &documents(&fs::read_to_string(example).unwrap())[0];
    for field in ["source", "scope", "action", "delegations"] {
        assert!(contains(&stored["spec"][field], &written["spec"][field]), "{field}: {stored}");
    }
    serde_json::from_value::<Enforcement>(stored).unwrap();
}

/// Whether everything in `part` is in `whole`; the server adds defaults.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| contains(whole.get(key).unwrap_or(&json!(null)), value))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        (whole, part) => whole == part,
    }
}
