//! A round with what surrounds it: who takes part and with which kinds before it; the webhook's scope, baselines, the
//! inventory and the watches after it.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::baselines;
use super::coverage::Coverage;
use super::enforcements::Enforcements;
use super::known::LastRound;
use super::participants::{participants, used_kinds};
use super::report::{Overall, report};
use crate::api::Problem;
use crate::reconcile::baseline_record::RecordError;
use crate::reconcile::canonicaliser::Canonicaliser;
use crate::reconcile::converge::Workshop;
use crate::reconcile::environment::{Environment, EnvironmentError};
use crate::reconcile::governor::Governor;
use crate::reconcile::inventory_record;
use crate::reconcile::kinds::{Kinds, KindsError};
use crate::reconcile::openapi::ListSchemas;
use crate::reconcile::peers::Step;
use crate::reconcile::publish::{Edit, PublishError};
use crate::reconcile::queue::Queue;
use crate::reconcile::round::{Participant, Round, RoundError, RoundReport};

#[derive(Debug, thiserror::Error)]
pub enum CycleError {
    #[error(transparent)]
    Round(#[from] RoundError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Kinds(#[from] KindsError),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    #[error(transparent)]
    Baseline(#[from] RecordError),
    #[error("gitadel is stopping")]
    Stopped,
}

/// What a round needs, and what one leaves for the next.
pub struct Cycle {
    governor: Governor,
    pub coverage: Coverage,
    workshop: Arc<Workshop>,
    queue: Queue,
    leader: watch::Receiver<bool>,
    ready: watch::Sender<bool>,
    canonicaliser: Canonicaliser,
    schemas: Mutex<ListSchemas>,
    kinds: Option<Arc<Kinds>>,
    /// The API server may serve others.
    kinds_due: bool,
}

impl Cycle {
    pub fn new(
        workshop: Arc<Workshop>,
        queue: Queue,
        governor: Governor,
        coverage: Coverage,
        leader: watch::Receiver<bool>,
        ready: watch::Sender<bool>,
    ) -> Self {
        Self {
            workshop,
            queue,
            governor,
            coverage,
            leader,
            ready,
            canonicaliser: Canonicaliser::default(),
            schemas: Mutex::default(),
            kinds: None,
            kinds_due: true,
        }
    }

    /// The next round asks the API server what it serves.
    pub fn kinds_changed(&mut self) {
        self.kinds_due = true;
    }

    /// One round. True where something is left to do that time may bring.
    ///
    /// # Errors
    /// What stops the round as a whole. What was published stays.
    pub async fn run(&mut self, enforcements: &mut Enforcements, stop: &CancellationToken) -> Result<bool, CycleError> {
        let workshop = Arc::clone(&self.workshop);
        let world = workshop.publisher.world();
        if enforcements.known.is_empty() && world.snapshot.meta().sources.is_empty() {
            self.idle().await?;
            return Ok(false);
        }
        let known = &mut enforcements.known;
        let mut participants = participants(known.values(), &world);
        // Before the kinds: those of a baseline are registered as well. Replicas that disagree on what is registered would
        // rewrite the webhook configuration in turns.
        let mut left_undone = baselines::load(&workshop, known, &mut participants).await;
        let kinds = self.kinds(enforcements, &participants).await?;
        let known = &mut enforcements.known;
        let leader = *self.leader.borrow();
        baselines::publish(&workshop, &kinds, known, &participants).await?;
        let environment = Environment::read(&workshop.client).await?;
        if self.coverage.is_new() {
            self.coverage.hold();
            // Watched before the round, what exists is known without asking for each object. Where the world is closed
            // already, what is declared must be known first, or it would be taken for undeclared.
            if !participants.iter().any(|participant| participant.source.baseline_recorded) {
                self.coverage.cover(&participants, &kinds);
            }
        }
        let round = Round {
            workshop: &workshop,
            queue: &self.queue,
            canonicaliser: &self.canonicaliser,
            schemas: &self.schemas,
            participants: &participants,
            kinds,
            environment,
            leader,
        };
        // Wherever a round ends, the next process goes on.
        let done = stop.run_until_cancelled(round.run()).await.ok_or(CycleError::Stopped)??;
        if baselines::are_whole(&workshop, known).await {
            workshop.publisher.release().await?;
            workshop.publisher.reached(Step::FINISHED);
        }
        let kinds = Arc::clone(&workshop.publisher.world().kinds);
        self.kinds = Some(Arc::clone(&kinds));
        self.kinds_due |= !kinds.complete || (done.kinds_changed && done.retry);
        settle(&workshop, enforcements, &participants, &done);
        self.governor.desire(&workshop.publisher.world());
        if leader {
            // What follows is for the next commit and the next process; nobody has to wait for it.
            stop.run_until_cancelled(self.report(enforcements)).await;
            let known = &mut enforcements.known;
            left_undone |= baselines::record(&workshop, &self.governor, known, &mut participants, stop).await;
            let progress = workshop.publisher.reached(Step::FINISHED);
            stop.run_until_cancelled(workshop.peers.wait(&progress)).await.ok_or(CycleError::Stopped)?;
            left_undone |= write_inventories(&workshop, enforcements, &participants, &done).await;
        } else {
            left_undone |= baselines::freeze(&workshop, &mut enforcements.known, &mut participants).await;
        }
        // Nothing undeclared is removed before that: what this process does not know yet, another may just have applied.
        workshop.unsettled.replace(enforcements.not_current());
        self.coverage.cover(&participants, &kinds);
        self.ready.send_replace(true);
        Ok(left_undone || done.retry || !kinds.complete)
    }

    /// Writes what changed in the status of the Enforcements, on the leader.
    pub async fn report(&self, enforcements: &mut Enforcements) {
        if !*self.leader.borrow() {
            return;
        }
        let world = self.workshop.publisher.world();
        let unlisted = self.coverage.unlisted(world.snapshot.meta());
        let overall = Overall { enforcing: self.governor.is_enforcing(), unlisted };
        report(&self.workshop, enforcements, &overall).await;
    }

    /// There is nothing to enforce, and the webhook beside is to be ready for when there is.
    async fn idle(&mut self) -> Result<(), PublishError> {
        let publisher = &self.workshop.publisher;
        if publisher.world().snapshot.meta().generation == 0 {
            publisher.publish(|_, _| Some(Edit::default())).await?;
            publisher.release().await?;
        }
        self.ready.send_replace(true);
        Ok(())
    }

    /// The kinds that the API server serves, asked anew only where that may be others than before.
    async fn kinds(
        &mut self,
        enforcements: &Enforcements,
        participants: &[Participant],
    ) -> Result<Arc<Kinds>, KindsError> {
        let baselines = enforcements.known.values().map(|known| &known.baseline);
        let used = used_kinds(participants, baselines, &self.workshop.publisher.world());
        let fits = |kinds: &Kinds| {
            used.iter()
                .all(|(kind, version)| kinds.info(kind).is_none_or(|info| info.registered && info.version == *version))
        };
        let kinds = match &self.kinds {
            Some(kinds) if !self.kinds_due && fits(kinds) => Arc::clone(kinds),
            _ => Arc::new(Kinds::read(&self.workshop.client, &self.schemas, used.into_iter()).await?),
        };
        self.kinds_due = false;
        self.kinds = Some(Arc::clone(&kinds));
        Ok(kinds)
    }
}

fn settle(workshop: &Workshop, enforcements: &mut Enforcements, participants: &[Participant], report: &RoundReport) {
    for (index, participant) in participants.iter().enumerate().filter(|(_, participant)| participant.state.is_some()) {
        let (name, commit) = (participant.source.name.as_str(), participant.source.commit.as_str());
        let Some(known) = enforcements.known.get_mut(name) else { continue };
        workshop.metrics.set_commit(name, known.round.commit.as_deref(), commit);
        known.round = LastRound {
            commit: Some(commit.to_owned()),
            is_fresh: true,
            declared: report.declared.get(index).copied().unwrap_or_default(),
            problems: report.problems.iter().filter(|p| p.source == index).map(|p| p.problem.clone()).collect(),
            recalled: report.undecided.is_empty() && !report.not_recalled.contains(&index),
        };
    }
}

/// Brings the inventories up to date. True where one could not be: that is a problem of its Enforcement alone.
async fn write_inventories(
    workshop: &Workshop,
    enforcements: &mut Enforcements,
    participants: &[Participant],
    done: &RoundReport,
) -> bool {
    let mut failed = false;
    for (index, participant) in participants.iter().enumerate() {
        // Of a line that was not looked at, nobody knows whether it may go.
        if done.not_recalled.contains(&index) {
            continue;
        }
        let name = participant.source.name.as_str();
        let written = inventory_record::write(workshop, index, participant, &done.undecided).await;
        let Some(known) = enforcements.known.get_mut(name) else { continue };
        known.inventory_problem = written.err().map(|error| {
            tracing::warn!(enforcement = name, %error, "its inventory is not up to date");
            failed = true;
            Problem::of_enforcement("InventoryNotWritten", error)
        });
    }
    failed
}

/// A round could not be ended: every Enforcement has that problem.
pub fn failed(workshop: &Workshop, enforcements: &mut Enforcements, error: &CycleError) {
    tracing::error!(%error, "this round failed; what was published before stays enforced");
    workshop.metrics.api_errors.with_label_values(&["round"]).inc();
    let problem = Problem::of_enforcement("RoundFailed", error);
    for known in enforcements.known.values_mut() {
        known.round.problems = vec![problem.clone()];
    }
}
