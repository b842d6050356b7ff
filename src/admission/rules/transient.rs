//! Requests that store no object of their own: reviews, tokens, and the binding of a Pod to a node.
//!
//! A binding does leave something behind: the API server copies its labels and annotations to the Pod. The scheduler
//! passes on the topology of the node and nothing else, so nothing else passes, whoever asks.

use super::{Judgement, Rule, admit, deny};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::{Operation, Request};
use crate::admission::verdict::Class;
use crate::document::Node;

pub const RULE: Rule = Rule { name: "transient", judge };

const TOPOLOGY: &str = "topology.kubernetes.io/";

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    match (request.group, request.resource, request.subresource) {
        ("authentication.k8s.io" | "authorization.k8s.io", _, _) | ("", "serviceaccounts", Some("token")) => {
            admit(Class::Virtual)
        }
        ("", "pods", Some("binding")) | ("", "bindings", None) if request.operation == Operation::Create => {
            if carries_topology_only(request) {
                return admit(Class::Virtual);
            }
            let reason = "cannot be bound with labels or annotations: they would be copied to the Pod. Bind it without; \
                only labels topology.kubernetes.io/* may be passed on";
            deny(Class::Virtual, denial::other(context, reason))
        }
        _ => Ok(None),
    }
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
    use crate::admission::testing::{Review, World};

    fn binding(metadata: Value) -> Review {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": {"name": "n1"}});
        Review::special("CREATE", "pods", "binding", "shop", "web-x", &binding)
    }

    #[test]
    fn bindings_carry_topology_and_nothing_else() {
        let token = json!({"kind": "TokenRequest"});
        World::new().expect(&[
            ("plain", binding(json!({"name": "web-x"})), Allow, "transient"),
            ("topology", binding(json!({"labels": {"topology.kubernetes.io/zone": "a"}})), Allow, "transient"),
            ("a label", binding(json!({"labels": {"app": "other"}})), Deny, "transient"),
            ("an annotation", binding(json!({"annotations": {"a": "b"}})), Deny, "transient"),
            (
                "by the scheduler",
                binding(json!({"labels": {"app": "x"}})).by("system:kube-scheduler"),
                Deny,
                "transient",
            ),
            ("a token", Review::special("CREATE", "serviceaccounts", "token", "shop", "a", &token), Allow, "transient"),
        ]);
    }
}
