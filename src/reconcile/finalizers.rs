//! What slipped in past admission goes, also where it has a finalizer that nobody would ever take away: a RoleBinding that is
//! being deleted still binds.

use kube::Client;
use serde_json::Value;

use super::apply::ApplyError;
use super::refusal::Refusal;
use super::rest::{self, Mode, metadata};
use crate::admission::builtin;
use crate::snapshot::KindInfo;

/// Others write to an object that goes as well: its controller, the garbage collector.
const ATTEMPTS: usize = 6;

/// The finalizers of an object.
pub fn of(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether the garbage collector has a finalizer: it is nobody else's, whatever Git leaves to an operator.
pub fn is_collectors(finalizer: &str) -> bool {
    matches!(finalizer, "foregroundDeletion" | "orphan")
}

/// The finalizers of an object that no component of Kubernetes is sure to take away from objects of its kind.
pub fn foreign(kind: &KindInfo, object: &Value) -> Vec<String> {
    of(object).filter(|name| !builtin::has_finalizer(&kind.group, &kind.kind, name)).map(str::to_owned).collect()
}

/// Takes all finalizers away from an object that is being deleted, and that nobody but gitadel makes.
///
/// # Errors
/// The API server refuses, or others write to the object all the time.
pub async fn take_all(client: &Client, kind: &KindInfo, object: &Value) -> Result<(), ApplyError> {
    let all: Vec<String> = of(object).map(str::to_owned).collect();
    let at = (metadata(object, "namespace"), metadata(object, "name"));
    take_away(client, kind, at, metadata(object, "uid"), &all).await
}

/// Takes finalizers away from the object with this uid, which is being deleted.
///
/// # Errors
/// The API server refuses, or others write to the object all the time.
pub async fn take_away(
    client: &Client,
    kind: &KindInfo,
    at: (&str, &str),
    uid: &str,
    unwanted: &[String],
) -> Result<(), ApplyError> {
    for _ in 0..ATTEMPTS {
        let Some(mut object) = rest::get(client, kind, at.0, at.1).await? else { return Ok(()) };
        let is_unwanted = |finalizer: &Value| finalizer.as_str().is_some_and(|name| unwanted.iter().any(|u| u == name));
        let finalizers = object.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut);
        let Some(finalizers) = finalizers.filter(|finalizers| finalizers.iter().any(is_unwanted)) else {
            return Ok(());
        };
        finalizers.retain(|finalizer| !is_unwanted(finalizer));
        if metadata(&object, "uid") != uid || metadata(&object, "deletionTimestamp").is_empty() {
            return Ok(());
        }
        // The API server keeps them by itself; what is nested in them too deep to be read could not be given back.
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        match rest::replace(client, kind, at, &object, Mode::Store).await {
            Ok(_) | Err(Refusal::NotFound) => return Ok(()),
            Err(Refusal::Conflict(_)) => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Err(ApplyError::Conflict)
}
