//! Every way to take gitadel's webhook configuration out of force by the API.

use http_body_util::BodyExt;
use hyper::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

pub const COLLECTION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
pub const OWN: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gitadel";

pub struct Attempt {
    pub name: String,
    pub method: Method,
    pub path: String,
    pub content: &'static str,
    pub body: Value,
}

impl Attempt {
    pub fn new(
        name: impl Into<String>,
        method: Method,
        path: impl Into<String>,
        content: &'static str,
        body: Value,
    ) -> Self {
        Self { name: name.into(), method, path: path.into(), content, body }
    }

    /// What the API server answers.
    pub async fn make(&self, client: &Client, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = Request::builder().method(self.method.clone()).uri(&self.path);
        request = request.header("content-type", self.content);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if self.body.is_null() { Vec::new() } else { self.body.to_string().into_bytes() };
        let response = client.send(request.body(body.into()).unwrap()).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// All of them, against the configuration as it is.
pub fn all(live: &Value) -> Vec<Attempt> {
    let mut all = vec![
        Attempt::new("delete", Method::DELETE, OWN, JSON, Value::Null),
        Attempt::new(
            "delete at once",
            Method::DELETE,
            format!("{OWN}?gracePeriodSeconds=0&propagationPolicy=Orphan"),
            JSON,
            Value::Null,
        ),
        Attempt::new("delete the collection", Method::DELETE, COLLECTION, JSON, Value::Null),
        Attempt::new(
            "delete by label",
            Method::DELETE,
            format!("{COLLECTION}?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dgitadel"),
            JSON,
            Value::Null,
        ),
        Attempt::new(
            "delete by uid",
            Method::DELETE,
            OWN,
            JSON,
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": live["metadata"]["uid"]}}),
        ),
    ];
    all.extend(edits(live).into_iter().map(|(name, edit)| Attempt::new(name, Method::PATCH, OWN, JSON_PATCH, edit)));

    let mut emptied = live.clone();
    emptied["webhooks"] = json!([]);
    emptied["metadata"]["managedFields"] = Value::Null;
    all.push(Attempt::new("replace by nothing", Method::PUT, OWN, JSON, emptied.clone()));
    all.push(Attempt::new("merge patch to nothing", Method::PATCH, OWN, MERGE, json!({"webhooks": null})));
    let first = &live["webhooks"][0]["name"];
    let ignored = json!({"webhooks": [{"name": first, "failurePolicy": "Ignore"}]});
    all.push(Attempt::new("strategic patch of one entry", Method::PATCH, OWN, STRATEGIC, ignored));
    let dropped = json!({"webhooks": [{"name": first, "$patch": "delete"}]});
    all.push(Attempt::new("strategic patch that drops one entry", Method::PATCH, OWN, STRATEGIC, dropped));
    let mut applied = live.clone();
    applied["metadata"] = json!({"name": "gitadel"});
    applied["webhooks"][0]["failurePolicy"] = json!("Ignore");
    for manager in ["gitadel", "somebody"] {
        let path = format!("{OWN}?fieldManager={manager}&force=true");
        all.push(Attempt::new(format!("apply as {manager}"), Method::PATCH, path, APPLY, applied.clone()));
    }
    all
}

/// One for every part of an entry and of the object.
fn edits(live: &Value) -> Vec<(String, Value)> {
    let replace = |path: String, value: Value| json!([{"op": "add", "path": path, "value": value}]);
    let mut edits = vec![
        ("another label".to_owned(), replace("/metadata/labels/a".into(), json!("b"))),
        ("no labels".into(), json!([{"op": "remove", "path": "/metadata/labels"}])),
        ("an annotation".into(), replace("/metadata/annotations".into(), json!({"a": "b"}))),
        ("a finalizer".into(), replace("/metadata/finalizers".into(), json!(["example.org/keep"]))),
        (
            "an owner".into(),
            replace(
                "/metadata/ownerReferences".into(),
                json!([{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}]),
            ),
        ),
        ("no entries".into(), json!([{"op": "remove", "path": "/webhooks"}])),
    ];
    let entries = live["webhooks"].as_array().unwrap();
    for (at, entry) in entries.iter().enumerate() {
        let name = entry["name"].as_str().unwrap();
        let path = |field: &str| format!("/webhooks/{at}/{field}");
        let conditions = entry["matchConditions"].as_array().unwrap();
        let last = conditions.len() - 1;
        let of_entry = [
            ("ignored", replace(path("failurePolicy"), json!("Ignore"))),
            ("exact", replace(path("matchPolicy"), json!("Exact"))),
            ("object selector", replace(path("objectSelector"), json!({"matchLabels": {"a": "b"}}))),
            ("namespace selector", replace(path("namespaceSelector"), json!({"matchLabels": {"a": "b"}}))),
            ("timeout", replace(path("timeoutSeconds"), json!(30))),
            ("another URL", replace(path("clientConfig/url"), json!("https://203.0.113.1/admit"))),
            ("another path", replace(path("clientConfig/url"), json!("https://127.0.0.1:1/admit"))),
            ("a service", replace(path("clientConfig"), json!({"service": {"namespace": "default", "name": "x"}}))),
            ("no authority", json!([{"op": "remove", "path": path("clientConfig/caBundle")}])),
            ("less rules", replace(path("rules"), json!([rule("", "v1", "secrets", "DELETE")]))),
            ("no rules", replace(path("rules"), json!([]))),
            ("one condition less", json!([{"op": "remove", "path": path("matchConditions/0")}])),
            ("a condition more", replace(path("matchConditions/-"), json!({"name": "never", "expression": "false"}))),
            ("another scope", replace(path(&format!("matchConditions/{last}/expression")), json!("false"))),
            ("another name", replace(path("name"), json!("other.gitadel.dev"))),
            ("gone", json!([{"op": "remove", "path": format!("/webhooks/{at}")}])),
            ("another version of reviews", replace(path("admissionReviewVersions"), json!(["v1beta1", "v1"]))),
        ];
        edits.extend(of_entry.into_iter().map(|(what, edit)| (format!("{name}: {what}"), edit)));
    }
    edits.extend(registered(live));
    let mut foreign = entries[0].clone();
    foreign["name"] = json!("deny.example.org");
    edits.push(("an entry that denies".into(), replace("/webhooks/-".into(), foreign)));
    edits
}

/// What is registered for nothing and kept out all the same: the way between the two entries.
fn registered(live: &Value) -> Vec<(String, Value)> {
    let entries = live["webhooks"].as_array().unwrap();
    let position = |name: &str| entries.iter().position(|entry| entry["name"] == name).unwrap();
    let (named, rest) = (position("enforce.gitadel.dev"), position("enforce-rest.gitadel.dev"));
    let conditions = entries[rest]["matchConditions"].as_array().unwrap();
    let at = conditions.iter().position(|condition| condition["name"] == "not-registered").unwrap();
    let expression = conditions[at]["expression"].as_str().unwrap();
    let kept_out = |names: &str| {
        json!({"op": "replace", "path": format!("/webhooks/{rest}/matchConditions/{at}/expression"),
            "value": expression.replace("])", &format!(", {names}])"))})
    };
    let rule = |rule: Value| json!({"op": "add", "path": format!("/webhooks/{named}/rules/-"), "value": rule});
    let secrets = "'/secrets'";
    vec![
        ("kept out and not registered".into(), json!([kept_out(secrets)])),
        (
            "registered in a version that is not served".into(),
            json!([rule(self::rule("", "v9", "secrets", "*")), kept_out(secrets)]),
        ),
        (
            "registered for deletions only".into(),
            json!([rule(self::rule("", "v1", "secrets", "DELETE")), kept_out(secrets)]),
        ),
        (
            "registered for another scope".into(),
            json!([
                rule({
                    let mut rule = self::rule("", "v1", "secrets", "*");
                    rule["scope"] = json!("Cluster");
                    rule
                }),
                kept_out(secrets)
            ]),
        ),
        (
            "registered under a name that ends the list".into(),
            json!([rule(self::rule("", "v1", "x'] || true || '' in ['", "*")), kept_out("'/x'] || true || '' in [''")]),
        ),
    ]
}

fn rule(group: &str, version: &str, resource: &str, operation: &str) -> Value {
    json!({"apiGroups": [group], "apiVersions": [version], "operations": [operation], "resources": [resource], "scope": "*"})
}
