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
use crate::reconcile::publish::PublishError;
use crate::reconcile::round::Participant;

/// Reads the records of all Enforcements: they tell which of them were in force before this process began. True where
/// one could not be read. Where nothing is enforced there is none: what is there when enforcement begins is recorded then.
pub async fn load(workshop: &Workshop, known: &mut BTreeMap<String, Known>) -> bool {
    let world = workshop.publisher.world();
    let recorder = Recorder::new(workshop, &world.kinds);
    let mut failed = false;
    for (name, known) in known {
        let action = known.settings.action;
        let was_recorded = known.baseline.is_recorded();
        known.baseline = std::mem::take(&mut known.baseline).under(action);
        let loaded = if action == Action::Enforce {
            match recorder.load(name, &mut known.baseline).await {
                Ok(()) if matches!(known.baseline, BaselineState::Missing) => {
                    recorder.forget(name).await.map_err(RecordError::from)
                }
                loaded => loaded,
            }
        } else {
            known.record_outdated |= was_recorded;
            recorder.disown(name).await.map_err(RecordError::from)
        };
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

/// Takes out of the baselines what Git declares.
///
/// # Errors
/// The snapshot cannot be written.
pub async fn release(
    workshop: &Workshop,
    kinds: &Kinds,
    known: &mut BTreeMap<String, Known>,
) -> Result<(), PublishError> {
    for (enforcement, known) in known {
        if Recorder::new(workshop, kinds).release(enforcement, &mut known.baseline).await? {
            tracing::info!(enforcement, "what Git declares left its baseline");
            known.record_outdated = true;
        }
    }
    Ok(())
}

/// Compares what was taken on trust with the cluster. True where something differs that may be put right.
///
/// # Errors
/// The cluster cannot be listed, or the snapshot not be written.
pub async fn settle_doubts(
    workshop: &Workshop,
    kinds: &Kinds,
    known: &mut BTreeMap<String, Known>,
) -> Result<bool, RecordError> {
    let recorder = Recorder::new(workshop, kinds);
    let mut differs = false;
    for (enforcement, known) in known {
        let BaselineState::Recorded(baseline) = &known.baseline else { continue };
        let doubts = recorder.settle_doubts(baseline).await?;
        let problem = (!doubts.is_empty()).then(|| Problem::of_enforcement("BaselineDoubted", &doubts));
        if problem.is_some() && problem != known.baseline_doubts {
            tracing::warn!(enforcement, %doubts, "its baseline is in force but for what is doubted");
        }
        known.baseline_doubts = problem;
        differs |= !doubts.different.is_empty();
    }
    Ok(differs)
}

/// Puts records back, on the leader, that were deleted or altered or say too much, and takes away those of Enforcements
/// that do not enforce. True where one could not be.
pub async fn restore(workshop: &Workshop, kinds: &Kinds, known: &mut BTreeMap<String, Known>) -> bool {
    let mut failed = false;
    for (enforcement, known) in known {
        let recorder = Recorder::new(workshop, kinds);
        let restored = match &known.baseline {
            BaselineState::Recorded(baseline) => recorder.restore(enforcement, baseline).await,
            _ if known.settings.action != Action::Enforce => recorder.discard(enforcement).await.map(|()| false),
            _ => continue,
        };
        match restored {
            Ok(false) => known.record_outdated = false,
            Ok(true) if known.record_outdated => known.record_outdated = false,
            Ok(true) => {
                tracing::warn!(enforcement, "the record of its baseline was deleted or altered, and is put back");
                let note = "the record of its baseline was deleted or altered, and is put back".to_owned();
                let uid = known.enforcement.metadata.uid.clone();
                workshop.events.enforcement(enforcement, uid, true, "BaselineRecordRestored", note);
            }
            Err(error) => {
                tracing::warn!(enforcement, %error, "the record of its baseline is not put back yet");
                failed = true;
            }
        }
    }
    failed
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

/// Takes down what is there where nothing is recorded. Where nothing is enforced, so that what comes later can be told of.
/// Where this replica does not lead, the world of the scope is closed with it: the leader records what is there when no
/// replica lets anything undeclared in any more. True where that was not possible.
pub async fn take_down(
    workshop: &Workshop,
    known: &mut BTreeMap<String, Known>,
    participants: &mut [Participant],
    leader: bool,
) -> bool {
    let mut failed = false;
    for participant in participants {
        let name = &participant.source.name;
        let Some(known) = known.get_mut(name) else { continue };
        if !matches!(known.baseline, BaselineState::Missing) {
            continue;
        }
        let world = workshop.publisher.world();
        let recorder = Recorder::new(workshop, &world.kinds);
        let taken = match (participant.source.action, leader) {
            // It records.
            (Action::Enforce, true) => continue,
            (Action::Enforce, false) => recorder.freeze(name, &mut known.baseline).await,
            (Action::Observe | Action::Warn, _) => recorder.observe(name, &mut known.baseline).await,
        };
        match taken {
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
