//! Requests about single objects, as plain JSON.
//!
//! Declared objects are of any kind, so nothing here has a type beyond [`Value`]. Every write is strict about unknown
//! fields: a field that the server drops in silence would be a hole in the state that Git declares.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Method, Request, Response, header};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde_json::{Value, json};

use super::refusal::Refusal;
use crate::compare::{FreeField, Latitude, PathPattern};
use crate::snapshot::KindInfo;

/// Name under which gitadel's writes stand in `managedFields`.
pub const FIELD_MANAGER: &str = "gitadel";

/// A request that takes longer than this is as good as failed: the server itself gives up after 60 s.
const TIMEOUT: Duration = Duration::from_secs(65);

/// The kind of an object, and what of it is not Git's.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub kind: &'a KindInfo,
    /// Paths that the server sets once.
    pub allotted: &'a [PathPattern],
    /// Fields delegated to anybody.
    pub free: &'a [FreeField],
    /// Anybody may set what Git does not declare.
    pub undeclared_fields: bool,
}

impl<'a> Target<'a> {
    pub fn latitude(&self) -> Latitude<'a> {
        Latitude {
            schema: &self.kind.schema,
            status_subresource: self.kind.status_subresource(),
            allotted: self.allotted,
            free: self.free,
            undeclared_fields: self.undeclared_fields,
        }
    }
}

/// Whether a write is stored or only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    DryRun,
    Store,
}

/// `/apis/apps/v1/namespaces/shop/deployments`
pub fn collection_path(kind: &KindInfo, namespace: &str) -> String {
    let mut path = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    if kind.namespaced && !namespace.is_empty() {
        path.push_str("/namespaces/");
        push_encoded(&mut path, namespace);
    }
    path.push('/');
    path.push_str(&kind.resource);
    path
}

/// `/apis/apps/v1/namespaces/shop/deployments/web`
pub fn object_path(kind: &KindInfo, namespace: &str, name: &str) -> String {
    let mut path = collection_path(kind, namespace);
    path.push('/');
    push_encoded(&mut path, name);
    path
}

/// Names of RBAC objects may hold colons and more.
fn push_encoded(path: &mut String, segment: &str) {
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
}

fn write_query(mode: Mode) -> String {
    let dry_run = if mode == Mode::DryRun { "&dryRun=All" } else { "" };
    format!("?fieldManager={FIELD_MANAGER}&fieldValidation=Strict{dry_run}")
}

