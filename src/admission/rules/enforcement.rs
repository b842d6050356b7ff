//! The Enforcements themselves: once one enforces, it is changed as Git declares it, or not at all.
//!
//! Whoever could edit it could point it at a repository of his own, or switch it off; whoever could add another over the
//! same objects could declare there what he likes. So this holds everywhere, also where no scope names Enforcements. Where a
//! way round admission was found, the way back to what was let in is free for everybody.

use super::{Judgement, Rule, admit, deny, is_terminating};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::own::{is_enforcement, own_scope};
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::api::{EnforcementSpec, Scope};
use crate::compare::{Path, Segment};
use crate::document::Node;
use crate::snapshot::Source;

pub const RULE: Rule = Rule { name: "enforcement", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    if !is_enforcement(context.id) || !context.shows_whole_object() || context.is_declared_by_enforcing() {
        return Ok(None);
    }
    let unchanged = context.states().is_some_and(|(old, new)| context.changes(old, new, &[]).is_empty());
    if unchanged || request.old.is_some_and(is_terminating) {
        return Ok(None);
    }
    let meta = context.snapshot.meta();
    if let Some(frozen) = meta.frozen(context.id.name) {
        return keep(context, frozen);
    }
    let others: Vec<_> = meta.enforcing().filter(|source| source.name != context.id.name).collect();
    // Where one of them keeps the world of Enforcements closed, it answers, and this one may be taken away.
    if others.iter().any(|source| source.is_closed() && source.governs_id(context.id)) {
        return Ok(None);
    }
    match request.object {
        Some(new) if !others.is_empty() => beside(context, new, &others),
        _ => Ok(None),
    }
}

/// One that enforces stays as it was let in.
fn keep(context: &Context<'_>, frozen: &Source) -> Judgement {
    let has_its_spec =
        |object: Node<'_>| frozen.spec.as_ref().is_some_and(|spec| spec_of(object).is_some_and(|new| new == *spec));
    let is_way_back = match (context.request.operation, context.states(), context.request.object) {
        (Operation::Create, _, Some(new)) => has_its_spec(new),
        (_, Some((old, new)), _) => {
            let changes = context.changes(old, new, &[]);
            has_its_spec(new) && changes.iter().all(|change| lies_in_spec(&change.path))
        }
        _ => false,
    };
    if is_way_back {
        return admit(Class::Own);
    }
    if frozen.spec.is_none() && context.request.operation == Operation::Create {
        return Ok(None);
    }
    let reason = "enforces, and no Git source that enforces declares it: it is frozen as it was. To have it changed by commits, \
        it must be declared by a source whose scope names Enforcements.";
    deny(Class::Own, denial::other(context, reason))
}

fn lies_in_spec(path: &Path) -> bool {
    matches!(path.0.first(), Some(Segment::Field(field)) if field == "spec")
}

fn spec_of(enforcement: Node<'_>) -> Option<EnforcementSpec> {
    serde_json::from_value(enforcement.get("spec")?.to_value()).ok()
}

