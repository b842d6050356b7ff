//! Takes objects away, and what keeps them from going.

use std::sync::atomic::Ordering;

use serde_json::Value;

use super::{ConvergeError, Workshop};
use crate::admission::own::is_canary;
use crate::document::Document;
use crate::reconcile::apply;
use crate::reconcile::deletion::{DeletionBudget, Urgency};
use crate::reconcile::finalizers;
use crate::reconcile::going::Hold;
use crate::reconcile::queue::{Cause, Work};
use crate::reconcile::rest;
use crate::reconcile::tracker::Standing;
use crate::reconcile::world::World;
use crate::snapshot::KindInfo;

pub(super) const UNDECLARED: &str = "it is not declared in Git";

impl Workshop {
    /// Lets an object go that is being deleted.
    pub(super) async fn release(
        &self,
        world: &World,
        kind: &KindInfo,
        work: &Work,
        live: &Value,
        hold: &Hold,
    ) -> Result<(), ConvergeError> {
        if !world.enforces(work.id.as_ref()) {
            return Ok(());
        }
        if self.recording.load(Ordering::SeqCst) {
            return Err(ConvergeError::BaselineNotRecorded);
        }
        if !hold.finalizers.is_empty() || hold.grace.is_some() {
            let Hold { finalizers, grace, .. } = hold;
            tracing::warn!(object = %work.id, ?finalizers, grace, "kept from being deleted past admission: let go");
        }
        self.let_go(kind, work, live, hold).await?;
        if hold.contents {
            self.empty(world, &work.id.name).await?;
            // What is in it goes bit by bit.
            return Err(ConvergeError::Terminating);
        }
        Ok(())
    }

    /// Takes away what keeps an object from going.
    pub(super) async fn let_go(
        &self,
        kind: &KindInfo,
        work: &Work,
        live: &Value,
        hold: &Hold,
    ) -> Result<(), ConvergeError> {
        let (at, uid) = ((work.id.namespace.as_str(), work.id.name.as_str()), rest::metadata(live, "uid"));
        if hold.grace.is_some() {
            apply::delete(&self.client, kind, at, uid, hold.grace).await?;
        }
        if !hold.finalizers.is_empty() {
            finalizers::take_away(&self.client, kind, at, uid, &hold.finalizers).await?;
        }
        Ok(())
    }

    pub(super) async fn delete(
        &self,
        world: &World,
        kind: &KindInfo,
        work: &Work,
        live: &Value,
        why: &str,
    ) -> Result<(), ConvergeError> {
        let uid = rest::metadata(live, "uid");
        if !world.enforces(work.id.as_ref()) {
            return Ok(());
        }
        if self.recording.load(Ordering::SeqCst) {
            return Err(ConvergeError::BaselineNotRecorded);
        }
        if !matches!(work.cause, Cause::Prune | Cause::Obstacle) && self.unsettled.holds(&work.id) {
            return Err(ConvergeError::NotSettled);
        }
        // A prune was counted against the guard as a whole, before it began.
        let counted = work.cause != Cause::Prune && !is_canary(work.id.as_ref());
        if counted && DeletionBudget::holds(&work.id.kind) && !self.intruded(world, work, live) {
            let limit = self.deletions.limit(world, &work.id);
            if !self.deletions.take(limit, Urgency::of(&work.id.kind)) {
                return Err(ConvergeError::DeletionGuard(limit));
            }
        }
        self.deletions.let_go(&work.id);
        let at = (work.id.namespace.as_str(), work.id.name.as_str());
        apply::delete(&self.client, kind, at, uid, None).await?;
        // Nothing is brought about before an obstacle is gone, whenever it came.
        let must_go = work.cause == Cause::Obstacle || self.tracker.standing(&work.id) == Standing::Intruder;
        if must_go && !world.leaves_finalizers(work.id.as_ref(), Document::from_value(live).root()) {
            finalizers::take_away(&self.client, kind, at, uid, &finalizers::foreign(kind, live)).await?;
        }
        self.tracker.converged(&work.id);
        if work.cause == Cause::Prune {
            self.metrics.pruned.with_label_values(&[world.enforcement_of(work.id.as_ref())]).inc();
            tracing::info!(object = %work.id, "pruned: it left Git");
        } else if counted {
            let took = work.since.elapsed();
            self.count_revert(world, &work.id, took);
            tracing::warn!(object = %work.id, milliseconds = took.as_millis() as u64, why, "undeclared object removed");
            self.events.undeclared_removed(&work.id, kind, why, took);
        }
        Ok(())
    }

    /// Whether nothing but a way round admission can have brought an object: it appeared in a closed world, before this
    /// process's eyes, and was never declared or left to anybody. No commit by mistake makes such objects, however many.
    fn intruded(&self, world: &World, work: &Work, live: &Value) -> bool {
        self.tracker.standing(&work.id) == Standing::Intruder
            && world.came_after_closing(work.id.as_ref(), Document::from_value(live).root())
    }
}
