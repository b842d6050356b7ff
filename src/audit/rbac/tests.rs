use serde_json::{Value, json};

use super::*;
use crate::api::Enforcement;

fn role(name: &str, rules: Value) -> Value {
    json!({"kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
}

fn rule(group: &str, resource: &str, verb: &str) -> Value {
    json!([{"apiGroups": [group], "resources": [resource], "verbs": [verb]}])
}

fn bind(role: &str, subject: Value) -> Value {
    json!({"kind": "ClusterRoleBinding", "metadata": {"name": format!("{role}-binding")},
        "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": role}, "subjects": [subject]})
}

fn bind_in(namespace: &str, role: &str, subject: Value) -> Value {
    json!({"kind": "RoleBinding", "metadata": {"name": format!("{role}-binding"), "namespace": namespace},
        "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": role}, "subjects": [subject]})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "", "name": name})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
}

fn rbac(objects: &[Value]) -> Rbac {
    let mut rbac = Rbac::bootstrap();
    for object in objects.iter().cloned() {
        let name = object["metadata"]["name"].clone();
        match object["kind"].as_str().unwrap() {
            "ClusterRole" => {
                rbac.cluster_roles.retain(|role| role.metadata.name.as_deref() != name.as_str());
                rbac.cluster_roles.push(serde_json::from_value(object).unwrap());
            }
            "ClusterRoleBinding" => {
                rbac.cluster_role_bindings.retain(|role| role.metadata.name.as_deref() != name.as_str());
                rbac.cluster_role_bindings.push(serde_json::from_value(object).unwrap());
            }
            "RoleBinding" => rbac.role_bindings.push(serde_json::from_value(object).unwrap()),
            "Role" => rbac.roles.push(serde_json::from_value(object).unwrap()),
            other => panic!("{other}"),
        }
    }
    rbac
}

