//! Objects that follow from others, or from the cluster itself, without naming them as their controller.
//!
//! By kind, name and content only.

use super::builtin::{CONTROLLERS, is_bootstrap_policy, is_flow_control};
use super::children::{self, recycler};
use super::{computed, delegation, endpoints};
use crate::document::Node;
use crate::object::{GroupKind, ObjectId, ObjectRef};
use crate::snapshot::{Entry, Snapshot, SnapshotError};

const AUTOMANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// The object from which this one follows.
pub(super) fn generated_by(
    snapshot: &Snapshot,
    id: ObjectRef<'_>,
    object: Node<'_>,
) -> Result<Option<ObjectId>, SnapshotError> {
    let listed = |group: &'static str, kind: &'static str, namespace: &str, name: &str| {
        let found = snapshot.get(ObjectRef { group, kind, namespace, name })?;
        Ok::<_, SnapshotError>(found.map(|_| ObjectId::new(group, kind, namespace, name)))
    };
    match (id.group, id.kind) {
        ("", "Endpoints") | ("discovery.k8s.io", "EndpointSlice") if is_api_server(id) => {
            Ok(Some(ObjectId::new("", "Service", id.namespace, id.name)))
        }
        ("", "Endpoints") => {
            let of_pods = endpoints::has_selector(snapshot, id.namespace, id.name)? == Some(true)
                && endpoints::are_of_pods(object, id.namespace);
            let follows = of_pods || delegation::is_left_to_somebody(snapshot, id, object);
            if follows { listed("", "Service", id.namespace, id.name) } else { Ok(None) }
        }
        ("", "ServiceAccount") if id.name == "default" => Ok(Some(ObjectId::new("", "Namespace", "", id.namespace))),
        ("", "ConfigMap") if id.name == "kube-root-ca.crt" => {
            Ok(Some(ObjectId::new("", "Namespace", "", id.namespace)))
        }
        ("", "PersistentVolumeClaim") => claim_of_stateful_set(snapshot, id),
        ("", "PersistentVolume") => volume_of_claim(snapshot, object),
        ("", "Pod") => {
            let Some(name) = recycler::volume_of(id) else { return Ok(None) };
            let volume = snapshot.get(ObjectRef { group: "", kind: "PersistentVolume", namespace: "", name })?;
            let canonical = volume.as_ref().and_then(|volume| volume.canonical());
            let follows = canonical.is_some_and(|volume| recycler::empties(snapshot, id, object, volume));
            Ok(follows.then(|| ObjectId::new("", "PersistentVolume", "", name)))
        }
        ("networking.k8s.io", "IPAddress") => Ok(parent_of_address(object)),
        // Served by the API server itself, from a CRD: it refers to nothing that could answer in its place.
        ("apiregistration.k8s.io", "APIService") if label(object, AUTOMANAGED) == Some("true") && is_local(object) => {
            let group = object.at(&["spec", "group"]).and_then(Node::as_str).unwrap_or_default();
            Ok(Some(ObjectId::new("apiextensions.k8s.io", "CustomResourceDefinition", "", group)))
        }
        ("certificates.k8s.io", "ClusterTrustBundle") => {
            let follows = computed::is_trust_bundle(snapshot, id, object);
            Ok(follows.then(|| ObjectId::new("", "ConfigMap", "kube-system", "kube-root-ca.crt")))
        }
        ("storage.k8s.io", "VolumeAttachment") => {
            let node = object.at(&["spec", "nodeName"]).and_then(Node::as_str);
            Ok(node.map(|node| ObjectId::new("", "Node", "", node)))
        }
        _ => Ok(None),
    }
}

/// The kinds of which objects follow from one of this kind, and stay when it goes.
pub fn followers(kind: &GroupKind) -> impl Iterator<Item = GroupKind> + use<> {
    let followers: &[(&str, &str)] = match (kind.group.as_str(), kind.kind.as_str()) {
        ("apps", "StatefulSet") => &[("", "PersistentVolumeClaim")],
        ("", "PersistentVolumeClaim") => &[("", "PersistentVolume")],
        ("", "Service") => &[("", "Endpoints"), ("discovery.k8s.io", "EndpointSlice")],
        _ => &[],
    };
    followers.iter().map(|(group, kind)| GroupKind::new(*group, *kind))
}

/// Whether the API server makes this object for itself when it starts. Roles and their bindings are not told by their
/// names and labels, since they carry authority, but by all that is in them.
pub(super) fn is_bootstrap(id: ObjectRef<'_>, object: Node<'_>) -> bool {
    match (id.group, id.kind) {
        ("", "Namespace") => matches!(id.name, "default" | "kube-system" | "kube-public" | "kube-node-lease"),
        ("", "Service") => is_api_server(id),
        ("", "ConfigMap") => matches!(
            (id.namespace, id.name),
            (
                "kube-system",
                "extension-apiserver-authentication" | "kube-apiserver-legacy-service-account-token-tracking"
            ) | ("kube-public", "cluster-info")
        ),
        ("", "ServiceAccount") => id.namespace == "kube-system" && CONTROLLERS.contains(&id.name),
        ("scheduling.k8s.io", "PriorityClass") => id.name.starts_with("system-"),
        ("networking.k8s.io", "ServiceCIDR") => id.name == "kubernetes",
        ("apiregistration.k8s.io", "APIService") => label(object, AUTOMANAGED) == Some("onstart") && is_local(object),
        _ => is_bootstrap_policy(id, object) || is_flow_control(id, object),
    }
}

