//! Places in plain JSON values, found by the keys of list items. Pure.
//!
//! A manifest leaves out keys that the server defaults (`protocol: TCP`), so an item of a manifest is the item of the
//! stored object with which all keys agree that both of them have.

use serde_json::{Map, Value};

use crate::compare::{ListKind, ListSchema, Path, SchemaNode, Segment};

/// The value at a place.
pub fn get<'v>(value: &'v Value, path: &Path) -> Option<&'v Value> {
    path.0.iter().try_fold(value, |value, segment| step(value, segment))
}

fn step<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match segment {
        Segment::Field(name) => value.get(name),
        Segment::Index(index) => value.get(*index),
        Segment::Item(keys) => value.as_array()?.iter().find(|item| has_keys(item, keys)),
        Segment::Member(member) => value.as_array()?.iter().find(|item| *item == member),
    }
}

fn has_keys(item: &Value, keys: &[(String, Value)]) -> bool {
    let mut known = keys.iter().filter_map(|(key, value)| Some((item.get(key)?, value))).peekable();
    known.peek().is_some() && known.all(|(found, value)| found == value)
}

/// Sets the value at a place, making maps on the way. Says whether the place could be reached.
pub fn set(value: &mut Value, path: &[Segment], new: Value) -> bool {
    let Some((segment, rest)) = path.split_first() else {
        *value = new;
        return true;
    };
    match segment {
        Segment::Field(name) => {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            let Some(members) = value.as_object_mut() else { return false };
            set(members.entry(name.as_str()).or_insert(Value::Null), rest, new)
        }
        Segment::Index(index) => value.get_mut(*index).is_some_and(|item| set(item, rest, new)),
        Segment::Item(keys) => {
            if value.is_null() {
                *value = Value::Array(Vec::new());
            }
            let Some(items) = value.as_array_mut() else { return false };
            match items.iter_mut().find(|item| has_keys(item, keys)) {
                Some(item) => set(item, rest, new),
                None if rest.is_empty() => {
                    items.push(new);
                    true
                }
                None => false,
            }
        }
        Segment::Member(member) => {
            if value.is_null() {
                *value = Value::Array(Vec::new());
            }
            let Some(members) = value.as_array_mut() else { return false };
            if !members.contains(member) {
                members.push(new);
            }
            rest.is_empty()
        }
    }
}

/// Gives the items of a list the order that they have in another one; what is not there comes last.
pub fn order_like(items: &mut Value, model: &Value, segment: &Segment) {
    let (Some(items), Some(model)) = (items.as_array_mut(), model.as_array()) else { return };
    let same = |a: &Value, b: &Value| match segment {
        Segment::Item(keys) => keys.iter().all(|(key, _)| match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        }),
        _ => a == b,
    };
    items.sort_by_key(|item| model.iter().position(|other| same(item, other)).unwrap_or(model.len()));
}

/// Whether an item has these keys, given as text. The empty key is the member of a set itself.
pub fn item_matches(item: &Value, keys: &[(String, String)]) -> bool {
    keys.iter().all(|(key, wanted)| {
        let value = if key.is_empty() { Some(item) } else { item.get(key) };
        match value {
            Some(Value::String(text)) => text == wanted,
            Some(Value::Number(number)) => *wanted == number.to_string(),
            Some(Value::Bool(flag)) => *wanted == flag.to_string(),
            _ => false,
        }
    })
}

pub fn is_set_member(item: &Value, kind: Option<&ListKind>) -> bool {
    matches!(kind, Some(ListKind::Set)) && item.is_string()
}

/// What a manifest says about an item of the stored list.
pub fn declared_item<'d>(declared: &'d Value, item: &Value, kind: Option<&ListKind>) -> Option<&'d Value> {
    let declared = declared.as_array()?;
    match kind? {
        ListKind::Map(names) => declared.iter().find(|d| keys_agree(d, item, names)),
        ListKind::Set => declared.iter().find(|d| *d == item),
        ListKind::Atomic => None,
    }
}

/// Whether two items agree in all keys that both have, and have one in common.
pub fn keys_agree(declared: &Value, stored: &Value, names: &[String]) -> bool {
    let mut common = false;
    for name in names {
        if let (Some(a), Some(b)) = (declared.get(name), stored.get(name)) {
            if a != b {
                return false;
            }
            common = true;
        }
    }
    common
}

