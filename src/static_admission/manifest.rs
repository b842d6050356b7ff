//! The files, as kube-apiserver reads them.

use std::path::{Path, PathBuf};

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation,
    Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::credential::{Credential, by_nobody_of};
use super::{NAME_SUFFIX, Protection, Registrations, others, own, seen};

const GROUP: &str = "admissionregistration.k8s.io";

#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written as YAML: {reason}")]
pub struct ManifestError {
    path: PathBuf,
    reason: String,
}

/// A file below the directory that kube-apiserver is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub content: String,
}

/// What one policy and its binding say, apart from what all of ours have in common.
pub struct Policy {
    /// Before the suffix.
    pub name: &'static str,
    pub resources: &'static [&'static str],
    pub operations: &'static [&'static str],
    /// CEL that is true for the requests that it judges.
    pub concerns: String,
    pub variables: Vec<Variable>,
    pub validations: Vec<Validation>,
}

/// Every file, for an API server that finds them in `directory`.
///
/// # Errors
/// One cannot be written as YAML.
pub fn files(protection: &Protection, directory: &Path) -> Result<Vec<File>, ManifestError> {
    let mut policies = vec![own::policy(protection)];
    let mut webhooks = Vec::new();
    match &protection.registrations {
        Registrations::Named(names) => policies.push(others::policy(names)),
        Registrations::Judged { url } => webhooks.push(seen(&others::webhook(protection, url))),
    }
    let policies: Vec<_> = policies.into_iter().flat_map(|policy| policy.documents(&protection.offline)).collect();
    let mut files = vec![file("admission-configuration.yaml", &[configuration(directory, !webhooks.is_empty())])?];
    files.push(file("policies/gitadel.yaml", &policies)?);
    if !webhooks.is_empty() {
        files.push(file("webhooks/gitadel.yaml", &webhooks)?);
    }
    Ok(files)
}

fn configuration(directory: &Path, webhooks: bool) -> Value {
    let plugin = |name: &str, kind: &str, below: &str| {
        json!({"name": name, "configuration": {"apiVersion": "apiserver.config.k8s.io/v1", "kind": kind,
            "staticManifestsDir": directory.join(below)}})
    };
    let mut plugins = vec![plugin("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyConfiguration", "policies")];
    if webhooks {
        plugins.push(plugin("ValidatingAdmissionWebhook", "WebhookAdmissionConfiguration", "webhooks"));
    }
    json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins})
}

fn file(path: &str, documents: &[Value]) -> Result<File, ManifestError> {
    let version = env!("CARGO_PKG_VERSION");
    let mut content =
        format!("# Made by `gitadel static-admission` of gitadel {version}: generate it anew instead of editing it.\n");
    for (at, document) in documents.iter().enumerate() {
        if at > 0 {
            content.push_str("---\n");
        }
        let yaml = serde_saphyr::to_string(document)
            .map_err(|error| ManifestError { path: path.into(), reason: error.to_string() })?;
        content.push_str(&yaml);
    }
    Ok(File { path: path.into(), content })
}

impl Policy {
    fn documents(self, offline: &[Credential]) -> [Value; 2] {
        let name = format!("{}.{NAME_SUFFIX}", self.name);
        let strings = |all: &[&str]| Some(all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        let condition = |name: &str, expression: String| MatchCondition { name: name.into(), expression };
        let mut conditions = vec![condition("concerns", self.concerns)];
        if !offline.is_empty() {
            conditions.push(condition("not-offline", by_nobody_of(offline)));
        }
        let policy = ValidatingAdmissionPolicy {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            spec: Some(ValidatingAdmissionPolicySpec {
                failure_policy: Some("Fail".into()),
                match_constraints: Some(MatchResources {
                    resource_rules: Some(vec![NamedRuleWithOperations {
                        api_groups: strings(&[GROUP]),
                        api_versions: strings(&["*"]),
                        operations: strings(self.operations),
                        resources: strings(self.resources),
                        ..NamedRuleWithOperations::default()
                    }]),
                    ..MatchResources::default()
                }),
                match_conditions: Some(conditions),
                variables: (!self.variables.is_empty()).then_some(self.variables),
                validations: Some(self.validations),
                ..ValidatingAdmissionPolicySpec::default()
            }),
            ..ValidatingAdmissionPolicy::default()
        };
        let binding = ValidatingAdmissionPolicyBinding {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            spec: ValidatingAdmissionPolicyBindingSpec {
                policy_name: name,
                validation_actions: vec!["Deny".into(), "Audit".into()],
                ..ValidatingAdmissionPolicyBindingSpec::default()
            },
        };
        [seen(&policy), seen(&binding)]
    }
}

pub fn variable(name: &str, expression: impl Into<String>) -> Variable {
    Variable { name: name.into(), expression: expression.into() }
}

pub fn validation(expression: impl Into<String>, message: impl Into<String>) -> Validation {
    Validation {
        expression: expression.into(),
        message: Some(message.into()),
        message_expression: None,
        reason: Some("Forbidden".into()),
    }
}
