//! Proof that the webhook is asked and rejects.
//!
//! A stored configuration is not yet in force: the API server reads it through a watch of its own, which takes from
//! some milliseconds to about a second. The canary is a real write (a dry-run of ours would be exempt) of an object
//! with a reserved name, which the webhook rejects wherever something is enforced. While it gets through, it is deleted
//! and tried again. Of several API servers only the one that answered is proven.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

use super::canary_place::Place;
use super::generate::ENTRY_DOMAIN;
use crate::admission::own::{CANARY_CLOSED, CANARY_NAME};
use crate::api::MANAGER;
use crate::reconcile::refusal::Refusal;

const PAUSE: Duration = Duration::from_millis(20);
/// By then a healthy API server has taken the configuration up.
const EAGER: Duration = Duration::from_secs(2);
const LATER_PAUSE: Duration = Duration::from_millis(250);

/// What has to be rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Where something is enforced. The first that exists is tried.
    pub places: Vec<Place>,
    /// An Enforcement whose undeclared objects must be rejected too.
    pub closed: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    #[error(
        "the canary in {place} was still admitted after {attempts} attempts: check that no other configuration or proxy \
         keeps its creation from gitadel's webhook"
    )]
    Admitted { place: Place, attempts: u32 },
    #[error(
        "the API server cannot call the webhook ({message}): check that its Pods are ready and that their Service or \
         URL is reachable from the control plane"
    )]
    Unreachable { message: String },
    #[error(
        "nothing that is enforced exists yet where a canary could be tried: create one of the namespaces in the scope"
    )]
    Nowhere,
    #[error("cannot try whether the webhook rejects the canary in {place}: {reason}")]
    Api { place: Place, reason: Refusal },
}

/// What one attempt showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Denied,
    Admitted,
    Unreachable(String),
    /// There is no such namespace, or it is going.
    Nowhere,
}

/// Returns how long it took until the webhook rejected the canary.
///
/// # Errors
/// It did not, within `bound`; the last attempt says why.
pub async fn prove_enforcing(client: Client, canary: &Canary, bound: Duration) -> Result<Duration, CanaryError> {
    let started = Instant::now();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let (place, outcome) = attempt(&client, canary).await;
        let failure = match (place, outcome) {
            (Some(place), Ok(Attempt::Denied)) => {
                let took = started.elapsed();
                // One may be left of a proof that was cut short.
                delete(&client, place).await;
                return Ok(took);
            }
            (Some(place), Ok(Attempt::Admitted)) => {
                delete(&client, place).await;
                CanaryError::Admitted { place: place.clone(), attempts }
            }
            (_, Ok(Attempt::Unreachable(message))) => CanaryError::Unreachable { message },
            (Some(place), Err(error)) => CanaryError::Api { place: place.clone(), reason: (*error).into() },
            (None, _) | (_, Ok(Attempt::Nowhere)) => CanaryError::Nowhere,
        };
        let elapsed = started.elapsed();
        if elapsed >= bound {
            return Err(failure);
        }
        tokio::time::sleep(if elapsed < EAGER { PAUSE } else { LATER_PAUSE }).await;
    }
}

/// Asks once, without storing anything, whether the webhook rejects the canary. That tells nothing where it is asked as
/// the reconciler, whose dry-runs no webhook judges.
///
/// # Errors
/// The API server refuses it for another reason.
pub async fn rehearse(client: &Client, place: &Place) -> Result<Attempt, Box<kube::Error>> {
    let canary = Canary { places: Vec::new(), closed: None };
    match create(client, &canary, place, true).await {
        Ok(()) => Ok(Attempt::Admitted),
        Err(error) => interpret(error),
    }
}

/// Tries one place after the other until there is one that exists.
async fn attempt<'a>(client: &Client, canary: &'a Canary) -> (Option<&'a Place>, Result<Attempt, Box<kube::Error>>) {
    for place in &canary.places {
        let outcome = match create(client, canary, place, false).await {
            Ok(()) => Ok(Attempt::Admitted),
            Err(error) => interpret(error),
        };
        if !matches!(outcome, Ok(Attempt::Nowhere)) {
            return (Some(place), outcome);
        }
    }
    (None, Ok(Attempt::Nowhere))
}

async fn create(client: &Client, canary: &Canary, place: &Place, dry_run: bool) -> Result<(), kube::Error> {
    let params = PostParams { dry_run, field_manager: Some(MANAGER.into()) };
    let asked = canary.closed.iter().map(|enforcement| (CANARY_CLOSED.to_owned(), enforcement.clone()));
    let annotations: BTreeMap<_, _> = asked
        .chain([("gitadel.dev/purpose".into(), "to be rejected: proves that the webhook is in force".into())])
        .collect();
    let metadata =
        ObjectMeta { name: Some(CANARY_NAME.into()), annotations: Some(annotations), ..ObjectMeta::default() };
    match place {
        Place::Namespace(namespace) => {
            let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            api.create(&params, &ConfigMap { metadata, ..ConfigMap::default() }).await.map(drop)
        }
        Place::Cluster => {
            let api = Api::<ClusterRole>::all(client.clone());
            api.create(&params, &ClusterRole { metadata, ..ClusterRole::default() }).await.map(drop)
        }
    }
}

/// Removes a canary that got through. Where that fails, the next attempt finds it and says so.
async fn delete(client: &Client, place: &Place) {
    let params = DeleteParams::default();
    let deleted = match place {
        Place::Namespace(namespace) => {
            Api::<ConfigMap>::namespaced(client.clone(), namespace).delete(CANARY_NAME, &params).await.map(drop)
        }
        Place::Cluster => Api::<ClusterRole>::all(client.clone()).delete(CANARY_NAME, &params).await.map(drop),
    };
    match deleted {
        Ok(()) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => tracing::debug!(%error, "the canary that got through is not deleted yet"),
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
    if status.is_not_found() || status.message.contains("because it is being terminated") {
        return Ok(Attempt::Nowhere);
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
            (404, "NotFound", "namespaces \"shop\" not found", Some(Attempt::Nowhere)),
            (
                403,
                "Forbidden",
                "configmaps \"gitadel-canary\" is forbidden: unable to create new content in namespace shop because it is being terminated",
                Some(Attempt::Nowhere),
            ),
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
