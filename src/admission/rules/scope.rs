//! What no Enforcement governs is nobody's business here.

use super::{Judgement, Rule, admit};
use crate::admission::context::Context;
use crate::admission::verdict::Class;

pub const RULE: Rule = Rule { name: "scope", judge };

fn judge(context: &Context<'_>) -> Judgement {
    if context.entry.is_none() && context.source.is_none() { admit(Class::OutOfScope) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, config_map, delegation, source, with};
    use crate::api::{Action, Permission, Scope, Undeclared};
    use crate::snapshot::Source;

    #[test]
    fn what_is_not_governed_is_left_alone() {
        let elsewhere = with(&config_map("x"), "/metadata/namespace", json!("kube-system"));
        let role =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}});
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-x", "namespace": null}});
        let listed = World::new().source(|source| {
            source.scope = Scope { namespaces: Some(vec!["other".into()]), ..Scope::default() };
        });
        World::new().expect(&[
            ("another namespace", Review::create(&elsewhere), Allow, "scope"),
            ("an excluded Namespace itself", Review::create(&namespace), Allow, "scope"),
            ("a governed one", Review::create(&config_map("x")), Deny, "undeclared"),
            ("a cluster-scoped kind", Review::create(&role), Deny, "undeclared"),
        ]);
        listed.expect(&[
            ("a namespace that is not listed", Review::create(&config_map("x")), Allow, "scope"),
            ("a cluster-scoped kind", Review::create(&role), Allow, "scope"),
        ]);
    }

    #[test]
    fn the_strictest_of_several_scopes_answers() {
        let world = World::new().source(|source| source.action = Action::Observe).meta(|meta| {
            meta.sources.push(Source { action: Action::Enforce, ..source("strict") });
            meta.sources.push(Source { action: Action::Warn, ..source("warning") });
        });
        let verdict = world.verdict(&Review::create(&config_map("x")));
        assert_eq!(verdict.outcome, Deny);
        assert!(verdict.audit.contains(&("enforcement".into(), "strict".into())), "{:?}", verdict.audit);
    }

    #[test]
    fn of_equally_strict_ones_each_must_agree() {
        let edits: [fn(&mut Source); 2] =
            [|source| source.undeclared_objects = Undeclared::Allow, |source| source.baseline_recorded = false];
        for edit in edits {
            for position in [0, 1] {
                let world = World::new().meta(|meta| {
                    let mut open = source("open");
                    edit(&mut open);
                    meta.sources.insert(position, open);
                });
                world.expect(&[("created", Review::create(&config_map("x")), Deny, "undeclared")]);
                let verdict = world.verdict(&Review::create(&config_map("x")));
                assert!(verdict.audit.contains(&("enforcement".into(), "all".into())), "{:?}", verdict.audit);
            }
        }
    }

    #[test]
    fn what_one_permits_or_delegates_another_may_still_forbid() {
        let scaled = |count: u64| with(&config_map("x"), "/data/a", json!(count.to_string()));
        let exec = || Review::connect("pods", "exec", "shop", "web-x");
        let change = || Review::update(&scaled(1), &scaled(2)).by("operator");
        let delegated = || vec![delegation("operator", ("", "ConfigMap"), "data", None)];
        let both = |edit: fn(&mut Source)| {
            World::new().source(|source| source.delegations = delegated()).meta(|meta| {
                let mut other = Source { delegations: delegated(), ..source("other") };
                edit(&mut other);
                meta.sources.push(other);
            })
        };
        both(|_| {}).expect(&[
            ("exec", exec(), Allow, "child-operations"),
            ("delegated by both", change(), Allow, "undeclared"),
        ]);
        both(|other| other.delegations.clear()).expect(&[("delegated by one", change(), Deny, "undeclared")]);
        both(|other| other.child_operations.exec = Permission::Deny).expect(&[(
            "exec",
            exec(),
            Deny,
            "child-operations",
        )]);
    }
}
