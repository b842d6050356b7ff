//! What is installed: the manifests are what the program expects, the API server takes them as they are, and the chart
//! says the same. Cargo runs tests in the directory of the package, whichever checkout compiled them.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gitadel::api::Enforcement;
use gitadel::demo::control_plane::{ControlPlane, Options};
use kube::CustomResourceExt;
use serde_json::{Value, json};
use support::{eventually, kubectl, kubectl_with_input};

fn files(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    // kubectl does not look into directories either.
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
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
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.iter().map(|container| &container["name"]).collect::<Vec<_>>(), ["webhook", "reconcile"]);
    for container in containers {
        let mounts = container["volumeMounts"].as_array().unwrap();
        let name = container["name"].as_str().unwrap();
        assert_eq!(mounts.iter().any(|mount| mount["name"] == "token"), name == "reconcile", "{name}");
        if name == "webhook" {
            assert!(mounts.iter().all(|mount| mount["readOnly"] == true), "the webhook writes nothing: {mounts:?}");
        }
    }
}

/// What Helm's engine makes of the chart, or why it refuses. The first run builds it, once.
fn chart(namespace: &str, values: &Value) -> Result<String, String> {
    let mut child = Command::new("go")
        .args(["run", ".", "../../charts/gitadel", namespace])
        .current_dir("tests/chart")
        // The user's own settings (vendoring, a workspace) are not for this module.
        .envs([("GOFLAGS", "-buildvcs=false"), ("GOWORK", "off")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Go: see CONTRIBUTING.md");
    child.stdin.take().unwrap().write_all(values.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn the_chart_says_what_the_manifests_say() {
    let text = chart("gitadel-system", &json!({})).unwrap();
    let mut rendered = documents(text.trim_start_matches("---\n"));
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

#[test]
fn the_chart_refuses_what_cannot_work() {
    for (namespace, values, reason) in [
        ("elsewhere", json!({}), "install it with --namespace gitadel-system"),
        ("gitadel-system", json!({"replicas": 0}), "replicas"),
        ("gitadel-system", json!({"replica": 3}), "additional properties 'replica' not allowed"),
        ("gitadel-system", json!({"image": "localhost/gitadel:dev"}), "got string, want object"),
        ("gitadel-system", json!({"image": {"digest": "1a2b3c4"}}), "does not match pattern"),
        ("gitadel-system", json!({"webhook": {"extraArgs": ["drain"]}}), "does not match pattern"),
        ("gitadel-system", json!({"reconcile": {"allowTransports": ["ftp"]}}), "allowTransports"),
    ] {
        let refused = chart(namespace, &values).unwrap_err();
        assert!(refused.contains(reason), "{values}: {refused}");
    }
}

/// A value for everything that can be set.
fn all_values() -> Value {
    let digest = format!("sha256:{}", "a1".repeat(32));
    json!({
        "image": {"repository": "registry.example/gitadel", "digest": digest, "pullPolicy": "Always"},
        "imagePullSecrets": [{"name": "registry"}],
        "replicas": 3,
        "webhook": {"extraArgs": ["--drain=10"], "resources": {"limits": {"memory": "1Gi"}}},
        "reconcile": {
            "allowTransports": ["http", "file"],
            "extraArgs": ["--tls-name=gitadel.example"],
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
            "resources": {"limits": {"memory": "2Gi"}},
        },
        "tls": {"secretName": "serving"},
        "notifications": {"secretName": "pushes"},
        "podAnnotations": {"example.com/note": "1"},
        "podLabels": {"team": "platform"},
        "priorityClassName": "system-node-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"team": "platform"}}}]}},
        "tolerations": [{"operator": "Exists"}],
        "networkPolicy": {"enabled": true, "from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]},
        "podMonitor": {"enabled": true, "interval": "15s", "labels": {"release": "prometheus"}},
    })
}

#[test]
fn every_value_of_the_chart_has_a_place() {
    let text = chart("gitadel-system", &all_values()).unwrap();
    let objects = documents(text.trim_start_matches("---\n"));
    let of = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let deployment = &of("Deployment")["spec"];
    let pod = &deployment["template"];
    let values = all_values();
    assert_eq!(deployment["replicas"], 3);
    for field in ["imagePullSecrets", "priorityClassName", "nodeSelector", "affinity", "tolerations"] {
        assert_eq!(pod["spec"][field], values[field], "{field}");
    }
    assert_eq!(pod["metadata"]["annotations"], values["podAnnotations"]);
    assert_eq!(pod["metadata"]["labels"]["team"], "platform");
    for container in pod["spec"]["containers"].as_array().unwrap() {
        let given = &values[container["name"].as_str().unwrap()];
        let image = format!("registry.example/gitadel@{}", values["image"]["digest"].as_str().unwrap());
        assert_eq!((&container["image"], &container["imagePullPolicy"]), (&json!(image), &json!("Always")));
        assert_eq!(container["args"].as_array().unwrap().last(), Some(&given["extraArgs"][0]));
        assert_eq!(container["resources"]["limits"], given["resources"]["limits"]);
        if let Some(variable) = given["extraEnv"].get(0) {
            assert!(container["env"].as_array().unwrap().contains(variable), "{container}");
        }
    }
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == "pushes"), "{volumes:?}");
    assert!(volumes.iter().any(|v| v["name"] == "tls" && v["secret"]["secretName"] == "serving"), "{volumes:?}");
    assert!(text.contains("--notification-secret-file=/etc/gitadel/notifications/secret"), "{text}");
    assert!(text.contains("--allow-transport=http\n") && text.contains("--allow-transport=file\n"), "{text}");
    // The API server is no peer that a policy could name.
    assert_eq!(of("NetworkPolicy")["spec"]["ingress"][0], json!({"ports": [{"port": 9443, "protocol": "TCP"}]}));
    assert_eq!(of("NetworkPolicy")["spec"]["ingress"][1]["from"], values["networkPolicy"]["from"]);
    assert_eq!(of("PodMonitor")["metadata"]["labels"]["release"], "prometheus");
    let ports: Vec<_> = pod["spec"]["containers"].as_array().unwrap().iter().map(|c| c["ports"].clone()).collect();
    let endpoints = of("PodMonitor")["spec"]["podMetricsEndpoints"].as_array().unwrap();
    assert_eq!(endpoints.len(), ports.len(), "one of each container: {endpoints:?}");
    for endpoint in endpoints {
        let known = ports.iter().flat_map(|ports| ports.as_array().unwrap()).any(|p| p["name"] == endpoint["port"]);
        assert!(known && endpoint["interval"] == "15s", "{endpoint}");
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
    assert_eq!(second.stdout.lines().count(), first.stdout.lines().count(), "{second:?}");

    let mut values = all_values();
    // A kind of another project, which this API server does not have.
    values["podMonitor"]["enabled"] = json!(false);
    let rendered = chart("gitadel-system", &values).unwrap();
    let arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
    let upgraded = kubectl_with_input(kubeconfig, &arguments, &rendered);
    assert!(upgraded.success && upgraded.stdout.contains("networkpolicy"), "{upgraded:?}");

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
