//! Volumes and their claims: what of them can only have come past admission.
//!
//! With a volume that is bound, or a claim that is, data would go. So those are never removed: of a claim the owners are
//! taken away with which it would be collected, and the rest is told of. What is bound to nothing yet holds no data, and is
//! judged as it would have been when it was made.

use serde_json::{Value, json};

use super::children;
use super::delegation::is_left_to_somebody;
use super::generated::{self, ClaimOfSet};
use super::ownership::references;
use crate::document::Node;
use crate::object::ObjectRef;
use crate::snapshot::{Snapshot, SnapshotError};

/// Written to a claim together with the name of its volume.
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// Whether a volume or a claim that nobody declares came past admission, and may go: nothing is bound to it.
///
/// # Errors
/// The snapshot's entry for the StatefulSet of a claim is damaged.
pub fn may_be_removed(snapshot: &Snapshot, id: ObjectRef<'_>, object: Node<'_>) -> Result<bool, SnapshotError> {
    Ok(!is_bound(id, object) && came_past_admission(snapshot, id, object)?)
}

/// Whether admission, which has judged all that came since the world was closed, would not have let this come.
///
/// # Errors
/// The snapshot's entry for the StatefulSet of a claim is damaged.
pub fn came_past_admission(snapshot: &Snapshot, id: ObjectRef<'_>, object: Node<'_>) -> Result<bool, SnapshotError> {
    let is_let_in = match (id.group, id.kind) {
        ("", "PersistentVolume") => generated::is_provisioned_in_tree(object),
        ("", "PersistentVolumeClaim") => match generated::set_of_claim(snapshot, id)? {
            Some(ClaimOfSet { set, template, .. }) => children::is_claim_of_set(snapshot, &set, template, object),
            None => false,
        },
        _ => true,
    };
    Ok(!is_let_in && snapshot.meta().came_after_closing(id, object) && !is_left_to_somebody(snapshot, id, object))
}

fn is_bound(id: ObjectRef<'_>, object: Node<'_>) -> bool {
    let phase = object.at(&["status", "phase"]).and_then(Node::as_str);
    let is_bound_claim =
        || id.kind == "PersistentVolumeClaim" && object.at(&["metadata", "annotations", BIND_COMPLETED]).is_some();
    !matches!(phase, None | Some("Pending" | "Available")) || is_bound_claim()
}

/// Whether the claim of a StatefulSet's replica may go with this owner: the collector deletes it then, and the data.
pub(super) fn goes_with(claim: &ClaimOfSet<'_, '_>, owner: Node<'_>) -> bool {
    let name = claim.set.id().name;
    let text = |key| owner.get(key).and_then(Node::as_str).unwrap_or_default();
    let policy = |when: &str| {
        let policy = claim.set.canonical()?.at(&["spec", "persistentVolumeClaimRetentionPolicy", when])?;
        Some(policy.as_str() == Some("Delete"))
    };
    match (text("apiVersion"), text("kind")) {
        ("apps/v1", "StatefulSet") => text("name") == name && policy("whenDeleted") == Some(true),
        ("v1", "Pod") => text("name") == format!("{name}-{}", claim.ordinal) && policy("whenScaled") == Some(true),
        _ => false,
    }
}

