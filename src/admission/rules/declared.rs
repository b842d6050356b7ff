//! The heart of it: a write to an object that Git or the baseline declares may only move it toward the declared state.

mod deletion;

use serde_json::Value;

use super::{Judgement, Rule, admit, deny, is_finalizer_removal};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::admission::{aggregation, builtin};
use crate::compare::{FreeField, Latitude, Path, PathPattern, PatternSegment, Segment, judge as compare, judge_create};
use crate::document::Node;
use crate::object::ObjectRef;
use crate::snapshot::{Entry, EntryClass};

pub const RULE: Rule = Rule { name: "declared", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let Some(entry) = context.entry else { return Ok(None) };
    let request = context.request;
    match (request.operation, request.object, request.old) {
        (Operation::Delete, _, old) if request.subresource.is_none() => deletion::judge(context, entry, old),
        // What left Git may stay, but once it is gone it is like everything that Git does not declare.
        (Operation::Create, ..) if entry.class() == EntryClass::Retained => Ok(None),
        (Operation::Create, Some(new), _) if request.subresource.is_none() => create(context, entry, new),
        (Operation::Update, _, _) if context.shows_whole_object() => update(context, entry),
        _ => deny(Class::Governed, denial::subresource(context)),
    }
}

fn create(context: &Context<'_>, entry: Entry<'_>, new: Node<'_>) -> Judgement {
    let Some(canonical) = entry.canonical() else {
        return deny(Class::Governed, denial::pending(context, entry));
    };
    if !is_version_of(entry, new) {
        return deny(Class::Governed, denial::other_version(context, entry));
    }
    // What nobody in particular keeps may have any value. What a delegate keeps is Git's on creation.
    let nobodys = builtin::delegated(context.id.group, context.id.kind)
        .iter()
        .filter(|row| row.by == builtin::Identity::Anyone && row.through == builtin::Through::Any);
    let free: Vec<_> = nobodys.flat_map(|row| row.fields.iter().cloned()).collect();
    let mut findings = judge_create(new, canonical, &Latitude { free: &free, ..context.latitude() });
    // The canonical object of one that lives holds what its delegates wrote, and a new one has none of it yet.
    let kept = kept_by_delegates(context, canonical);
    findings.retain(|f| f.given.is_some() || !is_kept(&kept, &f.path, f.wanted.as_ref()));
    if findings.is_empty() {
        return admit(Class::Governed);
    }
    deny(Class::Governed, denial::differs(context, entry, &findings))
}

/// The fields that are delegated to anybody.
fn kept_by_delegates(context: &Context<'_>, canonical: Node<'_>) -> Vec<FreeField> {
    let ObjectRef { group, kind, namespace, name } = context.id;
    builtin::free_for_repair(group, kind, namespace, name, canonical, context.source)
}

fn update(context: &Context<'_>, entry: Entry<'_>) -> Judgement {
    let Some((old, new)) = context.states() else { return Ok(None) };
    let comparable = entry.canonical().filter(|_| is_version_of(entry, new));
    let Some(canonical) = comparable else {
        // Nothing to compare with, but what changes nothing of Git's needs no comparison.
        if context.foreign_changes(old, new).is_empty() {
            return admit(Class::Governed);
        }
        let message = if entry.canonical().is_none() {
            denial::pending(context, entry)
        } else {
            denial::other_version(context, entry)
        };
        return deny(Class::Governed, message);
    };
    let free = context.delegated(canonical);
    let findings = compare(old, new, canonical, &Latitude { free: &free, ..context.latitude() });
    if findings.is_empty() {
        return match aggregation::foreign_rule(context, canonical, old, new)? {
            None => admit(Class::Governed),
            Some(rule) => {
                let reason = format!(
                    "holds the rules of the roles that it selects, and no role that it selects has {rule}. Declare a role \
                     that has it and is selected."
                );
                deny(Class::Governed, denial::other(context, reason))
            }
        };
    }
    deny(Class::Governed, denial::differs(context, entry, &findings))
}

/// Whether an object that is being deleted becomes more like what is declared, and loses finalizers at most: nobody keeps
/// fields of it any more.
pub(super) fn is_mended(context: &Context<'_>, old: Node<'_>, new: Node<'_>) -> bool {
    let comparable = context.entry.filter(|entry| is_version_of(*entry, new));
    let Some(canonical) = comparable.and_then(|entry| entry.canonical()) else { return false };
    let mut findings = compare(old, new, canonical, &Latitude { undeclared_fields: false, ..context.latitude() });
    findings.retain(|finding| !is_finalizer_removal(context.request, finding));
    findings.is_empty()
}

