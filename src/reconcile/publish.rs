//! Publishing: the one place where a snapshot is made and where the world changes.
//!
//! An edit names what changes; everything else is copied from the snapshot before, byte for byte. The new world counts
//! from the moment when the file is in place, and whoever must know that the webhook serves it can wait for that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Mutex, watch};

use super::history;
use super::kinds::Kinds;
use super::peers::{Progress, Step};
use super::serving::Serving;
use super::tracker::Fingerprint;
use super::world::World;
use crate::api::Action;
use crate::compare::{MaskKey, MaskKeyError};
use crate::object::ObjectId;
use crate::snapshot::{EntryDraft, FILE_NAME, FileStamp, Meta, Snapshot, SnapshotError, SnapshotWriter, Source};

/// What changes with the next snapshot.
#[derive(Default)]
pub struct Edit {
    /// Entries that are new or different.
    pub put: Vec<EntryDraft>,
    /// Entries that go.
    pub remove: HashSet<ObjectId>,
    /// Canonical Secrets with their values, for `World::secrets`.
    pub secrets: HashMap<ObjectId, Value>,
    pub kinds: Option<Arc<Kinds>>,
    /// Objects, with the desired states in which they were seen, of whose earlier templates nothing is left.
    pub settled: HashMap<ObjectId, Fingerprint>,
    /// Templates from which children are made that were there before, by their owners.
    pub found: HashMap<ObjectId, Vec<Value>>,
}

