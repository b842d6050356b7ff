//! Edits as dry-runs: by gitadel's own account, whose dry-runs no webhook is asked about, they show what the API server
//! would store; by an administrator they show the verdict.

use hyper::{Method, Request};
use kube::Client;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Resource};
use kube::discovery::{Discovery, Scope};
use serde_json::{Value, json};

use crate::edits::merge_patch;
use crate::random::Random;

pub struct Target {
    pub manifest: Value,
    pub title: String,
    pub path: String,
    pub resource: ApiResource,
    pub scales: bool,
    pub has_status: bool,
}

impl Target {
    pub fn new(discovery: &Discovery, manifest: Value) -> Self {
        let api_version = manifest["apiVersion"].as_str().unwrap();
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, manifest["kind"].as_str().unwrap());
        let (resource, capabilities) = discovery.resolve_gvk(&kind).unwrap_or_else(|| panic!("{kind:?} is served"));
        let metadata = &manifest["metadata"];
        let namespace = metadata["namespace"].as_str().filter(|_| capabilities.scope == Scope::Namespaced);
        let name = metadata["name"].as_str().unwrap();
        let path = format!("{}/{name}", DynamicObject::url_path(&resource, namespace));
        let title = format!("{} {}{name}", resource.kind, namespace.map(|n| format!("{n}/")).unwrap_or_default());
        let has = |name: &str| capabilities.subresources.iter().any(|(r, _)| r.plural.ends_with(&format!("/{name}")));
        let (scales, has_status) = (has("scale"), has("status"));
        Self { title, path, resource, scales, has_status, manifest }
    }
}

/// One edit as it is sent.
#[derive(Clone)]
pub struct Write {
    pub how: &'static str,
    method: Method,
    content: &'static str,
    path: String,
    body: Value,
}

impl Write {
    /// Of the object that is there into what somebody made of it, in one of the ways that there are.
    pub fn of(target: &Target, before: &Value, edited: &Value, random: &mut Random) -> Self {
        let write = |how, method, content, query: &str, body| Self {
            how,
            method,
            content,
            path: format!("{}?dryRun=All&fieldManager=somebody{query}", target.path),
            body,
        };
        match random.below(20) {
            0..10 => write("PUT", Method::PUT, "application/json", "", edited.clone()),
            10..13 => {
                let patch = serde_json::to_value(json_patch::diff(before, edited)).unwrap();
                write("JSON patch", Method::PATCH, "application/json-patch+json", "", patch)
            }
            13..16 => {
                let patch = merge_patch(before, edited);
                write("merge patch", Method::PATCH, "application/merge-patch+json", "", patch)
            }
            16..18 => {
                write("strategic patch", Method::PATCH, "application/strategic-merge-patch+json", "", edited.clone())
            }
            _ => {
                let mut body = edited.clone();
                if let Some(metadata) = body["metadata"].as_object_mut() {
                    metadata.remove("managedFields");
                }
                write("apply", Method::PATCH, "application/apply-patch+yaml", "&force=true", body)
            }
        }
    }

    pub fn through(subresource: &'static str, target: &Target, body: Value) -> Self {
        let path = format!("{}/{subresource}?dryRun=All&fieldManager=somebody", target.path);
        Self { how: subresource, method: Method::PUT, content: "application/json", path, body }
    }

    pub async fn send(&self, client: &Client) -> Answer {
        let body = self.body.to_string().into_bytes();
        let request = Request::builder().method(&self.method).uri(&self.path).header("content-type", self.content);
        match client.request::<Value>(request.body(body).unwrap()).await {
            Ok(object) => Answer::Taken(object),
            Err(kube::Error::Api(status)) if status.message.contains("enforce.gitadel.dev") && status.code == 403 => {
                Answer::Denied(status.message)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Answer::Conflict,
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 404 | 405 | 415 | 422 | 500) => {
                Answer::Refused(format!("{} {}", status.code, status.message))
            }
            Err(error) => panic!("{} {}: {error}", self.how, self.path),
        }
    }
}

pub enum Answer {
    /// With what would be stored.
    Taken(Value),
    /// By gitadel.
    Denied(String),
    /// Somebody else has written.
    Conflict,
    /// By the API server itself, which asks no webhook about what it would not store.
    Refused(String),
}

pub fn scale(before: &Value, replicas: i64) -> Value {
    let metadata = &before["metadata"];
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas},
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]}})
}

pub async fn live(client: &Client, target: &Target) -> Value {
    let request = Request::get(&target.path).body(Vec::new()).unwrap();
    client.request(request).await.unwrap_or_else(|error| panic!("{}: {error}", target.title))
}
