//! The rules of an aggregated ClusterRole are those of the roles that it selects.
//!
//! clusterrole-aggregation-controller writes them, and whoever comes under its name. But what it may write follows from
//! what is declared, so no rule is added that none of those roles has.

use super::context::Context;
use crate::document::{List, Node};
use crate::object::ObjectRef;
use crate::snapshot::{Snapshot, SnapshotError};

const GROUP: &str = "rbac.authorization.k8s.io";
const KIND: &str = "ClusterRole";

/// A rule that a write adds to an aggregated role, and that is in no role that `canonical` selects. Where others may make
/// roles, in an open world or as an operator, the snapshot does not know all that may be selected, and nothing is found.
///
/// # Errors
/// An entry of the snapshot is damaged.
pub fn foreign_rule<'a>(
    context: &Context<'a>,
    canonical: Node<'_>,
    old: Node<'_>,
    new: Node<'a>,
) -> Result<Option<Node<'a>>, SnapshotError> {
    let added = |rule: &Node<'_>| ![old, canonical].iter().any(|role| rules(*role).any(|known| known == *rule));
    let mut added = rules(new).filter(added).peekable();
    if !is_aggregated(context.id, canonical) || added.peek().is_none() || !knows_all_roles(context) {
        return Ok(None);
    }
    let selected = selected_rules(context.snapshot, context.id.name, canonical)?;
    Ok(added.find(|rule| !selected.contains(rule)))
}

fn is_aggregated(id: ObjectRef<'_>, role: Node<'_>) -> bool {
    (id.group, id.kind) == (GROUP, KIND) && selectors(role).next().is_some()
}

fn knows_all_roles(context: &Context<'_>) -> bool {
    let mut answering = context.snapshot.meta().answering(context.id);
    answering.all(|source| {
        source.is_closed()
            && !source.delegations.iter().any(|d| (d.kind.group.as_str(), d.kind.kind.as_str()) == (GROUP, KIND))
    })
}

/// The rules of what a role selects, and of what that selects.
fn selected_rules<'a>(snapshot: &'a Snapshot, name: &str, canonical: Node<'a>) -> Result<Vec<Node<'a>>, SnapshotError> {
    let mut unselected = Vec::new();
    for entry in snapshot.iter() {
        let entry = entry?;
        let id = entry.id();
        if (id.group, id.kind) == (GROUP, KIND)
            && id.name != name
            && let Some(role) = entry.canonical()
        {
            unselected.push(role);
        }
    }
    let (mut found, mut selecting) = (Vec::new(), vec![canonical]);
    while let Some(by) = selecting.pop() {
        let is_selected = |role: &Node<'_>| selectors(by).any(|selector| matches(selector, *role));
        let (selected, rest): (Vec<_>, Vec<_>) = unselected.into_iter().partition(is_selected);
        unselected = rest;
        found.extend(selected.iter().flat_map(|role| rules(*role)));
        selecting.extend(selected.into_iter().filter(|role| selectors(*role).next().is_some()));
    }
    Ok(found)
}

fn items<'a>(list: Option<Node<'a>>) -> impl Iterator<Item = Node<'a>> {
    list.and_then(Node::list).into_iter().flat_map(List::iter)
}

pub fn rules(role: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    items(role.get("rules"))
}

fn selectors(role: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    items(role.at(&["aggregationRule", "clusterRoleSelectors"]))
}

