//! Manifests that no one here wrote: Argo CD and podinfo, as their Go modules publish them.

use std::path::{Path, PathBuf};
use std::process::Command;

use gitadel::demo::control_plane::assets;
use serde_json::{Value, json};

use crate::support::go::module;

pub const ARGO_CD: &str = "github.com/argoproj/argo-cd/v2@v2.14.21";
/// podinfo 6.9.2; its tags are no versions to Go.
const PODINFO: &str = "github.com/stefanprodan/podinfo@v1.8.1-0.20250910200901-e86405a8674e";

/// What podinfo's autoscalers scale: namespace, Deployment and the bounds that its manifests give.
const SCALED: &[(&str, &str, i64, i64)] =
    &[("podinfo", "podinfo", 2, 4), ("webapp", "backend", 1, 2), ("webapp", "frontend", 1, 4)];

pub struct Manifests {
    /// Path in the repository, and content.
    pub files: Vec<(String, String)>,
    pub objects: Vec<Value>,
}

impl Manifests {
    /// Argo CD's `install.yaml` and podinfo's `kustomize/` say no namespace: `kubectl kustomize` puts them into one, as
    /// their users do. podinfo's `deploy/webapp/` is taken as it is.
    pub fn fetch() -> Self {
        let argo_cd = module(ARGO_CD);
        let podinfo = module(PODINFO);
        let in_argo_cd = in_namespace("argocd", &[argo_cd.join("manifests/install.yaml")]);
        let kustomize = ["deployment", "hpa", "service"].map(|name| podinfo.join(format!("kustomize/{name}.yaml")));
        let mut files = vec![
            ("namespaces.yaml".to_owned(), format!("{}---\n{}", namespace("argocd"), namespace("podinfo"))),
            ("argo-cd/install.yaml".to_owned(), in_argo_cd),
            ("podinfo/podinfo.yaml".to_owned(), in_namespace("podinfo", &kustomize)),
        ];
        let webapp = podinfo.join("deploy/webapp");
        for part in ["common", "backend", "frontend"] {
            for file in sorted(&webapp.join(part)) {
                let name = file.file_name().unwrap().to_str().unwrap();
                files.push((format!("webapp/{part}/{name}"), std::fs::read_to_string(&file).unwrap()));
            }
        }
        let documents = files.iter().flat_map(|(_, content)| content.split("\n---\n"));
        let objects = documents.map(|document| serde_saphyr::from_str(document).unwrap()).collect();
        Self { files, objects }
    }

    pub fn files(&self) -> Vec<(&str, &str)> {
        self.files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect()
    }

    /// All files as one, in an order in which it can be created.
    pub fn stream(&self) -> String {
        let contents: Vec<&str> = self.files.iter().map(|(_, content)| content.as_str()).collect();
        contents.join("\n---\n")
    }
}

/// What the Enforcement leaves to the autoscaler.
pub fn delegations() -> Value {
    SCALED
        .iter()
        .map(|(namespace, name, minimum, maximum)| {
            json!({
                "user": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
                "group": "apps", "kind": "Deployment", "namespace": namespace, "name": name,
                "fields": ["spec.replicas"], "minimum": minimum, "maximum": maximum,
            })
        })
        .collect()
}

pub fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n")
}

pub fn in_namespace(namespace: &str, files: &[PathBuf]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut resources = Vec::new();
    for file in files {
        // kustomize reads no files from elsewhere.
        let name = file.file_name().unwrap();
        std::fs::write(directory.path().join(name), std::fs::read(file).unwrap()).unwrap();
        resources.push(name.to_str().unwrap());
    }
    let kustomization = json!({"namespace": namespace, "resources": resources}).to_string();
    std::fs::write(directory.path().join("kustomization.yaml"), kustomization).unwrap();
    let output = Command::new(assets::kubectl().unwrap()).arg("kustomize").arg(directory.path()).output().unwrap();
    assert!(output.status.success(), "kubectl kustomize: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
