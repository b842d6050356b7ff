//! The local bare copy of a source.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use gix::bstr::ByteSlice;

use super::SourceError;
use super::credentials::{Credentials, ssh_command};
use super::location::Location;
use crate::api::GitSource;

/// A fetch that lasts longer is given up: a first fetch of a big repository fits in, a server that hangs does not.
const FETCH_TIMEOUT: Duration = Duration::from_secs(180);

/// Beyond this a copy is worth fetching anew: every look-up of an object may have to ask every pack.
const MAX_PACKS: u16 = 500;

/// One commit, and by which name it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    /// Full hexadecimal id.
    pub id: String,
    /// First line of the message.
    pub subject: String,
    /// Name of the author.
    pub author: String,
    /// When it was committed, in seconds since 1970.
    pub time: i64,
    /// Branch or tag; empty where the source names a commit.
    pub reference: String,
}

impl CommitInfo {
    /// `main@1a2b3c4`
    pub fn short(&self) -> String {
        let id = self.id.get(..7).unwrap_or(&self.id);
        if self.reference.is_empty() { id.to_owned() } else { format!("{}@{id}", self.reference) }
    }
}

/// A source's repository. All methods block; call them where that does no harm.
pub struct Repository {
    pub(super) store: Arc<Store>,
    pub(super) timeout: Duration,
    pub(super) abort: Arc<AtomicBool>,
}

/// What a fetch, which runs in its own thread, shares with the rest.
pub(super) struct Store {
    dir: PathBuf,
    pub source: GitSource,
    pub location: Location,
    pub credentials: Option<Credentials>,
    repository: RwLock<gix::ThreadSafeRepository>,
    /// Held by the caller of a fetch, for as long as it waits.
    pub caller: Mutex<()>,
    /// Fetches that run, also those that nobody waits for any more.
    pub running: AtomicUsize,
    /// Somebody met damage: the copy is replaced by the next fetch.
    pub damaged: AtomicBool,
}

impl Repository {
    /// Opens the copy in `dir`, or begins an empty one there. A copy that cannot be read is replaced: it holds nothing
    /// that the server does not have.
    pub fn open_or_init(dir: &Path, source: &GitSource, credentials_dir: Option<&Path>) -> Result<Self, SourceError> {
        let location = Location::parse(&source.url)?;
        let credentials =
            source.credentials.as_deref().map(|name| Credentials::locate(name, credentials_dir)).transpose()?;
        if let Some(name) = &source.credentials
            && !location.may_carry_credentials()
        {
            let reason = format!("{} would show them to everybody on the way; use an https or ssh URL", location.shown);
            return Err(SourceError::Credentials { name: name.clone(), reason });
        }
        let repository = match open(dir, &location) {
            Ok(repository) => repository,
            Err(_) => create(dir, &location)?,
        };
        let store = Store {
            dir: dir.to_owned(),
            source: source.clone(),
            location,
            credentials,
            repository: RwLock::new(repository),
            caller: Mutex::new(()),
            running: AtomicUsize::new(0),
            damaged: AtomicBool::new(false),
        };
        Ok(Self { store: Arc::new(store), timeout: FETCH_TIMEOUT, abort: Arc::new(AtomicBool::new(false)) })
    }

    /// How long a fetch may last.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Set by whoever shuts down: fetches that run and later ones are given up.
    pub fn with_abort(mut self, abort: Arc<AtomicBool>) -> Self {
        self.abort = abort;
        self
    }

    /// Has the next fetch bring everything anew. Whatever meets [`SourceError::Damaged`] has done so already.
    pub fn distrust(&self) {
        self.store.damaged.store(true, Ordering::Release);
    }

    /// The content of a blob that a listing named.
    pub fn read(&self, blob: &str) -> Result<Vec<u8>, SourceError> {
        let repository = self.store.local();
        let id = self.store.parse_id(blob)?;
        let size = repository.find_header(id).map_err(|error| self.store.damaged(&error))?.size();
        if size > super::MAX_FILE_BYTES {
            return Err(SourceError::TooLarge { file: blob.to_owned(), size, limit: super::MAX_FILE_BYTES });
        }
        let mut object = repository.find_blob(id).map_err(|error| self.store.damaged(&error))?;
        Ok(object.take_data())
    }

    /// What is known of a commit that the copy has.
    pub fn commit(&self, id: &str) -> Result<CommitInfo, SourceError> {
        let repository = self.store.local();
        self.store.describe_commit(&repository, self.store.parse_id(id)?, String::new())
    }
}

impl Store {
    /// A handle for this thread.
    pub fn local(&self) -> gix::Repository {
        self.repository.read().unwrap_or_else(PoisonError::into_inner).to_thread_local()
    }

    fn replace(&self, repository: gix::ThreadSafeRepository) {
        *self.repository.write().unwrap_or_else(PoisonError::into_inner) = repository;
    }