/// A label selector; an empty one selects all.
fn matches(selector: Node<'_>, role: Node<'_>) -> bool {
    let label = |key: &str| role.at(&["metadata", "labels", key]).and_then(Node::as_str);
    let labels = selector.get("matchLabels").and_then(Node::map);
    let equal = labels.is_none_or(|labels| labels.iter().all(|(key, value)| label(key) == value.as_str()));
    equal
        && items(selector.get("matchExpressions")).all(|expression| {
            let text = |field| expression.get(field).and_then(Node::as_str).unwrap_or_default();
            let value = label(text("key"));
            let listed = || items(expression.get("values")).any(|listed| value.is_some() && listed.as_str() == value);
            match text("operator") {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, delegation, with};
    use crate::api::Undeclared;

    fn role(name: &str, labels: Value, rules: Value) -> Value {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name, "labels": labels}, "rules": rules})
    }

    fn rule(resource: &str) -> Value {
        json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]})
    }

    fn aggregated(name: &str, labels: Value, selector: Value) -> Value {
        with(&role(name, labels, json!([])), "/aggregationRule", json!({"clusterRoleSelectors": [selector]}))
    }

    /// `admin` selects `edit`, which selects `pods`.
    fn world() -> World {
        World::new()
            .declare(&aggregated("admin", json!({}), json!({"matchLabels": {"to-admin": "true"}})))
            .declare(&aggregated("edit", json!({"to-admin": "true"}), json!({"matchLabels": {"to-edit": "true"}})))
            .declare(&role("pods", json!({"to-edit": "true"}), json!([rule("pods")])))
            .declare(&role("nodes", json!({}), json!([rule("nodes")])))
    }

    fn update(name: &str, from: Value, to: Value) -> Review {
        let selector = if name == "admin" { "to-admin" } else { "to-edit" };
        let labels = if name == "admin" { json!({}) } else { json!({"to-admin": "true"}) };
        let live = aggregated(name, labels, json!({"matchLabels": {selector: "true"}}));
        let review = Review::update(&with(&live, "/rules", from), &with(&live, "/rules", to));
        review.by(&controller("clusterrole-aggregation-controller"))
    }

    #[test]
    fn rules_are_those_of_the_roles_that_are_selected() {
        let all = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
        world().expect(&[
            ("its role's", update("edit", json!([]), json!([rule("pods")])), Allow, "declared"),
            ("through another", update("admin", json!([]), json!([rule("pods")])), Allow, "declared"),
            ("not selected", update("edit", json!([]), json!([rule("nodes")])), Deny, "declared"),
            ("of nobody", update("edit", json!([rule("pods")]), json!([rule("pods"), all])), Deny, "declared"),
            ("old drift stays", update("edit", json!([all]), json!([all, rule("pods")])), Allow, "declared"),
            ("and goes", update("edit", json!([all]), json!([rule("pods")])), Allow, "declared"),
        ]);
        let message = world().verdict(&update("edit", json!([]), json!([all]))).message.unwrap_or_default();
        assert!(message.contains("no role that it selects has"), "{message}");
    }

    #[test]
    fn expressions_select_too() {
        let selecting = |expression: Value| {
            let selector = json!({"matchExpressions": [expression]});
            let reader = aggregated("reader", json!({}), selector);
            let world = World::new().declare(&role("pods", json!({"to-edit": "true"}), json!([rule("pods")])));
            let world = world.declare(&reader);
            let new = with(&reader, "/rules", json!([rule("pods")]));
            let review = Review::update(&reader, &new).by(&controller("clusterrole-aggregation-controller"));
            world.verdict(&review).outcome
        };
        for (expression, outcome) in [
            (json!({"key": "to-edit", "operator": "Exists"}), Allow),
            (json!({"key": "to-edit", "operator": "In", "values": ["true", "maybe"]}), Allow),
            (json!({"key": "to-view", "operator": "DoesNotExist"}), Allow),
            (json!({"key": "to-edit", "operator": "NotIn", "values": ["false"]}), Allow),
            (json!({"key": "to-edit", "operator": "NotIn", "values": ["true"]}), Deny),
            (json!({"key": "to-view", "operator": "Exists"}), Deny),
            (json!({"key": "to-edit", "operator": "Unknown"}), Deny),
        ] {
            assert_eq!(selecting(expression.clone()), outcome, "{expression}");
        }
    }

    #[test]
    fn where_others_make_roles_their_rules_are_not_known() {
        let foreign = || update("edit", json!([]), json!([rule("secrets")]));
        let open = world().source(|source| source.undeclared_objects = Undeclared::Allow);
        open.expect(&[("an open world", foreign(), Allow, "declared")]);
        let operator = delegation("operator", ("rbac.authorization.k8s.io", "ClusterRole"), "rules", None);
        let delegated = world().source(|source| source.delegations = vec![operator]);
        delegated.expect(&[("an operator's roles", foreign(), Allow, "declared")]);
    }
}
