//! Operations on running Pods and on nodes that leave the declared state as it is, and that an Enforcement may forbid.

use super::{Judgement, Rule, admit, deny};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::api::{ChildOperations, Permission};
use crate::compare::{FreeField, PathPattern, PatternSegment};
use crate::snapshot::EntryClass;

pub const RULE: Rule = Rule { name: "child-operations", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let connect = request.operation == Operation::Connect;
    match (request.group, request.resource, request.subresource) {
        ("", "pods", Some(operation @ ("exec" | "attach" | "portforward" | "proxy"))) if connect => {
            permitted(context, operation, "childOperations.exec", |c| c.exec)
        }
        ("", "services", Some("proxy")) if connect => permitted(context, "proxy", "childOperations.exec", |c| c.exec),
        ("", "nodes", Some("proxy")) if connect => {
            permitted(context, "proxy", "childOperations.nodesProxy", |c| c.nodes_proxy)
        }
        ("", "pods", Some("eviction")) if request.operation == Operation::Create => eviction(context),
        ("", "pods", Some("ephemeralcontainers")) => {
            let fields = &[&["spec", "ephemeralContainers"][..]];
            change(context, "kubectl debug", "childOperations.ephemeralContainers", |c| c.ephemeral_containers, fields)
        }
        ("", "pods", Some("resize")) => {
            let fields =
                &[&["spec", "containers", "*", "resources"][..], &["spec", "initContainers", "*", "resources"]];
            change(context, "resize", "childOperations.resize", |c| c.resize, fields)
        }
        _ => Ok(None),
    }
}

fn permitted(
    context: &Context<'_>,
    operation: &str,
    setting: &str,
    of: fn(&ChildOperations) -> Permission,
) -> Judgement {
    match context.forbidding(of) {
        None => admit(Class::Virtual),
        Some(source) => deny(Class::Virtual, denial::operation(context, source, operation, setting)),
    }
}

/// Nothing but this shows that a Pod is evicted: no deletion is asked for afterwards. A Pod that Git declares is made anew
/// as one of a controller is; one of the baseline may be the work of somebody who is no more.
fn eviction(context: &Context<'_>) -> Judgement {
    match context.entry {
        Some(entry) if entry.class() == EntryClass::Baseline => deny(Class::Governed, denial::deletion(context, entry)),
        _ => permitted(context, "eviction", "childOperations.delete", |c| c.delete),
    }
}

/// An UPDATE through a subresource for these fields alone.
fn change(
    context: &Context<'_>,
    operation: &str,
    setting: &str,
    of: fn(&ChildOperations) -> Permission,
    fields: &[&[&str]],
) -> Judgement {
    let Some((old, new)) = context.states() else { return Ok(None) };
    if context.foreign_changes(old, new).is_empty() {
        return admit(Class::Child);
    }
    // A Pod that Git itself declares is what Git says.
    if context.entry.is_some() {
        return Ok(None);
    }
    if let Some(source) = context.forbidding(of) {
        return deny(Class::Child, denial::operation(context, source, operation, setting));
    }
    let free: Vec<_> = fields.iter().map(|path| FreeField { pattern: pattern(path), bounds: None }).collect();
    if context.changes(old, new, &free).is_empty() { admit(Class::Child) } else { Ok(None) }
}

fn pattern(path: &[&str]) -> PathPattern {
    let segment = |name: &&str| match *name {
        "*" => PatternSegment::Any,
        name => PatternSegment::Field(name.to_owned()),
    };
    PathPattern(path.iter().map(segment).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, deployment, pod, with, without};
    use crate::api::{ChildOperations, Permission};
    use crate::snapshot::EntryClass;

    fn eviction(name: &str) -> Review {
        Review::special(
            "CREATE",
            "pods",
            "eviction",
            "shop",
            name,
            &json!({"kind": "Eviction", "metadata": {"name": name}}),
        )
    }

    #[test]
    fn what_is_allowed_by_default() {
        let debugged = with(&pod(), "/spec/ephemeralContainers", json!([{"name": "debug"}]));
        World::new().declare(&deployment()).expect(&[
            ("exec", Review::connect("pods", "exec", "shop", "web-x"), Allow, RULE.name),
            ("port-forward", Review::connect("pods", "portforward", "shop", "web-x"), Allow, RULE.name),
            ("the proxy of a Service", Review::connect("services", "proxy", "shop", "web"), Allow, RULE.name),
            ("the proxy of a node", Review::connect("nodes", "proxy", "", "n1"), Deny, RULE.name),
            ("eviction", eviction("web-x"), Allow, RULE.name),
            ("debug", Review::update(&pod(), &debugged).through("ephemeralcontainers"), Deny, RULE.name),
            (
                "debug without a change",
                Review::update(&debugged, &debugged).through("ephemeralcontainers"),
                Allow,
                RULE.name,
            ),
        ]);
    }

    #[test]
    fn each_is_what_the_enforcement_says() {
        let world = World::new().declare(&deployment()).source(|source| {
            source.child_operations = ChildOperations {
                delete: Permission::Deny,
                exec: Permission::Deny,
                ephemeral_containers: Permission::Allow,
                resize: Permission::Allow,
                nodes_proxy: Permission::Allow,
            };
        });
        let debugged = with(&pod(), "/spec/ephemeralContainers", json!([{"name": "debug"}]));
        let resized = with(&pod(), "/spec/containers/0/resources", json!({"limits": {"cpu": "2"}}));
        let replaced = with(&resized, "/spec/containers/0/image", json!("evil:1"));
        world.expect(&[
            ("exec", Review::connect("pods", "exec", "shop", "web-x"), Deny, RULE.name),
            ("the proxy of a node", Review::connect("nodes", "proxy", "", "n1"), Allow, RULE.name),
            ("eviction", eviction("web-x"), Deny, RULE.name),
            ("debug", Review::update(&pod(), &debugged).through("ephemeralcontainers"), Allow, RULE.name),
            ("resize", Review::update(&pod(), &resized).through("resize"), Allow, RULE.name),
            ("another image", Review::update(&pod(), &replaced).through("resize"), Deny, "child"),
        ]);
    }

    #[test]
    fn a_declared_pod_is_evicted_as_a_child_is() {
        let bare = without(&with(&pod(), "/metadata/name", json!("bare")), "/metadata/ownerReferences");
        let world = |class| World::new().entry(&bare, |draft| draft.class = class);
        world(EntryClass::Declared).expect(&[("that is made anew", eviction("bare"), Allow, RULE.name)]);
        world(EntryClass::Baseline).expect(&[("that is not", eviction("bare"), Deny, RULE.name)]);
        let kept = world(EntryClass::Declared).source(|source| source.child_operations.delete = Permission::Deny);
        kept.expect(&[("where the Enforcement forbids it", eviction("bare"), Deny, RULE.name)]);
    }
}
