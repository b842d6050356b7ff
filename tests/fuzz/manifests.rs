//! The manifests of the test with real ones, and more kinds: MetalLB, Kubernetes' own examples of stateful applications,
//! and Argo CD's of its custom resources, which show every field there is.

#[allow(dead_code)]
#[path = "../real_manifests/manifests.rs"]
mod real;

use real::{ARGO_CD, Manifests, in_namespace, namespace};
use serde_json::Value;

use crate::support::go::module;

const METALLB: &str = "go.universe.tf/metallb@v0.15.2";
const KUBERNETES: &str = "k8s.io/kubernetes@v1.36.3";

/// Path in the repository, and content.
pub fn files() -> Vec<(String, String)> {
    let mut files = Manifests::fetch().files;
    let argo_cd = module(ARGO_CD).join("docs/operator-manual");
    let resources = ["application", "project"].map(|name| argo_cd.join(format!("{name}.yaml")));
    files.push(("argo-cd/resources.yaml".to_owned(), in_namespace("argocd", &resources)));
    let metallb = std::fs::read_to_string(module(METALLB).join("config/manifests/metallb-native.yaml")).unwrap();
    files.push(("metallb.yaml".to_owned(), metallb));
    let stateful = module(KUBERNETES).join("test/e2e/testing-manifests/statefulset");
    files.push(("e2e/namespace.yaml".to_owned(), namespace("e2e")));
    for (application, parts) in [
        ("cassandra", &["pdb", "service", "statefulset"][..]),
        ("etcd", &["pdb", "service", "statefulset"]),
        ("mysql-upgrade", &["configmap", "service", "statefulset"]),
        ("zookeeper", &["service", "statefulset"]),
    ] {
        let parts: Vec<_> = parts.iter().map(|part| stateful.join(application).join(format!("{part}.yaml"))).collect();
        files.push((format!("e2e/{application}.yaml"), in_namespace("e2e", &parts)));
    }
    files
}

pub fn objects(files: &[(String, String)]) -> Vec<Value> {
    let documents = files.iter().flat_map(|(_, content)| content.split("\n---\n"));
    documents.map(|document| serde_saphyr::from_str(document).unwrap()).collect()
}
