//! What the Enforcements themselves leave open.

use super::cluster::Cluster;
use super::finding::{Finding, Severity, Subject, Who, some_of};
use super::governance::{Governance, POWERFUL_KINDS};
use crate::api::{
    Action, Children, Delegation, Enforcement, EnforcementSpec, GitSource, Permission, SYSTEM_NAMESPACE, Undeclared,
};

const NAMED: usize = 12;

pub fn findings(cluster: &Cluster, governance: &Governance<'_>) -> Vec<Finding> {
    let Some(enforcements) = &cluster.enforcements else { return Vec::new() };
    if !governance.enforces_anything() {
        return vec![
            Finding::new("GA-SCOPE-001", Severity::Critical, "No Enforcement enforces anything")
                .why("Every write passes. Whatever else this report says is about what will be open then.")
                .fix("Set action: Enforce on an Enforcement; docs/operations.md shows the way there by Observe and Warn."),
        ];
    }
    let mut findings = places(cluster, governance);
    findings.extend(enforcements.iter().flat_map(of_one));
    findings
}

/// What no Enforcement holds.
fn places(cluster: &Cluster, governance: &Governance<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ungoverned = cluster.namespaces.keys().filter(|namespace| !governance.governs(namespace));
    let ungoverned: Vec<_> = ungoverned.filter(|namespace| *namespace != SYSTEM_NAMESPACE).collect();
    if !ungoverned.is_empty() {
        let title = format!("{} namespaces are governed by no Enforcement", ungoverned.len());
        findings.push(
            Finding::new("GA-SCOPE-002", Severity::High, title)
                .object(format!("Namespace {}", some_of(&ungoverned, NAMED)))
                .why(
                    "What is written there is not judged. A privileged Pod there is the node that it runs on, with every Pod and \
                     token of it.",
                )
                .fix(
                    "Take them into a scope; until then label each pod-security.kubernetes.io/enforce=baseline where its Pods \
                     allow it. GA-RBAC-021 names who may make Pods there.",
                ),
        );
    }
    let patterns = governance.open_patterns();
    if !patterns.is_empty() {
        findings.push(
            Finding::new("GA-SCOPE-003", Severity::Medium, "Namespaces are excluded before they exist")
                .object(format!("excludedNamespaces {}", some_of(patterns, NAMED)))
                .why("Whoever may create a namespace of such a name gets one that is not governed; GA-RBAC-022 names them.")
                .fix("List the names instead of a pattern in spec.scope.excludedNamespaces."),
        );
    }
    if !governance.governs(SYSTEM_NAMESPACE) {
        findings.push(
            Finding::new("GA-SCOPE-004", Severity::High, "gitadel's own namespace is governed by no Enforcement")
                .object("Namespace gitadel-system")
                .why(
                    "Only the Namespace and gitadel's records in it are kept. Whoever may write Deployments, Pods or Secrets there \
                     replaces gitadel, or runs with its token.",
                )
                .fix(
                    "Take gitadel-system into a scope, with a webhook that does not wait for itself (a static Pod); until then \
                     let nobody but administrators write there.",
                ),
        );
    }
    let open: Vec<_> = POWERFUL_KINDS.iter().filter(|(group, kind)| !governance.governs_kind(group, kind)).collect();
    if !open.is_empty() {
        let kinds = some_of(open.iter().map(|(_, kind)| kind), NAMED);
        findings.push(
            Finding::new(
                "GA-SCOPE-005",
                Severity::High,
                format!("{} powerful cluster-scoped kinds are not governed", open.len()),
            )
            .object(kinds)
            .why("By objects of these kinds rights are granted, and whole APIs and namespaces made or removed.")
            .fix("Set spec.scope.cluster: All, or add them to spec.scope.clusterKinds."),
        );
    }
    findings
}

fn of_one(enforcement: &Enforcement) -> Vec<Finding> {
    let spec = &enforcement.spec;
    let name = enforcement.metadata.name.as_deref().unwrap_or_default();
    let object = format!("Enforcement {name}");
    let mut findings = Vec::new();
    if spec.action != Action::Enforce {
        let action = if spec.action == Action::Warn { "warns" } else { "observes" };
        return vec![
            Finding::new("GA-SCOPE-006", Severity::Medium, format!("{object} only {action}"))
                .object(object)
                .why("What another one does not enforce passes in its scope, and drift stays.")
                .fix("Set spec.action: Enforce, by a commit where Enforcements are governed."),
        ];
    }
    findings.extend(permissions(&object, spec));
    findings.extend(spec.delegations.iter().filter_map(|delegation| delegated(&object, delegation)));
    findings.extend(source(&object, &spec.source));
    findings
}

