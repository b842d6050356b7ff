//! Proof that the webhook is asked and rejects.
//!
//! A stored configuration is not yet in force: the API server reads it through a watch of its own, which takes from
//! some milliseconds to about a second. The canary is a real write (a dry-run of ours would be exempt) of an object
//! that Git does not declare. While it gets through, it is deleted and tried again. Of several API servers only the one
//! that answered is proven.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

use super::generate::ENTRY_DOMAIN;
use crate::api::MANAGER;
use crate::object::ObjectId;

/// Name of the ConfigMap. Left behind by a process that died in between, it is undeclared and is removed as such.
pub const CANARY_NAME: &str = "gitadel-canary";

/// Whether an object is a canary. One that got through is gitadel's own doing, and no drift to speak of.
pub fn is_canary(id: &ObjectId) -> bool {
    id.kind.group.is_empty() && id.kind.kind == "ConfigMap" && id.name == CANARY_NAME
}

const PAUSE: Duration = Duration::from_millis(20);

/// Where an undeclared object must be rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// A namespace that exists and that a source with the action `Enforce` governs.
    pub namespace: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error(
        "an undeclared ConfigMap in namespace {namespace} was still admitted after {attempts} attempts: check that an \
         Enforcement with action Enforce governs that namespace and denies undeclared objects"
    )]
    Admitted { namespace: String, attempts: u32 },
    #[error(
        "the API server cannot call the webhook ({message}): check that its Pods are ready and that their Service or \
         URL is reachable from the control plane"
    )]
    Unreachable { message: String },
    #[error("cannot try whether the webhook rejects an undeclared ConfigMap in namespace {namespace}")]
    Api { namespace: String, source: Box<kube::Error> },
}

/// What one attempt showed.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Denied,
    Admitted,
    Unreachable(String),
}

/// Returns how long it took until the webhook rejected the canary.
pub async fn prove_enforcing(client: Client, canary: &Canary, bound: Duration) -> Result<Duration, CanaryError> {
    let started = Instant::now();
    let api = Api::<ConfigMap>::namespaced(client, &canary.namespace);
    let object = ConfigMap {
        metadata: ObjectMeta {
            name: Some(CANARY_NAME.into()),
            namespace: Some(canary.namespace.clone()),
            ..ObjectMeta::default()
        },
        data: Some([("purpose".into(), "must be rejected: proves that the webhook is in force".into())].into()),
        ..ConfigMap::default()
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let outcome = match api.create(&params, &object).await {
            Ok(_) => Ok(Attempt::Admitted),
            Err(error) => interpret(error),
        };
        let failure = match outcome {
            Ok(Attempt::Denied) => return Ok(started.elapsed()),
            Ok(Attempt::Admitted) => {
                // Deleting an undeclared object is admitted; where it fails, the next attempt finds it and says so.
                if let Err(error) = api.delete(CANARY_NAME, &DeleteParams::default()).await {
                    tracing::debug!(%error, "the canary that got through is not deleted yet");
                }
                CanaryError::Admitted { namespace: canary.namespace.clone(), attempts }
            }
            Ok(Attempt::Unreachable(message)) => CanaryError::Unreachable { message },
            Err(source) => CanaryError::Api { namespace: canary.namespace.clone(), source },
        };
        if started.elapsed() >= bound {
            return Err(failure);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn interpret(error: kube::Error) -> Result<Attempt, Box<kube::Error>> {
    let kube::Error::Api(status) = &error else { return Err(Box::new(error)) };
    if is_denial(&status.message) {
        return Ok(Attempt::Denied);
    }
    // Admission comes before storage: an object that exists was looked for because it had been admitted.
    if status.is_already_exists() {
        return Ok(Attempt::Admitted);
    }
    if status.message.contains("failed calling webhook") && status.message.contains(ENTRY_DOMAIN) {
        return Ok(Attempt::Unreachable(status.message.clone()));
    }
    Err(Box::new(error))
}

/// Whether an error message of the API server is a rejection by one of our entries.
pub fn is_denial(message: &str) -> bool {
    message
        .strip_prefix("admission webhook \"")
        .and_then(|rest| rest.split_once('"'))
        .is_some_and(|(entry, rest)| entry.ends_with(&format!(".{ENTRY_DOMAIN}")) && rest.starts_with(" denied"))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn answers_of_the_api_server() {
        let cases = [
            (
                403,
                "Forbidden",
                "admission webhook \"enforce.gitadel.dev\" denied the request: no",
                Some(Attempt::Denied),
            ),
            (403, "Forbidden", "admission webhook \"other.example.org\" denied the request: no", None),
            (403, "Forbidden", "configmaps is forbidden: User \"x\" cannot create", None),
            (409, "AlreadyExists", "configmaps \"gitadel-canary\" already exists", Some(Attempt::Admitted)),
            (
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"enforce.gitadel.dev\": refused",
                Some(Attempt::Unreachable(
                    "Internal error occurred: failed calling webhook \"enforce.gitadel.dev\": refused".into(),
                )),
            ),
            (500, "InternalError", "Internal error occurred: failed calling webhook \"x.example.org\": refused", None),
        ];
        for (code, reason, message, expected) in cases {
            let status = Status::failure(message, reason).with_code(code);
            assert_eq!(interpret(kube::Error::Api(Box::new(status))).ok(), expected, "{message}");
        }
    }
}
