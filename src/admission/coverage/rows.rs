//! The table. The first row that fits a request is its own.

use super::exemption as by;
use super::{Resources, Row, Target, Treatment};
use crate::admission::request::Operation::{self, Connect, Create, Delete, Update};
use crate::admission::verdict::Class::{
    self, Child, Generated, Governed, Machinery, OutOfScope, Own, Undeclared, Virtual,
};

const WRITES: &[Operation] = &[Create, Update, Delete];

/// What an object may be.
const OBJECT: &[Class] = &[Governed, Child, Generated, Own, Undeclared, Machinery, OutOfScope];
/// The rules that judge an object as it would be stored.
const OBJECT_RULES: &[&str] = &[
    "canary",
    "own",
    "enforcement",
    "contents",
    "pod-deletion",
    "machinery",
    "terminating",
    "namespace",
    "declared",
    "child",
    "generated",
    "undeclared",
];

/// The rules that judge status that others act on.
const STATUS_RULES: &[&str] = &[
    "canary",
    "status",
    "own",
    "enforcement",
    "contents",
    "machinery",
    "terminating",
    "namespace",
    "declared",
    "child",
    "generated",
    "undeclared",
];

/// Built-in kinds with a `status` on which others act: see `builtin::status_keepers`.
const WITH_KEPT_STATUS: &[Resources] = &[
    ("", &["resourcequotas", "services"]),
    ("apiextensions.k8s.io", &["customresourcedefinitions"]),
    ("apiregistration.k8s.io", &["apiservices"]),
    ("autoscaling", &["horizontalpodautoscalers"]),
    ("batch", &["cronjobs", "jobs"]),
    ("networking.k8s.io", &["servicecidrs"]),
    ("policy", &["poddisruptionbudgets"]),
    ("resource.k8s.io", &["resourceclaims"]),
];

/// Built-in kinds with another `status` of their own.
const WITH_STATUS: &[Resources] = &[
    ("", &["namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes", "pods", "replicationcontrollers"]),
    ("apps", &["daemonsets", "replicasets", "statefulsets"]),
    ("certificates.k8s.io", &["certificatesigningrequests", "podcertificaterequests"]),
    ("flowcontrol.apiserver.k8s.io", &["flowschemas", "prioritylevelconfigurations"]),
    ("internal.apiserver.k8s.io", &["storageversions"]),
    ("networking.k8s.io", &["ingresses"]),
    ("resource.k8s.io", &["devicetaintrules", "resourcepoolstatusrequests"]),
    ("scheduling.k8s.io", &["podgroups"]),
    ("storage.k8s.io", &["volumeattachments"]),
    ("storagemigration.k8s.io", &["storageversionmigrations"]),
];

/// Built-in kinds that can be scaled.
const WITH_SCALE: &[Resources] =
    &[("", &["replicationcontrollers"]), ("apps", &["deployments", "replicasets", "statefulsets"])];

const fn named(resources: &'static [Resources]) -> Target {
    Target::Named { resources, subresource: "" }
}

const fn subresource(resources: &'static [Resources], subresource: &'static str) -> Target {
    Target::Named { resources, subresource }
}

