//! Rights by which somebody gets round gitadel, as data: what RBAC has to permit, and what that is worth here.
//!
//! A right to write what admission then judges is none: only what no webhook is asked about, what is let through for
//! everybody, and what lies outside of every scope.

use super::roles::Place;
use super::rule::{Names, Need};
use super::weigh::{self, Weigh};
use crate::api::GROUP;

pub struct Power {
    pub id: &'static str,
    /// `may …`
    pub title: &'static str,
    pub why: &'static str,
    /// Any of these.
    pub needs: &'static [Need],
    pub weigh: Weigh,
}

/// A right that somebody has.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    pub place: Place<'a>,
    pub names: Names<'a>,
}

const ADMISSION: &str = "admissionregistration.k8s.io";
/// Where the constrained forms of impersonation are asked for (Kubernetes 1.35, alpha).
const AUTHENTICATION: &str = "authentication.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const ALTER: &[&str] = &["update", "patch", "delete", "deletecollection"];
const MAKE: &[&str] = &["create", "update", "patch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const READ: &[&str] = &["get", "list", "watch"];

const fn need(group: &'static str, resource: &'static str, verbs: &'static [&'static str]) -> Need {
    Need { group, resource, verbs }
}

/// Whoever has this has all the others.
pub const EVERYTHING: Power = Power {
    id: "GA-RBAC-001",
    title: "may do everything in the whole cluster",
    why: "With every right comes that to delete gitadel's webhook configuration, about which Kubernetes asks no webhook, \
          and each of the others in this report.",
    needs: &[],
    weigh: weigh::critical,
};

