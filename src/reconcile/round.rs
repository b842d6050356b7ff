//! One round: from what the sources declare to a published snapshot and a cluster that matches it.
//!
//! The steps of a stage are always the same: establish the canonical objects, publish them, and (on the leader) write
//! what differs. A stage begins when the one before is done, since a dry-run needs the Namespace and the kind. Batches
//! bound the memory: one is written while the next is made ready, and no more whole objects than these are held.

mod batch;
mod counts;
mod mutators;
mod prepare;
mod recall;
mod recreation;
mod retirement;
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use self::batch::Ready;
pub use self::counts::Counts;
use super::canonicaliser::Canonicaliser;
use super::converge::Workshop;
use super::desired::{Contribution, Declaration, Desired, SourceProblem, Stage, resolve};
use super::environment::{Environment, MutatorActive};
use super::kinds::Kinds;
use super::openapi::ListSchemas;
use super::peers::Step;
use super::publish::{Edit, PublishError};
use super::queue::Queue;
use super::sources::SourceState;
use crate::api::Problem;
use crate::object::{GroupKind, ObjectId};
use crate::snapshot::Source;

/// Objects whose content is held at once.
const BATCH: usize = 500;
/// Requests under way at once. More gain nothing: the API server is the limit.
const PARALLEL: usize = 16;

/// A source that takes part in a round.
#[derive(Clone)]
pub struct Participant {
    pub source: Source,
    /// `None` where Git was not read since this process began: then its entries stay as they are.
    pub state: Option<Arc<SourceState>>,
    pub prune: bool,
    /// The inventory may name objects that this process does not know.
    pub recall: bool,
    /// It was in force before this process knew all that it holds.
    pub sealed: bool,
    /// What it declares is what is known to this process.
    pub certain: bool,
}

/// The names of those of which not everything is known yet.
pub fn sealed(participants: &[Participant]) -> BTreeSet<String> {
    participants.iter().filter(|p| p.sealed).map(|p| p.source.name.clone()).collect()
}

#[derive(Debug, Default)]
pub struct RoundReport {
    pub problems: Vec<SourceProblem>,
    /// By source.
    pub counts: Vec<Counts>,
    /// Something was not possible yet and may be soon.
    pub retry: bool,
    /// The API server may serve other kinds now.
    pub kinds_changed: bool,
    /// Objects in the inventory of which nothing could be found out yet.
    pub undecided: BTreeSet<ObjectId>,
    /// Kinds of which objects may be there that followed from one that was pruned.
    pub bereft: BTreeSet<GroupKind>,
    /// Sources whose inventory could not be looked through.
    pub not_recalled: BTreeSet<usize>,
}

#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Environment(#[from] super::environment::EnvironmentError),
    #[error(transparent)]
    MutatorActive(#[from] MutatorActive),
    #[error(transparent)]
    Kinds(#[from] super::kinds::KindsError),
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::SnapshotError),
    #[error("what defaults depend on (mutators, limit ranges, classes) changed meanwhile; the round begins anew")]
    EnvironmentChanged,
}

pub struct Round<'a> {
    pub workshop: &'a Workshop,
    pub queue: &'a Queue,
    pub canonicaliser: &'a Canonicaliser,
    pub schemas: &'a Mutex<ListSchemas>,
    pub participants: &'a [Participant],
    pub kinds: Arc<Kinds>,
    pub environment: Environment,
    /// How often mutators had changed before.
    pub mutator_changes: u64,
    pub leader: bool,
}

