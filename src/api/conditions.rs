//! Standard conditions of an `Enforcement`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition types that gitadel sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The spec is valid and its source can be read.
    SourceReady,
    /// The webhook judges every request in the scope by this source.
    Enforcing,
    /// The cluster is what the newest valid commit declares.
    Converged,
    /// The newest commit in the source cannot be enforced in full.
    Degraded,
}

impl ConditionType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SourceReady => "SourceReady",
            Self::Enforcing => "Enforcing",
            Self::Converged => "Converged",
            Self::Degraded => "Degraded",
        }
    }
}

/// Why a condition has its value, in CamelCase as Kubernetes' API conventions ask.
pub type Reason = &'static str;

/// Sets one condition. `lastTransitionTime` moves only when the status of the condition changes.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    status: bool,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Time,
) {
    let status = if status { "True" } else { "False" };
    let message = message.into();
    if let Some(known) = conditions.iter_mut().find(|c| c.type_ == kind.as_str()) {
        if known.status != status {
            known.last_transition_time = now;
        }
        known.status = status.into();
        known.reason = reason.into();
        known.message = message;
        known.observed_generation = generation;
        return;
    }
    conditions.push(Condition {
        type_: kind.as_str().into(),
        status: status.into(),
        reason: reason.into(),
        message,
        observed_generation: generation,
        last_transition_time: now,
    });
}
