//! The moment from which on Git is the only way in.

use std::time::Instant;

use crate::api::ConditionType;
use crate::demo::report::took;
use crate::demo::story::{Stage, StoryError, holds};

pub async fn begin(stage: &mut Stage) -> Result<(), StoryError> {
    let start = Instant::now();
    stage.pair.wait_until_healthy().await?;
    let status = stage
        .status("the webhook judges every write", |status| {
            holds(status, ConditionType::Enforcing) && holds(status, ConditionType::Converged)
        })
        .await?;
    let baseline = status.objects.unwrap_or_default().baseline;
    stage.report.met(&format!("enforcing after {}", took(start.elapsed())));
    stage.report.say(
        "This Enforcement governs the whole cluster apart from the namespaces kube-system, kube-public and \
         kube-node-lease: every other namespace, default included, and cluster-scoped objects (RBAC, CRDs, \
         namespaces, …). Webhook configurations and admission policies are seen and restored, since Kubernetes \
         asks nobody about them.",
    );
    stage.report.say(&format!(
        "What was there before and is not in Git is the baseline: {baseline} objects (bootstrap RBAC, APIServices, \
         priority classes, gitadel's own, …). They are frozen as they are, and are no drift."
    ));
    Ok(())
}
