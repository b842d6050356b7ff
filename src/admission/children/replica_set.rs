//! The ReplicaSet that a Deployment's template yields.

use serde_json::{Value, json};

use super::additions::TEMPLATE_HASH;
use super::metadata;

/// What a ReplicaSet has to be. Its number of replicas is judged by itself; what the controller notes in annotations says
/// nothing about what runs.
pub fn wanted(deployment: &Value, template: &Value, child: &Value) -> Value {
    let owner = deployment["metadata"]["name"].as_str().unwrap_or_default();
    let name = child["metadata"]["name"].as_str().unwrap_or_default();
    let hash = name.strip_prefix(owner).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    let hashed = |map: &Value| {
        let mut map = map.as_object().cloned().unwrap_or_default();
        map.insert(TEMPLATE_HASH.to_owned(), hash.into());
        map
    };
    let labels = hashed(&template["metadata"]["labels"]);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"] = Value::Object(hashed(&selector["matchLabels"]));
    let mut pods = template.clone();
    pods["metadata"]["labels"] = Value::Object(labels.clone());
    let mut spec = json!({"selector": selector, "template": pods});
    for field in ["replicas", "minReadySeconds"] {
        if let Some(value) = child["spec"].get(field) {
            spec[field] = value.clone();
        }
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata::wanted(child, labels, metadata::map(child, "annotations"), Vec::new()),
        "spec": spec,
    })
}
