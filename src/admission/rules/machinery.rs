//! Writes without which a cluster does not live: heartbeats, Events, a node that registers, status.
//!
//! All of them are decided by the objects alone, for anybody, so that the webhook configuration can admit the same writes
//! while no webhook is there. This rule is what those exemptions mean.

use super::{Judgement, Rule, admit};
use crate::admission::context::Context;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::compare::{FreeField, Latitude, PathPattern, PatternSegment, judge as compare};
use crate::document::Node;

pub const RULE: Rule = Rule { name: "machinery", judge };

/// Taints that the node lifecycle and cloud controllers keep. `node.kubernetes.io/out-of-service` is not among them: it is
/// set by people, and detaches volumes.
const LIFECYCLE_TAINTS: &[&str] = &[
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/unschedulable",
    "node.cloudprovider.kubernetes.io/uninitialized",
];

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let admitted = match (request.group, request.resource, request.subresource, request.operation) {
        ("" | "events.k8s.io", "events", _, _)
        | ("coordination.k8s.io", "leases" | "leasecandidates", _, _)
        | ("storage.k8s.io", "csinodes", _, _)
        | ("", "nodes", None, Operation::Create) => true,
        ("", "nodes", None, Operation::Update) => is_node_upkeep(context),
        (_, _, Some("status" | "approval"), Operation::Update) => is_status_only(context),
        _ => false,
    };
    if admitted { admit(Class::Machinery) } else { Ok(None) }
}

/// A write through `status` may change labels, annotations, finalizers and owners: what would be stored counts.
fn is_status_only(context: &Context<'_>) -> bool {
    context.states().is_some_and(|(old, new)| context.foreign_changes(old, new).is_empty())
}

/// Lifecycle taints, cordoning (a drain begins with it), and the provider's id, which is set once.
fn is_node_upkeep(context: &Context<'_>) -> bool {
    let Some((old, new)) = context.states() else { return false };
    if context.entry.is_some() || !same_foreign_taints(old, new) {
        return false;
    }
    let field = |name: &str| PathPattern(["spec", name].map(|s| PatternSegment::Field(s.to_owned())).to_vec());
    let mut free = context.delegated(old).into_owned();
    free.extend(["taints", "unschedulable"].map(|name| FreeField { pattern: field(name), bounds: None }));
    let latitude =
        Latitude { free: &free, allotted: &[field("providerID")], undeclared_fields: false, ..context.latitude() };
    compare(old, new, old, &latitude).is_empty()
}

fn same_foreign_taints(old: Node<'_>, new: Node<'_>) -> bool {
    let foreign = |node: Node<'_>| -> Vec<String> {
        let taints = node.at(&["spec", "taints"]).and_then(Node::list);
        let key =
            |taint: &Node<'_>| taint.get("key").and_then(Node::as_str).is_some_and(|k| LIFECYCLE_TAINTS.contains(&k));
        taints.into_iter().flat_map(|taints| taints.iter()).filter(|t| !key(t)).map(|t| t.to_string()).collect()
    };
    foreign(old) == foreign(new)
}
