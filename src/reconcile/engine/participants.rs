//! Who takes part in a round, and with which kinds of objects.

use std::collections::BTreeMap;

use super::known::Known;
use crate::object::GroupKind;
use crate::reconcile::baseline_record::BaselineState;
use crate::reconcile::round::Participant;
use crate::reconcile::world::World;
use crate::snapshot::Source;

/// Enforcements that have something to enforce: what Git said last, or what the snapshot holds of it.
pub fn participants<'a>(known: impl Iterator<Item = &'a Known>, world: &World) -> Vec<Participant> {
    known
        .filter_map(|known| {
            let source = source(known, world)?;
            let (state, prune) = (known.git.state.clone(), known.enforcement.spec.prune);
            Some(Participant { source, state, prune, recall: !known.round.recalled })
        })
        .collect()
}

fn source(known: &Known, world: &World) -> Option<Source> {
    let settings = known.settings.clone();
    let baseline_recorded = known.baseline.is_closed();
    let (commit, subject, reference) = match &known.git.state {
        Some(state) => {
            let commit = &state.rendered.commit;
            let named = !commit.reference.is_empty();
            let reference = if named { &commit.reference } else { &settings.reference };
            (commit.id.clone(), commit.subject.clone(), reference.clone())
        }
        // Not read since this process began: what the snapshot holds of it stays in force.
        None => {
            let earlier = world.snapshot.meta().sources.iter().find(|s| s.name == settings.name)?;
            (earlier.commit.clone(), earlier.subject.clone(), earlier.reference.clone())
        }
    };
    Some(Source { commit, subject, reference, baseline_recorded, ..settings })
}

/// The kinds that have desired objects, each in the version that Git uses.
pub fn used_kinds<'a>(
    participants: &[Participant],
    baselines: impl Iterator<Item = &'a BaselineState> + Clone,
    world: &World,
) -> BTreeMap<GroupKind, String> {
    let mut used = BTreeMap::new();
    let is_unread = |baseline: &BaselineState| matches!(baseline, BaselineState::Unknown);
    if participants.iter().any(|participant| participant.state.is_none()) || baselines.clone().any(is_unread) {
        // What such a source declares, or has for its baseline, is known to the snapshot only.
        let registered = world.snapshot.meta().kinds.iter().filter(|kind| kind.registered);
        used.extend(registered.map(|kind| (GroupKind::new(&kind.group, &kind.kind), kind.version.clone())));
    }
    used.extend(baselines.flat_map(BaselineState::kinds));
    for participant in participants {
        for file in participant.state.iter().flat_map(|state| state.rendered.files.values()) {
            for manifest in &file.manifests {
                used.insert(manifest.id.kind.clone(), manifest.version.clone());
            }
        }
    }
    used
}
