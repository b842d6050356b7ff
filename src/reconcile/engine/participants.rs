//! Who takes part in a round, and with which kinds of objects.

use std::collections::BTreeSet;

use super::admitted::is_admitted;
use super::enforcements::Enforcements;
use super::known::Known;
use crate::object::GroupKind;
use crate::reconcile::baseline_state::BaselineState;
use crate::reconcile::round::Participant;
use crate::reconcile::world::World;
use crate::snapshot::Source;

/// Enforcements that have something to enforce: what Git said last, or what the snapshot holds of it. In the order of
/// their names.
pub fn participants(enforcements: &Enforcements, world: &World) -> Vec<Participant> {
    let mut participants: Vec<_> = enforcements
        .known
        .values()
        .filter_map(|known| {
            let source = source(known, world)?;
            let state = known.git.state.clone();
            // Without a record of what was there, nothing is deleted.
            let prune = known.enforcement.spec.prune && !known.baseline.is_unknown();
            let (sealed, certain) = (is_sealed(known, world), known.git.is_certain());
            Some(Participant { source, state, prune, recall: !known.round.recalled, sealed, certain })
        })
        .collect();
    let gone = |source: &&Source| !enforcements.known.contains_key(&source.name);
    // Deleted by a way round admission while no process was there to see it.
    let missed = |source: &&Source| gone(source) && !is_admitted(world, &source.name, None);
    participants.extend(world.snapshot.meta().sources.iter().filter(missed).map(|source| remembered(source, world)));
    participants.sort_by(|a, b| a.source.name.cmp(&b.source.name));
    participants
}

/// What an earlier process left of a source.
pub fn remembered(source: &Source, world: &World) -> Participant {
    let sealed = world.snapshot.meta().sealed.contains(&source.name);
    Participant { source: source.clone(), state: None, prune: false, recall: false, sealed, certain: false }
}

fn source(known: &Known, world: &World) -> Option<Source> {
    let settings = known.settings.clone();
    let earlier = world.snapshot.meta().sources.iter().find(|source| source.name == settings.name);
    // What an earlier process read of a record that cannot be read now stays in force.
    let baseline_recorded = known.baseline.is_closed()
        || (known.baseline.is_unknown() && earlier.is_some_and(|earlier| earlier.baseline_recorded));
    let (commit, subject, reference) = match &known.git.state {
        Some(state) => {
            let commit = &state.rendered.commit;
            let named = !commit.reference.is_empty();
            let reference = if named { &commit.reference } else { &settings.reference };
            (commit.id.clone(), commit.subject.clone(), reference.clone())
        }
        None => match earlier {
            // Not read since this process began: what the snapshot holds of it stays in force.
            Some(earlier) => (earlier.commit.clone(), earlier.subject.clone(), earlier.reference.clone()),
            // Another replica, or one before, enforced it. That its source cannot be read opens nothing.
            None if known.was_in_force() => (String::new(), String::new(), settings.reference.clone()),
            None => return None,
        },
    };
    Some(Source { commit, subject, reference, baseline_recorded, ..settings })
}

/// Whether an Enforcement was in force before this process knew all that it holds.
pub fn is_sealed(known: &Known, world: &World) -> bool {
    let meta = world.snapshot.meta();
    let earlier = meta.sources.iter().find(|source| source.name == known.settings.name);
    let remembered = |source: &Source| !meta.sealed.contains(&source.name);
    let unread = known.round.commit.is_none() && !earlier.is_some_and(remembered);
    let unrecorded =
        known.baseline.is_unknown() && !earlier.is_some_and(|source| source.baseline_recorded && remembered(source));
    known.was_in_force() && (unread || unrecorded)
}

/// The kinds that have desired objects, in each version that Git or a baseline uses.
pub fn used_kinds<'a>(
    participants: &[Participant],
    baselines: impl Iterator<Item = &'a BaselineState> + Clone,
    world: &World,
) -> BTreeSet<(GroupKind, String)> {
    let mut used = BTreeSet::new();
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
                used.insert((manifest.id.kind.clone(), manifest.version.clone()));
            }
        }
    }
    used
}
