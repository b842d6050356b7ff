//! Which commits a source has had, and what they said.
//!
//! An object is pruned only if a commit that the source really had declared it. A force-push takes commits off the
//! tracked reference; those that were applied are remembered under references of our own, which no server can move.

use gix::bstr::ByteSlice;
use gix::refs::transaction::PreviousValue;

use super::{CommitInfo, Repository, SourceError};

const APPLIED: &str = "refs/gitadel/applied/";

impl Repository {
    /// Keeps a commit, whatever the server does with its references.
    pub fn remember(&self, commit: &CommitInfo) -> Result<(), SourceError> {
        let id = self.store.parse_id(&commit.id)?;
        let repository = self.store.local();
        repository
            .reference(format!("{APPLIED}{id}"), id, PreviousValue::Any, "applied")
            .map_err(|error| self.store.damaged(&error))?;
        Ok(())
    }

    /// Undoes [`Self::remember`]. To forget what was never remembered is no error.
    pub fn forget(&self, commit: &str) -> Result<(), SourceError> {
        let name = format!("{APPLIED}{}", self.store.parse_id(commit)?);
        let repository = self.store.local();
        let reference = repository.try_find_reference(name.as_str()).map_err(|error| self.store.damaged(&error))?;
        match reference {
            Some(reference) => reference.delete().map_err(|error| self.store.damaged(&error)),
            None => Ok(()),
        }
    }

    /// The ids that are remembered.
    pub fn remembered(&self) -> Result<Vec<String>, SourceError> {
        let repository = self.store.local();
        let references = repository.references().map_err(|error| self.store.damaged(&error))?;
        let applied = references.prefixed(APPLIED).map_err(|error| self.store.damaged(&error))?;
        Ok(applied
            .flatten()
            .filter_map(|reference| Some(reference.name().as_bstr().to_str().ok()?.strip_prefix(APPLIED)?.to_owned()))
            .collect())
    }

    /// Whether `commit` is `of` or one of its ancestors. A commit that the copy does not have is nobody's ancestor.
    pub fn is_ancestor(&self, commit: &str, of: &str) -> Result<bool, SourceError> {
        let (commit, of) = (self.store.parse_id(commit)?, self.store.parse_id(of)?);
        let repository = self.store.local();
        if !repository.has_object(commit) || !repository.has_object(of) {
            return Ok(false);
        }
        let base = repository.merge_base(commit, of).map_err(|error| self.store.damaged(&error))?;
        Ok(base.is_some_and(|base| base.detach() == commit))
    }

    /// Whether the source has had `commit`: it leads to `tip` or to a remembered commit.
    pub fn is_in_history(&self, commit: &str, tip: &CommitInfo) -> Result<bool, SourceError> {
        if self.is_ancestor(commit, &tip.id)? {
            return Ok(true);
        }
        for remembered in self.remembered()? {
            if self.is_ancestor(commit, &remembered)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The content of `file` as `commit` has it, if it has it.
    pub fn read_at(&self, commit: &str, file: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let repository = self.store.local();
        let id = self.store.parse_id(commit)?;
        if !repository.has_object(id) {
            return Err(SourceError::NoCommit { url: self.store.location.shown.clone(), commit: commit.to_owned() });
        }
        let found = repository
            .find_commit(id)
            .and_then(|commit| commit.tree())
            .and_then(|tree| tree.lookup_entry(file.split('/').map(str::as_bytes)))
            .map_err(|error| self.store.damaged(&error))?;
        match found {
            Some(entry) if entry.mode().is_blob() => self.read(&entry.object_id().to_string()).map(Some),
            _ => Ok(None),
        }
    }

    /// The newest content of `file` that `matches`, along the first parents from `tip` back to `since`. None where
    /// there is none, or where `since` is not met on the way.
    pub fn last_content(
        &self,
        file: &str,
        tip: &CommitInfo,
        since: &str,
        mut matches: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let repository = self.store.local();
        let since = self.store.parse_id(since)?;
        let mut next = Some(self.store.parse_id(&tip.id)?);
        let (mut seen, mut found) = (None, None);
        while let Some(id) = next.take() {
            let commit = repository.find_commit(id).map_err(|error| self.store.damaged(&error))?;
            let entry = commit
                .tree()
                .and_then(|tree| tree.lookup_entry(file.split('/').map(str::as_bytes)))
                .map_err(|error| self.store.damaged(&error))?;
            let blob = entry.filter(|entry| entry.mode().is_blob()).map(|entry| entry.object_id());
            if found.is_none() && blob != seen {
                seen = blob;
                found = match blob {
                    Some(blob) => Some(self.read(&blob.to_string())?).filter(|content| matches(content)),
                    None => None,
                };
            }
            if id == since {
                return Ok(found);
            }
            next = commit.parent_ids().next().map(gix::Id::detach);
        }
        Ok(None)
    }
}
