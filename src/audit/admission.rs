//! What takes part in admission: gitadel's own configuration, and who else is asked before or beside it.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    RuleWithOperations, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::cluster::{Cluster, Proof, Protection};
use super::finding::{Finding, Severity, some_of};
use super::governance::Governance;
use super::rbac::{GITADEL_ACCOUNT, name};
use super::selector;
use crate::api::{Enforcement, SYSTEM_NAMESPACE};
use crate::reconcile::webhook_configuration::{ClientTarget, Desired, NAME, generate, is_alike, is_in_force, served};
use crate::snapshot::{KindInfo, Source};

pub fn findings(cluster: &Cluster, governance: &Governance<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if governance.enforces_anything() {
        findings.extend(own_configuration(cluster));
        findings.extend(proof(&cluster.proof));
        findings.extend(protection(cluster));
    }
    findings.extend(others(cluster, governance));
    findings
}

fn own_configuration(cluster: &Cluster) -> Option<Finding> {
    let validating = cluster.validating.as_ref()?;
    let object = "ValidatingWebhookConfiguration gitadel";
    let restart = "Look why no reconciler restores it: kubectl -n gitadel-system logs deployment/gitadel -c reconcile";
    let Some(live) = validating.iter().find(|configuration| name(&configuration.metadata) == NAME) else {
        return Some(
            Finding::new("GA-ADM-001", Severity::Critical, "gitadel's webhook configuration is missing")
                .object(object)
                .why("The API server asks nobody: every write passes.")
                .fix(restart),
        );
    };
    let entries = live.webhooks.as_deref().unwrap_or_default();
    if let Some(entry) = entries.iter().find(|entry| !is_gitadels(&entry.client_config)) {
        return Some(
            Finding::new(
                "GA-ADM-002",
                Severity::Critical,
                format!("Entry {} asks somebody else than gitadel", entry.name),
            )
            .object(object)
            .why("Whoever answers there decides what passes, and reads every write.")
            .fix(restart),
        );
    }
    if is_as_generated(live, cluster) {
        return None;
    }
    let ignored: Vec<_> = entries
        .iter()
        .filter(|entry| entry.name.starts_with("enforce") && entry.failure_policy.as_deref() != Some("Fail"))
        .map(|entry| entry.name.as_str())
        .collect();
    let why = if ignored.is_empty() {
        "Rules, selectors, conditions or the failure policy of an entry are not what follows from the Enforcements: some \
         writes may reach no webhook. For a moment after a change of an Enforcement that is as it should be."
            .to_owned()
    } else {
        format!(
            "With failurePolicy other than Fail, writes pass while the webhook does not answer: {}.",
            some_of(ignored, 4)
        )
    };
    Some(
        Finding::new("GA-ADM-003", Severity::Critical, "gitadel's webhook configuration is not what it must be")
            .object(object)
            .why(why)
            .fix(restart),
    )
}

/// gitadel's Service, or a process beside the API server.
fn is_gitadels(client: &WebhookClientConfig) -> bool {
    match (&client.service, &client.url) {
        (Some(service), None) => service.namespace == SYSTEM_NAMESPACE,
        (None, Some(url)) => {
            let host = url.parse::<hyper::Uri>().ok().and_then(|url| url.host().map(str::to_owned)).unwrap_or_default();
            ["127.0.0.1", "[::1]", "localhost"].contains(&host.as_str())
        }
        _ => false,
    }
}

/// Whether the stored configuration is one that a reconciler would write for these Enforcements. Which kinds Git uses, and
/// which authorities the replicas have, is theirs to know.
fn is_as_generated(live: &ValidatingWebhookConfiguration, cluster: &Cluster) -> bool {
    let Some(client) = live.webhooks.iter().flatten().map(|entry| &entry.client_config).next() else { return false };
    let target = match (&client.service, &client.url) {
        (Some(service), _) => ClientTarget::Service {
            namespace: service.namespace.clone(),
            name: service.name.clone(),
            port: service.port.and_then(|port| u16::try_from(port).ok()).unwrap_or(443),
        },
        (None, Some(url)) => ClientTarget::Url(url.clone()),
        (None, None) => return false,
    };
    let authorities = client.ca_bundle.as_ref().map(|bundle| String::from_utf8_lossy(&bundle.0).into_owned());
    let sources: Vec<_> = cluster.enforcements.iter().flatten().map(source).collect();
    let (namespace, account) = GITADEL_ACCOUNT;
    let wanted = generate(&Desired {
        sources: &sources,
        kinds: &cluster.kinds,
        target: &target,
        ca_bundle: &authorities.unwrap_or_default(),
        reconciler_users: &BTreeSet::from([format!("system:serviceaccount:{namespace}:{account}")]),
    });
    is_in_force(live, &wanted) || is_alike(live, &wanted, &served(&cluster.kinds))
}

