//! Writes without which a cluster does not live: heartbeats, Events, a node that registers, status.
//!
//! All of them are decided by the objects alone, for anybody, so that the webhook configuration can admit the same writes
//! while no webhook is there. This rule is what those exemptions mean.

use super::{Judgement, Rule, admit};
use crate::admission::builtin::{is_condition_taint, may_be_taken_away};
use crate::admission::context::Context;
use crate::admission::own_slices;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::compare::{FreeField, Latitude, PathPattern, PatternSegment, judge as compare};
use crate::document::Node;

pub const RULE: Rule = Rule { name: "machinery", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let admitted = match (request.group, request.resource, request.subresource, request.operation) {
        ("" | "events.k8s.io", "events", _, _)
        | ("coordination.k8s.io", "leases" | "leasecandidates", _, _)
        | ("storage.k8s.io", "csinodes", _, _)
        | ("", "nodes", None, Operation::Create) => true,
        ("", "nodes", None, Operation::Update) => is_node_upkeep(context),
        ("discovery.k8s.io", "endpointslices", None, _) => own_slices::is_upkeep(context),
        (_, _, Some("status" | "approval"), Operation::Update) => is_status_only(context),
        _ => false,
    };
    if admitted { admit(Class::Machinery) } else { Ok(None) }
}

/// A write through `status` may change labels, annotations, finalizers and owners: what would be stored counts.
fn is_status_only(context: &Context<'_>) -> bool {
    context.states().is_some_and(|(old, new)| context.foreign_changes(old, new).is_empty())
}

/// Taints that say its condition, cordoning (a drain begins with it), and the provider's id, which is set once.
fn is_node_upkeep(context: &Context<'_>) -> bool {
    let Some((old, new)) = context.states() else { return false };
    if !same_foreign_taints(old, new) {
        return false;
    }
    // What is declared of a Node is Git's, but for what its health says.
    let kept: &[&str] = if context.entry.is_some() { &["taints"] } else { &["taints", "unschedulable"] };
    let field = |name: &str| PathPattern(["spec", name].map(|s| PatternSegment::Field(s.to_owned())).to_vec());
    let mut free = context.delegated(old).into_owned();
    free.extend(kept.iter().map(|name| FreeField { pattern: field(name), bounds: None }));
    let latitude =
        Latitude { free: &free, allotted: &[field("providerID")], undeclared_fields: false, ..context.latitude() };
    compare(old, new, old, &latitude).is_empty()
}

