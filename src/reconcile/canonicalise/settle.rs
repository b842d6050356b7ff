//! From the server's answer to desired state: what is not state goes, what is not Git's goes. Pure.

use serde_json::Value;

use super::place::{declared_item, is_set_member, item_matches};
use crate::compare::{FreeField, ListKind, ListSchema, PathPattern, PatternSegment, SchemaNode};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

const BOOKKEEPING: &[&str] = &[
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "generateName",
];

/// Takes out bookkeeping and status, and what `kubectl apply` remembers.
pub fn strip(object: &mut Value, declared: &Value, status_subresource: bool) {
    let Some(members) = object.as_object_mut() else { return };
    if status_subresource {
        members.remove("status");
    }
    let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    for field in BOOKKEEPING {
        metadata.remove(*field);
    }
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    if annotations.remove(LAST_APPLIED).is_some()
        && annotations.is_empty()
        && declared.pointer("/metadata/annotations").is_none()
    {
        metadata.remove("annotations");
    }
}

/// Takes out what the server allots and Git does not declare: a dry-run's values are fakes, a live object's its own.
pub fn blank_allotted(object: &mut Value, declared: &Value, allotted: &[PathPattern], schema: &ListSchema) {
    let walk = Walk { schema, at_end: |_, declared| if declared.is_some() { Verdict::Keep } else { Verdict::Remove } };
    for pattern in allotted {
        walk.run(object, Some(declared), &pattern.0, schema.root());
    }
}

/// Puts delegated fields back to what Git declares, where their live values had to be asked with.
pub fn restore_delegated(object: &mut Value, declared: &Value, free: &[FreeField], schema: &ListSchema) {
    let at_end = |value: &mut Value, declared: Option<&Value>| match declared {
        None => Verdict::Remove,
        Some(declared) => {
            *value = declared.clone();
            Verdict::Keep
        }
    };
    let walk = Walk { schema, at_end };
    for field in free {
        walk.run(object, Some(declared), &field.pattern.0, schema.root());
    }
}

enum Verdict {
    Keep,
    Remove,
}

/// Visits what a pattern matches in the answer, beside what is declared there.
struct Walk<'s> {
    schema: &'s ListSchema,
    at_end: fn(&mut Value, Option<&Value>) -> Verdict,
}

impl Walk<'_> {
    fn run(
        &self,
        value: &mut Value,
        declared: Option<&Value>,
        pattern: &[PatternSegment],
        node: Option<&SchemaNode>,
    ) -> Verdict {
        let Some((segment, rest)) = pattern.split_first() else { return (self.at_end)(value, declared) };
        match value {
            Value::Object(members) => {
                let names: Vec<String> = members.keys().filter(|name| member_matches(segment, name)).cloned().collect();
                for name in names {
                    let declared = declared.and_then(|declared| declared.get(&name));
                    let child = self.schema.field(node, &name);
                    let Some(member) = members.get_mut(&name) else { continue };
                    let before = is_filled_map(member);
                    match self.run(member, declared, rest, child) {
                        Verdict::Remove => _ = members.remove(&name),
                        // A map of labels that the server made for its own goes with the last of them.
                        Verdict::Keep
                            if before && is_empty_map(member) && declared.is_none() && is_metadata_map(&name) =>
                        {
                            members.remove(&name);
                        }
                        Verdict::Keep => {}
                    }
                }
            }
            Value::Array(items) => {
                let kind = node.and_then(|node| node.list.as_ref());
                let child = self.schema.item(node);
                items.retain_mut(|item| {
                    if !item_is_meant(segment, item, kind) {
                        return true;
                    }
                    let declared = declared.and_then(|declared| declared_item(declared, item, kind));
                    matches!(self.run(item, declared, rest, child), Verdict::Keep)
                });
            }
            _ => {}
        }
        Verdict::Keep
    }
}

fn member_matches(segment: &PatternSegment, name: &str) -> bool {
    match segment {
        PatternSegment::Field(field) => field == name,
        PatternSegment::Prefix(prefix) => name.starts_with(prefix.as_str()),
        PatternSegment::Any => true,
        PatternSegment::Item(_) => false,
    }
}

