//! A round with what surrounds it: who takes part and with which kinds before it; the webhook's scope, baselines, the
//! inventory and the watches after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::baselines;
use super::coverage::Coverage;
use super::enforcements::Enforcements;
use super::found::Found;
use super::known::{Known, LastRound};
use super::participants::{is_sealed, participants, remembered, used_kinds};
use super::report::{Overall, report};
use crate::api::Problem;
use crate::reconcile::baseline_record::RecordError;
use crate::reconcile::canonicaliser::Canonicaliser;
use crate::reconcile::converge::Workshop;
use crate::reconcile::environment::{Environment, EnvironmentError};
use crate::reconcile::governor::Governor;
use crate::reconcile::inventory_record;
use crate::reconcile::kinds::{Kinds, KindsError};
use crate::reconcile::mutators::Restless;
use crate::reconcile::openapi::ListSchemas;
use crate::reconcile::peers::Step;
use crate::reconcile::publish::{Edit, PublishError};
use crate::reconcile::queue::Queue;
use crate::reconcile::round::{Participant, Round, RoundError, RoundReport, sealed};
use crate::reconcile::webhook_configuration::Extent;
use crate::reconcile::world::World;
use crate::snapshot::{Meta, Source};

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
    #[error(transparent)]
    Restless(#[from] Restless),
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
    found: Found,
    kinds: Option<Arc<Kinds>>,
    /// The API server may serve others.
    kinds_due: bool,
    records: Records,
    /// Since when there are kinds that the watches have not listed.
    unlisted_since: Option<Instant>,
}

