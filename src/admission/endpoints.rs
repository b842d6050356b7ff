//! Addresses behind a Service that Kubernetes' own controllers keep.
//!
//! They are kept only where the controller looks at them again: others stay as somebody wrote them, and traffic goes there.
//! The controllers pass over a Service without a selector, and slices on which they do not find their own mark. What they
//! keep always points at Pods of the namespace.

use serde_json::Value;

use crate::document::Node;
use crate::object::ObjectRef;
use crate::snapshot::{Misdirected, Snapshot, SnapshotError};

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

/// A slice without the endpoints that were seen to lead to no Pod of its Service; nothing where it has none of those.
pub fn redirected(snapshot: &Snapshot, id: ObjectRef<'_>, slice: Node<'_>) -> Option<Value> {
    let is_this = |known: &&Misdirected| known.slice.as_ref() == id;
    let Misdirected { to, .. } = snapshot.meta().misdirected.iter().find(is_this)?;
    let leads_astray = |endpoint: Node<'_>| {
        items(endpoint.get("addresses")).any(|address| address.as_str().is_some_and(|address| to.contains(address)))
    };
    let endpoints = || items(slice.get("endpoints"));
    if !endpoints().any(leads_astray) {
        return None;
    }
    let kept: Vec<Value> = endpoints().filter(|endpoint| !leads_astray(*endpoint)).map(|e| e.to_value()).collect();
    let mut redirected = slice.to_value();
    redirected["endpoints"] = kept.into();
    Some(redirected)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, owned, with};
    use crate::object::ObjectId;

    fn service() -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {}})
    }

    #[test]
    fn slices_are_their_controllers_or_nobodys() {
        let slice = |edit: fn(&mut Value)| {
            let mut slice = owned(
                &json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                    "metadata": {"name": "web-x", "namespace": "shop", "labels": {
                        "kubernetes.io/service-name": "web",
                        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
                    "endpoints": [{"addresses": ["10.0.0.1"],
                        "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-x"}}]}),
                ("v1", "Service", "web"),
            );
            edit(&mut slice);
            slice
        };
        let kept = slice(|_| {});
        let marked = slice(|s| s["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = json!("me"));
        let of_no_pod = slice(|s| s["endpoints"] = json!([{"addresses": ["6.6.6.6"]}]));
        let named = slice(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] = json!("bank"));
        let empty = slice(|s| s["endpoints"] = Value::Null);
        let mirror = slice(|s| {
            s["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] =
                json!("endpointslicemirroring-controller.k8s.io");
            s["metadata"]["ownerReferences"][0]["kind"] = json!("Endpoints");
            s["endpoints"] = json!([{"addresses": ["192.0.2.1"]}]);
        });
        let by = |review: Review| review.by(&controller("endpointslice-controller"));
        let mirrored = || Review::create(&mirror).by(&controller("endpointslicemirroring-controller"));
        let selecting = with(&service(), "/spec/selector", json!({"app": "web"}));
        World::new().declare(&selecting).expect(&[
            ("made", by(Review::create(&kept)), Allow, "child"),
            ("emptied", by(Review::update(&kept, &empty)), Allow, "child"),
            ("deleted by a person", Review::delete(&kept), Deny, "child"),
            ("taken from its controller", by(Review::update(&kept, &marked)), Deny, "child"),
            ("another's", by(Review::create(&marked)), Deny, "undeclared"),
            ("another's may go", Review::delete(&marked), Allow, "undeclared"),
            ("led elsewhere", by(Review::update(&kept, &of_no_pod)), Deny, "child"),
            ("what leads elsewhere may be mended", by(Review::update(&of_no_pod, &kept)), Allow, "child"),
            ("of no Pod", by(Review::create(&of_no_pod)), Deny, "undeclared"),
            ("of another Service", by(Review::create(&named)), Deny, "undeclared"),
            ("a mirror of what selects Pods", mirrored(), Deny, "undeclared"),
        ]);
        World::new().declare(&service()).expect(&[
            ("of a Service without a selector", by(Review::create(&kept)), Deny, "undeclared"),
            ("a mirror of its Endpoints", mirrored(), Allow, "child"),
        ]);
    }

    #[test]
    fn what_was_seen_to_lead_astray_may_be_taken_out_of_a_slice() {
        let slice = |addresses: &[&str]| {
            let target = json!({"kind": "Pod", "namespace": "shop", "name": "web-x"});
            let endpoints = addresses.iter().map(|address| json!({"addresses": [address], "targetRef": target}));
            let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": "web-x", "namespace": "shop", "labels": {
                    "kubernetes.io/service-name": "web",
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
                "endpoints": endpoints.collect::<Vec<_>>()});
            owned(&slice, ("v1", "Service", "web"))
        };
        let led = |to: &[&str]| Review::update(&slice(&["10.0.0.1", "6.6.6.6", "10.0.0.2"]), &slice(to));
        let labelled = with(&slice(&["10.0.0.1", "10.0.0.2"]), "/metadata/labels/a", json!("b"));
        let selecting = with(&service(), "/spec/selector", json!({"app": "web"}));
        let astray = Misdirected {
            slice: ObjectId::new("discovery.k8s.io", "EndpointSlice", "shop", "web-x"),
            service: "web".into(),
            to: ["6.6.6.6".to_owned()].into(),
        };
        World::new().declare(&selecting).expect(&[("unseen", led(&["10.0.0.1", "10.0.0.2"]), Deny, "child")]);
        World::new().declare(&selecting).meta(|meta| meta.misdirected = vec![astray]).expect(&[
            ("taken out", led(&["10.0.0.1", "10.0.0.2"]), Allow, "child"),
            ("with another", led(&["10.0.0.1"]), Deny, "child"),
            ("for another", led(&["10.0.0.1", "10.0.0.2", "6.6.6.7"]), Deny, "child"),
            ("another alone", led(&["10.0.0.1", "6.6.6.6"]), Deny, "child"),
            ("and a label", Review::update(&slice(&["10.0.0.1", "6.6.6.6", "10.0.0.2"]), &labelled), Deny, "child"),
            ("the slice", Review::delete(&slice(&["6.6.6.6"])), Deny, "child"),
        ]);
    }
}
