//! Writes that reach the API server while gitadel's webhook configuration is gone: what admission cannot stop.

use gitadel::demo::control_plane::guard::tail;
use gitadel::reconcile::webhook_configuration::NAME;
use hyper::{Method, Request};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::governed::Governed;

/// A plain request, with the answer as JSON.
pub async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Result<Value, kube::Error> {
    let content = if method == Method::PATCH { "application/json-patch+json" } else { "application/json" };
    let body = if method == Method::GET { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(path).header("content-type", content).body(body).unwrap();
    client.request(request).await
}

pub async fn get(client: &Client, path: &str) -> Option<Value> {
    match send(client, Method::GET, path, &Value::Null).await {
        Ok(object) => Some(object),
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(error) => panic!("GET {path}: {error}"),
    }
}

impl Governed {
    /// Makes a write past the webhook and returns what the API server answered. The guard puts the configuration back
    /// within milliseconds, but the API server takes a moment to obey it again: the write is repeated in that window.
    pub async fn slip_in(&self, method: Method, path: &str, body: &Value) -> Value {
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let mut last = None;
        for _ in 0..20 {
            // It may be on its way back from the last attempt.
            let _ = configurations.delete(NAME, &DeleteParams::default()).await;
            for _ in 0..10 {
                match send(&self.client, method.clone(), path, body).await {
                    Ok(answer) => return answer,
                    Err(kube::Error::Api(status)) if status.is_forbidden() || status.code >= 500 => last = Some(status),
                    Err(error) => panic!("{method} {path}: {error}"),
                }
            }
        }
        panic!("{method} {path} was rejected every time: {last:?}\n{}", tail(&self.log("reconcile"), 20));
    }
}

/// An object without what the server keeps for itself.
pub fn content(object: &Value) -> Value {
    let mut object = object.clone();
    object["status"] = Value::Null;
    for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"] {
        object["metadata"][field] = Value::Null;
    }
    // Written by the deployment controller, with each rollout.
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove("deployment.kubernetes.io/revision");
    }
    if object["metadata"]["annotations"] == json!({}) {
        object["metadata"]["annotations"] = Value::Null;
    }
    object
}
