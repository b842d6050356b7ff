//! The generated webhook configuration on a real API server: what reaches the webhook and by which entry, and that the
//! configuration comes back when somebody takes it away.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attempts;
mod enumerated;
mod exemptions;
mod guarding;
mod recorder;
mod routing;
mod samples;
#[path = "../support/served.rs"]
mod served;
#[path = "../support/source.rs"]
mod source;
#[path = "../support/mod.rs"]
mod support;
mod witness;

use std::collections::BTreeSet;

use gitadel::api::Action;
use gitadel::reconcile::webhook_configuration::{ClientTarget, Desired, generate};
use gitadel::snapshot::{KindInfo, Source};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use recorder::Recorder;
use serde_json::{Value, json};
use source::source;

/// Whose dry-runs are exempt.
const RECONCILER: &str = "reconciler";

fn kind(group: &str, kind: &str, resource: &str, subresources: &[&str]) -> KindInfo {
    KindInfo {
        group: group.into(),
        kind: kind.into(),
        resource: resource.into(),
        version: "v1".into(),
        namespaced: true,
        subresources: subresources.iter().map(|s| (*s).to_owned()).collect(),
        scale_paths: Default::default(),
        schema: Default::default(),
        registered: true,
    }
}

/// Everything but `kube-*` and `legacy` is enforced; `legacy` is observed.
fn configuration(recorder: &Recorder) -> ValidatingWebhookConfiguration {
    let excluded = json!(["kube-*", "legacy", "o'brien"]);
    let legacy = source("legacy", json!({"namespaces": ["legacy"]}));
    let sources = [
        source("all", json!({"excludedNamespaces": excluded, "cluster": "All"})),
        Source { action: Action::Observe, ..legacy },
    ];
    let kinds = [
        kind("", "ConfigMap", "configmaps", &[]),
        kind("apps", "Deployment", "deployments", &["scale", "status"]),
        kind("example.org", "Widget", "widgets", &[]),
    ];
    configuration_of(recorder, &sources, &kinds)
}

/// What is generated for these, where each entry calls the recorder by its own name.
fn configuration_of(recorder: &Recorder, sources: &[Source], kinds: &[KindInfo]) -> ValidatingWebhookConfiguration {
    let mut configuration = generate(&Desired {
        sources,
        kinds,
        target: &ClientTarget::Url(String::new()),
        ca_bundle: &recorder.ca_bundle,
        reconciler_users: &BTreeSet::from([RECONCILER.to_owned()]),
    });
    for entry in configuration.webhooks.as_mut().unwrap() {
        entry.client_config.url = Some(format!("https://127.0.0.1:{}/{}", recorder.port, entry.name));
    }
    configuration
}

fn named(name: &str, mut object: Value) -> Value {
    object["metadata"]["name"] = name.into();
    object
}
