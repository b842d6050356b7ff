//! Names under which Kubernetes' own components come.

use crate::admission::request::User;

/// Controllers of kube-controller-manager that have a service account of their own.
pub const CONTROLLERS: &[&str] = &[
    "attachdetach-controller",
    "bootstrap-signer",
    "certificate-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "device-taint-eviction-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "podcertificaterequestcleaner",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "storage-version-migrator-controller",
    "token-cleaner",
    "ttl-after-finished-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
];

const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
const SERVICE_ACCOUNTS: &str = "system:serviceaccount:kube-system:";
/// What comes before its node's name in that of a kubelet.
pub(super) const NODES: &str = "system:node:";

/// One component, or everybody where the rule is about state alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    Anyone,
    ApiServer,
    Scheduler,
    /// kube-controller-manager itself: it makes its controllers' accounts and fills token Secrets.
    ControllerManager,
    /// A controller, by its service account in `kube-system`. Where kube-controller-manager runs without
    /// `--use-service-account-credentials`, all of them come under its own name.
    Controller(&'static str),
    /// Every kubelet.
    Node,
    /// Whoever joins the cluster as a new node.
    Bootstrapper,
}

impl Identity {
    pub fn is(self, user: &User<'_>) -> bool {
        match self {
            Self::Anyone => true,
            Self::ApiServer => user.name == "system:apiserver",
            Self::Scheduler => user.name == "system:kube-scheduler",
            Self::ControllerManager => user.name == CONTROLLER_MANAGER,
            Self::Controller(name) => {
                user.name == CONTROLLER_MANAGER || user.name.strip_prefix(SERVICE_ACCOUNTS) == Some(name)
            }
            Self::Node => user.name.starts_with(NODES) && user.groups.contains(&"system:nodes"),
            Self::Bootstrapper => user.groups.contains(&"system:bootstrappers"),
        }
    }

    /// Whether a user is meant by a name that an Enforcement gives: the name itself, or kube-controller-manager where
    /// the name is one of its controllers.
    pub fn is_named(name: &str, user: &User<'_>) -> bool {
        name == user.name
            || (user.name == CONTROLLER_MANAGER
                && name.strip_prefix(SERVICE_ACCOUNTS).is_some_and(|account| CONTROLLERS.contains(&account)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities() {
        let user = |name, groups: &[&'static str]| User { name, groups: groups.to_vec() };
        let deployments = Identity::Controller("deployment-controller");
        let cases = [
            (deployments, user("system:serviceaccount:kube-system:deployment-controller", &[]), true),
            (deployments, user("system:kube-controller-manager", &[]), true),
            (deployments, user("system:serviceaccount:kube-system:job-controller", &[]), false),
            (deployments, user("system:serviceaccount:shop:deployment-controller", &[]), false),
            (deployments, user("alice", &["system:masters"]), false),
            (Identity::Node, user("system:node:n1", &["system:nodes"]), true),
            (Identity::Node, user("system:node:n1", &[]), false),
            (Identity::ApiServer, user("system:apiserver", &[]), true),
            (Identity::ApiServer, user("alice", &["system:masters"]), false),
            (Identity::Anyone, user("alice", &[]), true),
        ];
        for (identity, user, expected) in cases {
            assert_eq!(identity.is(&user), expected, "{identity:?} {user:?}");
        }
    }

    #[test]
    fn a_delegate_by_name_may_come_as_the_controller_manager() {
        let manager = User { name: "system:kube-controller-manager", groups: Vec::new() };
        assert!(Identity::is_named("system:serviceaccount:kube-system:horizontal-pod-autoscaler", &manager));
        assert!(!Identity::is_named("system:serviceaccount:kube-system:my-operator", &manager));
        assert!(!Identity::is_named("alice", &manager));
    }
}
