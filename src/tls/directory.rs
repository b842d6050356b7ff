//! The webhook's key pair, in a directory that the reconciler and the webhook of one Pod share.
//!
//! The directory is on a memory volume: the key leaves neither the Pod nor its node's memory, no Secret holds it (a
//! Secret under the webhook's own guard could not be replaced once it expired), and it is gone with the Pod. Files are
//! laid out as the kubelet lays out a mounted Secret: `tls.crt`, `tls.key` and `ca.crt` are links through `..data`,
//! which one rename moves to another directory. So no reader ever sees the key of one pair with the certificate of
//! another.
//!
//! A pair that somebody else put there is used and never touched.
//!
//! Renewal is in two steps. A certificate may be signed by an authority that the webhook configuration does not trust
//! yet only after it does: so a new authority is first announced, beside the old one, and used a while later.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::authorities;
use super::issue::{Authority, IssueError, Issued};

pub const CERTIFICATE_FILE: &str = "tls.crt";
pub const KEY_FILE: &str = "tls.key";
pub const AUTHORITY_FILE: &str = "ca.crt";
/// Seconds since 1970 at which a pair of ours is renewed. Its presence says that the pair is ours.
const RENEWAL_FILE: &str = "renew-at";
const DATA_LINK: &str = "..data";

/// A year outlives any Pod that is updated now and then; renewal after two thirds leaves four months to notice.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const RENEW_AFTER: Duration = Duration::from_secs(243 * 24 * 60 * 60);
/// From announcing an authority to using it: all replicas have seen it, and the API server has the configuration.
const ANNOUNCED_FOR: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(60);
/// Timers do not run while a machine sleeps: the clock is looked at now and then.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(
        "cannot {action} {path}: {source}; the reconciler must be able to write the TLS directory, or be given a pair there"
    )]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "{path} holds a key pair that gitadel did not make, but no usable ca.crt: add the certificate of the authority that signed tls.crt, as PEM"
    )]
    NoAuthority { path: PathBuf },
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// The pair of one replica.
pub struct ServingDirectory {
    path: PathBuf,
    names: Vec<String>,
    /// Signs this replica's certificates as long as the process lives. After a restart there is a pair whose
    /// authority's key is gone: the pair serves until it is due.
    authority: Option<Authority>,
    /// Announced and not used yet.
    announced: Option<Authority>,
    trusted: String,
    renew_at: Option<SystemTime>,
}

impl ServingDirectory {
    /// Takes over the pair that is there, or makes one. `names` are the DNS names and IP addresses under which the API
    /// server calls the webhook.
    pub fn open(path: &Path, names: &[String], now: SystemTime) -> Result<Self, DirectoryError> {
        let mut directory = Self {
            path: path.to_owned(),
            names: names.to_vec(),
            authority: None,
            announced: None,
            trusted: String::new(),
            renew_at: None,
        };
        let present = exists(&path.join(CERTIFICATE_FILE)) && exists(&path.join(KEY_FILE));
        if !present {
            directory.replace(Authority::new(&directory.common_name())?, now)?;
            return Ok(directory);
        }
        let authorities = read(&path.join(AUTHORITY_FILE)).map(|pem| authorities::split(&pem).concat());
        directory.trusted = authorities.unwrap_or_default();
        directory.renew_at = read(&path.join(RENEWAL_FILE))
            .ok()
            .map(|text| UNIX_EPOCH + Duration::from_secs(text.trim().parse().unwrap_or(0)));
        if directory.trusted.is_empty() {
            if directory.renew_at.is_none() {
                return Err(DirectoryError::NoAuthority { path: path.to_owned() });
            }
            directory.replace(Authority::new(&directory.common_name())?, now)?;
        }
        Ok(directory)
    }

    /// The authorities that the webhook configuration must trust for this replica, as PEM.
    pub fn authorities(&self) -> &str {
        &self.trusted
    }

    /// When the pair is renewed; never, where somebody else takes care of it.
    pub fn renew_at(&self) -> Option<SystemTime> {
        self.renew_at
    }

