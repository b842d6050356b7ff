//! gitadel's own objects, wherever they are: of its records only the content that the snapshot yields is admitted, from
//! anyone, gitadel included; its namespace and definitions stay, and are changed by Git alone.
//!
//! The inventory decides what pruning deletes, the baseline what is left in peace. Whoever could write them could make
//! gitadel delete or keep what he likes.

use std::collections::HashMap;

use super::{Judgement, Rule, admit, deny, is_terminating};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::own::{
    BASELINE_COUNT, BASELINE_LABEL, BASELINE_PREFIX, INVENTORY_KEY, INVENTORY_LABEL, INVENTORY_PREFIX, InventoryLine,
    MANAGER_LABEL, baseline_digest, baseline_of, inventory_of, is_own,
};
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::api::{MANAGER, SYSTEM_NAMESPACE};
use crate::document::Node;
use crate::object::ObjectRef;
use crate::snapshot::{EntryClass, Snapshot, SnapshotError};

pub const RULE: Rule = Rule { name: "own", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let nothing_governed = context.snapshot.meta().sources.is_empty();
    let going = request.old.is_some_and(is_terminating);
    if enters_gitadel(context) && !nothing_governed {
        let reason = "is entered by nobody while gitadel enforces: what runs there has gitadel's own rights. Its log and its \
            metrics say what it does.";
        return deny(Class::Own, denial::other(context, reason));
    }
    if !is_own(context.id) || !context.shows_whole_object() || nothing_governed || going {
        return Ok(None);
    }
    if let Some((old, new)) = context.states()
        && context.foreign_changes(old, new).is_empty()
    {
        return admit(Class::Own);
    }
    match (context.id.kind, request.operation) {
        ("ConfigMap", _) => inventory(context),
        ("Secret", operation) => baseline(context, operation),
        (_, Operation::Delete) => {
            let reason = "is part of gitadel and must not be deleted while it enforces. To uninstall, first commit each \
                Enforcement with action: Observe; docs/operations.md has the rest.";
            deny(Class::Own, denial::other(context, reason))
        }
        (_, Operation::Update) if !context.is_declared_by_enforcing() => {
            let reason = "is part of gitadel and not declared in Git: it is frozen as it is while gitadel enforces. To \
                change it, declare it in a source whose scope holds it; docs/operations.md says how else.";
            deny(Class::Own, denial::other(context, reason))
        }
        _ => Ok(None),
    }
}

fn baseline(context: &Context<'_>, operation: Operation) -> Judgement {
    let recorded = context.snapshot.meta().baseline_shards.get(context.id.name);
    let admitted = match (operation, context.request.object) {
        (Operation::Create, Some(new)) => {
            is_unattached(new)
                && match recorded {
                    Some(digest) => *digest == baseline_digest(new.get("data")),
                    None => is_first_record(context),
                }
        }
        // One that is not what was recorded is in the way of the one that is.
        (Operation::Delete, _) => {
            let old = context.request.old.and_then(|old| old.get("data"));
            recorded.is_none_or(|digest| *digest != baseline_digest(old))
        }
        (Operation::Update, Some(new)) => {
            recorded.is_some_and(|digest| *digest == baseline_digest(new.get("data"))) && is_as_recorded(context, new)
        }
        _ => false,
    };
    if admitted {
        return admit(Class::Own);
    }
    let reason =
        format!("is a record of the baseline ({BASELINE_PREFIX}*): it is written once, by gitadel, and not changed.");
    deny(Class::Own, denial::other(context, reason))
}

/// Whether a command is to run in a Pod of gitadel's namespace, or a terminal to be taken over.
fn enters_gitadel(context: &Context<'_>) -> bool {
    let request = context.request;
    request.operation == Operation::Connect
        && context.id.namespace == SYSTEM_NAMESPACE
        && (request.group, request.resource) == ("", "pods")
        && matches!(request.subresource, Some("exec" | "attach"))
}

