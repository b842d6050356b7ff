//! The webhook configuration that the sources call for.
//!
//! Every default is spelled out, so that what the API server stores equals what is generated: any difference is
//! somebody's edit.
//!
//! **Each request that is not pre-decided reaches exactly one entry.** Requests are parted twice:
//! - by what happens when the webhook cannot be reached. What an `Enforce` source governs goes to the entries that fail
//!   closed, and with it gitadel's own objects; what only `Observe` and `Warn` sources govern, to those that are ignored.
//!   Which source it is, and what it says, the webhook finds in its snapshot.
//! - by version. For a kind that Git uses, the API server converts every request to the version that Git uses
//!   (`matchPolicy: Equivalent`). Everything else comes as it is. A rule with `apiVersions: ["*"]` would match first and
//!   get no conversion, hence two entries, and a condition that keeps the one's requests out of the other.
//!
//! The registered rules name subresources one by one. With `deployments/*` a subresource that only *another* version of
//! a resource has would match no registered rule, since there is nothing to convert it to, and be kept out of the entry
//! for the rest as well: it would bypass both.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, RuleWithOperations, ServiceReference, ValidatingWebhook, ValidatingWebhookConfiguration,
    WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{NAME, scope};
use crate::admission::coverage::{can_keep_out, exemptions, registrable};
use crate::admission::server::ADMIT_PATH;
use crate::api::{Action, MANAGER, SYSTEM_NAMESPACE};
use crate::cel::quote;
use crate::snapshot::{KindInfo, Source};

/// End of the name of every entry; a denial names the entry.
pub const ENTRY_DOMAIN: &str = "gitadel.dev";
/// The webhook answers within milliseconds, or waits at most 200 ms for a snapshot. A write may be held up only so long.
const TIMEOUT_SECONDS: i32 = 3;

/// Where the API server finds the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientTarget {
    /// A URL that the control plane's host can reach, such as `https://127.0.0.1:9443/admit` for a static Pod.
    Url(String),
    Service {
        namespace: String,
        name: String,
        port: u16,
    },
}

impl ClientTarget {
    pub fn client_config(&self, ca_bundle: &str) -> WebhookClientConfig {
        let ca_bundle = Some(ByteString(ca_bundle.as_bytes().to_vec()));
        match self {
            Self::Url(url) => WebhookClientConfig { ca_bundle, service: None, url: Some(url.clone()) },
            Self::Service { namespace, name, port } => WebhookClientConfig {
                ca_bundle,
                service: Some(ServiceReference {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    path: Some(ADMIT_PATH.into()),
                    port: Some(i32::from(*port)),
                }),
                url: None,
            },
        }
    }
}

/// What the configuration follows from.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    pub sources: &'a [Source],
    pub kinds: &'a [KindInfo],
    pub target: &'a ClientTarget,
    /// The certificates of every replica's authority, as PEM.
    pub ca_bundle: &'a str,
    /// Whose dry-runs are kept out.
    pub reconciler_users: &'a BTreeSet<String>,
}

/// Without a source the configuration has no entries: nothing is governed.
pub fn generate(desired: &Desired<'_>) -> ValidatingWebhookConfiguration {
    let (enforced, recorded): (Vec<_>, Vec<_>) =
        desired.sources.iter().partition(|source| source.action == Action::Enforce);
    let enforced_scope = format!("{} || {}", scope::governed_by_any(&enforced, desired.kinds), scope::own_objects());

    let mut webhooks = Vec::new();
    if !enforced.is_empty() {
        let selector = scope::namespace_selector(&enforced, Some(SYSTEM_NAMESPACE));
        webhooks.extend(entries(desired, "enforce", "Fail", selector, enforced_scope.clone()));
    }
    if !recorded.is_empty() {
        let mut recorded_scope = scope::governed_by_any(&recorded, desired.kinds);
        if !enforced.is_empty() {
            recorded_scope = format!("({recorded_scope}) && !({enforced_scope})");
        }
        let selector = scope::namespace_selector(&recorded, None);
        webhooks.extend(entries(desired, "observe", "Ignore", selector, recorded_scope));
    }
    ValidatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: Some(NAME.into()),
            labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".into(), MANAGER.into())])),
            ..ObjectMeta::default()
        },
        // The API server leaves an empty list out.
        webhooks: (!webhooks.is_empty()).then_some(webhooks),
    }
}

