//! The flow control that the API server keeps for itself, as Kubernetes 1.36 and 1.37 have it.
//!
//! It looks after these objects at each start and every minute, and one that may not do so ends itself five minutes after
//! its start. What a newer version wants them to hold cannot be known before it runs, so their `spec` is left to whoever
//! has its name: another one than its own it puts back within that minute. Which objects those are, and that it goes on
//! looking after them, is left to nobody. Later versions may have others: those join the baseline while nothing is enforced.

use super::Identity;
use crate::admission::request::User;
use crate::document::Node;
use crate::object::ObjectRef;

pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

const FLOW_SCHEMAS: [&str; 11] = [
    "catch-all",
    "exempt",
    "global-default",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-system-service-accounts",
    "probes",
    "service-accounts",
    "system-leader-election",
    "system-node-high",
    "system-nodes",
];
const PRIORITY_LEVELS: [&str; 8] = [
    "catch-all",
    "exempt",
    "global-default",
    "leader-election",
    "node-high",
    "system",
    "workload-high",
    "workload-low",
];

/// Whether the API server makes and keeps an object of this name.
fn is_its_own(kind: &str, name: &str) -> bool {
    match kind {
        "FlowSchema" => FLOW_SCHEMAS.contains(&name),
        "PriorityLevelConfiguration" => PRIORITY_LEVELS.contains(&name),
        _ => false,
    }
}

fn is_looked_after(object: Node<'_>) -> bool {
    object.at(&["metadata", "annotations", AUTOUPDATE]).and_then(Node::as_str) == Some("true")
}

/// Whether the API server says what a FlowSchema holds.
pub fn keeps_flow_schema(object: Node<'_>) -> bool {
    keeps("FlowSchema", object)
}

/// Whether the API server says what a PriorityLevelConfiguration holds.
pub fn keeps_priority_level(object: Node<'_>) -> bool {
    keeps("PriorityLevelConfiguration", object)
}

fn keeps(kind: &str, object: Node<'_>) -> bool {
    let name = object.at(&["metadata", "name"]).and_then(Node::as_str);
    name.is_some_and(|name| is_its_own(kind, name)) && is_looked_after(object)
}

/// Whether the API server makes this object, but for what its version has it hold.
pub fn is_flow_control(id: ObjectRef<'_>, object: Node<'_>) -> bool {
    const CLAIMS: [&str; 3] = ["finalizers", "labels", "ownerReferences"];
    let metadata = object.get("metadata");
    let claim = |key| metadata.and_then(|metadata| metadata.get(key)).is_some_and(|claim| !claim.is_null());
    let annotations = object.at(&["metadata", "annotations"]).and_then(Node::map);
    id.group == GROUP
        && is_its_own(id.kind, id.name)
        && is_looked_after(object)
        && annotations.is_some_and(|annotations| annotations.len() == 1)
        && !CLAIMS.into_iter().any(claim)
}

/// Whether the API server takes away what it looks after and its version does not have.
pub fn drops_flow_control(user: &User<'_>, id: ObjectRef<'_>, object: Node<'_>) -> bool {
    id.group == GROUP && Identity::ApiServer.is(user) && !is_its_own(id.kind, id.name) && is_looked_after(object)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, with, without};
    use crate::snapshot::EntryClass;

    fn schema(name: &str) -> Value {
        json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
            "spec": {"matchingPrecedence": 900}})
    }

    const LOOKED_AFTER: &str = "/metadata/annotations/apf.kubernetes.io~1autoupdate-spec";

    #[test]
    fn the_api_server_makes_its_own_and_nothing_else() {
        let made = |object: &Value| Review::create(object).by("system:apiserver");
        let own = schema("probes");
        let level = with(&with(&own, "/kind", json!("PriorityLevelConfiguration")), "/metadata/name", json!("system"));
        World::new().expect(&[
            ("its own", made(&own), Allow, "generated"),
            ("a level of its own", made(&level), Allow, "generated"),
            ("by a person", Review::create(&own), Deny, "generated"),
            ("another", made(&schema("mine")), Deny, "undeclared"),
            (
                "a level by the name of a schema",
                made(&with(&level, "/metadata/name", json!("probes"))),
                Deny,
                "undeclared",
            ),
            ("one that it will not look after", made(&with(&own, LOOKED_AFTER, json!("false"))), Deny, "undeclared"),
            ("one with a finalizer", made(&with(&own, "/metadata/finalizers", json!(["x.y/z"]))), Deny, "undeclared"),
            ("one with a label", made(&with(&own, "/metadata/labels", json!({"a": "b"}))), Deny, "undeclared"),
        ]);
    }

    #[test]
    fn it_says_what_its_own_holds_as_long_as_it_looks_after_it() {
        let (own, other) = (schema("probes"), schema("mine"));
        let by = |old: &Value, new: &Value| Review::update(old, new).by("system:apiserver");
        let changed = |object: &Value| with(object, "/spec/matchingPrecedence", json!(1));
        let let_go = with(&own, LOOKED_AFTER, json!("false"));
        let silent = without(&own, "/metadata/annotations");
        let labelled = with(&own, "/metadata/labels", json!({"a": "b"}));
        for (recorded, rule) in [(true, "declared"), (false, "generated")] {
            let world = if recorded {
                let record = |world: World, object| world.entry(object, |draft| draft.class = EntryClass::Baseline);
                [&own, &other].into_iter().fold(World::new(), record)
            } else {
                World::new()
            };
            world.expect(&[
                ("what it holds", by(&own, &changed(&own)), Allow, rule),
                ("by a person", Review::update(&own, &changed(&own)), Deny, rule),
                ("to be left alone", by(&own, &let_go), Deny, rule),
                ("to be left alone, and another value", by(&own, &changed(&let_go)), Deny, rule),
                ("without a word", by(&own, &silent), Deny, rule),
                ("a label", by(&own, &labelled), Deny, rule),
                ("gone", Review::delete(&own).by("system:apiserver"), Deny, rule),
            ]);
            if recorded {
                world.expect(&[("another's", by(&other, &changed(&other)), Deny, rule)]);
            }
        }
    }
}
