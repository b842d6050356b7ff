//! Sends what a row says, byte for byte, as whoever the row says.

use gitadel::demo::control_plane::ControlPlane;
use hyper::Request;
use kube::Client;
use kube::client::Body as Bytes;
use serde_json::Value;

use super::attack::{Act, Body, Content, Identity};
use super::support::bypass::get;
use super::support::{Said, client_for, kubectl_with_input};

pub const NAMESPACE_ADMIN: &str = "mallory";

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
    /// By which the audit log names the request.
    pub id: String,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether gitadel's webhook said no; anything else may be RBAC, validation or a conflict.
    pub fn is_denial(&self) -> bool {
        self.status == 403 && self.text.contains("gitadel.dev") && self.text.contains("denied the request")
    }
}

/// The clients of all who attack.
pub struct Attackers {
    cluster_admin: Client,
    namespace_admin: Client,
    thief: Client,
    node: Client,
    kubeconfigs: Kubeconfigs,
}

struct Kubeconfigs {
    cluster_admin: std::path::PathBuf,
    namespace_admin: std::path::PathBuf,
    thief: std::path::PathBuf,
}

impl Attackers {
    pub async fn of(control_plane: &ControlPlane) -> Self {
        let token = control_plane.token("gitadel-system", "gitadel").await.unwrap();
        let config = control_plane.client_config_with_token("thief", &token).await.unwrap();
        Self {
            cluster_admin: super::support::client(control_plane).await,
            namespace_admin: client_for(control_plane, NAMESPACE_ADMIN, None).await,
            thief: Client::try_from(config).unwrap(),
            node: client_for(control_plane, "system:node:n1", Some("system:nodes")).await,
            kubeconfigs: Kubeconfigs {
                cluster_admin: control_plane.kubeconfig().to_owned(),
                namespace_admin: control_plane.kubeconfig_for(NAMESPACE_ADMIN, None).unwrap(),
                thief: control_plane.kubeconfig_with_token("thief", &token).unwrap(),
            },
        }
    }

    fn client(&self, by: Identity) -> &Client {
        match by {
            Identity::ClusterAdmin | Identity::Impersonated(_) => &self.cluster_admin,
            Identity::NamespaceAdmin => &self.namespace_admin,
            Identity::StolenReconcilerToken => &self.thief,
            Identity::Node => &self.node,
        }
    }

    pub fn kubectl(&self, by: Identity, arguments: &[String], input: &str) -> Said {
        let kubeconfig = match by {
            Identity::NamespaceAdmin => &self.kubeconfigs.namespace_admin,
            Identity::StolenReconcilerToken => &self.kubeconfigs.thief,
            _ => &self.kubeconfigs.cluster_admin,
        };
        let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let user = if let Identity::Impersonated(user) = by { format!("--as={user}") } else { String::new() };
        if !user.is_empty() {
            all.extend([user.as_str(), "--as-group=system:masters"]);
        }
        kubectl_with_input(kubeconfig, &all, input)
    }

    /// The act with the names that controllers have drawn.
    pub async fn with_names(&self, act: &Act) -> Act {
        let mut act = act.clone();
        if let Act::Request { path, body, .. } = &mut act {
            *path = self.with_name(path).await;
            if let Body::Like { path, .. } = body {
                *path = self.with_name(path).await;
            }
        }
        act
    }

    async fn with_name(&self, path: &str) -> String {
        let Some((collection, rest)) = path.split_once('{') else { return path.to_owned() };
        let (prefix, rest) = rest.split_once('}').unwrap();
        let list = get(&self.cluster_admin, collection.trim_end_matches('/')).await.unwrap();
        let names = list["items"].as_array().unwrap().iter().filter_map(|o| o["metadata"]["name"].as_str());
        let name = names.filter(|name| name.starts_with(prefix)).min();
        let name = name.unwrap_or_else(|| panic!("no {prefix}* in {collection}"));
        format!("{collection}{name}{rest}")
    }

    /// Makes a request; what a body refers to is read by the cluster admin.
    pub async fn send(&self, by: Identity, act: &Act) -> Answer {
        let Act::Request { verb, path, content, body } = act else { panic!("{act:?} is no request") };
        let (body, content) = (self.bytes(path, body).await, content.media_type());
        let mut request = Request::builder().method(*verb).uri(path).header("content-type", content);
        if let Identity::Impersonated(user) = by {
            request = request.header("impersonate-user", user).header("impersonate-group", "system:masters");
        }
        let response = self.client(by).send(request.body(Bytes::from(body)).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let id = response.headers().get("audit-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        let text = response.into_body().collect_bytes().await.unwrap();
        Answer { status, text: String::from_utf8_lossy(&text).into_owned(), id }
    }

    async fn bytes(&self, path: &str, body: &Body) -> Vec<u8> {
        let path = path.split('?').next().unwrap();
        match body {
            Body::Nothing => Vec::new(),
            Body::Sent(Value::Null) => b"{}".to_vec(),
            Body::Sent(body) => self.resolved(body).await.into_bytes(),
            Body::Edited(edit) => {
                let mut object = get(&self.cluster_admin, path).await.unwrap_or_else(|| panic!("{path} is not there"));
                edit(&mut object);
                object.to_string().into_bytes()
            }
            Body::Like { path, edit } => {
                let mut object = get(&self.cluster_admin, path).await.unwrap_or_else(|| panic!("{path} is not there"));
                let metadata = object["metadata"].as_object_mut().unwrap();
                metadata.retain(|field, _| {
                    ["labels", "annotations", "generateName", "namespace", "ownerReferences"].contains(&field.as_str())
                });
                object["status"] = Value::Null;
                edit(&mut object);
                object.to_string().into_bytes()
            }
            Body::Retyped { from, to } => self.retyped(path, from.as_bytes(), to.as_bytes()).await,
        }
    }

    /// The body with the uids that it asks for.
    async fn resolved(&self, body: &Value) -> String {
        let mut text = body.to_string();
        while let Some((before, after)) = text.split_once("uid of ") {
            let (path, after) = after.split_once('"').unwrap();
            let owner = get(&self.cluster_admin, path).await.unwrap_or_else(|| panic!("{path} is not there"));
            text = format!("{before}{}\"{after}", owner["metadata"]["uid"].as_str().unwrap());
        }
        text
    }

    async fn retyped(&self, path: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
        assert_eq!(from.len(), to.len(), "another length would need another encoding");
        let request = Request::get(path).header("accept", Content::Protobuf.media_type());
        let response = self.cluster_admin.send(request.body(Bytes::empty()).unwrap()).await.unwrap();
        let mut bytes = response.into_body().collect_bytes().await.unwrap().to_vec();
        assert!(bytes.starts_with(b"k8s\0"), "{path} came as something else than protobuf");
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    }
}
