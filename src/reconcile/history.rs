//! Keeps what children were made from, over the commits that replaced it.

use jiff::Timestamp;
use serde_json::Value;

use crate::admission::children::template_of;
use crate::document::Document;
use crate::snapshot::{Entry, EntryDraft, HistoryDraft, Snapshot, SnapshotError};

/// The history of an object of which children are there that were made from these templates.
pub fn with(entry: &Entry<'_>, found: Vec<Value>) -> HistoryDraft {
    let id = entry.id();
    let present = entry.canonical().and_then(|canonical| template_of(id.group, id.kind, canonical));
    entry.history().to_draft().with(found, present.map(|template| template.to_value()).as_ref())
}

/// The history of an object in the snapshot that follows `before`. It begins when the object is known for the first time.
///
/// # Errors
/// The entry before is damaged: what it held is not known any more.
pub fn carried(before: &Snapshot, draft: &EntryDraft, now: Timestamp) -> Result<HistoryDraft, SnapshotError> {
    let (group, kind) = (draft.id.kind.group.as_str(), draft.id.kind.kind.as_str());
    let template = |canonical: &Value| {
        let document = Document::from_value(canonical);
        template_of(group, kind, document.root()).map(|template| template.to_value())
    };
    let present = draft.canonical.as_ref().and_then(template);
    let entry = before.get(draft.id.as_ref())?;
    let earlier = entry.as_ref().map_or_else(HistoryDraft::default, |entry| entry.history().to_draft());
    let replaced = entry
        .as_ref()
        .and_then(|entry| template_of(group, kind, entry.canonical()?))
        .map(|template| template.to_value());
    if present.is_none() && replaced.is_none() && earlier == HistoryDraft::default() {
        return Ok(earlier);
    }
    let HistoryDraft { mut templates, mutated, since } = earlier;
    if mutated != draft.history.mutated {
        templates.splice(..0, mutated);
    }
    let (mutated, since) = (draft.history.mutated.clone(), since.or(Some(now)));
    Ok(HistoryDraft { templates, mutated, since }.after(replaced, present.as_ref()))
}
