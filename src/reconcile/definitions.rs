//! Waiting for a CustomResourceDefinition: its kind is served only some moments after it was created.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Api, Client};

/// Returns when the definition is established and its kind had a moment to appear in discovery.
pub async fn established(client: &Client, name: &str) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    match await_condition(api, name, is_crd_established()).await {
        Ok(_) => tokio::time::sleep(DISCOVERY_LAG).await,
        Err(error) => tracing::warn!(definition = name, %error, "not established"),
    }
}

/// Between the condition and the kind's first answer; the API server publishes in the background.
const DISCOVERY_LAG: Duration = Duration::from_millis(200);
