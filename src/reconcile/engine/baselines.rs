//! The baselines of the Enforcements around a round: read before it, recorded or frozen after it.
//!
//! Each fails for itself. What cannot be read or recorded is a problem of its Enforcement, and the others go on.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::known::Known;
use crate::api::{Action, Problem};
use crate::reconcile::baseline_record::{RecordError, Recorder};
use crate::reconcile::baseline_state::BaselineState;
use crate::reconcile::converge::Workshop;
use crate::reconcile::governor::Governor;
use crate::reconcile::kinds::Kinds;
use crate::reconcile::peers::Step;
use crate::reconcile::round::Participant;

/// Reads the records of all Enforcements: they tell which of them were in force before this process began. True where
/// one could not be read.
pub async fn load(workshop: &Workshop, known: &mut BTreeMap<String, Known>) -> bool {
    let world = workshop.publisher.world();
    let recorder = Recorder::new(workshop, &world.kinds);
    let mut failed = false;
    for (name, known) in known {
        let action = known.settings.action;
        known.baseline = std::mem::take(&mut known.baseline).under(action);
        let mut loaded = recorder.load(name, &mut known.baseline).await;
        if loaded.is_ok() && action == Action::Enforce && matches!(known.baseline, BaselineState::Missing) {
            loaded = recorder.forget(name).await.map_err(RecordError::from);
        }
        match loaded {
            Ok(()) => known.baseline_problem = None,
            Err(error) => {
                hold_back(known, name, &error);
                failed = true;
            }
        }
    }
    failed
}

fn hold_back(known: &mut Known, enforcement: &str, error: &RecordError) {
    let problem = Problem::of_enforcement("BaselineNotRecorded", error);
    if known.baseline_problem.as_ref() != Some(&problem) {
        tracing::error!(enforcement, %error, "its baseline is not in force; the other Enforcements are not concerned");
    }
    known.baseline_problem = Some(problem);
}

/// Puts what was read into the snapshot.
///
/// # Errors
/// The snapshot cannot be written.
pub async fn publish(
    workshop: &Workshop,
    kinds: &Kinds,
    known: &BTreeMap<String, Known>,
    participants: &[Participant],
) -> Result<(), RecordError> {
    let baseline = |name: &str| known.get(name).map(|known| &known.baseline);
    Recorder::new(workshop, kinds).publish(participants, |source| baseline(&source.name)).await
}

/// Records, on the leader, what has no record yet. True where one could not be recorded.
pub async fn record(
    workshop: &Workshop,
    governor: &Governor,
    known: &mut BTreeMap<String, Known>,
    participants: &mut [Participant],
    stop: &CancellationToken,
) -> bool {
    let mut failed = false;
    for participant in participants {
        let name = &participant.source.name;
        let Some(known) = known.get_mut(name) else { continue };
        // One that cannot be read is there.
        let is_due = matches!(known.baseline, BaselineState::Missing | BaselineState::Frozen);
        if participant.source.action != Action::Enforce || !is_due {
            continue;
        }
        let world = workshop.publisher.world();
        let recorder = Recorder::new(workshop, &world.kinds);
        match recorder.record(name, &mut known.baseline, governor, stop).await {
            Ok(()) => {
                known.baseline_problem = None;
                participant.source.baseline_recorded = true;
            }
            // Nothing is wrong with it.
            Err(RecordError::Stopped) => return true,
            Err(error) => {
                hold_back(known, name, &error);
                failed = true;
            }
        }
    }
    failed
}

/// Takes down what is there where nothing is enforced, so that what comes later can be told of. True where that was not
/// possible.
pub async fn observe(
    workshop: &Workshop,
    known: &mut BTreeMap<String, Known>,
    participants: &mut [Participant],
) -> bool {
    let mut failed = false;
    for participant in participants {
        let name = &participant.source.name;
        let Some(known) = known.get_mut(name) else { continue };
        if participant.source.action == Action::Enforce || !matches!(known.baseline, BaselineState::Missing) {
            continue;
        }
        let world = workshop.publisher.world();
        match Recorder::new(workshop, &world.kinds).observe(name, &mut known.baseline).await {
            Ok(()) => {
                known.baseline_problem = None;
                participant.source.baseline_recorded = true;
            }
            Err(error) => {
                hold_back(known, name, &error);
                failed = true;
            }
        }
    }
    failed
}

/// Closes the world of a scope until the leader has recorded its baseline: the leader looks at what is there when no
/// replica lets anything undeclared in any more. True where that was not possible.
pub async fn freeze(
    workshop: &Workshop,
    known: &mut BTreeMap<String, Known>,
    participants: &mut [Participant],
) -> bool {
    let mut failed = false;
    for participant in participants {
        let name = &participant.source.name;
        let Some(known) = known.get_mut(name) else { continue };
        if participant.source.action != Action::Enforce || !matches!(known.baseline, BaselineState::Missing) {
            continue;
        }
        let world = workshop.publisher.world();
        match Recorder::new(workshop, &world.kinds).freeze(name, &mut known.baseline).await {
            Ok(()) => {
                known.baseline_problem = None;
                participant.source.baseline_recorded = true;
                workshop.publisher.reached(Step::FINISHED);
            }
            Err(error) => {
                hold_back(known, name, &error);
                failed = true;
            }
        }
    }
    failed
}
