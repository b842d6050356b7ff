//! What was in force stays in force: after restarts, with Git away, a volume lost, a record forged, a mutator in the way.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gitadel::reconcile::webhook_configuration::NAME;
use gitadel::snapshot::FILE_NAME;
use hyper::Method;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::governed::{Governed, condition};
use support::shop::{SETTINGS_PATH, SHOP, WEB};
use support::{eventually, kubectl_with_input};

const FILES: &[(&str, &str)] = &[("shop.yaml", SHOP), ("web.yaml", WEB)];
const MUTATORS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

impl Governed {
    /// Every write is refused: by the webhook, or because there is none.
    fn refuses(&self, arguments: &[&str]) -> String {
        self.rejects(arguments, "gitadel.dev")
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
}

const ENFORCEMENT: &str = "/apis/gitadel.dev/v1alpha1/enforcements/all";

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
    let mut governed = Governed::start(FILES).await;
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
    // Which of the entries a kind goes through is known with the commit; each is as closed as it was.
    let entries = |configuration: ValidatingWebhookConfiguration| {
        let entries = configuration.webhooks.unwrap_or_default().into_iter();
        entries.map(|entry| (entry.name, entry.failure_policy, entry.namespace_selector)).collect::<Vec<_>>()
    };
    let now = governed.configurations().get(NAME).await.unwrap();
    assert_eq!(entries(now), entries(before));
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
    governed.admits(&["-n", "shop", "delete", "pods", "--all", "--wait=false"]);
}

