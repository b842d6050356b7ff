//! Who makes, changes and removes the objects that follow from others: children and generated objects.
//!
//! Whether an object does follow from a governed one is judged by its state (`classify`); this table only says which
//! component writes it. In its own objects a component may write what the row says and nothing else.

use std::sync::LazyLock;

use super::{Identity, Table, flow_control};
use crate::admission::request::User;
use crate::compare::FreeField;

use Identity::{ApiServer, Bootstrapper, Controller, ControllerManager, Node, Scheduler};

/// What of an object a component changes after it was made.
#[derive(Clone, Debug)]
pub enum Change {
    Nothing,
    /// It takes owners away, and adds none.
    Release,
    Fields(Vec<FreeField>),
    Everything,
}

pub struct Writer {
    pub by: Identity,
    /// Kind of the controller that the written object names; empty where that is not asked.
    pub controller: &'static str,
    pub creates: bool,
    pub changes: Change,
    pub deletes: Deletes,
}

/// Which objects a component deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    None,
    /// Those that name an owner.
    Owned,
    All,
}

enum Changes {
    None,
    Release,
    Fields(&'static [&'static str]),
    All,
}

struct Row {
    by: Identity,
    group: &'static str,
    resource: &'static str,
    controller: &'static str,
    creates: bool,
    changes: Changes,
    deletes: Deletes,
}

const fn keeps(
    by: Identity,
    group: &'static str,
    resource: &'static str,
    controller: &'static str,
    fields: &'static [&'static str],
) -> Row {
    Row { by, group, resource, controller, creates: true, changes: Changes::Fields(fields), deletes: Deletes::All }
}

const fn owns(by: Identity, group: &'static str, resource: &'static str, controller: &'static str) -> Row {
    Row { by, group, resource, controller, creates: true, changes: Changes::All, deletes: Deletes::All }
}

const fn creates(by: Identity, group: &'static str, resource: &'static str, controller: &'static str) -> Row {
    Row { by, group, resource, controller, creates: true, changes: Changes::None, deletes: Deletes::None }
}

/// Makes objects, changes fields of them, and lets them stay.
const fn makes(by: Identity, group: &'static str, resource: &'static str, fields: &'static [&'static str]) -> Row {
    Row { creates: true, ..changes(by, group, resource, fields) }
}

const fn changes(by: Identity, group: &'static str, resource: &'static str, fields: &'static [&'static str]) -> Row {
    Row {
        by,
        group,
        resource,
        controller: "",
        creates: false,
        changes: Changes::Fields(fields),
        deletes: Deletes::None,
    }
}

const fn deletes(by: Identity, group: &'static str, resource: &'static str) -> Row {
    Row { by, group, resource, controller: "", creates: false, changes: Changes::None, deletes: Deletes::All }
}

const RBAC: &str = "rbac.authorization.k8s.io";
/// Adoption and release.
const OWNERS: &[&str] = &["metadata.ownerReferences"];
/// The number of a ControllerRevision, which counts up when a template comes back, and adoption.
const REVISION: &[&str] = &["revision", "metadata.ownerReferences", "metadata.annotations"];