/// A Pod as declared, with everything in its live `spec` that the declaration leaves open.
pub fn overlay_spec(declared: &Value, live: &Value, schema: &ListSchema) -> Value {
    let mut object = declared.clone();
    if let (Some(spec), Some(live)) = (object.get_mut("spec"), live.get("spec")) {
        overlay(spec, live, schema, schema.field(schema.root(), "spec"));
    }
    object
}

fn overlay(declared: &mut Value, live: &Value, schema: &ListSchema, node: Option<&SchemaNode>) {
    match (declared, live) {
        (Value::Object(declared), Value::Object(live)) if !node.is_some_and(|node| node.atomic) => {
            for (name, value) in live {
                match declared.get_mut(name) {
                    Some(member) => overlay(member, value, schema, schema.field(node, name)),
                    None => _ = declared.insert(name.clone(), value.clone()),
                }
            }
        }
        (Value::Array(declared), Value::Array(live)) => {
            let Some(ListKind::Map(names)) = node.and_then(|node| node.list.as_ref()) else { return };
            for value in live {
                match declared.iter_mut().find(|item| keys_agree(item, value, names)) {
                    Some(item) => overlay(item, value, schema, schema.item(node)),
                    None => declared.push(value.clone()),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(key: &str, value: &str) -> Segment {
        Segment::Item(vec![(key.into(), value.into())])
    }

    fn field(name: &str) -> Segment {
        Segment::Field(name.into())
    }

    #[test]
    fn values_are_found_and_set_by_the_keys_of_items() {
        let mut value = json!({"containers": [{"name": "web", "image": "a"}]});
        let image = Path(vec![field("containers"), item("name", "web"), field("image")]);
        assert_eq!(get(&value, &image), Some(&json!("a")));
        assert!(set(&mut value, &image.0, json!("b")));
        assert!(set(&mut value, &[field("containers"), item("name", "log")], json!({"name": "log"})));
        assert!(set(&mut value, &[field("metadata"), field("annotations"), field("x")], json!("1")));
        assert!(!set(&mut value, &[field("containers"), item("name", "gone"), field("image")], json!("c")));
        let expected = json!({"containers": [{"name": "web", "image": "b"}, {"name": "log"}],
            "metadata": {"annotations": {"x": "1"}}});
        assert_eq!(value, expected);
    }

    #[test]
    fn keys_that_a_manifest_leaves_to_the_default_agree() {
        let keys = ["port".to_owned(), "protocol".to_owned()];
        assert!(keys_agree(&json!({"port": 80}), &json!({"port": 80, "protocol": "TCP"}), &keys));
        assert!(!keys_agree(&json!({"port": 80, "protocol": "UDP"}), &json!({"port": 80, "protocol": "TCP"}), &keys));
        assert!(!keys_agree(&json!({"name": "a"}), &json!({"port": 80}), &keys));
    }

    #[test]
    fn items_get_the_order_of_a_model() {
        let mut items = json!([{"name": "a"}, {"name": "new"}, {"name": "b"}]);
        order_like(&mut items, &json!([{"name": "b"}, {"name": "a"}]), &item("name", ""));
        assert_eq!(items, json!([{"name": "b"}, {"name": "a"}, {"name": "new"}]));
    }

    #[test]
    fn a_pod_keeps_what_it_was_given_at_creation() {
        let schema = ListSchema {
            nodes: vec![
                SchemaNode { fields: [("spec".to_owned(), 1)].into(), ..SchemaNode::default() },
                SchemaNode { fields: [("containers".to_owned(), 2)].into(), ..SchemaNode::default() },
                SchemaNode { list: Some(ListKind::Map(vec!["name".into()])), ..SchemaNode::default() },
            ],
        };
        let declared =
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "web", "image": "new"}]}});
        let live = json!({"metadata": {"labels": {"foreign": "x"}}, "spec": {"nodeName": "n",
            "containers": [{"name": "web", "image": "old", "tty": false}]}});
        let expected = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "n",
            "containers": [{"name": "web", "image": "new", "tty": false}]}});
        assert_eq!(overlay_spec(&declared, &live, &schema), expected);
    }
}
