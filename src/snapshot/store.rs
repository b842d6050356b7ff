//! The snapshot in force, replaced as soon as the reconciler writes a better one.
//!
//! A file that cannot be used never replaces one that could: the old snapshot stays, a metric and a log line say why.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use notify::RecommendedWatcher;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{FileStamp, Snapshot, SnapshotError, preparing_path, watch_file};
use crate::telemetry::SnapshotMetrics;

/// A preparation that has not been written to for so long was given up: nobody waits for it.
const PREPARATION_GIVEN_UP: Duration = Duration::from_secs(10);

/// Holds the snapshot in force and watches for the next.
#[derive(Debug)]
pub struct SnapshotStore {
    slot: Arc<Slot>,
    _watcher: RecommendedWatcher,
}

impl SnapshotStore {
    /// Loads the snapshot at `path`, if there is a good one, and watches its directory for others. Those of another
    /// cluster are refused: than the one given (UID of the Namespace `kube-system`), else than that of the first
    /// snapshot.
    ///
    /// # Errors
    /// The directory cannot be watched. No snapshot, or one that is refused, is no error: the next may be good.
    pub fn open(path: &Path, cluster: Option<String>, metrics: SnapshotMetrics) -> Result<Self, SnapshotError> {
        let slot = Arc::new(Slot {
            path: path.to_owned(),
            preparing: preparing_path(path),
            cluster,
            current: ArcSwapOption::empty(),
            seen: ArcSwapOption::empty(),
            reloading: Mutex::new(()),
            swaps: watch::Sender::new(0),
            metrics,
        });
        let watched = Arc::clone(&slot);
        let watcher = watch_file(path, move || watched.reload_and_log())?;
        // After the watch began, so that nothing is missed in between.
        slot.reload_and_log();
        Ok(Self { slot, _watcher: watcher })
    }

    /// The snapshot in force. Takes no lock.
    pub fn load(&self) -> Option<Arc<Snapshot>> {
        self.slot.current.load_full()
    }

    /// Looks whether there is another file, without waiting to be told, and whether it replaced the snapshot in force.
    ///
    /// # Errors
    /// There is another file, and it cannot be used: the snapshot in force stays. Told once for each file.
    pub fn reload_now(&self) -> Result<bool, SnapshotError> {
        self.slot.reload()
    }

    /// As [`reload_now`](Self::reload_now), with the outcome in the log.
    pub fn check(&self) {
        self.slot.reload_and_log();
    }

    /// Waits until a snapshot of at least this generation is in force, and tells which one is in the end.
    pub async fn wait_for(&self, generation: u64, timeout: Duration) -> Option<u64> {
        let served = |slot: &Slot| slot.current.load().as_ref().map(|snapshot| snapshot.meta().generation);
        self.wait_until(timeout, |slot| served(slot).is_some_and(|served| served >= generation)).await;
        served(&self.slot)
    }

    /// Waits until another snapshot than this one is in force, and returns it.
    pub async fn wait_for_other(&self, than: &Arc<Snapshot>, timeout: Duration) -> Option<Arc<Snapshot>> {
        let other = |slot: &Slot| slot.current.load_full().filter(|current| !Arc::ptr_eq(current, than));
        self.wait_until(timeout, |slot| other(slot).is_some()).await;
        other(&self.slot)
    }

    /// Whether another snapshot is about to come into force: one is being written, or is there and not loaded yet.
    pub fn preparing(&self) -> bool {
        let fresh = |modified: SystemTime| modified.elapsed().is_ok_and(|age| age < PREPARATION_GIVEN_UP);
        let written = self.slot.preparing.metadata().and_then(|metadata| metadata.modified()).is_ok_and(fresh);
        written || self.slot.unseen()
    }

    async fn wait_until(&self, timeout: Duration, reached: impl Fn(&Slot) -> bool) {
        let deadline = Instant::now() + timeout;
        let mut swaps = self.slot.swaps.subscribe();
        while !reached(&self.slot) {
            // The sender lives as long as the store.
            let Ok(Ok(())) = tokio::time::timeout_at(deadline, swaps.changed()).await else { return };
        }
    }
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    preparing: PathBuf,
    cluster: Option<String>,
    current: ArcSwapOption<Snapshot>,
    /// The file looked at last, whether it was loaded or refused.
    seen: ArcSwapOption<FileStamp>,
    /// Held while a file is opened: events come from another thread than forced reloads.
    reloading: Mutex<()>,
    swaps: watch::Sender<u64>,
    metrics: SnapshotMetrics,
}

impl Slot {
    fn reload(&self) -> Result<bool, SnapshotError> {
        // Nothing that the lock guards can be left half done.
        let _guard = self.reloading.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.unseen() {
            return Ok(false);
        }
        let outcome = self.open();
        self.metrics
            .loads
            .with_label_values(&[outcome.as_ref().map_or_else(SnapshotError::reason, |_| "loaded")])
            .inc();
        let snapshot = outcome?;
        self.metrics.generation.set(i64::try_from(snapshot.meta().generation).unwrap_or(i64::MAX));
        self.metrics.objects.set(i64::try_from(snapshot.len()).unwrap_or(i64::MAX));
        self.current.store(Some(Arc::new(snapshot)));
        self.swaps.send_modify(|swaps| *swaps += 1);
        Ok(true)
    }

    fn open(&self) -> Result<Snapshot, SnapshotError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SnapshotError::Missing { path: self.path.clone() },
            _ => SnapshotError::Read { path: self.path.clone(), source },
        };
        let file = File::open(&self.path);
        // Of the open file and not of the name, which may be another file's by now. One that cannot be opened has only
        // its name, and must not be tried again each time somebody asks.
        let metadata = file.as_ref().map_or_else(|_| self.path.metadata(), File::metadata);
        self.seen.store(metadata.ok().as_ref().map(FileStamp::of).map(Arc::new));
        let current = self.current.load();
        let cluster = self.cluster.as_deref().or_else(|| current.as_ref().map(|s| s.meta().cluster.as_str()));
        Snapshot::from_file(&self.path, &file.map_err(failed)?, cluster)
    }

    /// Whether the file is another than the one looked at last.
    fn unseen(&self) -> bool {
        let stamp = FileStamp::at(&self.path);
        self.seen.load().as_deref().copied() != stamp
    }

    fn reload_and_log(&self) {
        match self.reload() {
            Ok(false) => {}
            Ok(true) => {
                if let Some(snapshot) = self.current.load().as_ref() {
                    tracing::info!(
                        generation = snapshot.meta().generation,
                        objects = snapshot.len(),
                        "snapshot loaded"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, reason = error.reason(), "snapshot refused, the one before stays"),
        }
    }
}
