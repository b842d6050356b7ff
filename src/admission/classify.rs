//! What an object is to gitadel, by its state alone.
//!
//! The webhook asks this of an object that is written, the reconciler of one that is there. Both must come to the same
//! answer, and it must never call undeclared what Kubernetes' own components keep: the reconciler removes what is.

use super::own::is_own;
use super::{computed, generated, ownership};
use crate::document::Node;
use crate::object::{ObjectId, ObjectRef};
use crate::snapshot::{EntryClass, KindInfo, Snapshot, SnapshotError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectClass {
    Declared,
    Baseline,
    /// It left Git and was not pruned.
    Retained,
    /// Its chain of controllers, or of an operator's owners, ends in a governed object, or in a node.
    Child {
        owner: ObjectId,
    },
    /// It follows by kind and name from another object, without naming it as its controller.
    Generated {
        by: ObjectId,
    },
    /// It follows from another object, and was made something else than what follows.
    Altered {
        by: ObjectId,
    },
    /// The API server makes it for itself: built-in API services, flow control, the system's namespaces.
    Bootstrap,
    /// Nodes, Leases, Events and the like: no state that anybody declares.
    Machinery,
    /// A record of gitadel itself.
    Own,
    /// A volume or a claim that Kubernetes keeps on purpose after its owner went. Nobody can tell it from one that somebody
    /// slipped in, so it is reported and never removed.
    Remnant,
    Undeclared,
    OutOfScope,
}

impl ObjectClass {
    /// Whether the object goes into the baseline when enforcement begins. A remnant does not: who provisioned a volume
    /// must be able to delete it.
    pub fn is_recordable(&self) -> bool {
        matches!(self, Self::Undeclared | Self::Bootstrap | Self::Altered { .. })
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
    let id = identify(kind, object);
    if let Some(entry) = snapshot.get(id)? {
        return Ok(match entry.class() {
            EntryClass::Declared => ObjectClass::Declared,
            EntryClass::Baseline => ObjectClass::Baseline,
            EntryClass::Retained => ObjectClass::Retained,
        });
    }
    classify_unlisted(snapshot, id, object)
}

/// Classifies an object by what it is to others, whatever the snapshot says of itself.
///
/// # Errors
/// The snapshot's entry for one of its owners is damaged.
pub fn classify_by_relation(
    snapshot: &Snapshot,
    kind: &KindInfo,
    object: Node<'_>,
) -> Result<ObjectClass, SnapshotError> {
    classify_unlisted(snapshot, identify(kind, object), object)
}

fn identify<'a>(kind: &'a KindInfo, object: Node<'a>) -> ObjectRef<'a> {
    let text = |key| object.at(&["metadata", key]).and_then(Node::as_str).unwrap_or_default();
    let namespace = if kind.namespaced { text("namespace") } else { "" };
    ObjectRef { group: &kind.group, kind: &kind.kind, namespace, name: text("name") }
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
    if let Some(owner) = ownership::owner(snapshot, id, object)? {
        return Ok(ObjectClass::Child { owner });
    }
    if let Some(by) = generated::generated_by(snapshot, id, object)? {
        let altered = computed::is_altered(snapshot, id, object);
        return Ok(if altered { ObjectClass::Altered { by } } else { ObjectClass::Generated { by } });
    }
    Ok(if generated::is_remnant(id, object) { ObjectClass::Remnant } else { ObjectClass::Undeclared })
}

/// Kinds that hold no state anybody declares. A Node is made by its kubelet and kept by controllers; a request for a
/// certificate is gone when it is answered.
pub fn is_machinery(group: &str, kind: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::testing::{World, config_map, deployment, owned, pod, replica_set, with, without};

    fn object(api_version: &str, kind: &str, namespace: &str, name: &str) -> Value {
        let namespace = if namespace.is_empty() { Value::Null } else { json!(namespace) };
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}})
    }

    #[test]
    fn entries_are_what_the_snapshot_says() {
        for (entry, expected) in [
            (EntryClass::Declared, ObjectClass::Declared),
            (EntryClass::Baseline, ObjectClass::Baseline),
            (EntryClass::Retained, ObjectClass::Retained),
        ] {
            assert_eq!(World::new().entry(&deployment(), |draft| draft.class = entry).class(&deployment()), expected);
        }
    }

    #[test]
    fn children_by_their_chain_of_owners() {
        let world =
            World::new().source(|source| source.scope.excluded_namespaces = Some(Vec::new())).declare(&deployment());
        let owner = ObjectId::new("apps", "Deployment", "shop", "web");
        let claim = owned(
            &object("v1", "PersistentVolumeClaim", "shop", "web-5d4f8c-x7k2p-scratch"),
            ("v1", "Pod", "web-5d4f8c-x7k2p"),
        );
        let of_node = owned(&object("v1", "Pod", "shop", "static-n1"), ("v1", "Node", "n1"));
        let on_node = |pod: &Value, node: &str| with(pod, "/spec/nodeName", json!(node));
        let annotated = with(&of_node, "/metadata/annotations", json!({"kubernetes.io/config.mirror": "digest"}));
        let mirror = on_node(&annotated, "n1");
        let of_the_system = |pod: &Value| with(pod, "/metadata/namespace", json!("kube-system"));
        let binding = object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", "evil");
        let role =
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "view"}});
        let world = world.declare(&role);
        for (child, expected) in [
            (replica_set(), ObjectClass::Child { owner: owner.clone() }),
            (pod(), ObjectClass::Child { owner: owner.clone() }),
            (claim, ObjectClass::Child { owner }),
            (of_the_system(&mirror), ObjectClass::Child { owner: ObjectId::new("", "Node", "", "n1") }),
            (mirror, ObjectClass::Undeclared),
            (of_the_system(&on_node(&annotated, "n2")), ObjectClass::Undeclared),
            (of_the_system(&on_node(&of_node, "n1")), ObjectClass::Undeclared),
            // A reference to a declared object makes nobody its child.
            (owned(&binding, ("rbac.authorization.k8s.io/v1", "ClusterRole", "view")), ObjectClass::Undeclared),
            (owned(&pod(), ("apps/v1", "Deployment", "web")), ObjectClass::Undeclared),
            (owned(&config_map("x"), ("apps/v1", "Deployment", "web")), ObjectClass::Undeclared),
            (owned(&replica_set(), ("example.com/v1", "Deployment", "web")), ObjectClass::Undeclared),
            (without(&pod(), "/metadata/ownerReferences"), ObjectClass::Undeclared),
            (owned(&pod(), ("apps/v1", "ReplicaSet", "other-5d4f8c")), ObjectClass::Undeclared),
            (with(&pod(), "/metadata/ownerReferences/0/controller", json!(false)), ObjectClass::Undeclared),
        ] {
            assert_eq!(world.class(&child), expected, "{child}");
        }
    }

    #[test]
    fn what_kubernetes_keeps_is_never_undeclared() {
        let rbac = "rbac.authorization.k8s.io/v1";
        let bootstrap = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
        let role = with(&object(rbac, "ClusterRole", "", "system:discovery"), "/metadata/labels", bootstrap.clone());
        let binding = with(&object(rbac, "ClusterRoleBinding", "", "cluster-admin"), "/metadata/labels", bootstrap);
        let masters = with(&binding, "/subjects", json!([{"kind": "Group", "name": "system:masters"}]));
        let volume = object("v1", "PersistentVolume", "", "pvc-1");
        let provisioned = with(&volume, "/metadata/annotations", json!({"pv.kubernetes.io/provisioned-by": "csi"}));
        let claim = object("v1", "PersistentVolumeClaim", "shop", "data-gone-0");
        let bound = with(&claim, "/spec", json!({"volumeName": "pvc-1"}));
        let world = World::new();
        for (object, expected) in [
            (object("v1", "Namespace", "", "default"), ObjectClass::Bootstrap),
            (object("v1", "Service", "default", "kubernetes"), ObjectClass::Bootstrap),
            // A label gives nobody authority: what the API server made itself is in the baseline.
            (role, ObjectClass::Undeclared),
            (masters, ObjectClass::Undeclared),
            (object("v1", "Node", "", "n1"), ObjectClass::Machinery),
            (object("coordination.k8s.io/v1", "Lease", "shop", "x"), ObjectClass::Machinery),
            (
                object("v1", "Endpoints", "default", "kubernetes"),
                ObjectClass::Generated { by: ObjectId::new("", "Service", "default", "kubernetes") },
            ),
            (
                object("v1", "ServiceAccount", "shop", "default"),
                ObjectClass::Generated { by: ObjectId::new("", "Namespace", "", "shop") },
            ),
            (provisioned, ObjectClass::Remnant),
            (bound, ObjectClass::Remnant),
            (claim, ObjectClass::Undeclared),
            (volume, ObjectClass::Undeclared),
            (object("v1", "Endpoints", "shop", "of-nothing"), ObjectClass::Undeclared),
            (config_map("x"), ObjectClass::Undeclared),
            (object("v1", "ConfigMap", "kube-system", "x"), ObjectClass::OutOfScope),
            (object("v1", "ConfigMap", "gitadel-system", "gitadel-inventory-all-0"), ObjectClass::Own),
        ] {
            assert_eq!(world.class(&object), expected, "{object}");
        }
    }

    #[test]
    fn a_volume_of_a_governed_claim_follows_from_it() {
        let set = with(
            &object("apps/v1", "StatefulSet", "shop", "db"),
            "/spec",
            json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}),
        );
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "pvc-1", "annotations": {"pv.kubernetes.io/provisioned-by": "csi"}},
            "spec": {"claimRef": {"namespace": "shop", "name": "data-db-0"}}});
        let by = ObjectId::new("", "PersistentVolumeClaim", "shop", "data-db-0");
        assert_eq!(World::new().declare(&set).class(&volume), ObjectClass::Generated { by });
    }
}