/// The claim of a StatefulSet's replica without the owners with which it may not go, where it has such. Nothing is known of
/// those of a set that is not canonicalised yet.
///
/// # Errors
/// The snapshot's entry for the StatefulSet is damaged.
pub fn without_foreign_owners(
    snapshot: &Snapshot,
    id: ObjectRef<'_>,
    object: Node<'_>,
) -> Result<Option<Value>, SnapshotError> {
    let Some(claim) = generated::set_of_claim(snapshot, id)?.filter(|claim| claim.set.canonical().is_some()) else {
        return Ok(None);
    };
    let owners: Vec<_> = references(object).collect();
    let kept: Vec<Value> = owners.iter().filter(|owner| goes_with(&claim, **owner)).map(|o| o.to_value()).collect();
    if kept.len() == owners.len() {
        return Ok(None);
    }
    let mut wanted = object.to_value();
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        metadata.remove("ownerReferences");
        if !kept.is_empty() {
            metadata.insert("ownerReferences".into(), json!(kept));
        }
    }
    Ok(Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, delegation, owned, with, without};

    const RULE: &str = "generated";

    /// Closed an hour before [`made`].
    fn closed() -> World {
        let at = "2026-11-21T11:00:00Z".parse().unwrap();
        World::new().meta(|meta| _ = meta.closed_since.insert("all".into(), at)).declare(&stateful_set())
    }

    fn made(object: &Value) -> Value {
        with(object, "/metadata/creationTimestamp", json!("2026-11-21T12:00:00Z"))
    }

    fn stateful_set() -> Value {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"replicas": 9, "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}]}})
    }

    fn claim() -> Value {
        let spec = stateful_set()["spec"]["volumeClaimTemplates"][0]["spec"].clone();
        made(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec,
            "metadata": {"name": "data-db-1", "namespace": "shop"}, "status": {"phase": "Pending"}}))
    }

    fn volume() -> Value {
        made(&json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "evil", "annotations": {"pv.kubernetes.io/provisioned-by": "x"}},
            "spec": {"hostPath": {"path": "/"}, "claimRef": {"namespace": "shop", "name": "data-db-1"}},
            "status": {"phase": "Available"}}))
    }

    #[test]
    fn what_came_past_admission_goes_while_nothing_is_bound_to_it() {
        let old = |object: &Value| with(object, "/metadata/creationTimestamp", json!("2026-11-21T10:00:00Z"));
        let bound = |object: &Value| with(object, "/status/phase", json!("Bound"));
        let of_host = with(&volume(), "/spec/hostPath/path", json!("/tmp/hostpath_pv/1234-abcd"));
        let in_tree = with(
            &of_host,
            "/metadata/annotations",
            json!({"pv.kubernetes.io/provisioned-by": "kubernetes.io/host-path"}),
        );
        let chosen = with(&claim(), "/spec/volumeName", json!("evil"));
        let binding = with(&chosen, "/metadata/annotations", json!({BIND_COMPLETED: "yes"}));
        let selected = with(&claim(), "/metadata/annotations", json!({"volume.kubernetes.io/selected-node": "n1"}));
        let greater = with(&claim(), "/spec/resources/requests/storage", json!("1Ti"));
        let taken = with(&volume(), "/spec/claimRef/uid", json!("c-1"));
        let bind = |old: &Value, new: &Value| Review::update(old, new).by(&controller("persistent-volume-binder"));
        closed().expect(&[
            ("a volume of nobody's", Review::delete(&volume()), Allow, RULE),
            ("one that is bound", Review::delete(&bound(&volume())), Deny, RULE),
            ("one that was released", Review::delete(&with(&volume(), "/status/phase", json!("Released"))), Deny, RULE),
            ("one from before", Review::delete(&old(&volume())), Deny, RULE),
            ("one that Kubernetes provisions", Review::delete(&in_tree), Deny, RULE),
            ("bound to the one", bind(&volume(), &taken), Deny, RULE),
            ("bound to one from before", bind(&old(&volume()), &old(&taken)), Allow, RULE),
            ("a claim", Review::delete(&claim()), Deny, RULE),
            ("one that waits for a Pod", Review::delete(&selected), Deny, RULE),
            ("of a chosen volume", Review::delete(&chosen), Allow, RULE),
            ("while it is bound", Review::delete(&binding), Deny, RULE),
            ("bound", Review::delete(&bound(&chosen)), Deny, RULE),
            ("of another size", Review::delete(&greater), Allow, RULE),
            ("of another size, and bound", Review::delete(&bound(&greater)), Deny, RULE),
            ("of another size, from before", Review::delete(&old(&greater)), Deny, RULE),
        ]);
        let provisioner = delegation("provisioner", ("", "PersistentVolume"), "spec", None);
        closed().source(|source| source.delegations = vec![provisioner]).expect(&[(
            "left to a provisioner",
            Review::delete(&volume()),
            Deny,
            RULE,
        )]);
    }

    #[test]
    fn a_claim_goes_with_no_owner_but_its_own() {
        let by = |review: Review| review.by(&controller("generic-garbage-collector"));
        let foreign = owned(&claim(), ("v1", "ConfigMap", "gone"));
        let foreign = with(&foreign, "/metadata/ownerReferences/0/controller", json!(false));
        let other = owned(&claim(), ("v1", "Pod", "db-7"));
        let own = owned(&claim(), ("v1", "Pod", "db-1"));
        let free = |claim: &Value| without(claim, "/metadata/ownerReferences");
        let more = |claim: &Value| with(&free(claim), "/spec/volumeName", json!("evil"));
        closed().expect(&[
            ("collected with what is foreign", by(Review::delete(&foreign)), Deny, RULE),
            ("with another replica", by(Review::delete(&other)), Deny, "child"),
            ("with its own", by(Review::delete(&own)), Allow, "child"),
            ("freed of the one", Review::update(&foreign, &free(&foreign)), Allow, RULE),
            ("of the other", Review::update(&other, &free(&other)), Allow, "child"),
            ("and more", Review::update(&foreign, &more(&foreign)), Deny, RULE),
            ("of its own", Review::update(&own, &free(&own)), Deny, "child"),
        ]);
        let without_owners = |live: &Value| {
            let snapshot = closed().snapshot();
            let id = ObjectRef { group: "", kind: "PersistentVolumeClaim", namespace: "shop", name: "data-db-1" };
            without_foreign_owners(&snapshot, id, crate::document::Document::from_value(live).root()).unwrap()
        };
        assert_eq!(without_owners(&foreign), Some(free(&foreign)));
        assert_eq!(without_owners(&claim()), None);
        assert_eq!(without_owners(&own), None);
        let owner = |claim: &Value| claim["metadata"]["ownerReferences"][0].clone();
        let both = with(&own, "/metadata/ownerReferences", json!([owner(&own), owner(&foreign)]));
        assert_eq!(without_owners(&both), Some(own));
    }
}
