//! Whether a stored configuration lets nothing more through than another one would.
//!
//! A replica that has not read Git yet does not know every kind that Git uses, and would part the requests otherwise
//! between the entry for registered kinds and the one for the rest. It must not write its own against that of a replica
//! that knows more: both part the same requests, and the poorer one converts fewer of them to the version that Git uses.
//! Anything else that differs is looked at as anybody's edit.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::{
    RuleWithOperations, ValidatingWebhook, ValidatingWebhookConfiguration,
};

use super::generate::{ENTRY_DOMAIN, Registered, is_in_force};
use crate::snapshot::KindInfo;

/// What the API server serves: group, version, and resource with its subresource.
pub type Served = BTreeSet<(String, String, String)>;

pub fn served(kinds: &[KindInfo]) -> Served {
    let resources = |kind: &KindInfo| {
        let whole = std::iter::once(kind.resource.clone());
        let parts = kind.subresources.iter().map(|subresource| format!("{}/{subresource}", kind.resource));
        whole.chain(parts).collect::<Vec<_>>()
    };
    kinds
        .iter()
        .flat_map(|kind| resources(kind).into_iter().map(|r| (kind.group.clone(), kind.version.clone(), r)))
        .collect()
}

/// Whether `live` differs from `wanted` in nothing but which of the served kinds are registered.
pub fn is_alike(
    live: &ValidatingWebhookConfiguration,
    wanted: &ValidatingWebhookConfiguration,
    served: &Served,
) -> bool {
    let (Some(live_entries), Some(wanted_entries)) = (merged(live, served), merged(wanted, served)) else {
        return false;
    };
    let without_entries = |configuration: &ValidatingWebhookConfiguration| ValidatingWebhookConfiguration {
        webhooks: None,
        ..configuration.clone()
    };
    is_in_force(&without_entries(live), &without_entries(wanted)) && live_entries == wanted_entries
}

/// The entries by name, each pair for registered kinds and the rest taken for one. Nothing where a pair does not part
/// the requests between its two: then some reach neither, or the entries differ in more than that.
fn merged(
    configuration: &ValidatingWebhookConfiguration,
    served: &Served,
) -> Option<BTreeMap<String, ValidatingWebhook>> {
    let entries = configuration.webhooks.as_deref().unwrap_or_default();
    let by_name: BTreeMap<&str, &ValidatingWebhook> =
        entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    if by_name.len() != entries.len() {
        return None;
    }
    let rest_suffix = format!("-rest.{ENTRY_DOMAIN}");
    let mut merged = BTreeMap::new();
    for (name, entry) in &by_name {
        if let Some(base) = name.strip_suffix(&rest_suffix) {
            let registered = by_name.get(format!("{base}.{ENTRY_DOMAIN}").as_str()).copied();
            merged.insert((*name).to_owned(), pair(registered, entry, served)?);
        } else {
            let rest = name.strip_suffix(&format!(".{ENTRY_DOMAIN}")).map(|base| format!("{base}{rest_suffix}"));
            if rest.is_none_or(|rest| !by_name.contains_key(rest.as_str())) {
                merged.insert((*name).to_owned(), (*entry).clone());
            }
        }
    }
    Some(merged)
}

fn pair(
    registered: Option<&ValidatingWebhook>,
    rest: &ValidatingWebhook,
    served: &Served,
) -> Option<ValidatingWebhook> {
    let mut whole = rest.clone();
    let Some(entry) = registered else { return Some(whole) };
    let registered = Registered::read(entry.rules.as_deref().unwrap_or_default(), served)?;
    let kept_out = registered.kept_out();
    let conditions = whole.match_conditions.as_mut()?;
    let position = conditions.iter().position(|condition| *condition == kept_out)?;
    conditions.remove(position);
    let concerning = registered.concerning(conditions);
    let same = ValidatingWebhook {
        name: whole.name.clone(),
        rules: whole.rules.clone(),
        match_conditions: whole.match_conditions.clone(),
        ..entry.clone()
    };
    (same == whole && entry.match_conditions.as_deref() == Some(concerning.as_slice())).then_some(whole)
}

