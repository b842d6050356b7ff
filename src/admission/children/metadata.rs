//! Metadata of a child: its identity is its own, the rest follows.

use serde_json::{Map, Value, json};

/// The child's own metadata with these labels, annotations and finalizers, and no owner but its controller.
pub fn wanted(
    child: &Value,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    mut finalizers: Vec<Value>,
) -> Value {
    if !child["metadata"]["deletionTimestamp"].is_null() {
        // The API server adds them to what is being deleted, for the garbage collector.
        let collectors = [json!("foregroundDeletion"), json!("orphan")];
        finalizers.extend(self::finalizers(child).into_iter().filter(|finalizer| collectors.contains(finalizer)));
    }
    let mut metadata = child["metadata"].as_object().cloned().unwrap_or_default();
    for (field, value) in [
        ("labels", Value::Object(labels)),
        ("annotations", Value::Object(annotations)),
        ("finalizers", Value::Array(finalizers)),
        ("ownerReferences", Value::Array(controllers(child))),
    ] {
        let empty = value.as_object().map_or_else(|| value == json!([]), Map::is_empty);
        if empty {
            metadata.remove(field);
        } else {
            metadata.insert(field.to_owned(), value);
        }
    }
    Value::Object(metadata)
}

fn controllers(child: &Value) -> Vec<Value> {
    let owners = child["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.filter(|owner| owner["controller"] == true).cloned().collect()
}

/// The members of a map in metadata.
pub fn map(object: &Value, field: &str) -> Map<String, Value> {
    object["metadata"][field].as_object().cloned().unwrap_or_default()
}

pub fn finalizers(object: &Value) -> Vec<Value> {
    object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default()
}

/// Takes over a label or annotation that the child has, where its value may be that, and the template says nothing of it.
pub fn adopt(
    wanted: &mut Map<String, Value>,
    child: &Map<String, Value>,
    key: &str,
    is_allowed: impl Fn(&str) -> bool,
) {
    if let Some(value) = child.get(key).filter(|value| value.as_str().is_some_and(is_allowed)) {
        wanted.entry(key).or_insert_with(|| value.clone());
    }
}
