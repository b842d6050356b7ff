//! What of a Pod matters to an audit.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};

use super::cluster::PodFacts;
use super::rbac::GITADEL_ACCOUNT;
use crate::api::SYSTEM_NAMESPACE;

/// By which the kubelet marks its picture of a static Pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Capabilities that are as good as the node.
const CAPABILITIES: [&str; 8] =
    ["ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "NET_ADMIN", "BPF"];

impl From<&Pod> for PodFacts {
    fn from(pod: &Pod) -> Self {
        let (metadata, spec) = (&pod.metadata, pod.spec.clone().unwrap_or_default());
        let owners = metadata.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
        let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
        let annotated = |key: &str| metadata.annotations.as_ref().is_some_and(|all| all.contains_key(key));
        let first = spec.containers.first();
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            // A mirror Pod names its node.
            owner: owner.filter(|owner| owner.kind != "Node").map(|owner| format!("{} {}", owner.kind, owner.name)),
            service_account: spec.service_account_name.clone().unwrap_or_default(),
            mirror: annotated(MIRROR),
            reaches: reaches(&spec),
            component: label("component").unwrap_or_default(),
            arguments: first.map(arguments).unwrap_or_default(),
            has_token: spec.volumes.iter().flatten().any(is_token),
        }
    }
}

impl PodFacts {
    /// Of the many Pods of a cluster, those that are kept.
    pub fn matters(&self) -> bool {
        self.mirror || !self.reaches.is_empty() || self.has_gitadel_token()
    }

    pub fn has_gitadel_token(&self) -> bool {
        self.has_token && (self.namespace.as_str(), self.service_account.as_str()) == GITADEL_ACCOUNT
    }

    /// Whether gitadel's own Deployment made it, as far as its name tells.
    pub fn is_gitadel(&self) -> bool {
        let of_deployment = |owner: &str| owner.starts_with("ReplicaSet gitadel-");
        self.namespace == SYSTEM_NAMESPACE && self.owner.as_deref().is_some_and(of_deployment)
    }

    /// `DaemonSet kube-system/kube-proxy`: what is to be changed, where that is not the Pod.
    pub fn workload(&self) -> String {
        match self.owner.as_deref().and_then(|owner| owner.split_once(' ')) {
            Some((kind, name)) => format!("{kind} {}/{name}", self.namespace),
            None => format!("Pod {}/{}", self.namespace, self.name),
        }
    }
}

fn arguments(container: &Container) -> Vec<String> {
    container.command.iter().chain(&container.args).flatten().cloned().collect()
}

fn is_token(volume: &Volume) -> bool {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    sources.into_iter().any(|source| source.service_account_token.is_some())
}

fn reaches(spec: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    let flags = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    for container in containers {
        let Some(security) = &container.security_context else { continue };
        if security.privileged == Some(true) {
            found.push(format!("privileged container {}", container.name));
        }
        let added = security.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
        found.extend(
            added.filter(|added| CAPABILITIES.contains(&added.as_str())).map(|added| format!("capability {added}")),
        );
    }
    let paths = spec.volumes.iter().flatten().filter_map(|volume| volume.host_path.as_ref());
    found.extend(paths.map(|host| format!("hostPath {}", host.path)));
    // The node's network alone is no way to its files.
    if found.is_empty() {
        found.extend(flags[1..].iter().filter(|(_, set)| *set == Some(true)).map(|(name, _)| (*name).to_owned()));
    } else {
        found.extend(flags.iter().filter(|(_, set)| *set == Some(true)).map(|(name, _)| (*name).to_owned()));
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn facts(metadata: Value, spec: Value) -> PodFacts {
        let pod: Pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        (&pod).into()
    }

    #[test]
    fn what_gives_a_pod_its_node() {
        let container = |security: Value| json!({"containers": [{"name": "x", "securityContext": security}]});
        let cases: [(Value, &[&str]); 7] = [
            (container(json!({})), &[]),
            (container(json!({"privileged": true})), &["privileged container x"]),
            (container(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}})), &["capability SYS_ADMIN"]),
            (json!({"containers": [], "hostNetwork": true}), &[]),
            (json!({"containers": [], "hostPID": true}), &["hostPID"]),
            (json!({"containers": [], "volumes": [{"name": "a", "hostPath": {"path": "/"}}]}), &["hostPath /"]),
            (
                json!({"containers": [], "initContainers": [{"name": "i", "securityContext": {"privileged": true}}],
                    "hostNetwork": true}),
                &["hostNetwork", "privileged container i"],
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(facts(json!({"name": "p", "namespace": "n"}), spec.clone()).reaches, expected, "{spec}");
        }
    }

    #[test]
    fn who_it_is() {
        let token = json!({"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}});
        let spec = json!({"containers": [{"name": "x", "command": ["kube-apiserver", "--a=b"], "args": ["--c"]}],
            "serviceAccountName": "gitadel", "volumes": [token]});
        let owned =
            json!([{"kind": "ReplicaSet", "name": "gitadel-5d", "controller": true, "apiVersion": "", "uid": ""}]);
        let own = facts(
            json!({"name": "gitadel-5d-x", "namespace": "gitadel-system", "ownerReferences": owned}),
            spec.clone(),
        );
        assert!(own.has_gitadel_token() && own.is_gitadel() && own.matters());
        assert_eq!(own.workload(), "ReplicaSet gitadel-system/gitadel-5d");
        assert_eq!(own.arguments, ["kube-apiserver", "--a=b", "--c"]);
        let other = facts(json!({"name": "x", "namespace": "gitadel-system"}), spec.clone());
        assert!(other.has_gitadel_token() && !other.is_gitadel());
        assert_eq!(other.workload(), "Pod gitadel-system/x");
        assert!(!facts(json!({"name": "x", "namespace": "shop"}), spec).has_gitadel_token());
        let mirror = facts(
            json!({"name": "x", "namespace": "shop", "annotations": {"kubernetes.io/config.mirror": "h"}}),
            json!({"containers": []}),
        );
        assert!(mirror.mirror && mirror.matters());
    }
}