/// The pair of entries for one set of sources: kinds with a registered version, and the rest.
fn entries(
    desired: &Desired<'_>,
    name: &str,
    failure_policy: &str,
    selector: LabelSelector,
    governed: String,
) -> Vec<ValidatingWebhook> {
    let mut conditions = exemptions(desired.reconciler_users);
    conditions.push(MatchCondition { name: "scope".into(), expression: governed });

    let entry = |name: String, rules: Vec<RuleWithOperations>, conditions: Vec<MatchCondition>| ValidatingWebhook {
        name,
        admission_review_versions: vec!["v1".into()],
        client_config: desired.target.client_config(desired.ca_bundle),
        failure_policy: Some(failure_policy.into()),
        match_conditions: Some(conditions),
        match_policy: Some("Equivalent".into()),
        namespace_selector: Some(selector.clone()),
        object_selector: Some(LabelSelector::default()),
        rules: Some(rules),
        side_effects: "None".into(),
        timeout_seconds: Some(TIMEOUT_SECONDS),
    };

    let registered = Registered::of(desired.kinds);
    let mut rest_conditions = conditions.clone();
    let mut entries = Vec::new();
    if !registered.0.is_empty() {
        entries.push(entry(format!("{name}.{ENTRY_DOMAIN}"), registered.rules(), registered.concerning(&conditions)));
        rest_conditions.push(registered.kept_out());
    }
    entries.push(entry(
        format!("{name}-rest.{ENTRY_DOMAIN}"),
        vec![rule("*", "*", vec!["*/*".into()])],
        rest_conditions,
    ));
    entries
}

/// Name of the condition of the entries for the rest that keeps out what is registered, and what stands before and after
/// the names in it.
pub const KEPT_OUT_NAME: &str = "not-registered";
pub const KEPT_OUT: (&str, &str) = (
    "!((request.resource.group + '/' + request.resource.resource + \
     (request.?subResource.orValue('') == '' ? '' : '/' + request.subResource)) in [",
    "])",
);

/// (group, version) → resources and subresources that are registered in this version.
pub(super) struct Registered(pub(super) BTreeMap<(String, String), BTreeSet<String>>);

impl Registered {
    fn of(kinds: &[KindInfo]) -> Self {
        let mut registered: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for kind in kinds.iter().filter(|kind| kind.registered) {
            for name in registrable(kind) {
                registered.entry((kind.group.clone(), kind.version.clone())).or_default().insert(name);
            }
        }
        Self(registered)
    }

    pub(super) fn rules(&self) -> Vec<RuleWithOperations> {
        self.0
            .iter()
            .map(|((group, version), resources)| rule(group, version, resources.iter().cloned().collect()))
            .collect()
    }

    /// Of these conditions, those that can keep out any of what is registered. The API server compiles each when the
    /// configuration is stored, and again before it obeys it: the fewer, the sooner a deleted one is in force again.
    pub(super) fn concerning(&self, conditions: &[MatchCondition]) -> Vec<MatchCondition> {
        let concerns = |condition: &&MatchCondition| {
            self.0.iter().any(|((group, _), names)| names.iter().any(|name| can_keep_out(&condition.name, group, name)))
        };
        conditions.iter().filter(concerns).cloned().collect()
    }

    /// Keeps exactly the requests that the rules match, in whatever version, out of the entry for the rest.
    pub(super) fn kept_out(&self) -> MatchCondition {
        let names = self
            .0
            .iter()
            .flat_map(|((group, _), resources)| resources.iter().map(move |resource| format!("{group}/{resource}")));
        let (before, after) = KEPT_OUT;
        let names: Vec<_> = names.collect::<BTreeSet<_>>().iter().map(|name| quote(name)).collect();
        MatchCondition { name: KEPT_OUT_NAME.into(), expression: format!("{before}{}{after}", names.join(", ")) }
    }
}