/// A record that this replica cannot know yet: the leader makes it while the others wait for it. That happens once for an
/// Enforcement; until then nobody can tell what was there from what is new, and only gitadel may say.
fn is_first_record(context: &Context<'_>) -> bool {
    let meta = context.snapshot.meta();
    let Some(enforcement) = baseline_of(context.id.name) else { return false };
    meta.reconciler_users.contains(context.request.user.name)
        && meta.sources.iter().any(|source| source.name == enforcement)
        && !meta.baseline_shards.keys().any(|shard| baseline_of(shard) == Some(enforcement))
}

/// Whether a record has the labels and annotations that gitadel gives it, and nothing that others act on.
fn is_as_recorded(context: &Context<'_>, record: Node<'_>) -> bool {
    let Some(enforcement) = baseline_of(context.id.name) else { return false };
    let shards = context.snapshot.meta().baseline_shards.keys();
    let count = shards.filter(|shard| baseline_of(shard) == Some(enforcement)).count().to_string();
    let labels = [(BASELINE_LABEL, enforcement), (MANAGER_LABEL, MANAGER)];
    is_unattached(record)
        && holds(record.at(&["metadata", "labels"]), &labels)
        && holds(record.at(&["metadata", "annotations"]), &[(BASELINE_COUNT, &count)])
}

/// Whether a map has these texts, and nothing else.
fn holds(map: Option<Node<'_>>, texts: &[(&str, &str)]) -> bool {
    let Some(map) = map.and_then(Node::map) else { return false };
    map.len() == texts.len() && texts.iter().all(|(key, text)| map.get(key).and_then(Node::as_str) == Some(*text))
}

fn inventory(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let refused = |reason: String| {
        let reason = format!("is gitadel's inventory ({INVENTORY_PREFIX}*): {reason}. It follows from Git alone.");
        deny(Class::Own, denial::other(context, reason))
    };
    if request.object.is_some_and(|new| !is_as_written(context, new)) {
        return refused("it is of an Enforcement that there is, and holds nothing but its list of objects".to_owned());
    }
    // One that is not as gitadel writes it is in the way of the one that is, and may be past mending.
    if request.operation == Operation::Delete && request.old.is_some_and(|old| !is_as_written(context, old)) {
        return admit(Class::Own);
    }
    // A damaged list may be replaced by a good one; nothing in it is believed.
    let before = lines(request.old).unwrap_or_default();
    let after = match lines(request.object) {
        Ok(lines) => lines,
        Err(line) => return refused(format!("\"{line}\" is no line of it")),
    };
    for (id, line) in &after {
        if before.get(id) != Some(line) && !is_yielded(context, line)? {
            return refused(format!("{id} is not declared like that in the commit that is enforced"));
        }
    }
    for id in before.keys().filter(|id| !after.contains_key(id)) {
        if is_held(context.snapshot, *id)? {
            return refused(format!("{id} is still declared, or kept since it left Git"));
        }
    }
    admit(Class::Own)
}

type Lines<'a> = HashMap<ObjectRef<'a>, InventoryLine<'a>>;

/// The lines of a shard, or the first that is none.
fn lines<'a>(shard: Option<Node<'a>>) -> Result<Lines<'a>, &'a str> {
    let text = shard.and_then(|shard| shard.at(&["data", INVENTORY_KEY])).and_then(Node::as_str).unwrap_or_default();
    text.lines().map(|line| InventoryLine::parse(line).map(|parsed| (parsed.id, parsed)).ok_or(line)).collect()
}

/// Whether the snapshot says the same of the object, in the name of the source whose inventory this is.
fn is_yielded(context: &Context<'_>, line: &InventoryLine<'_>) -> Result<bool, SnapshotError> {
    let Some(entry) = context.snapshot.get(line.id)? else { return Ok(false) };
    let source = entry.source().and_then(|index| context.snapshot.meta().sources.get(index));
    Ok(source.is_some_and(|source| {
        entry.class() == EntryClass::Declared
            && entry.file().unwrap_or_default() == line.file
            && source.commit == line.commit
            && inventory_of(context.id.name) == Some(&source.name)
    }))
}

