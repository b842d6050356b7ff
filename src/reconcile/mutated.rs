//! What declared mutators make of the Pods of a template.
//!
//! What the controllers and the API server itself add to a Pod is known; a mutator adds what it likes. So the API server is
//! asked, by a dry-run of a Pod like the one that the controller will make.

use kube::Client;
use serde_json::{Value, json};

use super::observed::api_version;
use super::refusal::Refusal;
use super::rest::{self, Mode};
use crate::admission::children::{HASH, pod_template_of};
use crate::document::Document;
use crate::object::ObjectId;
use crate::snapshot::KindInfo;

/// Nobody has it.
const UID: &str = "00000000-0000-0000-0000-000000000000";

/// The Pod that becomes of the template of a workload, as a template: without what is random in it. None where the object
/// has none.
///
/// # Errors
/// The API server, or a mutator, refuses such a Pod.
pub async fn pod_of(
    client: &Client,
    pods: &KindInfo,
    workload: &KindInfo,
    id: &ObjectId,
    canonical: &Value,
) -> Result<Option<Value>, Refusal> {
    let document = Document::from_value(canonical);
    let template = pod_template_of(&id.kind.group, &id.kind.kind, document.root()).map(|template| template.to_value());
    let Some(template) = template else { return Ok(None) };
    let answer = rest::create(client, pods, &id.namespace, &specimen(workload, id, &template), Mode::DryRun).await?;
    Ok(Some(as_template(answer)))
}

/// A Pod as its controller makes it: some mutators look at the owner.
fn specimen(workload: &KindInfo, id: &ObjectId, template: &Value) -> Value {
    let mut metadata = json!({"namespace": id.namespace});
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    let mut owner = json!({"apiVersion": api_version(&workload.group, &workload.version), "kind": workload.kind,
        "name": id.name, "uid": UID, "controller": true});
    if workload.kind == "Deployment" {
        let set = format!("{}-{HASH}", id.name);
        (owner["kind"], owner["name"]) = ("ReplicaSet".into(), set.as_str().into());
        metadata["labels"]["pod-template-hash"] = HASH.into();
        metadata["generateName"] = format!("{set}-").into();
    } else {
        metadata["generateName"] = format!("{}-", id.name).into();
    }
    metadata["ownerReferences"] = json!([owner]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// Without the volume for the token, which has a random name, and what is the Pod's own.
fn as_template(mut pod: Value) -> Value {
    let is_token = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    let spec = &mut pod["spec"];
    if let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) {
        volumes.retain(|volume| !is_token(&volume["name"]));
    }
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(mounts) = container.get_mut("volumeMounts").and_then(Value::as_array_mut) {
                mounts.retain(|mount| !is_token(&mount["name"]));
                if mounts.is_empty() {
                    container.as_object_mut().map(|container| container.remove("volumeMounts"));
                }
            }
        }
    }
    if spec["volumes"] == json!([]) {
        spec.as_object_mut().map(|spec| spec.remove("volumes"));
    }
    let mut metadata = json!({});
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = pod["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    json!({"metadata": metadata, "spec": pod["spec"].take()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_random_in_a_pod_is_no_part_of_its_template() {
        let token = json!({"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets"});
        let pod = json!({"metadata": {"name": "web-x", "uid": "u", "labels": {"app": "web", "pod-template-hash": HASH}},
            "spec": {"volumes": [{"name": "data"}, {"name": "kube-api-access-x7k2p"}],
                "containers": [{"name": "web", "volumeMounts": [token]}, {"name": "proxy"}]}, "status": {}});
        let expected = json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"volumes": [{"name": "data"}], "containers": [{"name": "web"}, {"name": "proxy"}]}});
        assert_eq!(as_template(pod), expected);
    }
}
