//! Writing one object: created, or replaced by its canonical form.
//!
//! A replacement leaves nothing foreign behind and makes one rollout, where a server-side apply leaves additions and
//! co-owned fields and needs a second write. Values that the server allotted and fields that others may set are carried
//! over from the live object, so that a replacement touches nothing that is not Git's.

mod secret;

use std::time::{Duration, Instant};

use kube::Client;
use serde_json::Value;
use thiserror::Error;

use super::refusal::Refusal;
use super::rest::{self, Mode, Target, metadata};
use crate::compare;
use crate::document::Document;
use crate::nesting;
use crate::snapshot::KindInfo;
pub use secret::{UnmaskError, unmask_secret};

/// How often an object is read again that others changed meanwhile.
const ATTEMPTS: usize = 6;

/// What the API server says of a field that cannot change.
const IMMUTABLE: [&str; 4] = ["immutable", "updates to", "may not be changed", "cannot change"];

/// How long an object that is deleted to be created again may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(60);
const GONE_POLL: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Created,
    Updated,
    Recreated,
    /// The live object was the desired one already: nothing was written.
    Unchanged,
}

/// What was done, and the object as it is stored now.
#[derive(Clone, Debug)]
pub struct Applied {
    pub action: Action,
    pub resource_version: String,
    pub uid: String,
    pub object: Value,
}

impl Applied {
    fn new(action: Action, object: Value) -> Self {
        Self {
            action,
            resource_version: metadata(&object, "resourceVersion").to_owned(),
            uid: metadata(&object, "uid").to_owned(),
            object,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deletion {
    /// Deleted, or on its way: finalizers may hold it for a while.
    Requested,
    /// There was none, or another object has its name now.
    Absent,
}

#[derive(Debug, Error)]
pub enum ApplyError {
    /// A webhook does not know the commit yet. To be tried again soon.
    #[error("gitadel's own webhook does not admit it (yet): {message}")]
    DeniedByWebhook { message: String },
    #[error("denied by the admission webhook {webhook}: {message}")]
    Denied { webhook: String, message: String },
    #[error(
        "{} cannot change in the existing object: {message}. Undo the change, or set the annotation \
         gitadel.dev/recreate: \"true\" in Git to have the object deleted and created again",
        if .fields.is_empty() { "a declared field".to_owned() } else { .fields.join(", ") }
    )]
    Immutable { fields: Vec<String>, message: String },
    #[error("{message}")]
    Invalid { field: Option<String>, message: String },
    #[error("the API server does not permit it: {0}")]
    Forbidden(String),
    #[error("it is being deleted; it will be created again when it is gone")]
    Terminating,
    #[error("changed by others too often to be written; will be tried again")]
    Conflict,
    #[error("{0}; will be tried again")]
    Api(Refusal),
}

impl ApplyError {
    /// Whether the same write may succeed later without a change in Git.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::DeniedByWebhook { .. } | Self::Terminating | Self::Conflict | Self::Api(_) => true,
            Self::Denied { .. } | Self::Immutable { .. } | Self::Invalid { .. } | Self::Forbidden(_) => false,
        }
    }
}

impl From<Refusal> for ApplyError {
    fn from(refusal: Refusal) -> Self {
        let own = refusal.is_own_denial();
        match refusal {
            Refusal::Denied { message, .. } if own => Self::DeniedByWebhook { message },
            Refusal::Denied { webhook, message } => Self::Denied { webhook, message },
            Refusal::Invalid { causes, message } => {
                let mut fields = causes.into_iter().map(|cause| cause.field).filter(|field| !field.is_empty());
                if IMMUTABLE.iter().any(|words| message.contains(words)) {
                    Self::Immutable { fields: fields.collect(), message }
                } else {
                    Self::Invalid { field: fields.next(), message }
                }
            }
            Refusal::Malformed { field, message } => Self::Invalid { field, message },
            Refusal::Forbidden(message) => Self::Forbidden(message),
            other => Self::Api(other),
        }
    }
}

