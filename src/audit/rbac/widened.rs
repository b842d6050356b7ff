//! Roles and bindings of Kubernetes itself that give more than they come with.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject as BoundSubject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::known::KUBEADM_ADMINISTRATORS;
use super::roles::{Rbac, name, subjects};
use super::rule::cover;
use crate::audit::finding::{Finding, Severity, Subject, Who, some_of};

pub fn findings(live: &Rbac, bootstrap: &Rbac) -> Vec<Finding> {
    let mut findings = widened_roles(live, bootstrap);
    findings.extend(widened_bindings(live, bootstrap));
    findings.extend(aggregated(live, bootstrap));
    findings
}

/// `kind namespace/name`
fn object(kind: &str, metadata: &ObjectMeta) -> String {
    match metadata.namespace.as_deref() {
        Some(namespace) => format!("{kind} {namespace}/{}", name(metadata)),
        None => format!("{kind} {}", name(metadata)),
    }
}

fn widened_roles(live: &Rbac, bootstrap: &Rbac) -> Vec<Finding> {
    let cluster = live.cluster_roles.iter().filter_map(|role| {
        let made = bootstrap.cluster_role(name(&role.metadata)).filter(|made| made.aggregation_rule.is_none())?;
        Some((object("ClusterRole", &role.metadata), role.rules.as_deref(), made.rules.as_deref()))
    });
    let namespaced = live.roles.iter().filter_map(|role| {
        let made = bootstrap.roles.iter().find(|made| is_same(&made.metadata, &role.metadata))?;
        Some((object("Role", &role.metadata), role.rules.as_deref(), made.rules.as_deref()))
    });
    let widened = cluster.chain(namespaced).filter_map(|(object, rules, made)| {
        let excess = excess(rules.unwrap_or_default(), made.unwrap_or_default());
        (!excess.is_empty()).then(|| {
            Finding::new("GA-RBAC-030", Severity::High, format!("{object} gives more than Kubernetes' own"))
                .object(object.clone())
                .why(format!("Everybody who is bound to it has it, components included: {}.", described(&excess)))
                .fix(format!(
                    "Take that out of {object} again, by a commit where it is governed. On another version than Kubernetes 1.36 \
                     it may be that version's own."
                ))
        })
    });
    widened.collect()
}

fn is_same(a: &ObjectMeta, b: &ObjectMeta) -> bool {
    (&a.namespace, &a.name) == (&b.namespace, &b.name)
}

fn excess<'a>(rules: &'a [PolicyRule], made: &[PolicyRule]) -> Vec<&'a PolicyRule> {
    rules.iter().filter(|rule| !cover(made, rule)).collect()
}

