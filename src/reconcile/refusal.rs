//! What the API server means when it refuses a request.
//!
//! The server answers with a status whose code alone says little: 404 is an absent object, an absent namespace or a
//! kind that is not served; 403 is missing permission, a spent quota, or a namespace that is going away. What to do next
//! depends on which it is, so it is told apart once, here.

use kube::core::Status;
use thiserror::Error;

use crate::telemetry::causes;

/// Names of gitadel's own entries in its webhook configuration end so.
const OWN_WEBHOOK_SUFFIX: &str = ".gitadel.dev";

/// One field that the server found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub field: String,
    pub message: String,
}

/// Why the API server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("it does not exist")]
    NotFound,
    #[error("its namespace does not exist yet")]
    NamespaceAbsent,
    #[error("its namespace is being deleted")]
    NamespaceTerminating,
    #[error("its kind is not served (yet): is its CustomResourceDefinition in Git and established?")]
    KindAbsent,
    #[error("it exists already")]
    AlreadyExists,
    #[error("it was changed by somebody else at the same time: {0}")]
    Conflict(String),
    /// The object was understood and breaks a rule of its kind, or may not change as asked.
    #[error("{message}")]
    Invalid { causes: Vec<Cause>, message: String },
    /// The object was not understood: an unknown field, a value of the wrong type.
    #[error("{message}")]
    Malformed { field: Option<String>, message: String },
    #[error("a resource quota is spent: {0}")]
    QuotaSpent(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{message}")]
    Denied { webhook: String, message: String },
    /// The server, or something that it depends on, is not able to answer now.
    #[error("the API server could not answer: {0}")]
    Unavailable(String),
    #[error("the API server answered {code}: {message}")]
    Unexpected { code: u16, message: String },
}

impl Refusal {
    /// Whether gitadel's own webhook said no, as it does while it does not know the new commit yet.
    pub fn is_own_denial(&self) -> bool {
        matches!(self, Self::Denied { webhook, .. } if webhook.ends_with(OWN_WEBHOOK_SUFFIX))
    }
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Self {
        let message = status.message.trim().to_owned();
        let details = status.details.as_ref();
        // Before the code: a webhook chooses the code of its denial itself.
        if let Some(webhook) = denying_webhook(&message) {
            return Self::Denied { webhook: webhook.to_owned(), message };
        }
        match status.code {
            400 => Self::Malformed { field: malformed_field(&message), message },
            404 => match details {
                Some(details) if details.kind == "namespaces" => Self::NamespaceAbsent,
                Some(details) if !details.name.is_empty() => Self::NotFound,
                _ => Self::KindAbsent,
            },
            403 if details.is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating")) => {
                Self::NamespaceTerminating
            }
            403 if message.contains("exceeded quota") => Self::QuotaSpent(message),
            401 | 403 => Self::Forbidden(message),
            409 if status.reason == "AlreadyExists" => Self::AlreadyExists,
            409 => Self::Conflict(message),
            422 => Self::Invalid {
                causes: details
                    .map(|details| details.causes.as_slice())
                    .unwrap_or_default()
                    .iter()
                    .map(|cause| Cause { field: cause.field.clone(), message: cause.message.clone() })
                    .collect(),
                message,
            },
            408 | 429 | 500..=599 => Self::Unavailable(message),
            code => Self::Unexpected { code, message },
        }
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => Self::from(&**status),
            _ => Self::Unavailable(causes(&error)),
        }
    }
}

/// `admission webhook "exact.gitadel.dev" denied the request: …`
fn denying_webhook(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("admission webhook \"")?;
    let (name, rest) = rest.split_once('"')?;
    rest.trim_start().starts_with("denied the request").then_some(name)
}

/// The field in `strict decoding error: unknown field "spec.foo"` or `… into Go struct field DeploymentSpec.spec.replicas
/// of type int32`.
fn malformed_field(message: &str) -> Option<String> {
    if let Some((_, rest)) = message.split_once(" field \"") {
        return rest.split_once('"').map(|(field, _)| field.to_owned());
    }
    let (_, rest) = message.split_once("Go struct field ")?;
    let (field, _) = rest.split_once(" of type")?;
    // The Go type comes first and is of no use to the author of a manifest.
    Some(field.split_once('.').map_or(field, |(_, path)| path).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(status: serde_json::Value) -> Refusal {
        Refusal::from(&serde_json::from_value::<Status>(status).unwrap())
    }

    #[test]
    fn the_same_code_means_different_things() {
        let cases = [
            (
                json!({"code": 404, "reason": "NotFound", "message": "deployments.apps \"a\" not found",
                       "details": {"name": "a", "group": "apps", "kind": "deployments"}}),
                Refusal::NotFound,
            ),
            (
                json!({"code": 404, "reason": "NotFound", "message": "namespaces \"nope\" not found",
                       "details": {"name": "nope", "kind": "namespaces"}}),
                Refusal::NamespaceAbsent,
            ),
            (json!({"code": 404, "message": "404 page not found"}), Refusal::KindAbsent),
            (
                json!({"code": 404, "reason": "NotFound", "message": "the server could not find the requested resource",
                       "details": {}}),
                Refusal::KindAbsent,
            ),
            (
                json!({"code": 403, "reason": "Forbidden", "message": "configmaps \"a\" is forbidden: unable to create new \
                       content in namespace x because it is being terminated", "details": {"name": "a",
                       "kind": "configmaps", "causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}}),
                Refusal::NamespaceTerminating,
            ),
            (json!({"code": 409, "reason": "AlreadyExists", "message": "exists"}), Refusal::AlreadyExists),
            (json!({"code": 409, "reason": "Conflict", "message": "modified"}), Refusal::Conflict("modified".into())),
            (json!({"code": 503, "message": "etcd"}), Refusal::Unavailable("etcd".into())),
            (
                json!({"code": 422, "reason": "Invalid", "message": "bad", "details": {"causes": [
                       {"reason": "FieldValueInvalid", "message": "field is immutable", "field": "spec.selector"}]}}),
                Refusal::Invalid {
                    causes: vec![Cause { field: "spec.selector".into(), message: "field is immutable".into() }],
                    message: "bad".into(),
                },
            ),
        ];
        for (status, expected) in cases {
            assert_eq!(refusal(status.clone()), expected, "{status}");
        }
    }

    #[test]
    fn malformed_manifests_name_their_field() {
        for (message, field) in [
            (
                "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"foo\", \
                 unknown field \"datas\"",
                Some("foo"),
            ),
            (
                "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go \
                 struct field DeploymentSpec.spec.replicas of type int32",
                Some("spec.replicas"),
            ),
            ("the body is no JSON", None),
        ] {
            let Refusal::Malformed { field: found, .. } = refusal(json!({"code": 400, "message": message})) else {
                panic!("{message}");
            };
            assert_eq!(found.as_deref(), field, "{message}");
        }
    }

    #[test]
    fn a_denial_by_our_own_webhook_is_known_as_such() {
        let denied = |webhook| {
            refusal(json!({"code": 403, "reason": "Forbidden",
                "message": format!("admission webhook \"{webhook}\" denied the request: deployments.apps \"web\" …")}))
        };
        assert!(denied("exact.gitadel.dev").is_own_denial());
        assert!(!denied("validate.kyverno.svc").is_own_denial());
        assert!(!refusal(json!({"code": 403, "message": "secrets is forbidden"})).is_own_denial());
    }
}
