//! gitadel under static protection: commits go on, a change that the files do not know is refused and told, and there is a
//! way out.

use std::fs;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::attempts::{Attempt, COLLECTION, OWN};
use super::protected::{Protected, client_of};
use super::support::bypass::get;
use super::support::eventually;
use super::support::governed::{Governed, condition, reason};
use super::support::shop::SETTINGS_PATH;
use super::{is_denied, named};

/// gitadel asks again after half a minute, and the API server looks at the files every minute where nothing tells it.
const LIMIT: Duration = Duration::from_secs(120);

/// Of a kind that nothing in Git is yet.
const QUOTA: &str = "
apiVersion: v1
kind: ResourceQuota
metadata: {name: much, namespace: shop}
spec: {hard: {pods: 1000}}
";

fn registered(configuration: &Value) -> Vec<&str> {
    let entries = configuration["webhooks"].as_array().unwrap();
    let named = entries.iter().find(|entry| entry["name"] == "enforce.gitadel.dev").unwrap();
    let rules = named["rules"].as_array().unwrap().iter();
    rules.flat_map(|rule| rule["resources"].as_array().unwrap()).filter_map(Value::as_str).collect()
}

/// The Enforcement that leaves these namespaces out.
fn leaving_out(governed: &Governed, namespaces: &[&str]) -> Value {
    governed.enforcement_with(json!({"scope": {"excludedNamespaces": namespaces, "cluster": "All"}}))
}

fn selected(configuration: &Value) -> &Value {
    &configuration["webhooks"][0]["namespaceSelector"]["matchExpressions"][0]["values"]
}

