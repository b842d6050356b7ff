//! What a client of the API server sees of gitadel: the time of an update, with it and without.

use std::time::Instant;

use hyper::Method;
use kube::Client;
use serde_json::{Value, json};

use crate::figures::{Times, figure, fleet, short};
use crate::support::bypass::send;
use crate::support::client_for;
use crate::support::governed::Governed;

/// The fields of a Deployment that it updates are delegated to it.
const USER: &str = "scaler";
const UPDATES: usize = 1_000;
const COLLECTION: &str = "/apis/apps/v1/namespaces/fleet/deployments";
const EXCLUDED: &str = "/apis/apps/v1/namespaces/kube-excluded/deployments";

/// Updates a delegated field, before gitadel runs and then alternately with one of the same object in a namespace that is
/// not governed.
pub async fn measure() {
    let deployment = fleet::canonical_deployment(0);
    let name = deployment["metadata"]["name"].as_str().unwrap();
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let files = [namespace(fleet::NAMESPACE).to_string(), deployment.to_string()];
    let mut governed = Governed::prepare(&[("namespace.yaml", &files[0]), ("deployment.yaml", &files[1])]).await;
    governed.control_plane.stop_controller_manager();
    governed.log_filter = "warn,gitadel=info".into();
    let client = client_for(&governed.control_plane, USER, Some("system:masters")).await;
    for (collection, namespace_name) in [(COLLECTION, fleet::NAMESPACE), (EXCLUDED, "kube-excluded")] {
        send(&client, Method::POST, "/api/v1/namespaces", &namespace(namespace_name)).await.unwrap();
        let mut object = deployment.clone();
        object["metadata"]["namespace"] = json!(namespace_name);
        send(&client, Method::POST, collection, &object).await.unwrap();
    }
    let (inside, outside) = (format!("{COLLECTION}/{name}"), format!("{EXCLUDED}/{name}"));
    let mut without = Times::default();
    for number in 0..UPDATES {
        update(&client, &outside, number, None).await;
        update(&client, &inside, number, Some(&mut without)).await;
    }

    governed.run();
    let mut enforcement = governed.enforcement();
    enforcement["spec"]["delegations"] =
        json!([{"user": USER, "group": "apps", "kind": "Deployment", "fields": ["spec.replicas"]}]);
    governed.enforce(enforcement).await;
    governed.converged().await;
    let (mut with, mut excluded) = (Times::default(), Times::default());
    for number in 0..UPDATES {
        update(&client, &outside, number, Some(&mut excluded)).await;
        update(&client, &inside, number, Some(&mut with)).await;
    }
    let reviews = governed.webhook_metrics().sum("gitadel_admission_reviews_total", &[("outcome", "allow")]);
    assert!(reviews >= UPDATES as f64, "the webhook was asked {reviews} times only");
    let added = with.p50().saturating_sub(excluded.p50());
    figure(
        "client: p50 that gitadel adds to an update of 10 KB",
        short(added),
        "< 1 ms",
        format!("with: {with}; the same in a namespace that is not governed: {excluded}; before gitadel: {without}"),
    );
}

async fn update(client: &Client, path: &str, number: usize, times: Option<&mut Times>) {
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": number % 7}]);
    let start = Instant::now();
    let answer: Value = send(client, Method::PATCH, path, &patch).await.unwrap();
    let took = start.elapsed();
    assert_eq!(answer["spec"]["replicas"], json!(number % 7));
    if let Some(times) = times {
        times.add(took);
    }
}
