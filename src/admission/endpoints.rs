//! Addresses behind a Service that Kubernetes' own controllers keep.
//!
//! They are kept only where the controller looks at them again: others stay as somebody wrote them, and traffic goes there.
//! The controllers pass over a Service without a selector, and slices on which they do not find their own mark. What they
//! keep always points at Pods of the namespace.

use crate::document::Node;
use crate::object::ObjectRef;
use crate::snapshot::{Snapshot, SnapshotError};

use super::ownership::Controller;

pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub const OF_SERVICES: &str = "endpointslice-controller.k8s.io";
const OF_ENDPOINTS: &str = "endpointslicemirroring-controller.k8s.io";

/// Whether the controllers look for the Pods of a Service: it has a selector. Nothing where it is not governed.
///
/// # Errors
/// The snapshot's entry for the Service is damaged.
pub fn has_selector(snapshot: &Snapshot, namespace: &str, name: &str) -> Result<Option<bool>, SnapshotError> {
    let Some(service) = snapshot.get(ObjectRef { group: "", kind: "Service", namespace, name })? else {
        return Ok(None);
    };
    // One that is not canonicalised yet may have one.
    let selects = service.canonical().is_none_or(|service| {
        let selector = service.at(&["spec", "selector"]).and_then(Node::map);
        let is_elsewhere = service.at(&["spec", "type"]).and_then(Node::as_str) == Some("ExternalName");
        selector.is_some_and(|selector| !selector.is_empty()) && !is_elsewhere
    });
    Ok(Some(selects))
}

/// Whether Endpoints could be the endpoint-controller's.
pub fn are_of_pods(endpoints: Node<'_>, namespace: &str) -> bool {
    let subsets = items(endpoints.get("subsets"));
    let mut addresses = subsets.flat_map(|subset| {
        ["addresses", "notReadyAddresses"].into_iter().flat_map(move |field| items(subset.get(field)))
    });
    addresses.all(|address| is_of_pod(address, namespace))
}

/// Whether a slice is one that its controller keeps for the owner that it names: a Service, or the Endpoints of a Service
/// without a selector.
///
/// # Errors
/// The snapshot's entry for the Service is damaged.
pub fn is_kept_slice(
    snapshot: &Snapshot,
    namespace: &str,
    slice: Node<'_>,
    owner: Controller<'_>,
) -> Result<bool, SnapshotError> {
    let label = |key| slice.at(&["metadata", "labels", key]).and_then(Node::as_str);
    let selects = has_selector(snapshot, namespace, owner.name)?;
    let (mark, fits) = if owner.kind == "Service" {
        let of_pods = items(slice.get("endpoints")).all(|endpoint| is_of_pod(endpoint, namespace));
        (OF_SERVICES, of_pods && selects != Some(false))
    } else {
        (OF_ENDPOINTS, selects != Some(true))
    };
    Ok(fits && label(MANAGED_BY) == Some(mark) && label(SERVICE_LABEL) == Some(owner.name))
}

/// Whether an address is said to be of a Pod of the namespace.
pub fn is_of_pod(address: Node<'_>, namespace: &str) -> bool {
    let text = |key| address.at(&["targetRef", key]).and_then(Node::as_str);
    text("kind") == Some("Pod") && text("namespace") == Some(namespace)
}

/// The items of a list; none where it is null or absent.
pub fn items(list: Option<Node<'_>>) -> impl Iterator<Item = Node<'_>> {
    list.and_then(Node::list).into_iter().flat_map(|list| list.iter())
}
