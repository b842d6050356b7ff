//! Every write that the API server serves, made once in each version: gitadel's entries are asked about it as the
//! classification says, and by exactly one of them.

use std::collections::BTreeSet;
use std::time::Duration;

use gitadel::admission::Operation;
use gitadel::admission::coverage::{Endpoint, Treatment, classify};
use gitadel::demo::control_plane::{ControlPlane, Options};
use gitadel::reconcile::discovery::Discovery;
use gitadel::reconcile::webhook_configuration::guard::store;
use gitadel::reconcile::webhook_configuration::{Canary, Place, prove_enforcing};
use gitadel::snapshot::KindInfo;
use kube::Api;
use serde_json::{Value, json};

use super::recorder::Recorder;
use super::source::source;
use super::support::{client, client_for, eventually};
use super::witness::{Judge, Writer, row_of};
use super::{configuration_of, named, samples, served};

const TESTER: &str = "tester";
const REGISTERED: &str = "enforce.gitadel.dev";
const REST: &str = "enforce-rest.gitadel.dev";

/// Where a kind is served, and how.
struct Paths {
    api_version: String,
    collection: String,
    object: String,
    key: String,
}

struct Tour<'a> {
    writer: Writer<'a>,
    judge: Judge,
    /// Every second kind is as if Git used it.
    registered: BTreeSet<(String, String)>,
    problems: Vec<String>,
    made: BTreeSet<String>,
}

fn paths(kind: &KindInfo) -> Paths {
    let KindInfo { group, version, resource, .. } = kind;
    let (root, api_version) = match group.as_str() {
        "" => (format!("/api/{version}"), version.clone()),
        _ => (format!("/apis/{group}/{version}"), format!("{group}/{version}")),
    };
    let namespace = if kind.namespaced { "/namespaces/shop" } else { "" };
    let collection = format!("{root}{namespace}/{resource}");
    let key = format!("{group}/{resource}");
    Paths { api_version, object: format!("{collection}/{}", samples::name_of(&key)), collection, key }
}

/// Whether a write came past admission. What was made in another version exists already.
fn has_reached_storage(answer: &Result<String, kube::Error>) -> bool {
    match answer {
        Ok(_) => true,
        Err(kube::Error::Api(status)) => status.reason == "AlreadyExists",
        Err(_) => false,
    }
}