pub const POWERS: &[Power] = &[
    Power {
        id: "GA-RBAC-002",
        title: "may alter or delete gitadel's webhook configuration",
        why: "Kubernetes asks no webhook about webhook configurations. Until the API server obeys the restored one, about \
              a second each time, every write passes; gitadel undoes afterwards what it sees.",
        needs: &[need(ADMISSION, "validatingwebhookconfigurations", ALTER)],
        weigh: weigh::own_configuration,
    },
    Power {
        id: "GA-RBAC-003",
        title: "may make mutating webhooks or mutating admission policies",
        why: "They rewrite every write before gitadel judges it, the reconciler's own included, so that it is refused; a \
              webhook also reads all that it is asked about, Secrets included.",
        needs: &[
            need(ADMISSION, "mutatingwebhookconfigurations", MAKE),
            need(ADMISSION, "mutatingadmissionpolicies", MAKE),
            need(ADMISSION, "mutatingadmissionpolicybindings", MAKE),
        ],
        weigh: weigh::high,
    },
    Power {
        id: "GA-RBAC-004",
        title: "may make validating webhooks or validating admission policies",
        why: "They can refuse the writes of the reconciler, so that drift is not undone and no commit is applied.",
        needs: &[
            need(ADMISSION, "validatingwebhookconfigurations", &["create"]),
            need(ADMISSION, "validatingadmissionpolicies", MAKE),
            need(ADMISSION, "validatingadmissionpolicybindings", MAKE),
        ],
        weigh: weigh::medium,
    },
    Power {
        id: "GA-RBAC-005",
        title: "may impersonate users or groups",
        why: "Whoever may act as anybody has the rights of system:masters, and the name of any controller to which fields \
              are delegated.",
        needs: &[
            need("", "users", &["impersonate"]),
            need("", "groups", &["impersonate"]),
            need(AUTHENTICATION, "users", &["impersonate:user-info"]),
            need(AUTHENTICATION, "groups", &["impersonate:user-info"]),
            need(AUTHENTICATION, "nodes", &["impersonate:arbitrary-node"]),
        ],
        weigh: weigh::impersonation,
    },
    Power {
        id: "GA-RBAC-006",
        title: "may impersonate service accounts",
        why: "Whoever may act as a service account has all that it may do; this is worth what the most powerful of these \
              accounts is.",
        needs: &[
            need("", "serviceaccounts", &["impersonate"]),
            need(AUTHENTICATION, "serviceaccounts", &["impersonate:serviceaccount"]),
        ],
        weigh: weigh::accounts,
    },
    Power {
        id: "GA-RBAC-007",
        title: "may issue tokens of service accounts",
        why: "A token is the account, from anywhere and until it expires; this is worth what the most powerful of these \
              accounts is.",
        needs: &[need("", "serviceaccounts/token", &["create"])],
        weigh: weigh::accounts,
    },
    Power {
        id: "GA-RBAC-008",
        title: "may use the kubelet's API (nodes/proxy)",
        why: "It runs commands in every container of a node, gitadel's included, and where the kubelet is asked directly \
              no admission takes part.",
        needs: &[need("", "nodes/proxy", &["get", "create", "update", "patch", "delete"])],
        weigh: weigh::nodes_proxy,
    },
    Power {
        id: "GA-RBAC-009",
        title: "may run commands in Pods (exec, attach)",
        why: "What runs in a Pod has its service account's token. In gitadel-system that is gitadel's own.",
        needs: &[need("", "pods/exec", &["create", "get"]), need("", "pods/attach", &["create", "get"])],
        weigh: weigh::exec,
    },
    Power {
        id: "GA-RBAC-010",
        title: "may add ephemeral containers to Pods",
        why: "A container of any image gets into the Pod, its volumes and tokens, where no Enforcement denies it.",
        needs: &[need("", "pods/ephemeralcontainers", &["update", "patch"])],
        weigh: weigh::ephemeral_containers,
    },
    Power {
        id: "GA-RBAC-011",
        title: "may reach the ports of gitadel's Pods",
        why: "Port forwarding and the proxies lead past network policies to ports that are meant for the Pod's network.",
        needs: &[
            need("", "pods/portforward", &["create", "get"]),
            need("", "pods/proxy", &["get", "create"]),
            need("", "services/proxy", &["get", "create"]),
        ],
        weigh: weigh::system_ports,
    },
    Power {
        id: "GA-RBAC-012",
        title: "may grant rights that it does not have (bind, escalate)",
        why: "These verbs lift the API server's own rule that nobody grants more than they have. Where admission does not \
              judge the binding, that is every right.",
        needs: &[need(RBAC, "clusterroles", &["bind", "escalate"]), need(RBAC, "roles", &["bind", "escalate"])],
        weigh: weigh::granting,
    },
    Power {
        id: "GA-RBAC-013",
        title: "may write the addresses of gitadel's Service",
        why: "Slices of that Service which look like the controller's are let through for everybody, since the API server \
              would not find the webhook after a power-off without them. Other addresses make every write fail, and with a \
              forged Lease somebody else answers in gitadel's place.",
        needs: &[need("discovery.k8s.io", "endpointslices", WRITE), need("", "endpoints", WRITE)],
        weigh: weigh::system_high,
    },
    Power {
        id: "GA-RBAC-014",
        title: "may write gitadel's Leases",
        why: "Leases are let through for everybody. A forged one stops commits for some seconds, and for about a second \
              makes the API server trust one more authority for the webhook.",
        needs: &[need("coordination.k8s.io", "leases", WRITE)],
        weigh: weigh::system_medium,
    },
    Power {
        id: "GA-RBAC-015",
        title: "may read Secrets in gitadel-system",
        why: "The credentials of the Git sources and the recorded baseline, with the Secrets in it, are there; reading is \
              never governed. Credentials that may push are the way in itself.",
        needs: &[need("", "secrets", READ)],
        weigh: weigh::system_high,
    },
    Power {
        id: "GA-RBAC-016",
        title: "may write Secrets in gitadel-system, which nothing closes",
        why: "The credentials and known hosts of the Git sources are there: with others gitadel reads from whom it should \
              not, or not at all.",
        needs: &[need("", "secrets", WRITE)],
        weigh: weigh::open_system_high,
    },
    Power {
        id: "GA-RBAC-017",
        title: "may approve or sign client certificates",
        why: "A certificate has whatever user name was asked for: a controller's, gitadel's, a node's. It cannot be revoked.",
        needs: &[need(CERTIFICATES, "signers", &["approve", "sign"])],
        weigh: weigh::signers,
    },
    Power {
        id: "GA-RBAC-018",
        title: "may write CustomResourceDefinitions, which no Enforcement governs",
        why: "With a definition go all its objects, unasked; a conversion webhook rewrites them on every read.",
        needs: &[need("apiextensions.k8s.io", "customresourcedefinitions", WRITE)],
        weigh: weigh::definitions,
    },
    Power {
        id: "GA-RBAC-019",
        title: "may write APIServices, which no Enforcement governs",
        why: "An APIService hands a whole API group to another server, whose objects reach no webhook of this one.",
        needs: &[need("apiregistration.k8s.io", "apiservices", WRITE)],
        weigh: weigh::api_services,
    },
    Power {
        id: "GA-RBAC-020",
        title: "may create Nodes",
        why: "Creating a Node is let through for everybody, since none could join otherwise. One that does not exist \
              attracts Pods until it is noticed.",
        needs: &[need("", "nodes", &["create"])],
        weigh: weigh::medium,
    },
    Power {
        id: "GA-RBAC-021",
        title: "may make Pods where nothing undeclared is refused",
        why: "A Pod runs as any service account of its namespace. A privileged one is the node, with every Pod and token \
              on it.",
        needs: &[
            need("", "pods", MAKE),
            need("", "replicationcontrollers", MAKE),
            need("apps", "deployments", MAKE),
            need("apps", "replicasets", MAKE),
            need("apps", "statefulsets", MAKE),
            need("apps", "daemonsets", MAKE),
            need("batch", "jobs", MAKE),
            need("batch", "cronjobs", MAKE),
        ],
        weigh: weigh::workloads,
    },
    Power {
        id: "GA-RBAC-022",
        title: "may create namespaces that are excluded by pattern",
        why: "A namespace of such a name is governed by nobody, with all that is in it, a privileged Pod for instance.",
        needs: &[need("", "namespaces", &["create"])],
        weigh: weigh::namespaces,
    },
    Power {
        id: "GA-RBAC-023",
        title: "may make Enforcements, which no Enforcement governs",
        why: "What the repository of an Enforcement declares gitadel writes by its own rights, wherever no other Enforcement \
              enforces, and it goes to whatever server the URL names.",
        needs: &[need(GROUP, "enforcements", MAKE)],
        weigh: weigh::enforcements,
    },
];