/// Of what left Git and was kept, a new Pod knows nothing but by the inventory: it would remove it.
fn is_held(snapshot: &Snapshot, id: ObjectRef<'_>) -> Result<bool, SnapshotError> {
    Ok(snapshot.get(id)?.is_some_and(|entry| matches!(entry.class(), EntryClass::Declared | EntryClass::Retained)))
}

/// An owner would let the garbage collector delete the record, a finalizer keep it for ever.
fn is_unattached(object: Node<'_>) -> bool {
    ["ownerReferences", "finalizers"].iter().all(|field| object.at(&["metadata", field]).is_none())
}

/// Whether a shard has what gitadel gives it beside its lines, and nothing more.
fn is_as_written(context: &Context<'_>, shard: Node<'_>) -> bool {
    let known = |name: &&str| context.snapshot.meta().sources.iter().any(|source| source.name == *name);
    let Some(enforcement) = inventory_of(context.id.name).filter(known) else { return false };
    let data = shard.get("data").and_then(Node::map);
    is_unattached(shard)
        && holds(shard.at(&["metadata", "labels"]), &[(INVENTORY_LABEL, enforcement), (MANAGER_LABEL, MANAGER)])
        && shard.at(&["metadata", "annotations"]).is_none()
        && ["binaryData", "immutable"].iter().all(|field| shard.get(field).is_none())
        && data.is_some_and(|data| data.iter().all(|(key, _)| key == INVENTORY_KEY))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::RULE;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::own::baseline_digest;
    use crate::admission::testing::{Review, World, deployment, source, terminating, with};
    use crate::api::{Action, Scope};
    use crate::document::Document;
    use crate::snapshot::{EntryClass, Meta, Source};

    fn shard(lines: &[&str]) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "gitadel-inventory-all-x0", "namespace": "gitadel-system",
                "labels": {"app.kubernetes.io/managed-by": "gitadel", "gitadel.dev/inventory-of": "all"}},
            "data": {"objects": lines.join("\n")}})
    }

    const WEB: &str = "apps/Deployment/shop/web 1a2b3c4d5e6f apps/web.yaml";
    const GONE: &str = "/ConfigMap/shop/gone 0000000 gone.yaml";

    #[test]
    fn the_inventory_says_what_the_snapshot_says() {
        let forged = "/ConfigMap/shop/victim 1a2b3c4d5e6f apps/web.yaml";
        let elsewhere = with(&shard(&[WEB]), "/metadata/name", json!("gitadel-inventory-other-x0"));
        let owned = with(&shard(&[WEB]), "/metadata/ownerReferences", json!([{"uid": "dead"}]));
        let frozen = with(&shard(&[WEB]), "/immutable", json!(true));
        let unlabelled = with(&shard(&[WEB]), "/metadata/labels", json!({}));
        let elsewhere_labelled = with(&elsewhere, "/metadata/labels/gitadel.dev~1inventory-of", json!("other"));
        let stray = with(&shard(&[]), "/metadata/name", json!("gitadel-inventory-junk"));
        World::new().declare(&deployment()).expect(&[
            ("what is declared", Review::create(&shard(&[WEB])), Allow, RULE.name),
            ("what is not", Review::create(&shard(&[WEB, forged])), Deny, RULE.name),
            (
                "another commit",
                Review::create(&shard(&["apps/Deployment/shop/web 7777777 apps/web.yaml"])),
                Deny,
                RULE.name,
            ),
            ("in another's inventory", Review::create(&elsewhere), Deny, RULE.name),
            ("with an owner", Review::create(&owned), Deny, RULE.name),
            ("no list", Review::create(&shard(&["nonsense"])), Deny, RULE.name),
            ("an old line stays", Review::update(&shard(&[GONE]), &shard(&[GONE, WEB])), Allow, RULE.name),
            ("an old line goes", Review::update(&shard(&[GONE, WEB]), &shard(&[WEB])), Allow, RULE.name),
            ("a declared one goes", Review::update(&shard(&[WEB]), &shard(&[])), Deny, RULE.name),
            ("for ever", Review::update(&shard(&[WEB]), &frozen), Deny, RULE.name),
            ("one for ever goes", Review::delete(&frozen), Allow, RULE.name),
            ("one of no Enforcement", Review::create(&elsewhere_labelled), Deny, RULE.name),
            ("what is no shard", Review::create(&stray), Deny, RULE.name),
            ("what is no shard goes", Review::delete(&stray), Allow, RULE.name),
            ("without its labels", Review::update(&shard(&[WEB]), &unlabelled), Deny, RULE.name),
            ("its labels put back", Review::update(&unlabelled, &shard(&[WEB])), Allow, RULE.name),
            ("no change", Review::update(&shard(&[WEB]), &shard(&[WEB])), Allow, RULE.name),
            ("deleted", Review::delete(&shard(&[WEB])), Deny, RULE.name),
            ("deleted when of no use", Review::delete(&shard(&[GONE])), Allow, RULE.name),
        ]);
        World::new().entry(&deployment(), |draft| draft.class = EntryClass::Retained).expect(&[
            ("a kept one goes", Review::update(&shard(&[GONE, WEB]), &shard(&[GONE])), Deny, RULE.name),
            ("with all", Review::delete(&shard(&[GONE, WEB])), Deny, RULE.name),
            ("another goes", Review::update(&shard(&[GONE, WEB]), &shard(&[WEB])), Allow, RULE.name),
        ]);
    }

    #[test]
    fn the_baseline_is_written_once() {
        let record = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "gitadel-baseline-all-0", "namespace": "gitadel-system",
                "labels": {"app.kubernetes.io/managed-by": "gitadel", "gitadel.dev/baseline-of": "all"},
                "annotations": {"gitadel.dev/baseline-shards": "1"}},
            "data": {"0": "YQ=="}});
        let changed = with(&record, "/data/0", json!("Yg=="));
        let unlabelled = with(&record, "/metadata/labels", json!({}));
        let miscounted = with(&record, "/metadata/annotations", json!({"gitadel.dev/baseline-shards": "2"}));
        let held = with(&record, "/metadata/finalizers", json!(["example.com/mine"]));
        let document = Document::from_value(&record);
        let digest = baseline_digest(document.root().get("data"));
        let known = World::new().meta(|meta| {
            meta.baseline_shards.insert("gitadel-baseline-all-0".into(), digest);
        });
        known.expect(&[
            ("as recorded", Review::create(&record), Allow, RULE.name),
            ("otherwise", Review::create(&changed), Deny, RULE.name),
            ("changed", Review::update(&record, &changed), Deny, RULE.name),
            ("deleted", Review::delete(&record), Deny, RULE.name),
            ("deleted in a collection", Review::delete(&record).set("/name", json!("")), Deny, RULE.name),
            ("changed by a way round", Review::update(&changed, &record), Allow, RULE.name),
            ("such a one deleted", Review::delete(&changed), Allow, RULE.name),
            ("its labels", Review::update(&record, &unlabelled), Deny, RULE.name),
            ("its labels put back", Review::update(&unlabelled, &record), Allow, RULE.name),
            ("its number", Review::update(&record, &miscounted), Deny, RULE.name),
            ("its number put back", Review::update(&miscounted, &record), Allow, RULE.name),
            ("a finalizer", Review::update(&record, &held), Deny, RULE.name),
            ("a finalizer taken away", Review::update(&held, &record), Allow, RULE.name),
        ]);
        let leader = || Review::create(&record).by("gitadel");
        let waiting = World::new().meta(|meta| meta.reconciler_users = ["gitadel".to_owned()].into());
        waiting.expect(&[
            ("the first record", leader(), Allow, RULE.name),
            ("by somebody else", Review::create(&record), Deny, RULE.name),
            (
                "of no Enforcement",
                Review::create(&with(&record, "/metadata/name", json!("gitadel-baseline-other-0"))).by("gitadel"),
                Deny,
                RULE.name,
            ),
        ]);
        let more = with(&record, "/metadata/name", json!("gitadel-baseline-all-1"));
        known.meta(|meta| meta.reconciler_users = ["gitadel".to_owned()].into()).expect(&[(
            "one more",
            Review::create(&more).by("gitadel"),
            Deny,
            RULE.name,
        )]);
        World::new().expect(&[
            ("unknown", Review::create(&record), Deny, RULE.name),
            ("deleted when of no use", Review::delete(&record), Allow, RULE.name),
        ]);
    }

    #[test]
    fn gitadel_itself_is_not_deleted() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gitadel-system"}});
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "enforcements.gitadel.dev"}});
        World::new().expect(&[
            ("its namespace", Review::delete(&namespace), Deny, RULE.name),
            ("its CRD", Review::delete(&crd), Deny, RULE.name),
        ]);
    }

    #[test]
    fn its_pods_are_entered_by_nobody() {
        let into =
            |operation: &str, namespace: &str| Review::connect("pods", operation, namespace, "gitadel-5d4f8c-x7k2p");
        let cases = [
            ("a shell", into("exec", "gitadel-system"), Deny, RULE.name),
            ("its terminal", into("attach", "gitadel-system").by("system:apiserver"), Deny, RULE.name),
            ("a shell elsewhere", into("exec", "shop"), Allow, "child-operations"),
        ];
        World::new().expect(&cases);
        let ports = into("portforward", "gitadel-system");
        World::new().expect(&[("its ports", ports, Allow, "child-operations")]);
        let narrow = Scope { namespaces: Some(vec!["shop".into()]), ..Scope::default() };
        World::new().source(|source| source.scope = narrow).expect(&cases);
    }

    #[test]
    fn they_are_kept_wherever_they_are_and_whoever_observes_there() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gitadel-system"}});
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "enforcements.gitadel.dev"}, "spec": {"scope": "Cluster"}});
        let another = with(&crd, "/metadata/name", json!("widgets.example.com"));
        let without_action = with(&crd, "/spec/versions", json!([]));
        let record = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "gitadel-baseline-all-0", "namespace": "gitadel-system"}});
        let recorded =
            |meta: &mut Meta| _ = meta.baseline_shards.insert("gitadel-baseline-all-0".into(), baseline_digest(None));
        let shop = Scope { namespaces: Some(vec!["shop".into()]), ..Scope::default() };
        let cases = [
            ("its namespace", Review::delete(&namespace), Deny, RULE.name),
            ("its CRD", Review::delete(&crd), Deny, RULE.name),
            ("its CRD's schema", Review::update(&crd, &without_action), Deny, RULE.name),
            ("a forged inventory", Review::create(&shard(&["/ConfigMap/shop/victim 1a2b3c4 x"])), Deny, RULE.name),
            ("a record", Review::delete(&record), Deny, RULE.name),
            ("another CRD", Review::delete(&another), Allow, "scope"),
            ("one that goes", Review::update(&terminating(&crd), &terminating(&without_action)), Allow, "scope"),
        ];
        World::new().source(|source| source.scope = shop.clone()).meta(recorded).expect(&cases);
        // Another Enforcement that only observes holds them in its scope.
        let observed = World::new().source(|source| source.action = Action::Observe).meta(recorded);
        let cases: Vec<_> = cases.into_iter().take(5).collect();
        observed.meta(|meta| meta.sources.push(Source { scope: shop, ..source("shop") })).expect(&cases);
    }

    #[test]
    fn its_definition_is_what_git_declares() {
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "enforcements.gitadel.dev"}, "spec": {"scope": "Cluster"}});
        let newer = with(&crd, "/spec/versions", json!([{"name": "v1alpha1"}]));
        World::new().declare(&newer).expect(&[
            ("as declared", Review::update(&crd, &newer), Allow, "declared"),
            ("otherwise", Review::update(&newer, &crd), Deny, "declared"),
            ("deleted", Review::delete(&newer), Deny, RULE.name),
        ]);
    }
}