impl Round<'_> {
    /// # Errors
    /// What stops the round as a whole. What was published stays.
    pub async fn run(mut self) -> Result<RoundReport, RoundError> {
        let mut desired = self.resolve();
        self.check_mutators(&desired)?;
        self.canonicaliser.enter(&self.environment);
        self.publish_sources().await?;
        let mut report = RoundReport::default();
        // The others hear of the commit now, and look at it while this replica asks about its objects.
        self.workshop.publisher.reached(Step::default());
        for (stage_index, stage) in Stage::ALL.into_iter().enumerate() {
            let mut objects: Vec<(ObjectId, Declaration)> = desired
                .objects
                .iter()
                .filter(|(_, declaration)| declaration.stage == stage)
                .map(|(id, declaration)| (id.clone(), declaration.clone()))
                .collect();
            // By file, so that each is read once.
            objects.sort_by(|(_, a), (_, b)| (a.source, &a.file, a.index).cmp(&(b.source, &b.file, b.index)));
            let changed = self.bring_about(stage_index, &objects, &mut report).await?;
            if stage == Stage::Namespaces && changed && !self.leader {
                self.created(&objects).await;
            }
            if stage == Stage::Definitions && (changed || desired.unknown_kinds) {
                if changed {
                    self.established(&objects).await;
                }
                let rendered = self.participants.iter().filter_map(|participant| participant.state.as_ref());
                let declared = rendered.flat_map(|state| state.rendered.manifests());
                let declared = declared.map(|(_, _, summary)| (summary.id.kind.clone(), summary.version.clone()));
                self.kinds = Arc::new(self.kinds.refreshed(&self.workshop.client, self.schemas, declared).await?);
                desired = self.resolve();
                self.publish_sources().await?;
                report.kinds_changed = true;
            }
        }
        for state in self.participants.iter().filter_map(|participant| participant.state.as_ref()) {
            state.rest().await;
        }
        report.retry |= desired.unknown_kinds;
        self.recall(&desired, &mut report).await?;
        self.retire(&desired, &mut report).await?;
        self.workshop.publisher.reached(Step::FINISHED);
        report.counts = counts::count(&desired, self.participants.len(), &report.problems);
        report.problems.append(&mut desired.problems);
        Ok(report)
    }

    /// Makes the objects of a stage what Git declares. True where anything changed.
    async fn bring_about(
        &self,
        stage: usize,
        objects: &[(ObjectId, Declaration)],
        report: &mut RoundReport,
    ) -> Result<bool, RoundError> {
        let mut changed = false;
        let mut ready: Option<Ready<'_>> = None;
        for (index, batch) in objects.chunks(BATCH).enumerate() {
            let next = self.make_ready(batch, Step::after(stage, index));
            let (written, next) = tokio::join!(self.write(ready.take(), report), next);
            let next = next?;
            changed |= next.changed;
            ready = Some(next);
            if written.is_err() {
                // The next round takes for done what the snapshot holds: what is in it is written first.
                self.write(ready.take(), report).await?;
            }
            written?;
        }
        self.write(ready, report).await?;
        Ok(changed)
    }

    fn resolve(&self) -> Desired {
        let contributions: Vec<Contribution<'_>> = self
            .participants
            .iter()
            .map(|participant| Contribution {
                source: &participant.source,
                rendered: participant.state.as_ref().map(|state| &state.rendered),
            })
            .collect();
        resolve(&contributions, &self.kinds)
    }

    /// Makes sources and kinds known to the webhook. The objects follow batch by batch.
    async fn publish_sources(&self) -> Result<(), RoundError> {
        let kinds = Arc::clone(&self.kinds);
        let sources: Vec<Source> = self.participants.iter().map(|p| p.source.clone()).collect();
        let sealed = sealed(self.participants);
        let environment = self.environment.digest.clone();
        let has_mutators = !self.environment.is_predictable();
        self.workshop
            .publisher
            .publish(move |_, meta| {
                (meta.sources, meta.sealed) = (sources, sealed);
                meta.kinds = kinds.all().map(|kind| kind.info.clone()).collect();
                (meta.environment, meta.has_mutators) = (environment, has_mutators);
                Some(Edit { kinds: Some(kinds), ..Edit::default() })
            })
            .await?;
        Ok(())
    }

    fn problem(&self, id: &ObjectId, declaration: &Declaration, reason: &str, message: String) -> SourceProblem {
        SourceProblem {
            source: declaration.source,
            problem: Problem {
                reason: reason.into(),
                object: Some(id.to_string()),
                position: Some(declaration.position()),
                commit: Some(self.participants[declaration.source].source.commit.clone()),
                message,
            },
        }
    }
}
