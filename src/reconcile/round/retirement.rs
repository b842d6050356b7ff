//! What left Git: pruned, or kept and frozen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures::{StreamExt, stream};

use super::{PARALLEL, Participant, Round, RoundError, RoundReport};
use crate::admission::followers;
use crate::api::Problem;
use crate::object::ObjectId;
use crate::reconcile::converge::SERVED_LIMIT;
use crate::reconcile::desired::{Desired, SourceProblem, Stage};
use crate::reconcile::peers::Step;
use crate::reconcile::publish::Edit;
use crate::reconcile::queue::{Attempt, Cause, Live, Work};
use crate::reconcile::retention::{may_be_pruned, retained};
use crate::reconcile::world::World;
use crate::snapshot::EntryClass;

/// The objects of one source that are in the snapshot and not in Git.
#[derive(Default)]
struct Departed {
    /// Since this round.
    now: Vec<ObjectId>,
    /// Kept in an earlier round: forbidden to prune, or held back by the guard.
    before: Vec<ObjectId>,
}

impl Round<'_> {
    /// Prunes what left Git, or keeps it where it may not be pruned. What the guard held back is looked at each time:
    /// the limit may have been raised.
    pub(super) async fn retire(&self, desired: &Desired, report: &mut RoundReport) -> Result<(), RoundError> {
        let world = self.workshop.publisher.world();
        let mut edit = Edit::default();
        let (mut prune, mut kept) = (Vec::<ObjectId>::new(), Vec::<ObjectId>::new());
        for (source, departed) in self.departed(desired, &mut edit)? {
            let Some(participant) = self.participants.get(source).filter(|p| p.state.is_some()) else { continue };
            let prunable = |id: &ObjectId| participant.prune && may_be_pruned(&world, id);
            let count = departed.now.iter().chain(&departed.before).filter(|id| prunable(id)).count();
            let held_back = count > participant.source.deletion_guard as usize;
            if held_back {
                report.problems.push(SourceProblem { source, problem: guard_problem(participant, count) });
            }
            let (go, stay): (Vec<_>, Vec<_>) = departed.now.into_iter().partition(|id| !held_back && prunable(id));
            for id in stay {
                edit.put.extend(retained(&world, &id)?);
                kept.push(id);
            }
            prune.extend(go);
            prune.extend(departed.before.into_iter().filter(|id| !held_back && prunable(id)));
        }
        edit.remove.extend(prune.iter().cloned());
        if edit.put.is_empty() && edit.remove.is_empty() {
            return Ok(());
        }
        let published = self.workshop.publisher.publish(|_, _| Some(edit)).await?;
        report.bereft.extend(prune.iter().flat_map(|id| followers(&id.kind)));
        if self.leader && !prune.is_empty() {
            self.workshop.publisher.served(&published, SERVED_LIMIT).await;
            self.workshop.peers.wait(&self.workshop.publisher.reached(Step::FINISHED)).await;
            self.keep_what_stayed(&world, self.prune(prune).await, report).await?;
        }
        if self.leader {
            // Of one that this process learned of only now, the watch has seen an object that nobody knew.
            let since = Instant::now();
            for id in kept {
                self.queue.push(Work { id, live: Live::Unknown, cause: Cause::Drift, since });
            }
        }
        Ok(())
    }

    /// By source. What was kept and is gone meanwhile leaves the snapshot by `edit`.
    fn departed(&self, desired: &Desired, edit: &mut Edit) -> Result<BTreeMap<usize, Departed>, RoundError> {
        let world = self.workshop.publisher.world();
        let mut departed: BTreeMap<usize, Departed> = BTreeMap::new();
        for entry in world.snapshot.iter() {
            let entry = entry?;
            let Some(source) = entry.source().filter(|_| entry.class() != EntryClass::Baseline) else { continue };
            let id = entry.id().to_owned();
            if desired.still_holds(source, &id) {
                continue;
            }
            let of_source = departed.entry(source).or_default();
            match entry.class() {
                EntryClass::Retained if self.workshop.tracker.exists(&id) == Some(false) => _ = edit.remove.insert(id),
                EntryClass::Retained => of_source.before.push(id),
                _ => of_source.now.push(id),
            }
        }
        Ok(departed)
    }

    /// In the reverse of the order of creation: what is in a Namespace goes before it.
    /// Returns what could not be deleted, and why.
    async fn prune(&self, ids: Vec<ObjectId>) -> Vec<(ObjectId, String)> {
        let mut failed = Vec::new();
        let mut stages: BTreeMap<Stage, BTreeSet<ObjectId>> = BTreeMap::new();
        for id in ids {
            stages.entry(Stage::of(&id.kind)).or_default().insert(id);
        }
        for (_, ids) in stages.into_iter().rev() {
            let since = Instant::now();
            let mut attempts = stream::iter(ids)
                .map(async |id: ObjectId| {
                    let work = Work { id: id.clone(), live: Live::Unknown, cause: Cause::Prune, since };
                    (id, self.queue.attempt(work).await)
                })
                .buffer_unordered(PARALLEL);
            while let Some((id, attempt)) = attempts.next().await {
                if let Attempt::Failed(message) = attempt {
                    failed.push((id, message));
                }
            }
        }
        failed
    }

    /// What could not be pruned is kept as it was `before`, and tried again in the next round.
    async fn keep_what_stayed(
        &self,
        before: &World,
        failed: Vec<(ObjectId, String)>,
        report: &mut RoundReport,
    ) -> Result<(), RoundError> {
        let mut edit = Edit::default();
        for (id, message) in failed {
            let Some(draft) = retained(before, &id)? else { continue };
            if let Some(source) = draft.source {
                let commit = self.participants.get(source).map(|participant| participant.source.commit.clone());
                let message = format!("it left Git and could not be deleted: {message}");
                let problem = Problem {
                    reason: "NotPruned".into(),
                    object: Some(id.to_string()),
                    position: None,
                    commit,
                    message,
                };
                report.problems.push(SourceProblem { source, problem });
            }
            edit.put.push(draft);
            report.retry = true;
        }
        if !edit.put.is_empty() {
            self.workshop.publisher.publish(|_, _| Some(edit)).await?;
        }
        Ok(())
    }
}

fn guard_problem(participant: &Participant, count: usize) -> Problem {
    let limit = participant.source.deletion_guard;
    Problem {
        reason: "DeletionGuard".into(),
        object: None,
        position: None,
        commit: Some(participant.source.commit.clone()),
        message: format!(
            "{count} objects left Git, more than spec.deletionGuard.maxObjects ({limit}) allows in one go; they are kept \
             until the limit is raised or they are declared again"
        ),
    }
}
