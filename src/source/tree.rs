//! Which files of a commit are manifests.
//!
//! The tree is hostile input: it may be endless (shared subtrees), link out of itself, or hold files that must never
//! be read into memory. Whatever is passed over although it could be meant as a manifest is told, never ignored.

use std::fmt;

use gix::bstr::ByteSlice;
use gix::objs::tree::EntryKind;

use super::repository::Store;
use super::{CommitInfo, Repository, SourceError};

/// etcd takes objects of 1.5 MiB at most and the largest published bundles of CRDs have about 5 MiB: what is larger is
/// no manifest, and reading it would cost several times its size in memory.
pub const MAX_FILE_BYTES: u64 = 10 * 1024 * 1024;

/// Shared subtrees make trees of any size from a few kilobytes.
const MAX_ENTRIES: usize = 1_000_000;

/// Links to links that go on longer than this are taken for a circle.
const MAX_LINKS: usize = 8;

/// A file with declared objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// From the top of the repository.
    pub path: String,
    /// Hexadecimal id of its content.
    pub blob: String,
    pub size: u64,
}

/// A file or directory that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedFile {
    pub path: String,
    pub reason: SkipReason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    LinkLeavesRepository { target: String },
    BrokenLink { target: String },
    LinkedDirectory { target: String },
    Submodule,
    TooLarge { size: u64 },
    Kustomization,
    HelmChart,
    NameNotUtf8,
    NameWithControlCharacter,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkLeavesRepository { target } => {
                write!(f, "is a link to {target:?}, outside of the repository; commit the file itself")
            }
            Self::BrokenLink { target } => {
                write!(f, "is a link to {target:?}, which this commit does not have; correct or remove the link")
            }
            Self::LinkedDirectory { target } => {
                write!(f, "is a link to the directory {target:?}; only links to files are followed")
            }
            Self::Submodule => f.write_str("is a submodule; its content is not in this repository: copy the manifests"),
            Self::TooLarge { size } => write!(f, "has {size} bytes; a file may have {MAX_FILE_BYTES}: split it"),
            Self::Kustomization => {
                f.write_str("makes this directory a kustomization, which is not supported yet; commit plain manifests")
            }
            Self::HelmChart => {
                f.write_str("makes this directory a Helm chart, which is not supported yet; commit plain manifests")
            }
            Self::NameNotUtf8 => f.write_str("has a name that is not UTF-8; rename it"),
            Self::NameWithControlCharacter => f.write_str("has a control character in its name; rename it"),
        }
    }
}

/// What a directory of a commit holds, both in the order of paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub files: Vec<ManifestFile>,
    pub skipped: Vec<SkippedFile>,
}

impl Repository {
    /// Lists the manifests below `path` of a commit: `.yaml`, `.yml` and `.json` files at any depth, but none whose
    /// name, or whose directory's name, begins with a dot.
    pub fn tree(&self, commit: &CommitInfo, path: &str) -> Result<Listing, SourceError> {
        self.tree_since(commit, path, &|_, _| None)
    }

    /// Like [`Self::tree`], for a caller who can tell the size of a blob that it met at the same path before: looking
    /// up the sizes of all files is most of the work.
    pub fn tree_since(&self, commit: &CommitInfo, path: &str, known: Known<'_>) -> Result<Listing, SourceError> {
        let repository = self.store.local();
        let root = repository
            .find_commit(self.store.parse_id(&commit.id)?)
            .and_then(|found| found.tree_id())
            .map_err(|error| self.store.damaged(&error))?
            .detach();
        let start = components(path).join("/");
        let walk = Walk { store: &self.store, repository: &repository, root, known };
        let top = if start.is_empty() {
            root
        } else {
            match walk.look_up(&start)? {
                None => return Err(SourceError::NoPath { path: start, commit: commit.short() }),
                Some((EntryKind::Tree, id)) => id,
                Some(_) => return Err(SourceError::NotADirectory { path: start, commit: commit.short() }),
            }
        };
        let mut listing = walk.list(top, &start)?.ok_or_else(|| SourceError::TooManyFiles {
            path: start.clone(),
            commit: commit.short(),
            limit: MAX_ENTRIES,
        })?;
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        listing.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }
}

/// The parts of `./shop//apps/`: `shop`, `apps`.
fn components(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

/// Tools whose files look like manifests but mean something else.
fn tool_of(name: &str) -> Option<SkipReason> {
    match name {
        "kustomization.yaml" | "kustomization.yml" | "Kustomization" => Some(SkipReason::Kustomization),
        "Chart.yaml" => Some(SkipReason::HelmChart),
        _ => None,
    }
}

/// From a path and the hexadecimal id of a blob to its size, if it was met before.
pub type Known<'a> = &'a dyn Fn(&str, &str) -> Option<u64>;

struct Walk<'a> {
    store: &'a Store,
    repository: &'a gix::Repository,
    root: gix::ObjectId,
    known: Known<'a>,
}

