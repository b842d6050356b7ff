//! Whether everything that Git declares is in what the server makes of it. Pure.
//!
//! A field of a disabled feature is dropped without an error or a warning, even with strict field validation, and a
//! cluster that lacks it would still count as converged.

use serde_json::Value;

use super::place::keys_agree;
use crate::compare::{ListKind, ListSchema, Path, SchemaNode, Segment};

/// The first declared place that the canonical object lacks.
pub fn first_dropped(declared: &Value, canonical: &Value, schema: &ListSchema) -> Option<Path> {
    let mut path = Vec::new();
    dropped(declared, canonical, schema, schema.root(), &mut path).then_some(Path(path))
}

fn dropped(
    declared: &Value,
    canonical: &Value,
    schema: &ListSchema,
    node: Option<&SchemaNode>,
    path: &mut Vec<Segment>,
) -> bool {
    match (declared, canonical) {
        (Value::Object(declared), Value::Object(canonical)) => declared.iter().any(|(name, value)| {
            path.push(Segment::Field(name.clone()));
            let lost = match canonical.get(name) {
                Some(found) => dropped(value, found, schema, schema.field(node, name), path),
                None => !is_zero(value),
            };
            lost || path.pop().is_none()
        }),
        (Value::Array(declared), Value::Array(canonical)) => match node.and_then(|node| node.list.as_ref()) {
            Some(ListKind::Map(names)) => declared.iter().any(|item| {
                path.push(Segment::Item(item_keys(item, names)));
                let lost = match canonical.iter().find(|found| keys_agree(item, found, names)) {
                    Some(found) => dropped(item, found, schema, schema.item(node), path),
                    None => true,
                };
                lost || path.pop().is_none()
            }),
            Some(ListKind::Set) => declared.iter().any(|member| {
                path.push(Segment::Member(member.clone()));
                !canonical.contains(member) || path.pop().is_none()
            }),
            // Of another length, the list was normalised as a whole (the server packs the subsets of Endpoints).
            _ if declared.len() != canonical.len() => canonical.is_empty(),
            _ => declared.iter().zip(canonical).enumerate().any(|(index, (item, found))| {
                path.push(Segment::Index(index));
                dropped(item, found, schema, None, path) || path.pop().is_none()
            }),
        },
        // Another value is normalisation: "1000m" is "1".
        _ => false,
    }
}

/// The server omits values that mean the same as their absence, and takes null for absence.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(is_zero),
    }
}

/// The first item of a keyed list or set that is in it twice. A kubelet takes the last of two, an apply the first: no
/// comparison can tell which is meant.
pub fn duplicate(object: &Value, schema: &ListSchema) -> Option<Path> {
    let mut path = Vec::new();
    duplicated(object, schema, schema.root(), &mut path).then_some(Path(path))
}

fn duplicated(value: &Value, schema: &ListSchema, node: Option<&SchemaNode>, path: &mut Vec<Segment>) -> bool {
    // Below a node that says nothing there are no keyed lists.
    let Some(known) = node else { return false };
    match value {
        Value::Object(members) => members.iter().any(|(name, member)| {
            path.push(Segment::Field(name.clone()));
            duplicated(member, schema, schema.field(node, name), path) || path.pop().is_none()
        }),
        Value::Array(items) => {
            let segment = |item: &Value| match &known.list {
                Some(ListKind::Map(names)) => Some(Segment::Item(item_keys(item, names))),
                Some(ListKind::Set) => Some(Segment::Member(item.clone())),
                Some(ListKind::Atomic) | None => None,
            };
            let mut seen: Vec<Segment> = Vec::with_capacity(items.len());
            items.iter().any(|item| {
                let Some(segment) = segment(item) else { return false };
                path.push(segment.clone());
                if seen.contains(&segment) {
                    return true;
                }
                seen.push(segment);
                duplicated(item, schema, schema.item(node), path) || path.pop().is_none()
            })
        }
        _ => false,
    }
}

fn item_keys(item: &Value, names: &[String]) -> Vec<(String, Value)> {
    names.iter().filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `ports` is keyed by port and protocol, `tags` is a set, all else is as the server assumes.
    fn schema() -> ListSchema {
        ListSchema {
            nodes: vec![
                SchemaNode {
                    fields: [("ports".to_owned(), 1), ("tags".to_owned(), 2)].into(),
                    ..SchemaNode::default()
                },
                SchemaNode {
                    list: Some(ListKind::Map(vec!["port".into(), "protocol".into()])),
                    ..SchemaNode::default()
                },
                SchemaNode { list: Some(ListKind::Set), ..SchemaNode::default() },
            ],
        }
    }

    #[test]
    fn what_is_dropped_is_named() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1, "b": 2}), None),
            (json!({"cpu": "1000m"}), json!({"cpu": "1"}), None),
            (json!({"spec": {"gate": "on"}}), json!({"spec": {}}), Some("spec.gate")),
            (json!({"spec": {"gate": "on"}}), json!({}), Some("spec")),
            (json!({"spec": null, "a": "", "b": false, "c": 0, "d": {"e": []}}), json!({}), None),
            (json!({"ports": [{"port": 80}]}), json!({"ports": [{"port": 80, "protocol": "TCP"}]}), None),
            (
                json!({"ports": [{"port": 80, "gate": 1}]}),
                json!({"ports": [{"port": 80, "protocol": "TCP"}]}),
                Some("ports[port=80].gate"),
            ),
            (json!({"ports": [{"port": 80}]}), json!({"ports": []}), Some("ports[port=80]")),
            (json!({"tags": ["a", "b"]}), json!({"tags": ["b"]}), Some("tags[=a]")),
            (json!({"list": [{"gate": 1}]}), json!({"list": [{}]}), Some("list[0].gate")),
            (json!({"list": [1, 2]}), json!({"list": [3]}), None),
            (json!({"list": [1, 2]}), json!({"list": []}), Some("list")),
        ];
        for (declared, canonical, expected) in cases {
            let found = first_dropped(&declared, &canonical, &schema()).map(|path| path.to_string());
            assert_eq!(found.as_deref(), expected, "{declared} {canonical}");
        }
    }

    #[test]
    fn duplicates_are_named() {
        let cases = [
            (json!({"ports": [{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "UDP"}]}), None),
            (
                json!({"ports": [{"port": 80, "protocol": "TCP"}, {"port": 80, "protocol": "TCP"}]}),
                Some("ports[port=80,protocol=TCP]"),
            ),
            (json!({"tags": ["a", "b", "a"]}), Some("tags[=a]")),
            (json!({"args": ["a", "a"]}), None),
        ];
        for (object, expected) in cases {
            assert_eq!(duplicate(&object, &schema()).map(|path| path.to_string()).as_deref(), expected, "{object}");
        }
    }
}
