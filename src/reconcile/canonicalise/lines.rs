//! Line numbers, item by item as the canonical object has them.
//!
//! Whoever looks a line up knows only the canonical object. The items of its keyed lists may stand in another order than
//! in the file, or with others between them that the API server added.

use serde_json::Value;

use super::place::keys_agree;
use crate::compare::{ListKind, ListSchema, SchemaNode};
use crate::render::{LineTree, Lines};

/// The lines of a manifest in the order of its canonical object. What the manifest does not have is where the list is.
pub fn align(lines: &LineTree, manifest: &Value, canonical: &Value, schema: &ListSchema) -> LineTree {
    aligned(lines, manifest, canonical, schema, schema.root())
}

fn aligned(
    lines: &LineTree,
    manifest: &Value,
    canonical: &Value,
    schema: &ListSchema,
    node: Option<&SchemaNode>,
) -> LineTree {
    let children = match (&lines.children, manifest, canonical) {
        (Lines::Map(members), Value::Object(declared), Value::Object(stored)) => {
            let member = |name: &String, lines: &LineTree| match (declared.get(name), stored.get(name)) {
                (Some(declared), Some(stored)) => aligned(lines, declared, stored, schema, schema.field(node, name)),
                _ => lines.clone(),
            };
            Lines::Map(members.iter().map(|(name, lines)| (name.clone(), member(name, lines))).collect())
        }
        (Lines::List(items), Value::Array(declared), Value::Array(stored)) => {
            let Some(kind) = node.and_then(|node| node.list.as_ref()).filter(|kind| **kind != ListKind::Atomic) else {
                return lines.clone();
            };
            let item = |stored: &Value| {
                let position = declared.iter().position(|declared| is_same(declared, stored, kind));
                match position.and_then(|at| items.get(at).zip(declared.get(at))) {
                    Some((lines, declared)) => aligned(lines, declared, stored, schema, schema.item(node)),
                    None => LineTree { line: lines.line, children: Lines::None },
                }
            };
            Lines::List(stored.iter().map(item).collect())
        }
        (children, ..) => children.clone(),
    };
    LineTree { line: lines.line, children }
}

fn is_same(declared: &Value, stored: &Value, kind: &ListKind) -> bool {
    match kind {
        ListKind::Map(names) => keys_agree(declared, stored, names),
        ListKind::Set => declared == stored,
        ListKind::Atomic => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn leaf(line: u32) -> LineTree {
        LineTree { line, children: Lines::None }
    }

    fn list(line: u32, items: Vec<LineTree>) -> LineTree {
        LineTree { line, children: Lines::List(items) }
    }

    fn map(line: u32, members: Vec<(&str, LineTree)>) -> LineTree {
        let members = members.into_iter().map(|(name, lines)| (name.to_owned(), lines)).collect();
        LineTree { line, children: Lines::Map(members) }
    }

    /// `env` is keyed by name, `tags` is a set, `args` is atomic.
    fn schema() -> ListSchema {
        serde_json::from_value(json!({"nodes": [
            {"fields": {"env": 1, "tags": 2, "args": 3}},
            {"list": {"Map": ["name"]}},
            {"list": "Set"},
            {"list": "Atomic"},
        ]}))
        .unwrap()
    }

    #[test]
    fn items_are_found_by_what_they_are() {
        let manifest = json!({"env": [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}],
            "tags": ["x", "y"], "args": ["p", "q"]});
        let canonical = json!({"env": [{"name": "injected"}, {"name": "b", "value": "2"}, {"name": "a", "value": "1"}],
            "tags": ["y", "x"], "args": ["p", "q"]});
        let a = map(3, vec![("name", leaf(3)), ("value", leaf(4))]);
        let b = map(5, vec![("name", leaf(5)), ("value", leaf(6))]);
        let (tags, args) = (vec![leaf(8), leaf(9)], list(10, vec![leaf(11), leaf(12)]));
        let lines =
            map(1, vec![("env", list(2, vec![a.clone(), b.clone()])), ("tags", list(7, tags)), ("args", args.clone())]);
        let expected = map(
            1,
            vec![("env", list(2, vec![leaf(2), b, a])), ("tags", list(7, vec![leaf(9), leaf(8)])), ("args", args)],
        );
        assert_eq!(align(&lines, &manifest, &canonical, &schema()), expected);
        assert_eq!(align(&lines, &manifest, &json!({}), &schema()), lines, "what is not there has no order");
    }
}
