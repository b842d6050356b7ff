//! What the match conditions keep out of the webhook, its rules would admit from anybody.
//!
//! Writes are generated around each condition, and the API server's own CEL says which of them it keeps out: those that a
//! second webhook without conditions is asked about, and none of gitadel's entries. `decide` judges these as writes of
//! somebody who is nobody in particular, by snapshots that know nothing of the object, something else, or not all.

use std::collections::{BTreeMap, BTreeSet};

use gitadel::admission::coverage::{OWN_DRY_RUN, ROWS, Treatment};
use gitadel::api::Enforcement;
use gitadel::demo::control_plane::{ControlPlane, Options};
use gitadel::reconcile::discovery::Discovery;
use gitadel::reconcile::webhook_configuration::guard::store;
use gitadel::reconcile::webhook_configuration::{Canary, Place, prove_enforcing};
use gitadel::snapshot::KindInfo;
use kube::{Api, CustomResourceExt};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::attempts::{Attempt, bindings, nodes, slices, statuses, whole};
use super::recorder::Recorder;
use super::source::source;
use super::support::{client, client_for, eventually};
use super::witness::{Judge, Writer};
use super::{configuration_of, samples, served};

const TESTER: &str = "tester";

/// The object with other values, where null is kept as a value and not taken for absence.
fn laid_over(live: &Value, changes: &Value) -> Value {
    match (live, changes) {
        (Value::Object(live), Value::Object(changes)) => {
            let mut merged = live.clone();
            for (key, value) in changes {
                merged.insert(key.clone(), laid_over(live.get(key).unwrap_or(&Value::Null), value));
            }
            Value::Object(merged)
        }
        _ => changes.clone(),
    }
}

async fn prepare(admin: &Writer<'_>) {
    let post = async |path: &str, body: Value| {
        admin.call("POST", path, &body).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    };
    for namespace in ["shop", "gitadel-system"] {
        post("/api/v1/namespaces", json!({"metadata": {"name": namespace}})).await;
    }
    for namespace in ["shop", "gitadel-system", "kube-system"] {
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        post(&accounts, json!({"metadata": {"name": "default"}})).await;
    }
    for namespace in ["shop", "gitadel-system"] {
        let pod = super::named("p", samples::creatable("/pods").unwrap());
        post(&format!("/api/v1/namespaces/{namespace}/pods"), pod).await;
    }
    post("/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    let service = super::named("s", samples::creatable("/services").unwrap());
    post("/api/v1/namespaces/shop/services", service).await;
    let deployment = super::named("web", samples::creatable("apps/deployments").unwrap());
    post("/apis/apps/v1/namespaces/shop/deployments", deployment).await;
    let scaler = super::named("x", samples::creatable("autoscaling/horizontalpodautoscalers").unwrap());
    post("/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers", scaler).await;
    let definitions: Value = serde_json::from_str(&served::definitions()).unwrap();
    let own = serde_json::to_value(Enforcement::crd()).unwrap();
    for definition in definitions["items"].as_array().unwrap().iter().chain([&own]) {
        post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition.clone()).await;
    }
    let enforcement = json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": "all"},
        "spec": {"source": {"url": "https://git.example.com/a", "branch": "main"}, "scope": {"namespaces": ["shop"]}}});
    let widget =
        json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": {"replicas": 1}});
    for (path, body) in [
        ("/apis/gitadel.dev/v1alpha1/enforcements", enforcement),
        ("/apis/example.org/v1/namespaces/shop/widgets", widget),
    ] {
        eventually(path, async || admin.call("POST", path, &body).await.ok()).await;
    }
    let mut slice = json!({"addressType": "IPv4", "endpoints": [], "metadata": {"name": "gitadel-kept"}});
    slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": "gitadel",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
    post("/apis/discovery.k8s.io/v1/namespaces/gitadel-system/endpointslices", slice).await;
}