/// One that enforces already decides alone in its scope, and nobody else about gitadel's own objects.
fn beside(context: &Context<'_>, new: Node<'_>, others: &[&Source]) -> Judgement {
    let scope = new.at(&["spec", "scope"]).map(Node::to_value).unwrap_or_default();
    let Ok(scope) = serde_json::from_value::<Scope>(scope) else {
        return deny(
            Class::Own,
            denial::other(context, "has no scope that could be compared with those that are enforced."),
        );
    };
    let whose = if let Some(other) = others.iter().find(|other| other.scope.overlaps(&scope)) {
        format!("some of what Enforcement \"{}\" enforces", other.name)
    } else if own_scope().overlaps(&scope) {
        "objects of gitadel itself".to_owned()
    } else {
        return Ok(None);
    };
    let reason = format!(
        "would govern {whose}. While that is enforced, only Git adds such an Enforcement: it must be declared by a source \
         that enforces and whose scope names Enforcements. A scope apart from it, such as other namespaces, needs no such \
         declaration."
    );
    deny(Class::Own, denial::other(context, reason))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, source, terminating, with};
    use crate::api::{Action, ClusterScope, Scope};
    use crate::snapshot::{EntryClass, Source};

    fn enforcement(name: &str, scope: Value) -> Value {
        json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": name},
            "spec": {"source": {"url": "https://git.example.com/shop.git"}, "scope": scope, "action": "Enforce"}})
    }

    fn of_shop(name: &str) -> Source {
        Source { scope: Scope { namespaces: Some(vec!["shop".into()]), ..Scope::default() }, ..source(name) }
    }

    /// One Enforcement, `all`, over the namespace shop alone.
    fn world() -> World {
        World::new().source(|source| *source = of_shop("all"))
    }

    #[test]
    fn one_that_enforces_and_is_not_in_git_is_frozen() {
        let live = enforcement("all", json!({"namespaces": ["shop"]}));
        let observing = with(&live, "/spec/action", json!("Observe"));
        let elsewhere = with(&live, "/spec/source/url", json!("https://evil.example.com/x.git"));
        let owned = with(&live, "/metadata/ownerReferences", json!([{"uid": "dead"}]));
        let status = with(&live, "/status", json!({"conditions": []}));
        world().expect(&[
            ("switched off", Review::update(&live, &observing), Deny, RULE.name),
            ("another repository", Review::update(&live, &elsewhere), Deny, RULE.name),
            ("an owner that takes it away", Review::update(&live, &owned), Deny, RULE.name),
            ("deleted", Review::delete(&live), Deny, RULE.name),
            (
                "deleted by the collector",
                Review::delete(&live).by(&controller("generic-garbage-collector")),
                Deny,
                RULE.name,
            ),
            ("nothing", Review::update(&live, &live), Allow, "scope"),
            ("its status", Review::update(&live, &status).through("status"), Allow, "scope"),
            ("made again as it was", Review::create(&live), Allow, "scope"),
        ]);
        let going = terminating(&with(&live, "/metadata/finalizers", json!(["example.com/x"])));
        world().expect(&[("that goes all the same", Review::update(&going, &live), Allow, "scope")]);
    }

    #[test]
    fn the_way_back_to_what_was_let_in_is_free() {
        let was = enforcement("all", json!({"namespaces": ["shop"]}));
        let let_in = || {
            World::new().source(|source| {
                *source = of_shop("all");
                source.spec = Some(serde_json::from_value(was["spec"].clone()).unwrap());
            })
        };
        let observing = with(&was, "/spec/action", json!("Observe"));
        let defaulted = with(&was, "/spec/prune", json!(true));
        let owned = with(&was, "/metadata/ownerReferences", json!([{"uid": "dead"}]));
        let other =
            Source { scope: Scope { namespaces: Some(vec!["shop".into()]), ..Scope::default() }, ..source("b") };
        let beside = let_in().meta(|meta| meta.sources.push(other));
        for world in [let_in(), beside] {
            world.expect(&[
                ("the way back", Review::update(&observing, &was), Allow, RULE.name),
                ("with what the API server fills in", Review::update(&observing, &defaulted), Allow, RULE.name),
                ("and an owner", Review::update(&observing, &owned), Deny, RULE.name),
                ("away from it", Review::update(&was, &observing), Deny, RULE.name),
                ("made again", Review::create(&was), Allow, RULE.name),
                ("made again as another", Review::create(&observing), Deny, RULE.name),
                ("deleted", Review::delete(&observing), Deny, RULE.name),
            ]);
        }
    }

    #[test]
    fn one_that_git_declares_is_what_git_says() {
        let live = enforcement("all", json!({"namespaces": ["shop"]}));
        let observing = with(&live, "/spec/action", json!("Observe"));
        let world = World::new().declare(&observing);
        world.expect(&[
            ("as the commit says", Review::update(&live, &observing), Allow, "declared"),
            ("otherwise", Review::update(&observing, &live), Deny, "declared"),
            ("deleted", Review::delete(&live), Deny, "declared"),
        ]);
        // An Enforcement that only observes declares nothing that binds one that enforces.
        let observed = World::new()
            .source(|source| source.action = Action::Observe)
            .meta(|meta| meta.sources.push(of_shop("strict")))
            .entry(&enforcement("strict", json!({})), |draft| draft.class = EntryClass::Declared);
        let strict = enforcement("strict", json!({"namespaces": ["shop"]}));
        observed.expect(&[("deleted", Review::delete(&strict), Deny, RULE.name)]);
    }

    #[test]
    fn another_one_governs_other_things() {
        let create = |scope: Value| Review::create(&enforcement("other", scope));
        let cluster_roles = json!([{"group": "rbac.authorization.k8s.io", "kind": "ClusterRole"}]);
        let definitions = json!([{"group": "apiextensions.k8s.io", "kind": "CustomResourceDefinition"}]);
        let listed = |kinds: &Value| json!({"namespaces": [], "cluster": "Listed", "clusterKinds": kinds});
        let bank = enforcement("other", json!({"namespaces": ["bank"]}));
        let grown = enforcement("other", json!({"namespaces": ["bank", "shop"]}));
        world().expect(&[
            ("another namespace", create(json!({"namespaces": ["bank"]})), Allow, "scope"),
            ("the same one", create(json!({"namespaces": ["bank", "shop"]})), Deny, RULE.name),
            ("all but a few", create(json!({"excludedNamespaces": ["kube-*"]})), Deny, RULE.name),
            ("gitadel's own namespace", create(json!({"namespaces": ["gitadel-system"]})), Deny, RULE.name),
            ("all cluster-scoped kinds", create(json!({"namespaces": [], "cluster": "All"})), Deny, RULE.name),
            ("the kind of gitadel's definitions", create(listed(&definitions)), Deny, RULE.name),
            ("another kind", create(listed(&cluster_roles)), Allow, "scope"),
            ("no scope", create(json!(7)), Deny, RULE.name),
            ("one that grows", Review::update(&bank, &grown), Deny, RULE.name),
            ("one that is left", Review::update(&grown, &bank), Allow, "scope"),
            ("one that goes", Review::delete(&grown), Allow, "scope"),
        ]);
    }

    #[test]
    fn where_enforcements_are_governed_their_world_is_closed() {
        let other = enforcement("other", json!({"namespaces": ["bank"]}));
        let world = World::new().meta(|meta| meta.sources.push(of_shop("other")));
        world.expect(&[
            ("added", Review::create(&other), Deny, "undeclared"),
            ("what came by another way is taken away", Review::delete(&other), Allow, "undeclared"),
        ]);
        let itself = enforcement("all", json!({"cluster": "All"}));
        world.expect(&[("the one that governs them", Review::delete(&itself), Deny, RULE.name)]);
    }

    #[test]
    fn while_nothing_is_enforced_they_are_free() {
        let live = enforcement("all", json!({"cluster": "All"}));
        let listed = Scope { namespaces: Some(Vec::new()), cluster: ClusterScope::None, ..Scope::default() };
        let world = World::new().source(|source| {
            source.action = Action::Warn;
            source.scope = listed;
        });
        world.expect(&[
            ("deleted", Review::delete(&live), Allow, "scope"),
            ("another", Review::create(&enforcement("other", json!({"cluster": "All"}))), Allow, "scope"),
        ]);
    }
}