/// Whether the records of the baselines were looked at since one last changed.
#[derive(Default)]
struct Records {
    were_read: bool,
    were_restored: bool,
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
        let found = Found::by_an_earlier_process(&workshop.publisher.world());
        Self {
            found,
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
            records: Records::default(),
            unlisted_since: None,
        }
    }

    /// The next round looks at the records of the baselines, and puts them back where it leads. True where an earlier one
    /// did so.
    pub fn records_changed(&mut self) -> bool {
        std::mem::take(&mut self.records).were_read
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
        // Before the kinds: those of a baseline are registered as well. Replicas that disagree on what is registered would
        // rewrite the webhook configuration in turns.
        self.records.were_read = true;
        let mut left_undone = baselines::load(&workshop, &mut enforcements.known).await;
        let mut participants = participants(enforcements, &world);
        let kinds = self.kinds(enforcements, &participants).await?;
        let leader = *self.leader.borrow();
        self.keep_watch(&mut enforcements.known, &participants, &kinds).await?;
        left_undone |= baselines::settle_doubts(&workshop, &kinds, &mut enforcements.known).await?;
        let mutators = &workshop.tracker.mutators;
        stop.run_until_cancelled(mutators.obeyed()).await.ok_or(CycleError::Stopped)??;
        let mutator_changes = mutators.count();
        let environment = Environment::read(&workshop.client).await?;
        let round = Round {
            workshop: &workshop,
            queue: &self.queue,
            canonicaliser: &self.canonicaliser,
            schemas: &self.schemas,
            participants: &participants,
            kinds,
            environment,
            mutator_changes,
            leader,
        };
        // Wherever a round ends, the next process goes on.
        let done = stop.run_until_cancelled(round.run()).await.ok_or(CycleError::Stopped)??;
        let kinds = Arc::clone(&workshop.publisher.world().kinds);
        self.kinds = Some(Arc::clone(&kinds));
        self.kinds_due |= !kinds.complete || (done.kinds_changed && done.retry);
        settle(&workshop, enforcements, &participants, &done);
        let is_whole = self.unseal(enforcements).await? && participants.iter().all(|p| p.state.is_some());
        let extent = if is_whole { Extent::Whole } else { Extent::Governed };
        self.governor.desire(&workshop.publisher.world(), extent);
        baselines::release(&workshop, &kinds, &mut enforcements.known).await?;
        left_undone |= baselines::take_down(&workshop, &mut enforcements.known, &mut participants, leader).await;
        if leader {
            // What follows is for the next commit and the next process; nobody has to wait for it.
            stop.run_until_cancelled(self.report(enforcements)).await;
            let known = &mut enforcements.known;
            left_undone |= baselines::record(&workshop, &self.governor, known, &mut participants, stop).await;
            let progress = workshop.publisher.reached(Step::FINISHED);
            stop.run_until_cancelled(workshop.peers.wait(&progress)).await.ok_or(CycleError::Stopped)?;
            if !self.records.were_restored || known.values().any(|known| known.record_outdated) {
                let failed = baselines::restore(&workshop, &kinds, known).await;
                self.records.were_restored = !failed && known.values().all(Known::has_baseline);
                left_undone |= failed;
            }
            left_undone |= write_inventories(&workshop, enforcements, &participants, &done).await;
        }
        if let Err(error) = self.found.take_over(&workshop, &kinds).await {
            tracing::warn!(%error, "Pods of a rollout that was under way cannot be replaced yet");
            left_undone = true;
        }
        // Nothing undeclared is removed before that: what this process does not know yet, another may just have applied.
        workshop.unsettled.replace(enforcements.not_current());
        self.coverage.look_again(&done.bereft);
        self.coverage.cover(&participants, &kinds, &workshop.publisher.world().snapshot.meta().sealed);
        self.ready.send_replace(true);
        Ok(left_undone || done.retry || !kinds.complete)
    }

    /// Sees to it that what is in force stays in force, whatever may keep the round from coming to its end.
    async fn keep_watch(
        &mut self,
        known: &mut BTreeMap<String, Known>,
        participants: &[Participant],
        kinds: &Arc<Kinds>,
    ) -> Result<(), CycleError> {
        let publisher = &self.workshop.publisher;
        baselines::publish(&self.workshop, kinds, known, participants).await?;
        baselines::release(&self.workshop, kinds, known).await?;
        publisher.publish(|world, meta| outline(world, meta, participants, kinds)).await?;
        // Where nothing was in force, what Git declares comes first: the webhook may not run yet.
        if participants.iter().any(|p| p.source.baseline_recorded || p.sealed) {
            self.governor.desire(&publisher.world(), Extent::Governed);
        }
        if self.coverage.is_new() {
            self.coverage.hold();
            // Watched before the round, what exists is known without asking for each object. Where the world is closed
            // and nothing is known of it, what is declared would be taken for undeclared.
            if publisher.is_released() || !participants.iter().any(|p| p.source.baseline_recorded) {
                self.coverage.cover(participants, kinds, &publisher.world().snapshot.meta().sealed);
            }
        }
        Ok(())
    }

    /// Opens what is known in full now, and gives the webhook its first snapshot. True where everything is known.
    ///
    /// A source that cannot be read holds up the webhook only as long as another replica's answers in its place.
    async fn unseal(&self, enforcements: &Enforcements) -> Result<bool, PublishError> {
        let publisher = &self.workshop.publisher;
        let unsealed = |world: &World, meta: &mut Meta| {
            let is_sealed = |name: &String| enforcements.known.get(name).is_some_and(|known| is_sealed(known, world));
            meta.sealed.retain(is_sealed);
            (meta.sealed != world.snapshot.meta().sealed).then(Edit::default)
        };
        let is_whole = publisher.publish(unsealed).await?.snapshot.meta().sealed.is_empty();
        if is_whole || (enforcements.all_looked() && !self.workshop.peers.any_serves()) {
            publisher.release().await?;
            publisher.reached(Step::FINISHED);
        }
        Ok(is_whole)
    }

    /// What an earlier process left in force stays so until this one knows more.
    pub fn remember(&self) {
        let world = self.workshop.publisher.world();
        if self.workshop.publisher.is_released() && !world.snapshot.meta().sources.is_empty() {
            self.governor.desire(&world, Extent::Remembered);
        }
    }

    /// Watches by what an earlier process left, where the Enforcements cannot be listed: their definition may be gone.
    ///
    /// # Errors
    /// The API server does not answer, or the snapshot cannot be written.
    pub async fn resume(&mut self, enforcements: &mut Enforcements) -> Result<(), CycleError> {
        let world = self.workshop.publisher.world();
        if !self.coverage.is_new() || !self.workshop.publisher.is_released() {
            return Ok(());
        }
        let participants: Vec<_> = world.snapshot.meta().sources.iter().map(|s| remembered(s, &world)).collect();
        let kinds = self.kinds(enforcements, &participants).await?;
        self.keep_watch(&mut enforcements.known, &participants, &kinds).await
    }

    /// Writes what changed in the status of the Enforcements, on the leader.
    pub async fn report(&mut self, enforcements: &mut Enforcements) {
        if !*self.leader.borrow() {
            return;
        }
        let world = self.workshop.publisher.world();
        let unlisted = self.coverage.unlisted(world.snapshot.meta());
        let now = Instant::now();
        self.unlisted_since = (!unlisted.is_empty()).then(|| self.unlisted_since.unwrap_or(now));
        let unlisted_for = self.unlisted_since.map_or(Duration::ZERO, |since| now - since);
        let overall = Overall { force: self.governor.force(), unlisted, unlisted_for };
        report(&self.workshop, enforcements, &overall).await;
    }

    /// There is nothing to enforce, and the webhook beside is to be ready for when there is.
    async fn idle(&mut self) -> Result<(), PublishError> {
        let publisher = &self.workshop.publisher;
        if publisher.world().snapshot.meta().generation == 0 {
            publisher.publish(|_, _| Some(Edit::default())).await?;
        }
        publisher.release().await?;
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
        let fits = |kinds: &Kinds| used.iter().all(|(kind, version)| kinds.covers(kind, version));
        let kinds = match &self.kinds {
            Some(kinds) if !self.kinds_due && fits(kinds) => Arc::clone(kinds),
            _ => Arc::new(Kinds::read(&self.workshop.client, &self.schemas, &used).await?),
        };
        self.kinds_due = false;
        self.kinds = Some(Arc::clone(&kinds));
        Ok(kinds)
    }
}

