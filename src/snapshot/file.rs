//! The snapshot as a file in a directory: which one is there, and when it is another.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{SnapshotError, preparing_path};

/// Tells one file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl FileStamp {
    /// None: there is no file.
    pub fn at(path: &Path) -> Option<Self> {
        path.metadata().ok().as_ref().map(Self::of)
    }

    /// Of an open file, which is the same one whatever becomes of its name.
    pub fn of_open(file: &File) -> Option<Self> {
        file.metadata().ok().as_ref().map(Self::of)
    }

    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Calls, as long as the watcher lives, whenever there may be another file at `path`, or none.
///
/// # Errors
/// The directory cannot be watched.
pub fn watch_file(path: &Path, changed: impl Fn() + Send + 'static) -> Result<RecommendedWatcher, SnapshotError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let unwatched = |source| SnapshotError::Watch { path: directory.to_owned(), source };
    let preparing = preparing_path(path);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Each write to the file in preparation is an event too. Everything else may be the swap: a rename to our name,
        // or to the link that our name leads through.
        let relevant = event.as_ref().map_or(true, |event| {
            !matches!(event.kind, EventKind::Access(_))
                && (event.need_rescan() || event.paths.iter().any(|path| *path != preparing))
        });
        if relevant {
            changed();
        }
    })
    .map_err(unwatched)?;
    watcher.watch(directory, RecursiveMode::NonRecursive).map_err(unwatched)?;
    Ok(watcher)
}
