//! Objects that are being deleted, and what is in namespaces that are.
//!
//! Nothing may keep them from going: their finalizers may be taken away, and deletions repeated. What somebody made of one
//! past admission may be mended: until it is gone, it counts. Everything else is as frozen as before.

use super::{Judgement, Rule, admit, declared, deny, is_finalizer_removal, is_terminating};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;

pub const RULE: Rule = Rule { name: "terminating", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let class = if context.entry.is_some() { Class::Governed } else { Class::Undeclared };
    if request.operation == Operation::Delete {
        let going = context.snapshot.meta().terminating_namespaces.contains(context.id.namespace);
        return if going || request.old.is_some_and(is_terminating) { admit(class) } else { Ok(None) };
    }
    let Some((old, new)) = context.states().filter(|(old, _)| is_terminating(*old)) else { return Ok(None) };
    let mut findings = context.foreign_changes(old, new);
    findings.retain(|finding| !is_finalizer_removal(request, finding));
    match context.entry {
        _ if findings.is_empty() || declared::is_mended(context, old, new) => admit(class),
        Some(_) => deny(class, denial::terminating(context, &findings)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, deployment, set, terminating, with, without};

    #[test]
    fn finalizers_go_and_nothing_else() {
        let live = with(&terminating(&deployment()), "/metadata/finalizers", json!(["a", "b"]));
        let without_b = with(&live, "/metadata/finalizers", json!(["a"]));
        let without_all = without(&live, "/metadata/finalizers");
        let with_c = with(&live, "/metadata/finalizers", json!(["a", "c"]));
        let scaled = with(&without_b, "/spec/replicas", json!(5));
        World::new().declare(&deployment()).expect(&[
            ("one finalizer", Review::update(&live, &without_b), Allow, RULE.name),
            ("all finalizers", Review::update(&live, &without_all), Allow, RULE.name),
            ("another finalizer", Review::update(&live, &with_c), Deny, RULE.name),
            ("a field beside", Review::update(&live, &scaled), Deny, RULE.name),
            ("deleted again", Review::delete(&live), Allow, RULE.name),
        ]);
    }

    #[test]
    fn what_is_altered_is_mended_until_it_is_gone() {
        let live = with(&terminating(&deployment()), "/metadata/finalizers", json!(["a"]));
        let altered = with(&live, "/spec/replicas", json!(5));
        let let_go = without(&live, "/metadata/finalizers");
        let labelled = with(&live, "/metadata/labels/team", json!("x"));
        let of_another_version = with(&live, "/apiVersion", json!("apps/v1beta1"));
        World::new().declare(&deployment()).expect(&[
            ("mended", Review::update(&altered, &live), Allow, RULE.name),
            ("mended and let go", Review::update(&altered, &let_go), Allow, RULE.name),
            ("altered otherwise", Review::update(&altered, &with(&live, "/spec/replicas", json!(6))), Deny, RULE.name),
            ("mended, and a label", Review::update(&altered, &labelled), Deny, RULE.name),
            ("in another version", Review::update(&altered, &of_another_version), Deny, RULE.name),
        ]);
    }

    #[test]
    fn a_namespace_is_finalized() {
        let live = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"},
            "spec": {"finalizers": ["kubernetes"]}});
        let going = terminating(&live);
        let world = World::new().declare(&live);
        for gone in [json!({}), json!({"finalizers": []})] {
            let finalized = with(&going, "/spec", gone);
            world.expect(&[("finalize", Review::update(&going, &finalized).through("finalize"), Allow, RULE.name)]);
        }
        let alive = with(&live, "/spec", json!({}));
        world.expect(&[("one that lives", Review::update(&live, &alive).through("finalize"), Deny, "declared")]);
    }

    #[test]
    fn contents_go_with_their_namespace_once_that_is_known() {
        let collected = Review::delete(&deployment()).by(&controller("namespace-controller")).set("/name", json!(""));
        let world = World::new().declare(&deployment());
        world.expect(&[("before", collected.clone(), Deny, "declared")]);
        let world = world.meta(|meta| meta.terminating_namespaces = set(&["shop"]));
        world.expect(&[("after", collected, Allow, RULE.name)]);
    }
}
