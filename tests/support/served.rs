//! What an API server serves, as it says itself: every resource and subresource with its verbs.

// Each test binary uses a part of it.
#![allow(dead_code)]
// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use gitadel::admission::coverage::Endpoint;
use hyper::http::Request;
use kube::Client;
use serde_json::{Value, json};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// With these flags an API server serves everything that its version can, whether or not it does so by default.
pub fn all_of_it() -> Vec<String> {
    ["--runtime-config=api/all=true", "--feature-gates=AllAlpha=true,AllBeta=true"].map(str::to_owned).to_vec()
}

/// The custom resources of [`definitions`].
pub const DEFINED: [&str; 4] =
    ["example.org/gadgets", "example.org/widgets", "example.org/widgets/scale", "example.org/widgets/status"];

/// A custom kind with the subresources that there are, and one without.
pub fn definitions() -> String {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = |kind: &str, subresources: Value| {
        let singular = kind.to_lowercase();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{singular}s.example.org")},
            "spec": {
                "group": "example.org", "scope": "Namespaced",
                "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": format!("{singular}s"),
                    "singular": singular},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema,
                    "subresources": subresources}],
            },
        })
    };
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    let items = [definition("Widget", json!({"status": {}, "scale": scale})), definition("Gadget", json!({}))];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

async fn get(client: &Client, path: &str, accept: &str) -> Value {
    let request = Request::get(path).header("accept", accept).body(Vec::new()).unwrap();
    let text = client.request_text(request).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// Group and plural of every custom kind.
async fn custom(client: &Client) -> BTreeSet<(String, String)> {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definitions = get(client, path, "application/json").await;
    let name = |definition: &Value, pointer: &str| definition.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let items = definitions["items"].as_array().unwrap();
    items.iter().map(|item| (name(item, "/spec/group"), name(item, "/spec/names/plural"))).collect()
}

/// By aggregated discovery.
pub async fn aggregated(client: &Client) -> Vec<Endpoint> {
    let custom = custom(client).await;
    from_aggregated(&[get(client, "/api", AGGREGATED).await, get(client, "/apis", AGGREGATED).await], &custom)
}

pub fn from_aggregated(documents: &[Value], custom: &BTreeSet<(String, String)>) -> Vec<Endpoint> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Found::default();
    for group in documents.iter().flat_map(|document| list(&document["items"])) {
        let name = group["metadata"]["name"].as_str().unwrap_or_default();
        for resource in list(&group["versions"]).iter().flat_map(|version| list(&version["resources"])) {
            let plural = resource["resource"].as_str().unwrap();
            found.add(name, plural, "", &resource["verbs"]);
            for subresource in list(&resource["subresources"]) {
                found.add(name, plural, subresource["subresource"].as_str().unwrap(), &subresource["verbs"]);
            }
        }
    }
    found.endpoints(custom)
}

/// By the older form, one document for each group and version.
pub async fn by_version(client: &Client) -> Vec<Endpoint> {
    let custom = custom(client).await;
    let groups = get(client, "/apis", "application/json").await;
    let versions = groups["groups"].as_array().unwrap().iter().flat_map(|group| group["versions"].as_array().unwrap());
    let mut versions: Vec<_> = versions.map(|version| version["groupVersion"].as_str().unwrap().to_owned()).collect();
    versions.push("v1".to_owned());
    let mut found = Found::default();
    for version in versions {
        let (group, path) = match version.split_once('/') {
            Some((group, _)) => (group, format!("/apis/{version}")),
            None => ("", format!("/api/{version}")),
        };
        for resource in get(client, &path, "application/json").await["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            let (plural, subresource) = name.split_once('/').unwrap_or((name, ""));
            found.add(group, plural, subresource, &resource["verbs"]);
        }
    }
    found.endpoints(&custom)
}

/// Each resource and subresource once, with the verbs that it has in any version.
#[derive(Default)]
struct Found(BTreeMap<(String, String, String), BTreeSet<String>>);

impl Found {
    fn add(&mut self, group: &str, resource: &str, subresource: &str, verbs: &Value) {
        let known = self.0.entry((group.to_owned(), resource.to_owned(), subresource.to_owned())).or_default();
        known.extend(verbs.as_array().unwrap().iter().map(|verb| verb.as_str().unwrap().to_owned()));
    }

    fn endpoints(self, custom: &BTreeSet<(String, String)>) -> Vec<Endpoint> {
        let endpoint = |((group, resource, subresource), verbs): (_, BTreeSet<String>)| {
            let custom = custom.contains(&(Clone::clone(&group), Clone::clone(&resource)));
            Endpoint { group, resource, subresource, verbs: verbs.into_iter().collect(), custom }
        };
        self.0.into_iter().map(endpoint).collect()
    }
}
