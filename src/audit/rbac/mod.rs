//! Who may get round gitadel by RBAC.
//!
//! Bindings are resolved to subjects and rules, wildcards and aggregation included, and held against a table of rights
//! ([`powers`]). What the components of Kubernetes have in every new cluster is known from the roles that the API server
//! makes for itself, by the same resolution; it is told once and not as so many findings.

mod known;
mod powers;
mod roles;
mod rule;
mod weigh;
mod widened;

pub use known::GITADEL_ACCOUNT;
pub use roles::{Grant, Place, Rbac, name};
pub use rule::Names;

use std::collections::BTreeMap;

use super::finding::{Finding, Severity, Subject, SubjectKind, Who, some_of};
use super::governance::Governance;
use super::surroundings::Surroundings;
use known::Known;
use powers::{Claim, EVERYTHING, POWERS, Power};
use rule::{permits, permits_everything};
use weigh::Weight;

/// A right that a binding gives by itself.
struct Held {
    power: &'static Power,
    weight: Weight,
    /// The role that has the rule: one that is aggregated is not the place to take it out.
    role: String,
}

/// What makes one finding, however many are bound to the role: severity, power, role and note.
type RightOfRole = (Severity, &'static str, String, String);

/// What each binding gives, and what it is worth.
fn held(grant: &Grant<'_>, surroundings: &Surroundings<'_>) -> Vec<Held> {
    if grant.place == Place::Cluster && grant.rules.iter().any(permits_everything) {
        let weight = Severity::Critical.into();
        return vec![Held { power: &EVERYTHING, weight, role: origin(grant, &|rule| permits_everything(rule)) }];
    }
    POWERS.iter().filter_map(|power| held_power(grant, surroundings, power)).collect()
}

fn held_power(grant: &Grant<'_>, surroundings: &Surroundings<'_>, power: &'static Power) -> Option<Held> {
    let weights: Vec<Weight> = grant
        .rules
        .iter()
        .flat_map(|rule| power.needs.iter().filter_map(|need| permits(rule, need)))
        .map(|names| Claim { place: grant.place, names })
        .filter_map(|claim| (power.weigh)(surroundings, &claim))
        .collect();
    let severity = weights.iter().map(|weight| weight.severity).max()?;
    let mut notes: Vec<_> = weights.into_iter().map(|weight| weight.note).filter(|note| !note.is_empty()).collect();
    notes.sort();
    notes.dedup();
    let role = origin(grant, &|rule| power.needs.iter().any(|need| permits(rule, need).is_some()));
    Some(Held { power, weight: Weight { severity, note: notes.join(" ") }, role })
}

/// The role in which the rule is written.
fn origin(grant: &Grant<'_>, gives: &dyn Fn(&k8s_openapi::api::rbac::v1::PolicyRule) -> bool) -> String {
    let parts = grant.parts.iter().filter(|role| role.rules.iter().flatten().any(gives));
    let parts: Vec<_> = parts.map(|role| name(&role.metadata)).collect();
    if parts.is_empty() { grant.role.clone() } else { format!("ClusterRole {}", some_of(parts, 5)) }
}

/// What RBAC says of each service account: the most that its own rights are worth.
fn worth_of_accounts(grants: &[Grant<'_>], surroundings: &Surroundings<'_>) -> BTreeMap<(String, String), Severity> {
    let mut worth = BTreeMap::new();
    for grant in grants {
        let Some(severity) = held(grant, surroundings).iter().map(|held| held.weight.severity).max() else { continue };
        for account in grant.subjects.iter().filter_map(accounts_of) {
            let known: &mut Severity = worth.entry(account).or_insert(severity);
            *known = severity.max(*known);
        }
    }
    worth
}

/// The service accounts that somebody is: see [`Surroundings::accounts`].
fn accounts_of(who: &Who) -> Option<(String, String)> {
    match (who.kind, who.name.as_str()) {
        (SubjectKind::ServiceAccount, name) => Some((who.namespace.clone().unwrap_or_default(), name.to_owned())),
        (SubjectKind::Group, "system:serviceaccounts" | "system:authenticated") => Some(Default::default()),
        (SubjectKind::Group, name) => {
            name.strip_prefix("system:serviceaccounts:").map(|namespace| (namespace.to_owned(), String::new()))
        }
        (SubjectKind::User, _) => None,
    }
}

/// What a right is worth that nearly everybody has: one step more.
fn raised(severity: Severity) -> Severity {
    match severity {
        Severity::Info => Severity::Info,
        Severity::Low => Severity::Medium,
        Severity::Medium => Severity::High,
        Severity::High | Severity::Critical => Severity::Critical,
    }
}

fn is_everybody(who: &Who) -> bool {
    const GROUPS: [&str; 3] = ["system:authenticated", "system:unauthenticated", "system:serviceaccounts"];
    match who.kind {
        SubjectKind::Group => GROUPS.contains(&who.name.as_str()),
        SubjectKind::User => who.name == "system:anonymous",
        SubjectKind::ServiceAccount => false,
    }
}

pub fn findings(rbac: &Rbac, surroundings: &mut Surroundings<'_>) -> Vec<Finding> {
    let grants = rbac.grants();
    // An account that may act as another is worth as much: until nothing is added any more.
    loop {
        let accounts = worth_of_accounts(&grants, surroundings);
        if accounts == surroundings.accounts {
            break;
        }
        surroundings.accounts = accounts;
    }
    let bootstrap = Rbac::bootstrap();
    let mut known = Known::new(&bootstrap.grants(), surroundings);

    let mut found: BTreeMap<RightOfRole, (&Power, Vec<Subject>)> = BTreeMap::new();
    for grant in &grants {
        for held in held(grant, surroundings) {
            for who in grant.subjects.iter().filter(|who| !known.take(who, held.power.id, grant.place)) {
                let severity = held.weight.severity;
                let severity = if is_everybody(who) { raised(severity) } else { severity };
                let key = (severity, held.power.id, held.role.clone(), held.weight.note.clone());
                found.entry(key).or_insert_with(|| (held.power, Vec::new())).1.push(Subject {
                    who: who.clone(),
                    place: grant.place.namespace().map(str::to_owned),
                    through: Some(grant.binding.clone()),
                });
            }
        }
    }
    let rights = found.into_iter().map(|((severity, id, role, note), (power, subjects))| {
        Finding::new(id, severity, format!("{role} {}", power.title))
            .object(role.clone())
            .why(format!("{} {note}", power.why).trim_end())
            .fix(fix(power, &role, &subjects, &surroundings.governance))
            .subjects(subjects)
    });
    let mut findings: Vec<_> = rights.collect();
    findings.extend(known.findings());
    findings.extend(widened::findings(rbac, &bootstrap));
    findings
}

fn fix(power: &Power, role: &str, subjects: &[Subject], governance: &Governance<'_>) -> String {
    let mut bindings: Vec<_> = subjects.iter().filter_map(|subject| subject.through.as_deref()).collect();
    bindings.sort_unstable();
    bindings.dedup();
    let bindings = some_of(bindings.into_iter().map(|binding| removal(binding, governance)), 3);
    let mut resources: Vec<_> = power.needs.iter().map(|need| need.resource).collect();
    resources.dedup();
    if resources.is_empty() {
        return format!("Bind them to a role with what they need, and take this away: {bindings}.");
    }
    let mut verbs: Vec<_> = power.needs.iter().flat_map(|need| need.verbs).copied().collect();
    verbs.sort_unstable();
    verbs.dedup();
    format!("Take {} on {} out of {role}, or the binding away: {bindings}.", verbs.join(", "), some_of(resources, 4))
}

/// How a binding is removed: what is governed cannot be deleted by hand.
fn removal(binding: &str, governance: &Governance<'_>) -> String {
    let (command, governed) = match binding.split_once(' ') {
        Some(("RoleBinding", name)) => {
            let (namespace, name) = name.split_once('/').unwrap_or_default();
            (format!("kubectl -n {namespace} delete rolebinding {name}"), governance.governs(namespace))
        }
        Some((_, name)) => {
            let governed = governance.governs_kind("rbac.authorization.k8s.io", "ClusterRoleBinding");
            (format!("kubectl delete clusterrolebinding {name}"), governed)
        }
        None => return binding.to_owned(),
    };
    if governed { format!("{binding}, which is governed, by a commit") } else { command }
}

/// What it is worth to be a service account, for other findings about it.
pub fn worth(namespace: &str, name: &str, surroundings: &Surroundings<'_>) -> Severity {
    surroundings.worth_of_accounts(Place::Namespace(namespace), Names::Only(&[name.to_owned()]))
}

#[cfg(test)]
mod tests;
