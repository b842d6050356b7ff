use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::api::Enforcement;

fn enforcement() -> Enforcement {
    serde_json::from_value(
        json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": "a"},
        "spec": {"source": {"url": "https://x/y"}, "scope": {"excludedNamespaces": []}, "action": "Enforce"}}),
    )
    .unwrap()
}

fn found(cluster: &Cluster) -> Vec<(&'static str, Severity, String)> {
    let (enforcement, namespaces) = (enforcement(), BTreeMap::new());
    let mut surroundings = Surroundings::new(Governance::new([&enforcement]), &namespaces);
    surroundings.accounts = [(("shop".to_owned(), "operator".to_owned()), Severity::High)].into_iter().collect();
    let found = findings(cluster, &surroundings);
    found.into_iter().map(|finding| (finding.id, finding.severity, finding.object)).collect()
}

fn deployment(replicas: i32, ready: i32, image: &str) -> Value {
    json!({"metadata": {"name": "gitadel", "namespace": "gitadel-system"},
        "spec": {"replicas": replicas, "selector": {}, "template": {"spec": {"containers": [{"name": "x", "image": image}]}}},
        "status": {"readyReplicas": ready}})
}

#[test]
fn how_gitadel_runs() {
    const DIGEST: &str = "registry.example/gitadel@sha256:0123";
    let cases: [(Value, &[&str]); 4] = [
        (deployment(2, 2, DIGEST), &[]),
        (deployment(2, 2, "registry.example/gitadel:0.1.0"), &["GA-SYS-004"]),
        (deployment(1, 1, DIGEST), &["GA-SYS-003"]),
        (deployment(3, 1, DIGEST), &["GA-SYS-003"]),
    ];
    for (deployment, expected) in cases {
        let deployments = Some(vec![serde_json::from_value(deployment.clone()).unwrap()]);
        let found = found(&Cluster { deployments, ..Cluster::default() });
        let ids: Vec<_> = found.iter().map(|(id, ..)| *id).collect();
        assert_eq!(ids, expected, "{deployment}");
    }
}

#[test]
fn a_deployment_that_is_not_there_is_told_by_how_the_webhook_is_reached() {
    let reached = |client: Value| {
        let webhooks = json!([{"name": "enforce.gitadel.dev", "clientConfig": client, "admissionReviewVersions": ["v1"],
            "sideEffects": "None"}]);
        let configuration = json!({"metadata": {"name": "gitadel"}, "webhooks": webhooks});
        let validating = Some(vec![serde_json::from_value(configuration).unwrap()]);
        found(&Cluster { validating, deployments: Some(Vec::new()), ..Cluster::default() })[0].0
    };
    assert_eq!(reached(json!({"service": {"namespace": "gitadel-system", "name": "gitadel"}})), "GA-SYS-001");
    assert_eq!(reached(json!({"url": "https://127.0.0.1:9443/admit"})), "GA-SYS-002");
    assert_eq!(found(&Cluster::default()), [], "it could not be looked at");
}

#[test]
fn who_else_has_the_token() {
    let pod = |name: &str, owner: Option<&str>| PodFacts {
        namespace: "gitadel-system".into(),
        name: name.into(),
        owner: owner.map(str::to_owned),
        service_account: "gitadel".into(),
        has_token: true,
        ..PodFacts::default()
    };
    let pods = vec![pod("gitadel-5d-x", Some("ReplicaSet gitadel-5d")), pod("other", None)];
    let cluster = Cluster { pods, ..Cluster::default() };
    assert_eq!(found(&cluster), [("GA-SYS-005", Severity::Critical, "Pod gitadel-system/other".to_owned())]);
}

#[test]
fn a_token_that_never_expires_is_worth_its_account() {
    let secret = |namespace: &str, account: &str| TokenSecret {
        namespace: namespace.into(),
        name: format!("{account}-token"),
        account: account.into(),
    };
    let token_secrets = vec![
        secret("gitadel-system", "gitadel"),
        secret("kube-system", "kube-proxy"),
        secret("shop", "operator"),
        secret("shop", "web"),
    ];
    let expected = [
        ("GA-SYS-006", Severity::Critical, "Secret gitadel-system/gitadel-token"),
        ("GA-SYS-006", Severity::Medium, "Secret kube-system/kube-proxy-token"),
        ("GA-SYS-006", Severity::High, "Secret shop/operator-token"),
        ("GA-SYS-007", Severity::Info, "Secret shop/web-token"),
    ];
    let expected = expected.map(|(id, severity, object)| (id, severity, object.to_owned()));
    assert_eq!(found(&Cluster { token_secrets, ..Cluster::default() }), expected);
}
