//! What was in force stays in force: after restarts, with Git away, a volume lost, a record forged, a mutator in the way.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;

use gitadel::reconcile::webhook_configuration::NAME;
use hyper::Method;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::eventually;
use support::governed::Governed;

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {colour: blue}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.example/web:1}]}
";
const SETTINGS: &str = "/api/v1/namespaces/shop/configmaps/settings";
const MUTATORS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

impl Governed {
    fn lose_volume(&mut self) {
        self.stop_reconciler();
        self.stop_webhook();
        std::fs::remove_dir_all(&self.run_directory).unwrap();
    }

    /// Every write is refused: by the webhook, or because there is none.
    fn refuses(&self, arguments: &[&str]) -> String {
        let said = self.kubectl(arguments);
        assert!(!said.success && said.stderr.contains("gitadel.dev"), "{arguments:?}: {said:?}");
        said.stderr
    }

    fn configurations(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.client.clone())
    }

    async fn entries(&self) -> usize {
        let live = self.configurations().get_opt(NAME).await.unwrap();
        live.and_then(|live| live.webhooks).map_or(0, |entries| entries.len())
    }

    async fn restores_its_configuration(&self) {
        self.configurations().delete(NAME, &DeleteParams::default()).await.unwrap();
        eventually("the configuration", async || (self.entries().await > 0).then_some(())).await;
    }

    /// Waits until the API server obeys the restored configuration.
    async fn obeyed(&self) {
        eventually("a refusal", async || {
            let said = self.kubectl(&["-n", "shop", "annotate", "--overwrite", "configmap/settings", "probe=yes"]);
            (!said.success && said.stderr.contains("gitadel.dev")).then_some(())
        })
        .await;
    }
}

const EDITS: &[&[&str]] = &[
    &["-n", "shop", "create", "configmap", "mine"],
    &["-n", "shop", "scale", "deployment/web", "--replicas=3"],
    &["-n", "shop", "delete", "configmap/settings", "--wait=false"],
    &["create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=me"],
];

fn rename(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_knows_nothing_opens_nothing() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    governed.lose_volume();
    let away = governed.repository.with_extension("away");
    rename(&governed.repository, &away);
    let before = governed.configurations().get(NAME).await.unwrap();
    governed.run();
    let sealed = eventually("a webhook that knows that it knows nothing", async || {
        let said = governed.kubectl(&["-n", "shop", "delete", "configmap/settings", "--wait=false"]);
        assert!(!said.success, "{said:?}");
        said.stderr.contains("does not know yet").then_some(said.stderr)
    })
    .await;
    assert!(sealed.contains("stays as it is") && sealed.contains("\"all\""), "{sealed}");
    for edit in EDITS {
        governed.refuses(edit);
    }
    let rules = |configuration: &ValidatingWebhookConfiguration| {
        let entries = configuration.webhooks.iter().flatten();
        entries.map(|entry| (entry.name.clone(), entry.rules.clone())).collect::<Vec<_>>()
    };
    let now = governed.configurations().get(NAME).await.unwrap();
    assert_eq!(rules(&now).len(), rules(&before).len(), "{now:#?}");
    governed.restores_its_configuration().await;
    governed.obeyed().await;
    for edit in EDITS {
        governed.refuses(edit);
    }
    let drifted = governed.reconciler_metrics().sum("gitadel_drift_detected_total", &[]);
    assert_eq!(drifted, 0.0, "what is not known is not drift");

    rename(&away, &governed.repository);
    governed.notify().await;
    governed.converged().await;
    eventually("a denial that knows why", async || {
        let said = governed.refuses(&["-n", "shop", "delete", "configmap/settings", "--wait=false"]);
        said.contains("shop.yaml:").then_some(())
    })
    .await;
    let said = governed.kubectl(&["-n", "shop", "delete", "pods", "--all", "--wait=false"]);
    assert!(said.success, "{said:?}");
}

/// A mutator that nothing is sent to, kept by a finalizer of somebody else.
fn rogue(finalizers: &[&str]) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "rogue", "finalizers": finalizers},
        "webhooks": [{
            "name": "rogue.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Ignore", "timeoutSeconds": 1,
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["nothings"]}],
        }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutator_in_the_way_stops_neither_the_guard_nor_repairs() {
    let mut governed = Governed::start(&[("shop.yaml", SHOP)]).await;
    governed.stop_reconciler();
    send(&governed.client, Method::POST, MUTATORS, &rogue(&["example.com/stays"])).await.unwrap();
    governed.run_reconciler();
    let path = format!("{MUTATORS}/rogue");
    eventually("its deletion", async || {
        let mutator = get(&governed.client, &path).await.unwrap();
        mutator["metadata"]["deletionTimestamp"].is_string().then_some(())
    })
    .await;
    // Its finalizer keeps it, and with it every round from its end.
    governed.restores_its_configuration().await;
    let paint = json!([{"op": "replace", "path": "/data/colour", "value": "red"}]);
    governed.slip_in(Method::PATCH, SETTINGS, &paint).await;
    eventually("the repair", async || {
        (get(&governed.client, SETTINGS).await.unwrap()["data"]["colour"] == "blue").then_some(())
    })
    .await;
    let stays = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
    send(&governed.client, Method::PATCH, &path, &stays).await.unwrap();
    governed.commit("go on", &[("shop.yaml", &SHOP.replace("blue", "green"))]);
    governed.converged().await;

    // The same without a volume: what is not known cannot be repaired, but the mutator goes.
    governed.lose_volume();
    send(&governed.client, Method::POST, MUTATORS, &rogue(&[])).await.unwrap();
    governed.run();
    eventually("the mutator to go", async || get(&governed.client, &path).await.is_none().then_some(())).await;
    governed.commit("go on", &[("shop.yaml", &SHOP.replace("blue", "yellow"))]);
    governed.converged().await;
}
