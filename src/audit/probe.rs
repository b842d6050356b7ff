//! Asks the API server instead of believing what is stored: dry-runs of writes that must be rejected.
//!
//! That an admission plugin is switched off cannot be seen from inside a cluster; that nothing was rejected can.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client};

use super::cluster::{Cluster, Proof, Protection};
use super::finding::Who;
use super::governance::Governance;
use super::rbac::GITADEL_ACCOUNT;
use crate::reconcile::webhook_configuration::{Attempt, NAME, Place, rehearse};

/// In how many namespaces a test write is tried at most.
const PLACES: usize = 5;

/// What becomes of the write that gitadel always rejects.
///
/// # Errors
/// Why it could not be asked.
pub async fn proof(client: &Client, cluster: &Cluster) -> Result<Proof, String> {
    let governance = Governance::new(cluster.enforcements.iter().flatten());
    if !governance.enforces_anything() {
        return Ok(Proof::NotAsked);
    }
    if is_gitadel(client).await {
        return Err("gitadel's own dry-runs reach no webhook: run the audit as somebody else".into());
    }
    let mut refused = None;
    for place in places(cluster, &governance) {
        match rehearse(client, &place).await {
            Ok(Attempt::Denied) => return Ok(Proof::Rejected),
            Ok(Attempt::Admitted) => return Ok(Proof::Admitted(place.to_string())),
            Ok(Attempt::Unreachable(message)) => return Ok(Proof::Unreachable(message)),
            // It may be going.
            Ok(Attempt::Nowhere) => {}
            Err(error) => refused = Some(format!("a test write in {place} is refused before admission: {error}")),
        }
    }
    refused.map_or(Ok(Proof::Nowhere), Err)
}

/// Where the caller may be able to write: `default` first, which every cluster has.
fn places(cluster: &Cluster, governance: &Governance<'_>) -> Vec<Place> {
    let mut namespaces: Vec<_> = cluster.namespaces.keys().filter(|namespace| governance.governs(namespace)).collect();
    namespaces.sort_by_key(|namespace| *namespace != "default");
    let of_cluster = governance.governs_kind("rbac.authorization.k8s.io", "ClusterRole").then_some(Place::Cluster);
    namespaces.into_iter().take(PLACES).cloned().map(Place::Namespace).chain(of_cluster).collect()
}

/// What becomes of the deletion of gitadel's webhook configuration.
pub async fn protection(client: &Client) -> Protection {
    let api = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    match api.delete(NAME, &DeleteParams { dry_run: true, ..DeleteParams::default() }).await {
        Ok(_) => Protection::Admitted,
        Err(kube::Error::Api(status)) if status.message.contains("ValidatingAdmissionPolicy") => {
            Protection::Rejected(status.message.clone())
        }
        Err(kube::Error::Api(status)) if status.message.starts_with("admission webhook") => {
            Protection::Rejected(status.message.clone())
        }
        Err(error) => Protection::Unknown(error.to_string()),
    }
}

async fn is_gitadel(client: &Client) -> bool {
    let review = Api::<SelfSubjectReview>::all(client.clone());
    let answer = review.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let user = answer.ok().and_then(|review| review.status?.user_info?.username);
    user.is_some_and(|user| Who::user(&user) == Who::service_account(GITADEL_ACCOUNT.0, GITADEL_ACCOUNT.1))
}
