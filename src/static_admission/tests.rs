//! What is generated, apart from the API server that reads it: `tests/static_admission` has that.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::api::{ClusterScope, Scope};
use crate::reconcile::webhook_configuration::testing::kind;
use crate::snapshot::testing::source;
use crate::tls::issue::Authority;

const EXAMPLE: &str = "manifests/static-admission/example";

fn target() -> ClientTarget {
    ClientTarget::Service { namespace: "gitadel-system".into(), name: "gitadel".into(), port: 443 }
}

fn protection(sources: Vec<Source>, authorities: &str) -> Result<Protection, ProtectionError> {
    let kinds = vec![
        kind("", "ConfigMap", "configmaps", "v1", &[]),
        kind("apps", "Deployment", "deployments", "v1", &["scale", "status"]),
        kind("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "v1", &["status"]),
        kind("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "v2", &["status"]),
    ];
    let users = BTreeSet::from(["system:serviceaccount:gitadel-system:gitadel".to_owned()]);
    let offline = fs::read(Path::new(EXAMPLE).join("offline.crt")).unwrap();
    let offline = vec![Credential::of_certificate(&offline).unwrap()];
    let named = Registrations::Named(BTreeSet::from(["cert-manager-webhook".to_owned()]));
    Protection::new(sources, kinds, target(), authorities, users, offline, named)
}

fn everything() -> Source {
    let excluded = Some(vec!["kube-*".to_owned(), "gitadel-system".to_owned()]);
    source("production", Scope { excluded_namespaces: excluded, cluster: ClusterScope::All, ..Scope::default() })
}

#[test]
fn the_example_is_what_is_generated() {
    let authority = fs::read_to_string(Path::new(EXAMPLE).join("ca.crt")).unwrap();
    let protection = protection(vec![everything()], &authority).unwrap();
    for File { path, content } in files(&protection, Path::new("/etc/kubernetes/gitadel")).unwrap() {
        let path = Path::new(EXAMPLE).join(path);
        if std::env::var_os("GITADEL_RENEW").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &content).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == content, "renew {} with GITADEL_RENEW=1 cargo test --lib static_admission", path.display());
    }
}

#[test]
fn files_read_back_as_what_was_meant() {
    let authority = fs::read_to_string(Path::new(EXAMPLE).join("ca.crt")).unwrap();
    let protection = protection(vec![everything()], &authority).unwrap();
    let [own, others] = [own::policy(&protection), others::policy(&BTreeSet::new())];
    let files = files(&protection, Path::new("/x")).unwrap();
    let policies: Vec<Value> = serde_saphyr::from_multiple(&files[1].content).unwrap();
    assert_eq!(policies.len(), 4);
    assert_eq!(policies[0]["spec"]["variables"], seen(&own.variables));
    assert_eq!(policies[0]["spec"]["validations"], seen(&own.validations));
    assert_eq!(policies[2]["spec"]["validations"].as_array().unwrap().len(), others.validations.len());
}

#[test]
fn nobody_is_told_the_offline_certificate() {
    let authority = fs::read_to_string(Path::new(EXAMPLE).join("ca.crt")).unwrap();
    let protection = protection(vec![everything()], &authority).unwrap();
    let said: Vec<_> = own::policy(&protection).validations.into_iter().filter_map(|v| v.message).collect();
    assert!(said.len() > 5 && said.iter().all(|message| !message.contains(protection.offline[0].id())), "{said:?}");
}

#[test]
fn every_set_of_authorities_is_a_bundle() {
    let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(|name| Authority::new(name).unwrap().certificate().to_owned());
    let bundles = |pem: &str| protection(vec![everything()], pem).map(|protection| protection.bundles());
    assert_eq!(bundles(&a).unwrap().len(), 1);
    let two = bundles(&format!("{b}{a}{b}")).unwrap();
    assert_eq!(two.len(), 3);
    assert_eq!(authorities::split(&two[2]).len(), 2, "all of them last");
    assert!(matches!(bundles("no PEM"), Err(ProtectionError::NoAuthority)));
    assert!(matches!(bundles(&[a, b, c, d, e].concat()), Err(ProtectionError::TooManyAuthorities(5))));
}

#[test]
fn without_enforcement_there_is_nothing_to_protect() {
    let observed = Source { action: Action::Observe, ..everything() };
    let authority = Authority::new("a").unwrap().certificate().to_owned();
    assert!(matches!(protection(vec![observed], &authority), Err(ProtectionError::NothingEnforced)));
}