fn permissions(object: &str, spec: &EnforcementSpec) -> Vec<Finding> {
    let finding = |id, severity, title: &str, why: &str, fix: &str| {
        Finding::new(id, severity, format!("{object} {title}")).object(object).why(why).fix(fix)
    };
    let mut findings = Vec::new();
    if spec.undeclared_objects == Undeclared::Allow {
        findings.push(finding(
            "GA-SCOPE-007",
            Severity::High,
            "lets anybody create what Git does not declare",
            "Roles, bindings and privileged Pods can be made beside what is governed.",
            "Set spec.undeclaredObjects: Deny.",
        ));
    }
    if spec.undeclared_fields == Undeclared::Allow {
        findings.push(finding(
            "GA-SCOPE-008",
            Severity::High,
            "lets anybody set fields that Git does not declare",
            "A sidecar, an environment variable or an owner is a field that Git does not declare.",
            "Set spec.undeclaredFields: Deny, and delegate the fields that a controller needs.",
        ));
    }
    if spec.children == Children::ByController {
        findings.push(finding(
            "GA-SCOPE-015",
            Severity::Medium,
            "judges children by who writes them",
            "Whoever has a workload controller's token, or acts as it, starts any image under a declared workload.",
            "Set spec.children: ByTemplate.",
        ));
    }
    let operations = &spec.child_operations;
    // Deleting a Pod that is made anew changes nothing that Git declares, and nodes could not be drained without.
    let allowed = [
        ("exec", operations.exec, Severity::Low),
        ("resize", operations.resize, Severity::Low),
        ("ephemeralContainers", operations.ephemeral_containers, Severity::High),
        ("nodesProxy", operations.nodes_proxy, Severity::High),
    ];
    for (operation, permission, severity) in allowed {
        if permission == Permission::Allow {
            findings.push(finding(
                "GA-SCOPE-009",
                severity,
                &format!("allows childOperations.{operation}"),
                "Whoever RBAC lets do it changes what runs, though not what is declared; nothing puts it back.",
                &format!("Set spec.childOperations.{operation}: Deny."),
            ));
        }
    }
    if !spec.prune {
        findings.push(finding(
            "GA-SCOPE-010",
            Severity::Low,
            "does not delete what leaves Git",
            "What was once declared stays in the cluster, with the rights that it gives.",
            "Set spec.prune: true.",
        ));
    }
    findings
}

/// Whether a field is all that objects of a kind say: nothing below it is named.
fn is_whole(field: &str) -> bool {
    !field.contains('.') && !field.contains('[') && field != "metadata"
}

fn delegated(object: &str, delegation: &Delegation) -> Option<Finding> {
    let whole: Vec<_> = delegation.fields.iter().filter(|field| is_whole(field)).collect();
    let everywhere = delegation.namespace.is_none() && delegation.name.is_none();
    let unbounded = delegation.minimum.is_none() && delegation.maximum.is_none();
    let counts = |field: &String| field.ends_with("eplicas");
    let (severity, what) = if !whole.is_empty() {
        let severity = if everywhere { Severity::High } else { Severity::Medium };
        (severity, format!("all of {} of every {}", some_of(whole, 4), place(delegation)))
    } else if delegation.fields.iter().any(counts) && unbounded {
        (Severity::Low, format!("{} of {} without bounds", some_of(&delegation.fields, 4), place(delegation)))
    } else {
        return None;
    };
    let who = Who::user(&delegation.user);
    Some(
        Finding::new("GA-SCOPE-011", severity, format!("{object} delegates {what}"))
            .object(object)
            .subjects([Subject { through: Some(object.to_owned()), ..Subject::new(who) }])
            .why("A delegation is by name: whoever has the credentials of this user, or may act as it, writes what it may.")
            .fix("Name the fields one by one, the namespace and the objects, and minimum and maximum of numbers."),
    )
}

fn place(delegation: &Delegation) -> String {
    let name = delegation.name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    let namespace = delegation.namespace.as_deref().map(|namespace| format!(" in {namespace}")).unwrap_or_default();
    format!("{}{name}{namespace}", delegation.kind)
}

