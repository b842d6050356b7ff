//! `scale` shows a Scale and never the object that it scales: only the number of replicas is compared.

use serde_json::{Value, json};

use super::{Judgement, Rule, admit, deny};
use crate::admission::context::Context;
use crate::admission::denial::{self, Keeper};
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::compare::{Latitude, judge as compare};
use crate::document::{Document, Node};

pub const RULE: Rule = Rule { name: "scale", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    if request.subresource != Some("scale") || request.operation != Operation::Update {
        return Ok(None);
    }
    // The API server leaves a zero out.
    let replicas = |scale: Option<Node<'_>>| Some(scale?.at(&["spec", "replicas"]).map_or(json!(0), Node::to_value));
    let version = request.requested_version;
    let known = context.kind.map_or_else(|| Some(built_in()), |kind| kind.scale_path(version));
    if context.entry.is_some() && known.is_none() && replicas(request.old) != replicas(request.object) {
        let reason = format!(
            "keeps its size: nobody knows what `scale` of version {version} sets in it. Its definition does not say it, or \
             converts objects; scale it in the version that Git uses."
        );
        return deny(Class::Governed, denial::other(context, reason));
    }
    // What nobody declares is only compared with what it was.
    let path = known.unwrap_or_else(built_in);
    let (old, new) = (nested(&path, replicas(request.old)), nested(&path, replicas(request.object)));
    let canonical = context.entry.and_then(|entry| entry.canonical());
    let wanted = canonical.map(|canonical| {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        nested_document(canonical.at(&path), &path)
    });
    let free = context.delegated(canonical.unwrap_or_else(|| old.root()));
    let latitude = Latitude { free: &free, undeclared_fields: false, ..context.latitude() };
    let findings = compare(old.root(), new.root(), wanted.as_ref().unwrap_or(&old).root(), &latitude);
    match (context.entry, context.owner_by_name()?) {
        (Some(_), _) if findings.is_empty() => admit(Class::Governed),
        (Some(entry), _) => deny(Class::Governed, denial::differs(context, entry, &findings)),
        (None, Some(_)) if findings.is_empty() => admit(Class::Child),
        (None, Some(owner)) => {
            deny(Class::Child, denial::kept_by_controller(context, &Keeper::Owner(&owner), &findings))
        }
        (None, None) if findings.is_empty() => admit(Class::Undeclared),
        (None, None) if context.is_closed() => deny(Class::Undeclared, denial::undeclared_change(context, &findings)),
        (None, None) => Ok(None),
    }
}

fn built_in() -> Vec<String> {
    ["spec", "replicas"].map(str::to_owned).into()
}

fn nested_document(value: Option<Node<'_>>, path: &[&str]) -> Document {
    let path: Vec<_> = path.iter().map(|name| (*name).to_owned()).collect();
    nested(&path, value.map(Node::to_value))
}

