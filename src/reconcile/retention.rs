//! What leaves Git and stays in the cluster: frozen as it was last declared, and free for anybody to delete.

use super::world::World;
use crate::api::PRUNE_ANNOTATION;
use crate::object::ObjectId;
use crate::snapshot::{EntryClass, EntryDraft, HistoryDraft, SnapshotError};

/// Whether the last declared state of an object lets it be pruned.
pub fn may_be_pruned(world: &World, id: &ObjectId) -> bool {
    let Ok(Some(entry)) = world.entry(id.as_ref()) else { return false };
    entry
        .canonical()
        .and_then(|canonical| canonical.at(&["metadata", "annotations", PRUNE_ANNOTATION])?.as_str())
        .is_none_or(|value| value != "false")
}

/// The entry of an object that left Git and is kept.
///
/// # Errors
/// The entry is damaged.
pub fn retained(world: &World, id: &ObjectId) -> Result<Option<EntryDraft>, SnapshotError> {
    let Some(entry) = world.entry(id.as_ref())? else { return Ok(None) };
    Ok(Some(EntryDraft {
        id: id.clone(),
        class: EntryClass::Retained,
        source: entry.source(),
        version: entry.version().to_owned(),
        canonical: entry.canonical().map(|canonical| canonical.to_value()),
        inputs: entry.inputs().to_owned(),
        file: None,
        lines: None,
        recreate: false,
        uid: entry.uid().map(str::to_owned),
        problem: None,
        history: HistoryDraft::default(),
    }))
}
