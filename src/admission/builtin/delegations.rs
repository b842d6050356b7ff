//! Fields that Kubernetes' own components keep in objects, whoever declares them.
//!
//! A row holds for declared objects as for all others, so it must name the narrowest path that the component writes.
//! Who may write a whole object is in `writers`.

use std::sync::LazyLock;

use super::identity::NODES;
use super::{Identity, Table, flow_control};
use crate::admission::request::User;
use crate::compare::FreeField;
use crate::document::Node;
use crate::snapshot::Source;

use Identity::{Anyone, ApiServer, Controller, ControllerManager, Node as Kubelet, Scheduler};

/// The way that a write must take for a row to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    Any,
    Status,
}

struct Row {
    by: Identity,
    group: &'static str,
    kind: &'static str,
    through: Through,
    /// Objects of the kind for which the row holds.
    of: fn(Node<'_>) -> bool,
    fields: &'static [&'static str],
}

const fn row(by: Identity, group: &'static str, kind: &'static str, fields: &'static [&'static str]) -> Row {
    Row { by, group, kind, through: Through::Any, of: every, fields }
}

const fn only(
    by: Identity,
    group: &'static str,
    kind: &'static str,
    of: fn(Node<'_>) -> bool,
    fields: &'static [&'static str],
) -> Row {
    Row { by, group, kind, through: Through::Any, of, fields }
}

const fn through_status(by: Identity, group: &'static str, kind: &'static str, fields: &'static [&'static str]) -> Row {
    Row { by, group, kind, through: Through::Status, of: every, fields }
}

fn every(_: Node<'_>) -> bool {
    true
}

fn aggregated(role: Node<'_>) -> bool {
    role.get("aggregationRule").is_some_and(|rule| !rule.is_null())
}

fn service_account_token(secret: Node<'_>) -> bool {
    secret.get("type").and_then(Node::as_str) == Some("kubernetes.io/service-account-token")
}

fn root_ca(config_map: Node<'_>) -> bool {
    config_map.at(&["metadata", "name"]).and_then(Node::as_str) == Some("kube-root-ca.crt")
}

fn cluster_info(config_map: Node<'_>) -> bool {
    let text = |key| config_map.at(&["metadata", key]).and_then(Node::as_str);
    (text("namespace"), text("name")) == (Some("kube-public"), Some("cluster-info"))
}

fn load_balanced(service: Node<'_>) -> bool {
    service.at(&["spec", "type"]).and_then(Node::as_str) == Some("LoadBalancer")
}

const REVISION: &[&str] = &["metadata.annotations[deployment.kubernetes.io/revision]"];
const RBAC: &str = "rbac.authorization.k8s.io";
/// What a kubelet says of its own node, all of it through the status: its platform and place, as it writes them when it
/// starts, and what the drivers of volumes on it say. The labels of those are in the driver's words: what does not begin
/// with `topology.` has to be delegated, since with any label at all a node could draw Pods to itself.
const SAID_BY_KUBELET: &[&str] = &[
    "metadata.labels[kubernetes.io/arch]",
    "metadata.labels[kubernetes.io/os]",
    "metadata.labels[kubernetes.io/hostname]",
    "metadata.labels[beta.kubernetes.io/arch]",
    "metadata.labels[beta.kubernetes.io/os]",
    "metadata.labels[beta.kubernetes.io/instance-type]",
    "metadata.labels[node.kubernetes.io/instance-type]",
    "metadata.labels[node.kubernetes.io/windows-build]",
    "metadata.labels[failure-domain.beta.kubernetes.io/zone]",
    "metadata.labels[failure-domain.beta.kubernetes.io/region]",
    "metadata.labels[topology.*]",
    "metadata.annotations[alpha.kubernetes.io/provided-node-ip]",
    "metadata.annotations[csi.volume.kubernetes.io/nodeid]",
    "metadata.annotations[volumes.kubernetes.io/controller-managed-attach-detach]",
];