impl Walk<'_> {
    fn look_up(&self, path: &str) -> Result<Option<(EntryKind, gix::ObjectId)>, SourceError> {
        let entry = self
            .repository
            .find_tree(self.root)
            .and_then(|tree| tree.lookup_entry(path.split('/').map(str::as_bytes)))
            .map_err(|error| self.store.damaged(&error))?;
        Ok(entry.map(|entry| (entry.mode().kind(), entry.object_id())))
    }

    /// None where there is no end of it.
    fn list(&self, top: gix::ObjectId, start: &str) -> Result<Option<Listing>, SourceError> {
        let mut listing = Listing::default();
        let mut pending = vec![(start.to_owned(), top)];
        let mut seen = 0;
        while let Some((directory, id)) = pending.pop() {
            let tree = self.repository.find_tree(id).map_err(|error| self.store.damaged(&error))?;
            let tree = tree.decode().map_err(|error| self.store.damaged(&error))?;
            seen += tree.entries.len() + 1;
            if seen > MAX_ENTRIES {
                return Ok(None);
            }
            let tool = tree.entries.iter().find_map(|entry| {
                let name = entry.filename.to_str().ok()?;
                Some((name, tool_of(name)?))
            });
            if let Some((name, reason)) = tool {
                listing.skipped.push(SkippedFile { path: join(&directory, name), reason });
                continue;
            }
            for entry in &tree.entries {
                if entry.filename.starts_with(b".") {
                    continue;
                }
                let Ok(name) = entry.filename.to_str() else {
                    let path = join(&directory, &entry.filename.to_str_lossy());
                    listing.skipped.push(SkippedFile { path, reason: SkipReason::NameNotUtf8 });
                    continue;
                };
                // The inventory has one line for each object, and denials show paths in terminals.
                let is_used = is_manifest(name) || !entry.mode.is_blob();
                if is_used && name.contains(char::is_control) {
                    let path = join(&directory, &name.escape_debug().to_string());
                    listing.skipped.push(SkippedFile { path, reason: SkipReason::NameWithControlCharacter });
                    continue;
                }
                let path = join(&directory, name);
                match entry.mode.kind() {
                    EntryKind::Tree => pending.push((path, entry.oid.to_owned())),
                    EntryKind::Blob | EntryKind::BlobExecutable => {
                        if is_manifest(name) {
                            self.take(&mut listing, path, entry.oid.to_owned())?;
                        }
                    }
                    EntryKind::Link => self.follow(&mut listing, path, entry.oid.to_owned())?,
                    EntryKind::Commit => listing.skipped.push(SkippedFile { path, reason: SkipReason::Submodule }),
                }
            }
        }
        Ok(Some(listing))
    }

    fn take(&self, listing: &mut Listing, path: String, blob: gix::ObjectId) -> Result<(), SourceError> {
        let hex = blob.to_string();
        let size = match (self.known)(&path, &hex) {
            Some(size) => size,
            None => self.repository.find_header(blob).map_err(|error| self.store.damaged(&error))?.size(),
        };
        if size > MAX_FILE_BYTES {
            listing.skipped.push(SkippedFile { path, reason: SkipReason::TooLarge { size } });
        } else {
            listing.files.push(ManifestFile { path, blob: hex, size });
        }
        Ok(())
    }

    fn follow(&self, listing: &mut Listing, path: String, link: gix::ObjectId) -> Result<(), SourceError> {
        let (mut at, mut link) = (path.clone(), link);
        for _ in 0..MAX_LINKS {
            let size = self.repository.find_header(link).map_err(|error| self.store.damaged(&error))?.size();
            // Longer than any path that an operating system takes.
            if size > 4096 {
                break;
            }
            let target = self.repository.find_blob(link).map_err(|error| self.store.damaged(&error))?;
            let target = target.data.to_str_lossy().into_owned();
            let Some(resolved) = resolve(&at, &target) else {
                listing.skipped.push(SkippedFile { path, reason: SkipReason::LinkLeavesRepository { target } });
                return Ok(());
            };
            let found = if resolved.is_empty() { Some((EntryKind::Tree, self.root)) } else { self.look_up(&resolved)? };
            match found {
                Some((EntryKind::Blob | EntryKind::BlobExecutable, blob)) => {
                    // The name of the link says what it is meant as, as it does for every tool that opens it.
                    return if is_manifest(&path) { self.take(listing, path, blob) } else { Ok(()) };
                }
                Some((EntryKind::Tree | EntryKind::Commit, _)) => {
                    listing.skipped.push(SkippedFile { path, reason: SkipReason::LinkedDirectory { target } });
                    return Ok(());
                }
                Some((EntryKind::Link, next)) => (at, link) = (resolved, next),
                None => {
                    listing.skipped.push(SkippedFile { path, reason: SkipReason::BrokenLink { target } });
                    return Ok(());
                }
            }
        }
        listing.skipped.push(SkippedFile { path, reason: SkipReason::BrokenLink { target: at } });
        Ok(())
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Where a link at `path` leads, from the top of the repository; None where that is outside.
fn resolve(path: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts = components(path);
    parts.pop();
    for part in components(target) {
        if part == ".." {
            parts.pop()?;
        } else {
            parts.push(part);
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_inside_the_repository_only() {
        let cases = [
            ("apps/web.yaml", "db.yaml", Some("apps/db.yaml")),
            ("apps/web.yaml", "../base/./web.yaml", Some("base/web.yaml")),
            ("web.yaml", "../etc/passwd", None),
            ("apps/web.yaml", "../../etc/passwd", None),
            ("apps/web.yaml", "/etc/passwd", None),
            ("apps/web.yaml", "..", Some("")),
        ];
        for (path, target, expected) in cases {
            assert_eq!(resolve(path, target).as_deref(), expected, "{path} -> {target}");
        }
    }
}
