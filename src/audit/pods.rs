//! Pods that are as good as their node, and static Pods, about which nobody was asked.

use std::collections::BTreeMap;

use super::cluster::{Cluster, PodFacts};
use super::finding::{Finding, Severity, Subject, Who, some_of};
use super::governance::Governance;
use super::surroundings::KUBE_SYSTEM;

/// Static Pods that kubeadm makes.
const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

pub fn findings(cluster: &Cluster, governance: &Governance<'_>) -> Vec<Finding> {
    let (static_pods, others): (Vec<_>, Vec<_>) = cluster.pods.iter().partition(|pod| pod.mirror);
    let mut findings = static_ones(&static_pods, governance);
    // What a governed scope holds, Git declares.
    let mut ungoverned: BTreeMap<String, Vec<&PodFacts>> = BTreeMap::new();
    for pod in others.into_iter().filter(|pod| !pod.reaches.is_empty() && !governance.closes(&pod.namespace)) {
        ungoverned.entry(pod.workload()).or_default().push(pod);
    }
    findings.extend(ungoverned.iter().map(|(workload, pods)| privileged(workload, pods)));
    if cluster.nodes > 0 {
        findings.push(nodes(cluster.nodes));
    }
    findings
}

fn privileged(workload: &str, pods: &[&PodFacts]) -> Finding {
    let mut reaches: Vec<_> = pods.iter().flat_map(|pod| &pod.reaches).collect();
    reaches.sort();
    reaches.dedup();
    let accounts = pods.iter().map(|pod| Who::service_account(&pod.namespace, &pod.service_account));
    Finding::new("GA-POD-001", Severity::High, format!("{workload} is as good as its nodes, and not governed"))
        .object(workload)
        .subjects(accounts.map(|who| Subject { through: Some(workload.to_owned()), ..Subject::new(who) }))
        .why(format!(
            "What runs in it, and whoever may change it or run commands in it, has the node: {}. {} of its Pods run now.",
            some_of(reaches, 6),
            pods.len()
        ))
        .fix("Take its namespace into a scope so that Git declares it, or take these from it; else delete it.")
}

fn static_ones(pods: &[&PodFacts], governance: &Governance<'_>) -> Vec<Finding> {
    let is_known = |pod: &&&PodFacts| pod.namespace == KUBE_SYSTEM && CONTROL_PLANE.contains(&pod.component.as_str());
    let (known, others): (Vec<&PodFacts>, Vec<_>) = pods.iter().partition::<Vec<&PodFacts>, _>(|pod| is_known(pod));
    let mut findings: Vec<_> = others
        .into_iter()
        .map(|pod| {
            let object = format!("Pod {}/{}", pod.namespace, pod.name);
            let governed = governance.governs(&pod.namespace);
            let severity = if governed { Severity::High } else { Severity::Medium };
            Finding::new("GA-POD-002", severity, format!("{object} is a static Pod, or says so"))
                .why(
                    "It comes from a file on a node, and nobody is asked about it. Who acts as a node makes such Pods with any \
                     labels, so that a Service sends requests there.",
                )
                .fix("Find the file on the node (staticPodPath of the kubelet) and remove it, or account for it.")
                .object(object)
        })
        .collect();
    if !known.is_empty() {
        findings.push(
            Finding::new("GA-KNOWN-005", Severity::Info, format!("{} static Pods are the control plane", known.len()))
                .object(format!("Pod {}", some_of(known.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)), 12)))
                .why("Whoever may write to /etc/kubernetes/manifests on these nodes changes the cluster without asking anybody.")
                .fix("Guard the hosts of the control plane as you would the cluster."),
        );
    }
    findings
}

fn nodes(count: usize) -> Finding {
    Finding::new("GA-KNOWN-006", Severity::Info, format!("{count} nodes have the rights of nodes"))
        .subjects([Subject::new(Who::group("system:nodes"))])
        .why(
            "The Node authorizer lets each have the Secrets and tokens of the Pods that it runs, and write their status. Files \
             of a node, its kubelet and its container runtime are not governed.",
        )
        .fix("Nothing: keep the admission plugin NodeRestriction, and ordinary Pods off the nodes of the control plane.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::Enforcement;

    fn pod(namespace: &str, name: &str) -> PodFacts {
        PodFacts {
            namespace: namespace.into(),
            name: name.into(),
            service_account: "default".into(),
            ..PodFacts::default()
        }
    }

    #[test]
    fn only_what_git_does_not_declare_is_told() {
        let privileged =
            |namespace: &str, name: &str| PodFacts { reaches: vec!["hostPath /".into()], ..pod(namespace, name) };
        let of_set = |name: &str| PodFacts { owner: Some("DaemonSet cni".into()), ..privileged("kube-system", name) };
        let mirror = |namespace: &str, component: &str| PodFacts {
            mirror: true,
            component: component.into(),
            ..privileged(namespace, component)
        };
        let pods = vec![
            of_set("cni-a"),
            of_set("cni-b"),
            privileged("kube-system", "debug"),
            privileged("shop", "declared"),
            mirror("kube-system", "etcd"),
            mirror("kube-system", "mine"),
            mirror("shop", "kube-apiserver"),
        ];
        let enforcement: Enforcement = serde_json::from_value(json!({"apiVersion": "gitadel.dev/v1alpha1",
            "kind": "Enforcement", "metadata": {"name": "a"}, "spec": {"source": {"url": "https://x/y"},
            "scope": {"namespaces": ["shop"]}, "action": "Enforce"}}))
        .unwrap();
        let cluster = Cluster { pods, nodes: 2, ..Cluster::default() };
        let found = findings(&cluster, &Governance::new([&enforcement]));
        let found: Vec<_> = found.iter().map(|f| (f.id, f.severity, f.object.as_str())).collect();
        assert_eq!(
            found,
            [
                ("GA-POD-002", Severity::Medium, "Pod kube-system/mine"),
                ("GA-POD-002", Severity::High, "Pod shop/kube-apiserver"),
                ("GA-KNOWN-005", Severity::Info, "Pod kube-system/etcd"),
                ("GA-POD-001", Severity::High, "DaemonSet kube-system/cni"),
                ("GA-POD-001", Severity::High, "Pod kube-system/debug"),
                ("GA-KNOWN-006", Severity::Info, ""),
            ]
        );
    }
}
