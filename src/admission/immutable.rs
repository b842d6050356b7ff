//! What cannot change in an object that exists, by Kubernetes' own rules.
//!
//! An object that was altered in such a place past admission, or put in the place of the declared one, cannot be mended: it
//! has to go, and the declared one is made. So its deletion is a move toward Git, whoever asks for it. In the table are
//! kinds with which no data goes; a kind that is not in it is never deleted to be made anew but where Git asks for that.

use crate::compare::{Finding, Segment};
use crate::document::Node;
use crate::object::ObjectRef;

struct Row {
    group: &'static str,
    kind: &'static str,
    fields: &'static [&'static str],
}

const fn row(group: &'static str, kind: &'static str, fields: &'static [&'static str]) -> Row {
    Row { group, kind, fields }
}

const ROWS: &[Row] = &[
    row("", "Pod", &["spec"]),
    row("", "Secret", &["type"]),
    row("", "Service", &["spec.clusterIP", "spec.clusterIPs"]),
    row("apps", "DaemonSet", &["spec.selector"]),
    row("apps", "Deployment", &["spec.selector"]),
    row("apps", "ReplicaSet", &["spec.selector"]),
    row(
        "apps",
        "StatefulSet",
        &["spec.selector", "spec.serviceName", "spec.podManagementPolicy", "spec.volumeClaimTemplates"],
    ),
    row(
        "batch",
        "Job",
        &[
            "spec.template",
            "spec.selector",
            "spec.completions",
            "spec.completionMode",
            "spec.podFailurePolicy",
            "spec.successPolicy",
            "spec.backoffLimitPerIndex",
            "spec.managedBy",
        ],
    ),
    row("networking.k8s.io", "IngressClass", &["spec.controller"]),
    row("node.k8s.io", "RuntimeClass", &["handler"]),
    row("rbac.authorization.k8s.io", "ClusterRoleBinding", &["roleRef"]),
    row("rbac.authorization.k8s.io", "RoleBinding", &["roleRef"]),
    row("scheduling.k8s.io", "PriorityClass", &["value", "preemptionPolicy"]),
    row("storage.k8s.io", "StorageClass", &["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"]),
];

/// What of a Pod's `spec` can change.
const CHANGEABLE_IN_PODS: [&str; 2] = ["image", "activeDeadlineSeconds"];

/// Whether an object can be made what it has to be by no write, given all in which it differs from that.
pub fn is_beyond_repair(id: ObjectRef<'_>, live: Node<'_>, findings: &[Finding]) -> bool {
    if takes_data_along(id, live) {
        return false;
    }
    let is_at = |fields: &[&str]| findings.iter().any(|finding| fields.iter().any(|field| is_below(finding, field)));
    if is_sealed(id, live) && is_at(&["data", "binaryData", "immutable"]) {
        return true;
    }
    let rows = ROWS.iter().filter(|row| (row.group, row.kind) == (id.group, id.kind));
    let mut fields = rows.flat_map(|row| row.fields);
    fields.any(|field| findings.iter().any(|finding| is_below(finding, field) && !is_changeable(id, finding)))
}

/// A ConfigMap or a Secret that says of itself that it never changes.
fn is_sealed(id: ObjectRef<'_>, live: Node<'_>) -> bool {
    matches!((id.group, id.kind), ("", "ConfigMap" | "Secret"))
        && live.get("immutable").and_then(Node::as_bool) == Some(true)
}

/// The claims of a StatefulSet may be deleted with it.
fn takes_data_along(id: ObjectRef<'_>, live: Node<'_>) -> bool {
    let policy = live.at(&["spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted"]);
    (id.group, id.kind) == ("apps", "StatefulSet") && policy.and_then(Node::as_str) == Some("Delete")
}

fn is_below(finding: &Finding, field: &str) -> bool {
    let names = || field.split('.');
    names().count() <= finding.path.0.len()
        && names().zip(&finding.path.0).all(|(name, segment)| matches!(segment, Segment::Field(field) if field == name))
}