const ROWS: &[Row] = &[
    keeps(
        Controller("deployment-controller"),
        "apps",
        "replicasets",
        "Deployment",
        &["spec.replicas", "spec.minReadySeconds", "metadata.annotations", "metadata.ownerReferences"],
    ),
    keeps(Controller("replicaset-controller"), "", "pods", "ReplicaSet", OWNERS),
    keeps(Controller("replication-controller"), "", "pods", "ReplicationController", OWNERS),
    keeps(
        Controller("statefulset-controller"),
        "",
        "pods",
        "StatefulSet",
        &[
            "metadata.ownerReferences",
            "metadata.labels[apps.kubernetes.io/pod-index]",
            "metadata.labels[statefulset.kubernetes.io/pod-name]",
        ],
    ),
    keeps(Controller("statefulset-controller"), "apps", "controllerrevisions", "StatefulSet", REVISION),
    creates(Controller("statefulset-controller"), "", "persistentvolumeclaims", ""),
    // Whether a claim outlives its Pod or its set is said by its owners.
    changes(Controller("statefulset-controller"), "", "persistentvolumeclaims", OWNERS),
    keeps(Controller("daemon-set-controller"), "", "pods", "DaemonSet", OWNERS),
    keeps(Controller("daemon-set-controller"), "apps", "controllerrevisions", "DaemonSet", REVISION),
    keeps(
        Controller("job-controller"),
        "",
        "pods",
        "Job",
        &["metadata.ownerReferences", "metadata.finalizers[=batch.kubernetes.io/job-tracking]"],
    ),
    keeps(Controller("cronjob-controller"), "batch", "jobs", "CronJob", &[]),
    deletes(Controller("ttl-after-finished-controller"), "batch", "jobs"),
    owns(Controller("endpointslice-controller"), "discovery.k8s.io", "endpointslices", "Service"),
    owns(Controller("endpointslicemirroring-controller"), "discovery.k8s.io", "endpointslices", "Endpoints"),
    owns(Controller("endpoint-controller"), "", "endpoints", ""),
    creates(Controller("ephemeral-volume-controller"), "", "persistentvolumeclaims", "Pod"),
    keeps(Controller("resource-claim-controller"), "resource.k8s.io", "resourceclaims", "Pod", &[]),
    // For what a Pod asks of devices by their amount.
    keeps(
        Scheduler,
        "resource.k8s.io",
        "resourceclaims",
        "Pod",
        &["metadata.finalizers[=resource.kubernetes.io/delete-protection]"],
    ),
    // A Pod goes for many reasons, and comes again.
    deletes(Scheduler, "", "pods"),
    deletes(Controller("node-controller"), "", "pods"),
    deletes(Controller("device-taint-eviction-controller"), "", "pods"),
    deletes(Controller("pod-garbage-collector"), "", "pods"),
    deletes(Node, "", "pods"),
    // Mirrors of the static Pods of a node.
    creates(Node, "", "pods", "Node"),
    deletes(Node, "resource.k8s.io", "resourceslices"),
    creates(Node, "certificates.k8s.io", "certificatesigningrequests", ""),
    creates(Bootstrapper, "certificates.k8s.io", "certificatesigningrequests", ""),
    creates(Node, "certificates.k8s.io", "podcertificaterequests", ""),
    creates(Controller("service-account-controller"), "", "serviceaccounts", ""),
    creates(ControllerManager, "", "serviceaccounts", ""),
    creates(Controller("root-ca-cert-publisher"), "", "configmaps", ""),
    // Under another name for another authority: the old one goes.
    Row {
        by: Controller("kube-apiserver-serving-clustertrustbundle-publisher"),
        group: "certificates.k8s.io",
        resource: "clustertrustbundles",
        controller: "",
        creates: true,
        changes: Changes::None,
        deletes: Deletes::All,
    },
    owns(ApiServer, "networking.k8s.io", "ipaddresses", ""),
    owns(ApiServer, "networking.k8s.io", "servicecidrs", ""),
    owns(ApiServer, "apiregistration.k8s.io", "apiservices", ""),
    owns(ApiServer, "", "services", ""),
    owns(ApiServer, "", "endpoints", ""),
    owns(ApiServer, "discovery.k8s.io", "endpointslices", ""),
    creates(ApiServer, "", "namespaces", ""),
    creates(ApiServer, "scheduling.k8s.io", "priorityclasses", ""),
    creates(ApiServer, RBAC, "clusterroles", ""),
    creates(ApiServer, RBAC, "clusterrolebindings", ""),
    creates(ApiServer, RBAC, "roles", ""),
    creates(ApiServer, RBAC, "rolebindings", ""),
    owns(ApiServer, "internal.apiserver.k8s.io", "storageversions", ""),
    makes(ApiServer, flow_control::GROUP, "flowschemas", &["spec"]),
    makes(ApiServer, flow_control::GROUP, "prioritylevelconfigurations", &["spec"]),
    owns(ApiServer, "", "configmaps", ""),
    owns(Controller("attachdetach-controller"), "storage.k8s.io", "volumeattachments", ""),
    keeps(
        Controller("persistent-volume-binder"),
        "",
        "persistentvolumes",
        "",
        &[
            "spec.claimRef",
            "metadata.annotations[pv.kubernetes.io/bound-by-controller]",
            "metadata.annotations[pv.kubernetes.io/migrated-to]",
            "metadata.annotations[volume.kubernetes.io/provisioner-deletion-secret-name]",
            "metadata.annotations[volume.kubernetes.io/provisioner-deletion-secret-namespace]",
            "metadata.finalizers[=kubernetes.io/pv-controller]",
            "metadata.finalizers[=external-provisioner.volume.kubernetes.io/finalizer]",
        ],
    ),
    Row {
        by: Controller("persistent-volume-binder"),
        group: "",
        resource: "pods",
        controller: "",
        creates: true,
        changes: Changes::None,
        deletes: Deletes::All,
    },
    // The garbage collector takes away what has lost its owner, and owners that are gone.
    Row {
        by: Controller("generic-garbage-collector"),
        group: "*",
        resource: "*",
        controller: "",
        creates: false,
        changes: Changes::Release,
        deletes: Deletes::Owned,
    },
];