/// A mutator that nothing is sent to.
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
    let mut governed = Governed::start(FILES).await;
    // It comes as often as it goes, whatever finalizer it has, and keeps every round from its end.
    let (over, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let maker = tokio::spawn({
        let (client, over, made) = (governed.client.clone(), Arc::clone(&over), Arc::clone(&made));
        async move {
            while !over.load(Ordering::Relaxed) {
                let answer = send(&client, Method::POST, MUTATORS, &rogue(&["example.com/stays"])).await;
                made.fetch_add(usize::from(answer.is_ok()), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    });
    let path = format!("{MUTATORS}/rogue");
    governed.restores_its_configuration().await;
    let paint = json!([{"op": "replace", "path": "/data/colour", "value": "red"}]);
    governed.slip_in(Method::PATCH, SETTINGS_PATH, &paint).await;
    eventually("the repair", async || {
        (get(&governed.client, SETTINGS_PATH).await.unwrap()["data"]["colour"] == "blue").then_some(())
    })
    .await;
    eventually("the mutator to go and come again", async || (made.load(Ordering::Relaxed) > 1).then_some(())).await;
    over.store(true, Ordering::Relaxed);
    maker.await.unwrap();
    eventually("the mutator to go", async || get(&governed.client, &path).await.is_none().then_some(())).await;
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

const SECRETS: &str = "/api/v1/namespaces/gitadel-system/secrets";
const RECORD: &str = "/api/v1/namespaces/gitadel-system/secrets/gitadel-baseline-all-0";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const OLD: &str = "/api/v1/namespaces/default/configmaps/old";

fn evil(name: &str) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:authenticated"}]})
}

/// A record with one object more, and another colour in the one that was there.
fn forged(record: &Value) -> Value {
    let text = STANDARD.decode(record["data"]["objects"].as_str().unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\"colour\":\"grey\""), "{text}");
    let text = text.replace("\"colour\":\"grey\"", "\"colour\":\"pink\"");
    let mut objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    objects.push(evil("forged"));
    objects.sort_by_key(|object| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let group = text(&object["apiVersion"]).rsplit_once('/').map(|(group, _)| group.to_owned());
        let metadata = &object["metadata"];
        (group.unwrap_or_default(), text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
    });
    let text: String = objects.iter().map(|object| format!("{object}\n")).collect();
    let metadata = &record["metadata"];
    json!({"apiVersion": "v1", "kind": "Secret", "type": record["type"], "immutable": true,
        "metadata": {"name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"]},
        "data": {"objects": STANDARD.encode(text)}})
}

impl Governed {
    async fn with_old_objects() -> Self {
        let mut governed = Self::prepare(FILES).await;
        let default = ["-n", "default", "create"];
        for old in [["configmap", "old", "--from-literal=colour=grey"], ["secret", "generic", "old"]] {
            governed.admits(&[&default[..], &old].concat());
        }
        governed.run();
        governed.enforce(governed.enforcement()).await;
        governed.converged().await;
        governed
    }

    /// Puts another Secret in place of the record, or none, while no reconciler runs.
    async fn replace_record(&self, by: Option<&Value>) {
        self.slip_in(Method::DELETE, RECORD, &Value::Null).await;
        if let Some(by) = by {
            self.slip_in(Method::POST, SECRETS, by).await;
        }
    }

    async fn records_again(&self, record: &Value) {
        eventually("the record", async || {
            let now = get(&self.client, RECORD).await?;
            (now["data"] == record["data"] && now["metadata"]["labels"] == record["metadata"]["labels"]).then_some(())
        })
        .await;
    }

    async fn has_problem(&self, reason: &str) -> String {
        eventually(reason, async || {
            let status = self.status().await;
            let problem = status["problems"].as_array()?.iter().find(|problem| problem["reason"] == reason)?;
            problem["message"].as_str().map(str::to_owned)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_the_baseline_stays_what_it_was() {
    let mut governed = Governed::with_old_objects().await;
    let record = get(&governed.client, RECORD).await.unwrap();

    governed.slip_in(Method::DELETE, RECORD, &Value::Null).await;
    governed.records_again(&record).await;
    let unlabelled = json!([{"op": "remove", "path": "/metadata/labels"}]);
    governed.slip_in(Method::PATCH, RECORD, &unlabelled).await;
    governed.records_again(&record).await;
    governed.converged().await;

    // What a process finds is compared with what the one before has read.
    governed.stop_reconciler();
    governed.replace_record(Some(&forged(&record))).await;
    governed.run_reconciler();
    governed.records_again(&record).await;
    governed.round_is_over().await;
    assert!(get(&governed.client, &format!("{BINDINGS}/forged")).await.is_none());
    assert_eq!(get(&governed.client, OLD).await.unwrap()["data"]["colour"], "grey");

    // Nothing that came meanwhile is taken for old.
    governed.stop_reconciler();
    governed.replace_record(None).await;
    governed.slip_in(Method::POST, BINDINGS, &evil("planted")).await;
    governed.run_reconciler();
    governed.records_again(&record).await;
    let planted = format!("{BINDINGS}/planted");
    eventually("its removal", async || get(&governed.client, &planted).await.is_none().then_some(())).await;
    governed.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_nobody_can_prove_only_freezes_what_is_there() {
    let mut governed = Governed::with_old_objects().await;
    let record = get(&governed.client, RECORD).await.unwrap();
    governed.stop_reconciler();
    governed.replace_record(Some(&forged(&record))).await;
    governed.lose_volume();
    governed.run();
    let told = governed.has_problem("BaselineDoubted").await;
    assert!(told.contains("left so: ConfigMap default/old") && told.contains(" forged"), "{told}");
    // Also where a process goes on with what this one wrote down.
    let snapshot = governed.run_directory.join("snapshot").join(FILE_NAME);
    eventually("a snapshot", async || snapshot.exists().then_some(())).await;
    governed.stop_reconciler();
    governed.commit("go on", &[("shop.yaml", &SHOP.replace("blue", "green"))]);
    governed.run_reconciler();
    eventually("the commit", async || {
        (get(&governed.client, SETTINGS_PATH).await.unwrap()["data"]["colour"] == "green").then_some(())
    })
    .await;
    eventually("the doubts", async || {
        let status = governed.status().await;
        let told = status["problems"].to_string().contains("BaselineDoubted");
        (told && condition(&status, "Converged") == "False").then_some(())
    })
    .await;
    assert!(get(&governed.client, &format!("{BINDINGS}/forged")).await.is_none());
    assert_eq!(get(&governed.client, OLD).await.unwrap()["data"]["colour"], "grey");
    // It is in force but for these.
    governed.obeyed().await;
    governed.refuses(&["create", "clusterrolebinding", "forged", "--clusterrole=cluster-admin", "--group=x"]);
    governed.refuses(&["-n", "default", "delete", "secret", "old"]);
    let paint = json!([{"op": "add", "path": "/data", "value": {"a": "Yg=="}}]);
    let secret = "/api/v1/namespaces/default/secrets/old";
    governed.slip_in(Method::PATCH, secret, &paint).await;
    eventually("the repair", async || get(&governed.client, secret).await.unwrap()["data"].is_null().then_some(()))
        .await;
    // What a person decides.
    governed.admits(&["-n", "default", "patch", "configmap", "old", "-p", r#"{"data":{"colour":"pink"}}"#]);
    governed.commit("go on", &[("shop.yaml", &SHOP.replace("blue", "yellow"))]);
    eventually("one doubt less", async || {
        let problems = governed.status().await["problems"].to_string();
        (problems.contains(" forged") && !problems.contains("default/old")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_is_lost_with_the_volume_is_made_anew_only_when_asked_for() {
    let mut governed = Governed::with_old_objects().await;
    governed.stop_reconciler();
    governed.replace_record(None).await;
    governed.slip_in(Method::POST, BINDINGS, &evil("planted")).await;
    governed.lose_volume();
    governed.run();
    let told = governed.has_problem("BaselineNotRecorded").await;
    assert!(told.contains("the Secrets are gone") && told.contains("action: Observe"), "{told}");
    governed.commit("go on", &[("shop.yaml", &SHOP.replace("blue", "green"))]);
    governed.notify().await;
    eventually("the commit", async || {
        (get(&governed.client, SETTINGS_PATH).await.unwrap()["data"]["colour"] == "green").then_some(())
    })
    .await;
    assert!(get(&governed.client, RECORD).await.is_none());
    governed.obeyed().await;
    governed.refuses(&["-n", "default", "delete", "configmap", "old"]);

    // What the message says, and no other way leads there.
    let action = |action: &str| json!([{"op": "replace", "path": "/spec/action", "value": action}]);
    governed.slip_in(Method::PATCH, ENFORCEMENT, &action("Observe")).await;
    eventually("it to be put back", async || {
        (get(&governed.client, ENFORCEMENT).await.unwrap()["spec"]["action"] == "Enforce").then_some(())
    })
    .await;
    let declared = |action: &str| governed.enforcement_with(json!({"action": action})).to_string();
    governed.commit("observe", &[("enforcement.yaml", &declared("Observe"))]);
    governed.notify().await;
    eventually("it to observe only", async || {
        governed.kubectl(&["-n", "default", "delete", "configmap", "old"]).success.then_some(())
    })
    .await;
    governed.commit("enforce", &[("enforcement.yaml", &declared("Enforce"))]);
    governed.notify().await;
    send(&governed.client, Method::PATCH, ENFORCEMENT, &action("Enforce")).await.unwrap();
    governed.converged().await;
    assert!(get(&governed.client, RECORD).await.is_some());
}

/// `managedFields` that nobody's reader of JSON follows to the end.
fn bottomless(api_version: &str) -> String {
    let fields = format!("{}{{}}{}", r#"{"f:a":"#.repeat(1000), "}".repeat(1000));
    format!(
        r#"[{{"manager":"m","operation":"Update","apiVersion":"{api_version}","time":"2026-01-01T00:00:00Z",
            "fieldsType":"FieldsV1","fieldsV1":{fields}}}]"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_nested_too_deep_to_be_watched() {
    let mut governed = Governed::start(FILES).await;
    let kubeconfig = governed.control_plane.kubeconfig().to_owned();
    let create = |path: &str, object: &str| {
        kubectl_with_input(&kubeconfig, &["create", "--raw", path, "-f", "-"], object).success
    };
    // In no scope, and yet in the list of what is.
    let object = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"deep","managedFields":{}}}}}"#,
        bottomless("v1")
    );
    assert!(create("/api/v1/namespaces/kube-public/configmaps", &object));
    let leases = "/apis/coordination.k8s.io/v1/namespaces/gitadel-system/leases";
    let lease = format!(
        r#"{{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{{"name":"gitadel","managedFields":{}}},
            "spec":{{"holderIdentity":"nobody"}}}}"#,
        bottomless("coordination.k8s.io/v1")
    );
    eventually("the lease", async || {
        governed.kubectl(&["delete", "--raw", &format!("{leases}/gitadel")]);
        create(leases, &lease).then_some(())
    })
    .await;
    for restarts in [false, true] {
        if restarts {
            governed.stop_reconciler();
            governed.run_reconciler();
        }
        let red = json!([{"op": "replace", "path": "/data/colour", "value": "red"}]);
        governed.slip_in(Method::PATCH, SETTINGS_PATH, &red).await;
        eventually("the colour", async || {
            (get(&governed.client, SETTINGS_PATH).await.unwrap()["data"]["colour"] == "blue").then_some(())
        })
        .await;
        governed.converged().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_before_git_was_read_is_found_when_it_is() {
    let mut governed = Governed::with_old_objects().await;
    governed.stop_reconciler();
    governed.stop_webhook();
    governed.slip_in(Method::POST, BINDINGS, &evil("planted")).await;
    governed.lose_volume();
    let aside = governed.repository.with_extension("aside");
    rename(&governed.repository, &aside);
    governed.run();
    let unreadable = |status: &Value| condition(status, "SourceReady") == "False";
    governed.until("Git to be missed", Duration::from_secs(30), unreadable).await;
    // Whatever is there may be declared.
    governed.obeyed().await;
    let planted = format!("{BINDINGS}/planted");
    assert!(get(&governed.client, &planted).await.is_some());
    rename(&aside, &governed.repository);
    governed.notify().await;
    eventually("it to go", async || get(&governed.client, &planted).await.is_none().then_some(())).await;
    governed.converged().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_enforcement_that_no_git_declares_is_what_it_was_after_a_restart() {
    let mut governed = Governed::prepare(FILES).await;
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"scope": {"namespaces": ["shop"]}}))).await;
    governed.converged().await;
    let spec = async |governed: &Governed| get(&governed.client, ENFORCEMENT).await.map(|it| it["spec"].clone());
    let before = spec(&governed).await;
    let elsewhere = json!([
        {"op": "replace", "path": "/spec/source/url", "value": "https://git.example/mine.git"},
        {"op": "replace", "path": "/spec/scope/namespaces", "value": []},
    ]);
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/enforcements.gitadel.dev";
    let nothing = json!({});
    for (method, path, body) in [
        (Method::PATCH, ENFORCEMENT, &elsewhere),
        (Method::DELETE, ENFORCEMENT, &nothing),
        (Method::DELETE, definition, &nothing),
    ] {
        governed.stop_reconciler();
        governed.slip_in(method, path, body).await;
        eventually("another spec", async || (spec(&governed).await != before).then_some(())).await;
        governed.run_reconciler();
        eventually("the spec", async || (spec(&governed).await == before).then_some(())).await;
        governed.obeyed().await;
        governed.refuses(&["-n", "shop", "create", "configmap", "mine"]);
    }

    // Stopped with its volume, as when no Pod of it runs, nothing is remembered: the way out.
    governed.stop_reconciler();
    governed.stop_webhook();
    let observe = json!([{"op": "replace", "path": "/spec/action", "value": "Observe"}]);
    governed.slip_in(Method::PATCH, ENFORCEMENT, &observe).await;
    governed.lose_volume();
    governed.run();
    let said = async || governed.kubectl(&["-n", "shop", "create", "configmap", "mine"]).success.then_some(());
    eventually("the scope to be open", said).await;
    assert_eq!(spec(&governed).await.unwrap()["action"], "Observe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutator_is_the_users_own_affair_where_undeclared_objects_are_allowed() {
    let mut governed = Governed::prepare(FILES).await;
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"undeclaredObjects": "Allow"}))).await;
    governed.converged().await;
    send(&governed.client, Method::POST, MUTATORS, &rogue(&[])).await.unwrap();
    governed.commit("go on", &[("shop.yaml", &SHOP.replace("blue", "green"))]);
    governed.notify().await;
    governed.converged().await;
    assert!(get(&governed.client, &format!("{MUTATORS}/rogue")).await.is_some());
}
