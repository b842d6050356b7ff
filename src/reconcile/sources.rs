//! Follows the Git sources: fetches when somebody notifies or the interval is over, renders, and hands over what can be
//! enforced. A source that cannot be read, or a commit that is broken, leaves the last good one in force.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::api::{GitSource, Problem};
use crate::render::{self, Manifest, RenderError, RenderProblem, Rendered};
use crate::source::{CommitInfo, Repository, SourceError, TransportError, Transports};

/// A source at a commit that can be enforced.
pub struct SourceState {
    pub rendered: Arc<Rendered>,
    pub repository: Arc<Repository>,
    /// The manifests of the file that was read last, where it has several: they are asked for one after the other.
    last_file: Mutex<Option<(String, Arc<Vec<Manifest>>)>>,
    /// Has the source looked at now.
    bell: Arc<Notify>,
}

impl SourceState {
    fn new(rendered: Rendered, repository: Arc<Repository>, bell: Arc<Notify>) -> Self {
        Self { rendered: Arc::new(rendered), repository, last_file: Mutex::default(), bell }
    }

    /// Reads one manifest again.
    ///
    /// # Errors
    /// The repository on the volume is damaged. It is being fetched anew then: trying again will help.
    pub async fn manifest(&self, file: &str, index: usize) -> Result<Manifest, FollowError> {
        let read = self.read_manifest(file, index).await;
        if read.is_err() {
            // The commit was read before: what cannot be read of it now is a matter of the copy.
            self.repository.distrust();
            self.bell.notify_one();
        }
        read
    }

    async fn read_manifest(&self, file: &str, index: usize) -> Result<Manifest, FollowError> {
        let (repository, rendered) = (Arc::clone(&self.repository), Arc::clone(&self.rendered));
        let name = file.to_owned();
        if rendered.files.get(file).is_none_or(|file| file.manifests.len() < 2) {
            let read = move || render::body(&repository, &rendered, &name, index);
            return Ok(tokio::task::spawn_blocking(read).await??);
        }
        // Held while the file is read, so that it is read once for all who wait.
        let mut last = self.last_file.lock().await;
        let manifests = match &*last {
            Some((known, manifests)) if known == file => Arc::clone(manifests),
            _ => {
                let read = move || render::bodies(&repository, &rendered, &name);
                let manifests = Arc::new(tokio::task::spawn_blocking(read).await??);
                *last = Some((file.to_owned(), Arc::clone(&manifests)));
                manifests
            }
        };
        drop(last);
        let missing = || FollowError::NoManifest { file: file.to_owned(), index };
        manifests.get(index).cloned().ok_or_else(missing)
    }

    /// Gives back the memory that reading took.
    pub async fn rest(&self) {
        *self.last_file.lock().await = None;
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Render(#[from] RenderError),
    #[error("{file} has no object number {index} any more; the copy of the repository is damaged and is fetched anew")]
    NoManifest { file: String, index: usize },
    #[error("the task that reads Git died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl FollowError {
    /// For a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Transport(_) => "TransportNotAllowed",
            Self::Source(error) | Self::Render(RenderError::Source(error)) => error.reason(),
            Self::Render(RenderError::NoManifest { .. }) | Self::NoManifest { .. } => "CopyDamaged",
            Self::Task(_) => "Interrupted",
        }
    }
}

/// What a look at a source brought.
pub struct SourceUpdate {
    pub enforcement: String,
    pub seen: Option<CommitInfo>,
    pub outcome: Result<Arc<SourceState>, Failure>,
    /// When the look began: the push was seen.
    pub since: Instant,
}

/// Why the newest commit is not enforced.
pub enum Failure {
    /// The source cannot be read.
    Unreadable(FollowError),
    /// The commit has problems that nobody but its author can solve.
    Broken(Vec<Problem>),
}

