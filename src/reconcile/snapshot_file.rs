//! Sees to it that the webhook finds the snapshot that was published.
//!
//! The webhook asks nobody. Started anew over a file that is gone or damaged, it would reject every write until the next
//! commit, with all that it needs to know mapped by the reconciler beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::RecommendedWatcher;
use tokio::sync::Notify;

use super::publish::Publisher;
use crate::snapshot::{SnapshotError, watch_file};

/// Pause after a failed write: a full disk is not emptied by haste.
const RETRY: Duration = Duration::from_secs(1);

pub struct SnapshotFile {
    publisher: Arc<Publisher>,
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl SnapshotFile {
    /// # Errors
    /// The directory cannot be watched.
    pub fn watch(path: &Path, publisher: Arc<Publisher>) -> Result<Self, SnapshotError> {
        let changed = Arc::new(Notify::new());
        let told = Arc::clone(&changed);
        let watcher = watch_file(path, move || told.notify_one())?;
        Ok(Self { publisher, changed, _watcher: watcher })
    }

    /// Puts the file back whenever it is not the published one.
    pub async fn keep(self) {
        loop {
            self.changed.notified().await;
            while let Err(error) = self.publisher.put_back().await {
                tracing::warn!(%error, "the snapshot is gone or another, and cannot be put back yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
