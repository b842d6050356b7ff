//! The roles and bindings that an API server makes for itself at each start, as Kubernetes 1.36 has them.
//!
//! One that cannot make them ends itself half a minute later. They carry authority, and who impersonates the API server has
//! its name: what it may make again is told by their content, to the last rule. A later version may have others. Those
//! join the baseline while nothing is enforced.

use std::sync::LazyLock;

use crate::admission::aggregation::rules;
use crate::document::{Document, Node};
use crate::object::{GroupKind, ObjectId, ObjectRef};

const GROUP: &str = "rbac.authorization.k8s.io";
/// One object a line, from a cluster that was just made.
const OBJECTS: &str = include_str!("bootstrap_policy.jsonl");

/// Each of these objects as JSON.
pub fn bootstrap_policy() -> impl Iterator<Item = &'static str> {
    OBJECTS.lines()
}

/// So few that looking through them costs less than an owned key for each review.
static POLICY: LazyLock<Vec<(ObjectId, Document)>> = LazyLock::new(|| {
    let objects = OBJECTS.lines().filter_map(|line| Document::from_json(line.as_bytes()).ok());
    objects.filter_map(|object| Some((id(object.root())?, object))).collect()
});

fn id(object: Node<'_>) -> Option<ObjectId> {
    let text = |path: &[&str]| object.at(path).and_then(Node::as_str);
    let namespace = text(&["metadata", "namespace"]).unwrap_or_default();
    Some(ObjectId {
        kind: GroupKind::new(GROUP, text(&["kind"])?),
        namespace: namespace.to_owned(),
        name: text(&["metadata", "name"])?.to_owned(),
    })
}

/// Whether the API server makes this object, just as it is.
pub fn is_bootstrap_policy(id: ObjectRef<'_>, object: Node<'_>) -> bool {
    if id.group != GROUP {
        return false;
    }
    let Some((_, made)) = POLICY.iter().find(|(made, _)| made.as_ref() == id) else { return false };
    let made = made.root();
    let is_as_made = |path: &[&str]| is_same(object.at(path), made.at(path));
    let claims = [["metadata", "finalizers"], ["metadata", "ownerReferences"], ["metadata", "annotations"]];
    claims.iter().chain(&[["metadata", "labels"]]).all(|path| is_as_made(path))
        && ["roleRef", "subjects", "aggregationRule"].iter().all(|field| is_as_made(&[field]))
        && (is_as_made(&["rules"]) || is_being_aggregated(object, made))
}

/// Its controller brings the rules together from the roles that are there already.
fn is_being_aggregated(object: Node<'_>, made: Node<'_>) -> bool {
    made.get("aggregationRule").is_some() && rules(object).all(|rule| rules(made).any(|own| own == rule))
}

fn is_same(a: Option<Node<'_>>, b: Option<Node<'_>>) -> bool {
    a.filter(|node| !node.is_null()) == b.filter(|node| !node.is_null())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    fn made(kind: &str, name: &str) -> Value {
        let objects = OBJECTS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        objects.into_iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name).unwrap()
    }

    fn is_made(object: &Value) -> bool {
        let document = Document::from_value(object);
        is_bootstrap_policy(id(document.root()).unwrap().as_ref(), document.root())
    }

    #[test]
    fn every_line_is_an_object_of_its_own() {
        let ids: BTreeSet<_> = POLICY.iter().map(|(id, _)| id).collect();
        assert_eq!((POLICY.len(), ids.len(), OBJECTS.lines().count()), (133, 133, 133));
        assert!(OBJECTS.lines().all(|line| is_made(&serde_json::from_str(line).unwrap())));
    }

    #[test]
    fn it_is_told_by_its_content() {
        type Edit = fn(&mut Value);
        let edits: [(&str, &str, Edit, bool); 9] = [
            ("ClusterRoleBinding", "system:basic-user", |_| {}, true),
            ("ClusterRoleBinding", "system:basic-user", |b| b["metadata"]["uid"] = json!("x"), true),
            ("ClusterRoleBinding", "system:basic-user", |b| b["subjects"][0]["name"] = json!("alice"), false),
            ("ClusterRoleBinding", "system:basic-user", |b| b["roleRef"]["name"] = json!("cluster-admin"), false),
            ("ClusterRoleBinding", "system:basic-user", |b| b["metadata"]["finalizers"] = json!(["x.y/z"]), false),
            ("ClusterRole", "view", |role| role["rules"] = Value::Null, true),
            ("ClusterRole", "view", |role| role["rules"] = json!([role["rules"][1]]), true),
            ("ClusterRole", "view", |role| role["rules"][0]["verbs"] = json!(["*"]), false),
            ("ClusterRole", "system:discovery", |role| role["rules"] = Value::Null, false),
        ];
        for (number, (kind, name, edit, expected)) in edits.into_iter().enumerate() {
            let mut object = made(kind, name);
            edit(&mut object);
            assert_eq!(is_made(&object), expected, "case {number}: {kind} {name}");
        }
        let mut other = made("ClusterRoleBinding", "system:basic-user");
        other["metadata"]["name"] = json!("other");
        assert!(!is_made(&other));
    }
}
