//! What else is registered with the API server: webhooks, policies and bindings of others.
//!
//! A mutating one rewrites what gitadel writes and becomes the law when a commit is canonicalised; a validating one can
//! deny it. Where gitadel's webhook has a URL, the API server asks it about them as about everything else, by an entry of
//! its own that only a file can have. Else they are held to a list of names.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, RuleWithOperations, ValidatingWebhook, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::credential::by_nobody_of;
use super::manifest::{Policy, validation};
use super::own::{RESOURCE, concerns_own};
use super::{NAME_SUFFIX, Protection};
use crate::cel::list;
use crate::reconcile::webhook_configuration::ClientTarget;
use crate::reconcile::webhook_configuration::generate::ENTRY_DOMAIN;

const GROUP: &str = "admissionregistration.k8s.io";

const RESOURCES: [&str; 6] = [
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    RESOURCE,
];

/// Only these names may be created or changed. Deleting takes an influence away, and gitadel puts back what Git declares.
pub fn policy(names: &BTreeSet<String>) -> Policy {
    Policy {
        name: "gitadel-registrations",
        resources: &RESOURCES,
        operations: &["CREATE", "UPDATE"],
        concerns: format!("!({})", concerns_own()),
        variables: Vec::new(),
        validations: vec![validation(
            format!("object.metadata.?name.orValue('') in {}", list(names)),
            "webhook configurations, admission policies and their bindings are held to a list of names: to add one, generate gitadel's static policy anew",
        )],
    }
}

/// The entry that sends them to gitadel's webhook.
pub fn webhook(protection: &Protection, url: &str) -> ValidatingWebhookConfiguration {
    let bundle = protection.bundles().pop().unwrap_or_default();
    // What enforces comes first.
    let enforce = protection.configuration().webhooks.unwrap_or_default().into_iter().next().unwrap_or_default();
    let condition = |name: &str, expression: String| MatchCondition { name: name.into(), expression };
    let mut conditions = vec![condition("not-gitadels-own", format!("!({})", concerns_own()))];
    if !protection.offline.is_empty() {
        conditions.push(condition("not-offline", by_nobody_of(&protection.offline)));
    }
    conditions.extend(enforce.match_conditions.unwrap_or_default());
    let entry = ValidatingWebhook {
        name: format!("registrations.{ENTRY_DOMAIN}"),
        client_config: ClientTarget::Url(url.to_owned()).client_config(&bundle),
        match_conditions: Some(conditions),
        rules: Some(vec![RuleWithOperations {
            api_groups: Some(vec![GROUP.into()]),
            // The version that Git uses: others are converted.
            api_versions: Some(vec!["v1".into()]),
            operations: Some(vec!["*".into()]),
            resources: Some(vec!["*/*".into()]),
            scope: Some("*".into()),
        }]),
        ..enforce
    };
    ValidatingWebhookConfiguration {
        metadata: ObjectMeta { name: Some(format!("gitadel.{NAME_SUFFIX}")), ..ObjectMeta::default() },
        webhooks: Some(vec![entry]),
    }
}
