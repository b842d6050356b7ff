//! gitadel itself: how it runs, and who else has its token.

use k8s_openapi::api::apps::v1::Deployment;

use super::cluster::{Cluster, PodFacts, TokenSecret};
use super::finding::{Finding, Severity, Subject, Who, some_of};
use super::governance::Governance;
use super::rbac::{self, GITADEL_ACCOUNT, name};
use super::surroundings::{KUBE_SYSTEM, Surroundings};
use crate::reconcile::webhook_configuration::NAME;

const DEPLOYMENT: &str = "Deployment gitadel-system/gitadel";

pub fn findings(cluster: &Cluster, surroundings: &Surroundings<'_>) -> Vec<Finding> {
    let mut findings = deployment(cluster, &surroundings.governance);
    let strangers = cluster.pods.iter().filter(|pod| pod.has_gitadel_token() && !pod.is_gitadel());
    findings.extend(strangers.map(stranger));
    findings.extend(tokens(&cluster.token_secrets, surroundings));
    findings
}

fn deployment(cluster: &Cluster, governance: &Governance<'_>) -> Vec<Finding> {
    let Some(deployments) = cluster.deployments.as_deref() else { return Vec::new() };
    let Some(deployment) = deployments.iter().find(|deployment| name(&deployment.metadata) == NAME) else {
        if !governance.enforces_anything() {
            return Vec::new();
        }
        let finding = if asks_service(cluster) {
            Finding::new("GA-SYS-001", Severity::High, "gitadel's Deployment is missing")
                .why("Nothing restores what is changed past admission, and writes in the scope are refused.")
                .fix("Install gitadel again: docs/operations.md.")
        } else {
            Finding::new("GA-SYS-002", Severity::Info, "gitadel runs outside of what can be seen")
                .why(
                    "The webhook is reached by a URL, as a static Pod on the control plane is. How many there are, and from which \
                     image, is not known here.",
                )
                .fix("See to it on the hosts of the control plane.")
        };
        return vec![finding.object(DEPLOYMENT)];
    };
    let mut findings = Vec::new();
    let replicas = deployment.spec.replicas.unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
    if replicas.min(ready) < 2 {
        findings.push(
            Finding::new("GA-SYS-003", Severity::Medium, format!("{ready} of {replicas} replicas of gitadel are ready"))
                .object(DEPLOYMENT)
                .why(
                    "With fewer than two, the end of one Pod stops every write in the scope: a reason for somebody to delete the \
                     webhook configuration.",
                )
                .fix("Run two or more, on different nodes: kubectl -n gitadel-system scale deployment gitadel --replicas=2"),
        );
    }
    let images = images(deployment).into_iter().filter(|image| !image.contains("@sha256:"));
    let images: Vec<_> = images.collect();
    if !images.is_empty() {
        findings.push(
            Finding::new("GA-SYS-004", Severity::Medium, "gitadel's image is named by a tag")
                .object(DEPLOYMENT)
                .why(format!(
                    "Whoever may push to the registry, or has a node pull another image of that name, replaces gitadel: {}.",
                    some_of(images, 3)
                ))
                .fix("Name the image by digest: image: registry.example/gitadel@sha256:…"),
        );
    }
    findings
}

fn asks_service(cluster: &Cluster) -> bool {
    let configurations = cluster.validating.iter().flatten();
    let own = configurations.filter(|configuration| name(&configuration.metadata) == NAME);
    own.flat_map(|configuration| configuration.webhooks.iter().flatten())
        .any(|entry| entry.client_config.service.is_some())
}

fn images(deployment: &Deployment) -> Vec<String> {
    let spec = deployment.spec.template.spec.as_ref();
    let containers =
        spec.into_iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let mut images: Vec<_> = containers.filter_map(|container| container.image.clone()).collect();
    images.sort();
    images.dedup();
    images
}

fn stranger(pod: &PodFacts) -> Finding {
    let object = format!("Pod {}/{}", pod.namespace, pod.name);
    let account = Who::service_account(&pod.namespace, &pod.service_account);
    Finding::new("GA-SYS-005", Severity::Critical, format!("{object} has gitadel's token and is not gitadel"))
        .subjects([Subject { through: Some(pod.workload()), ..Subject::new(account) }])
        .why("The token reads everything and deletes gitadel's webhook configuration.")
        .fix(format!("Delete {}, and find out who made it.", pod.workload()))
        .object(object)
}

fn tokens(secrets: &[TokenSecret], surroundings: &Surroundings<'_>) -> Vec<Finding> {
    let (mut findings, mut harmless) = (Vec::new(), Vec::new());
    for secret in secrets {
        let account = Who::service_account(&secret.namespace, &secret.account);
        let is_own = (secret.namespace.as_str(), secret.account.as_str()) == GITADEL_ACCOUNT;
        let worth = match rbac::worth(&secret.namespace, &secret.account, surroundings) {
            _ if is_own => Severity::Critical,
            // What a controller may do is bounded by its role, and most is judged.
            worth if secret.namespace == KUBE_SYSTEM => worth.max(Severity::Medium),
            worth => worth,
        };
        if worth == Severity::Low {
            harmless.push(format!("{}/{}", secret.namespace, secret.name));
            continue;
        }
        let object = format!("Secret {}/{}", secret.namespace, secret.name);
        findings.push(
            Finding::new("GA-SYS-006", worth, format!("{object} holds a token of {account} that never expires"))
                .subjects([Subject::new(account)])
                .why("Whoever reads it once, from a backup too, is this account for as long as the Secret is there.")
                .fix(format!(
                    "kubectl -n {} delete secret {}; use kubectl create token, or a projected volume.",
                    secret.namespace, secret.name
                ))
                .object(object),
        );
    }
    if !harmless.is_empty() {
        let title = format!("{} tokens never expire, of accounts without such rights", harmless.len());
        findings.push(
            Finding::new("GA-SYS-007", Severity::Info, title)
                .object(format!("Secret {}", some_of(harmless, 8)))
                .why("They are as good as their accounts, which may get more rights one day.")
                .fix("Delete those that nobody uses."),
        );
    }
    findings
}

#[cfg(test)]
mod tests;