pub static ROWS: &[Row] = &[
    Row {
        target: named(&[(
            "admissionregistration.k8s.io",
            &[
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
                "mutatingwebhookconfigurations",
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
                "validatingwebhookconfigurations",
            ],
        )]),
        operations: WRITES,
        classes: &[],
        rules: &[],
        treatment: Treatment::NeverAsked { closed_by: UNASKED },
        means: "What decides about admission could otherwise lock itself in.",
    },
    Row {
        target: subresource(&[("admissionregistration.k8s.io", &["validatingadmissionpolicies"])], "status"),
        operations: &[Update],
        classes: &[],
        rules: &[],
        treatment: Treatment::NeverAsked { closed_by: "nothing acts on it" },
        means: "Says whether the policy's expressions are well typed.",
    },
    Row {
        target: named(&[
            ("authentication.k8s.io", &["selfsubjectreviews", "tokenreviews"]),
            (
                "authorization.k8s.io",
                &[
                    "localsubjectaccessreviews",
                    "selfsubjectaccessreviews",
                    "selfsubjectrulesreviews",
                    "subjectaccessreviews",
                ],
            ),
        ]),
        operations: &[Create],
        classes: &[Virtual],
        rules: &["transient"],
        treatment: Treatment::PreDecided(&by::REVIEWS),
        means: "A question to the API server; nothing is stored. The kubelet asks them for `kubectl logs`, which one wants \
                most while gitadel is down.",
    },
    Row {
        target: subresource(&[("", &["serviceaccounts"])], "token"),
        operations: &[Create],
        classes: &[Virtual],
        rules: &["transient"],
        treatment: Treatment::PreDecided(&by::TOKEN),
        means: "Nothing is stored, and a token is worth little where rules are on state. Controllers and gitadel's own Pod \
                start with one.",
    },
    Row {
        target: subresource(&[("", &["pods"])], "binding"),
        operations: &[Create],
        classes: &[Virtual],
        rules: &["transient"],
        treatment: Treatment::PreDecided(&by::OWN_BINDING),
        means: "Sets the Pod's node, which is the scheduler's to choose, and may copy nothing but topology labels to it.",
    },
    Row {
        target: named(&[("", &["bindings"])]),
        operations: &[Create],
        classes: &[Virtual],
        rules: &["transient"],
        treatment: Treatment::Judged,
        means: "The older way to bind a Pod: the same rule.",
    },
    Row {
        target: subresource(&[("", &["pods"])], "eviction"),
        operations: &[Create],
        classes: &[Virtual, Governed, Child],
        rules: &["pod-deletion", "child-operations"],
        treatment: Treatment::Judged,
        means: "Deletes the Pod, and nobody is asked about that again. Its controller makes it anew: `childOperations.delete`. It \
                waits for nothing else, and ends within its time.",
    },
    Row {
        target: subresource(&[("", &["pods"])], "exec"),
        operations: &[Connect],
        classes: &[Virtual, Own],
        rules: &["own", "child-operations"],
        treatment: Treatment::Judged,
        means: "What runs in a container is no declared state: `childOperations.exec`. In `gitadel-system` it would have gitadel's own rights: nobody may.",
    },
    Row {
        target: subresource(&[("", &["pods"])], "attach"),
        operations: &[Connect],
        classes: &[Virtual, Own],
        rules: &["own", "child-operations"],
        treatment: Treatment::Judged,
        means: "As `exec`.",
    },
    Row {
        target: subresource(&[("", &["pods"])], "portforward"),
        operations: &[Connect],
        classes: &[Virtual],
        rules: &["child-operations"],
        treatment: Treatment::Judged,
        means: "As `exec`.",
    },
    Row {
        target: subresource(&[("", &["pods", "services"])], "proxy"),
        operations: &[Connect],
        classes: &[Virtual],
        rules: &["child-operations"],
        treatment: Treatment::Judged,
        means: "As `exec`.",
    },
    Row {
        target: subresource(&[("", &["nodes"])], "proxy"),
        operations: &[Connect],
        classes: &[Virtual],
        rules: &["child-operations"],
        treatment: Treatment::Judged,
        means: "Reaches the kubelet's own API, with which any container can be entered: `childOperations.nodesProxy`.",
    },
    Row {
        target: subresource(&[("", &["pods"])], "ephemeralcontainers"),
        operations: &[Update],
        classes: &[Governed, Child, Undeclared],
        rules: &["child-operations", "terminating", "declared", "child", "undeclared"],
        treatment: Treatment::Judged,
        means: "`kubectl debug` adds a container: `childOperations.ephemeralContainers`.",
    },
    Row {
        target: subresource(&[("", &["pods"])], "resize"),
        operations: &[Update],
        classes: &[Governed, Child, Undeclared],
        rules: &["child-operations", "terminating", "declared", "child", "undeclared"],
        treatment: Treatment::Judged,
        means: "Changes requests and limits of a Pod that runs: `childOperations.resize`.",
    },
    Row {
        target: named(&[("", &["events"]), ("events.k8s.io", &["events"])]),
        operations: WRITES,
        classes: &[Machinery],
        rules: &["machinery"],
        treatment: Treatment::PreDecided(&by::EVENTS),
        means: "Diagnosis, a quarter of all writes of a busy cluster, and declared by nobody.",
    },
    Row {
        target: named(&[("coordination.k8s.io", &["leases"])]),
        operations: WRITES,
        classes: &[Machinery],
        rules: &["machinery"],
        treatment: Treatment::PreDecided(&by::LEASES),
        means: "Declares nothing. Without kube-system's neither scheduler nor controller manager becomes leader, without \
                kube-node-lease's every node goes NotReady after 50 s.",
    },
    Row {
        target: named(&[("coordination.k8s.io", &["leasecandidates"])]),
        operations: WRITES,
        classes: &[Machinery],
        rules: &["machinery"],
        treatment: Treatment::Judged,
        means: "Candidates for a Lease; admitted, and not needed to come back.",
    },
    Row {
        target: named(&[("storage.k8s.io", &["csinodes"])]),
        operations: WRITES,
        classes: &[Machinery],
        rules: &["machinery"],
        treatment: Treatment::PreDecided(&by::CSINODE),
        means: "The kubelet's own record of a node's drivers. A new node is not Ready without it.",
    },
    Row {
        target: named(&[("", &["nodes"])]),
        operations: &[Create],
        classes: &[Machinery],
        rules: &["machinery"],
        treatment: Treatment::PreDecided(&by::NODE_CREATE),
        means: "A new node registers: all nodes may have been replaced while the cluster was off.",
    },
    Row {
        target: named(&[("", &["nodes"])]),
        operations: &[Update],
        classes: &[Machinery, Governed, Undeclared],
        rules: &["machinery", "terminating", "declared", "generated", "undeclared"],
        treatment: Treatment::PreDecided(&by::NODE_TAINTS),
        means: "The node lifecycle controller takes `not-ready` away, or nothing is scheduled on a new node. Everything else \
                of a Node stays as it was or becomes what Git says.",
    },
    Row {
        target: named(&[("discovery.k8s.io", &["endpointslices"])]),
        operations: &[Create, Update],
        classes: OBJECT,
        rules: OBJECT_RULES,
        treatment: Treatment::PreDecided(&by::OWN_SLICES),
        means: "The new addresses of gitadel's Pods get into the Service by which the API server finds them. All other slices \
                are judged.",
    },
    Row {
        target: subresource(&[("apps", &["deployments"])], "status"),
        operations: &[Update],
        classes: OBJECT,
        rules: OBJECT_RULES,
        treatment: Treatment::PreDecided(&by::DEPLOYMENT_STATUS),
        means: "As every other status. The deployment controller writes its revision *through* it when it rolls back, and \
                retries for ever where that is denied.",
    },
    Row {
        target: subresource(WITH_KEPT_STATUS, "status"),
        operations: &[Update],
        classes: OBJECT,
        rules: STATUS_RULES,
        treatment: Treatment::Judged,
        means: "Others act on it: it deletes a definition's objects, ends a Job, keeps a CronJob back, leads a Service's \
                traffic, or counts what is left. So it is its controller's, or a delegate's, and waits for gitadel: none of \
                it is needed to come back.",
    },
    Row {
        target: Target::Common { subresource: "status", builtin: WITH_STATUS },
        operations: &[Update],
        classes: OBJECT,
        rules: OBJECT_RULES,
        treatment: Treatment::PreDecided(&by::PURE_STATUS),
        means: "Reported, not declared. That of Pods, Nodes and workloads has to be written while no webhook is there, and \
                who keeps it writes it again; that of volumes, Ingresses and custom kinds is written by drivers and \
                operators, which are no part of Kubernetes. Labels, annotations, finalizers and owners that are written through it are \
                judged like any other change of the object.",
    },
    Row {
        target: subresource(&[("certificates.k8s.io", &["certificatesigningrequests"])], "approval"),
        operations: &[Update],
        classes: OBJECT,
        rules: OBJECT_RULES,
        treatment: Treatment::Judged,
        means: "Who may approve is a matter of RBAC; anything but conditions is judged like any other change.",
    },
    Row {
        target: subresource(&[("", &["namespaces"])], "finalize"),
        operations: &[Update],
        classes: OBJECT,
        rules: OBJECT_RULES,
        treatment: Treatment::Judged,
        means: "Takes the finalizers of a Namespace that goes, and of no other; whatever else it stores is judged.",
    },
    Row {
        target: Target::Common { subresource: "scale", builtin: WITH_SCALE },
        operations: &[Update],
        classes: &[Governed, Child, Undeclared],
        rules: &["scale", "undeclared"],
        treatment: Treatment::Judged,
        means: "Shows a Scale and never the object: the number of replicas is compared, where the kind keeps it.",
    },
    Row {
        target: Target::Objects,
        operations: WRITES,
        classes: OBJECT,
        rules: OBJECT_RULES,
        treatment: Treatment::Judged,
        means: "The object that would be stored is what Git declares, or moves toward it; or it follows from what Git \
                declares; or it stays as it is.",
    },
];

const UNASKED: &str = "gitadel watches its own configuration and puts it back; undeclared ones that rewrite keep it from \
                       canonicalising; where the scope holds these kinds they are put right like everything. With \
                       [static protection](../manifests/static-admission/README.md) such writes are rejected, or judged \
                       as objects";