fn is_changeable(id: ObjectRef<'_>, finding: &Finding) -> bool {
    let last = match finding.path.0.last() {
        Some(Segment::Field(name)) => name.as_str(),
        _ => return false,
    };
    (id.group, id.kind) == ("", "Pod") && CHANGEABLE_IN_PODS.contains(&last)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::compare::{Latitude, ListSchema, difference};
    use crate::document::Document;

    fn beyond_repair(live: &Value, wanted: &Value) -> bool {
        let (group, _) = live["apiVersion"].as_str().unwrap().split_once('/').unwrap_or_default();
        let kind = live["kind"].as_str().unwrap();
        let id = ObjectRef { group, kind, namespace: "shop", name: "x" };
        let (live, wanted) = (Document::from_value(live), Document::from_value(wanted));
        let latitude = Latitude {
            schema: &ListSchema::default(),
            status_subresource: true,
            allotted: &[],
            free: &[],
            undeclared_fields: false,
        };
        is_beyond_repair(id, live.root(), &difference(live.root(), wanted.root(), &latitude))
    }

    #[test]
    fn what_cannot_change_and_what_can() {
        let of = |api_version: &str, kind: &str, rest: Value| {
            let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
            object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
            object
        };
        let rbac = "rbac.authorization.k8s.io/v1";
        let claims = json!({"whenDeleted": "Delete"});
        for (kind, live, wanted, expected) in [
            (("v1", "ConfigMap"), json!({"data": {"a": "1"}}), json!({"data": {"a": "2"}}), false),
            (("v1", "ConfigMap"), json!({"immutable": true, "data": {"a": "1"}}), json!({"data": {"a": "2"}}), true),
            (("v1", "ConfigMap"), json!({"immutable": true}), json!({}), true),
            (("v1", "ConfigMap"), json!({"immutable": false}), json!({}), false),
            (("v1", "ConfigMap"), json!({"immutable": true}), json!({"immutable": true}), false),
            (("v1", "Secret"), json!({"type": "a"}), json!({"type": "b"}), true),
            ((rbac, "RoleBinding"), json!({"roleRef": {"name": "a"}}), json!({"roleRef": {"name": "b"}}), true),
            ((rbac, "RoleBinding"), json!({"subjects": []}), json!({"subjects": [{"name": "a"}]}), false),
            (
                ("batch/v1", "Job"),
                json!({"spec": {"template": {"a": 1}}}),
                json!({"spec": {"template": {"a": 2}}}),
                true,
            ),
            (("batch/v1", "Job"), json!({"spec": {"suspend": true}}), json!({"spec": {"suspend": false}}), false),
            (("apps/v1", "Deployment"), json!({"spec": {"template": 1}}), json!({"spec": {"template": 2}}), false),
            (
                ("apps/v1", "StatefulSet"),
                json!({"spec": {"serviceName": "a"}}),
                json!({"spec": {"serviceName": "b"}}),
                true,
            ),
            (
                ("apps/v1", "StatefulSet"),
                json!({"spec": {"serviceName": "a", "persistentVolumeClaimRetentionPolicy": claims}}),
                json!({"spec": {"serviceName": "b"}}),
                false,
            ),
            (("v1", "Pod"), json!({"spec": {"hostPID": true}}), json!({"spec": {}}), true),
            (("v1", "Pod"), json!({"spec": {"activeDeadlineSeconds": 1}}), json!({"spec": {}}), false),
            (
                ("v1", "PersistentVolumeClaim"),
                json!({"spec": {"storageClassName": "a"}}),
                json!({"spec": {"storageClassName": "b"}}),
                false,
            ),
        ] {
            let [live, wanted] = [live, wanted].map(|rest| of(kind.0, kind.1, rest));
            assert_eq!(beyond_repair(&live, &wanted), expected, "{live} to {wanted}");
        }
    }
}