pub struct Publisher {
    path: PathBuf,
    /// Where the world is put together until it is whole: see [`Publisher::release`].
    first: PathBuf,
    released: AtomicBool,
    /// The file that holds the world.
    written: std::sync::Mutex<Option<FileStamp>>,
    world: ArcSwap<World>,
    generation: watch::Sender<u64>,
    /// `None` until the first step.
    progress: watch::Sender<Option<Progress>>,
    serving: Serving,
    /// One edit at a time. Readers of the world never wait for it.
    turn: Mutex<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("the snapshot cannot be written; the last one stays enforced: {0}")]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    MaskKey(#[from] MaskKeyError),
    #[error("the operating system has no randomness to give: {0}")]
    Random(getrandom::Error),
    #[error("the task that writes snapshots died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

const FIRST_FILE: &str = "first";

impl Publisher {
    /// Continues with the snapshot that an earlier process left in `directory`, or begins an empty one. An empty one is
    /// published only with the first edit: until there is something to enforce, the webhook is not ready.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn open(directory: &Path, serving: Serving, cluster: &str, reconciler: &str) -> Result<Self, PublishError> {
        let path = directory.join(FILE_NAME);
        let first = directory.join(FIRST_FILE);
        let mut left_behind = true;
        // Should it be replaced before it is opened, it is not the one that is noted here, and is written again.
        let written = FileStamp::at(&path);
        let snapshot = match Snapshot::open(&path, Some(cluster)) {
            Ok(snapshot) => snapshot,
            Err(reason) => {
                tracing::info!(%reason, "starting without a snapshot");
                let meta = Meta {
                    cluster: cluster.to_owned(),
                    mask_key: MaskKey::random().map_err(PublishError::Random)?.to_hex(),
                    reconciler_users: [reconciler.to_owned()].into(),
                    ..Meta::default()
                };
                left_behind = false;
                SnapshotWriter::create(&first, &meta)?.finish()?;
                Snapshot::open(&first, Some(cluster))?
            }
        };
        let world = World::new(Arc::new(snapshot), Arc::default(), Arc::default())?;
        let (generation, _) = watch::channel(world.snapshot.meta().generation);
        let (progress, _) = watch::channel(left_behind.then(|| progress_of(&world, Step::FINISHED)));
        Ok(Self {
            path,
            first,
            released: AtomicBool::new(left_behind),
            written: std::sync::Mutex::new(written),
            world: ArcSwap::from_pointee(world),
            generation,
            progress,
            serving,
            turn: Mutex::new(()),
        })
    }

    /// The world as of now.
    pub fn world(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// The world as of now, and never an older one than the webhook answers by: it may serve the next one before that is
    /// known here. Waits for an edit that is under way.
    pub async fn settled_world(&self) -> Arc<World> {
        let _turn = self.turn.lock().await;
        self.world()
    }

    /// Changes with every world that is published.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// What the published world holds, for the other replicas.
    pub fn progress(&self) -> watch::Receiver<Option<Progress>> {
        self.progress.subscribe()
    }

    /// A round that has taken this step has published it. Returns what the other replicas must serve, too, before
    /// anybody may write by it.
    pub fn reached(&self, step: Step) -> Progress {
        let next = progress_of(&self.world(), step);
        if !self.is_released() {
            return next;
        }
        self.progress.send_if_modified(|known| {
            let farther = known.clone().map_or_else(|| next.clone(), |known| known.and_then(next.clone()));
            let before = known.replace(farther);
            before != *known
        });
        next
    }

    /// Publishes an edit. `change` sees the newest meta and may refuse by returning `None` (nothing to do).
    ///
    /// # Errors
    /// The snapshot could not be written: the old world stays.
    pub async fn publish(
        &self,
        change: impl FnOnce(&World, &mut Meta) -> Option<Edit>,
    ) -> Result<Arc<World>, PublishError> {
        let _turn = self.turn.lock().await;
        let old = self.world();
        let mut meta = old.snapshot.meta().clone();
        let Some(edit) = change(&old, &mut meta) else { return Ok(old) };
        meta.generation = old.snapshot.meta().generation + 1;
        let path = if self.is_released() { self.path.clone() } else { self.first.clone() };
        let before = Arc::clone(&old);
        let (new, written) = tokio::task::spawn_blocking(move || write(&path, &before, meta, edit)).await??;
        *self.stamp() = written;
        let new = Arc::new(new);
        self.world.store(Arc::clone(&new));
        self.generation.send_replace(new.snapshot.meta().generation);
        Ok(new)
    }

    /// Gives the webhook its first snapshot. A process that begins without one puts it together step by step, and a
    /// webhook that served it before it is whole would not know what is declared, and let it be deleted.
    ///
    /// # Errors
    /// The file cannot be put in place.
    pub async fn release(&self) -> Result<(), PublishError> {
        let _turn = self.turn.lock().await;
        if !self.is_released() {
            let failed = |source| SnapshotError::Write { path: self.path.clone(), source };
            let first = File::open(&self.first).map_err(failed)?;
            std::fs::rename(&self.first, &self.path).map_err(failed)?;
            *self.stamp() = FileStamp::of_open(&first);
            self.released.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Writes the file again where it is not the one that was written last. True where that was called for.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn put_back(&self) -> Result<bool, PublishError> {
        let in_place = {
            // Between the file and the world that it holds nobody can tell.
            let _turn = self.turn.lock().await;
            let there = FileStamp::at(&self.path);
            !self.is_released() || (there.is_some() && there == *self.stamp())
        };
        if !in_place {
            tracing::warn!(path = %self.path.display(), "the snapshot was deleted or altered: it is written again");
            self.publish(|_, _| Some(Edit::default())).await?;
        }
        Ok(!in_place)
    }

    fn stamp(&self) -> std::sync::MutexGuard<'_, Option<FileStamp>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the webhook has a snapshot.
    pub fn is_released(&self) -> bool {
        self.released.load(Ordering::SeqCst)
    }

    /// Waits until the webhook beside this process serves a world, at most `limit`. False where it does not: then its
    /// denials are retried. Before the release it is not ready, and nobody asks it.
    pub async fn served(&self, world: &World, limit: Duration) -> bool {
        !self.is_released() || self.serving.wait(world.snapshot.meta().generation, limit).await
    }
}

fn progress_of(world: &World, step: Step) -> Progress {
    let sources = &world.snapshot.meta().sources;
    Progress {
        // Of a source that was not read yet nothing can be said.
        commits: sources
            .iter()
            .filter(|source| !source.commit.is_empty())
            .map(|source| (source.name.clone(), source.commit.clone()))
            .collect(),
        step,
        closed: sources
            .iter()
            .filter(|source| source.baseline_recorded && source.action == Action::Enforce)
            .map(|source| source.name.clone())
            .collect(),
    }
}

/// The next world, and the file that holds it.
fn write(path: &Path, old: &World, mut meta: Meta, mut edit: Edit) -> Result<(World, Option<FileStamp>), PublishError> {
    let sources: HashMap<&str, usize> =
        meta.sources.iter().enumerate().map(|(index, source)| (source.name.as_str(), index)).collect();
    let moved: Vec<Option<usize>> =
        old.snapshot.meta().sources.iter().map(|source| sources.get(source.name.as_str()).copied()).collect();
    let renumbered = |source: usize| moved.get(source).copied().flatten();
    let cluster = meta.cluster.clone();
    let now = Timestamp::now();
    for draft in &mut edit.put {
        draft.history = history::carried(&old.snapshot, draft, now)?;
        if is_limit_range(&draft.id) {
            meta.limit_ranges.insert(draft.id.clone());
        }
    }
    meta.closed_since = closed_since(&old.snapshot.meta().closed_since, &meta.sources, now);
    meta.limit_ranges.retain(|id| !edit.remove.contains(id));
    let mut writer = SnapshotWriter::create(path, &meta)?;
    let mut secrets: HashMap<ObjectId, Value> = old.secrets.as_ref().clone();
    for draft in &edit.put {
        writer.put(draft)?;
    }
    for (id, state) in &edit.settled {
        let entry = old.snapshot.get(id.as_ref())?;
        let is_same = |canonical| Fingerprint::of(canonical) == *state;
        if let Some(entry) = entry.filter(|entry| entry.canonical().is_some_and(is_same)) {
            let history = entry.history().to_draft().settled();
            writer.put_with_history(&entry, entry.source().and_then(renumbered), &history)?;
        }
    }
    for (id, templates) in edit.found {
        if let Some(entry) = old.snapshot.get(id.as_ref())? {
            let history = history::with(&entry, templates);
            writer.put_with_history(&entry, entry.source().and_then(renumbered), &history)?;
        }
    }
    let file = writer.finish_over(&old.snapshot, &edit.remove, renumbered)?;
    for id in &edit.remove {
        secrets.remove(id);
    }
    secrets.extend(edit.secrets);
    // Not what is found under the name: by now it may be another file's.
    let snapshot = Snapshot::from_file(path, &file, Some(&cluster))?;
    let world =
        World::new(Arc::new(snapshot), edit.kinds.unwrap_or_else(|| Arc::clone(&old.kinds)), Arc::new(secrets))?;
    Ok((world, FileStamp::of_open(&file)))
}

/// Since when the world of each Enforcement is closed.
fn closed_since(
    before: &BTreeMap<String, Timestamp>,
    sources: &[Source],
    now: Timestamp,
) -> BTreeMap<String, Timestamp> {
    let closed = sources.iter().filter(|source| source.is_closed() && source.action == Action::Enforce);
    closed.map(|source| (source.name.clone(), before.get(&source.name).copied().unwrap_or(now))).collect()
}

fn is_limit_range(id: &ObjectId) -> bool {
    (id.kind.group.as_str(), id.kind.kind.as_str()) == ("", "LimitRange")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_asked_for_while_a_world_is_written_is_that_world() {
        let directory = tempfile::tempdir().unwrap();
        let serving = Serving::new("http://127.0.0.1:9");
        let publisher = Arc::new(Publisher::open(directory.path(), serving, "cluster", "reconciler").unwrap());
        let ((begun, has_begun), (go_on, may_go_on)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
        let publishing = tokio::spawn({
            let publisher = Arc::clone(&publisher);
            async move {
                let edit = move |_: &World, _: &mut Meta| {
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    Some(Edit::default())
                };
                publisher.publish(edit).await.unwrap().snapshot.meta().generation
            }
        });
        tokio::task::block_in_place(|| has_begun.recv()).unwrap();
        let before = publisher.world().snapshot.meta().generation;
        let mut settled = std::pin::pin!(publisher.settled_world());
        let early = tokio::time::timeout(Duration::from_millis(20), &mut settled).await;
        assert!(early.is_err(), "it did not wait");
        go_on.send(()).unwrap();
        assert_eq!((settled.await.snapshot.meta().generation, publishing.await.unwrap()), (before + 1, before + 1));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_takes_the_place_of_the_file_is_never_taken_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let publisher = Publisher::open(directory.path(), Serving::new("http://127.0.0.1:9"), "cluster", "r").unwrap();
        publisher.release().await.unwrap();
        let (path, other) = (directory.path().join(FILE_NAME), directory.path().join("other"));
        let stop = Arc::new(AtomicBool::new(false));
        let intruder = std::thread::spawn({
            let (path, stop) = (path.clone(), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::fs::write(&other, "nothing").unwrap();
                    std::fs::rename(&other, &path).unwrap();
                }
            }
        });
        for generation in 1..=100 {
            let world = publisher.publish(|_, _| Some(Edit::default())).await.unwrap();
            assert_eq!(world.snapshot.meta().generation, generation);
        }
        stop.store(true, Ordering::Relaxed);
        intruder.join().unwrap();
        publisher.put_back().await.unwrap();
        Snapshot::open(&path, Some("cluster")).unwrap();
    }
}
