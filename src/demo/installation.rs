//! Installs gitadel on the demo's cluster: what `manifests/` holds but for the Pods, which are processes here, and the
//! Enforcement.

use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::control_plane::{ControlPlane, ControlPlaneError};
use super::kubectl::{Kubectl, KubectlError};
use super::report::Report;
use super::repository::BRANCH;
use crate::api::{Enforcement, SYSTEM_NAMESPACE};

pub const ENFORCEMENT: &str = "demo";
/// The ServiceAccount in `manifests/20-rbac.yaml`.
const SERVICE_ACCOUNT: &str = "gitadel";

const NAMESPACE: &str = include_str!("../../manifests/00-namespace.yaml");
const RBAC: &str = include_str!("../../manifests/20-rbac.yaml");

#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    #[error(transparent)]
    Kubectl(#[from] KubectlError),
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    #[error("the CustomResourceDefinition cannot be written as JSON: {0}")]
    Definition(#[from] serde_json::Error),
    #[error("`{line}` failed:\n{output}")]
    Refused { line: String, output: String },
}

/// Namespace, API and rights.
pub async fn install(
    control_plane: &ControlPlane,
    kubectl: &Kubectl,
    report: &mut Report,
) -> Result<(), InstallationError> {
    let definition = serde_json::to_string(&Enforcement::crd())?;
    for (shown, manifest) in [
        ("manifests/00-namespace.yaml", NAMESPACE),
        ("manifests/10-crd.yaml", &definition),
        ("manifests/20-rbac.yaml", RBAC),
    ] {
        create(control_plane, kubectl, report, shown, manifest).await?;
    }
    let established = ["wait", "--for=condition=Established", "crd/enforcements.gitadel.dev", "--timeout=30s"];
    run(control_plane, kubectl, &established, "").await?;
    Ok(())
}

/// A kubeconfig with the token of the reconciler's ServiceAccount.
pub async fn reconciler_kubeconfig(control_plane: &ControlPlane) -> Result<std::path::PathBuf, InstallationError> {
    let token = control_plane.token(SYSTEM_NAMESPACE, SERVICE_ACCOUNT).await?;
    Ok(control_plane.kubeconfig_with_token("gitadel-reconciler", &token)?)
}

/// From here on the repository governs the cluster.
pub async fn enforce(
    control_plane: &ControlPlane,
    kubectl: &Kubectl,
    report: &mut Report,
    repository: &str,
) -> Result<(), InstallationError> {
    let enforcement = enforcement(repository);
    create(control_plane, kubectl, report, "enforcement.yaml", &enforcement.to_string()).await
}

/// Each by its name: what `kube-*` excludes need not be there yet.
const OF_KUBERNETES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

fn enforcement(repository: &str) -> Value {
    json!({
        "apiVersion": "gitadel.dev/v1alpha1",
        "kind": "Enforcement",
        "metadata": {"name": ENFORCEMENT},
        "spec": {
            "source": {"url": repository, "branch": BRANCH, "path": "."},
            "scope": {"excludedNamespaces": OF_KUBERNETES, "cluster": "All"},
            "action": "Enforce",
        },
    })
}

async fn create(
    control_plane: &ControlPlane,
    kubectl: &Kubectl,
    report: &mut Report,
    shown: &str,
    manifest: &str,
) -> Result<(), InstallationError> {
    report.command(&Kubectl::line(&["create", "-f", shown]));
    let output = run(control_plane, kubectl, &["create", "-f", "-"], manifest).await?;
    report.output(&output);
    Ok(())
}

async fn run(
    control_plane: &ControlPlane,
    kubectl: &Kubectl,
    arguments: &[&str],
    input: &str,
) -> Result<String, InstallationError> {
    let answer = kubectl.run_with_input(control_plane.kubeconfig(), arguments, input).await?;
    if answer.success {
        return Ok(answer.text);
    }
    Err(InstallationError::Refused { line: Kubectl::line(arguments), output: answer.text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Action, ClusterScope};

    #[test]
    fn the_enforcement_governs_all_but_the_namespaces_of_kubernetes() {
        let read: Enforcement = serde_json::from_value(enforcement("file:///srv/shop.git")).unwrap();
        assert_eq!(read.spec.action, Action::Enforce);
        assert_eq!(read.spec.scope.cluster, ClusterScope::All);
        assert_eq!(read.spec.scope.excluded_namespaces, Some(OF_KUBERNETES.map(String::from).to_vec()));
        // A pattern would exclude namespaces that anybody makes later.
        assert!(!read.spec.scope.holds_namespace("kube-system") && read.spec.scope.holds_namespace("kube-foo"));
    }
}
