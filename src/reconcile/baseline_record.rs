//! Records the baseline and reads it back.
//!
//! To leave no gap between looking and enforcing, what is there is published first as a provisional baseline, a canary
//! proves that undeclared writes are rejected, and only then the cluster is listed for the record: nothing undeclared can
//! appear between that list and the enforcement of it. No undeclared object is removed before the record is stored.

mod doubt;
mod load;
mod release;
mod restore;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::apply::ApplyError;
use super::baseline::{Baseline, BaselineError, digests};
use super::baseline_state::BaselineState;
use super::converge::{SERVED_LIMIT, Workshop};
use super::governor::Governor;
use super::inventory_record::InventoryError;
use super::kinds::Kinds;
use super::observed::{Observed, api_resource};
use super::peers::Step;
use super::publish::{Edit, PublishError};
use super::refusal::Refusal;
use super::round::{Participant, sealed};
use super::watch::is_watched;
use super::webhook_configuration::CanaryError;
use crate::admission::own::{BASELINE_LABEL, is_canary, is_installation};
use crate::admission::{classify_by_relation, classify_object};
use crate::api::{Action, SYSTEM_NAMESPACE};
use crate::document::Document;
use crate::object::ObjectId;
use crate::snapshot::{EntryClass, Source};

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the objects that are there already cannot be listed or recorded: {0}")]
    Api(#[from] Refusal),
    #[error("the baseline is not recorded before the webhook is proven: {0}")]
    Canary(#[from] CanaryError),
    #[error("a record that is being deleted is kept from going: {0}")]
    Kept(#[from] ApplyError),
    #[error("the record cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::SnapshotError),
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    #[error("gitadel is stopping; the next process records it")]
    Stopped,
}

impl From<kube::Error> for RecordError {
    fn from(error: kube::Error) -> Self {
        Refusal::from(error).into()
    }
}

pub struct Recorder<'a> {
    workshop: &'a Workshop,
    kinds: &'a Kinds,
}

impl<'a> Recorder<'a> {
    pub fn new(workshop: &'a Workshop, kinds: &'a Kinds) -> Self {
        Self { workshop, kinds }
    }

    /// Takes what is there for the baseline, until the leader has recorded it.
    ///
    /// # Errors
    /// The cluster cannot be listed, or the snapshot not be written.
    pub async fn freeze(&self, enforcement: &str, state: &mut BaselineState) -> Result<(), RecordError> {
        let provisional = self.list(enforcement).await?;
        self.enter(enforcement, &provisional, Vec::new()).await?;
        *state = BaselineState::Frozen;
        Ok(())
    }

    /// Takes what has no record out of the snapshot: it was only observed, or not recorded to its end, and must not become
    /// what is enforced.
    ///
    /// # Errors
    /// The snapshot cannot be written.
    pub async fn forget(&self, enforcement: &str) -> Result<(), PublishError> {
        let forgotten = self.workshop.publisher.publish(|world, meta| {
            let index = meta.sources.iter().position(|source| source.name == enforcement)?;
            let of_baseline = world.snapshot.iter().flatten();
            let of_baseline = of_baseline.filter(|e| e.class() == EntryClass::Baseline && e.source() == Some(index));
            let remove: HashSet<ObjectId> = of_baseline.map(|entry| entry.id().to_owned()).collect();
            (!remove.is_empty()).then(|| Edit { remove, ..Edit::default() })
        });
        forgotten.await.map(drop)
    }

    /// Takes what is there for the baseline of a scope in which nothing is enforced.
    ///
    /// # Errors
    /// The cluster cannot be listed, or the snapshot not be written.
    pub async fn observe(&self, enforcement: &str, state: &mut BaselineState) -> Result<(), RecordError> {
        let there = self.list(enforcement).await?;
        self.enter(enforcement, &there, Vec::new()).await?;
        *state = BaselineState::Observed(there.len());
        Ok(())
    }

    /// Puts recorded baselines into the snapshot, where they are not there yet.
    ///
    /// # Errors
    /// The snapshot cannot be written.
    pub async fn publish<'b>(
        &self,
        participants: &[Participant],
        state: impl Fn(&Source) -> Option<&'b BaselineState>,
    ) -> Result<(), RecordError> {
        let baselines: Vec<(String, Arc<Baseline>)> = participants
            .iter()
            .filter_map(|participant| match state(&participant.source) {
                Some(BaselineState::Recorded(baseline)) => {
                    Some((participant.source.name.clone(), Arc::clone(baseline)))
                }
                _ => None,
            })
            .collect();
        if baselines.is_empty() {
            return Ok(());
        }
        let sources: Vec<Source> = participants.iter().map(|participant| participant.source.clone()).collect();
        let sealed = sealed(participants);
        self.workshop
            .publisher
            .publish(move |world, meta| {
                let mut edit = Edit::default();
                for (name, baseline) in &baselines {
                    let index = sources.iter().position(|source| source.name == *name)?;
                    let proofs = digests(&baseline.shards(name));
                    let is_proven =
                        proofs.iter().all(|(shard, digest)| meta.baseline_shards.get(shard) == Some(digest));
                    meta.baseline_shards.extend(proofs);
                    if !is_proven {
                        meta.doubted.extend(baseline.objects.keys().cloned());
                    }
                    for (draft, secret) in baseline.entries(index, &world.mask_key) {
                        let known = world.snapshot.get(draft.id.as_ref()).ok().flatten();
                        let values_known = secret.is_none() || world.secrets.contains_key(&draft.id);
                        let declared = known.as_ref().is_some_and(|entry| entry.class() != EntryClass::Baseline);
                        let forgotten = is_proven && known.is_none() && meta.doubted.contains(&draft.id);
                        if declared || forgotten || (known.is_some() && values_known) {
                            continue;
                        }
                        edit.secrets.extend(secret.map(|secret| (draft.id.clone(), secret)));
                        edit.put.push(draft);
                    }
                }
                let known = world.snapshot.meta();
                if edit.put.is_empty()
                    && known.sources.len() == sources.len()
                    && known.baseline_shards == meta.baseline_shards
                {
                    return None;
                }
                (meta.sources, meta.sealed) = (sources, sealed);
                Some(edit)
            })
            .await?;
        Ok(())
    }

    /// Records the baseline: see the module.
    ///
    /// # Errors
    /// Nothing is recorded and nothing undeclared is removed; the next round tries again.
    pub async fn record(
        &self,
        enforcement: &str,
        state: &mut BaselineState,
        governor: &Governor,
        stop: &CancellationToken,
    ) -> Result<(), RecordError> {
        self.workshop.recording.store(true, Ordering::SeqCst);
        if matches!(state, BaselineState::Frozen) {
            // It is this replica now that leads and records. Where it cannot, nobody says that the world is closed.
            *state = BaselineState::Missing;
        }
        let frozen = stop.run_until_cancelled(self.list_while_frozen(enforcement, governor)).await;
        // From here on it goes on to its end: a record of which a part is missing counts as damaged.
        let recorded = match frozen.unwrap_or(Err(RecordError::Stopped)) {
            Ok((baseline, shards)) => self.store(enforcement, state, baseline, shards).await,
            Err(error) => Err(error),
        };
        self.workshop.recording.store(false, Ordering::SeqCst);
        recorded
    }

    /// What is there when nothing undeclared is let in any more, and the Secrets that will hold it.
    async fn list_while_frozen(
        &self,
        enforcement: &str,
        governor: &Governor,
    ) -> Result<(Baseline, Vec<Value>), RecordError> {
        let provisional = self.list(enforcement).await?;
        let world = self.enter(enforcement, &provisional, Vec::new()).await?;
        self.workshop.publisher.served(&world, SERVED_LIMIT).await;
        self.workshop.peers.wait(&self.workshop.publisher.reached(Step::FINISHED)).await;
        governor.refresh(&world);
        if governor.prove_closed(enforcement).await?.is_none() {
            tracing::info!(
                enforcement,
                "there is no place in the scope yet to try whether undeclared objects are rejected"
            );
        }
        let mut baseline = self.list(enforcement).await?;
        // What was there a moment ago and went is part of nothing.
        baseline.objects.retain(|_, object| !object.is_null());
        let shards = baseline.shards(enforcement);
        let world = self.enter(enforcement, &baseline, shards.clone()).await?;
        self.workshop.publisher.served(&world, SERVED_LIMIT).await;
        Ok((baseline, shards))
    }

    async fn store(
        &self,
        enforcement: &str,
        state: &mut BaselineState,
        baseline: Baseline,
        shards: Vec<Value>,
    ) -> Result<(), RecordError> {
        let api = self.secrets();
        for shard in shards {
            let secret: Secret = serde_json::from_value(shard)?;
            api.create(&PostParams::default(), &secret).await?;
        }
        tracing::info!(enforcement, objects = baseline.objects.len(), "baseline recorded");
        *state = BaselineState::Recorded(Arc::new(baseline));
        Ok(())
    }

    /// Publishes a baseline as what is desired, and the scope as closed.
    async fn enter(
        &self,
        enforcement: &str,
        baseline: &Baseline,
        shards: Vec<Value>,
    ) -> Result<Arc<super::world::World>, PublishError> {
        self.workshop
            .publisher
            .publish(move |world, meta| {
                let index = meta.sources.iter().position(|source| source.name == enforcement)?;
                let source = meta.sources.get_mut(index)?;
                source.baseline_recorded = true;
                // Replicas that look at different moments would not agree on what they only observe.
                let enforced = source.action == Action::Enforce;
                for kind in meta.kinds.iter_mut().filter(|_| enforced) {
                    kind.registered |=
                        baseline.objects.keys().any(|id| id.kind.group == kind.group && id.kind.kind == kind.kind);
                }
                meta.baseline_shards.extend(digests(&shards));
                let mut edit = Edit::default();
                for entry in world.snapshot.iter().flatten() {
                    if entry.class() == EntryClass::Baseline && entry.source() == Some(index) {
                        edit.remove.insert(entry.id().to_owned());
                    }
                }
                for (draft, secret) in baseline.entries(index, &world.mask_key) {
                    // What another one enforces stays as that one has recorded it.
                    let known = world.snapshot.get(draft.id.as_ref()).ok().flatten();
                    let owner = known.filter(|entry| entry.class() == EntryClass::Baseline).and_then(|e| e.source());
                    let enforces = |other: usize| meta.sources.get(other).is_some_and(|s| s.action == Action::Enforce);
                    if owner.is_some_and(|owner| owner != index && enforces(owner)) {
                        continue;
                    }
                    edit.remove.remove(&draft.id);
                    edit.secrets.extend(secret.map(|secret| (draft.id.clone(), secret)));
                    edit.put.push(draft);
                }
                Some(edit)
            })
            .await
    }

    /// Everything in the scope that Git does not declare and that is nobody's child or product.
    async fn list(&self, enforcement: &str) -> Result<Baseline, RecordError> {
        let world = self.workshop.publisher.world();
        let Some(source) = world.snapshot.meta().sources.iter().find(|source| source.name == enforcement) else {
            return Ok(Baseline::default());
        };
        let kinds: Vec<_> = self
            .kinds
            .iter()
            .filter(|kind| is_watched(kind) && kind.is_stored())
            .filter(|kind| {
                kind.info.namespaced
                    || kind.info.kind == "Namespace"
                    || source.governs_cluster_kind(&kind.info.group, &kind.info.kind)
            })
            .collect();
        let lists: Vec<_> = stream::iter(kinds)
            .map(|kind| async move {
                let api: Api<Observed> = Api::all_with(self.workshop.client.clone(), &api_resource(&kind.info));
                api.list(&ListParams::default()).await.map(|list| (kind, list.items))
            })
            .buffer_unordered(8)
            .try_collect()
            .await?;
        let mut baseline = Baseline::default();
        for (kind, objects) in lists {
            for object in objects {
                let id = object.id(&kind.info);
                // A canary that got through a moment ago must not be frozen with what was there.
                if is_canary(id.as_ref()) || !source.governs(&id.kind.group, &id.kind.kind, &id.namespace, &id.name) {
                    continue;
                }
                let provisional = matches!(world.entry(id.as_ref())?, Some(e) if e.class() == EntryClass::Baseline);
                let value = object.into_value(&kind.info);
                if !value["metadata"]["deletionTimestamp"].is_null() {
                    continue;
                }
                // The first look takes everything in, since it knows nobody's owner. What is the child of something that is
                // there must not be frozen with it: a Pod comes and goes.
                let classify = if provisional { classify_by_relation } else { classify_object };
                let class = classify(&world.snapshot, &kind.info, Document::from_value(&value).root())?;
                if class.is_recordable() || is_installation(id.as_ref()) {
                    baseline.add(id, &value, &kind.info);
                }
            }
        }
        Ok(baseline)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.workshop.client.clone(), SYSTEM_NAMESPACE)
    }
}

/// Tells when a record appears, changes or goes.
pub fn watch(client: Client) -> impl Stream<Item = Result<Event<PartialObjectMeta<Secret>>, watcher::Error>> + Send {
    let records = watcher::Config::default().labels(BASELINE_LABEL);
    watcher::watcher(Api::namespaced(client, SYSTEM_NAMESPACE), records).default_backoff()
}