/// Whether delegates keep all of a value, the one at this place or each of those in it.
fn is_kept(kept: &[FreeField], path: &Path, value: Option<&Value>) -> bool {
    let member = |name: &String| Path(path.0.iter().cloned().chain([Segment::Field(name.clone())]).collect());
    kept.iter().any(|field| covers(&field.pattern, path))
        || value.and_then(Value::as_object).is_some_and(|members| {
            !members.is_empty() && members.iter().all(|(name, value)| is_kept(kept, &member(name), Some(value)))
        })
}

/// Whether a path is at or below a place that a pattern names.
fn covers(pattern: &PathPattern, path: &Path) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let agrees = |(wanted, step): (&PatternSegment, &Segment)| match (wanted, step) {
        (PatternSegment::Any, _) => true,
        (PatternSegment::Field(name), Segment::Field(field)) => name == field,
        (PatternSegment::Prefix(prefix), Segment::Field(field)) => field.starts_with(prefix),
        (PatternSegment::Item(wanted), Segment::Item(keys)) => {
            wanted.iter().all(|(key, value)| keys.iter().any(|(k, v)| k == key && text(v) == *value))
        }
        (PatternSegment::Item(wanted), Segment::Member(member)) => {
            matches!(wanted.as_slice(), [(key, value)] if key.is_empty() && text(member) == *value)
        }
        _ => false,
    };
    pattern.0.len() <= path.0.len() && pattern.0.iter().zip(&path.0).all(agrees)
}

