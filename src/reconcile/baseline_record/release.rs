//! What Git declares is no part of a baseline any more, and does not come back to it: when it leaves Git, it goes.

use std::collections::HashSet;
use std::sync::Arc;

use super::Recorder;
use crate::admission::own::baseline_of;
use crate::object::ObjectId;
use crate::reconcile::baseline::{Baseline, digests};
use crate::reconcile::baseline_state::BaselineState;
use crate::reconcile::publish::{Edit, PublishError};
use crate::snapshot::EntryClass;

impl Recorder<'_> {
    /// Takes out of a baseline what Git has declared. From then on the snapshot proves the shorter record. True where
    /// there was such an object: the Secrets do not say so yet.
    ///
    /// # Errors
    /// The snapshot cannot be written.
    pub async fn release(&self, enforcement: &str, state: &mut BaselineState) -> Result<bool, PublishError> {
        let BaselineState::Recorded(baseline) = state else { return Ok(false) };
        let world = self.workshop.publisher.world();
        let mut declared = HashSet::new();
        for id in baseline.objects.keys() {
            if world.entry(id.as_ref())?.is_some_and(|entry| entry.class() != EntryClass::Baseline) {
                declared.insert(id.clone());
            }
        }
        if declared.is_empty() {
            return Ok(false);
        }
        let rest = without(baseline, &declared);
        let proofs = digests(&rest.shards(enforcement));
        self.workshop
            .publisher
            .publish(|_, meta| {
                meta.baseline_shards.retain(|shard, _| baseline_of(shard) != Some(enforcement));
                meta.baseline_shards.extend(proofs);
                meta.doubted.retain(|id| !declared.contains(id));
                Some(Edit::default())
            })
            .await?;
        *state = BaselineState::Recorded(Arc::new(rest));
        Ok(true)
    }
}

fn without(baseline: &Baseline, ids: &HashSet<ObjectId>) -> Baseline {
    let rest = baseline.objects.iter().filter(|(id, _)| !ids.contains(id));
    Baseline { objects: rest.map(|(id, object)| (id.clone(), object.clone())).collect() }
}
