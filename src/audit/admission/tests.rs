use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::*;
use crate::audit::cluster::Policy;

fn enforcement() -> Enforcement {
    serde_json::from_value(
        json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": "a"},
        "spec": {"source": {"url": "https://x/y"}, "scope": {"excludedNamespaces": ["kube-*"], "cluster": "All"},
            "action": "Enforce"}}),
    )
    .unwrap()
}

fn kind(group: &str, kind: &str, resource: &str, namespaced: bool) -> KindInfo {
    KindInfo {
        group: group.into(),
        kind: kind.into(),
        resource: resource.into(),
        version: "v1".into(),
        namespaced,
        subresources: Default::default(),
        scale_paths: Default::default(),
        schema: Default::default(),
        registered: false,
    }
}

/// With gitadel's own configuration in force.
fn cluster() -> Cluster {
    let labels = |name: &str| [("kubernetes.io/metadata.name".to_owned(), name.to_owned())].into();
    let namespaces = ["gitadel-system", "kube-system", "shop"].map(|name| (name.to_owned(), labels(name)));
    let mut cluster = Cluster {
        enforcements: Some(vec![enforcement()]),
        namespaces: namespaces.into(),
        kinds: vec![kind("", "ConfigMap", "configmaps", true), kind("", "Node", "nodes", false)],
        proof: Proof::Rejected,
        protection: Protection::Rejected("no".into()),
        ..Cluster::default()
    };
    let target = ClientTarget::Service { namespace: "gitadel-system".into(), name: "gitadel".into(), port: 443 };
    let sources: Vec<_> = cluster.enforcements.iter().flatten().map(source).collect();
    let users = BTreeSet::from(["system:serviceaccount:gitadel-system:gitadel".to_owned()]);
    // The reconciler knows which kinds Git uses.
    let kinds: Vec<_> = cluster.kinds.iter().cloned().map(|kind| KindInfo { registered: true, ..kind }).collect();
    let own = generate(&Desired {
        sources: &sources,
        kinds: &kinds,
        target: &target,
        ca_bundle: "pem",
        reconciler_users: &users,
    });
    cluster.validating = Some(vec![own]);
    cluster
}

fn found(cluster: &Cluster) -> Vec<(&'static str, Severity)> {
    let governance = Governance::new(cluster.enforcements.iter().flatten());
    findings(cluster, &governance).iter().map(|finding| (finding.id, finding.severity)).collect()
}

#[test]
fn the_own_configuration_is_held_to_what_follows_from_the_enforcements() {
    type Edit = fn(&mut Vec<ValidatingWebhookConfiguration>);
    let edits: [(Edit, Option<&str>); 9] = [
        (|_| {}, None),
        (|all| all.clear(), Some("GA-ADM-001")),
        (|all| all[0].webhooks = None, Some("GA-ADM-003")),
        (|all| drop(all[0].webhooks.as_mut().unwrap().pop()), Some("GA-ADM-003")),
        (|all| all[0].webhooks.as_mut().unwrap()[0].failure_policy = Some("Ignore".into()), Some("GA-ADM-003")),
        (|all| all[0].webhooks.as_mut().unwrap()[1].rules = None, Some("GA-ADM-003")),
        (
            |all| {
                let first = &mut all[0].webhooks.as_mut().unwrap()[0];
                first.client_config.service.as_mut().unwrap().namespace = "shop".into();
            },
            Some("GA-ADM-002"),
        ),
        (
            |all| {
                let first = &mut all[0].webhooks.as_mut().unwrap()[0].client_config;
                (first.service, first.url) = (None, Some("https://mallory.example/admit".into()));
            },
            Some("GA-ADM-002"),
        ),
        // One of two entries.
        (
            |all| all[0].webhooks.as_mut().unwrap()[0].client_config.ca_bundle = Some(ByteString(b"mine".to_vec())),
            Some("GA-ADM-003"),
        ),
    ];
    for (number, (edit, expected)) in edits.into_iter().enumerate() {
        let mut cluster = cluster();
        edit(cluster.validating.as_mut().unwrap());
        let expected: Vec<_> = expected.map(|id| (id, Severity::Critical)).into_iter().collect();
        assert_eq!(found(&cluster), expected, "case {number}");
    }
}

#[test]
fn what_the_probes_showed() {
    let cases = [
        (Proof::Admitted("namespace shop".into()), Some(("GA-ADM-004", Severity::Critical))),
        (Proof::Unreachable("refused".into()), Some(("GA-ADM-005", Severity::High))),
        (Proof::Nowhere, Some(("GA-ADM-006", Severity::Info))),
        (Proof::Rejected, None),
    ];
    for (proof, expected) in cases {
        let cluster = Cluster { proof: proof.clone(), ..cluster() };
        assert_eq!(found(&cluster), expected.into_iter().collect::<Vec<_>>(), "{proof:?}");
    }
    let cases = [
        (Protection::Admitted, ("GA-ADM-007", Severity::High)),
        (Protection::Unknown("no right".into()), ("GA-ADM-008", Severity::Info)),
    ];
    for (protection, expected) in cases {
        let cluster = Cluster { protection: protection.clone(), ..cluster() };
        assert_eq!(found(&cluster), [expected], "{protection:?}");
    }
}

#[test]
fn others_count_where_they_see_what_is_governed() {
    let rules = |resource: &str, scope: &str| json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": [resource], "scope": scope}]);
    let only = |namespace: &str| json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let cases: [(Value, Value, Option<Severity>); 10] = [
        (rules("configmaps", "*"), json!({}), Some(Severity::High)),
        (rules("configmaps", "*"), only("shop"), Some(Severity::Medium)),
        (rules("configmaps", "*"), only("gitadel-system"), Some(Severity::High)),
        (rules("configmaps", "*"), only("kube-system"), None),
        (rules("configmaps", "Cluster"), json!({}), None),
        (rules("nodes", "*"), only("kube-system"), Some(Severity::Medium)),
        (rules("*/*", "*"), only("shop"), Some(Severity::Medium)),
        (rules("configmaps/*", "*"), only("shop"), Some(Severity::Medium)),
        (rules("configmaps/status", "*"), only("shop"), None),
        (rules("secrets", "*"), json!({}), None),
    ];
    for (rules, selector, expected) in cases {
        let webhooks = json!([{"name": "x.y.z", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": "https://x"}, "rules": rules, "namespaceSelector": selector}]);
        let configuration = json!({"metadata": {"name": "x"}, "webhooks": webhooks});
        let mut mutating = cluster();
        mutating.mutating = vec![serde_json::from_value(configuration.clone()).unwrap()];
        let of =
            |id, severity: Option<Severity>| severity.map(|severity| (id, severity)).into_iter().collect::<Vec<_>>();
        assert_eq!(found(&mutating), of("GA-ADM-010", expected), "{rules} {selector}");

        let mut validating = cluster();
        validating.validating.as_mut().unwrap().push(serde_json::from_value(configuration).unwrap());
        assert_eq!(found(&validating), of("GA-ADM-012", expected.map(|_| Severity::Low)), "{rules} {selector}");

        let policy = |bound| Policy {
            mutating: true,
            name: "x".into(),
            namespaces: serde_json::from_value(selector.clone()).unwrap(),
            rules: serde_json::from_value(rules.clone()).unwrap(),
            bound,
        };
        let with = |bound| Cluster { policies: vec![policy(bound)], ..cluster() };
        assert_eq!(found(&with(true)), of("GA-ADM-011", expected), "{rules} {selector}");
        assert_eq!(found(&with(false)), [], "without a binding it does nothing");
    }
}
