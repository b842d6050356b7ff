//! The ControllerRevision in which a StatefulSet or DaemonSet keeps its template.

use serde_json::{Value, json};

use super::metadata::{self, adopt};

/// What a ControllerRevision has to be. Its number and its annotations say nothing about what runs.
pub fn wanted(template: &Value, child: &Value) -> Value {
    let mut kept = template.clone();
    kept["$patch"] = "replace".into();
    let mut labels = metadata::map(template, "labels");
    let found = metadata::map(child, "labels");
    for key in ["controller-revision-hash", "controller.kubernetes.io/hash"] {
        adopt(&mut labels, &found, key, |_| true);
    }
    let mut revision = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata::wanted(child, labels, metadata::map(child, "annotations"), Vec::new()),
        "data": {"spec": {"template": kept}},
    });
    if let Some(number) = child.get("revision") {
        revision["revision"] = number.clone();
    }
    revision
}
