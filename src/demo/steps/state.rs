//! What Git has a say in, of the shop's objects: to prove that an attack left no trace.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodSpec, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client};
use serde_json::Value;

/// Desired state by kind and name.
pub type State = BTreeMap<String, Value>;

/// Bookkeeping of the API server and of controllers. A Deployment counts its revisions upwards also when it goes back.
const BOOKKEEPING: [&str; 6] =
    ["resourceVersion", "managedFields", "uid", "creationTimestamp", "generation", "selfLink"];
const REVISION: &str = "deployment.kubernetes.io/revision";

pub async fn read(client: &Client) -> Result<State, kube::Error> {
    let mut state = State::new();
    for resource in [
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
    ] {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), "shop", &resource);
        add(&mut state, &resource, api).await?;
    }
    let bindings = ApiResource::erase::<ClusterRoleBinding>(&());
    let api = Api::<DynamicObject>::all_with(client.clone(), &bindings);
    add(&mut state, &bindings, api).await?;
    Ok(state)
}

/// The images of a Deployment's template and of its Pods, in the namespace of the shop.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Images {
    pub declared: BTreeSet<String>,
    pub of_pods: BTreeSet<String>,
}

pub async fn images(client: &Client) -> Result<Images, kube::Error> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), "shop").list(&ListParams::default()).await?;
    let pods = Api::<Pod>::namespaced(client.clone(), "shop").list(&ListParams::default()).await?;
    let templates = deployments.items.into_iter().filter_map(|deployment| deployment.spec.template.spec);
    Ok(Images {
        declared: templates.flat_map(images_of).collect(),
        of_pods: pods.items.into_iter().filter_map(|pod| pod.spec).flat_map(images_of).collect(),
    })
}

fn images_of(pod: PodSpec) -> impl Iterator<Item = String> {
    let containers = pod.containers.into_iter().chain(pod.init_containers.into_iter().flatten());
    containers.filter_map(|container| container.image)
}

async fn add(state: &mut State, resource: &ApiResource, api: Api<DynamicObject>) -> Result<(), kube::Error> {
    for object in api.list(&ListParams::default()).await?.items {
        let key = format!("{} {}", resource.kind, object.metadata.name.as_deref().unwrap_or_default());
        let value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        state.insert(key, without_bookkeeping(value));
    }
    Ok(())
}

fn without_bookkeeping(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| !BOOKKEEPING.contains(&field.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(REVISION);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    object
}

/// The objects that differ.
pub fn difference(before: &State, after: &State) -> Vec<String> {
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    keys.filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bookkeeping_is_no_state_and_all_else_is() {
        let object = |replicas: u32, revision: &str| {
            without_bookkeeping(json!({
                "metadata": {"name": "web", "resourceVersion": revision, "annotations": {REVISION: revision}},
                "spec": {"replicas": replicas},
                "status": {"observedGeneration": revision},
            }))
        };
        assert_eq!(object(2, "1"), object(2, "7"));
        assert_ne!(object(2, "1"), object(3, "1"));
        let before = State::from([("Deployment web".into(), object(2, "1")), ("ConfigMap a".into(), json!({}))]);
        let after = State::from([("Deployment web".into(), object(3, "1")), ("ConfigMap b".into(), json!({}))]);
        assert_eq!(difference(&before, &after), ["ConfigMap a", "Deployment web", "ConfigMap b"]);
        assert!(difference(&before, &before).is_empty());
    }
}
