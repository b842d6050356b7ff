//! Webhooks and policies of others, about which Kubernetes asks no webhook: they come, and go at once.

use serde_json::json;

use crate::attack::{Attack, create};
use crate::report::Section;

const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

pub fn section() -> Section {
    let named = json!({"name": "mine"});
    let rules = json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]);
    let webhook = |kind: &str, policy: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": named,
            "webhooks": [{"name": "mine.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": policy, "timeoutSeconds": 1, "rules": rules,
                "clientConfig": {"url": "https://127.0.0.1:1/mine"}}]})
    };
    let policy = |expression: &str| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": named,
            "spec": {"matchConstraints": {"resourceRules": rules}, "validations": [{"expression": expression}]}})
    };
    let bound = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": named,
        "spec": {"policyName": "mine", "validationActions": ["Deny"]}});
    let mutating = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": named,
        "spec": {"matchConstraints": {"resourceRules": rules}, "reinvocationPolicy": "Never", "mutations": [{"patchType": "ApplyConfiguration",
            "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'mine': 'yes'}}}"}}]}});
    let mutating_binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": named,
        "spec": {"policyName": "mine"}});
    let attacks = [
        create(
            "a webhook that changes what is written",
            &format!("{WEBHOOKS}/mutatingwebhookconfigurations"),
            webhook("MutatingWebhookConfiguration", "Ignore"),
        ),
        create(
            "a webhook that denies everybody, gitadel too",
            &format!("{WEBHOOKS}/validatingwebhookconfigurations"),
            webhook("ValidatingWebhookConfiguration", "Fail"),
        ),
        create(
            "a webhook that denies everybody, gitadel too",
            &format!("{WEBHOOKS}/mutatingwebhookconfigurations"),
            webhook("MutatingWebhookConfiguration", "Fail"),
        ),
        create("a policy", &format!("{WEBHOOKS}/validatingadmissionpolicies"), policy("false")),
        create(
            "a policy that denies gitadel",
            &format!("{WEBHOOKS}/validatingadmissionpolicies"),
            policy("request.userInfo.username != 'system:serviceaccount:gitadel-system:gitadel'"),
        ),
        create("the binding of a policy", &format!("{WEBHOOKS}/validatingadmissionpolicybindings"), bound),
        create("a policy that changes what is written", &format!("{WEBHOOKS}/mutatingadmissionpolicies"), mutating),
        create(
            "the binding of a policy that changes what is written",
            &format!("{WEBHOOKS}/mutatingadmissionpolicybindings"),
            mutating_binding,
        ),
    ]
    .into_iter()
    .map(Attack::undone)
    .collect();
    Section { title: "What changes or denies the writes of others", attacks }
}