fn described(rules: &[&PolicyRule]) -> String {
    let describe = |rule: &&PolicyRule| {
        let urls = rule.non_resource_urls.iter().flatten().map(String::as_str);
        let groups = rule.api_groups.as_deref().unwrap_or_default();
        let resources = rule.resources.iter().flatten().flat_map(|resource| {
            groups
                .iter()
                .map(move |group| if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") })
        });
        let what: Vec<_> = urls.map(str::to_owned).chain(resources).collect();
        format!("{} on {}", rule.verbs.join(", "), some_of(what, 6))
    };
    some_of(rules.iter().map(describe), 4)
}

fn widened_bindings(live: &Rbac, bootstrap: &Rbac) -> Vec<Finding> {
    type Binding<'a> = (&'static str, &'a ObjectMeta, &'a RoleRef, Option<&'a [BoundSubject]>);
    fn bindings(rbac: &Rbac) -> Vec<Binding<'_>> {
        let cluster = rbac.cluster_role_bindings.iter();
        let cluster = cluster.map(|b| ("ClusterRoleBinding", &b.metadata, &b.role_ref, b.subjects.as_deref()));
        let namespaced = rbac.role_bindings.iter();
        cluster.chain(namespaced.map(|b| ("RoleBinding", &b.metadata, &b.role_ref, b.subjects.as_deref()))).collect()
    }
    let made = bindings(bootstrap);
    let mut findings = Vec::new();
    for (kind, metadata, role, bound) in bindings(live) {
        let is_made = |binding: &&Binding<'_>| binding.0 == kind && is_same(binding.1, metadata);
        let Some((_, _, made_role, made_bound)) = made.iter().find(is_made) else { continue };
        let own = subjects(*made_bound, "");
        let others: Vec<Who> = subjects(bound, metadata.namespace.as_deref().unwrap_or_default())
            .into_iter()
            .filter(|who| role != *made_role || !own.contains(who))
            // What some versions of kubeadm do.
            .filter(|who| *who != Who::group(KUBEADM_ADMINISTRATORS))
            .collect();
        if others.is_empty() {
            continue;
        }
        let object = object(kind, metadata);
        let through = Some(object.clone());
        findings.push(
            Finding::new("GA-RBAC-031", Severity::Medium, format!("{object} binds others than Kubernetes' own"))
                .subjects(others.into_iter().map(|who| Subject { through: through.clone(), ..Subject::new(who) }))
                .why(format!(
                    "Who looks for rights passes over the bindings of Kubernetes itself. They have {} {}.",
                    role.kind, role.name
                ))
                .fix(format!("Give them a binding of their own, if they need it, and take them out of {object}."))
                .object(object),
        );
    }
    findings
}

/// Roles that are brought together with those which Kubernetes gives to users.
fn aggregated(live: &Rbac, bootstrap: &Rbac) -> Vec<Finding> {
    let (mut findings, mut custom) = (Vec::new(), std::collections::BTreeSet::new());
    for made in bootstrap.cluster_roles.iter().filter(|role| role.aggregation_rule.is_some()) {
        let Some(role) = live.cluster_role(name(&made.metadata)) else { continue };
        for part in live.selected_by(role) {
            if bootstrap.cluster_role(name(&part.metadata)).is_some() {
                continue;
            }
            let excess = excess(part.rules.as_deref().unwrap_or_default(), made.rules.as_deref().unwrap_or_default());
            let (of_kubernetes, of_others): (Vec<_>, Vec<_>) =
                excess.into_iter().partition(|rule| is_of_kubernetes(rule));
            if !of_others.is_empty() {
                custom.insert(name(&part.metadata).to_owned());
            }
            if of_kubernetes.is_empty() {
                continue;
            }
            let (widened, object) = (name(&role.metadata), object("ClusterRole", &part.metadata));
            findings.push(
                Finding::new("GA-RBAC-032", Severity::Medium, format!("{object} widens ClusterRole {widened}"))
                    .why(format!("Everybody who is bound to {widened} has it, wherever: {}.", described(&of_kubernetes)))
                    .fix(format!(
                        "Take the label rbac.authorization.k8s.io/aggregate-to-{widened} from {object}, or the rules out of it."
                    ))
                    .object(object),
            );
        }
    }
    if !custom.is_empty() {
        let title = format!("{} ClusterRoles bring custom resources into admin, edit or view", custom.len());
        findings.push(
            Finding::new("GA-RBAC-033", Severity::Info, title)
                .object(format!("ClusterRole {}", some_of(custom, 8)))
                .why("What an operator does for whoever may write its resources, it does with its own rights.")
                .fix("Nothing, where the resources lie in a governed scope."),
        );
    }
    findings
}

/// Groups of Kubernetes itself that have a dot. Others that end alike are of custom resources or other servers.
const DOTTED_GROUPS: [&str; 16] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Whether a rule is about more than custom resources.
fn is_of_kubernetes(rule: &PolicyRule) -> bool {
    let is_builtin = |group: &String| !group.contains('.') || DOTTED_GROUPS.contains(&group.as_str());
    rule.api_groups.as_deref().unwrap_or_default().iter().any(is_builtin) || rule.non_resource_urls.is_some()
}
