//! What somebody might make of a child that a controller makes.

use serde_json::{Value, json};

/// Ways in which somebody who can act as a controller would make more of a child than its template yields.
pub fn tamperings(kind: &str) -> Vec<(&'static str, &'static str, Value)> {
    let miner = json!({"name": "miner", "image": "registry.example/miner:1"});
    let of_pod = |at: &'static str| {
        let place = |field: &str| -> &'static str { Box::leak(format!("{at}{field}").into_boxed_str()) };
        vec![
            ("another image", place("/spec/containers/0/image"), json!("registry.example/miner:1")),
            ("another command", place("/spec/containers/0/command"), json!(["sh", "-c", "id"])),
            ("a variable", place("/spec/containers/0/env/+"), json!({"name": "LD_PRELOAD", "value": "/tmp/x.so"})),
            ("variables of a Secret", place("/spec/containers/0/envFrom"), json!([{"secretRef": {"name": "s"}}])),
            ("a mount", place("/spec/containers/0/volumeMounts/+"), json!({"name": "x", "mountPath": "/x"})),
            ("privileges", place("/spec/containers/0/securityContext"), json!({"privileged": true})),
            ("resources", place("/spec/containers/0/resources/limits"), json!({"cpu": "64"})),
            ("a sidecar", place("/spec/containers/+"), miner.clone()),
            ("an init container", place("/spec/initContainers/+"), miner.clone()),
            ("a Secret", place("/spec/volumes/+"), json!({"name": "x", "secret": {"secretName": "s"}})),
            ("the node's files", place("/spec/volumes/+"), json!({"name": "x", "hostPath": {"path": "/"}})),
            (
                "a token",
                place("/spec/volumes/+"),
                json!({"name": "kube-api-access-x", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "audience": "vault"}}]}}),
            ),
            (
                "another token that looks like its own, for a year",
                place("/spec/volumes/+"),
                json!({"name": "kube-api-access-x", "projected": {"defaultMode": 420, "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 31_536_000, "path": "token"}},
                    {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                    {"downwardAPI": {"items": [
                        {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}}]}}),
            ),
            ("the host's network", place("/spec/hostNetwork"), json!(true)),
            ("the host's processes", place("/spec/hostPID"), json!(true)),
            ("a chosen node", place("/spec/nodeName"), json!("node2")),
            ("nodes", place("/spec/nodeSelector"), json!({"role": "control-plane"})),
            ("a toleration", place("/spec/tolerations/+"), json!({"operator": "Exists"})),
            ("another account", place("/spec/serviceAccountName"), json!("admin")),
            ("a priority class", place("/spec/priorityClassName"), json!("system-node-critical")),
            ("another scheduler", place("/spec/schedulerName"), json!("mine")),
            ("hosts", place("/spec/hostAliases"), json!([{"ip": "6.6.6.6", "hostnames": ["db"]}])),
            ("a label", place("/metadata/labels/role"), json!("admin")),
            ("an annotation", place("/metadata/annotations/example.com~1inject"), json!("true")),
        ]
    };
    let of_object = vec![
        ("a label of its own", "/metadata/labels/role", json!("admin")),
        ("a finalizer", "/metadata/finalizers/+", json!("example.com/hold")),
        (
            "another owner",
            "/metadata/ownerReferences/+",
            json!({"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "dead"}),
        ),
    ];
    let made_from = match kind {
        "Pod" => of_pod(""),
        "ControllerRevision" => of_pod("/data/spec/template"),
        _ => of_pod("/spec/template"),
    };
    of_object.into_iter().chain(made_from).collect()
}

/// Sets a value at a pointer; `+` adds an item. The places above it are made.
pub fn place(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for step in pointer.split('/').skip(1).map(|step| step.replace("~1", "/")) {
        at = match step.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) if step == "+" => {
                if at.is_null() {
                    *at = json!([]);
                }
                let items = at.as_array_mut().unwrap();
                items.push(Value::Null);
                items.last_mut().unwrap()
            }
            Err(_) => &mut at[step.as_str()],
        };
    }
    *at = value;
}
