//! To whom an object belongs: its chain of controllers, followed by names and the snapshot alone.
//!
//! The objects between a Pod and its Deployment are not in the snapshot, and a Pod may be judged milliseconds after
//! another replica judged its ReplicaSet. But their names say where they come from: `web-5d4f8c7b9` is a ReplicaSet of
//! `web`, `backup-29384720` a Job of `backup`.
//!
//! Kubernetes' own components always say which owner is the controller. Operators often do not, so of what an Enforcement
//! leaves to one any owner counts that it names.

use super::{builtin, delegation, endpoints};
use crate::document::Node;
use crate::object::{ObjectId, ObjectRef};
use crate::snapshot::{Snapshot, SnapshotError};

/// Set by the kubelet; the API server refuses to change it.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Where static Pods belong. A Pod that a node makes elsewhere would have whatever labels a Service or a NetworkPolicy there
/// selects, and no template says which.
const STATIC_PODS: &str = "kube-system";

/// The owner that an object names as its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controller<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
}

impl<'a> Controller<'a> {
    pub fn of(object: Node<'a>) -> Option<Self> {
        let is_controller = |r: &Node<'a>| r.get("controller").and_then(Node::as_bool) == Some(true);
        Self::named(references(object).find(is_controller)?)
    }

    fn named(reference: Node<'a>) -> Option<Self> {
        let text = |key| reference.get(key).and_then(Node::as_str);
        let api_version = text("apiVersion")?;
        Some(Self {
            group: api_version.rsplit_once('/').map_or("", |(group, _)| group),
            kind: text("kind")?,
            name: text("name")?,
            uid: text("uid").unwrap_or_default(),
        })
    }
}

/// The owner references of an object.
pub fn references(object: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    object.at(&["metadata", "ownerReferences"]).and_then(Node::list).into_iter().flat_map(|list| list.iter())
}

/// The governed object (or the node) to which an object belongs by the owners that it names.
///
/// # Errors
/// An entry of the snapshot is damaged.
pub fn owner(snapshot: &Snapshot, id: ObjectRef<'_>, object: Node<'_>) -> Result<Option<ObjectId>, SnapshotError> {
    if let Some(controller) = Controller::of(object) {
        let plausible = is_plausible(snapshot, id, object, controller)?;
        return if plausible { root(snapshot, id.namespace, controller) } else { Ok(None) };
    }
    let mut owners = references(object).filter_map(Controller::named).peekable();
    if owners.peek().is_none() || !delegation::is_left_to_somebody(snapshot, id, object) {
        return Ok(None);
    }
    // Nodes come and go undeclared: what they own is nobody's whom Git knows.
    for owner in owners.filter(|owner| (owner.group, owner.kind) != ("", "Node")) {
        if let Some(root) = root(snapshot, id.namespace, owner)? {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

/// Whether the object may have this controller: Kubernetes' own components make such objects for such owners, or an
/// Enforcement leaves such an object to an operator.
///
/// # Errors
/// An entry of the snapshot is damaged.
fn is_plausible(
    snapshot: &Snapshot,
    id: ObjectRef<'_>,
    object: Node<'_>,
    controller: Controller<'_>,
) -> Result<bool, SnapshotError> {
    let Controller { group, kind, .. } = controller;
    if (group, kind) == ("", "Node") && !(id.namespace == STATIC_PODS && is_mirror(object, controller.name)) {
        return Ok(false);
    }
    let is_kept = builtin::may_own((group, kind), (id.group, id.kind))
        && ((id.group, id.kind) != ("discovery.k8s.io", "EndpointSlice")
            || endpoints::is_kept_slice(snapshot, id.namespace, object, controller)?);
    Ok(is_kept || delegation::is_left_to_somebody(snapshot, id, object))
}

/// Whether a Pod shows what already runs on a node: nothing is started because of it.
fn is_mirror(pod: Node<'_>, node: &str) -> bool {
    pod.at(&["metadata", "annotations", MIRROR]).is_some()
        && pod.at(&["spec", "nodeName"]).and_then(Node::as_str) == Some(node)
}

/// The governed object to which another belongs by their names alone: a Scale or a Binding shows no owner.
///
/// # Errors
/// The snapshot's entry for an owner is damaged.
pub fn root_by_name(snapshot: &Snapshot, id: ObjectRef<'_>) -> Result<Option<ObjectId>, SnapshotError> {
    root(snapshot, id.namespace, Controller { group: id.group, kind: id.kind, name: id.name, uid: "" })
}

/// The governed object (or the node) at the end of a chain of controllers.
///
/// # Errors
/// The snapshot's entry for an owner is damaged.
pub fn root(
    snapshot: &Snapshot,
    namespace: &str,
    controller: Controller<'_>,
) -> Result<Option<ObjectId>, SnapshotError> {
    let Controller { group, kind, name, uid } = controller;
    if (group, kind) == ("", "Node") {
        return Ok(Some(ObjectId::new(group, kind, "", name)));
    }
    let namespace = match snapshot.kind(group, kind) {
        Some(info) if !info.namespaced => "",
        _ => namespace,
    };
    if let Some(entry) = snapshot.get(ObjectRef { group, kind, namespace, name })? {
        let same = entry.uid().is_none_or(|known| uid.is_empty() || known == uid);
        return Ok(same.then(|| ObjectId::new(group, kind, namespace, name)));
    }
    for parent in parents(controller) {
        if let Some(root) = root(snapshot, namespace, parent)? {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

/// What the name of an object says of its own controller. Each step takes a part off the name, so a chain ends.
fn parents(child: Controller<'_>) -> Vec<Controller<'_>> {
    let owner = |group, kind, name| Controller { group, kind, name, uid: "" };
    let Some((stem, ending)) = child.name.rsplit_once('-') else { return same_name(child) };
    match (child.group, child.kind) {
        ("apps", "ReplicaSet") => vec![owner("apps", "Deployment", stem)],
        ("batch", "Job") if ending.bytes().all(|b| b.is_ascii_digit()) => vec![owner("batch", "CronJob", stem)],
        ("", "Pod") => vec![
            owner("apps", "ReplicaSet", stem),
            owner("apps", "StatefulSet", stem),
            owner("apps", "DaemonSet", stem),
            owner("batch", "Job", stem),
            owner("", "ReplicationController", stem),
        ],
        _ => same_name(child),
    }
}

fn same_name(child: Controller<'_>) -> Vec<Controller<'_>> {
    match (child.group, child.kind) {
        ("", "Endpoints") => vec![Controller { kind: "Service", uid: "", ..child }],
        _ => Vec::new(),
    }
}
