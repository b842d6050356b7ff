//! Requests that store no object of their own: reviews, tokens, and the binding of a Pod to a node.
//!
//! A binding does leave something behind: the Pod's node, which is the scheduler's to choose, and the labels and
//! annotations that the API server copies to the Pod. The scheduler passes on the topology of the node and nothing else,
//! so nothing else passes, whoever asks.

use super::{Judgement, Rule, admit, deny};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::{Operation, Request};
use crate::admission::verdict::Class;
use crate::api::SYSTEM_NAMESPACE;
use crate::document::Node;
use crate::snapshot::SnapshotError;

pub const RULE: Rule = Rule { name: "transient", judge };

const TOPOLOGY: &str = "topology.kubernetes.io/";

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    match (request.group, request.resource, request.subresource) {
        // By name: what else a later version serves in these groups is judged.
        ("authentication.k8s.io", "selfsubjectreviews" | "tokenreviews", None)
        | (
            "authorization.k8s.io",
            "localsubjectaccessreviews"
            | "selfsubjectaccessreviews"
            | "selfsubjectrulesreviews"
            | "subjectaccessreviews",
            None,
        )
        | ("", "serviceaccounts", Some("token"))
            if request.operation == Operation::Create =>
        {
            admit(Class::Virtual)
        }
        ("", "pods", Some("binding")) | ("", "bindings", None) if request.operation == Operation::Create => {
            if !carries_topology_only(request) {
                let reason = "cannot be bound with labels or annotations: they would be copied to the Pod. Bind it \
                    without; only labels topology.kubernetes.io/* may be passed on.";
                return deny(Class::Virtual, denial::other(context, reason));
            }
            if may_bind(context)? {
                return admit(Class::Virtual);
            }
            let reason = "is bound to a node by the scheduler alone. Another one needs a delegation of the field \
                spec.nodeName of Pods (spec.delegations of the Enforcement).";
            deny(Class::Virtual, denial::other(context, reason))
        }
        _ => Ok(None),
    }
}

/// gitadel's own Pods must get nodes also while no webhook is there to ask, so theirs are bound by anybody.
fn may_bind(context: &Context<'_>) -> Result<bool, SnapshotError> {
    let Some(binding) = context.request.object else { return Ok(false) };
    if context.id.namespace == SYSTEM_NAMESPACE || context.may_set(binding, &["spec", "nodeName"]) {
        return Ok(true);
    }
    Ok(!context.is_closed() && context.owner_by_name()?.is_none())
}

fn carries_topology_only(request: &Request<'_>) -> bool {
    let keys = |field| request.object.and_then(|binding| binding.at(&["metadata", field])).and_then(Node::map);
    keys("annotations").is_none_or(|annotations| annotations.is_empty())
        && keys("labels").is_none_or(|labels| labels.iter().all(|(key, _)| key.starts_with(TOPOLOGY)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{ADMIN, Review, World, controller, delegation, deployment};
    use crate::api::Undeclared;

    const SCHEDULER: &str = "system:kube-scheduler";

    fn binding(metadata: Value) -> Review {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": {"name": "n1"}});
        Review::special("CREATE", "pods", "binding", "shop", "web-5d4f8c-x", &binding).by(SCHEDULER)
    }

    #[test]
    fn nodes_are_the_schedulers_to_choose() {
        let by = |user: &str| binding(json!({})).by(user);
        let elsewhere = |review: Review| review.of("", "bindings", "").set("/subResource", Value::Null);
        World::new().declare(&deployment()).expect(&[
            ("by the scheduler", by(SCHEDULER), Allow, "transient"),
            ("by a person", by(ADMIN), Deny, "transient"),
            ("by another controller", by(&controller("replicaset-controller")), Deny, "transient"),
            ("through the older resource", elsewhere(by(ADMIN)), Deny, "transient"),
            ("gitadel's own", by(ADMIN).set("/namespace", json!("gitadel-system")), Allow, "transient"),
        ]);
        let node = delegation("batch-scheduler", ("", "Pod"), "spec.nodeName", None);
        let delegated = World::new().source(|source| source.delegations = vec![node]);
        delegated.expect(&[("by another scheduler", by("batch-scheduler"), Allow, "transient")]);
        let open = || World::new().source(|source| source.undeclared_objects = Undeclared::Allow);
        open().expect(&[("nobody's Pod in an open world", by(ADMIN), Allow, "transient")]);
        open().declare(&deployment()).expect(&[("a governed one", by(ADMIN), Deny, "transient")]);
    }

    #[test]
    fn another_kind_of_the_group_is_no_review() {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"});
        let of = |resource: &str, operation: &str| {
            Review::special(operation, resource, "", "shop", "x", &review)
                .of("authorization.k8s.io", resource, "")
                .set("/subResource", Value::Null)
        };
        World::new().expect(&[
            ("a review", of("subjectaccessreviews", "CREATE"), Allow, "transient"),
            ("another kind", of("oracles", "CREATE"), Deny, "undeclared"),
        ]);
    }

    #[test]
    fn bindings_carry_topology_and_nothing_else() {
        let token = json!({"kind": "TokenRequest"});
        World::new().expect(&[
            ("plain", binding(json!({"name": "web-x"})), Allow, "transient"),
            ("topology", binding(json!({"labels": {"topology.kubernetes.io/zone": "a"}})), Allow, "transient"),
            ("a label", binding(json!({"labels": {"app": "other"}})), Deny, "transient"),
            ("an annotation", binding(json!({"annotations": {"a": "b"}})), Deny, "transient"),
            ("a token", Review::special("CREATE", "serviceaccounts", "token", "shop", "a", &token), Allow, "transient"),
        ]);
    }
}