/// An object with nothing in it but this value.
fn nested(path: &[String], value: Option<Value>) -> Document {
    let (Some(value), true) = (value, !path.is_empty()) else { return Document::from_value(&json!({})) };
    Document::from_value(&path.iter().rev().fold(value, |inner, name| json!({ name.as_str(): inner })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, delegation, deployment, with};
    use crate::api::Undeclared;

    fn scale(from: i64, to: i64) -> Review {
        let scale = |replicas: i64| {
            json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web", "namespace": "shop"},
                "spec": {"replicas": replicas}})
        };
        Review::update(&deployment(), &deployment())
            .of("apps", "deployments", "scale")
            .set("/kind", json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}))
            .set("/oldObject", scale(from))
            .set("/object", scale(to))
    }

    #[test]
    fn replicas_are_those_of_git_or_stay() {
        let world = World::new().declare(&deployment());
        world.expect(&[
            ("away", scale(2, 5), Deny, RULE.name),
            ("back", scale(5, 2), Allow, RULE.name),
            ("unchanged drift", scale(5, 5), Allow, RULE.name),
        ]);
        let message = world.verdict(&scale(2, 5)).message.unwrap_or_default();
        assert!(message.contains("spec.replicas must be 2, not 5"), "{message}");
    }

    #[test]
    fn a_delegate_scales_within_its_bounds() {
        let autoscaler = controller("horizontal-pod-autoscaler");
        let delegated = delegation(&autoscaler, ("apps", "Deployment"), "spec.replicas", Some((2, 10)));
        World::new().declare(&deployment()).source(|source| source.delegations = vec![delegated]).expect(&[
            ("within", scale(2, 8).by(&autoscaler), Allow, RULE.name),
            ("beyond", scale(2, 50).by(&autoscaler), Deny, RULE.name),
            ("by its other name", scale(2, 8).by("system:kube-controller-manager"), Allow, RULE.name),
            ("by somebody else", scale(2, 8), Deny, RULE.name),
        ]);
    }

    #[test]
    fn a_size_of_zero_is_left_out() {
        let to_zero = || scale(2, 0).set("/object/spec", json!({}));
        let from_zero = |to: i64| scale(0, to).set("/oldObject/spec", json!({}));
        let none = with(&deployment(), "/spec/replicas", json!(0));
        World::new().declare(&none).expect(&[
            ("to Git's zero", to_zero(), Allow, RULE.name),
            ("away from it", from_zero(2), Deny, RULE.name),
            ("unchanged", from_zero(0).set("/object/spec", json!({})), Allow, RULE.name),
        ]);
        let world = World::new().declare(&deployment());
        world.expect(&[("Git's two", from_zero(2), Allow, RULE.name), ("to zero", to_zero(), Deny, RULE.name)]);
        let message = world.verdict(&to_zero()).message.unwrap_or_default();
        assert!(message.contains("spec.replicas must be 2, not 0"), "{message}");
        let autoscaler = controller("horizontal-pod-autoscaler");
        let between = |least| delegation(&autoscaler, ("apps", "Deployment"), "spec.replicas", Some((least, 10)));
        let delegated =
            |least| World::new().declare(&deployment()).source(move |source| source.delegations = vec![between(least)]);
        delegated(0).expect(&[("a delegate", to_zero().by(&autoscaler), Allow, RULE.name)]);
        delegated(1).expect(&[("beyond his bounds", to_zero().by(&autoscaler), Deny, RULE.name)]);
    }

    #[test]
    fn what_nobody_declares_keeps_its_size() {
        World::new().expect(&[("a change", scale(2, 3), Deny, RULE.name), ("none", scale(2, 2), Allow, RULE.name)]);
        let open = World::new().source(|source| source.undeclared_objects = Undeclared::Allow);
        open.expect(&[("in an open world", scale(2, 3), Allow, "undeclared")]);
    }

    #[test]
    fn each_version_of_a_custom_kind_says_what_it_scales() {
        let database = json!({"apiVersion": "example.com/v1", "kind": "Database",
            "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 1, "size": 5}});
        let paths = [("v1", "spec.replicas"), ("v2", "spec.size")];
        let world = World::new().declare(&database).meta(|meta| {
            for kind in meta.kinds.iter_mut().filter(|kind| kind.kind == "Database") {
                kind.scale_paths = paths.map(|(version, path)| (version.to_owned(), path.parse().unwrap())).into();
            }
        });
        let scaled = |version: &str, from: i64, to: i64| {
            let requested = json!({"group": "example.com", "version": version, "resource": "databases"});
            scale(from, to).of("example.com", "databases", "scale").with("requestResource", requested)
        };
        world.expect(&[
            ("the declared replicas", scaled("v1", 3, 1), Allow, RULE.name),
            ("others", scaled("v1", 1, 5), Deny, RULE.name),
            ("the declared size", scaled("v2", 1, 5), Allow, RULE.name),
            ("another", scaled("v2", 5, 1), Deny, RULE.name),
            ("who knows what", scaled("v3", 3, 1), Deny, RULE.name),
            ("nothing", scaled("v3", 3, 3), Allow, RULE.name),
        ]);
    }

    #[test]
    fn a_child_keeps_its_size() {
        let of_child = |to: i64| {
            let named = |replicas: i64| {
                with(
                    &json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": "web-5d4f8c", "namespace": "shop"}}),
                    "/spec/replicas",
                    json!(replicas),
                )
            };
            let review = scale(2, to).of("apps", "replicasets", "scale");
            review.set("/name", json!("web-5d4f8c")).set("/oldObject", named(2)).set("/object", named(to))
        };
        let world = || World::new().declare(&deployment());
        world().expect(&[("scaled", of_child(0), Deny, RULE.name), ("none", of_child(2), Allow, RULE.name)]);
        assert_eq!(
            world().verdict(&of_child(0)).message.unwrap_or_default(),
            "replicasets.apps \"web-5d4f8c\" in \"shop\" belongs to Deployment.apps shop/web: only its controller changes \
             it, but spec.replicas would change. Change that by a commit to https://git.example.com/shop.git."
        );
        let open = world().source(|source| source.undeclared_objects = Undeclared::Allow);
        open.expect(&[("in an open world", of_child(0), Deny, RULE.name)]);
    }
}