/// What a new process has to know before a round: the kinds, and who governs. Commits become known with their objects.
fn outline(world: &World, meta: &mut Meta, participants: &[Participant], kinds: &Arc<Kinds>) -> Option<Edit> {
    let earlier = &world.snapshot.meta().sources;
    let commit_as_before = |participant: &Participant| {
        let source = participant.source.clone();
        match earlier.iter().find(|earlier| earlier.name == source.name).cloned() {
            Some(Source { commit, subject, reference, .. }) => Source { commit, subject, reference, ..source },
            None => Source { commit: String::new(), subject: String::new(), ..source },
        }
    };
    let (sources, sealed) = (participants.iter().map(commit_as_before).collect(), sealed(participants));
    if meta.sources == sources && meta.sealed == sealed && Arc::ptr_eq(&world.kinds, kinds) {
        return None;
    }
    (meta.sources, meta.sealed) = (sources, sealed);
    meta.kinds = kinds.all().map(|kind| kind.info.clone()).collect();
    Some(Edit { kinds: Some(Arc::clone(kinds)), ..Edit::default() })
}

fn settle(workshop: &Workshop, enforcements: &mut Enforcements, participants: &[Participant], report: &RoundReport) {
    for (index, participant) in participants.iter().enumerate().filter(|(_, participant)| participant.state.is_some()) {
        let (name, commit) = (participant.source.name.as_str(), participant.source.commit.as_str());
        let Some(known) = enforcements.known.get_mut(name) else { continue };
        workshop.metrics.set_commit(name, known.round.commit.as_deref(), commit);
        known.round = LastRound {
            commit: Some(commit.to_owned()),
            is_fresh: true,
            counts: report.counts.get(index).copied().unwrap_or_default(),
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
        let name = participant.source.name.as_str();
        let has_baseline = enforcements.known.get(name).is_some_and(Known::has_baseline);
        // Of a line that was not looked at, nobody knows whether it may go. And whoever finds an inventory concludes from
        // it that there was a record of the baseline.
        if done.not_recalled.contains(&index) || !has_baseline {
            continue;
        }
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