const ROWS: &[Row] = &[
    row(Controller("deployment-controller"), "apps", "Deployment", REVISION),
    // A rollback writes the revision through the subresource. The value says nothing about the state, and the way is
    // open while the webhook is down, so it is open to everybody.
    through_status(Anyone, "apps", "Deployment", REVISION),
    // A counter of template changes that the API server keeps itself: users cannot set it.
    row(Anyone, "apps", "DaemonSet", &["metadata.annotations[deprecated.daemonset.template.generation]"]),
    // Through a Binding: what it says is copied to the Pod.
    row(Scheduler, "", "Pod", &["spec.nodeName", "metadata.labels[topology.kubernetes.io/*]"]),
    row(
        Controller("persistent-volume-binder"),
        "",
        "PersistentVolumeClaim",
        &[
            "spec.volumeName",
            "spec.storageClassName",
            "metadata.annotations[pv.kubernetes.io/bind-completed]",
            "metadata.annotations[pv.kubernetes.io/bound-by-controller]",
            "metadata.annotations[volume.kubernetes.io/storage-provisioner]",
            "metadata.annotations[volume.beta.kubernetes.io/storage-provisioner]",
            "metadata.annotations[pv.kubernetes.io/migrated-to]",
        ],
    ),
    row(Scheduler, "", "PersistentVolumeClaim", &["metadata.annotations[volume.kubernetes.io/selected-node]"]),
    row(
        Controller("persistent-volume-binder"),
        "",
        "PersistentVolume",
        &[
            "spec.claimRef",
            "metadata.annotations[pv.kubernetes.io/bound-by-controller]",
            "metadata.annotations[pv.kubernetes.io/migrated-to]",
            "metadata.finalizers[=kubernetes.io/pv-controller]",
        ],
    ),
    row(
        Scheduler,
        "",
        "PersistentVolume",
        &["spec.claimRef", "metadata.annotations[pv.kubernetes.io/bound-by-controller]"],
    ),
    // The protecting finalizers come with the admission of a new object; the controllers add a missing one.
    row(
        Controller("pvc-protection-controller"),
        "",
        "PersistentVolumeClaim",
        &["metadata.finalizers[=kubernetes.io/pvc-protection]"],
    ),
    row(
        Controller("pv-protection-controller"),
        "",
        "PersistentVolume",
        &["metadata.finalizers[=kubernetes.io/pv-protection]"],
    ),
    row(
        Controller("volumeattributesclass-protection-controller"),
        "storage.k8s.io",
        "VolumeAttributesClass",
        &["metadata.finalizers[=kubernetes.io/vac-protection]"],
    ),
    row(
        Controller("service-cidrs-controller"),
        "networking.k8s.io",
        "ServiceCIDR",
        &["metadata.finalizers[=networking.k8s.io/service-cidr-finalizer]"],
    ),
    row(
        Scheduler,
        "resource.k8s.io",
        "ResourceClaim",
        &["metadata.finalizers[=resource.kubernetes.io/delete-protection]"],
    ),
    row(
        Controller("resource-claim-controller"),
        "resource.k8s.io",
        "ResourceClaim",
        &["metadata.finalizers[=resource.kubernetes.io/delete-protection]"],
    ),
    only(
        Controller("service-controller"),
        "",
        "Service",
        load_balanced,
        &["metadata.finalizers[=service.kubernetes.io/load-balancer-cleanup]"],
    ),
    only(Controller("clusterrole-aggregation-controller"), RBAC, "ClusterRole", aggregated, &["rules"]),
    only(
        ControllerManager,
        "",
        "Secret",
        service_account_token,
        &["data", "metadata.annotations[kubernetes.io/service-account.uid]"],
    ),
    only(ApiServer, "", "Secret", service_account_token, &["metadata.labels[kubernetes.io/legacy-token-last-used]"]),
    only(
        Controller("legacy-service-account-token-cleaner"),
        "",
        "Secret",
        service_account_token,
        &["metadata.labels[kubernetes.io/legacy-token-invalid-since]"],
    ),
    row(ControllerManager, "", "ServiceAccount", &["secrets"]),
    // In words that change from version to version. What it holds is no delegate's: see `computed`.
    only(Anyone, "", "ConfigMap", root_ca, &["metadata.annotations[kubernetes.io/description]"]),
    only(Controller("bootstrap-signer"), "", "ConfigMap", cluster_info, &["data[jws-kubeconfig-*]"]),
    only(ApiServer, flow_control::GROUP, "FlowSchema", flow_control::keeps_flow_schema, &["spec"]),
    only(ApiServer, flow_control::GROUP, "PriorityLevelConfiguration", flow_control::keeps_priority_level, &["spec"]),
    // An autoscaling/v2 status, as a review of the older version shows it.
    row(
        Controller("horizontal-pod-autoscaler"),
        "autoscaling",
        "HorizontalPodAutoscaler",
        &[
            "metadata.annotations[autoscaling.alpha.kubernetes.io/conditions]",
            "metadata.annotations[autoscaling.alpha.kubernetes.io/current-metrics]",
        ],
    ),
    through_status(Kubelet, "", "Node", SAID_BY_KUBELET),
    row(
        Controller("node-controller"),
        "",
        "Node",
        &[
            "spec.podCIDR",
            "spec.podCIDRs",
            "metadata.labels[kubernetes.io/arch]",
            "metadata.labels[kubernetes.io/os]",
            "metadata.labels[beta.kubernetes.io/arch]",
            "metadata.labels[beta.kubernetes.io/os]",
        ],
    ),
    row(Controller("ttl-controller"), "", "Node", &["metadata.annotations[node.alpha.kubernetes.io/ttl]"]),
    // What makes the CRD go, at last: the API server takes it away through the subresource.
    through_status(
        ApiServer,
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        &["metadata.finalizers[=customresourcecleanup.apiextensions.k8s.io]"],
    ),
];