/// Makes the live object the desired one, by one write at most. `live` is what is known of it; where it proves to be out
/// of date, the object is read again.
///
/// # Errors
/// The API server, or somebody whom it asks, refuses the write.
pub async fn apply(
    client: &Client,
    target: &Target<'_>,
    canonical: &Value,
    mut live: Option<Value>,
) -> Result<Applied, ApplyError> {
    if nesting::is_cut(canonical) {
        let message = format!("it is nested deeper than {} levels, which gitadel cannot write", nesting::LIMIT);
        return Err(ApplyError::Invalid { field: None, message });
    }
    let (namespace, name) = (metadata(canonical, "namespace"), metadata(canonical, "name"));
    for _ in 0..ATTEMPTS {
        let written = match &live {
            None => rest::create(client, target.kind, namespace, canonical, Mode::Store)
                .await
                .map(|object| Applied::new(Action::Created, object)),
            Some(live) if is_terminating(live) => return Err(ApplyError::Terminating),
            Some(live) => update(client, target, canonical, live).await,
        };
        match written {
            Ok(applied) => return Ok(applied),
            Err(Refusal::AlreadyExists | Refusal::Conflict(_) | Refusal::NotFound) => {
                live = rest::get(client, target.kind, namespace, name).await?;
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Err(ApplyError::Conflict)
}

async fn update(client: &Client, target: &Target<'_>, canonical: &Value, live: &Value) -> Result<Applied, Refusal> {
    let latitude = target.latitude();
    let (wanted, found) = (Document::from_value(canonical), Document::from_value(live));
    if compare::difference(found.root(), wanted.root(), &latitude).is_empty() {
        return Ok(Applied::new(Action::Unchanged, live.clone()));
    }
    let body = compare::carry(wanted.root(), found.root(), &latitude);
    let at = (metadata(canonical, "namespace"), metadata(canonical, "name"));
    let object = rest::replace(client, target.kind, at, &body, Mode::Store).await?;
    Ok(Applied::new(Action::Updated, object))
}

fn is_terminating(object: &Value) -> bool {
    !metadata(object, "deletionTimestamp").is_empty()
}

/// Deletes the object and creates it anew, for a change that an existing object cannot take. To be used only where Git
/// asks for it.
///
/// # Errors
/// The API server refuses one of the two, or the object does not go.
pub async fn recreate(
    client: &Client,
    target: &Target<'_>,
    canonical: &Value,
    live: &Value,
) -> Result<Applied, ApplyError> {
    let (namespace, name) = (metadata(canonical, "namespace"), metadata(canonical, "name"));
    let uid = metadata(live, "uid");
    delete(client, target.kind, (namespace, name), uid, None).await?;
    let since = Instant::now();
    loop {
        match rest::get(client, target.kind, namespace, name).await? {
            Some(object) if metadata(&object, "uid") == uid => {}
            _ => break,
        }
        if since.elapsed() > GONE_WITHIN {
            return Err(ApplyError::Terminating);
        }
        tokio::time::sleep(GONE_POLL).await;
    }
    let applied = apply(client, target, canonical, None).await?;
    Ok(Applied { action: Action::Recreated, ..applied })
}

/// Deletes the object with this uid, and none that has taken its name since.
///
/// # Errors
/// The API server refuses.
pub async fn delete(
    client: &Client,
    kind: &KindInfo,
    at: (&str, &str),
    uid: &str,
    grace: Option<i64>,
) -> Result<Deletion, ApplyError> {
    match rest::delete(client, kind, at, uid, grace).await {
        Ok(()) => Ok(Deletion::Requested),
        // A kind that is gone has taken its objects along; a conflict here is another uid.
        Err(Refusal::NotFound | Refusal::NamespaceAbsent | Refusal::KindAbsent | Refusal::Conflict(_)) => {
            Ok(Deletion::Absent)
        }
        Err(refusal) => Err(refusal.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal::Cause;
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let invalid = |message: &str| Refusal::Invalid {
            causes: vec![Cause { field: "spec.selector".into(), message: String::new() }],
            message: message.into(),
        };
        let denied = |webhook: &str| Refusal::Denied { webhook: webhook.into(), message: "no".into() };
        assert!(matches!(ApplyError::from(denied("exact.gitadel.dev")), ApplyError::DeniedByWebhook { .. }));
        assert!(matches!(ApplyError::from(denied("other.example.com")), ApplyError::Denied { .. }));
        assert!(matches!(ApplyError::from(invalid("field is immutable")), ApplyError::Immutable { .. }));
        assert!(matches!(
            ApplyError::from(invalid("Forbidden: updates to statefulset spec for fields other than …")),
            ApplyError::Immutable { .. }
        ));
        for message in ["may not be changed in an update.", "roleRef: Invalid value: …: cannot change roleRef"] {
            assert!(matches!(ApplyError::from(invalid(message)), ApplyError::Immutable { .. }), "{message}");
        }
        assert!(matches!(ApplyError::from(invalid("Required value")), ApplyError::Invalid { .. }));
        assert!(ApplyError::from(denied("exact.gitadel.dev")).is_transient());
        assert!(ApplyError::from(Refusal::Unavailable("etcd".into())).is_transient());
        assert!(!ApplyError::from(Refusal::Forbidden("rbac".into())).is_transient());
    }
}
