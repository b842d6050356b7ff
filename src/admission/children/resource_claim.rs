//! The claim for devices that a Pod yields: by a template of one that the Pod names, or for the devices that it requests by
//! their amount.

use serde_json::{Map, Value, json};

use super::defaults::{Defaults, Known};
use super::metadata::{self, adopt};

const POD_CLAIM: &str = "resource.kubernetes.io/pod-claim-name";
const EXTENDED: &str = "resource.kubernetes.io/extended-resource-claim";
const PROTECTION: &str = "resource.kubernetes.io/delete-protection";
/// Each class is a resource of its own, beside the one that it may name.
const IMPLICIT: &str = "deviceclass.resource.kubernetes.io/";

/// What a claim has to be, for a Pod of this template.
pub fn wanted(pod: &Value, child: &Value, defaults: &Defaults<'_>) -> Value {
    let found = metadata::map(child, "annotations");
    let (mut labels, mut annotations) = (Map::new(), Map::new());
    let spec = if let Some(name) = found.get(POD_CLAIM).and_then(Value::as_str) {
        match template(pod, name, child, defaults) {
            Known::There(template) => {
                (labels, annotations) = (metadata::map(&template, "labels"), metadata::map(&template, "annotations"));
                annotations.insert(POD_CLAIM.into(), name.into());
                template["spec"].clone()
            }
            Known::Absent => Value::Null,
            Known::Unknown => {
                (labels, annotations) = (metadata::map(child, "labels"), found);
                child["spec"].clone()
            }
        }
    } else {
        adopt(&mut annotations, &found, EXTENDED, |value| value == "true");
        requested(&pod["spec"], &child["spec"], defaults)
    };
    let finalizers = metadata::finalizers(child).into_iter().filter(|finalizer| finalizer == PROTECTION).collect();
    json!({
        "apiVersion": child["apiVersion"],
        "kind": "ResourceClaim",
        "metadata": metadata::wanted(child, labels, annotations, finalizers),
        "spec": spec,
    })
}