fn rule(group: &str, version: &str, resources: Vec<String>) -> RuleWithOperations {
    RuleWithOperations {
        api_groups: Some(vec![group.into()]),
        api_versions: Some(vec![version.into()]),
        operations: Some(vec!["*".into()]),
        resources: Some(resources),
        scope: Some("*".into()),
    }
}

/// Whether an object in the cluster says what it should. What the server keeps for itself (uid, managedFields, …) does
/// not count; an owner or finalizer does: it is a way to have the configuration deleted, or kept from being.
pub fn is_in_force(live: &ValidatingWebhookConfiguration, desired: &ValidatingWebhookConfiguration) -> bool {
    let said = |m: &ObjectMeta| {
        (
            m.labels.clone().unwrap_or_default(),
            m.annotations.clone().unwrap_or_default(),
            m.finalizers.clone().unwrap_or_default(),
            m.owner_references.clone().unwrap_or_default(),
        )
    };
    live.metadata.deletion_timestamp.is_none()
        && said(&live.metadata) == said(&desired.metadata)
        && live.webhooks.as_deref().unwrap_or_default() == desired.webhooks.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{kind, source};
    use super::*;
    use crate::api::{ClusterScope, Scope};

    fn generated(sources: &[Source], kinds: &[KindInfo]) -> ValidatingWebhookConfiguration {
        generate(&Desired {
            sources,
            kinds,
            target: &ClientTarget::Url("https://127.0.0.1:9443/admit".into()),
            ca_bundle: "pem",
            reconciler_users: &BTreeSet::from(["gitadel".to_owned()]),
        })
    }

    fn with_action(name: &str, action: Action) -> Source {
        Source { action, ..source(name, Scope { cluster: ClusterScope::All, ..Scope::default() }) }
    }

    fn kinds() -> Vec<KindInfo> {
        vec![
            kind("apps", "Deployment", "deployments", "v1", &["status", "scale"]),
            kind("apps", "ReplicaSet", "replicasets", "v1", &[]),
            kind("", "ConfigMap", "configmaps", "v1", &[]),
            KindInfo { registered: false, ..kind("batch", "Job", "jobs", "v1", &["status"]) },
        ]
    }

    #[test]
    fn entries_by_action() {
        type Entries = &'static [(&'static str, &'static str)];
        let cases: [(&[Action], Entries); 5] = [
            (&[], &[]),
            (&[Action::Enforce], &[("enforce.gitadel.dev", "Fail"), ("enforce-rest.gitadel.dev", "Fail")]),
            (&[Action::Observe], &[("observe.gitadel.dev", "Ignore"), ("observe-rest.gitadel.dev", "Ignore")]),
            (
                &[Action::Observe, Action::Warn],
                &[("observe.gitadel.dev", "Ignore"), ("observe-rest.gitadel.dev", "Ignore")],
            ),
            (
                &[Action::Warn, Action::Enforce, Action::Enforce],
                &[
                    ("enforce.gitadel.dev", "Fail"),
                    ("enforce-rest.gitadel.dev", "Fail"),
                    ("observe.gitadel.dev", "Ignore"),
                    ("observe-rest.gitadel.dev", "Ignore"),
                ],
            ),
        ];
        for (actions, expected) in cases {
            let sources: Vec<_> = actions.iter().map(|action| with_action("s", *action)).collect();
            let webhooks = generated(&sources, &kinds()).webhooks.unwrap_or_default();
            let found: Vec<_> =
                webhooks.iter().map(|w| (w.name.as_str(), w.failure_policy.as_deref().unwrap())).collect();
            assert_eq!(found, expected, "{actions:?}");
        }
    }

    #[test]
    fn registered_kinds_have_their_version_and_subresources_and_are_kept_out_of_the_rest() {
        let webhooks = generated(&[with_action("s", Action::Enforce)], &kinds()).webhooks.unwrap();
        let rules: Vec<_> = webhooks[0].rules.clone().unwrap();
        let found: Vec<_> = rules
            .iter()
            .map(|r| (r.api_groups.clone().unwrap(), r.api_versions.clone().unwrap(), r.resources.clone().unwrap()))
            .collect();
        let strings = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                (strings(&[""]), strings(&["v1"]), strings(&["configmaps"])),
                (
                    strings(&["apps"]),
                    strings(&["v1"]),
                    strings(&["deployments", "deployments/scale", "deployments/status", "replicasets"])
                ),
            ]
        );
        let rest = webhooks[1].match_conditions.clone().unwrap();
        let condition = rest.iter().find(|c| c.name == "not-registered").unwrap();
        assert!(condition.expression.ends_with(
            "in ['/configmaps', 'apps/deployments', 'apps/deployments/scale', 'apps/deployments/status', \
             'apps/replicasets'])"
        ));
        assert!(webhooks[0].match_conditions.as_ref().unwrap().iter().all(|c| c.name != "not-registered"));
    }

    #[test]
    fn a_registered_entry_has_only_the_conditions_that_concern_it() {
        let conditions = |kinds: &[KindInfo]| {
            let webhooks = generated(&[with_action("s", Action::Enforce)], kinds).webhooks.unwrap();
            let names = |at: usize| -> BTreeSet<String> {
                webhooks[at].match_conditions.iter().flatten().map(|condition| condition.name.clone()).collect()
            };
            (names(0), names(1))
        };
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let of = |group: &str, name: &str, resource: &str, subresources: &[&str]| KindInfo {
            registered: true,
            ..kind(group, name, resource, "v1", subresources)
        };
        let (settings, rest) = conditions(&[of("", "ConfigMap", "configmaps", &[])]);
        assert_eq!(settings, named(&["own-dry-run", "scope"]));
        assert!(
            rest.is_superset(&named(&["leases", "events", "pure-status", "own-slices", "not-registered"])),
            "{rest:?}"
        );
        let (custom, _) = conditions(&[of("example.com", "Widget", "widgets", &["status"])]);
        assert_eq!(custom, named(&["own-dry-run", "pure-status", "scope"]));
        let (leases, _) = conditions(&[of("coordination.k8s.io", "Lease", "leases", &[])]);
        assert_eq!(leases, named(&["own-dry-run", "leases", "scope"]));
    }

    #[test]
    fn without_registered_kinds_everything_is_the_rest() {
        let webhooks = generated(&[with_action("s", Action::Enforce)], &[]).webhooks.unwrap();
        assert_eq!(webhooks.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["enforce-rest.gitadel.dev"]);
    }

    #[test]
    fn what_is_enforced_is_not_also_observed() {
        let sources = [with_action("a", Action::Enforce), with_action("b", Action::Observe)];
        let webhooks = generated(&sources, &[]).webhooks.unwrap();
        let scope_of = |at: usize| {
            let conditions = webhooks[at].match_conditions.as_ref().unwrap();
            conditions.iter().find(|c| c.name == "scope").unwrap().expression.clone()
        };
        assert!(scope_of(1).ends_with(&format!("&& !({})", scope_of(0))));
    }

    #[test]
    fn an_edit_is_seen_and_the_servers_own_bookkeeping_is_not() {
        let desired = generated(&[with_action("s", Action::Enforce)], &kinds());
        type Edit = fn(&mut ValidatingWebhookConfiguration);
        let edits: [(&str, Edit, bool); 8] = [
            ("nothing", |_| {}, true),
            ("uid", |c| c.metadata.uid = Some("1".into()), true),
            ("label", |c| c.metadata.labels = None, false),
            ("annotation", |c| c.metadata.annotations = Some([("a".into(), String::new())].into()), false),
            ("finalizer", |c| c.metadata.finalizers = Some(vec!["a/b".into()]), false),
            ("owner", |c| c.metadata.owner_references = Some(vec![Default::default()]), false),
            ("policy", |c| c.webhooks.as_mut().unwrap()[0].failure_policy = Some("Ignore".into()), false),
            ("entries", |c| c.webhooks = None, false),
        ];
        for (name, edit, expected) in edits {
            let mut live = desired.clone();
            edit(&mut live);
            assert_eq!(is_in_force(&live, &desired), expected, "{name}");
        }
    }
}