/// A row of the table, compiled.
pub struct BuiltinDelegation {
    pub by: Identity,
    pub through: Through,
    of: fn(Node<'_>) -> bool,
    pub fields: Vec<FreeField>,
}

impl BuiltinDelegation {
    /// Whether the row lets this user write to the object, through `status` or not.
    pub fn lets(&self, user: &User<'_>, through_status: bool, object: Node<'_>) -> bool {
        // A kubelet keeps no node but its own.
        let is_its_own = || {
            let node = object.at(&["metadata", "name"]).and_then(Node::as_str);
            node.is_some_and(|node| user.name.strip_prefix(NODES) == Some(node))
        };
        self.by.is(user)
            && (self.through == Through::Any || through_status)
            && (self.by != Kubelet || is_its_own())
            && self.holds_for(object)
    }

    /// Whether the row is meant for this object.
    pub fn holds_for(&self, object: Node<'_>) -> bool {
        (self.of)(object)
    }
}

static TABLE: LazyLock<Table<BuiltinDelegation>> = LazyLock::new(|| {
    Table::new(ROWS.iter().map(|row| {
        let patterns = row.fields.iter().filter_map(|field| field.parse().ok());
        let fields = patterns.map(|pattern| FreeField { pattern, bounds: None }).collect();
        (row.group, row.kind, BuiltinDelegation { by: row.by, through: row.through, of: row.of, fields })
    }))
});

/// The built-in delegations for a kind.
pub fn delegated(group: &str, kind: &str) -> &'static [BuiltinDelegation] {
    TABLE.rows(group, kind)
}

/// Whether a component of Kubernetes has this finalizer in objects of the kind, and takes it away when they go.
///
/// Not told of `foregroundDeletion`: the collector takes it away when everything is gone that names the object as its owner,
/// and anybody may have a Lease that never goes.
pub fn has_finalizer(group: &str, kind: &str, finalizer: &str) -> bool {
    const ORPHANED: &str = "orphan";
    const OF_PODS: &str = "batch.kubernetes.io/job-tracking";
    let named = format!("metadata.finalizers[={finalizer}]");
    let rows = ROWS.iter().filter(|row| (row.group, row.kind) == (group, kind));
    (finalizer == ORPHANED && group != RBAC)
        || ((group, kind) == ("", "Pod") && finalizer == OF_PODS)
        || rows.flat_map(|row| row.fields).any(|field| *field == named)
}

/// Every field that somebody else than Git keeps in this object: a repair carries its live value over.
///
/// `object` is the declared or canonical object: some rows hold only for objects that ask for it, as an aggregated
/// ClusterRole does.
pub fn free_for_repair(
    group: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    object: Node<'_>,
    source: Option<&Source>,
) -> Vec<FreeField> {
    let builtin = delegated(group, kind).iter().filter(|row| row.holds_for(object)).flat_map(|row| &row.fields);
    let declared = source
        .into_iter()
        .flat_map(|source| &source.delegations)
        .filter(|delegation| delegation.covers(group, kind, namespace, name))
        .flat_map(|delegation| &delegation.fields);
    let mut fields: Vec<FreeField> = Vec::new();
    for field in builtin.chain(declared) {
        if !fields.contains(field) {
            fields.push(field.clone());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Document;

    #[test]
    fn every_pattern_of_the_table_is_one() {
        for row in ROWS {
            for field in row.fields {
                assert!(field.parse::<crate::compare::PathPattern>().is_ok(), "{field}");
            }
        }
    }

    fn repaired(group: &str, kind: &str, object: &serde_json::Value) -> Vec<String> {
        let document = Document::from_value(object);
        free_for_repair(group, kind, "shop", "x", document.root(), None)
            .iter()
            .map(|field| field.pattern.to_string())
            .collect()
    }

    #[test]
    fn rules_of_a_role_are_free_only_where_it_aggregates() {
        assert_eq!(repaired(RBAC, "ClusterRole", &json!({"aggregationRule": {}, "rules": []})), ["rules"]);
        assert!(repaired(RBAC, "ClusterRole", &json!({"rules": []})).is_empty());
    }

    #[test]
    fn the_data_of_a_secret_is_free_only_where_it_holds_a_token() {
        let token = json!({"type": "kubernetes.io/service-account-token"});
        assert!(repaired("", "Secret", &token).contains(&"data".to_owned()));
        assert!(repaired("", "Secret", &json!({"type": "Opaque"})).is_empty());
    }

    #[test]
    fn finalizers_belong_to_kinds() {
        assert!(has_finalizer("", "PersistentVolumeClaim", "kubernetes.io/pvc-protection"));
        assert!(!has_finalizer(RBAC, "RoleBinding", "kubernetes.io/pvc-protection"));
        assert!(!has_finalizer("", "Pod", "foregroundDeletion"));
        assert!(has_finalizer("apps", "Deployment", "orphan"));
        assert!(!has_finalizer(RBAC, "RoleBinding", "orphan"), "nothing is made for it that would be orphaned");
        assert!(has_finalizer("", "Pod", "batch.kubernetes.io/job-tracking"));
        assert!(!has_finalizer("", "Pod", "example.com/hold"));
    }

    #[test]
    fn a_field_that_two_may_write_is_carried_over_once() {
        assert_eq!(repaired("apps", "Deployment", &json!({})), REVISION);
    }
}