/// What the template says that a Pod names for one of its claims.
fn template(pod: &Value, claim: &str, child: &Value, defaults: &Defaults<'_>) -> Known {
    let claims = pod["spec"]["resourceClaims"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named =
        claims.iter().find(|item| item["name"] == claim).and_then(|item| item["resourceClaimTemplateName"].as_str());
    let Some(name) = named else { return Known::Absent };
    match defaults.of_namespace("resource.k8s.io", "ResourceClaimTemplate", name) {
        // Another version says it in another way.
        Known::There(template) if template["apiVersion"] != child["apiVersion"] => Known::Unknown,
        Known::There(template) => Known::There(template["spec"].clone()),
        other => other,
    }
}

/// The requests for devices that the containers of a Pod ask for by their amount, where a class maps to that resource. Which
/// of them are left to the plugin of a node is the scheduler's to know, and so is what one container leaves to another.
fn requested(pod: &Value, found: &Value, defaults: &Defaults<'_>) -> Value {
    let containers: Vec<&Value> =
        ["initContainers", "containers"].iter().filter_map(|field| pod[field].as_array()).flatten().collect();
    let mut requests: Vec<Value> = Vec::new();
    for request in found["devices"]["requests"].as_array().into_iter().flatten() {
        let is_new = requests.iter().all(|other| other["name"] != request["name"]);
        if is_new && let Some(wanted) = wanted_request(&containers, request, defaults) {
            requests.push(wanted);
        }
    }
    if requests.is_empty() { Value::Null } else { json!({"devices": {"requests": requests}}) }
}

/// `container-<index>-request-<index>`
fn wanted_request(containers: &[&Value], request: &Value, defaults: &Defaults<'_>) -> Option<Value> {
    let name = request["name"].as_str()?;
    let (container, number) = name.strip_prefix("container-")?.split_once("-request-")?;
    let container = *containers.get(container.parse::<usize>().ok()?)?;
    number.parse::<usize>().ok()?;
    let class = request["exactly"]["deviceClassName"].as_str()?;
    let most = ["requests", "limits"]
        .iter()
        .filter_map(|field| container["resources"][field].as_object())
        .flatten()
        .filter(|(resource, _)| is_mapped(resource, class, defaults))
        .filter_map(|(_, quantity)| amount(quantity))
        .max()?;
    let count = request["exactly"]["count"].as_i64().filter(|count| (1..=most).contains(count))?;
    let exactly = json!({"deviceClassName": class, "allocationMode": "ExactCount", "count": count});
    Some(json!({"name": name, "exactly": exactly}))
}

fn is_mapped(resource: &str, class: &str, defaults: &Defaults<'_>) -> bool {
    let is_explicit = || match defaults.of_cluster("resource.k8s.io", "DeviceClass", class) {
        Known::There(class) => class["spec"]["extendedResourceName"] == resource,
        Known::Absent => false,
        Known::Unknown => resource.contains('/') && !resource.starts_with("kubernetes.io/"),
    };
    resource.strip_prefix(IMPLICIT) == Some(class) || is_explicit()
}

/// Devices come whole.
fn amount(quantity: &Value) -> Option<i64> {
    let text = quantity.as_str()?;
    match text.strip_suffix('k') {
        Some(thousands) => thousands.parse::<i64>().ok()?.checked_mul(1000),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, controller, deployment, owned, with, without};
    use crate::api::Undeclared;

    const RULE: &str = "child";

    fn request(name: &str, class: &str, count: u64) -> Value {
        json!({"name": name, "exactly": {"deviceClassName": class, "allocationMode": "ExactCount", "count": count}})
    }

    fn template() -> Value {
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
            "metadata": {"name": "gpu", "namespace": "shop"},
            "spec": {"metadata": {"labels": {"team": "a"}}, "spec": {"devices": {"requests": [request("one", "gpu", 1)]}}}})
    }

    fn class() -> Value {
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu"},
            "spec": {"extendedResourceName": "example.com/gpu"}})
    }

    /// Of a claim for each Pod, and of two devices for the second container.
    fn spec() -> Value {
        json!({"resourceClaims": [
                {"name": "own", "resourceClaimTemplateName": "gpu"}, {"name": "shared", "resourceClaimName": "x"}],
            "initContainers": [{"name": "init"}],
            "containers": [{"name": "web", "image": "web:1", "resources": {
                "requests": {"cpu": "1"}, "limits": {"example.com/gpu": "2", "deviceclass.resource.kubernetes.io/nic": "1"}}}]})
    }

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "shop"}, "spec": spec()})
    }

    fn claim(pod: &str, annotation: (&str, &str), requests: Value) -> Value {
        let claim = json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
            "metadata": {"name": "x", "namespace": "shop", "annotations": {annotation.0: annotation.1}},
            "spec": {"devices": {"requests": requests}}});
        owned(&claim, ("v1", "Pod", pod))
    }

    fn world() -> World {
        let web = with(&deployment(), "/spec/template/spec", spec());
        World::new().declare(&web).declare(&pod()).declare(&template()).declare(&class())
    }

    #[test]
    fn a_claim_is_what_the_template_says_that_the_pod_names() {
        let by = |review: Review| review.by(&controller("resource-claim-controller"));
        let of = |pod: &str, name: &str| {
            let claim = claim(pod, (POD_CLAIM, name), json!([request("one", "gpu", 1)]));
            with(&claim, "/metadata/labels", json!({"team": "a"}))
        };
        let made = |claim: &Value| by(Review::create(claim));
        let own = of("bare", "own");
        let all = with(&own, "/spec/devices/requests/0/exactly/allocationMode", json!("All"));
        let protected = with(&own, "/metadata/finalizers", json!([PROTECTION]));
        let configured = with(&own, "/spec/devices/config", json!([{"opaque": {"driver": "x"}}]));
        world().expect(&[
            ("for a declared Pod", made(&own), Allow, RULE),
            ("for the Pod of a Deployment", made(&of("web-5d4f8c-x7k2p", "own")), Allow, RULE),
            ("with its finalizer", made(&protected), Allow, RULE),
            ("by a person", Review::create(&own), Deny, RULE),
            ("of all devices", made(&all), Deny, RULE),
            (
                "for the Pod of a Deployment",
                made(&with(&of("web-5d4f8c-x7k2p", "own"), "/spec", all["spec"].clone())),
                Deny,
                RULE,
            ),
            ("configured", made(&configured), Deny, RULE),
            ("with a label", made(&with(&own, "/metadata/labels/x", json!("y"))), Deny, RULE),
            ("of no claim of the Pod's", made(&of("bare", "other")), Deny, RULE),
            ("that is made for all Pods", made(&of("bare", "shared")), Deny, RULE),
            ("for no reason", made(&without(&own, "/metadata/annotations")), Deny, RULE),
        ]);
        let unknown = || World::new().declare(&pod());
        let open = unknown().source(|source| source.undeclared_objects = Undeclared::Allow);
        open.expect(&[("where anybody makes templates", made(&all), Allow, RULE)]);
        unknown().expect(&[("of a template that is not there", made(&own), Deny, RULE)]);
        let earlier = with(&template(), "/apiVersion", json!("resource.k8s.io/v1beta1"));
        unknown().declare(&earlier).expect(&[("of one in another version", made(&own), Allow, RULE)]);
    }

    #[test]
    fn a_claim_for_resources_asks_for_no_more_than_the_pod() {
        let made =
            |requests: Value| Review::create(&claim("bare", (EXTENDED, "true"), requests)).by("system:kube-scheduler");
        let gpus = |count: u64| request("container-1-request-1", "gpu", count);
        let nic = request("container-1-request-0", "nic", 1);
        let all =
            json!({"name": "container-1-request-1", "exactly": {"deviceClassName": "gpu", "allocationMode": "All"}});
        let forged = claim("bare", (EXTENDED, "yes"), json!([gpus(2)]));
        world().expect(&[
            ("what it asks for", made(json!([gpus(2), nic])), Allow, RULE),
            ("less of it", made(json!([gpus(1)])), Allow, RULE),
            ("more of it", made(json!([gpus(3)])), Deny, RULE),
            ("none", made(json!([gpus(0)])), Deny, RULE),
            ("twice", made(json!([gpus(2), gpus(2)])), Deny, RULE),
            ("all there are", made(json!([all])), Deny, RULE),
            ("of another class", made(json!([request("container-1-request-1", "evil", 1)])), Deny, RULE),
            ("for another container", made(json!([request("container-0-request-1", "gpu", 1)])), Deny, RULE),
            ("for nobody", made(json!([request("mine", "gpu", 1)])), Deny, RULE),
            ("by another mark", Review::create(&forged).by("system:kube-scheduler"), Deny, RULE),
        ]);
    }
}
