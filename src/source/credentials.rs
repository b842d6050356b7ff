//! What the reconciler shows a Git server, read from a mounted directory at every fetch so that a rotation is noticed.
//!
//! The directory is flat: a file is the name of the credentials, a dot, and what it holds. So it can be a Secret, whose
//! keys take no slash, and credentials for one more source are one more key and no new Pod.

use std::fs;
use std::path::{Path, PathBuf};

use super::SourceError;
use super::location::Location;

/// Nobody is there to answer a prompt, and a dead connection must end by itself.
const SSH: &str = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 \
                   -o ServerAliveCountMax=3";

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub username: String,
    pub password: String,
}

/// The credentials of one source: files of a directory that share the beginning of their names.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    name: String,
    dir: PathBuf,
}

impl Credentials {
    pub fn locate(name: &str, credentials_dir: Option<&Path>) -> Result<Self, SourceError> {
        let refuse = |reason: String| SourceError::Credentials { name: name.to_owned(), reason };
        // The name comes from an Enforcement: it must not reach out of the directory of credentials, nor to what the
        // kubelet keeps there for itself (`..data`).
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(refuse("the name may have letters, digits and -._, and must not begin with a dot".to_owned()));
        }
        let Some(dir) = credentials_dir else {
            return Err(refuse(
                "the reconciler runs without --credentials-dir; mount the credentials and set it".to_owned(),
            ));
        };
        Ok(Self { name: name.to_owned(), dir: dir.to_owned() })
    }

    fn path(&self, part: &str) -> PathBuf {
        self.dir.join(format!("{}.{part}", self.name))
    }

    fn read(&self, part: &str) -> Result<String, SourceError> {
        let path = self.path(part);
        let text = fs::read_to_string(&path).map_err(|error| SourceError::Credentials {
            name: self.name.clone(),
            reason: format!("cannot read {}: {error}", path.display()),
        })?;
        // Files of mounted Secrets often end in a line break that is no part of the value.
        Ok(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Who may create an Enforcement chooses credentials by their name, and a URL: so the credentials say for which URLs they
    /// are.
    pub fn account(&self, location: &Location) -> Result<Account, SourceError> {
        let refuse = |reason: String| SourceError::Credentials { name: self.name.clone(), reason };
        let beginning = self.read("url").map_err(|error| {
            refuse(format!("say in {}.url how the URLs begin that may get the password ({error})", self.name))
        })?;
        if !location.is_under(&Location::parse(&beginning)?) {
            return Err(refuse(format!("they are for URLs that begin with {beginning}; {} does not", location.shown)));
        }
        Ok(Account { username: self.read("username")?, password: self.read("password")? })
    }

    fn ssh_command(&self) -> Result<String, SourceError> {
        let mut command = format!("{SSH} -F /dev/null -o IdentitiesOnly=yes -o GlobalKnownHostsFile=/dev/null");
        for (part, option) in [("identity", "-i "), ("known_hosts", "-o UserKnownHostsFile=")] {
            self.read(part)?;
            command = format!("{command} {option}{}", shell_quoted(&self.path(part), &self.name)?);
        }
        Ok(command)
    }
}

/// The command that reaches an ssh server. Without credentials it is the user's own configuration that counts.
pub(super) fn ssh_command(
    location: &Location,
    credentials: Option<&Credentials>,
) -> Result<Option<String>, SourceError> {
    match credentials {
        _ if !location.is_ssh() => Ok(None),
        Some(credentials) => credentials.ssh_command().map(Some),
        None => Ok(Some(SSH.to_owned())),
    }
}

/// ssh splits the value of an option at spaces by itself, whatever the shell made of quotes: such paths are refused.
fn shell_quoted(path: &Path, name: &str) -> Result<String, SourceError> {
    let refuse = || SourceError::Credentials {
        name: name.to_owned(),
        reason: format!("ssh cannot take the path {}; use letters, digits and -._/", path.display()),
    };
    let text = path.to_str().ok_or_else(refuse)?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    if text.chars().all(plain) { Ok(text.to_owned()) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_directory() {
        for name in ["", ".", "..", "../other", "a/b", ".hidden", "..data", "a b"] {
            assert!(Credentials::locate(name, Some(Path::new("/credentials"))).is_err(), "{name:?}");
        }
        assert!(Credentials::locate("shop", Some(Path::new("/credentials"))).is_ok());
        assert!(Credentials::locate("shop", None).unwrap_err().to_string().contains("--credentials-dir"));
    }

    #[test]
    fn values_lose_the_line_break_that_ends_a_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("shop.username"), "alice\n").unwrap();
        let credentials = Credentials::locate("shop", Some(dir.path())).unwrap();
        let location = Location::parse("https://git.example/shop/web.git").unwrap();
        let refusal = || credentials.account(&location).unwrap_err().to_string();
        assert!(refusal().contains("shop.url"), "{}", refusal());
        fs::write(dir.path().join("shop.url"), "https://git.example/bank/\n").unwrap();
        assert!(refusal().contains("begin with https://git.example/bank/"), "{}", refusal());
        fs::write(dir.path().join("shop.url"), "https://git.example/shop/\n").unwrap();
        assert!(refusal().contains("password"), "{}", refusal());
        fs::write(dir.path().join("shop.password"), " s3cret \r\n").unwrap();
        let account = credentials.account(&location).unwrap();
        assert_eq!((account.username.as_str(), account.password.as_str()), ("alice", " s3cret "));
    }

    #[test]
    fn ssh_checks_the_host_and_never_asks() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::write(dir.join("shop.identity"), "key").unwrap();
        let location = Location::parse("git@git.example:shop.git").unwrap();
        let credentials = Credentials::locate("shop", Some(&dir)).unwrap();
        assert!(ssh_command(&location, Some(&credentials)).unwrap_err().to_string().contains("known_hosts"));
        fs::write(dir.join("shop.known_hosts"), "git.example …").unwrap();
        let command = ssh_command(&location, Some(&credentials)).unwrap().unwrap();
        for part in
            ["BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "shop.identity", "UserKnownHostsFile="]
        {
            assert!(command.contains(part), "{command}");
        }
        let https = Location::parse("https://git.example/shop.git").unwrap();
        assert_eq!(ssh_command(&https, Some(&credentials)).unwrap(), None);
    }
}
