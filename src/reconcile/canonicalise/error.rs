//! Why an object has no canonical form, or none yet.

use thiserror::Error;

use crate::compare;
use crate::reconcile::environment::MutatorActive;
use crate::reconcile::refusal::Refusal;

#[derive(Debug, Error)]
pub enum CanonicaliseError {
    #[error("not possible yet: {0}")]
    Pending(Pending),
    #[error(
        "{} cannot change in the existing object: {message}. Undo the change, or set the annotation \
         gitadel.dev/recreate: \"true\" in Git to have the object deleted and created again",
        fields_text(.fields)
    )]
    NeedsRecreate { fields: Vec<String>, message: String },
    #[error("{}{message}", field_text(.field, .message))]
    InvalidManifest { field: Option<String>, message: String },
    #[error(
        "{path} is declared, but the API server drops it without a word: its feature is disabled in this cluster. Enable \
         the feature or take the field out of Git"
    )]
    DeclaredButDropped { path: compare::Path },
    #[error("the API server does not permit it: {0}")]
    Forbidden(String),
    #[error("denied by the admission webhook {webhook}: {message}")]
    Denied { webhook: String, message: String },
    #[error("changed by others too often to be canonicalised; will be tried again")]
    Conflict,
    #[error(transparent)]
    MutatorActive(#[from] MutatorActive),
    #[error("{0}; will be tried again")]
    Api(Refusal),
}

/// What has to come first.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Pending {
    #[error("its namespace does not exist")]
    NamespaceAbsent,
    #[error("its namespace is being deleted")]
    NamespaceTerminating,
    #[error("its kind is not served; is its CustomResourceDefinition established?")]
    KindAbsent,
    #[error("the existing object is being deleted")]
    Terminating,
    #[error("{0}")]
    QuotaSpent(String),
    #[error("{0}")]
    ConversionUnavailable(String),
}

fn fields_text(fields: &[String]) -> String {
    if fields.is_empty() { "a declared field".into() } else { fields.join(", ") }
}

/// The field, where the message does not name it itself.
fn field_text(field: &Option<String>, message: &str) -> String {
    field.as_ref().filter(|field| !message.contains(*field)).map(|field| format!("{field}: ")).unwrap_or_default()
}

impl CanonicaliseError {
    /// Whether time alone may solve it.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Pending(_)
            | Self::Conflict
            | Self::MutatorActive(_)
            | Self::Denied { .. }
            | Self::Forbidden(_)
            | Self::Api(_) => true,
            Self::NeedsRecreate { .. } | Self::InvalidManifest { .. } | Self::DeclaredButDropped { .. } => false,
        }
    }

    /// The reason of the problem in the status.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Pending(_) => "Pending",
            Self::NeedsRecreate { .. } => "NeedsRecreate",
            Self::InvalidManifest { .. } => "InvalidManifest",
            Self::DeclaredButDropped { .. } => "DeclaredButDropped",
            Self::Forbidden(_) => "Forbidden",
            Self::Denied { .. } => "DeniedByWebhook",
            Self::Conflict => "Conflict",
            Self::MutatorActive(_) => "MutatorActive",
            Self::Api(_) => "ApiError",
        }
    }
}

impl From<Refusal> for CanonicaliseError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NamespaceAbsent => Self::Pending(Pending::NamespaceAbsent),
            Refusal::NamespaceTerminating => Self::Pending(Pending::NamespaceTerminating),
            Refusal::KindAbsent => Self::Pending(Pending::KindAbsent),
            Refusal::QuotaSpent(message) => Self::Pending(Pending::QuotaSpent(message)),
            Refusal::Invalid { causes, message } => Self::InvalidManifest {
                field: causes.into_iter().map(|cause| cause.field).find(|field| !field.is_empty()),
                message,
            },
            Refusal::Malformed { field, message } => Self::InvalidManifest { field, message },
            Refusal::Forbidden(message) => Self::Forbidden(message),
            Refusal::Denied { webhook, message } => Self::Denied { webhook, message },
            Refusal::Unavailable(message) if message.contains("conversion webhook") => {
                Self::Pending(Pending::ConversionUnavailable(message))
            }
            other => Self::Api(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_named_once() {
        let text = |message: &str| {
            let field = Some("metadata.name".to_owned());
            CanonicaliseError::InvalidManifest { field, message: message.to_owned() }.to_string()
        };
        assert_eq!(text("it must be lower case"), "metadata.name: it must be lower case");
        assert_eq!(text("metadata.name: Invalid value: \"A\""), "metadata.name: Invalid value: \"A\"");
    }
}
