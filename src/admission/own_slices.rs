//! The addresses of gitadel's own Pods, in the slices of the Service by which the API server finds them.
//!
//! They must get there while no gitadel is there to ask, so the webhook configuration keeps these writes out by what they
//! look like, whoever makes them. Then nobody needs to be anybody to make them while gitadel is there, either: this says in
//! which form. It is the form in which endpointslice-controller writes them: of that Service, with Pods of gitadel's
//! namespace for endpoints. Labels, owner, and ports that are there stay.

use super::context::Context;
use super::coverage::SERVICE_NAME;
use super::endpoints::{MANAGED_BY, OF_SERVICES, SERVICE_LABEL, is_of_pod, items};
use super::request::Operation;
use crate::api::SYSTEM_NAMESPACE;
use crate::compare::{FreeField, PathPattern, PatternSegment};
use crate::document::Node;

const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Whether the write keeps a slice of gitadel's Service, as its controller does.
pub fn is_upkeep(context: &Context<'_>) -> bool {
    let request = context.request;
    let is_slice =
        (request.group, request.resource, request.subresource) == ("discovery.k8s.io", "endpointslices", None);
    let Some(new) = request.object.filter(|_| is_slice && context.id.namespace == SYSTEM_NAMESPACE) else {
        return false;
    };
    if !leads_to_own_pods(new) {
        return false;
    }
    match request.operation {
        Operation::Create => is_made_by_controller(new),
        Operation::Update => context.states().is_some_and(|(old, new)| keeps_the_rest(context, old, new)),
        Operation::Delete | Operation::Connect => false,
    }
}

fn leads_to_own_pods(slice: Node<'_>) -> bool {
    let label = |key| slice.at(&["metadata", "labels", key]).and_then(Node::as_str);
    let has_name_of_its_own =
        |endpoint: Node<'_>| endpoint.get("hostname").and_then(Node::as_str).is_some_and(|name| !name.is_empty());
    label(SERVICE_LABEL) == Some(SERVICE_NAME)
        && label(MANAGED_BY) == Some(OF_SERVICES)
        && items(slice.get("endpoints"))
            .all(|endpoint| is_of_pod(endpoint, SYSTEM_NAMESPACE) && !has_name_of_its_own(endpoint))
}

fn is_made_by_controller(slice: Node<'_>) -> bool {
    let metadata = |field| slice.at(&["metadata", field]);
    let of_service = |name: &str| name.strip_prefix(SERVICE_NAME).is_some_and(|rest| rest.starts_with('-'));
    let is_service = |owner: Node<'_>| {
        let text = |key| owner.get(key).and_then(Node::as_str);
        (text("apiVersion"), text("kind"), text("name")) == (Some("v1"), Some("Service"), Some(SERVICE_NAME))
            && owner.get("controller").and_then(Node::as_bool) == Some(true)
    };
    metadata("name").and_then(Node::as_str).is_some_and(of_service)
        && metadata("annotations").and_then(Node::map).is_none_or(|all| all.iter().all(|(key, _)| key == TRIGGER))
        && items(metadata("finalizers")).next().is_none()
        && items(metadata("ownerReferences")).count() == 1
        && items(metadata("ownerReferences")).all(is_service)
}

fn keeps_the_rest(context: &Context<'_>, old: Node<'_>, new: Node<'_>) -> bool {
    let free = [&["endpoints"][..], &["ports"], &["metadata", "annotations", TRIGGER]].map(|path| {
        let segments = path.iter().map(|name| PatternSegment::Field((*name).to_owned()));
        FreeField { pattern: PathPattern(segments.collect()), bounds: None }
    });
    // A slice without endpoints has no ports.
    let [before, after] =
        [old, new].map(|slice| items(slice.get("ports")).map(|port| port.to_string()).collect::<Vec<_>>());
    let keeps_ports = before.is_empty() || after.is_empty() || before == after;
    keeps_ports && context.changes(old, new, &free).is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, with, without};

    fn slice() -> Value {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "gitadel-x", "namespace": "gitadel-system",
                "labels": {"kubernetes.io/service-name": "gitadel",
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "gitadel", "uid": "u",
                    "controller": true}]},
            "endpoints": [{"addresses": ["10.0.0.1"],
                "targetRef": {"kind": "Pod", "namespace": "gitadel-system", "name": "gitadel-x"}}],
            "ports": [{"name": "https", "port": 9443, "protocol": "TCP"}]})
    }

    #[test]
    fn what_looks_like_the_controllers_is_anybodys() {
        let address = |ip: &str| with(&slice(), "/endpoints/0/addresses", json!([ip]));
        let emptied = with(&without(&slice(), "/ports"), "/endpoints", Value::Null);
        let annotated = |key: &str| with(&slice(), "/metadata/annotations", json!({key: ""}));
        let trigger = annotated("endpoints.kubernetes.io/last-change-trigger-time");
        World::new().expect(&[
            ("made", Review::create(&slice()), Allow, "machinery"),
            ("made at a time", Review::create(&trigger), Allow, "machinery"),
            ("another address", Review::update(&slice(), &address("10.0.0.2")), Allow, "machinery"),
            ("none", Review::update(&slice(), &emptied), Allow, "machinery"),
            ("again", Review::update(&emptied, &slice()), Allow, "machinery"),
            ("the time of a change", Review::update(&slice(), &trigger), Allow, "machinery"),
        ]);
    }

    #[test]
    fn everything_else_is_judged() {
        let edits: [(&str, &str, Value); 9] = [
            ("another's Pod", "/endpoints/0/targetRef/namespace", json!("shop")),
            ("no Pod", "/endpoints/0/targetRef/kind", json!("Node")),
            ("a name", "/endpoints/0/hostname", json!("gitadel")),
            ("other ports", "/ports/0/port", json!(6666)),
            ("an annotation", "/metadata/annotations", json!({"a": ""})),
            ("a finalizer", "/metadata/finalizers", json!(["example.com/x"])),
            ("another Service", "/metadata/labels/kubernetes.io~1service-name", json!("other")),
            ("another manager", "/metadata/labels/endpointslice.kubernetes.io~1managed-by", json!("me")),
            ("another owner", "/metadata/ownerReferences/0/kind", json!("Endpoints")),
        ];
        let world = World::new();
        for (what, pointer, value) in edits {
            let verdict = world.verdict(&Review::update(&slice(), &with(&slice(), pointer, value)));
            assert_eq!(verdict.outcome, Deny, "{what}");
        }
        let named = with(&slice(), "/metadata/name", json!("gitadel2"));
        let uncontrolled = with(&slice(), "/metadata/ownerReferences/0/controller", json!(false));
        world.expect(&[
            ("another name", Review::create(&named), Deny, "undeclared"),
            ("an owner that is no controller", Review::create(&uncontrolled), Deny, "undeclared"),
            ("elsewhere", Review::create(&with(&slice(), "/metadata/namespace", json!("shop"))), Deny, "undeclared"),
        ]);
    }
}