/// Of a cluster whose `kube-*` are excluded, beside what every cluster has.
fn found_by(objects: &[Value], scope: Value) -> Vec<Finding> {
    let enforcement: Enforcement = serde_json::from_value(json!({"apiVersion": "gitadel.dev/v1alpha1",
        "kind": "Enforcement", "metadata": {"name": "a"}, "spec": {"source": {"url": "https://x/y"},
        "scope": scope, "action": "Enforce"}}))
    .unwrap();
    let restricted = [("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned())];
    let namespaces = BTreeMap::from([
        ("gitadel-system".to_owned(), BTreeMap::new()),
        ("kube-public".to_owned(), restricted.into()),
        ("kube-system".to_owned(), BTreeMap::new()),
        ("shop".to_owned(), BTreeMap::new()),
    ]);
    let mut surroundings = Surroundings::new(Governance::new([&enforcement]), &namespaces);
    let mut found = findings(&rbac(objects), &mut surroundings);
    found.retain(|finding| !finding.id.starts_with("GA-KNOWN-00"));
    found.sort_by(|a, b| a.id.cmp(b.id));
    found
}

fn found(objects: &[Value]) -> Vec<(&'static str, Severity, String)> {
    let found = found_by(objects, json!({"excludedNamespaces": ["kube-*"], "cluster": "All"}));
    let subjects = |finding: &Finding| finding.subjects.iter().map(Subject::to_string).collect::<Vec<_>>().join("; ");
    found.iter().map(|finding| (finding.id, finding.severity, subjects(finding))).collect()
}

#[test]
fn a_new_cluster_has_none_but_what_it_comes_with() {
    assert_eq!(found(&[]), []);
}

#[test]
fn what_a_cluster_wide_right_is_worth() {
    use Severity::{Critical, High, Low, Medium};
    let admission = "admissionregistration.k8s.io";
    let named = |group: &str, resource: &str, verb: &str, name: &str| json!([{"apiGroups": [group], "resources": [resource], "verbs": [verb], "resourceNames": [name]}]);
    let cases: Vec<(Value, Vec<(&str, Severity)>)> = vec![
        (rule("*", "*", "*"), vec![("GA-RBAC-001", Critical)]),
        (rule(admission, "validatingwebhookconfigurations", "delete"), vec![("GA-RBAC-002", Critical)]),
        (
            rule(admission, "*", "patch"),
            vec![("GA-RBAC-002", Critical), ("GA-RBAC-003", High), ("GA-RBAC-004", Medium)],
        ),
        (named(admission, "validatingwebhookconfigurations", "update", "gitadel"), vec![("GA-RBAC-002", Critical)]),
        (named(admission, "validatingwebhookconfigurations", "*", "other"), vec![]),
        (rule(admission, "validatingwebhookconfigurations", "get"), vec![]),
        (rule("", "users", "impersonate"), vec![("GA-RBAC-005", Critical)]),
        (named("", "users", "impersonate", "bob"), vec![("GA-RBAC-005", Medium)]),
        (named("", "groups", "impersonate", "system:masters"), vec![("GA-RBAC-005", Critical)]),
        (rule("authentication.k8s.io", "users", "impersonate:user-info"), vec![("GA-RBAC-005", Critical)]),
        (rule("", "serviceaccounts", "impersonate"), vec![("GA-RBAC-006", Critical)]),
        (rule("", "serviceaccounts/token", "create"), vec![("GA-RBAC-007", Critical)]),
        (named("", "serviceaccounts/token", "create", "nobody"), vec![("GA-RBAC-007", Low)]),
        (named("", "serviceaccounts/token", "create", "namespace-controller"), vec![("GA-RBAC-007", Critical)]),
        (rule("", "nodes/proxy", "get"), vec![("GA-RBAC-008", Critical)]),
        (rule("", "pods/exec", "create"), vec![("GA-RBAC-009", High)]),
        (rule("", "*/exec", "get"), vec![("GA-RBAC-009", High)]),
        (rule("", "pods/ephemeralcontainers", "patch"), vec![("GA-RBAC-010", High)]),
        (rule("", "pods/portforward", "create"), vec![("GA-RBAC-011", Low)]),
        (rule("rbac.authorization.k8s.io", "clusterroles", "bind"), vec![("GA-RBAC-012", High)]),
        (rule("rbac.authorization.k8s.io", "clusterroles", "create"), vec![]),
        (rule("discovery.k8s.io", "endpointslices", "create"), vec![("GA-RBAC-013", High)]),
        (rule("coordination.k8s.io", "leases", "update"), vec![("GA-RBAC-014", Medium)]),
        (rule("", "secrets", "list"), vec![("GA-RBAC-015", High)]),
        (rule("", "secrets", "create"), vec![]),
        (rule("certificates.k8s.io", "signers", "approve"), vec![("GA-RBAC-017", Critical)]),
        (
            named("certificates.k8s.io", "signers", "sign", "kubernetes.io/kube-apiserver-client-kubelet"),
            vec![("GA-RBAC-017", High)],
        ),
        (named("certificates.k8s.io", "signers", "sign", "example.com/mine"), vec![]),
        (rule("apiextensions.k8s.io", "customresourcedefinitions", "*"), vec![]),
        (rule("", "nodes", "create"), vec![("GA-RBAC-020", Medium)]),
        (rule("apps", "daemonsets", "create"), vec![("GA-RBAC-021", Critical)]),
        (rule("", "pods", "delete"), vec![]),
        (rule("", "namespaces", "create"), vec![("GA-RBAC-022", High)]),
        (rule("gitadel.dev", "enforcements", "create"), vec![]),
    ];
    for (rules, expected) in cases {
        let found = found(&[role("x", rules.clone()), bind("x", user("mallory"))]);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(id, severity)| (id, severity, "User mallory (ClusterRoleBinding x-binding)".to_owned()))
            .collect();
        assert_eq!(found, expected, "{rules}");
    }
}

#[test]
fn a_role_binding_gives_a_cluster_role_in_its_namespace_only() {
    use Severity::{Critical, High, Low, Medium};
    type Expected = Vec<(&'static str, Severity)>;
    let cases: Vec<(&str, Value, Expected)> = vec![
        ("shop", rule("admissionregistration.k8s.io", "*", "*"), vec![]),
        ("shop", rule("", "pods", "create"), vec![]),
        ("kube-system", rule("", "pods", "create"), vec![("GA-RBAC-021", Critical)]),
        ("kube-public", rule("batch", "jobs", "create"), vec![("GA-RBAC-021", Medium)]),
        ("shop", rule("", "serviceaccounts", "impersonate"), vec![("GA-RBAC-006", Low)]),
        ("kube-system", rule("", "serviceaccounts", "impersonate"), vec![("GA-RBAC-006", Critical)]),
        ("shop", rule("", "secrets", "get"), vec![]),
        ("gitadel-system", rule("", "secrets", "get"), vec![("GA-RBAC-015", High)]),
        ("shop", rule("", "pods/exec", "create"), vec![("GA-RBAC-009", Low)]),
        ("kube-system", rule("", "pods/exec", "create"), vec![("GA-RBAC-009", High)]),
        ("gitadel-system", rule("", "pods/exec", "create"), vec![]),
        ("gitadel-system", rule("coordination.k8s.io", "leases", "create"), vec![("GA-RBAC-014", Medium)]),
        ("kube-system", rule("rbac.authorization.k8s.io", "roles", "escalate"), vec![("GA-RBAC-012", High)]),
        ("shop", rule("rbac.authorization.k8s.io", "roles", "escalate"), vec![]),
    ];
    for (namespace, rules, expected) in cases {
        let found = found(&[role("x", rules.clone()), bind_in(namespace, "x", user("mallory"))]);
        let who = format!("User mallory in {namespace} (RoleBinding {namespace}/x-binding)");
        let expected: Vec<_> = expected.into_iter().map(|(id, severity)| (id, severity, who.clone())).collect();
        assert_eq!(found, expected, "{namespace} {rules}");
    }
}

#[test]
fn a_service_account_is_worth_what_it_may_do() {
    let objects = [
        role("ops", rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "create")),
        bind("ops", account("shop", "operator")),
        role("minter", rule("", "serviceaccounts/token", "create")),
        bind_in("shop", "minter", user("mallory")),
    ];
    let found = found(&objects);
    assert_eq!(
        found[1],
        ("GA-RBAC-007", Severity::High, "User mallory in shop (RoleBinding shop/minter-binding)".into())
    );
    assert_eq!(found[0].2, "ServiceAccount shop/operator (ClusterRoleBinding ops-binding)");
}

#[test]
fn what_is_governed_is_removed_by_a_commit() {
    let rules = rule("", "secrets", "get");
    let objects = [role("x", rules), bind("x", user("mallory")), bind_in("gitadel-system", "x", user("trent"))];
    let fix = |scope: Value| found_by(&objects, scope)[0].fix.clone();
    let by_hand = fix(json!({"namespaces": ["shop"]}));
    assert!(by_hand.contains("kubectl delete clusterrolebinding x-binding"), "{by_hand}");
    assert!(by_hand.contains("kubectl -n gitadel-system delete rolebinding x-binding"), "{by_hand}");
    let by_commit = fix(json!({"excludedNamespaces": [], "cluster": "All"}));
    assert!(!by_commit.contains("kubectl") && by_commit.contains("ClusterRoleBinding x-binding"), "{by_commit}");
}

#[test]
fn one_account_leads_to_the_next() {
    let objects = [
        role("ops", rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "create")),
        bind("ops", account("bank", "operator")),
        role("minter", rule("", "serviceaccounts/token", "create")),
        bind_in("bank", "minter", account("shop", "broker")),
        bind_in("shop", "minter", user("mallory")),
    ];
    let worth: Vec<_> = found(&objects).into_iter().filter(|(id, ..)| *id == "GA-RBAC-007").collect();
    let who = "User mallory in shop (RoleBinding shop/minter-binding)";
    assert!(worth.iter().all(|(_, severity, _)| *severity == Severity::High), "{worth:?}");
    assert!(worth.iter().any(|(_, _, subjects)| subjects.contains(who)), "{worth:?}");
}

