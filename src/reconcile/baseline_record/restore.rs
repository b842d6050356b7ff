//! Makes the Secrets of a record what it says: they were deleted or altered by a way round admission, or something left it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams, Preconditions};

use super::{RecordError, Recorder};
use crate::object::GroupKind;
use crate::reconcile::baseline::Baseline;
use crate::reconcile::finalizers;
use crate::reconcile::refusal::Refusal;
use crate::reconcile::rest::metadata;

impl Recorder<'_> {
    /// Makes the Secrets of a record what they were. True where one was not.
    ///
    /// # Errors
    /// The API server does not answer, or the webhook does not know the record yet. The next round tries again.
    pub async fn restore(&self, enforcement: &str, baseline: &Baseline) -> Result<bool, RecordError> {
        let api = self.secrets();
        let shards = baseline.shards(enforcement);
        let names: BTreeSet<&str> = shards.iter().map(|shard| metadata(shard, "name")).collect();
        let mut restored = false;
        for surplus in self.shards(enforcement).await? {
            let name = metadata(&surplus, "name");
            if !names.contains(name) {
                api.delete(name, &DeleteParams::default()).await?;
                restored = true;
            }
        }
        for shard in &shards {
            let mut wanted: Secret = serde_json::from_value(shard.clone())?;
            let name = wanted.metadata.name.clone().unwrap_or_default();
            let live = api.get_opt(&name).await?;
            if live.as_ref().is_some_and(|live| is_same(live, &wanted)) {
                continue;
            }
            match live {
                Some(live) if live.metadata.deletion_timestamp.is_some() => {
                    let kind = self.kinds.info(&GroupKind::new("", "Secret")).ok_or(Refusal::KindAbsent)?;
                    finalizers::take_all(&self.workshop.client, kind, &serde_json::to_value(&live)?).await?;
                    api.create(&PostParams::default(), &wanted).await?;
                }
                // What is immutable is as it was recorded: what is about it can be written.
                Some(live) if content(&live) == content(&wanted) => {
                    wanted.metadata.resource_version = live.metadata.resource_version;
                    api.replace(&name, &PostParams::default(), &wanted).await?;
                }
                Some(live) => {
                    let only = Preconditions { uid: live.metadata.uid, resource_version: None };
                    api.delete(&name, &DeleteParams { preconditions: Some(only), ..DeleteParams::default() }).await?;
                    api.create(&PostParams::default(), &wanted).await?;
                }
                None => _ = api.create(&PostParams::default(), &wanted).await?,
            }
            restored = true;
        }
        Ok(restored)
    }

    /// Takes a record away that counts no longer.
    ///
    /// # Errors
    /// The API server does not answer, or a webhook does not know it yet. The next round tries again.
    pub async fn discard(&self, enforcement: &str) -> Result<(), RecordError> {
        for shard in self.shards(enforcement).await? {
            self.secrets().delete(metadata(&shard, "name"), &DeleteParams::default()).await?;
            tracing::info!(enforcement, "the record of its baseline is taken away: nothing is enforced");
        }
        Ok(())
    }
}

fn content(secret: &Secret) -> impl PartialEq + '_ {
    (&secret.data, &secret.type_, secret.immutable)
}

fn is_same(live: &Secret, wanted: &Secret) -> bool {
    let (a, b) = (&live.metadata, &wanted.metadata);
    content(live) == content(wanted)
        && (&a.labels, &a.annotations) == (&b.labels, &b.annotations)
        && a.finalizers.is_none()
        && a.owner_references.is_none()
}