fn source(object: &str, source: &GitSource) -> Vec<Finding> {
    let finding = |id, severity, title: &str, why: &str, fix: &str| {
        Finding::new(id, severity, format!("{object} {title}")).object(object).why(why).fix(fix)
    };
    let mut findings = Vec::new();
    if source.url.starts_with("http://") {
        findings.push(finding(
            "GA-SCOPE-012",
            Severity::Critical,
            "reads Git over a connection that nobody authenticates",
            "Whoever is on the way between gitadel and the server of this http URL says what Git declares.",
            "Use an https or ssh URL.",
        ));
    }
    if source.url.starts_with("file://") {
        findings.push(finding(
            "GA-SCOPE-013",
            Severity::Medium,
            "reads Git from a directory of the node or Pod",
            "Whoever may write there says what Git declares.",
            "Use an https or ssh URL of a server that asks who pushes.",
        ));
    }
    // A commit that is named by its digest cannot become another one.
    if source.commit.is_none() {
        findings.push(finding(
            "GA-SCOPE-014",
            Severity::Low,
            "trusts whoever may push",
            "Commits are not verified by a signature: the Git server, and everybody who may push to the branch or move the tag, \
             says what Git declares.",
            "Protect the branch by reviews on the server, or name a commit in spec.source.commit.",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn enforcement(settings: Value) -> Enforcement {
        let mut spec = json!({"source": {"url": "https://git.example/x", "commit": "c".repeat(40)},
            "scope": {"excludedNamespaces": [], "cluster": "All"}, "action": "Enforce",
            "childOperations": {"exec": "Deny"}});
        spec.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        serde_json::from_value(json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement",
            "metadata": {"name": "a"}, "spec": spec}))
        .unwrap()
    }

    fn found(settings: Value) -> Vec<(&'static str, Severity)> {
        let mut cluster = Cluster { enforcements: Some(vec![enforcement(settings)]), ..Cluster::default() };
        let namespaces = ["default", "kube-system", SYSTEM_NAMESPACE];
        cluster.namespaces = namespaces.map(|name| (name.to_owned(), Default::default())).into();
        let governance = Governance::new(cluster.enforcements.iter().flatten());
        findings(&cluster, &governance).iter().map(|finding| (finding.id, finding.severity)).collect()
    }

    #[test]
    fn what_each_setting_opens() {
        use Severity::{Critical, High, Low, Medium};
        let scope = |scope: Value| json!({"scope": scope});
        let source = |url: &str| json!({"source": {"url": url}});
        let delegation = |settings: Value| {
            let mut delegation = json!({"user": "op", "kind": "Deployment", "fields": ["spec"]});
            delegation.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
            json!({"delegations": [delegation]})
        };
        type Expected = &'static [(&'static str, Severity)];
        let cases: Vec<(Value, Expected)> = vec![
            (json!({}), &[]),
            (json!({"action": "Warn"}), &[("GA-SCOPE-001", Critical)]),
            (
                scope(json!({"excludedNamespaces": ["kube-*"], "cluster": "All"})),
                &[("GA-SCOPE-002", High), ("GA-SCOPE-003", Medium)],
            ),
            (scope(json!({"excludedNamespaces": ["gitadel-system"], "cluster": "All"})), &[("GA-SCOPE-004", High)]),
            (scope(json!({"excludedNamespaces": []})), &[("GA-SCOPE-005", High)]),
            (json!({"undeclaredObjects": "Allow"}), &[("GA-SCOPE-007", High)]),
            (json!({"undeclaredFields": "Allow"}), &[("GA-SCOPE-008", High)]),
            (json!({"children": "ByController"}), &[("GA-SCOPE-015", Medium)]),
            (json!({"childOperations": {}}), &[("GA-SCOPE-009", Low)]),
            (json!({"childOperations": {"exec": "Deny", "nodesProxy": "Allow"}}), &[("GA-SCOPE-009", High)]),
            (json!({"prune": false}), &[("GA-SCOPE-010", Low)]),
            (delegation(json!({})), &[("GA-SCOPE-011", High)]),
            (delegation(json!({"namespace": "shop"})), &[("GA-SCOPE-011", Medium)]),
            (delegation(json!({"fields": ["spec.replicas"]})), &[("GA-SCOPE-011", Low)]),
            (delegation(json!({"fields": ["spec.replicas"], "maximum": 3})), &[]),
            (delegation(json!({"fields": ["metadata.annotations[x/*]"]})), &[]),
            (source("https://git.example/x"), &[("GA-SCOPE-014", Low)]),
            (source("http://git.example/x"), &[("GA-SCOPE-012", Critical), ("GA-SCOPE-014", Low)]),
            (source("file:///x"), &[("GA-SCOPE-013", Medium), ("GA-SCOPE-014", Low)]),
        ];
        for (settings, expected) in cases {
            assert_eq!(found(settings.clone()), expected, "{settings}");
        }
    }

    #[test]
    fn one_that_watches_beside_one_that_enforces_is_named() {
        let watching = enforcement(json!({"action": "Observe"}));
        let cluster = Cluster { enforcements: Some(vec![enforcement(json!({})), watching]), ..Cluster::default() };
        let governance = Governance::new(cluster.enforcements.iter().flatten());
        let found: Vec<_> = findings(&cluster, &governance).iter().map(|finding| finding.id).collect();
        assert_eq!(found, ["GA-SCOPE-006"]);
    }
}