fn is_version_of(entry: Entry<'_>, object: Node<'_>) -> bool {
    object.get("apiVersion").and_then(Node::as_str) == Some(entry.version())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, delegation, deployment, with};
    use crate::snapshot::{EntryClass, EntryDraft};

    fn drifted() -> Value {
        with(&deployment(), "/spec/replicas", json!(5))
    }

    #[test]
    fn writes_move_toward_git_or_are_denied() {
        let git = deployment();
        let image = with(&git, "/spec/template/spec/containers/0/image", json!("evil:1"));
        let labelled = with(&git, "/metadata/labels/team", json!("x"));
        let stolen = with(&git, "/metadata/ownerReferences", json!([{"uid": "dead"}]));
        World::new().declare(&git).expect(&[
            ("created as declared", Review::create(&git), Allow, RULE.name),
            ("created otherwise", Review::create(&drifted()), Deny, RULE.name),
            ("no change", Review::update(&git, &git), Allow, RULE.name),
            ("away", Review::update(&git, &drifted()), Deny, RULE.name),
            ("back", Review::update(&drifted(), &git), Allow, RULE.name),
            ("old drift stays", Review::update(&drifted(), &drifted()), Allow, RULE.name),
            ("another image", Review::update(&git, &image), Deny, RULE.name),
            ("a label", Review::update(&git, &labelled), Deny, RULE.name),
            ("an owner", Review::update(&git, &stolen), Deny, RULE.name),
            ("deleted", Review::delete(&git), Deny, RULE.name),
            ("deleted in a collection", Review::delete(&git).set("/name", json!("")), Deny, RULE.name),
            (
                "by the garbage collector",
                Review::delete(&git).by(&controller("generic-garbage-collector")),
                Deny,
                RULE.name,
            ),
        ]);
    }

    #[test]
    fn the_baseline_is_as_firm_as_git() {
        let world = World::new().entry(&deployment(), |draft| draft.class = EntryClass::Baseline);
        world.expect(&[
            ("away", Review::update(&deployment(), &drifted()), Deny, RULE.name),
            ("deleted", Review::delete(&deployment()), Deny, RULE.name),
        ]);
        let labelled = with(&drifted(), "/metadata/labels/x", json!("y"));
        let frozen = "deployments.apps \"web\" in \"shop\" is not declared in Git, and frozen as it was when its scope \
            came under Git (in the baseline of Enforcement \"all\"): ";
        let url = "https://git.example.com/shop.git";
        assert_eq!(
            world.verdict(&Review::update(&deployment(), &labelled)).message.unwrap(),
            format!(
                "{frozen}metadata.labels[x] is not in the recorded state, spec.replicas must be 2, not 5. \
                 To change it, declare it as it shall be by a commit to {url}."
            )
        );
        assert_eq!(
            world.verdict(&Review::delete(&deployment())).message.unwrap(),
            format!(
                "{frozen}it must not be deleted. To remove it, declare it by one commit to {url}, and take it out of Git \
                 again by the next."
            )
        );
    }

    #[test]
    fn what_left_git_and_was_kept_is_frozen_and_may_go() {
        let world = World::new().entry(&deployment(), |draft| draft.class = EntryClass::Retained);
        world.expect(&[
            ("changed", Review::update(&deployment(), &drifted()), Deny, RULE.name),
            ("deleted", Review::delete(&deployment()), Allow, RULE.name),
            ("created again", Review::create(&deployment()), Deny, "undeclared"),
        ]);
        assert_eq!(
            world.verdict(&Review::update(&deployment(), &drifted())).message.unwrap(),
            "deployments.apps \"web\" in \"shop\" is no longer declared in Git, and frozen as it was declared last: spec.replicas must be \
             2, not 5. Delete it, or declare it again by a commit to https://git.example.com/shop.git."
        );
    }

    #[test]
    fn nothing_moves_before_the_desired_state_is_known() {
        let pending = |draft: &mut EntryDraft| {
            draft.canonical = None;
            draft.problem = Some("the Namespace shop does not exist yet".into());
        };
        let status = with(&deployment(), "/status", json!({"replicas": 1}));
        let world = World::new().entry(&deployment(), pending);
        world.expect(&[
            ("created", Review::create(&deployment()), Deny, RULE.name),
            ("changed", Review::update(&deployment(), &drifted()), Deny, RULE.name),
            ("no change", Review::update(&deployment(), &status), Allow, RULE.name),
            ("deleted", Review::delete(&deployment()), Deny, RULE.name),
        ]);
        let message = world.verdict(&Review::create(&deployment())).message.unwrap_or_default();
        assert!(message.contains("the Namespace shop does not exist yet"), "{message}");
    }

    #[test]
    fn another_version_is_not_compared() {
        let other = |object: &Value| with(object, "/apiVersion", json!("apps/v1beta1"));
        World::new().declare(&deployment()).expect(&[
            ("created", Review::create(&other(&deployment())), Deny, RULE.name),
            ("changed", Review::update(&other(&deployment()), &other(&drifted())), Deny, RULE.name),
            ("no change", Review::update(&other(&drifted()), &other(&drifted())), Allow, RULE.name),
        ]);
    }

    #[test]
    fn a_delegate_sets_its_field_within_bounds() {
        let field = delegation("scaler", ("apps", "Deployment"), "spec.replicas", Some((1, 5)));
        World::new().declare(&deployment()).source(|source| source.delegations = vec![field]).expect(&[
            ("within", Review::update(&deployment(), &drifted()).by("scaler"), Allow, RULE.name),
            (
                "beyond",
                Review::update(&deployment(), &with(&deployment(), "/spec/replicas", json!(6))).by("scaler"),
                Deny,
                RULE.name,
            ),
            ("by another", Review::update(&deployment(), &drifted()).by("other"), Deny, RULE.name),
            ("on creation it is Git's", Review::create(&drifted()).by("scaler"), Deny, RULE.name),
        ]);
    }

    #[test]
    fn values_that_the_server_allots_are_set_once() {
        let git = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"ports": [{"port": 80}]}});
        let live = with(&git, "/spec/clusterIP", json!("10.96.0.7"));
        let moved = with(&git, "/spec/clusterIP", json!("10.96.0.8"));
        World::new().declare(&git).expect(&[
            ("created", Review::create(&live), Allow, RULE.name),
            ("moved", Review::update(&live, &moved), Deny, RULE.name),
        ]);
    }

    #[test]
    fn a_new_object_lacks_what_controllers_will_write() {
        let annotations = json!({"deployment.kubernetes.io/revision": "7"});
        let canonical = with(&deployment(), "/metadata/annotations", annotations);
        World::new().declare(&canonical).expect(&[("created", Review::create(&deployment()), Allow, RULE.name)]);
    }

    #[test]
    fn values_of_secrets_are_compared_and_never_shown() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"},
            "type": "Opaque", "data": {"password": "aHVudGVyMg=="}});
        let changed = with(&secret, "/data/password", json!("ZXZpbA=="));
        let world = World::new().declare(&secret);
        world.expect(&[
            ("created", Review::create(&secret), Allow, RULE.name),
            ("changed", Review::update(&secret, &changed), Deny, RULE.name),
        ]);
        let verdict = format!("{:?}", world.verdict(&Review::update(&secret, &changed)));
        assert!(verdict.contains("data.password must be the value that Git declares"), "{verdict}");
        assert!(["aHVu", "ZXZp", "masked:"].iter().all(|value| !verdict.contains(value)), "{verdict}");
    }
}
