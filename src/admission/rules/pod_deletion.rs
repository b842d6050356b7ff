//! A Pod may be deleted or evicted by anybody where the Enforcement allows it, since it is made anew. So it has to go: not wait
//! for what depends on it, which may be a Lease of anybody's that never goes, nor take longer to end than it was made to.
//!
//! The garbage collector may have it wait, as it does where an owner waits for its Pods and they have claims of their own.

use super::{Judgement, Rule, deny, is_terminating};
use crate::admission::builtin::Identity;
use crate::admission::context::Context;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::admission::{denial, grace};
use crate::document::Node;
use crate::snapshot::SnapshotError;

pub const RULE: Rule = Rule { name: "pod-deletion", judge };

const COLLECTOR: Identity = Identity::Controller("generic-garbage-collector");

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let options = match (request.group, request.resource, request.subresource, request.operation) {
        ("", "pods", None, Operation::Delete) => request.options,
        ("", "pods", Some("eviction"), Operation::Create) => request.object.and_then(|e| e.get("deleteOptions")),
        _ => return Ok(None),
    };
    let Some(options) = options else { return Ok(None) };
    let owner = context.owner_by_name()?;
    if context.entry.is_none() && owner.is_none() && !context.is_closed() {
        return Ok(None);
    }
    let class = if context.entry.is_some() { Class::Governed } else { Class::Child };
    if minds_dependents(options) && !COLLECTOR.is(&request.user) {
        let reason = "is deleted with propagationPolicy Background only: it must neither wait for what depends on it nor \
            leave that behind. Leave the policy out, or delete it with --cascade=background.";
        return deny(class, denial::other(context, reason));
    }
    let asked = options.get("gracePeriodSeconds").and_then(Node::as_i64);
    match asked.zip(most(context)?) {
        Some((asked, most)) if asked > most => {
            let reason = format!(
                "is made to end within {most} s, and must not be given {asked}. Leave gracePeriodSeconds (--grace-period) \
                 out, or make it {most} at most."
            );
            deny(class, denial::other(context, reason))
        }
        _ => Ok(None),
    }
}

fn minds_dependents(options: Node<'_>) -> bool {
    let policy = options.get("propagationPolicy").and_then(Node::as_str);
    policy.is_some_and(|policy| policy != "Background")
        || options.get("orphanDependents").and_then(Node::as_bool) == Some(true)
}

/// The seconds that a Pod asks for itself. An eviction does not show it: then those that Git declares for it, or for the Pods
/// of its owner, where that is known by name.
fn most(context: &Context<'_>) -> Result<Option<i64>, SnapshotError> {
    if let Some(pod) = context.request.old {
        // What is given to one that ends already can only be less.
        return Ok((!is_terminating(pod)).then(|| grace::of(pod)));
    }
    if let Some(entry) = context.entry {
        return Ok(entry.canonical().map(grace::of));
    }
    match context.owner_by_name()? {
        Some(owner) => grace::of_child(context.snapshot, context.id, &owner),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, deployment, pod, terminating, with, without};
    use crate::api::Undeclared;

    fn delete(object: &Value, options: Value) -> Review {
        Review::delete(object).set("/options", options)
    }

    fn evict(name: &str, options: Value) -> Review {
        let eviction = json!({"kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options});
        Review::special("CREATE", "pods", "eviction", "shop", name, &eviction)
    }

    fn policy(policy: &str) -> Value {
        json!({"propagationPolicy": policy})
    }

    fn seconds(seconds: i64) -> Value {
        json!({"gracePeriodSeconds": seconds})
    }

    #[test]
    fn a_pod_waits_for_nothing() {
        let bare = without(&with(&pod(), "/metadata/name", json!("bare")), "/metadata/ownerReferences");
        let collected = delete(&pod(), policy("Foreground")).by(&controller("generic-garbage-collector"));
        World::new().declare(&deployment()).declare(&bare).expect(&[
            ("for what depends on it", delete(&pod(), policy("Foreground")), Deny, RULE.name),
            ("to leave that behind", delete(&pod(), policy("Orphan")), Deny, RULE.name),
            ("in older words", delete(&pod(), json!({"orphanDependents": true})), Deny, RULE.name),
            ("when it goes already", delete(&terminating(&pod()), policy("Foreground")), Deny, RULE.name),
            ("evicted", evict("web-x", policy("Foreground")), Deny, RULE.name),
            ("declared, and evicted", evict("bare", policy("Foreground")), Deny, RULE.name),
            ("as kubectl does", delete(&pod(), policy("Background")), Allow, "child"),
            ("in older words", delete(&pod(), json!({"orphanDependents": false})), Allow, "child"),
            ("evicted as kubectl does", evict("web-x", policy("Background")), Allow, "child-operations"),
            ("as its owner does", collected, Allow, "child"),
        ]);
        let open = World::new().source(|source| source.undeclared_objects = Undeclared::Allow);
        open.expect(&[("one of nobody's", delete(&bare, policy("Foreground")), Allow, "undeclared")]);
    }

    #[test]
    fn a_pod_ends_in_the_time_that_it_has() {
        let patient = |object: &Value, at: &str| with(object, at, json!(60));
        let web = patient(&deployment(), "/spec/template/spec/terminationGracePeriodSeconds");
        let child = patient(&pod(), "/spec/terminationGracePeriodSeconds");
        World::new().declare(&deployment()).expect(&[
            ("longer", delete(&pod(), seconds(31)), Deny, RULE.name),
            ("as long", delete(&pod(), seconds(30)), Allow, "child"),
            ("at once", delete(&pod(), seconds(0)), Allow, "child"),
            ("evicted for longer", evict("web-5d4f8c-x7k2p", seconds(31)), Deny, RULE.name),
            ("evicted", evict("web-5d4f8c-x7k2p", seconds(30)), Allow, "child-operations"),
        ]);
        let former = |draft: &mut crate::snapshot::EntryDraft| {
            draft.history.templates = vec![web["spec"]["template"].clone()];
        };
        let before = World::new().entry(&deployment(), former);
        for world in [World::new().declare(&web), before] {
            world.expect(&[
                ("longer", delete(&child, seconds(61)), Deny, RULE.name),
                ("as long", delete(&child, seconds(60)), Allow, "child"),
                ("evicted for longer", evict("web-5d4f8c-x7k2p", seconds(61)), Deny, RULE.name),
                ("evicted", evict("web-5d4f8c-x7k2p", seconds(60)), Allow, "child-operations"),
            ]);
        }
        World::new().declare(&web).expect(&[(
            "one that goes already",
            delete(&terminating(&child), seconds(900)),
            Allow,
            "terminating",
        )]);
    }
}