/// As far as the configuration follows from it.
fn source(enforcement: &Enforcement) -> Source {
    let spec = &enforcement.spec;
    Source {
        name: enforcement.metadata.name.clone().unwrap_or_default(),
        spec: None,
        url: spec.source.url.clone(),
        reference: String::new(),
        commit: String::new(),
        subject: String::new(),
        scope: spec.scope.clone(),
        action: spec.action,
        undeclared_objects: spec.undeclared_objects,
        undeclared_fields: spec.undeclared_fields,
        children: spec.children,
        child_operations: spec.child_operations,
        delegations: Vec::new(),
        deletion_guard: spec.deletion_guard.max_objects,
        baseline_recorded: true,
    }
}

fn proof(proof: &Proof) -> Option<Finding> {
    match proof {
        Proof::NotAsked | Proof::Rejected => None,
        Proof::Admitted(place) => Some(
            Finding::new("GA-ADM-004", Severity::Critical, "A write that gitadel always rejects is admitted")
                .why(format!(
                    "A dry-run of the reserved object gitadel-canary in {place} was not refused: the webhook is not asked. The \
                     admission plugin ValidatingAdmissionWebhook may be switched off, which cannot be seen otherwise."
                ))
                .fix(
                    "Take ValidatingAdmissionWebhook out of kube-apiserver's --disable-admission-plugins; if it is not there, look \
                     at the entries of the webhook configuration.",
                ),
        ),
        Proof::Unreachable(message) => Some(
            Finding::new("GA-ADM-005", Severity::High, "The API server cannot call gitadel's webhook")
                .why(format!("Writes in the scope are refused; the way out of that is to delete the configuration. {message}"))
                .fix("See that gitadel's Pods are ready and that the control plane reaches them on port 9443."),
        ),
        Proof::Nowhere => Some(
            Finding::new("GA-ADM-006", Severity::Info, "Nothing exists yet by which enforcement could be tried")
                .why("No namespace of a scope is there, so that it is not known whether the webhook rejects.")
                .fix("Audit again when one of the namespaces exists."),
        ),
    }
}

fn protection(cluster: &Cluster) -> Option<Finding> {
    match &cluster.protection {
        Protection::Rejected(_) => None,
        Protection::Admitted => Some(
            Finding::new("GA-ADM-007", Severity::High, "Nothing rejects the deletion of gitadel's webhook configuration")
                .object("ValidatingWebhookConfiguration gitadel")
                .why(
                    "Kubernetes asks no webhook about webhook configurations: it is only seen and restored, and until the API \
                     server obeys it again, about a second, other writes pass and are undone afterwards.",
                )
                .fix(
                    "Where kube-apiserver's flags can be set, let it keep the configuration itself: gitadel static-admission, \
                     manifests/static-admission. Elsewhere leave the right to nobody: GA-RBAC-002.",
                ),
        ),
        Protection::Unknown(reason) => Some(
            Finding::new("GA-ADM-008", Severity::Info, "Not known whether gitadel's configuration is protected")
                .object("ValidatingWebhookConfiguration gitadel")
                .why(format!("A dry-run of its deletion says nothing about it: {reason}."))
                .fix("Audit as somebody who may delete it; a dry-run deletes nothing."),
        ),
    }
}

/// What a webhook or policy is asked about.
struct Matched<'a> {
    namespaces: Option<&'a LabelSelector>,
    rules: &'a [RuleWithOperations],
}

impl Matched<'_> {
    fn selects(&self, namespace: &str, cluster: &Cluster) -> bool {
        let labels = cluster.namespaces.get(namespace);
        self.namespaces.is_none_or(|selector| selector::matches(selector, labels))
    }

    fn asks_about(&self, kind: &KindInfo) -> bool {
        let is_group = |group: &String| group == "*" || *group == kind.group;
        // `pods/*` is the Pods with their subresources.
        let is_resource = |resource: &String| {
            let resource = resource.strip_suffix("/*").unwrap_or(resource);
            resource == "*" || resource == kind.resource
        };
        self.rules.iter().any(|rule| {
            let scope = match rule.scope.as_deref() {
                Some("Cluster") => !kind.namespaced,
                Some("Namespaced") => kind.namespaced,
                _ => true,
            };
            scope && rule.api_groups.iter().flatten().any(is_group) && rule.resources.iter().flatten().any(is_resource)
        })
    }

    /// The governed kinds that it is asked about, and whether gitadel's namespace is among what it sees.
    fn reach<'k>(&self, cluster: &'k Cluster, governance: &Governance<'_>) -> (BTreeSet<&'k str>, bool) {
        let sees_governed = cluster.namespaces.keys().any(|n| governance.governs(n) && self.selects(n, cluster));
        let is_governed = |kind: &KindInfo| {
            if kind.namespaced { sees_governed } else { governance.governs_kind(&kind.group, &kind.kind) }
        };
        let kinds = cluster.kinds.iter().filter(|kind| is_governed(kind) && self.asks_about(kind));
        let sees_own = self.selects(SYSTEM_NAMESPACE, cluster)
            && cluster.kinds.iter().any(|kind| kind.namespaced && self.asks_about(kind));
        (kinds.map(|kind| kind.resource.as_str()).collect(), sees_own)
    }
}