/// Claims and volumes that outlive their owner on purpose: with them goes the data.
pub(super) fn is_remnant(id: ObjectRef<'_>, object: Node<'_>) -> bool {
    match (id.group, id.kind) {
        ("", "PersistentVolumeClaim") => object.at(&["spec", "volumeName"]).is_some(),
        ("", "PersistentVolume") => annotation(object, PROVISIONED_BY).is_some(),
        _ => false,
    }
}

/// `default/kubernetes`: where the API server publishes its own address.
fn is_api_server(id: ObjectRef<'_>) -> bool {
    (id.namespace, id.name) == ("default", "kubernetes")
}

fn is_local(api_service: Node<'_>) -> bool {
    api_service.at(&["spec", "service"]).is_none_or(Node::is_null)
}

fn claim_of_stateful_set(snapshot: &Snapshot, id: ObjectRef<'_>) -> Result<Option<ObjectId>, SnapshotError> {
    Ok(set_of_claim(snapshot, id)?.map(|claim| claim.set.id().to_owned()))
}

/// Whether a claim is one of a StatefulSet's replica that Git does not ask for: only people know whether what is in it is
/// still of use.
pub(super) fn is_outgrown(snapshot: &Snapshot, id: ObjectRef<'_>) -> Result<bool, SnapshotError> {
    let Some(ClaimOfSet { set, ordinal, .. }) = set_of_claim(snapshot, id)? else { return Ok(false) };
    let Some(canonical) = set.canonical() else { return Ok(false) };
    let source = set.source().and_then(|index| snapshot.meta().sources.get(index));
    Ok(!children::ordinals(&canonical.to_value(), source).contains(&ordinal))
}

/// A claim for a replica of a StatefulSet, told by its name.
pub(super) struct ClaimOfSet<'a, 'b> {
    pub set: Entry<'a>,
    pub template: &'b str,
    pub ordinal: i64,
}

/// `<template>-<set>-<ordinal>`, where both template and set may hold dashes.
pub(super) fn set_of_claim<'a, 'b>(
    snapshot: &'a Snapshot,
    id: ObjectRef<'b>,
) -> Result<Option<ClaimOfSet<'a, 'b>>, SnapshotError> {
    if (id.group, id.kind) != ("", "PersistentVolumeClaim") {
        return Ok(None);
    }
    let Some((stem, ordinal)) = id.name.rsplit_once('-') else { return Ok(None) };
    let Some(ordinal) = ordinal.bytes().all(|b| b.is_ascii_digit()).then(|| ordinal.parse().ok()).flatten() else {
        return Ok(None);
    };
    for (dash, _) in stem.match_indices('-') {
        let (template, set) = (&stem[..dash], &stem[dash + 1..]);
        let candidate = ObjectRef { group: "apps", kind: "StatefulSet", namespace: id.namespace, name: set };
        let Some(entry) = snapshot.get(candidate)? else { continue };
        // A set that is not canonicalised yet may have any template: better to keep a claim than to lose its data.
        let claims = entry.canonical().map(|set| set.at(&["spec", "volumeClaimTemplates"]).and_then(Node::list));
        let named = |claim: Node<'_>| claim.at(&["metadata", "name"]).and_then(Node::as_str) == Some(template);
        if claims.is_none_or(|claims| claims.is_some_and(|claims| claims.iter().any(named))) {
            return Ok(Some(ClaimOfSet { set: entry, template, ordinal }));
        }
    }
    Ok(None)
}

/// The claim for which a volume was provisioned, where that is governed itself.
fn volume_of_claim(snapshot: &Snapshot, volume: Node<'_>) -> Result<Option<ObjectId>, SnapshotError> {
    if annotation(volume, PROVISIONED_BY).is_none() {
        return Ok(None);
    }
    let text = |key| volume.at(&["spec", "claimRef", key]).and_then(Node::as_str).unwrap_or_default();
    let claim =
        ObjectRef { group: "", kind: "PersistentVolumeClaim", namespace: text("namespace"), name: text("name") };
    if snapshot.get(claim)?.is_some() || claim_of_stateful_set(snapshot, claim)?.is_some() {
        return Ok(Some(claim.to_owned()));
    }
    Ok(None)
}

/// Whether a volume could be one that Kubernetes itself provisions. It does that for trials on a single node only; where a
/// volume is more than an empty directory, its provisioner is somebody else, and needs a delegation.
pub(super) fn is_provisioned_in_tree(volume: Node<'_>) -> bool {
    const DIRECTORY: &str = "/tmp/hostpath_pv/";
    let path = volume.at(&["spec", "hostPath", "path"]).and_then(Node::as_str);
    let name = path.and_then(|path| path.strip_prefix(DIRECTORY));
    annotation(volume, PROVISIONED_BY) == Some("kubernetes.io/host-path")
        && name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
}

/// The Service to which an address was given. The address comes before the Service is judged, so it need not be there.
fn parent_of_address(address: Node<'_>) -> Option<ObjectId> {
    let text = |key| address.at(&["spec", "parentRef", key]).and_then(Node::as_str).unwrap_or_default();
    (text("resource") == "services").then(|| ObjectId::new("", "Service", text("namespace"), text("name")))
}

fn label<'a>(object: Node<'a>, key: &str) -> Option<&'a str> {
    object.at(&["metadata", "labels", key]).and_then(Node::as_str)
}

fn annotation<'a>(object: Node<'a>, key: &str) -> Option<&'a str> {
    object.at(&["metadata", "annotations", key]).and_then(Node::as_str)
}
