//! The object by which gitadel proves that the API server asks this webhook, and obeys it.
//!
//! Its name is reserved: it is rejected wherever something is enforced, whoever creates it and whatever else the
//! Enforcement allows. It says nothing about anybody's write, so it is neither counted nor logged as a denial.

use super::{Judgement, Rule, Ruling};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::own::{CANARY_CLOSED, is_canary};
use crate::admission::request::Operation;
use crate::api::Action;
use crate::document::Node;

pub const RULE: Rule = Rule { name: "canary", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let enforced = context.source.is_some_and(|source| source.action == Action::Enforce);
    let created = request.operation == Operation::Create && request.subresource.is_none();
    if !(enforced && created && is_canary(context.id) && knows_as_closed(context)) {
        return Ok(None);
    }
    let reason = "is reserved: gitadel creates it to prove that this webhook is in force, and it is never stored.";
    Ok(Some(Ruling::Prove(denial::other(context, reason))))
}

/// Whether the world of the Enforcement that the canary asks about is closed, by the snapshot that answers.
fn knows_as_closed(context: &Context<'_>) -> bool {
    let asked = context.request.object.and_then(|object| object.at(&["metadata", "annotations", CANARY_CLOSED]));
    asked.is_none_or(|asked| {
        let sources = &context.snapshot.meta().sources;
        sources.iter().any(|source| Some(source.name.as_str()) == Node::as_str(asked) && source.baseline_recorded)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, config_map, controller, with};
    use crate::api::{Action, Scope, Undeclared};

    fn canary() -> Value {
        config_map("gitadel-canary")
    }

    fn asking_about(enforcement: &str) -> Review {
        Review::create(&with(&canary(), "/metadata/annotations", json!({"gitadel.dev/closed": enforcement})))
    }

    #[test]
    fn it_is_rejected_wherever_something_is_enforced() {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "gitadel-canary"}});
        let rejected = |world: World| {
            world.expect(&[
                ("a ConfigMap", Review::create(&canary()), Deny, RULE.name),
                ("a ClusterRole", Review::create(&role), Deny, RULE.name),
                ("by a controller", Review::create(&canary()).by(&controller("job-controller")), Deny, RULE.name),
            ]);
        };
        rejected(World::new());
        rejected(World::new().source(|source| source.undeclared_objects = Undeclared::Allow));
        rejected(World::new().source(|source| source.baseline_recorded = false));
        rejected(World::new().declare(&canary()));
    }

    #[test]
    fn it_is_nobodys_finding() {
        let verdict = World::new().verdict(&Review::create(&canary()));
        assert!(verdict.proof && !verdict.observed, "{verdict:?}");
        let verdict = World::new().verdict(&Review::create(&config_map("other")));
        assert!(!verdict.proof);
    }

    #[test]
    fn one_that_got_through_may_be_deleted() {
        let left = Review::delete(&canary());
        World::new().expect(&[("deleted", left.clone(), Allow, "undeclared")]);
        World::new().source(|source| source.undeclared_objects = Undeclared::Allow).expect(&[(
            "deleted",
            left,
            Allow,
            "undeclared",
        )]);
    }

    #[test]
    fn nothing_is_proven_where_nothing_is_enforced() {
        for action in [Action::Observe, Action::Warn] {
            let world = World::new().source(|source| source.action = action);
            world.expect(&[("observed", Review::create(&canary()), Allow, "undeclared")]);
        }
        let elsewhere = World::new()
            .source(|source| source.scope = Scope { namespaces: Some(vec!["other".into()]), ..Scope::default() });
        elsewhere.expect(&[("out of scope", Review::create(&canary()), Allow, "scope")]);
    }

    #[test]
    fn it_may_ask_whether_a_world_is_closed() {
        let open = || World::new().source(|source| source.baseline_recorded = false);
        open().expect(&[("open", asking_about("all"), Allow, "undeclared")]);
        World::new().expect(&[
            ("closed", asking_about("all"), Deny, RULE.name),
            ("unknown: an object like any other", asking_about("nothing"), Deny, "undeclared"),
        ]);
    }
}