#[test]
fn a_service_account_has_what_its_groups_have() {
    let group = |name: &str| json!({"kind": "Group", "apiGroup": "", "name": name});
    let worth = |name: &str| {
        let ops = role("ops", rule("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "create"));
        let minter = role("minter", rule("", "serviceaccounts/token", "create"));
        let found = found(&[ops, bind("ops", group(name)), minter, bind_in("shop", "minter", user("mallory"))]);
        found.into_iter().find(|(id, _, _)| *id == "GA-RBAC-007").map(|(_, severity, _)| severity)
    };
    assert_eq!(worth("system:serviceaccounts"), Some(Severity::High));
    assert_eq!(worth("system:serviceaccounts:shop"), Some(Severity::High));
    assert_eq!(worth("system:serviceaccounts:bank"), Some(Severity::Low));
    assert_eq!(worth("ops"), Some(Severity::Low));
}

#[test]
fn a_configuration_that_the_api_server_keeps_is_not_in_danger() {
    let objects = [
        role("x", rule("admissionregistration.k8s.io", "validatingwebhookconfigurations", "delete")),
        bind("x", user("mallory")),
    ];
    let namespaces = BTreeMap::new();
    let mut surroundings = Surroundings::new(Governance::new([]), &namespaces);
    let mut count = |protected| {
        surroundings.protected = protected;
        let found = findings(&rbac(&objects), &mut surroundings);
        found.iter().filter(|finding| finding.id == "GA-RBAC-002").count()
    };
    assert_eq!((count(false), count(true)), (1, 0));
}

#[test]
fn where_nothing_is_enforced_gitadels_pods_are_entered() {
    let objects = [role("x", rule("", "pods/exec", "create")), bind("x", user("mallory"))];
    let namespaces = BTreeMap::from([("gitadel-system".to_owned(), BTreeMap::new())]);
    let found = findings(&rbac(&objects), &mut Surroundings::new(Governance::new([]), &namespaces));
    assert!(found.iter().any(|finding| (finding.id, finding.severity) == ("GA-RBAC-009", Severity::Critical)));
}

#[test]
fn what_is_not_governed_is_open_to_whoever_may_write_it() {
    let open = json!({"excludedNamespaces": ["gitadel-system", "kube-system"]});
    let found = |rules: Value| {
        let found = found_by(&[role("x", rules), bind("x", user("mallory"))], open.clone());
        found.iter().map(|finding| (finding.id, finding.severity)).collect::<Vec<_>>()
    };
    let cases = [
        (rule("apiextensions.k8s.io", "customresourcedefinitions", "update"), ("GA-RBAC-018", Severity::Medium)),
        (rule("apiregistration.k8s.io", "apiservices", "create"), ("GA-RBAC-019", Severity::High)),
        (rule("rbac.authorization.k8s.io", "clusterroles", "bind"), ("GA-RBAC-012", Severity::Critical)),
        (rule("", "secrets", "patch"), ("GA-RBAC-016", Severity::High)),
        (rule("gitadel.dev", "enforcements", "create"), ("GA-RBAC-023", Severity::Critical)),
        (rule("gitadel.dev", "enforcements", "patch"), ("GA-RBAC-023", Severity::Critical)),
    ];
    for (rules, expected) in cases {
        assert_eq!(found(rules.clone()), [expected], "{rules}");
    }
    assert_eq!(found(rule("", "namespaces", "create")), [], "nothing is excluded by pattern");
    assert_eq!(found(rule("gitadel.dev", "enforcements", "delete")), [], "one that is gone declares nothing");
}

#[test]
fn an_aggregated_role_names_where_the_rule_is_written() {
    let labels = json!({"rbac.authorization.k8s.io/aggregate-to-edit": "true"});
    let mut part = role("part", rule("admissionregistration.k8s.io", "validatingwebhookconfigurations", "patch"));
    part["metadata"]["labels"] = labels.clone();
    let mut operator = role("operator-edit", rule("example.com", "widgets", "*"));
    operator["metadata"]["labels"] = labels;
    // What the controller makes of it.
    let mut edit = Rbac::bootstrap().cluster_role("edit").cloned().unwrap();
    edit.rules.as_mut().unwrap().extend(serde_json::from_value::<Vec<_>>(part["rules"].clone()).unwrap());
    let mut edit = serde_json::to_value(edit).unwrap();
    edit["kind"] = json!("ClusterRole");
    let objects = [part, operator, edit, bind("edit", user("mallory"))];
    let found = found_by(&objects, json!({"excludedNamespaces": []}));
    let configuration = found.iter().find(|finding| finding.id == "GA-RBAC-002").unwrap();
    assert_eq!(configuration.object, "ClusterRole part");
    assert!(configuration.fix.contains("kubectl delete clusterrolebinding edit-binding"), "{}", configuration.fix);
    let widened: Vec<_> = found.iter().filter(|finding| finding.id == "GA-RBAC-032").collect();
    assert_eq!(widened.len(), 2, "admin selects edit: {widened:?}");
    assert!(widened.iter().all(|finding| finding.object == "ClusterRole part"));
    let custom = found.iter().find(|finding| finding.id == "GA-RBAC-033").unwrap();
    assert_eq!((custom.severity, custom.object.as_str()), (Severity::Info, "ClusterRole operator-edit"));
}

#[test]
fn kubernetes_own_roles_and_bindings_are_held_to_what_they_come_with() {
    let mut viewer = serde_json::to_value(Rbac::bootstrap().cluster_role("system:discovery").unwrap()).unwrap();
    viewer["kind"] = json!("ClusterRole");
    viewer["rules"].as_array_mut().unwrap().push(rule("", "secrets", "get")[0].clone());
    let binding = Rbac::bootstrap().cluster_role_bindings.into_iter();
    let binding = binding.into_iter().find(|binding| name(&binding.metadata) == "system:kube-scheduler").unwrap();
    let mut binding = serde_json::to_value(binding).unwrap();
    binding["kind"] = json!("ClusterRoleBinding");
    binding["subjects"].as_array_mut().unwrap().push(user("mallory"));
    let found = found(&[viewer, binding]);
    let ids: Vec<_> = found.iter().map(|(id, severity, _)| (*id, *severity)).collect();
    assert!(ids.contains(&("GA-RBAC-030", Severity::High)), "{ids:?}");
    // Everybody who is authenticated reads Secrets now, and mallory has what the scheduler has.
    let everybody = "Group system:authenticated (ClusterRoleBinding system:discovery)".to_owned();
    assert!(found.contains(&("GA-RBAC-015", Severity::Critical, everybody)), "worse where everybody has it: {found:?}");
    let mallory = "User mallory (ClusterRoleBinding system:kube-scheduler)".to_owned();
    assert!(found.contains(&("GA-RBAC-031", Severity::Medium, mallory.clone())), "{found:?}");
    assert!(found.contains(&("GA-RBAC-014", Severity::Medium, mallory)), "{found:?}");
}

#[test]
fn who_has_it_by_design_is_told_once() {
    let objects = [
        bind("cluster-admin", json!({"kind": "ServiceAccount", "namespace": "gitadel-system", "name": "gitadel"})),
        json!({"kind": "ClusterRoleBinding", "metadata": {"name": "kubeadm:cluster-admins"},
            "roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "Group", "name": "kubeadm:cluster-admins"}]}),
    ];
    let namespaces = BTreeMap::new();
    let mut surroundings = Surroundings::new(Governance::new([]), &namespaces);
    let found = findings(&rbac(&objects), &mut surroundings);
    let ids: Vec<_> = found.iter().map(|finding| (finding.id, finding.severity)).collect();
    let expected = ["GA-KNOWN-001", "GA-KNOWN-002", "GA-KNOWN-003", "GA-KNOWN-004"];
    assert_eq!(ids, expected.map(|id| (id, Severity::Info)));
}
