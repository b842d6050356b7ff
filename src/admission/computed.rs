//! What a generated object has to be, where that can be computed.
//!
//! It is held to that state whoever writes: who fills it can be impersonated, and nobody else would ever put right what got
//! in past admission. The `default` account of a namespace is empty. `kube-root-ca.crt` holds the authority of the cluster:
//! the one that the reconciler itself trusts, once the cluster publishes the same. As long as the two differ (the API
//! server may be reached by way of another that has a certificate of its own), only its publisher sets it. The same goes for the bundle of certificates that is published under the API server's own signer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::builtin;
use crate::api::Undeclared;
use crate::compare::{Latitude, ListSchema, difference};
use crate::document::{Document, Node};
use crate::object::ObjectRef;
use crate::snapshot::Snapshot;
use crate::tls::authorities;

const AUTHORITY: &str = "ca.crt";

/// The state that can be computed for an object that nobody declares; nothing for most objects. What `believed` holds for
/// the authority of the cluster is taken for it where it is that, or where that is not known.
pub fn computed(snapshot: &Snapshot, id: ObjectRef<'_>, believed: Node<'_>) -> Option<Value> {
    let metadata = json!({"name": id.name, "namespace": id.namespace});
    match (id.group, id.kind, id.name) {
        ("", "ServiceAccount", "default") => {
            Some(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}))
        }
        ("", "ConfigMap", "kube-root-ca.crt") => {
            let data = json!({AUTHORITY: authority(&snapshot.meta().root_authorities, believed)});
            Some(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
        }
        _ => None,
    }
}

/// Whether an object like this has a value that cannot be computed yet, so that who writes it is asked.
pub fn is_believed(snapshot: &Snapshot, id: ObjectRef<'_>) -> bool {
    (id.group, id.kind) == ("", "ConfigMap") && snapshot.meta().root_authorities.is_empty()
}

/// Whether the state of the object can be computed, and is another.
pub fn is_altered(snapshot: &Snapshot, id: ObjectRef<'_>, object: Node<'_>) -> bool {
    let Some(wanted) = computed(snapshot, id, object) else { return false };
    let unknown = ListSchema::default();
    let wanted = Document::from_value(&wanted);
    let source = snapshot.meta().answer(id);
    let free = builtin::free_for_repair(id.group, id.kind, id.namespace, id.name, wanted.root(), source);
    let latitude = Latitude {
        schema: snapshot.kind(id.group, id.kind).map_or(&unknown, |kind| &kind.schema),
        status_subresource: false,
        allotted: &[],
        free: &free,
        undeclared_fields: source.is_some_and(|source| source.undeclared_fields == Undeclared::Allow),
    };
    !difference(object, wanted.root(), &latitude).is_empty()
}

/// Whether a bundle of certificates is the one by which Pods are to know the API server: the cluster's authority, and nothing
/// else. As long as that is not known, it is what its publisher says.
pub fn is_trust_bundle(snapshot: &Snapshot, id: ObjectRef<'_>, object: Node<'_>) -> bool {
    const SIGNER: &str = "kubernetes.io/kube-apiserver-serving";
    const NAMES: &str = "kubernetes.io:kube-apiserver-serving:";
    const CLAIMS: [&str; 4] = ["annotations", "finalizers", "labels", "ownerReferences"];
    let text = |key| object.at(&["spec", key]).and_then(Node::as_str).unwrap_or_default();
    let claim = |key| object.at(&["metadata", key]).is_some_and(|claim| !claim.is_null());
    let known = &snapshot.meta().root_authorities;
    (id.group, id.kind) == ("certificates.k8s.io", "ClusterTrustBundle")
        && id.name.starts_with(NAMES)
        && text("signerName") == SIGNER
        && !CLAIMS.into_iter().any(claim)
        && (known.is_empty() || certificates(text("trustBundle")) == certificates(known))
}

/// The text for the authority of the cluster: that of the object, where it has the same certificates in it.
fn authority(known: &str, believed: Node<'_>) -> Option<String> {
    let shown = believed.at(&["data", AUTHORITY]).and_then(Node::as_str);
    match shown {
        Some(text) if known.is_empty() || certificates(text) == certificates(known) => Some(text.to_owned()),
        None if known.is_empty() => None,
        _ => Some(known.to_owned()),
    }
}

/// In whatever order and layout.
fn certificates(pem: &str) -> BTreeSet<String> {
    authorities::split(pem).into_iter().collect()
}