impl Registered {
    /// What rules register; nothing where they are none that are generated, or name what is not served: no request
    /// would ever match them, and none of those requests the entry for the rest.
    fn read(rules: &[RuleWithOperations], served: &Served) -> Option<Self> {
        let mut registered: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for rule in rules {
            let one = |list: &Option<Vec<String>>| match list.as_deref() {
                Some([only]) => Some(only.clone()),
                _ => None,
            };
            let (group, version) = (one(&rule.api_groups)?, one(&rule.api_versions)?);
            let resources = registered.entry((group.clone(), version.clone())).or_default();
            for resource in rule.resources.iter().flatten() {
                if !served.contains(&(group.clone(), version.clone(), resource.clone())) {
                    return None;
                }
                resources.insert(resource.clone());
            }
        }
        let registered = Self(registered);
        (registered.rules() == rules).then_some(registered)
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate::{ClientTarget, Desired, generate};
    use super::super::testing::{kind, source};
    use super::*;
    use crate::api::{ClusterScope, Scope};

    const KINDS: [(&str, &str, &str); 3] =
        [("", "ConfigMap", "configmaps"), ("apps", "Deployment", "deployments"), ("batch", "Job", "jobs")];

    fn kinds(registered: &[&str]) -> Vec<KindInfo> {
        let kind_of = |(group, name, resource): (&str, &str, &str)| KindInfo {
            registered: registered.contains(&name),
            ..kind(group, name, resource, "v1", &["status"])
        };
        KINDS.into_iter().map(kind_of).collect()
    }

    fn configuration(registered: &[&str], scope: Scope) -> ValidatingWebhookConfiguration {
        generate(&Desired {
            sources: &[source("all", scope)],
            kinds: &kinds(registered),
            target: &ClientTarget::Url("https://127.0.0.1:9443/admit".into()),
            ca_bundle: "pem",
            reconciler_users: &BTreeSet::new(),
        })
    }

    fn everything() -> Scope {
        Scope { cluster: ClusterScope::All, ..Scope::default() }
    }

    #[test]
    fn which_kinds_are_registered_opens_nothing() {
        let served = served(&kinds(&[]));
        let sets: [&[&str]; 4] = [&[], &["ConfigMap"], &["ConfigMap", "Job"], &["ConfigMap", "Deployment", "Job"]];
        for live in sets {
            for wanted in sets {
                let [live, wanted] = [live, wanted].map(|registered| configuration(registered, everything()));
                assert!(is_alike(&live, &wanted, &served), "{live:?} {wanted:?}");
            }
        }
    }

    #[test]
    fn everything_else_counts() {
        let served = served(&kinds(&[]));
        let wanted = configuration(&["ConfigMap"], everything());
        let edit = |change: &dyn Fn(&mut Vec<ValidatingWebhook>)| {
            let mut live = configuration(&["ConfigMap", "Job"], everything());
            change(live.webhooks.as_mut().unwrap());
            live
        };
        let resources = |entries: &mut Vec<ValidatingWebhook>, change: &dyn Fn(&mut RuleWithOperations)| {
            for rule in entries[0].rules.as_mut().unwrap() {
                change(rule);
            }
        };
        let narrow = Scope { namespaces: Some(vec!["shop".into()]), ..Scope::default() };
        let cases = [
            ("no entry", edit(&|entries| entries.clear())),
            ("one entry less", edit(&|entries| drop(entries.remove(0)))),
            ("no rest", edit(&|entries| drop(entries.pop()))),
            ("ignored", edit(&|entries| entries[0].failure_policy = Some("Ignore".into()))),
            ("the rest ignored", edit(&|entries| entries[1].failure_policy = Some("Ignore".into()))),
            ("less operations", edit(&|e| resources(e, &|rule| rule.operations = Some(vec!["DELETE".into()])))),
            ("a version that is not served", edit(&|e| resources(e, &|r| r.api_versions = Some(vec!["v9".into()])))),
            ("a resource less", edit(&|entries| drop(entries[0].rules.as_mut().unwrap().pop()))),
            ("elsewhere", edit(&|entries| entries[0].client_config.url = Some("https://203.0.113.1/".into()))),
            (
                "one condition more",
                edit(&|entries| {
                    let condition = entries[0].match_conditions.as_ref().unwrap()[0].clone();
                    entries[0].match_conditions.as_mut().unwrap().push(condition);
                }),
            ),
            ("a narrower scope", configuration(&["ConfigMap"], narrow)),
        ];
        for (name, live) in cases {
            assert!(!is_alike(&live, &wanted, &served), "{name}");
        }
    }
}
