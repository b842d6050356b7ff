//! What is stored first where the configuration is gone.
//!
//! The API server compiles every condition before it stores a configuration, and again before it obeys it: tens of
//! milliseconds in which whatever is written passes. So first comes one entry that is about everything, without the
//! exemptions, and the whole a moment later. It is ignored while no webhook answers: without the exemptions a cluster
//! could not come back from a power-off, if this moment were its last.

use k8s_openapi::api::admissionregistration::v1::{ValidatingWebhook, ValidatingWebhookConfiguration};

use super::generate::{ENTRY_DOMAIN, KEPT_OUT_NAME};
use crate::admission::coverage::can_keep_out;

/// Nothing where the whole is as cheap.
pub fn provisional(whole: &ValidatingWebhookConfiguration) -> Option<ValidatingWebhookConfiguration> {
    let is_for_all = |entry: &&ValidatingWebhook| {
        entry.failure_policy.as_deref() == Some("Fail") && entry.name.ends_with(&format!("-rest.{ENTRY_DOMAIN}"))
    };
    let entry = whole.webhooks.iter().flatten().find(is_for_all)?;
    let mut conditions = entry.match_conditions.clone().unwrap_or_default();
    conditions.retain(|condition| condition.name != KEPT_OUT_NAME && can_keep_out(&condition.name, "", ""));
    let entry = ValidatingWebhook {
        failure_policy: Some("Ignore".into()),
        match_conditions: Some(conditions),
        ..entry.clone()
    };
    Some(ValidatingWebhookConfiguration { webhooks: Some(vec![entry]), ..whole.clone() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::generate::{ClientTarget, Desired, generate};
    use super::super::testing::{kind, source};
    use super::*;
    use crate::api::{Action, ClusterScope, Scope};
    use crate::snapshot::Source;

    fn configuration(action: Action) -> ValidatingWebhookConfiguration {
        let scope = Scope { cluster: ClusterScope::All, ..Scope::default() };
        generate(&Desired {
            sources: &[Source { action, ..source("all", scope) }],
            kinds: &[kind("", "ConfigMap", "configmaps", "v1", &[])],
            target: &ClientTarget::Url("https://127.0.0.1:9443/admit".into()),
            ca_bundle: "pem",
            reconciler_users: &BTreeSet::from(["gitadel".to_owned()]),
        })
    }

    #[test]
    fn it_is_about_everything_and_locks_nobody_out() {
        let whole = configuration(Action::Enforce);
        let first = provisional(&whole).unwrap();
        assert_eq!(first.metadata, whole.metadata);
        let [entry] = first.webhooks.as_deref().unwrap() else { panic!("{first:?}") };
        let rest = &whole.webhooks.as_deref().unwrap()[1];
        assert_eq!((&entry.rules, &entry.client_config), (&rest.rules, &rest.client_config));
        assert_eq!(entry.failure_policy.as_deref(), Some("Ignore"));
        let names: Vec<_> = entry.match_conditions.iter().flatten().map(|condition| condition.name.as_str()).collect();
        assert_eq!(names, ["own-dry-run", "scope"]);
    }

    #[test]
    fn what_enforces_nothing_is_stored_as_it_is() {
        assert_eq!(provisional(&configuration(Action::Observe)), None);
        assert_eq!(provisional(&ValidatingWebhookConfiguration::default()), None);
    }
}