/// How often the API server has read the files anew.
async fn reloads(governed: &Governed, status: &str) -> f64 {
    let request = hyper::Request::get("/metrics").body(Vec::new()).unwrap();
    let text = governed.client.request_text(request).await.unwrap();
    let name = "apiserver_manifest_admission_config_controller_automatic_reloads_total{";
    let of_policies = |line: &&str| line.starts_with(name) && line.contains("ValidatingAdmissionPolicy\"");
    let with_status = text.lines().filter(of_policies).filter(|line| line.contains(&format!("status=\"{status}\"")));
    with_status.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_and_another_scope_waits_for_the_files() {
    let protected = Protected::start(&[]).await;
    let governed = &protected.governed;
    let own = async || get(&governed.client, OWN).await.unwrap();
    governed.commit("a kind that was not in Git", &[("quota.yaml", QUOTA)]);
    governed.notify().await;
    governed.converged().await;
    eventually("the kind to be registered", async || {
        registered(&own().await).contains(&"resourcequotas").then_some(())
    })
    .await;
    assert_eq!(governed.reconciler_metrics().sum("gitadel_webhook_configuration_refused", &[]), 0.0);

    // First the files, then the commit.
    let next = leaving_out(governed, &["kube-*", "legacy"]);
    let file = protected.directory.join("next.json");
    fs::write(&file, next.to_string()).unwrap();
    let before = reloads(governed, "success").await;
    let output = protected.generate(&["--enforcements", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    eventually("the API server to read the files", async || {
        (reloads(governed, "success").await > before).then_some(())
    })
    .await;
    governed.commit("leave legacy out", &[("enforcement.yaml", &next.to_string())]);
    governed.notify().await;
    governed.converged().await;
    eventually("the selector", async || (*selected(&own().await) == json!(["legacy"])).then_some(())).await;

    // The other way round: the configuration stays as it was, and everybody is told.
    let third = leaving_out(governed, &["kube-*", "legacy", "older"]);
    governed.commit("leave older out", &[("enforcement.yaml", &third.to_string())]);
    governed.notify().await;
    governed.until("the refusal", LIMIT, |status| reason(status, "Enforcing") == "ConfigurationRefused").await;
    assert_eq!(selected(&own().await), &json!(["legacy"]));
    assert_eq!(governed.reconciler_metrics().sum("gitadel_webhook_configuration_refused", &[]), 1.0);
    let message = "a policy of the API server refuses the webhook configuration; what was stored before stays in force";
    let refusals = governed.log_records("reconcile", message);
    assert!(!refusals.is_empty() && refusals.len() < 10, "it is not tried again and again: {}", refusals.len());
    governed.rejects(&["-n", "shop", "annotate", "configmap/settings", "mine=yes"], "Git");

    let output = protected.generate(&[]);
    assert!(output.status.success(), "{output:?}");
    governed.until("the configuration to be stored", LIMIT, |status| condition(status, "Enforcing") == "True").await;
    assert_eq!(selected(&own().await), &json!(["legacy", "older"]));
    assert_eq!(governed.reconciler_metrics().sum("gitadel_webhook_configuration_refused", &[]), 0.0);

    // A mistake in the files opens nothing.
    let before = reloads(governed, "failure").await;
    let file = protected.directory.join("policies/gitadel.yaml");
    let beside = file.with_extension("new");
    fs::write(&beside, "kind: ValidatingAdmissionPolicy\nspec: [").unwrap();
    // In one step, as the documentation demands: a file that is read while it is empty counts as none.
    fs::rename(&beside, &file).unwrap();
    eventually("the API server to refuse them", async || (reloads(governed, "failure").await > before).then_some(()))
        .await;
    let delete = Attempt::new("delete", Method::DELETE, OWN, "application/json", Value::Null);
    let answer = delete.make(&governed.client, &[]).await;
    assert!(is_denied(&answer), "{answer:?}");

    // Whoever is root there has a way out that needs no certificate.
    fs::remove_file(&file).unwrap();
    eventually("the API server to forget them", async || {
        (delete.make(&governed.client, &[]).await.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_offline_certificate_is_the_way_out_and_gitadel_comes_back() {
    let mut protected = Protected::start(&[]).await;
    let offline = client_of(&protected.offline).await;
    let delete = Attempt::new("delete", Method::DELETE, OWN, "application/json", Value::Null);
    let mark = Attempt::new(
        "mark",
        Method::PATCH,
        SETTINGS_PATH,
        "application/merge-patch+json",
        json!({"metadata": {"annotations": {"mine": "yes"}}}),
    );
    // While gitadel runs it puts back what is missing: that is as the files have it.
    let before = get(&offline, OWN).await.unwrap();
    let uid = before["metadata"]["uid"].clone();
    assert_eq!(delete.make(&offline, &[]).await.0, 200);
    eventually("the configuration", async || get(&offline, OWN).await.filter(|own| own["metadata"]["uid"] != uid))
        .await;
    protected.governed.obeyed().await;

    // The way out while gitadel runs, as docs/operations.md has it: without its permissions it puts back nothing.
    let binding = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/gitadel";
    let permission = Attempt::new("delete", Method::DELETE, binding, "application/json", Value::Null);
    eventually("gitadel to be refused", async || {
        // It may be faster than the API server forgets a permission.
        delete.make(&offline, &[]).await;
        permission.make(&offline, &[]).await;
        let metrics = protected.governed.reconciler_metrics();
        let refused = metrics.sum("gitadel_api_errors_total", &[("reason", "webhook_configuration")]) > 0.0;
        (refused && get(&offline, OWN).await.is_none() && get(&offline, binding).await.is_none()).then_some(())
    })
    .await;
    protected.governed.grant();
    protected.governed.obeyed().await;

    // A webhook that does not answer rejects everything, and nobody else can end that.
    protected.governed.stop_webhook();
    protected.governed.stop_reconciler();
    let (code, answer) = mark.make(&protected.governed.client, &[]).await;
    assert!(code == 500 && answer["message"].as_str().unwrap().contains("failed calling webhook"), "{answer}");
    let denied = delete.make(&protected.governed.client, &[]).await;
    assert!(is_denied(&denied), "{denied:?}");
    assert_eq!(delete.make(&offline, &[]).await.0, 200);
    eventually("the API server to ask nobody", async || {
        (mark.make(&protected.governed.client, &[]).await.0 == 200).then_some(())
    })
    .await;

    // Under the name that is free now nothing else can be made, by anybody; what gitadel makes, by everybody.
    let own = |webhooks: &Value| {
        let mut object = before.clone();
        object["metadata"] = json!({"name": "gitadel", "labels": before["metadata"]["labels"]});
        object["webhooks"] = webhooks.clone();
        Attempt::new("create", Method::POST, COLLECTION, "application/json", object)
    };
    let mut ignored = before["webhooks"].clone();
    ignored[0]["failurePolicy"] = json!("Ignore");
    for webhooks in [json!([]), ignored] {
        let answer = own(&webhooks).make(&protected.governed.client, &[]).await;
        assert!(is_denied(&answer), "{answer:?}");
    }
    let mut same = own(&before["webhooks"]);
    same.path.push_str("?dryRun=All");
    assert_eq!(same.make(&protected.governed.client, &[]).await.0, 201);

    protected.governed.run();
    protected.governed.obeyed().await;
    eventually("the annotation to go", async || {
        let settings = get(&protected.governed.client, SETTINGS_PATH).await?;
        settings["metadata"]["annotations"]["mine"].is_null().then_some(())
    })
    .await;
}

fn rogue(kind: &str, name: &str) -> Attempt {
    let metadata = json!({"name": name});
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
    let webhook = json!([{"name": "rewrite.example.org", "admissionReviewVersions": ["v1"], "sideEffects": "None",
        "clientConfig": {"url": "https://203.0.113.1/"}, "rules": rules}]);
    let policy = json!({"matchConstraints": {"resourceRules": rules}, "failurePolicy": "Fail",
        "reinvocationPolicy": "Never", "mutations": [{"patchType": "JSONPatch",
        "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'a': 'b'}}]"}}]});
    let validating = json!({"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": "false"}]});
    let (plural, spec) = match kind {
        "MutatingWebhookConfiguration" => ("mutatingwebhookconfigurations", json!({"webhooks": webhook})),
        "ValidatingWebhookConfiguration" => ("validatingwebhookconfigurations", json!({"webhooks": webhook})),
        "MutatingAdmissionPolicy" => ("mutatingadmissionpolicies", json!({"spec": policy})),
        "MutatingAdmissionPolicyBinding" => ("mutatingadmissionpolicybindings", json!({"spec": {"policyName": "x"}})),
        "ValidatingAdmissionPolicy" => ("validatingadmissionpolicies", json!({"spec": validating})),
        _ => ("validatingadmissionpolicybindings", json!({"spec": {"policyName": "x", "validationActions": ["Deny"]}})),
    };
    let mut object = spec;
    object["apiVersion"] = json!("admissionregistration.k8s.io/v1");
    object["kind"] = json!(kind);
    object["metadata"] = metadata;
    let path = COLLECTION.replace("validatingwebhookconfigurations", plural);
    Attempt::new(kind, Method::POST, path, "application/json", object)
}

const KINDS: [&str; 6] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gitadel_judges_what_others_register() {
    let protected = Protected::start(&[]).await;
    let offline = client_of(&protected.offline).await;
    for kind in KINDS {
        let attempt = rogue(kind, "rogue");
        let (code, answer) = attempt.make(&protected.governed.client, &[]).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(
            code == 403 && message.contains("\"registrations.gitadel.dev\" denied the request"),
            "{kind}: {answer}"
        );
        let (code, answer) = attempt.make(&offline, &[]).await;
        assert_eq!(code, 201, "{kind}, by the offline certificate: {answer}");
        // What Git does not declare goes all the same.
        let path = format!("{}/rogue", attempt.path);
        eventually("it to be removed", async || get(&offline, &path).await.is_none().then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_register_is_held_to_names() {
    let protected = Protected::start(&["--registration", "known"]).await;
    for kind in KINDS {
        let (code, answer) = rogue(kind, "rogue").make(&protected.governed.client, &[]).await;
        assert!(code == 403 && named(&answer, "gitadel-registrations.static.k8s.io"), "{kind}: {answer}");
        let mut known = rogue(kind, "known");
        known.path.push_str("?dryRun=All");
        let (code, answer) = known.make(&protected.governed.client, &[]).await;
        assert_eq!(code, 201, "{kind}: {answer}");
    }
}
