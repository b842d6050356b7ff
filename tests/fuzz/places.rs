//! Places of a JSON value, by their pointers.

use serde_json::Value;

/// What names an object and what the API server keeps for itself: an edit there is another object, or none.
const NOT_EDITED: &[&str] = &[
    "/apiVersion",
    "/kind",
    "/metadata/creationTimestamp",
    "/metadata/generation",
    "/metadata/managedFields",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/resourceVersion",
    "/metadata/uid",
    "/status",
];

/// Every place that an edit may change.
pub fn editable(object: &Value, mut holds: impl FnMut(&Value) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    walk(object, &mut String::new(), &mut |pointer, value| {
        if NOT_EDITED.contains(&pointer) {
            return false;
        }
        if !pointer.is_empty() && pointer != "/metadata" && holds(value) {
            places.push(pointer.to_owned());
        }
        true
    });
    places
}

/// Visits a value and, where the visitor wants it, what is in it.
pub fn walk(value: &Value, pointer: &mut String, visit: &mut impl FnMut(&str, &Value) -> bool) {
    if !visit(pointer, value) {
        return;
    }
    let length = pointer.len();
    let mut step = |name: &str, value: &Value| {
        pointer.push('/');
        pointer.push_str(&escaped(name));
        walk(value, pointer, visit);
        pointer.truncate(length);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| step(name, value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| step(&index.to_string(), value)),
        _ => {}
    }
}

pub fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The same place in other objects of the kind, whatever the item of a list.
pub fn general(pointer: &str) -> String {
    let step = |step: &str| if step.parse::<usize>().is_ok() { "*".to_owned() } else { step.to_owned() };
    pointer.split('/').map(step).collect::<Vec<_>>().join("/")
}

pub fn remove(object: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(items)) => {
            items.remove(name.parse().unwrap());
        }
        other => panic!("{parent} holds nothing: {other:?}"),
    }
}

/// Sets a member, and makes the maps above it.
pub fn set(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        at = match name.parse::<usize>() {
            Ok(index) if at.is_array() => &mut at[index],
            _ => &mut at[name.as_str()],
        };
    }
    *at = value;
}