impl Tour<'_> {
    /// Makes one write and looks who was asked.
    async fn make(&mut self, endpoint: &Endpoint, operation: Operation, method: &str, path: &str, body: &Value) {
        let made = self.writer.make(method, path, body).await;
        let what = format!("{method} {path}");
        let rows = classify(endpoint).unwrap_or_else(|unknown| panic!("{what}: no row for {unknown:?}"));
        let row = rows.into_iter().find(|(other, _)| *other == operation).unwrap().1;
        let asked = made.witnessed.iter().filter(|review| review["operation"] == operation.as_str());
        let mut problem = |text: String| self.problems.push(format!("{what}: {text}: {:?}", made.answer));
        if matches!(row.treatment, Treatment::NeverAsked { .. }) {
            if !made.witnessed.is_empty() || !made.entries.is_empty() {
                problem("somebody was asked".to_owned());
            } else if !has_reached_storage(&made.answer) {
                problem("it was not made".to_owned());
            }
            return;
        }
        if asked.clone().next().is_none() {
            return problem("no webhook was asked at all".to_owned());
        }
        for review in asked {
            if !std::ptr::eq(row_of(review), row) {
                problem(format!("another row is about what was asked: {:?}", row_of(review)));
            }
            self.judge.check(&what, review, made.entries.is_empty());
        }
        let entry = if self.registered.contains(&(endpoint.group.clone(), endpoint.resource.clone())) {
            REGISTERED
        } else {
            REST
        };
        let entries: Vec<_> = made.entries.iter().map(String::as_str).collect();
        let expected = match row.treatment {
            Treatment::PreDecided(exemption) if exemption.is_unconditional() => entries.is_empty(),
            Treatment::PreDecided(_) => entries.is_empty() || entries == [entry],
            _ => entries == [entry],
        };
        if !expected {
            problem(format!("asked were {entries:?}, and the row says {:?}", row.treatment));
        }
    }

    async fn visit(&mut self, kind: &KindInfo, endpoints: &[Endpoint]) {
        let paths = paths(kind);
        let name = samples::name_of(&paths.key);
        let of_kind = |endpoint: &&Endpoint| {
            let subresource = &endpoint.subresource;
            (&endpoint.group, &endpoint.resource) == (&kind.group, &kind.resource)
                && (subresource.is_empty() || kind.subresources.contains(subresource))
        };
        let (main, subresources): (Vec<_>, Vec<_>) =
            endpoints.iter().filter(of_kind).partition(|endpoint| endpoint.subresource.is_empty());
        let [main] = main.as_slice() else { panic!("{}: {main:?}", paths.key) };
        let offers = |endpoint: &Endpoint, verb: &str| endpoint.verbs.iter().any(|v| v == verb);
        if offers(main, "create") {
            let Some(sample) = samples::creatable_in(&kind.version, &paths.key) else {
                return self.problems.push(format!("{}: tests/webhook_configuration/samples.rs has none", paths.key));
            };
            let mut sample = match paths.key.as_str() {
                "/bindings" => named("p", sample),
                key if key.starts_with("authorization.k8s.io/") => sample,
                _ => named(name, sample),
            };
            sample["apiVersion"] = paths.api_version.clone().into();
            sample["kind"] = kind.kind.clone().into();
            let dry = if paths.key == "/bindings" { "?dryRun=All" } else { "" };
            self.make(main, Operation::Create, "POST", &format!("{}{dry}", paths.collection), &sample).await;
        }
        if offers(main, "patch") {
            let labelled = json!({"metadata": {"labels": {"a": ""}}});
            self.make(main, Operation::Update, "PATCH", &paths.object, &labelled).await;
        }
        for endpoint in subresources {
            self.visit_subresource(&paths, endpoint).await;
        }
        if offers(main, "delete") {
            self.make(main, Operation::Delete, "DELETE", &format!("{}?dryRun=All", paths.object), &Value::Null).await;
        }
        if offers(main, "deletecollection") {
            let path = format!("{}?dryRun=All&fieldSelector=metadata.name%3D{name}", paths.collection);
            self.make(main, Operation::Delete, "DELETE", &path, &Value::Null).await;
        }
        self.made.insert(paths.key);
    }

    async fn visit_subresource(&mut self, paths: &Paths, endpoint: &Endpoint) {
        let path = format!("{}/{}", paths.object, endpoint.subresource);
        for (operation, _) in classify(endpoint).unwrap_or_else(|unknown| panic!("{path}: no row for {unknown:?}")) {
            match operation {
                // Whatever becomes of the connection: there is nothing at its other end, and of a Service of this name the
                // API server does not even look for one.
                Operation::Connect => {
                    let path = path.replace("/services/x/", "/services/no:service:at:all/");
                    for (method, verb) in [
                        ("POST", "create"),
                        ("GET", "get"),
                        ("PUT", "update"),
                        ("PATCH", "patch"),
                        ("DELETE", "delete"),
                    ] {
                        if endpoint.verbs.iter().any(|v| v == verb) {
                            self.make(endpoint, operation, method, &format!("{path}?command=id"), &Value::Null).await;
                        }
                    }
                }
                Operation::Create => match samples::creatable_through(&endpoint.subresource) {
                    Some(sample) => {
                        let body = named(samples::name_of(&paths.key), sample);
                        self.make(endpoint, operation, "POST", &format!("{path}?dryRun=All"), &body).await;
                    }
                    None => self.problems.push(format!("{path}: tests/webhook_configuration/samples.rs has none")),
                },
                Operation::Update => {
                    let readable = endpoint.verbs.iter().any(|verb| verb == "get");
                    let source = if readable { &path } else { &paths.object };
                    let mut labelled = self.writer.get(source).await;
                    labelled["metadata"]["labels"]["through"] = "".into();
                    self.make(endpoint, operation, "PUT", &format!("{path}?dryRun=All"), &labelled).await;
                    // The API server may have written its own status meanwhile.
                    let live = self.writer.get(source).await;
                    self.make(endpoint, operation, "PUT", &path, &live).await;
                }
                Operation::Delete => self.problems.push(format!("{path}: nobody has thought of its deletion")),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_write_that_is_served_reaches_one_entry_or_is_decided_before() {
    let options = Options { controller_manager: false, apiserver_flags: served::all_of_it(), ..Options::default() };
    let control_plane = ControlPlane::start(options).await.unwrap();
    let recorder = Recorder::start().await;
    let admin = Writer { client: client(&control_plane).await, user: "admin", recorder: &recorder };
    let post = async |path: &str, body: Value| admin.call("POST", path, &body).await.unwrap();
    post("/api/v1/namespaces", named("shop", json!({}))).await;
    post("/api/v1/namespaces/shop/serviceaccounts", named("default", json!({}))).await;
    post("/api/v1/nodes", named("n", json!({}))).await;
    post("/api/v1/namespaces/shop/pods", named("p", samples::creatable("/pods").unwrap())).await;
    let definitions: Value = serde_json::from_str(&served::definitions()).unwrap();
    for definition in definitions["items"].as_array().unwrap() {
        post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition.clone()).await;
    }
    let client = client_for(&control_plane, TESTER, Some("system:masters")).await;
    let endpoints = eventually("the custom resources", async || {
        let endpoints = served::aggregated(&client).await;
        (endpoints.iter().filter(|endpoint| endpoint.custom).count() == served::DEFINED.len()).then_some(endpoints)
    })
    .await;
    let discovery = Discovery::read(&client).await.unwrap();
    let versions: Vec<KindInfo> =
        discovery.kinds().flat_map(|(_, versions)| versions).map(|served| served.info.clone()).collect();
    let kinds: Vec<KindInfo> = discovery
        .kinds()
        .enumerate()
        .map(|(position, (kind, versions))| KindInfo {
            registered: position % 2 == 0 && kind.group != "admissionregistration.k8s.io",
            ..versions[0].info.clone()
        })
        .collect();

    let source = source("all", json!({"excludedNamespaces": [], "cluster": "All"}));
    let configuration = configuration_of(&recorder, std::slice::from_ref(&source), &kinds);
    store(&Api::all(client.clone()), &configuration, None).await.unwrap();
    let canary = Canary { places: vec![Place::Namespace("shop".into())], closed: None };
    prove_enforcing(client.clone(), &canary, Duration::from_secs(20)).await.unwrap();
    let writer = Writer { client, user: TESTER, recorder: &recorder };
    writer.summon_witness().await;

    assert!(versions.len() > kinds.len() + 10, "kinds that are served in several versions: {versions:?}");
    let registered = kinds.iter().filter(|kind| kind.registered);
    let registered = registered.map(|kind| (kind.group.clone(), kind.resource.clone())).collect();
    let judge = Judge { kinds, source };
    let mut tour = Tour { writer, judge, registered, problems: Vec::new(), made: BTreeSet::new() };
    for kind in &versions {
        tour.visit(kind, &endpoints).await;
    }
    assert!(tour.problems.is_empty(), "{:#?}", tour.problems);

    let writable = |endpoint: &&Endpoint| classify(endpoint).is_ok_and(|rows| !rows.is_empty());
    let served: BTreeSet<_> =
        endpoints.iter().filter(writable).map(|endpoint| format!("{}/{}", endpoint.group, endpoint.resource)).collect();
    let left: Vec<_> = served.difference(&tour.made).collect();
    assert!(left.is_empty(), "no write was made to {left:?}");
}
