//! One batch of declared objects: made ready, which is prepared and published, and (on the leader) written.
//!
//! Most batches take one attempt. A prediction that was not admitted is asked about in a second one, and what had to be
//! deleted first is made in another.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, stream};

use super::prepare::{Failure, Outcome, Prepared};
use super::{PARALLEL, Round, RoundError, RoundReport};
use crate::object::ObjectId;
use crate::reconcile::converge::SERVED_LIMIT;
use crate::reconcile::desired::{Declaration, SourceProblem};
use crate::reconcile::environment::Environment;
use crate::reconcile::peers::Step;
use crate::reconcile::publish::Edit;
use crate::reconcile::queue::{Attempt, Cause, Live, Work};
use crate::reconcile::world::World;

/// Objects that the webhook serves as Git declares them now, with what is left to write.
pub(super) struct Ready<'o> {
    objects: HashMap<&'o ObjectId, &'o Declaration>,
    step: Step,
    /// Anything is new in the snapshot.
    pub changed: bool,
    /// The world whose states stay where no other can be found.
    before: Arc<World>,
    work: Vec<(ObjectId, Live)>,
    predicted: HashSet<ObjectId>,
    /// Objects, with their uids, that have to go before the declared ones can be made.
    obsolete: Vec<(ObjectId, String)>,
    /// What cannot be brought about; `true` where that may change soon.
    problems: Vec<(SourceProblem, bool)>,
}

impl<'o> Ready<'o> {
    fn these(&self, ids: Vec<ObjectId>) -> Vec<(ObjectId, Declaration)> {
        ids.into_iter().filter_map(|id| self.objects.get(&id).map(|d| (id.clone(), (*d).clone()))).collect()
    }
}

impl Round<'_> {
    /// Canonicalises some objects and publishes them.
    pub(super) async fn make_ready<'o>(
        &self,
        objects: &'o [(ObjectId, Declaration)],
        step: Step,
    ) -> Result<Ready<'o>, RoundError> {
        let ready = self.publish(objects, step, true, self.workshop.publisher.world()).await?;
        self.workshop.publisher.reached(step);
        Ok(ready)
    }

    /// Writes what differs of a batch that is ready. It takes further attempts where a prediction was not taken.
    pub(super) async fn write(&self, ready: Option<Ready<'_>>, report: &mut RoundReport) -> Result<(), RoundError> {
        let Some(mut ready) = ready else { return Ok(()) };
        let refused = self.attempt(&mut ready, report).await;
        let mut obsolete = std::mem::take(&mut ready.obsolete);
        if !refused.is_empty() {
            // Each was a prediction that its object did not bear out: the server is asked about these, and what cannot
            // be canonicalised keeps the state that it had before the prediction.
            let again = ready.these(refused);
            let mut asked = self.publish(&again, ready.step, false, Arc::clone(&ready.before)).await?;
            self.attempt(&mut asked, report).await;
            obsolete.append(&mut asked.obsolete);
        }
        if !obsolete.is_empty() {
            let gone = ready.these(self.remove_obsolete(obsolete, &ready.objects, ready.step, report).await);
            let mut anew = self.publish(&gone, ready.step, false, self.workshop.publisher.world()).await?;
            self.attempt(&mut anew, report).await;
        }
        Ok(())
    }

    async fn publish<'o>(
        &self,
        objects: &'o [(ObjectId, Declaration)],
        step: Step,
        may_predict: bool,
        before: Arc<World>,
    ) -> Result<Ready<'o>, RoundError> {
        let prepared = self.prepare_all(objects, &before, may_predict).await;
        let mut ready = Ready {
            objects: objects.iter().map(|(id, declaration)| (id, declaration)).collect(),
            step,
            changed: !prepared.is_empty(),
            before,
            work: Vec::new(),
            predicted: HashSet::new(),
            obsolete: Vec::new(),
            problems: Vec::new(),
        };
        if prepared.is_empty() {
            return Ok(ready);
        }
        if prepared.iter().any(|new| new.asked) {
            // A mutator that came meanwhile may be in the answers, also if it went again.
            let now = Environment::read(&self.workshop.client).await?;
            let mutator_changes = self.workshop.tracker.mutators.count();
            if now.digest != self.environment.digest || mutator_changes != self.mutator_changes {
                return Err(RoundError::EnvironmentChanged);
            }
        }
        let mut edit = Edit::default();
        for new in prepared {
            let id = &new.draft.id;
            ready.obsolete.extend(new.obsolete.clone().map(|uid| (id.clone(), uid)));
            if let Some(Failure { error, retry }) = &new.problem
                && let Some(declaration) = ready.objects.get(id)
            {
                let problem = self.problem(id, declaration, error.reason(), error.to_string());
                ready.problems.push((problem, *retry));
            }
            if new.predicted {
                ready.predicted.insert(id.clone());
            }
            if new.changed && new.draft.canonical.is_some() {
                if !ready.before.enforces(id.as_ref()) {
                    self.note_difference(&ready.before, &new);
                } else if self.leader {
                    ready.work.push((id.clone(), new.live));
                }
            }
            if let Some(secret) = new.secret {
                edit.secrets.insert(id.clone(), secret);
            }
            edit.put.push(new.draft);
        }
        let published = self.workshop.publisher.publish(|_, _| Some(edit)).await?;
        if !ready.work.is_empty() && !self.workshop.publisher.served(&published, SERVED_LIMIT).await {
            tracing::warn!("the webhook does not serve the new snapshot yet; its denials are retried");
        }
        Ok(ready)
    }

    async fn prepare_all(
        &self,
        objects: &[(ObjectId, Declaration)],
        before: &World,
        may_predict: bool,
    ) -> Vec<Prepared> {
        stream::iter(objects)
            .map(|(id, declaration)| self.prepare(before, id, declaration, may_predict))
            .buffer_unordered(PARALLEL)
            .filter_map(async |outcome| match outcome {
                Outcome::Kept => None,
                Outcome::New(new) => Some(*new),
            })
            .collect()
            .await
    }

    /// Writes once, reports what failed, and returns the objects of which the prediction was not taken.
    async fn attempt(&self, ready: &mut Ready<'_>, report: &mut RoundReport) -> Vec<ObjectId> {
        for (problem, retry) in ready.problems.drain(..) {
            report.retry |= retry;
            report.problems.push(problem);
        }
        let work = std::mem::take(&mut ready.work);
        if work.is_empty() {
            return Vec::new();
        }
        let mut refused = Vec::new();
        for (id, message) in self.apply(ready.step, work).await {
            if ready.predicted.contains(&id) {
                refused.push(id);
            } else if let Some(declaration) = ready.objects.get(&id) {
                report.retry = true;
                report.problems.push(self.problem(&id, declaration, "NotApplied", message));
            }
        }
        refused
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
    async fn apply(&self, step: Step, work: Vec<(ObjectId, Live)>) -> Vec<(ObjectId, String)> {
        self.workshop.peers.wait(&self.workshop.publisher.reached(step)).await;
        let since = Instant::now();
        stream::iter(work)
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
