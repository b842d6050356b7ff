//! Why an object is not as it is to be yet.

use crate::reconcile::apply::ApplyError;
use crate::snapshot::SnapshotError;

#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the cluster serves no kind {0} now")]
    UnknownKind(String),
    #[error("it is still being deleted; it is made again when it is gone")]
    Terminating,
    #[error("its values are not known yet; they are read from Git with the next commit or restart")]
    ValuesUnknown,
    #[error("the API server did not store what was written: {0}")]
    StoredOtherwise(String),
    #[error("nothing undeclared is removed before the baseline is recorded")]
    BaselineNotRecorded,
    #[error("nothing undeclared is removed before every source that governs its place was read and brought about once")]
    NotSettled,
    #[error(
        "{0} deletions in the last minute reached the limit of spec.deletionGuard; nothing more is deleted until a \
         commit raises it or a minute has passed"
    )]
    DeletionGuard(u32),
}

impl ConvergeError {
    /// The label of a metric.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Apply(ApplyError::DeniedByWebhook { .. }) => "own_webhook",
            Self::Apply(ApplyError::Denied { .. }) => "other_webhook",
            Self::Apply(ApplyError::Immutable { .. }) => "immutable",
            Self::Apply(ApplyError::Invalid { .. }) => "invalid",
            Self::Apply(ApplyError::Forbidden(_)) => "forbidden",
            Self::Apply(ApplyError::Terminating) | Self::Terminating => "terminating",
            Self::Apply(ApplyError::Conflict) => "conflict",
            Self::Apply(ApplyError::Api(_)) => "api",
            Self::StoredOtherwise(_) => "stored_otherwise",
            Self::Snapshot(_) => "snapshot",
            Self::UnknownKind(_) => "unknown_kind",
            Self::ValuesUnknown => "values_unknown",
            Self::BaselineNotRecorded => "recording",
            Self::NotSettled => "not_settled",
            Self::DeletionGuard(_) => "deletion_guard",
        }
    }
}