static TABLE: LazyLock<Table<Writer>> = LazyLock::new(|| {
    Table::new(ROWS.iter().map(|row| {
        let changes = match row.changes {
            Changes::None => Change::Nothing,
            Changes::Release => Change::Release,
            Changes::Fields(fields) => {
                let patterns = fields.iter().filter_map(|field| field.parse().ok());
                Change::Fields(patterns.map(|pattern| FreeField { pattern, bounds: None }).collect())
            }
            Changes::All => Change::Everything,
        };
        let Row { by, group, resource, controller, creates, deletes, .. } = *row;
        (group, resource, Writer { by, controller, creates, changes, deletes })
    }))
});

/// Whether a component takes Pods away for the sake of nodes: preemption, failing nodes, Pods that are over.
pub fn clears_nodes(user: &User<'_>) -> bool {
    const CLEARING: [Identity; 4] = [
        Scheduler,
        Controller("node-controller"),
        Controller("device-taint-eviction-controller"),
        Controller("pod-garbage-collector"),
    ];
    CLEARING.iter().any(|identity| identity.is(user))
}

/// The components that write objects of a resource for others.
pub fn writers(group: &str, resource: &str) -> impl Iterator<Item = &'static Writer> + use<> {
    TABLE.rows(group, resource).iter().chain(TABLE.rows("*", "*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_the_table_is_one() {
        for row in ROWS {
            let Changes::Fields(fields) = row.changes else { continue };
            for field in fields {
                assert!(field.parse::<crate::compare::PathPattern>().is_ok(), "{field}");
            }
        }
    }

    #[test]
    fn every_controller_that_is_named_has_children_of_that_kind() {
        for row in ROWS.iter().filter(|row| !row.controller.is_empty()) {
            assert!(
                super::super::children::has_owner(row.group, row.controller),
                "{} {}",
                row.resource,
                row.controller
            );
        }
    }

    #[test]
    fn each_controller_makes_its_own_kind_of_child_only() {
        let creators = |user: &str, resource: (&str, &str)| -> Vec<&str> {
            let user = User { name: user, groups: Vec::new() };
            writers(resource.0, resource.1).filter(|w| w.creates && w.by.is(&user)).map(|w| w.controller).collect()
        };
        let account = |name: &str| format!("system:serviceaccount:kube-system:{name}");
        assert_eq!(creators(&account("replicaset-controller"), ("", "pods")), ["ReplicaSet"]);
        assert_eq!(creators(&account("job-controller"), ("", "pods")), ["Job"]);
        assert_eq!(creators(&account("deployment-controller"), ("apps", "replicasets")), ["Deployment"]);
        assert!(creators(&account("deployment-controller"), ("", "pods")).is_empty());
        assert!(creators(&account("generic-garbage-collector"), ("", "pods")).is_empty());
        assert!(creators("alice", ("", "pods")).is_empty());
    }
}
