//! The limits: the same objects, written by loops that do nothing else.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Bytes;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::figures::fleet;

/// Requests under way at once, as many as gitadel has.
const PARALLEL: usize = 16;

/// Namespaces of the bare loops. Nothing in `kube-*` is governed.
const APPLIED: &str = "kube-bare-apply";
const WRITTEN: &str = "kube-bare-write";

/// Objects a second.
pub struct Rates {
    pub apply_new: f64,
    pub apply_changed: f64,
    pub create: f64,
    pub replace: f64,
}

/// Measures on the given cluster, and removes what was made. gitadel does not run meanwhile.
pub async fn measure(client: &Client, size: usize) -> Rates {
    for namespace in [APPLIED, WRITTEN] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        request(client, "POST", "/api/v1/namespaces", "application/json", object.to_string().into()).await;
    }
    let rates = Rates {
        apply_new: run(client, size, |n| apply(APPLIED, n, 1)).await,
        create: run(client, size, |n| create(WRITTEN, n)).await,
        apply_changed: run(client, size, |n| apply(APPLIED, n, 2)).await,
        replace: run(client, size, |n| replace(WRITTEN, n)).await,
    };
    for namespace in [APPLIED, WRITTEN] {
        for number in 0..10 {
            let path = collection(&manifest(namespace, number, 1));
            request(client, "DELETE", &path, "application/json", Vec::new()).await;
        }
    }
    rates
}

type Write = (&'static str, String, &'static str, Vec<u8>);

async fn run(client: &Client, size: usize, write: impl Fn(usize) -> Write) -> f64 {
    // What it takes to make the bodies is no part of the limit.
    let writes: Vec<Write> = (0..size).map(write).collect();
    let start = Instant::now();
    stream::iter(writes)
        .for_each_concurrent(PARALLEL, |(method, path, content, body)| async move {
            request(client, method, &path, content, body).await;
        })
        .await;
    size as f64 / start.elapsed().as_secs_f64()
}

fn manifest(namespace: &str, number: usize, generation: usize) -> Value {
    let mut manifest = fleet::manifest(number, generation);
    manifest["metadata"]["namespace"] = json!(namespace);
    manifest
}

fn apply(namespace: &str, number: usize, generation: usize) -> Write {
    let manifest = manifest(namespace, number, generation);
    let path = format!("{}?fieldManager=bare&force=true&fieldValidation=Strict", path(&manifest));
    ("PATCH", path, "application/apply-patch+yaml", manifest.to_string().into())
}

fn create(namespace: &str, number: usize) -> Write {
    let manifest = manifest(namespace, number, 1);
    let path = format!("{}?fieldManager=bare&fieldValidation=Strict", collection(&manifest));
    ("POST", path, "application/json", manifest.to_string().into())
}

/// Without a version, so that nothing has to be read before.
fn replace(namespace: &str, number: usize) -> Write {
    let manifest = manifest(namespace, number, 2);
    let path = format!("{}?fieldManager=bare&fieldValidation=Strict", path(&manifest));
    ("PUT", path, "application/json", manifest.to_string().into())
}

/// Path of an object like those of the fleet, where nobody governs.
pub async fn beside(client: &Client) -> String {
    let (method, _, content, body) = create(WRITTEN, 5);
    let manifest = manifest(WRITTEN, 5, 1);
    request(client, method, &collection(&manifest), content, body).await;
    path(&manifest)
}

/// What a client that does nothing else needs to list and parse all objects of the fleet.
pub struct Listing {
    pub took: Duration,
    /// All objects, as JSON.
    pub bytes: usize,
}

pub async fn list(client: &Client) -> Listing {
    let (start, mut bytes) = (Instant::now(), 0);
    for number in 0..10 {
        let manifest = fleet::manifest(number, 1);
        // Of ten, several are of the same kind.
        if (0..number).any(|other| fleet::manifest(other, 1)["kind"] == manifest["kind"]) {
            continue;
        }
        let body = request(client, "GET", &collection(&manifest), "application/json", Vec::new()).await;
        let listed: Value = serde_json::from_slice(&body).unwrap();
        assert!(listed["items"].as_array().is_some_and(|items| !items.is_empty()), "{listed}");
        bytes += body.len();
    }
    Listing { took: start.elapsed(), bytes }
}

/// Path of an object of the fleet.
pub fn path(manifest: &Value) -> String {
    format!("{}/{}", collection(manifest), manifest["metadata"]["name"].as_str().unwrap())
}

fn collection(manifest: &Value) -> String {
    let (api, resource) = match manifest["kind"].as_str().unwrap() {
        "Deployment" => ("/apis/apps/v1", "deployments"),
        "Role" => ("/apis/rbac.authorization.k8s.io/v1", "roles"),
        "Service" => ("/api/v1", "services"),
        _ => ("/api/v1", "configmaps"),
    };
    format!("{api}/namespaces/{}/{resource}", manifest["metadata"]["namespace"].as_str().unwrap())
}

async fn request(client: &Client, method: &str, path: &str, content: &str, body: Vec<u8>) -> Bytes {
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    let answer = client.send(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(status.is_success(), "{method} {path}: {status}: {}", String::from_utf8_lossy(&body));
    body
}