    /// Renews the pair when it is due, and tells `authorities` what to trust. Runs until `shutdown`.
    pub async fn keep(mut self, authorities: watch::Sender<String>, shutdown: CancellationToken) {
        authorities.send_replace(self.trusted.clone());
        loop {
            let pause = match self.step(SystemTime::now()) {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::error!(%error, "cannot renew the serving certificate");
                    RETRY
                }
            };
            authorities.send_if_modified(|known| {
                let changed = *known != self.trusted;
                known.clone_from(&self.trusted);
                changed
            });
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One step of the renewal; returns when to take the next.
    fn step(&mut self, now: SystemTime) -> Result<Duration, DirectoryError> {
        let Some(renew_at) = self.renew_at else {
            self.reread()?;
            return Ok(RETRY);
        };
        if let Ok(left) = renew_at.duration_since(now)
            && !left.is_zero()
        {
            return Ok(left.min(LOOK_AGAIN));
        }
        if let Some(authority) = self.announced.take() {
            // The old authority stays trusted: the webhook may not have read the new pair yet.
            self.install(&authority, now)?;
            self.authority = Some(authority);
            tracing::info!("the webhook serves with a certificate of a new authority");
        } else if let Some(authority) = self.authority.take() {
            self.replace(authority, now)?;
            tracing::info!("the serving certificate is renewed");
        } else {
            let authority = Authority::new(&self.common_name())?;
            let in_use = authorities::split(&self.trusted).pop().unwrap_or_default();
            self.trusted = authorities::split(&format!("{in_use}{}", authority.certificate())).concat();
            self.announced = Some(authority);
            return Ok(ANNOUNCED_FOR);
        }
        Ok(LOOK_AGAIN)
    }

    /// A given pair may be replaced by whoever gave it, with another authority.
    fn reread(&mut self) -> Result<(), DirectoryError> {
        let path = self.path.join(AUTHORITY_FILE);
        let pem = read(&path).map_err(|source| DirectoryError::Io { action: "read", path, source })?;
        let found = authorities::split(&pem).concat();
        if found.is_empty() {
            return Err(DirectoryError::NoAuthority { path: self.path.clone() });
        }
        self.trusted = found;
        Ok(())
    }

    /// Serves with a certificate of this authority, and of no other, from now on.
    fn replace(&mut self, authority: Authority, now: SystemTime) -> Result<(), DirectoryError> {
        self.trusted = authorities::split(authority.certificate()).concat();
        self.install(&authority, now)?;
        self.authority = Some(authority);
        Ok(())
    }

    fn install(&mut self, authority: &Authority, now: SystemTime) -> Result<(), DirectoryError> {
        let names: Vec<_> = self.names.iter().map(String::as_str).collect();
        let issued = authority.issue_server(&names, VALIDITY)?;
        let renew_at = now + RENEW_AFTER;
        self.write(&issued, renew_at)?;
        self.renew_at = Some(renew_at);
        Ok(())
    }

    fn write(&self, issued: &Issued, renew_at: SystemTime) -> Result<(), DirectoryError> {
        let seconds = renew_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let files = [
            (CERTIFICATE_FILE, issued.certificate.as_str(), 0o644),
            (KEY_FILE, issued.key.as_str(), 0o600),
            (AUTHORITY_FILE, self.trusted.as_str(), 0o644),
            (RENEWAL_FILE, &seconds.to_string(), 0o644),
        ];
        attempt("create", &self.path, || DirBuilder::new().recursive(true).mode(0o755).create(&self.path))?;
        let previous = fs::read_link(self.path.join(DATA_LINK)).ok();
        // Two pairs never share a directory: a name is taken once.
        let data =
            (0..).map(|n| format!("..{seconds}.{n}")).find(|name| !self.path.join(name).exists()).unwrap_or_default();
        let directory = self.path.join(&data);
        attempt("create", &directory, || DirBuilder::new().mode(0o755).create(&directory))?;
        for (name, content, mode) in files {
            let file = directory.join(name);
            attempt("write", &file, || {
                let mut open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&file)?;
                open.write_all(content.as_bytes())?;
                open.sync_all()
            })?;
        }
        self.link(DATA_LINK, &data)?;
        for (name, ..) in files {
            let target = format!("{DATA_LINK}/{name}");
            if fs::read_link(self.path.join(name)).ok().as_deref() != Some(Path::new(&target)) {
                self.link(name, &target)?;
            }
        }
        if let Some(previous) = previous.filter(|previous| *previous != Path::new(&data)) {
            let previous = self.path.join(previous);
            attempt("remove", &previous, || fs::remove_dir_all(&previous))?;
        }
        Ok(())
    }

    /// Makes a link, or moves it, in one step.
    fn link(&self, name: &str, target: &str) -> Result<(), DirectoryError> {
        let link = self.path.join(name);
        let temporary = self.path.join(format!("..new-{name}"));
        attempt("link", &link, || {
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            symlink(target, &temporary)?;
            fs::rename(&temporary, &link)
        })
    }

