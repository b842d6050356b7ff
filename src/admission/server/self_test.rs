//! Proves on the snapshot in force that decisions are what they should be, before anybody depends on them.
//!
//! A version that denied everything would lock out its own cluster, one that admitted everything would guard nothing:
//! neither becomes ready.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::judge::{BadReview, Judge, judge};
use crate::api::{Action, SYSTEM_NAMESPACE, Undeclared};
use crate::document::Document;
use crate::snapshot::{Entry, EntryClass, KindInfo, Snapshot};

/// Kinds that no component of Kubernetes labels, so that an added label is tampering whoever adds it.
const KINDS: &[(&str, &str)] = &[
    ("", "ConfigMap"),
    ("", "Service"),
    ("apps", "Deployment"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
];
/// Readiness is asked for every few seconds: the search for an object to try must not read a large snapshot each time.
const SEARCHED: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelfTestFailure {
    #[error("{id}: {trial} got no verdict: {reason}")]
    NoVerdict { id: String, trial: &'static str, reason: BadReview },
    #[error("{id}: {trial} was {}", if *admitted { "admitted" } else { "denied" })]
    WrongVerdict { id: String, trial: &'static str, admitted: bool },
}

/// Tries an object of the snapshot: no change is admitted, tampering is denied, the way back is admitted. A snapshot that
/// enforces nothing, or nothing suitable, passes.
///
/// # Errors
/// A verdict is not what it should be.
pub fn self_test(decide: Judge, snapshot: &Snapshot) -> Result<(), SelfTestFailure> {
    let Some((entry, kind)) = candidate(snapshot) else { return Ok(()) };
    let Some(desired) = entry.canonical().map(|node| node.to_value()) else { return Ok(()) };
    let mut tampered = desired.clone();
    tampered["metadata"]["labels"]["gitadel.dev/self-test"] = "tampered".into();
    for (trial, old, new, admitted) in [
        ("a write that changes nothing", &desired, &desired, true),
        ("an added label", &desired, &tampered, false),
        ("the removal of an added label", &tampered, &desired, true),
    ] {
        let review = Document::from_value(&review(&entry, kind, old, new));
        let id = || entry.id().to_string();
        let judgement = judge(decide, &review, snapshot, Timestamp::now())
            .map_err(|reason| SelfTestFailure::NoVerdict { id: id(), trial, reason })?;
        if judgement.denied == admitted {
            return Err(SelfTestFailure::WrongVerdict { id: id(), trial, admitted: !admitted });
        }
    }
    Ok(())
}

/// An object that the snapshot enforces to the last field.
fn candidate(snapshot: &Snapshot) -> Option<(Entry<'_>, &KindInfo)> {
    snapshot.iter().take(SEARCHED).filter_map(Result::ok).find_map(|entry| {
        let id = entry.id();
        let source = snapshot.meta().sources.get(entry.source()?)?;
        let enforced = source.action == Action::Enforce
            && source.undeclared_fields == Undeclared::Deny
            && source.governs(id.group, id.kind, id.namespace, id.name);
        let known = KINDS.contains(&(id.group, id.kind)) && id.namespace != SYSTEM_NAMESPACE;
        let settled = entry.class() != EntryClass::Retained && entry.problem().is_none();
        let kind = snapshot.kind(id.group, id.kind)?;
        // An object that cannot hold the label could not be tampered with either.
        let metadata = entry.canonical()?.get("metadata")?;
        let labelled = metadata.map().is_some() && metadata.get("labels").is_none_or(|labels| labels.map().is_some());
        let same_version = entry.version() == api_version(kind);
        (enforced && known && settled && labelled && same_version).then_some((entry, kind))
    })
}

fn api_version(kind: &KindInfo) -> String {
    if kind.group.is_empty() { kind.version.clone() } else { format!("{}/{}", kind.group, kind.version) }
}

fn review(entry: &Entry<'_>, kind: &KindInfo, old: &Value, new: &Value) -> Value {
    let id = entry.id();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "self-test",
        "operation": "UPDATE",
        "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "resource": {"group": kind.group, "version": kind.version, "resource": kind.resource},
        "namespace": id.namespace,
        "name": id.name,
        "userInfo": {"username": "gitadel.dev/self-test", "groups": []},
        "object": new,
        "oldObject": old,
        "dryRun": true,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions"},
    }})
}
