//! The baselines of the Enforcements around a round: read before it, recorded or frozen after it.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::known::Known;
use crate::api::Action;
use crate::reconcile::baseline_record::{RecordError, Recorder};
use crate::reconcile::converge::Workshop;
use crate::reconcile::governor::Governor;
use crate::reconcile::kinds::Kinds;
use crate::reconcile::peers::Step;
use crate::reconcile::round::Participant;

/// Reads the records of all who take part.
///
/// # Errors
/// One is damaged, or cannot be read.
pub async fn load(
    workshop: &Workshop,
    known: &mut BTreeMap<String, Known>,
    participants: &mut [Participant],
) -> Result<(), RecordError> {
    let world = workshop.publisher.world();
    let recorder = Recorder::new(workshop, &world.kinds);
    for participant in participants {
        let Some(known) = known.get_mut(&participant.source.name) else { continue };
        recorder.load(&participant.source.name, &mut known.baseline).await?;
        participant.source.baseline_recorded = known.baseline.is_closed();
    }
    Ok(())
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

/// Whether the snapshot has all that was in force before this process began. A source that was enforced and cannot be
/// read now keeps a new webhook from being ready; one that never was holds nobody up.
///
/// # Errors
/// A record is damaged, or cannot be read.
pub async fn are_whole(workshop: &Workshop, known: &mut BTreeMap<String, Known>) -> Result<bool, RecordError> {
    let world = workshop.publisher.world();
    let recorder = Recorder::new(workshop, &world.kinds);
    for (name, known) in known {
        if known.git.state.is_some() || known.settings.action != Action::Enforce {
            continue;
        }
        recorder.load(name, &mut known.baseline).await?;
        if known.baseline.is_recorded() && !world.snapshot.meta().sources.iter().any(|s| s.name == *name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Records, on the leader, what has no record yet.
///
/// # Errors
/// The cluster cannot be listed, the webhook not be proven, or the record not be stored.
pub async fn record(
    workshop: &Workshop,
    governor: &Governor,
    known: &mut BTreeMap<String, Known>,
    participants: &mut [Participant],
    stop: &CancellationToken,
) -> Result<(), RecordError> {
    for participant in participants {
        let Some(known) = known.get_mut(&participant.source.name) else { continue };
        if participant.source.action != Action::Enforce || known.baseline.is_recorded() {
            continue;
        }
        let world = workshop.publisher.world();
        let recorder = Recorder::new(workshop, &world.kinds);
        recorder.record(&participant.source.name, &mut known.baseline, governor, stop).await?;
        participant.source.baseline_recorded = true;
    }
    Ok(())
}

/// Closes the world of a scope until the leader has recorded its baseline: the leader looks at what is there when no
/// replica lets anything undeclared in any more.
///
/// # Errors
/// The cluster cannot be listed, or the snapshot not be written.
pub async fn freeze(
    workshop: &Workshop,
    known: &mut BTreeMap<String, Known>,
    participants: &mut [Participant],
) -> Result<(), RecordError> {
    for participant in participants {
        let Some(known) = known.get_mut(&participant.source.name) else { continue };
        if participant.source.action != Action::Enforce || known.baseline.is_closed() {
            continue;
        }
        let world = workshop.publisher.world();
        Recorder::new(workshop, &world.kinds).freeze(&participant.source.name, &mut known.baseline).await?;
        participant.source.baseline_recorded = true;
        workshop.publisher.reached(Step::FINISHED);
    }
    Ok(())
}
