//! A Namespace takes along all that is in it, also where nobody governs the Namespace itself.
//!
//! Once it is being deleted nothing can keep its contents, so this is where they are kept.

use super::{Judgement, Rule, deny, is_terminating};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::snapshot::EntryClass;

pub const RULE: Rule = Rule { name: "contents", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let (request, namespace) = (context.request, context.id.name);
    let deleted = request.operation == Operation::Delete && request.subresource.is_none();
    let going = request.old.is_some_and(is_terminating);
    // One that is declared, or was there before, is kept by what it is.
    let kept = context.entry.is_some_and(|entry| entry.class() != EntryClass::Retained);
    if (context.id.group, context.id.kind) != ("", "Namespace") || !deleted || going || kept {
        return Ok(None);
    }
    if !context.snapshot.meta().enforcing().any(|source| source.governs_namespace(namespace)) {
        return Ok(None);
    }
    for entry in context.snapshot.iter() {
        let entry = entry?;
        let holds = match entry.class() {
            EntryClass::Declared => true,
            // A Namespace that Git had and let go is pruned, with what was in it before Git had it.
            EntryClass::Baseline => context.source.is_none(),
            EntryClass::Retained => false,
        };
        if holds && entry.id().namespace == namespace {
            let reason = format!(
                "must not be deleted: with it would go what Git declares or keeps in it, such as {}. Remove that by a \
                 commit first.",
                entry.id()
            );
            return deny(Class::Governed, denial::other(context, reason));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, deployment, terminating};
    use crate::api::{Action, ClusterScope};
    use crate::snapshot::EntryClass;

    fn namespace(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    }

    /// Governs what is in namespaces and no cluster-scoped objects.
    fn world() -> World {
        World::new().source(|source| source.scope.cluster = ClusterScope::None)
    }

    #[test]
    fn a_namespace_stays_with_what_is_in_it() {
        let deleted = || Review::delete(&namespace("shop"));
        world().declare(&deployment()).expect(&[
            ("with a declared object in it", deleted(), Deny, RULE.name),
            ("with none", Review::delete(&namespace("bank")), Allow, "scope"),
            ("that goes already", Review::delete(&terminating(&namespace("shop"))), Allow, "scope"),
            ("another", Review::create(&namespace("bank")), Allow, "scope"),
        ]);
        for (class, outcome, rule) in [(EntryClass::Baseline, Deny, RULE.name), (EntryClass::Retained, Allow, "scope")]
        {
            world().entry(&deployment(), |draft| draft.class = class).expect(&[("deleted", deleted(), outcome, rule)]);
        }
        let observed = world().source(|source| source.action = Action::Observe).declare(&deployment());
        observed.expect(&[("where nothing is enforced", deleted(), Allow, "scope")]);
    }

    #[test]
    fn where_namespaces_are_governed_too() {
        let deleted = || Review::delete(&namespace("shop"));
        World::new().declare(&deployment()).expect(&[("one that nothing declares", deleted(), Deny, RULE.name)]);
        let left = World::new().entry(&namespace("shop"), |draft| draft.class = EntryClass::Retained);
        left.declare(&deployment()).expect(&[("one that left Git before them", deleted(), Deny, RULE.name)]);
        let baseline = World::new().entry(&deployment(), |draft| draft.class = EntryClass::Baseline);
        baseline.expect(&[("with what was there before", deleted(), Allow, "undeclared")]);
    }
}
