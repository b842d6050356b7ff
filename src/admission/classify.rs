//! What an object is to gitadel, by its state alone.
//!
//! The webhook asks this of an object that is written, the reconciler of one that is there. Both must come to the same
//! answer, and it must never call undeclared what Kubernetes' own components keep: the reconciler removes what is.

use super::generated;
use super::ownership::{self, Controller};
use crate::api::{GROUP, SYSTEM_NAMESPACE};
use crate::document::Node;
use crate::object::{ObjectId, ObjectRef};
use crate::snapshot::{EntryClass, KindInfo, Snapshot, SnapshotError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectClass {
    Declared,
    Baseline,
    /// It left Git and was not pruned.
    Retained,
    /// Its chain of controllers ends in a governed object, or in a node.
    Child {
        owner: ObjectId,
    },
    /// It follows by kind and name from another object, without naming it as its controller.
    Generated {
        by: ObjectId,
    },
    /// The API server makes it for itself: bootstrap RBAC, built-in API services, the system's namespaces.
    Bootstrap,
    /// Nodes, Leases, Events and the like: no state that anybody declares.
    Machinery,
    /// A record of gitadel itself.
    Own,
    /// A volume or a claim that Kubernetes keeps on purpose after its owner went.
    Remnant,
    Undeclared,
    OutOfScope,
}

impl ObjectClass {
    /// Whether the object goes into the baseline when enforcement begins.
    pub fn is_recordable(&self) -> bool {
        matches!(self, Self::Undeclared | Self::Bootstrap | Self::Remnant)
    }

    /// Whether an object that appears while enforcement is on is drift, to be removed.
    pub fn is_removable(&self) -> bool {
        matches!(self, Self::Undeclared)
    }
}

/// Classifies an object as it is in the cluster.
///
/// # Errors
/// The snapshot's entry for it, or for one of its owners, is damaged: then nobody may act on the answer.
pub fn classify_object(snapshot: &Snapshot, kind: &KindInfo, object: Node<'_>) -> Result<ObjectClass, SnapshotError> {
    let text = |key| object.at(&["metadata", key]).and_then(Node::as_str).unwrap_or_default();
    let namespace = if kind.namespaced { text("namespace") } else { "" };
    let id = ObjectRef { group: &kind.group, kind: &kind.kind, namespace, name: text("name") };
    if let Some(entry) = snapshot.get(id)? {
        return Ok(match entry.class() {
            EntryClass::Declared => ObjectClass::Declared,
            EntryClass::Baseline => ObjectClass::Baseline,
            EntryClass::Retained => ObjectClass::Retained,
        });
    }
    classify_unlisted(snapshot, id, object)
}

/// Classifies an object that has no entry in the snapshot.
pub(super) fn classify_unlisted(
    snapshot: &Snapshot,
    id: ObjectRef<'_>,
    object: Node<'_>,
) -> Result<ObjectClass, SnapshotError> {
    if is_own(id) {
        return Ok(ObjectClass::Own);
    }
    if !snapshot.meta().sources.iter().any(|s| s.governs(id.group, id.kind, id.namespace, id.name)) {
        return Ok(ObjectClass::OutOfScope);
    }
    if is_machinery(id.group, id.kind) {
        return Ok(ObjectClass::Machinery);
    }
    if generated::is_bootstrap(id, object) {
        return Ok(ObjectClass::Bootstrap);
    }
    if let Some(controller) = Controller::of(object)
        && let Some(owner) = ownership::root(snapshot, id.namespace, controller)?
    {
        return Ok(ObjectClass::Child { owner });
    }
    if let Some(by) = generated::generated_by(snapshot, id, object)? {
        return Ok(ObjectClass::Generated { by });
    }
    Ok(if generated::is_remnant(id, object) { ObjectClass::Remnant } else { ObjectClass::Undeclared })
}

/// Records in gitadel's namespace, and what gitadel cannot live without.
pub(super) fn is_own(id: ObjectRef<'_>) -> bool {
    match (id.group, id.kind) {
        ("", "ConfigMap") => id.namespace == SYSTEM_NAMESPACE && id.name.starts_with(super::own::INVENTORY_PREFIX),
        ("", "Secret") => id.namespace == SYSTEM_NAMESPACE && id.name.starts_with(super::own::BASELINE_PREFIX),
        ("", "Namespace") => id.name == SYSTEM_NAMESPACE,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            id.name.strip_suffix(GROUP).is_some_and(|plural| plural.ends_with('.'))
        }
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => id.name == crate::api::MANAGER,
        _ => false,
    }
}

/// Kinds that hold no state anybody declares. A Node is made by its kubelet and kept by controllers; a request for a
/// certificate is gone when it is answered.
pub(super) fn is_machinery(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("" | "events.k8s.io", "Event")
            | ("coordination.k8s.io", "Lease" | "LeaseCandidate")
            | ("", "Node")
            | ("storage.k8s.io", "CSINode")
            | ("resource.k8s.io", "ResourceSlice")
            | ("certificates.k8s.io", "CertificateSigningRequest" | "PodCertificateRequest")
            | ("internal.apiserver.k8s.io", "StorageVersion")
    )
}