fn others(cluster: &Cluster, governance: &Governance<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for configuration in &cluster.mutating {
        let entries = configuration.webhooks.iter().flatten().map(|entry| Matched {
            namespaces: entry.namespace_selector.as_ref(),
            rules: entry.rules.as_deref().unwrap_or_default(),
        });
        let object = format!("MutatingWebhookConfiguration {}", name(&configuration.metadata));
        findings.extend(mutating("GA-ADM-010", object, entries, cluster, governance));
    }
    for configuration in cluster.validating.iter().flatten().filter(|other| name(&other.metadata) != NAME) {
        let entries = configuration.webhooks.iter().flatten().map(|entry| Matched {
            namespaces: entry.namespace_selector.as_ref(),
            rules: entry.rules.as_deref().unwrap_or_default(),
        });
        let object = format!("ValidatingWebhookConfiguration {}", name(&configuration.metadata));
        findings.extend(validating(object, entries, cluster, governance));
    }
    for policy in cluster.policies.iter().filter(|policy| policy.bound) {
        let matched = Matched { namespaces: Some(&policy.namespaces), rules: &policy.rules };
        findings.extend(if policy.mutating {
            let object = format!("MutatingAdmissionPolicy {}", policy.name);
            mutating("GA-ADM-011", object, [matched].into_iter(), cluster, governance)
        } else {
            validating(format!("ValidatingAdmissionPolicy {}", policy.name), [matched].into_iter(), cluster, governance)
        });
    }
    findings
}

/// All that the entries of one configuration see.
fn reach<'k>(
    entries: impl Iterator<Item = Matched<'k>>,
    cluster: &'k Cluster,
    governance: &Governance<'_>,
) -> (BTreeSet<&'k str>, bool) {
    entries.map(|entry| entry.reach(cluster, governance)).fold((BTreeSet::new(), false), |mut all, (kinds, own)| {
        all.0.extend(kinds);
        (all.0, all.1 || own)
    })
}

fn mutating<'k>(
    id: &'static str,
    object: String,
    entries: impl Iterator<Item = Matched<'k>>,
    cluster: &'k Cluster,
    governance: &Governance<'_>,
) -> Option<Finding> {
    let (kinds, own) = reach(entries, cluster, governance);
    if kinds.is_empty() && !own {
        return None;
    }
    let severity = if own { Severity::High } else { Severity::Medium };
    let own = if own { " It sees gitadel-system, too, and may keep gitadel's own Pods from starting." } else { "" };
    Some(
        Finding::new(id, severity, format!("{object} may rewrite governed objects"))
            .object(object)
            .why(format!(
                "It is asked before gitadel, about {}. What it adds makes gitadel refuse the write, the reconciler's too; where \
                 Git declares it, its additions count as declared, so that who answers for it decides on them.{own}",
                some_of(kinds, 6)
            ))
            .fix(
                "Delete it if Git does not declare it. Else narrow its rules, and let its namespaceSelector leave out \
                 gitadel-system.",
            ),
    )
}

fn validating<'k>(
    object: String,
    entries: impl Iterator<Item = Matched<'k>>,
    cluster: &'k Cluster,
    governance: &Governance<'_>,
) -> Option<Finding> {
    let (kinds, own) = reach(entries, cluster, governance);
    (!kinds.is_empty() || own).then(|| {
        Finding::new("GA-ADM-012", Severity::Low, format!("{object} may refuse writes to governed objects"))
            .object(object)
            .why(format!(
                "It can refuse what the reconciler writes, so that drift stays and commits are not applied. It is asked about {}.",
                some_of(kinds, 6)
            ))
            .fix("Declare it in Git, and see that it admits what Git declares.")
    })
}

#[cfg(test)]
mod tests;