    fn common_name(&self) -> String {
        format!("gitadel webhook {}", self.names.first().map_or("", String::as_str))
    }
}

fn attempt<T>(action: &'static str, path: &Path, run: impl FnOnce() -> io::Result<T>) -> Result<T, DirectoryError> {
    run().map_err(|source| DirectoryError::Io { action, path: path.to_owned(), source })
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        vec!["gitadel.gitadel-system.svc".into(), "127.0.0.1".into()]
    }

    fn open(path: &Path, now: SystemTime) -> ServingDirectory {
        ServingDirectory::open(path, &names(), now).unwrap()
    }

    fn pair(path: &Path) -> [String; 3] {
        [CERTIFICATE_FILE, KEY_FILE, AUTHORITY_FILE].map(|name| read(&path.join(name)).unwrap())
    }

    #[test]
    fn a_pair_is_made_where_there_is_none_and_kept_where_there_is_one() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("tls");
        let now = SystemTime::now();
        let first = open(&path, now);
        let made = pair(&path);
        assert_eq!(first.authorities(), made[2]);

        let second = open(&path, now);
        assert_eq!(pair(&path), made);
        assert_eq!(second.authorities(), made[2]);
        assert_eq!(second.renew_at().map(|t| t > now), Some(true), "it is known as our own");
    }

    #[test]
    fn only_the_owner_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), SystemTime::now());
        let mode = fs::metadata(dir.path().join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_given_pair_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("given").unwrap();
        let issued = authority.issue_server(&["webhook"], Duration::from_secs(60)).unwrap();
        fs::write(dir.path().join(CERTIFICATE_FILE), &issued.certificate).unwrap();
        fs::write(dir.path().join(KEY_FILE), &issued.key).unwrap();
        let without = ServingDirectory::open(dir.path(), &names(), SystemTime::now());
        assert!(matches!(without, Err(DirectoryError::NoAuthority { .. })));

        fs::write(dir.path().join(AUTHORITY_FILE), authority.certificate()).unwrap();
        let mut directory = open(dir.path(), SystemTime::now());
        let given = pair(dir.path());
        directory.step(SystemTime::now() + 100 * VALIDITY).unwrap();
        assert_eq!(pair(dir.path()), given);
        assert_eq!(directory.renew_at(), None);

        let other = Authority::new("other").unwrap();
        fs::write(dir.path().join(AUTHORITY_FILE), other.certificate()).unwrap();
        directory.step(SystemTime::now()).unwrap();
        assert_eq!(directory.authorities(), authorities::split(other.certificate()).concat());
    }

    #[test]
    fn renewal_keeps_the_authority_while_its_key_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let mut directory = open(dir.path(), now);
        let before = pair(dir.path());
        assert!(directory.step(now).unwrap() <= LOOK_AGAIN);
        assert_eq!(pair(dir.path()), before, "not due");

        directory.step(now + RENEW_AFTER).unwrap();
        let after = pair(dir.path());
        assert_ne!(after[0], before[0]);
        assert_ne!(after[1], before[1]);
        assert_eq!(after[2], before[2]);
        assert_eq!(directory.renew_at().map(|t| t > now + RENEW_AFTER), Some(true));
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 6, "nothing of the old pair stays: {left:?}");
    }

    #[test]
    fn a_new_authority_is_trusted_before_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        open(dir.path(), now);
        let before = pair(dir.path());
        let due = now + RENEW_AFTER;
        let mut restarted = open(dir.path(), due);

        assert_eq!(restarted.step(due).unwrap(), ANNOUNCED_FOR);
        assert_eq!(pair(dir.path()), before, "still the old pair");
        assert_eq!(authorities::split(restarted.authorities()).len(), 2);

        restarted.step(due + ANNOUNCED_FOR).unwrap();
        let after = pair(dir.path());
        assert_ne!(after[0], before[0]);
        assert!(after[2].starts_with(&before[2]) && after[2] != before[2]);

        // The next restart and renewal drop the oldest.
        let due = due + ANNOUNCED_FOR + RENEW_AFTER;
        let mut restarted = open(dir.path(), due);
        restarted.step(due).unwrap();
        let trusted = authorities::split(restarted.authorities());
        assert_eq!(trusted.len(), 2);
        assert!(after[2].ends_with(&trusted[0]), "the authority in use stays");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let opened = ServingDirectory::open(&file.path().join("tls"), &names(), SystemTime::now());
        assert!(matches!(opened, Err(DirectoryError::Io { .. })));
    }
}