    /// An empty copy of the same source next to this one.
    pub fn beside(&self) -> Result<Self, SourceError> {
        let mut name = self.dir.file_name().unwrap_or_default().to_owned();
        // No Kubernetes name has this sign: it cannot be the directory of another source.
        name.push("~anew");
        let dir = self.dir.with_file_name(name);
        Ok(Self {
            repository: RwLock::new(create(&dir, &self.location)?),
            dir,
            source: self.source.clone(),
            location: self.location.clone(),
            credentials: self.credentials.clone(),
            caller: Mutex::new(()),
            running: AtomicUsize::new(0),
            damaged: AtomicBool::new(false),
        })
    }

    /// Puts another copy in the place of this one.
    pub fn adopt(&self, other: &Self) -> Result<(), SourceError> {
        let moved = match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(&other.dir, &self.dir),
        };
        moved.map_err(|error| SourceError::Store {
            url: self.location.shown.clone(),
            dir: self.dir.clone(),
            reason: error.to_string(),
        })?;
        self.replace(open(&self.dir, &self.location)?);
        Ok(())
    }

    /// Opens the copy again, configured for the network with the credentials of this moment.
    pub fn connectable(&self) -> Result<gix::Repository, SourceError> {
        let mut overrides = vec!["ssh.variant=ssh".to_owned()];
        if let Some(command) = ssh_command(&self.location, self.credentials.as_ref())? {
            overrides.push(format!("core.sshCommand={command}"));
        }
        let opened = options().config_overrides(base_overrides().chain(overrides)).open(&self.dir);
        let repository = opened.map_err(|error| self.damaged(&error))?;
        Ok(repository.to_thread_local())
    }

    /// Every fetch leaves one more pack; they are never merged, so that a copy with very many is worth a new one.
    pub fn has_too_many_packs(&self) -> bool {
        self.packs() > usize::from(MAX_PACKS)
    }

    fn packs(&self) -> usize {
        fs::read_dir(self.dir.join("objects/pack")).map_or(0, |entries| {
            entries.flatten().filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pack")).count()
        })
    }

    pub fn parse_id(&self, id: &str) -> Result<gix::ObjectId, SourceError> {
        gix::ObjectId::from_hex(id.as_bytes())
            .map_err(|_| SourceError::NoCommit { url: self.location.shown.clone(), commit: id.to_owned() })
    }

    pub fn damaged(&self, error: &dyn std::error::Error) -> SourceError {
        self.damaged.store(true, Ordering::Release);
        SourceError::Damaged { url: self.location.shown.clone(), reason: self.location.describe(error) }
    }

    pub fn describe_commit(
        &self,
        repository: &gix::Repository,
        id: gix::ObjectId,
        reference: String,
    ) -> Result<CommitInfo, SourceError> {
        let commit = repository.find_commit(id).map_err(|error| self.damaged(&error))?;
        let decoded = commit.decode().map_err(|error| self.damaged(&error))?;
        let line = decoded.message.lines().next().unwrap_or_default();
        let author = decoded.author().map(|author| author.name.to_string()).unwrap_or_default();
        let time = commit.time().map(|time| time.seconds).unwrap_or_default();
        Ok(CommitInfo { id: id.to_string(), subject: line.to_str_lossy().trim().to_owned(), author, time, reference })
    }
}

/// Counts a fetch as running until it is dropped.
pub(super) struct Running(Arc<Store>);

impl Running {
    /// None where `limit` of them run already.
    pub fn begin(store: &Arc<Store>, limit: usize) -> Option<Self> {
        let counted = store.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
            (running < limit).then(|| running.saturating_add(1))
        });
        counted.is_ok().then(|| Self(Arc::clone(store)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Nothing of the machine's Git configuration counts, but for the proxies of its environment.
fn options() -> gix::open::Options {
    let mut permissions = gix::open::Permissions::isolated();
    permissions.env.http_transport = gix::sec::Permission::Allow;
    // gix counts the packs once, when it opens a repository, and has no room for many more: every fetch adds one.
    let slots = gix::odb::store::init::Slots::Given(MAX_PACKS.saturating_mul(2));
    gix::open::Options::default()
        .permissions(permissions)
        .object_store_slots(slots)
        .with(gix::sec::Trust::Full)
        .open_path_as_is(true)
}

fn base_overrides() -> impl Iterator<Item = String> {
    ["user.name=gitadel", "user.email=gitadel@localhost"].into_iter().map(str::to_owned)
}

fn open(dir: &Path, location: &Location) -> Result<gix::ThreadSafeRepository, SourceError> {
    options()
        .config_overrides(base_overrides())
        .open(dir)
        .map_err(|error| SourceError::Damaged { url: location.shown.clone(), reason: location.describe(&error) })
}

fn create(dir: &Path, location: &Location) -> Result<gix::ThreadSafeRepository, SourceError> {
    let refuse = |reason: String| SourceError::Store { url: location.shown.clone(), dir: dir.to_owned(), reason };
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(refuse(error.to_string())),
        _ => {}
    }
    fs::create_dir_all(dir).map_err(|error| refuse(error.to_string()))?;
    gix::init_bare(dir).map_err(|error| refuse(location.describe(&error)))?;
    open(dir, location)
}
