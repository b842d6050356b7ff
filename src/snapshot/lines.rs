//! Line numbers of a manifest, as an entry holds them.
//!
//! A leaf is its line; anything that contains something is `[line, {name: …}]` or `[line, [item, …]]`.

use serde_json::Value;

use crate::compare::{Path, Segment};
use crate::document::{Node, View};
use crate::render::{LineTree, Lines};

pub(super) fn encode(tree: &LineTree) -> Value {
    let children = match &tree.children {
        Lines::None => return tree.line.into(),
        Lines::Map(members) => members.iter().map(|(name, member)| (name.clone(), encode(member))).collect(),
        Lines::List(items) => Value::Array(items.iter().map(encode).collect()),
    };
    Value::Array(vec![tree.line.into(), children])
}

pub(super) fn first(tree: Node<'_>) -> Option<u32> {
    let line = match tree.view() {
        View::List(parts) => parts.get(0)?.as_i64(),
        _ => tree.as_i64(),
    };
    line.and_then(|line| u32::try_from(line).ok())
}

/// The line of the field at `path`, or of the nearest thing above it that the manifest has.
///
/// The items of a keyed list are found by their place in the canonical object: the reconciler puts the lines in that
/// order.
pub(super) fn nearest(tree: Node<'_>, canonical: Option<Node<'_>>, path: &Path) -> Option<u32> {
    let mut line = first(tree)?;
    let (mut tree, mut canonical) = (tree, canonical);
    for segment in &path.0 {
        let Some(children) = tree.list().and_then(|parts| parts.get(1)) else { break };
        let child = match segment {
            Segment::Field(name) => {
                canonical = canonical.and_then(|node| node.get(name));
                children.get(name)
            }
            Segment::Index(_) | Segment::Item(_) | Segment::Member(_) => {
                let items = canonical.and_then(|node| node.list());
                let index = match segment {
                    Segment::Index(index) => Some(*index),
                    _ => items.and_then(|items| items.iter().position(|item| is_item(item, segment))),
                };
                canonical = index.and_then(|index| items.and_then(|items| items.get(index)));
                index.and_then(|index| children.list().and_then(|children| children.get(index)))
            }
        };
        let Some(child) = child else { break };
        line = first(child)?;
        tree = child;
    }
    Some(line)
}

fn is_item(item: Node<'_>, segment: &Segment) -> bool {
    match segment {
        Segment::Item(keys) => {
            keys.iter().all(|(key, value)| item.get(key).is_some_and(|node| node.to_value() == *value))
        }
        Segment::Member(value) => item.to_value() == *value,
        Segment::Field(_) | Segment::Index(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::document::Document;

    fn leaf(line: u32) -> LineTree {
        LineTree { line, children: Lines::None }
    }

    fn map<const N: usize>(line: u32, members: [(&str, LineTree); N]) -> LineTree {
        let members: BTreeMap<_, _> = members.into_iter().map(|(name, tree)| (name.to_owned(), tree)).collect();
        LineTree { line, children: Lines::Map(members) }
    }

    fn field(name: &str) -> Segment {
        Segment::Field(name.into())
    }

    fn item(name: &str) -> Segment {
        Segment::Item(vec![("name".into(), json!(name))])
    }

    #[test]
    fn the_nearest_line_above_a_path() {
        let tree = map(
            1,
            [
                ("kind", leaf(2)),
                (
                    "spec",
                    map(
                        4,
                        [
                            (
                                "containers",
                                LineTree {
                                    line: 5,
                                    children: Lines::List(vec![
                                        map(6, [("name", leaf(6)), ("image", leaf(7))]),
                                        map(8, [("name", leaf(8))]),
                                    ]),
                                },
                            ),
                            ("finalizers", LineTree { line: 9, children: Lines::List(vec![leaf(10), leaf(11)]) }),
                        ],
                    ),
                ),
            ],
        );
        let canonical = json!({"kind": "Pod", "spec": {"replicas": 1, "finalizers": ["a", "b"],
            "containers": [{"name": "web", "image": "w"}, {"name": "log", "image": "l"}]}});
        let (lines, canonical) = (Document::from_value(&encode(&tree)), Document::from_value(&canonical));
        let cases = [
            (vec![], 1),
            (vec![field("kind")], 2),
            (vec![field("spec"), field("replicas")], 4),
            (vec![field("spec"), field("containers"), item("web"), field("image")], 7),
            (vec![field("spec"), field("containers"), item("log"), field("image")], 8),
            (vec![field("spec"), field("containers"), item("other")], 5),
            (vec![field("spec"), field("containers"), Segment::Index(1)], 8),
            (vec![field("spec"), field("containers"), Segment::Index(2)], 5),
            (vec![field("spec"), field("finalizers"), Segment::Member(json!("b"))], 11),
            (vec![field("kind"), field("deeper")], 2),
        ];
        for (path, expected) in cases {
            let path = Path(path);
            assert_eq!(nearest(lines.root(), Some(canonical.root()), &path), Some(expected), "{path}");
        }
        assert_eq!(nearest(lines.root(), None, &Path(vec![field("spec"), field("containers"), item("web")])), Some(5));
        assert_eq!(first(lines.root()), Some(1));
    }
}
