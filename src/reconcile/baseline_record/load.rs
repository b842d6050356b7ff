//! Reads a record back, and believes what can be proven.
//!
//! The snapshot on the Pod's own volume has the digest of every shard. What the cluster holds is the record where the
//! digests agree. Where they do not, or where it is gone, it is put together again from what is intact of it and what the
//! snapshot holds, and the same digests prove the result. A process that lost its volume has nothing to compare with:
//! what it believes then, `doubt` limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::api::ListParams;
use serde_json::Value;

use super::{RecordError, Recorder};
use crate::admission::own::baseline_of;
use crate::compare::mask_secret;
use crate::document::{Document, Node};
use crate::object::ObjectId;
use crate::reconcile::baseline::{Baseline, BaselineError, Digests, digest, rebuilt, recorded};
use crate::reconcile::baseline_state::BaselineState;
use crate::reconcile::publish::PublishError;
use crate::reconcile::world::{World, is_secret};
use crate::reconcile::{inventory_record, rest};
use crate::snapshot::{EntryClass, Meta};

impl Recorder<'_> {
    /// Reads the record of an Enforcement, unless it is known.
    ///
    /// # Errors
    /// It is damaged, or cannot be read. Then the state says that nothing is known.
    pub async fn load(&self, enforcement: &str, state: &mut BaselineState) -> Result<(), RecordError> {
        if state.is_recorded() {
            return Ok(());
        }
        let record = match self.read(enforcement).await {
            Ok(record) => record,
            Err(error) => {
                *state = BaselineState::Unknown;
                return Err(error);
            }
        };
        match record {
            Some(baseline) => {
                if matches!(state, BaselineState::Frozen) {
                    // What this replica saw gives way to what the leader recorded.
                    self.enter(enforcement, &baseline, Vec::new()).await?;
                }
                *state = BaselineState::Recorded(Arc::new(baseline));
            }
            None if state.is_closed() => {}
            None => *state = BaselineState::Missing,
        }
        Ok(())
    }

    async fn read(&self, enforcement: &str) -> Result<Option<Baseline>, RecordError> {
        let world = self.workshop.publisher.world();
        let known = known_digests(world.snapshot.meta(), enforcement);
        let shards = self.shards(enforcement).await?;
        if !known.is_empty() {
            return self.proven(enforcement, &world, &known, shards).await.map(Some);
        }
        if shards.is_empty() && self.had_one(enforcement, &world).await? {
            let what =
                "the Secrets are gone, and the inventory (ConfigMaps with the label gitadel.dev/inventory-of) says \
                that they were there"
                    .to_owned();
            return Err(BaselineError::Damaged { enforcement: enforcement.to_owned(), what }.into());
        }
        Ok(Baseline::read(enforcement, &shards)?)
    }

    /// The Secrets of a record, found by their names: a label is taken away without a trace.
    pub(super) async fn shards(&self, enforcement: &str) -> Result<Vec<Value>, RecordError> {
        let api = self.secrets();
        let mut shards = Vec::new();
        for secret in api.list_metadata(&ListParams::default()).await?.items {
            let name = secret.metadata.name.unwrap_or_default();
            if baseline_of(&name) == Some(enforcement)
                && let Some(shard) = api.get_opt(&name).await?
            {
                shards.push(serde_json::to_value(shard)?);
            }
        }
        Ok(shards)
    }

    /// The baseline that this replica's snapshot knows by its digests.
    async fn proven(
        &self,
        enforcement: &str,
        world: &World,
        known: &Digests,
        mut shards: Vec<Value>,
    ) -> Result<Baseline, RecordError> {
        let found = shards.len();
        shards.retain(|shard| known.get(rest::metadata(shard, "name")) == Some(&digest(shard)));
        let part = Baseline::of_shards(enforcement, &shards)?;
        if shards.len() == known.len() {
            return Ok(part);
        }
        let altered = found - shards.len();
        let what = format!(
            "of {} Secrets {} are as they were recorded, and {altered} are altered; the last snapshot does not hold the rest",
            known.len(),
            shards.len()
        );
        let remembered = self.remembered(enforcement, world).await?;
        match rebuilt(enforcement, known, part, remembered.into_iter()) {
            Some(baseline) => {
                tracing::warn!(
                    enforcement,
                    altered,
                    "the record of its baseline was altered or deleted; the snapshot's counts"
                );
                Ok(baseline)
            }
            None => Err(BaselineError::Damaged { enforcement: enforcement.to_owned(), what }.into()),
        }
    }

    /// The objects of a baseline that the snapshot holds. Of a Secret it holds hashes: its values are the live ones where
    /// they have these hashes.
    async fn remembered(&self, enforcement: &str, world: &World) -> Result<Vec<(ObjectId, Value)>, RecordError> {
        let sources = &world.snapshot.meta().sources;
        let Some(index) = sources.iter().position(|source| source.name == enforcement) else { return Ok(Vec::new()) };
        let mut remembered = Vec::new();
        for entry in world.snapshot.iter() {
            let entry = entry?;
            let of_baseline = entry.class() == EntryClass::Baseline && entry.source() == Some(index);
            let Some(canonical) = entry.canonical().filter(|_| of_baseline) else { continue };
            let id = entry.id().to_owned();
            let object = match world.writable(&entry) {
                None if is_secret(id.as_ref()) => self.secret_as_hashed(world, &id, canonical).await?,
                object => object,
            };
            remembered.extend(object.map(|object| (id, object)));
        }
        Ok(remembered)
    }

    /// A live Secret, where it is the one of which the snapshot has the hashes.
    async fn secret_as_hashed(
        &self,
        world: &World,
        id: &ObjectId,
        hashed: Node<'_>,
    ) -> Result<Option<Value>, RecordError> {
        // A process that just began knows the kinds by its snapshot only.
        let mut kinds = world.snapshot.meta().kinds.iter();
        let Some(kind) = kinds.find(|kind| kind.group == id.kind.group && kind.kind == id.kind.kind) else {
            return Ok(None);
        };
        let live = rest::get(&self.workshop.client, kind, &id.namespace, &id.name).await?;
        let live = live.map(|live| recorded(&live, kind));
        Ok(live.filter(|live| mask_secret(Document::from_value(live).root(), &world.mask_key).root() == hashed))
    }

    /// Whether there must have been a record: the inventory is written only after it. That counts where this process does
    /// not know better from its snapshot.
    async fn had_one(&self, enforcement: &str, world: &World) -> Result<bool, RecordError> {
        let meta = world.snapshot.meta();
        let is_known = meta.sources.iter().any(|source| source.name == enforcement);
        if is_known && !meta.sealed.contains(enforcement) {
            return Ok(false);
        }
        Ok(inventory_record::read(self.workshop, enforcement).await?.lines().next().is_some())
    }

    /// Forgets that there was a record: where nothing is enforced, it may be made anew when enforcement begins.
    ///
    /// # Errors
    /// The snapshot cannot be written.
    pub async fn disown(&self, enforcement: &str) -> Result<(), PublishError> {
        let disowned = self.workshop.publisher.publish(|_, meta| {
            let before = meta.baseline_shards.len();
            meta.baseline_shards.retain(|shard, _| baseline_of(shard) != Some(enforcement));
            (meta.baseline_shards.len() != before).then(Default::default)
        });
        disowned.await.map(drop)
    }
}

fn known_digests(meta: &Meta, enforcement: &str) -> Digests {
    let shards = meta.baseline_shards.iter().filter(|(shard, _)| baseline_of(shard) == Some(enforcement));
    shards.map(|(shard, digest)| (shard.clone(), digest.clone())).collect::<BTreeMap<_, _>>()
}