/// The object, if there is one.
///
/// # Errors
/// What the server refuses, other than that the object is absent.
pub async fn get(client: &Client, kind: &KindInfo, namespace: &str, name: &str) -> Result<Option<Value>, Refusal> {
    match send(client, Method::GET, &object_path(kind, namespace, name), None).await {
        Ok(object) => Ok(Some(object)),
        Err(Refusal::NotFound) => Ok(None),
        // Asking for a Namespace: the absent namespace is the object itself.
        Err(Refusal::NamespaceAbsent) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Objects of a kind in a namespace, as many as one answer should hold. They do not say what they are.
///
/// # Errors
/// What the server refuses.
pub async fn list(client: &Client, kind: &KindInfo, namespace: &str) -> Result<Vec<Value>, Refusal> {
    let path = collection_path(kind, namespace) + "?limit=500";
    let mut list = send(client, Method::GET, &path, None).await?;
    Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// POST.
///
/// # Errors
/// What the server refuses.
pub async fn create(
    client: &Client,
    kind: &KindInfo,
    namespace: &str,
    object: &Value,
    mode: Mode,
) -> Result<Value, Refusal> {
    let path = collection_path(kind, namespace) + &write_query(mode);
    send(client, Method::POST, &path, Some(object)).await
}

/// PUT.
///
/// # Errors
/// What the server refuses.
pub async fn replace(
    client: &Client,
    kind: &KindInfo,
    (namespace, name): (&str, &str),
    object: &Value,
    mode: Mode,
) -> Result<Value, Refusal> {
    let path = object_path(kind, namespace, name) + &write_query(mode);
    send(client, Method::PUT, &path, Some(object)).await
}

/// PUT of nothing but the status.
///
/// # Errors
/// What the server refuses.
pub async fn replace_status(
    client: &Client,
    kind: &KindInfo,
    (namespace, name): (&str, &str),
    object: &Value,
) -> Result<Value, Refusal> {
    let path = object_path(kind, namespace, name) + "/status" + &write_query(Mode::Store);
    send(client, Method::PUT, &path, Some(object)).await
}

/// DELETE of exactly the object with this uid, not of one that took its name since. What depends on it goes afterwards: it
/// would be held by that. A Pod that is being deleted already has no more than `grace` seconds then.
///
/// # Errors
/// What the server refuses.
pub async fn delete(
    client: &Client,
    kind: &KindInfo,
    (namespace, name): (&str, &str),
    uid: &str,
    grace: Option<i64>,
) -> Result<(), Refusal> {
    let options = json!({
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "gracePeriodSeconds": grace,
        "preconditions": {"uid": uid},
    });
    send(client, Method::DELETE, &object_path(kind, namespace, name), Some(&options)).await.map(|_| ())
}

async fn send(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Refusal> {
    let request = Request::builder().method(method).uri(path).header(header::ACCEPT, "application/json");
    let request = match body {
        None => request.body(Vec::new()),
        Some(body) => {
            let body =
                serde_json::to_vec(body).map_err(|e| Refusal::Malformed { field: None, message: e.to_string() })?;
            request.header(header::CONTENT_TYPE, "application/json").body(body)
        }
    };
    let request = request.map_err(|e| Refusal::Malformed { field: None, message: e.to_string() })?;
    let answer = bytes(client, request).await?;
    serde_json::from_slice(&answer).map_err(|e| Refusal::Unavailable(format!("its answer is no JSON: {e}")))
}

/// The body of an answer to GET, in the given media type.
///
/// # Errors
/// What the server refuses.
pub async fn get_bytes(client: &Client, path: &str, accept: &str) -> Result<Vec<u8>, Refusal> {
    let request = Request::builder()
        .uri(path)
        .header(header::ACCEPT, accept)
        .body(Vec::new())
        .map_err(|e| Refusal::Unexpected { code: 0, message: e.to_string() })?;
    bytes(client, request).await
}

async fn bytes(client: &Client, request: Request<Vec<u8>>) -> Result<Vec<u8>, Refusal> {
    let exchange = async {
        let answer: Response<Body> =
            client.send(request.map(Body::from)).await.map_err(|e| Refusal::Unavailable(chain(&e)))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|e| Refusal::Unavailable(chain(&e)))?.to_bytes();
        if status.is_success() {
            return Ok(Vec::from(body));
        }
        let code = status.as_u16();
        Err(Refusal::from(&match serde_json::from_slice::<Status>(&body) {
            Ok(status) => status.with_code(code),
            // A path that is not served, or a proxy, answers with plain text.
            Err(_) => Status::failure(&String::from_utf8_lossy(&body), "").with_code(code),
        }))
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(Refusal::Unavailable(format!("no answer within {} s", TIMEOUT.as_secs()))))
}

/// An error with its causes: the outermost alone ("client error") says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A string in an object's metadata, empty where there is none.
pub fn metadata<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, resource: &str, namespaced: bool) -> KindInfo {
        KindInfo {
            group: group.into(),
            kind: String::new(),
            resource: resource.into(),
            version: "v1".into(),
            namespaced,
            subresources: Default::default(),
            scale_paths: Default::default(),
            schema: Default::default(),
            registered: false,
        }
    }

    #[test]
    fn paths() {
        let cases = [
            (kind("", "configmaps", true), "shop", "c", "/api/v1/namespaces/shop/configmaps/c"),
            (kind("apps", "deployments", true), "shop", "web", "/apis/apps/v1/namespaces/shop/deployments/web"),
            (kind("", "namespaces", false), "", "shop", "/api/v1/namespaces/shop"),
            (
                kind("rbac.authorization.k8s.io", "clusterroles", false),
                "",
                "system:a b/%",
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:a%20b%2F%25",
            ),
        ];
        for (kind, namespace, name, path) in cases {
            assert_eq!(object_path(&kind, namespace, name), path);
        }
    }
}
