//! How long Pods may take to end. Who deletes one may say otherwise, and so may a Pod that came past admission: it would run
//! on for years, or nothing could be made in its place.

use super::children::{Descent, pod_template_of, template_of};
use crate::document::Node;
use crate::object::{ObjectId, ObjectRef};
use crate::snapshot::{Entry, Snapshot, SnapshotError};

/// The seconds that Kubernetes gives where a Pod says nothing.
pub const DEFAULT: i64 = 30;

/// The seconds that a Pod, or a template of one, asks for.
pub fn of(pod: Node<'_>) -> i64 {
    pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Node::as_i64).unwrap_or(DEFAULT)
}

/// The most that any template of its owner gives a Pod, of those in use. None where no template says what the Pod is.
///
/// # Errors
/// The owner's entry is damaged.
pub fn of_child(snapshot: &Snapshot, pod: ObjectRef<'_>, owner: &ObjectId) -> Result<Option<i64>, SnapshotError> {
    if Descent::of(snapshot, pod, owner)?.is_none() {
        return Ok(None);
    }
    Ok(snapshot.get(owner.as_ref())?.and_then(|owner| longest(&owner)))
}

fn longest(owner: &Entry<'_>) -> Option<i64> {
    let (id, canonical) = (owner.id(), owner.canonical()?);
    template_of(id.group, id.kind, canonical)?;
    let declared = pod_template_of(id.group, id.kind, canonical);
    let of_pods = |template: Node<'_>| {
        if id.kind == "CronJob" { template.at(&["spec", "template"]).map(of) } else { Some(of(template)) }
    };
    let earlier = owner.history().templates().filter_map(of_pods);
    declared.map(of).into_iter().chain(owner.history().mutated().map(of)).chain(earlier).max()
}