/// Whether the taints that say no condition are the same, in the same order, but for those that may be taken away.
fn same_foreign_taints(old: Node<'_>, new: Node<'_>) -> bool {
    let foreign = |node: Node<'_>| -> Vec<(String, bool)> {
        let taints = node.at(&["spec", "taints"]).and_then(Node::list);
        let foreign = taints.into_iter().flat_map(|taints| taints.iter()).filter(|taint| !is_condition_taint(*taint));
        foreign.map(|taint| (taint.to_string(), may_be_taken_away(taint))).collect()
    };
    let (old, new) = (foreign(old), foreign(new));
    let mut kept = new.iter().peekable();
    old.iter().all(|taint| kept.next_if_eq(&taint).is_some() || taint.1) && kept.next().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, deployment, pod, with};

    fn node() -> Value {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"pool": "a"}}, "spec": {}})
    }

    /// Which nobody has but with the effect NoSchedule.
    const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

    fn tainted(key: &str) -> Value {
        with(&node(), "/spec/taints", json!([{"key": key, "effect": "NoExecute"}]))
    }

    #[test]
    fn heartbeats_and_registrations_by_anybody() {
        let object = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": "shop"}});
        World::new().expect(&[
            ("an Event", Review::create(&object("v1", "Event")), Allow, RULE.name),
            ("a Lease", Review::create(&object("coordination.k8s.io/v1", "Lease")), Allow, RULE.name),
            ("a CSINode", Review::delete(&object("storage.k8s.io/v1", "CSINode")), Allow, RULE.name),
            ("a Node", Review::create(&node()), Allow, RULE.name),
        ]);
    }

    #[test]
    fn a_node_is_tainted_by_its_lifecycle_and_cordoned() {
        let labelled = with(&node(), "/metadata/labels/pool", json!("b"));
        let provided = with(&node(), "/spec/providerID", json!("cloud://1"));
        let valued = with(&tainted("node.kubernetes.io/not-ready"), "/spec/taints/0/value", json!("x"));
        let uninitialized = tainted("node.cloudprovider.kubernetes.io/uninitialized");
        World::new().expect(&[
            ("not ready", Review::update(&node(), &tainted("node.kubernetes.io/not-ready")), Allow, RULE.name),
            ("not ready, for some", Review::update(&node(), &valued), Deny, "generated"),
            ("no place for Pods that run", Review::update(&node(), &tainted(UNSCHEDULABLE)), Deny, "generated"),
            ("a place for them again", Review::update(&tainted(UNSCHEDULABLE), &node()), Allow, RULE.name),
            ("known to its cloud", Review::update(&uninitialized, &node()), Allow, RULE.name),
            ("unknown to its cloud", Review::update(&node(), &uninitialized), Deny, "generated"),
            (
                "out of service",
                Review::update(&node(), &tainted("node.kubernetes.io/out-of-service")),
                Deny,
                "generated",
            ),
            ("a taint of a person", Review::update(&node(), &tainted("dedicated")), Deny, "generated"),
            ("that goes", Review::update(&tainted("dedicated"), &node()), Deny, "generated"),
            ("cordon", Review::update(&node(), &with(&node(), "/spec/unschedulable", json!(true))), Allow, RULE.name),
            ("a label", Review::update(&node(), &labelled), Deny, "generated"),
            ("the provider's id", Review::update(&node(), &provided), Allow, RULE.name),
            (
                "another one",
                Review::update(&provided, &with(&provided, "/spec/providerID", json!("cloud://2"))),
                Deny,
                "generated",
            ),
        ]);
    }

    #[test]
    fn a_declared_node_is_tainted_by_its_lifecycle_all_the_same() {
        let cordoned = with(&node(), "/spec/unschedulable", json!(true));
        World::new().declare(&node()).expect(&[
            ("not ready", Review::update(&node(), &tainted("node.kubernetes.io/not-ready")), Allow, RULE.name),
            ("ready", Review::update(&tainted("node.kubernetes.io/not-ready"), &node()), Allow, RULE.name),
            ("a taint of a person", Review::update(&node(), &tainted("dedicated")), Deny, "declared"),
            ("cordon", Review::update(&node(), &cordoned), Deny, "declared"),
        ]);
    }

    #[test]
    fn a_kubelet_says_where_its_own_node_is() {
        let placed = |key: &str| with(&node(), "/metadata/labels", json!({"pool": "a", key: "b"}));
        let driven = with(
            &placed("topology.hostpath.csi/node"),
            "/metadata/annotations",
            json!({"csi.volume.kubernetes.io/nodeid": "{}"}),
        );
        let by = |name: &str, to: &Value| Review::update(&node(), to).through("status").by_node(name);
        let zone = placed("topology.kubernetes.io/zone");
        let main = Review::update(&node(), &driven).by_node("n1");
        World::new().expect(&[
            ("a driver of volumes", by("n1", &driven), Allow, RULE.name),
            ("its zone", by("n1", &zone), Allow, RULE.name),
            ("its type", by("n1", &placed("node.kubernetes.io/instance-type")), Allow, RULE.name),
            ("its pool", by("n1", &placed("pool")), Deny, "generated"),
            ("what Pods ask for", by("n1", &placed("node-role.kubernetes.io/control-plane")), Deny, "generated"),
            ("another's zone", by("n2", &zone), Deny, "generated"),
            ("by a person", Review::update(&node(), &driven).through("status"), Deny, "generated"),
            ("not through the status", main, Deny, "generated"),
        ]);
        World::new().declare(&node()).expect(&[("declared", by("n1", &driven), Allow, RULE.name)]);
    }

    #[test]
    fn status_writes_are_judged_by_what_would_be_stored() {
        let live = deployment();
        let status = with(&live, "/status", json!({"replicas": 2}));
        let labelled = with(&status, "/metadata/labels/x", json!(""));
        let revision = with(&status, "/metadata/annotations", json!({"deployment.kubernetes.io/revision": "2"}));
        let finalizer = with(&status, "/metadata/finalizers", json!(["example.com/x"]));
        let pod_labelled = with(&pod(), "/metadata/labels", json!({"app": "other"}));
        World::new().declare(&live).expect(&[
            ("status", Review::update(&live, &status).through("status"), Allow, RULE.name),
            ("the revision", Review::update(&live, &revision).through("status"), Allow, RULE.name),
            ("the revision, not by status", Review::update(&live, &revision), Deny, "declared"),
            ("an empty label", Review::update(&live, &labelled).through("status"), Deny, "declared"),
            ("a finalizer", Review::update(&live, &finalizer).through("status"), Deny, "declared"),
            ("a child's label", Review::update(&pod(), &pod_labelled).through("status"), Deny, "child"),
        ]);
    }
}
