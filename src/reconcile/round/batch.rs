//! One batch of declared objects: prepared, published, and (on the leader) written.
//!
//! Most batches take one attempt. A prediction that was not admitted is asked about in a second one, and what had to be
//! deleted first is made in another.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use futures::{StreamExt, stream};

use super::prepare::{Failure, Outcome, Prepared};
use super::{PARALLEL, Round, RoundError, RoundReport};
use crate::object::ObjectId;
use crate::reconcile::converge::SERVED_LIMIT;
use crate::reconcile::desired::Declaration;
use crate::reconcile::environment::Environment;
use crate::reconcile::publish::Edit;
use crate::reconcile::queue::{Attempt, Cause, Live, Work};
use crate::reconcile::world::World;

/// What came of an attempt.
#[derive(Default)]
struct Attempted {
    changed: bool,
    /// Predictions that were not admitted or not taken.
    refused: Vec<ObjectId>,
    /// Objects, with their uids, that have to go before the declared ones can be made.
    obsolete: Vec<(ObjectId, String)>,
}

impl Round<'_> {
    /// Canonicalises, publishes and applies some objects. True where anything changed.
    pub(super) async fn batch(
        &self,
        objects: &[(ObjectId, Declaration)],
        report: &mut RoundReport,
    ) -> Result<bool, RoundError> {
        let declarations: HashMap<&ObjectId, &Declaration> = objects.iter().map(|(id, d)| (id, d)).collect();
        let these = |ids: Vec<ObjectId>| -> Vec<(ObjectId, Declaration)> {
            ids.into_iter().filter_map(|id| declarations.get(&id).map(|d| (id.clone(), (*d).clone()))).collect()
        };
        let before = self.workshop.publisher.world();
        let mut attempted = self.attempt(objects, true, &before, report).await?;
        if !attempted.refused.is_empty() {
            // Each was a prediction that its object did not bear out: the server is asked about these, and what cannot
            // be canonicalised keeps the state that it had before the prediction.
            let again = these(std::mem::take(&mut attempted.refused));
            attempted.obsolete.extend(self.attempt(&again, false, &before, report).await?.obsolete);
        }
        if !attempted.obsolete.is_empty() {
            let gone = these(self.remove_obsolete(attempted.obsolete, &declarations, report).await);
            self.attempt(&gone, false, &self.workshop.publisher.world(), report).await?;
        }
        Ok(attempted.changed)
    }

    /// One attempt at some objects. `before` is the world whose states stay where no other can be found.
    async fn attempt(
        &self,
        objects: &[(ObjectId, Declaration)],
        may_predict: bool,
        before: &World,
        report: &mut RoundReport,
    ) -> Result<Attempted, RoundError> {
        let positions: HashMap<&ObjectId, &Declaration> = objects.iter().map(|(id, d)| (id, d)).collect();
        let mut prepared: Vec<Prepared> = Vec::new();
        {
            let mut outcomes = stream::iter(objects)
                .map(|(id, declaration)| self.prepare(before, id, declaration, may_predict))
                .buffer_unordered(PARALLEL);
            while let Some(outcome) = outcomes.next().await {
                if let Outcome::New(new) = outcome {
                    prepared.push(*new);
                }
            }
        }
        if prepared.is_empty() {
            return Ok(Attempted::default());
        }
        if prepared.iter().any(|new| new.asked) {
            // A mutator that came meanwhile may be in the answers.
            let now = Environment::read(&self.workshop.client).await?;
            if now.digest != self.environment.digest {
                return Err(RoundError::EnvironmentChanged);
            }
        }
        let mut work = Vec::new();
        let mut predicted = HashSet::new();
        let mut edit = Edit::default();
        let mut obsolete = Vec::new();
        for new in prepared {
            obsolete.extend(new.obsolete.clone().map(|uid| (new.draft.id.clone(), uid)));
            if let Some(Failure { error, retry }) = &new.problem
                && let Some(declaration) = positions.get(&new.draft.id)
            {
                report.retry |= *retry;
                report.problems.push(self.problem(&new.draft.id, declaration, error.reason(), error.to_string()));
            }
            if new.predicted {
                predicted.insert(new.draft.id.clone());
            }
            if new.changed && new.draft.canonical.is_some() {
                if before.enforces(new.draft.id.as_ref()) {
                    work.push((new.draft.id.clone(), new.live));
                } else {
                    self.note_difference(before, &new);
                }
            }
            if let Some(secret) = new.secret {
                edit.secrets.insert(new.draft.id.clone(), secret);
            }
            edit.put.push(new.draft);
        }
        let published = self.workshop.publisher.publish(|_, _| Some(edit)).await?;
        if !self.leader || work.is_empty() {
            return Ok(Attempted { changed: true, obsolete, ..Attempted::default() });
        }
        let failed = self.apply(&published, work).await;
        let (refused, failed): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(id, _)| predicted.contains(id));
        for (id, message) in failed {
            if let Some(declaration) = positions.get(&id) {
                report.retry = true;
                report.problems.push(self.problem(&id, declaration, "NotApplied", message));
            }
        }
        let refused = refused.into_iter().map(|(id, _)| id).collect();
        Ok(Attempted { changed: true, refused, obsolete })
    }

    /// Where Git is only compared with the cluster, a difference is all that comes of it.
    fn note_difference(&self, world: &World, new: &Prepared) {
        let id = &new.draft.id;
        if self.workshop.tracker.drifted(id) {
            let cause = if matches!(new.live, Live::Absent) { "absent" } else { "changed" };
            let enforcement = world.enforcement_of(id.as_ref());
            self.workshop.metrics.drift_detected.with_label_values(&[enforcement, cause]).inc();
            tracing::info!(object = %id, cause, "differs from Git");
        }
    }

    /// Writes objects, and returns those that were not taken.
    async fn apply(&self, world: &World, work: Vec<(ObjectId, Live)>) -> Vec<(ObjectId, String)> {
        if !self.workshop.publisher.served(world, SERVED_LIMIT).await {
            tracing::warn!("the webhook does not serve the new snapshot yet; its denials are retried");
        }
        self.workshop.peers.wait(&self.workshop.publisher.reached(self.step)).await;
        let since = Instant::now();
        stream::iter(work)
            .filter(|(id, _)| std::future::ready(world.enforces(id.as_ref())))
            .map(|(id, live)| async {
                let work = Work { id: id.clone(), live, cause: Cause::Commit, since };
                (id, self.queue.attempt(work).await)
            })
            .buffer_unordered(PARALLEL)
            .filter_map(async |(id, attempt)| match attempt {
                Attempt::Done => None,
                Attempt::Failed(message) => Some((id, message)),
            })
            .collect()
            .await
    }
}
