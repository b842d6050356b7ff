//! The finalizers of a Namespace that has lost them: it gets back what the API server gave it, and no others.
//!
//! They are allotted, so that where none are nothing else says which they may be; and who holds one decides when the
//! Namespace is gone. Only a write past admission can have taken them.

use serde_json::json;

use super::{Judgement, Rule, deny};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::verdict::Class;
use crate::document::Node;

pub const RULE: Rule = Rule { name: "namespace", judge };

fn judge(context: &Context<'_>) -> Judgement {
    if (context.id.group, context.id.kind) != ("", "Namespace") || context.entry.is_none() {
        return Ok(None);
    }
    let Some((old, new)) = context.states() else { return Ok(None) };
    let [before, after] = [old, new].map(finalizers);
    let is_given_back = after.is_none_or(|list| list.to_value() == json!(["kubernetes"]));
    if before.is_some() || is_given_back {
        return Ok(None);
    }
    deny(Class::Governed, denial::other(context, "gets back no other spec.finalizers than \"kubernetes\"."))
}

fn finalizers(namespace: Node<'_>) -> Option<Node<'_>> {
    let finalizers = namespace.at(&["spec", "finalizers"])?;
    finalizers.list().is_some_and(|list| !list.is_empty()).then_some(finalizers)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, with};

    #[test]
    fn finalizers_are_not_for_the_taking() {
        let git = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}});
        let finalized = |list: Value| with(&git, "/spec", json!({"finalizers": list}));
        let live = finalized(json!(["kubernetes"]));
        let applied = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "x"});
        let annotated = with(&live, "/metadata/annotations", applied);
        let empty = with(&git, "/spec", json!({}));
        let foreign = finalized(json!(["kubernetes", "x.y/z"]));
        let finalize = |old: &Value, new: &Value| Review::update(old, new).through("finalize");
        World::new().declare(&git).expect(&[
            ("emptied", finalize(&live, &empty), Deny, "declared"),
            ("emptied with a step toward Git", finalize(&annotated, &empty), Deny, "declared"),
            ("replaced", finalize(&live, &foreign), Deny, "declared"),
            ("replaced with a step toward Git", finalize(&annotated, &foreign), Deny, "declared"),
            ("another where there was none", finalize(&empty, &foreign), Deny, RULE.name),
            ("the way back", finalize(&empty, &live), Allow, "declared"),
            ("a step toward Git alone", Review::update(&annotated, &live), Allow, "declared"),
        ]);
    }
}