fn item_is_meant(segment: &PatternSegment, item: &Value, kind: Option<&ListKind>) -> bool {
    match segment {
        PatternSegment::Any => true,
        PatternSegment::Item(keys) => item_matches(item, keys),
        // A member of a set, such as a finalizer, is its own name.
        PatternSegment::Field(name) => is_set_member(item, kind) && item == name.as_str(),
        PatternSegment::Prefix(prefix) => {
            is_set_member(item, kind) && item.as_str().is_some_and(|member| member.starts_with(prefix.as_str()))
        }
    }
}

fn is_metadata_map(name: &str) -> bool {
    matches!(name, "labels" | "annotations")
}

fn is_filled_map(value: &Value) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty())
}

fn is_empty_map(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patterns(patterns: &[&str]) -> Vec<PathPattern> {
        patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
    }

    fn ports_schema() -> ListSchema {
        let node = |fields: &[(&str, u32)]| SchemaNode {
            fields: fields.iter().map(|(name, index)| ((*name).to_owned(), *index)).collect(),
            ..SchemaNode::default()
        };
        let keys = vec!["port".to_owned(), "protocol".to_owned()];
        ListSchema {
            nodes: vec![
                node(&[("spec", 1), ("metadata", 3)]),
                node(&[("ports", 2)]),
                SchemaNode { list: Some(ListKind::Map(keys)), ..SchemaNode::default() },
                node(&[("finalizers", 4)]),
                SchemaNode { list: Some(ListKind::Set), ..SchemaNode::default() },
            ],
        }
    }

    #[test]
    fn allotted_values_go_unless_git_declares_them() {
        let declared = json!({"spec": {"ports": [{"port": 80}, {"port": 81, "nodePort": 30081}]}});
        let mut object = json!({"spec": {"clusterIP": "10.0.0.7", "ports": [
            {"port": 80, "protocol": "TCP", "nodePort": 31000}, {"port": 81, "protocol": "TCP", "nodePort": 30081}]}});
        let allotted = patterns(&["spec.clusterIP", "spec.ports[*].nodePort"]);
        blank_allotted(&mut object, &declared, &allotted, &ports_schema());
        let expected = json!({"spec": {"ports": [
            {"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP", "nodePort": 30081}]}});
        assert_eq!(object, expected);
    }

    #[test]
    fn labels_made_for_allotted_values_go_with_them_and_other_empty_maps_stay() {
        let allotted = patterns(&["metadata.labels[job-name]", "spec.selector[x]"]);
        let answer = json!({"metadata": {"labels": {"job-name": "a"}}, "spec": {"selector": {"x": "1"}}});
        let mut object = answer.clone();
        blank_allotted(&mut object, &json!({}), &allotted, &ListSchema::default());
        assert_eq!(object, json!({"metadata": {}, "spec": {"selector": {}}}));
        let mut object = answer;
        blank_allotted(&mut object, &json!({"metadata": {"labels": {}}}), &allotted, &ListSchema::default());
        assert_eq!(object, json!({"metadata": {"labels": {}}, "spec": {"selector": {}}}));
    }

    #[test]
    fn members_of_sets_and_prefixes() {
        let mut object = json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection", "theirs/x", "mine/keep"],
            "annotations": {"pv.kubernetes.io/bound": "yes", "mine": "1"}}});
        let allotted = patterns(&[
            "metadata.finalizers[kubernetes.io/pvc-protection]",
            "metadata.finalizers[=theirs/x]",
            "metadata.annotations[pv.kubernetes.io/*]",
        ]);
        blank_allotted(&mut object, &json!({}), &allotted, &ports_schema());
        assert_eq!(object, json!({"metadata": {"finalizers": ["mine/keep"], "annotations": {"mine": "1"}}}));
    }

    #[test]
    fn delegated_fields_get_gits_value_or_none() {
        let free = [FreeField { pattern: "spec.replicas".parse().unwrap(), bounds: None }];
        let mut object = json!({"spec": {"replicas": 7}});
        restore_delegated(&mut object, &json!({"spec": {"replicas": 2}}), &free, &ListSchema::default());
        assert_eq!(object, json!({"spec": {"replicas": 2}}));
        restore_delegated(&mut object, &json!({"spec": {}}), &free, &ListSchema::default());
        assert_eq!(object, json!({"spec": {}}));
    }
}