pub struct Follower {
    pub enforcement: String,
    pub source: GitSource,
    /// Directory of the repository; one for each source.
    pub directory: PathBuf,
    pub credentials: Option<PathBuf>,
    pub transports: Transports,
    pub bell: Arc<Notify>,
    pub updates: mpsc::Sender<SourceUpdate>,
}

/// The newest commit, and what is to be enforced of it.
type Looked = (CommitInfo, Result<Arc<SourceState>, Failure>);

/// First pause after a failed fetch; it doubles up to the source's interval.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

impl Follower {
    /// Runs until `stop`. A fetch that a silent server holds up ends with it: nothing waits for it any more.
    pub async fn run(self, stop: CancellationToken) {
        let abort = Arc::new(AtomicBool::new(false));
        stop.run_until_cancelled(Arc::new(self).follow(Arc::clone(&abort))).await;
        abort.store(true, Ordering::Relaxed);
    }

    async fn follow(self: Arc<Self>, abort: Arc<AtomicBool>) {
        let interval = Duration::from_secs(u64::from(self.source.interval_seconds.max(1)));
        let mut last: Option<Arc<SourceState>> = None;
        let mut failures = 0_u32;
        loop {
            let since = Instant::now();
            let looked = {
                let (follower, last, abort) = (Arc::clone(&self), last.clone(), Arc::clone(&abort));
                tokio::task::spawn_blocking(move || follower.look(last.as_ref(), abort)).await
            };
            let (seen, outcome) = match looked.map_err(FollowError::from).flatten() {
                Ok((seen, outcome)) => (Some(seen), outcome),
                Err(error) => (None, Err(Failure::Unreadable(error))),
            };
            failures = if outcome.is_ok() { 0 } else { failures.saturating_add(1) };
            if let Ok(state) = &outcome {
                last = Some(Arc::clone(state));
            }
            let update = SourceUpdate { enforcement: self.enforcement.clone(), seen, outcome, since };
            if self.updates.send(update).await.is_err() {
                return;
            }
            let pause = match failures {
                0 => interval,
                failures => FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures - 1)).min(interval),
            };
            tokio::select! {
                () = self.bell.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Blocks.
    fn look(&self, last: Option<&Arc<SourceState>>, abort: Arc<AtomicBool>) -> Result<Looked, FollowError> {
        self.transports.admit(&self.source.url)?;
        let repository = match last {
            Some(state) => Arc::clone(&state.repository),
            None => {
                let opened = Repository::open_or_init(&self.directory, &self.source, self.credentials.as_deref())?;
                Arc::new(opened.with_abort(abort))
            }
        };
        let commit = repository.fetch()?;
        if let Some(state) = last.filter(|state| state.rendered.commit.id == commit.id) {
            return Ok((commit, Ok(Arc::clone(state))));
        }
        let previous = last.map(|state| state.rendered.as_ref());
        let rendered = match render::render(&repository, &commit, &self.source.path, previous) {
            // A copy shows its damage when it is read. Once more, then, by a copy that is fetched anew.
            Err(RenderError::Source(SourceError::Damaged { reason, .. })) => {
                tracing::warn!(enforcement = self.enforcement, reason, "the copy of the repository is damaged");
                render::render(&repository, &repository.fetch()?, &self.source.path, previous)?
            }
            rendered => rendered?,
        };
        let commit = rendered.commit.clone();
        if let Err(problems) = rendered.verdict() {
            let problems = problems.iter().map(|problem| to_api(problem, &commit)).collect();
            return Ok((commit, Err(Failure::Broken(problems))));
        }
        Ok((commit, Ok(Arc::new(SourceState::new(rendered, repository, Arc::clone(&self.bell))))))
    }
}

fn to_api(problem: &RenderProblem, commit: &CommitInfo) -> Problem {
    Problem {
        reason: problem.kind.reason().into(),
        object: problem.object().map(ToString::to_string),
        position: Some(problem.position()),
        commit: Some(commit.id.clone()),
        message: problem.to_string(),
    }
}