/// Of the writes about a condition.
#[derive(Debug, Default)]
struct Count {
    kept_out: u32,
    judged: u32,
    /// No admission was asked: the API server found the write invalid before.
    invalid: u32,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_out_is_admitted_by_the_rules_whoever_asks() {
    let control_plane = ControlPlane::start(Options { controller_manager: false, ..Options::default() }).await.unwrap();
    let recorder = Recorder::start().await;
    prepare(&Writer { client: client(&control_plane).await, user: "admin", recorder: &recorder }).await;
    let client = client_for(&control_plane, TESTER, Some("system:masters")).await;
    let kinds: Vec<KindInfo> = Discovery::read(&client)
        .await
        .unwrap()
        .kinds()
        .flat_map(|(_, versions)| versions.iter().map(|served| served.info.clone()))
        .collect();

    let source = source("all", json!({"excludedNamespaces": [], "cluster": "All"}));
    let configuration = configuration_of(&recorder, std::slice::from_ref(&source), &[]);
    store(&Api::all(client.clone()), &configuration, None).await.unwrap();
    let canary = Canary { places: vec![Place::Namespace("shop".into())], closed: None };
    prove_enforcing(client.clone(), &canary, std::time::Duration::from_secs(20)).await.unwrap();
    let writer = Writer { client, user: TESTER, recorder: &recorder };
    writer.summon_witness().await;
    let judge = Judge { kinds, source };

    let mut runner = TestRunner::deterministic();
    let families = [(statuses(), 360), (nodes(), 120), (slices(), 240), (bindings(), 60), (whole(), 150)];
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for (strategy, number) in families {
        for _ in 0..number {
            let attempt = strategy.new_tree(&mut runner).unwrap().current();
            try_one(&writer, &judge, &attempt, counts.entry(attempt.about).or_default()).await;
        }
    }

    // A test that never came to one side of a condition has shown nothing.
    let always: BTreeSet<_> = ROWS
        .iter()
        .filter_map(|row| match row.treatment {
            Treatment::PreDecided(exemption) if exemption.is_unconditional() => Some(exemption.name),
            _ => None,
        })
        .collect();
    let generated: BTreeSet<_> = configuration.webhooks.unwrap()[0]
        .match_conditions
        .iter()
        .flatten()
        .map(|condition| condition.name.clone())
        .filter(|name| ![OWN_DRY_RUN, "scope", "not-registered"].contains(&name.as_str()))
        .collect();
    let tried: BTreeSet<_> = counts.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(tried, generated, "each condition has its writes");
    for (about, count) in &counts {
        assert!(count.invalid <= count.kept_out + count.judged, "{about}: {counts:?}");
        assert!(count.kept_out >= 5, "{about}: {counts:?}");
        assert!(if always.contains(about) { count.judged == 0 } else { count.judged >= 5 }, "{about}: {counts:?}");
    }
}

async fn try_one(writer: &Writer<'_>, judge: &Judge, attempt: &Attempt, count: &mut Count) {
    let body = match attempt.method {
        "PUT" => match writer.call("GET", &attempt.path, &Value::Null).await {
            Ok(live) => laid_over(&serde_json::from_str(&live).unwrap(), &attempt.body),
            Err(_) => attempt.body.clone(),
        },
        _ => attempt.body.clone(),
    };
    let made = writer.make(attempt.method, &attempt.path, &body).await;
    if made.witnessed.is_empty() {
        assert!(made.answer.is_err(), "nobody was asked about {attempt:?}");
        assert!(made.entries.is_empty());
        count.invalid += 1;
        return;
    }
    let what = format!("{attempt:?}");
    for request in &made.witnessed {
        judge.check(&what, request, made.entries.is_empty());
    }
    assert!(made.entries.len() <= 1, "{what}: {:?}", made.entries);
    *if made.entries.is_empty() { &mut count.kept_out } else { &mut count.judged } += 1;
}
