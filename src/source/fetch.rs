//! Bringing a reference of the remote repository here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use gix::bstr::ByteSlice;
use gix::credentials::helper::Action;
use gix::credentials::protocol::Outcome as Identity;
use gix::protocol::handshake::Ref;
use gix::remote::{Direction, fetch::Tags, ref_map};

use super::credentials::Account;
use super::location::Location;
use super::repository::{Running, Store};
use super::{CommitInfo, Repository, SourceError};
use crate::api::GitSource;

/// The local name of what was fetched last.
const TIP: &str = "refs/gitadel/tip";

/// Nothing ends a thread that waits for a server which keeps its connection open and says nothing: so many of them may
/// be left behind. HTTP and ssh give up silent connections, so that this is not reached where the network merely fails.
const MAX_RUNNING: usize = 4;

/// How often a waiting fetch looks whether it shall stop.
const GLANCE: Duration = Duration::from_millis(100);

impl Repository {
    /// Fetches what the source names and returns its commit.
    ///
    /// The work is done in a thread of its own: a server that accepts and then says nothing can hold up that thread,
    /// until its connection breaks, but not the caller.
    pub fn fetch(&self) -> Result<CommitInfo, SourceError> {
        let url = || self.store.location.shown.clone();
        let _caller = match self.store.caller.try_lock() {
            Ok(caller) => caller,
            Err(TryLockError::Poisoned(caller)) => caller.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(SourceError::Busy { url: url() }),
        };
        let running = Running::begin(&self.store, MAX_RUNNING)
            .ok_or_else(|| SourceError::Hanging { url: url(), fetches: MAX_RUNNING })?;
        let (store, interrupt) = (Arc::clone(&self.store), Arc::new(AtomicBool::new(false)));
        let (answer, answered) = mpsc::channel();
        let work = {
            let interrupt = Arc::clone(&interrupt);
            move || {
                let outcome = store.fetch(&interrupt);
                drop(running);
                answer.send(outcome).ok();
            }
        };
        thread::Builder::new().name("git-fetch".to_owned()).spawn(work).map_err(|error| SourceError::Fetch {
            url: url(),
            reference: wanted(&self.store.source).shown,
            reason: error.to_string(),
        })?;
        let started = Instant::now();
        loop {
            match answered.recv_timeout(GLANCE) {
                Ok(outcome) => return outcome,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let reason = "the Git library failed; see the log".to_owned();
                    let reference = wanted(&self.store.source).shown;
                    return Err(SourceError::Fetch { url: url(), reference, reason });
                }
            }
            let aborted = self.abort.load(Ordering::Relaxed);
            if aborted || started.elapsed() >= self.timeout {
                interrupt.store(true, Ordering::Relaxed);
                return Err(match aborted {
                    true => SourceError::Aborted { url: url() },
                    false => SourceError::Timeout { url: url(), after: self.timeout },
                });
            }
        }
    }
}

/// What to ask the server for.
struct Wanted {
    /// Left side of the refspec.
    name: String,
    /// As [`CommitInfo::reference`] has it; None for the default branch, whose name the server tells.
    reference: Option<String>,
    /// As messages have it.
    shown: String,
}

fn wanted(source: &GitSource) -> Wanted {
    let named = |prefix: &str, kind: &str, name: &str| {
        let full = if name.starts_with("refs/") { name.to_owned() } else { format!("{prefix}{name}") };
        Wanted { name: full, reference: Some(name.to_owned()), shown: format!("{kind} {name:?}") }
    };
    match (&source.branch, &source.tag, &source.commit) {
        (Some(branch), _, _) => named("refs/heads/", "branch", branch),
        (_, Some(tag), _) => named("refs/tags/", "tag", tag),
        (_, _, Some(id)) => Wanted { name: id.clone(), reference: Some(String::new()), shown: format!("commit {id}") },
        _ => Wanted { name: "HEAD".to_owned(), reference: None, shown: "default branch".to_owned() },
    }
}

impl Store {
    fn fetch(&self, interrupt: &AtomicBool) -> Result<CommitInfo, SourceError> {
        if self.damaged.load(Ordering::Acquire) {
            return self.renew(interrupt);
        }
        match self.fetch_once(interrupt) {
            // A fetch that was given up must not take the copy from under the one that follows.
            outcome if interrupt.load(Ordering::Relaxed) => outcome,
            Err(SourceError::Damaged { .. }) => self.renew(interrupt),
            // The commit is here: that the server would not give everything once more is no failure.
            Ok(commit) if self.has_too_many_packs() => self.renew(interrupt).or(Ok(commit)),
            outcome => outcome,
        }
    }

    /// Fetches everything anew. The old copy stays until the new one is complete; what only the old one had, commits
    /// that the server has dropped, is lost with it.
    fn renew(&self, interrupt: &AtomicBool) -> Result<CommitInfo, SourceError> {
        let anew = self.beside()?;
        let commit = anew.fetch_once(interrupt)?;
        if interrupt.load(Ordering::Relaxed) {
            return Err(SourceError::Aborted { url: self.location.shown.clone() });
        }
        self.adopt(&anew)?;
        self.damaged.store(false, Ordering::Release);
        Ok(commit)
    }

    fn fetch_once(&self, interrupt: &AtomicBool) -> Result<CommitInfo, SourceError> {
        let wanted = wanted(&self.source);
        if let Some(commit) = &self.source.commit {
            return self.fetch_commit(commit, &wanted, interrupt);
        }
        let spec = format!("+{}:{TIP}", wanted.name);
        let found = self.transfer(&[spec], &wanted.shown, interrupt)?;
        let Some((id, symbolic)) = found else {
            return Err(SourceError::NoReference { url: self.location.shown.clone(), reference: wanted.shown });
        };
        self.usable(id, wanted.reference.or(symbolic).unwrap_or_else(|| "HEAD".to_owned()))
    }

    /// A commit's content never changes: once it is here, nobody has to be asked.
    fn fetch_commit(&self, commit: &str, wanted: &Wanted, interrupt: &AtomicBool) -> Result<CommitInfo, SourceError> {
        let id = self.parse_id(commit)?;
        if self.local().has_object(id) {
            return self.usable(id, String::new());
        }
        // Not every server gives out a commit by its id; every server gives out its branches and tags.
        let by_id = self.transfer(&[format!("+{id}:{TIP}")], &wanted.shown, interrupt);
        if by_id.is_err() || !self.local().has_object(id) {
            let all = ["+refs/heads/*:refs/gitadel/heads/*".to_owned(), "+refs/tags/*:refs/gitadel/tags/*".to_owned()];
            self.transfer(&all, &wanted.shown, interrupt)?;
        }
        if !self.local().has_object(id) {
            return Err(SourceError::NoCommit { url: self.location.shown.clone(), commit: commit.to_owned() });
        }
        self.usable(id, String::new())
    }

    /// Tags are peeled; the commit and its tree must be here.
    fn usable(&self, id: gix::ObjectId, reference: String) -> Result<CommitInfo, SourceError> {
        let repository = self.local();
        let object = repository.find_object(id).map_err(|error| self.damaged(&error))?;
        let peeled = object.peel_tags_to_end().map_err(|error| self.damaged(&error))?;
        if peeled.kind != gix::objs::Kind::Commit {
            let kind = peeled.kind.to_string();
            return Err(SourceError::NotACommit { url: self.location.shown.clone(), reference, kind });
        }
        let commit = peeled.id;
        repository.find_commit(commit).and_then(|found| found.tree()).map_err(|error| self.damaged(&error))?;
        self.describe_commit(&repository, commit, reference)
    }

    /// Fetches, and returns the object that the first refspec led to and, for HEAD, the branch that it stands for.
    fn transfer(
        &self,
        specs: &[String],
        reference: &str,
        interrupt: &AtomicBool,
    ) -> Result<Option<(gix::ObjectId, Option<String>)>, SourceError> {
        let repository = self.connectable()?;
        let asked = Asked::default();
        let account = match &self.credentials {
            Some(credentials) if self.location.is_http() => Some(credentials.account(&self.location)?),
            _ => None,
        };
        let run = || -> Result<_, gix::Error> {
            let remote = repository
                .remote_at(self.location.url.clone())?
                .with_fetch_tags(Tags::None)
                .with_refspecs(specs.iter().map(|spec| spec.as_bytes().as_bstr()), Direction::Fetch)?;
            let connection = remote.connect(Direction::Fetch)?;
            let connection =
                connection.with_credentials(|action| asked.answer(action, &self.location, account.as_ref()));
            let prepared = connection.prepare_fetch(gix::progress::Discard, ref_map::Options::default())?;
            let mappings = &prepared.ref_map().mappings;
            let found = mappings.first().and_then(|mapping| {
                let symbolic = match &mapping.remote {
                    gix::protocol::fetch::refmap::Source::Ref(Ref::Symbolic { target, .. }) => {
                        target.to_str().ok().map(|name| name.strip_prefix("refs/heads/").unwrap_or(name).to_owned())
                    }
                    _ => None,
                };
                Some((mapping.remote.as_id()?.to_owned(), symbolic))
            });
            if mappings.is_empty() {
                return Ok(None);
            }
            prepared.receive(gix::progress::Discard, interrupt)?;
            Ok(found)
        };
        run().map_err(|error| match asked.hint() {
            Some(hint) => SourceError::Authentication { url: self.location.shown.clone(), hint },
            None => SourceError::Fetch {
                url: self.location.shown.clone(),
                reference: reference.to_owned(),
                reason: self.location.describe(&error),
            },
        })
    }
}

/// What became of the server's questions for credentials.
#[derive(Default)]
struct Asked(Mutex<Option<&'static str>>);

impl Asked {
    fn answer(
        &self,
        action: Action,
        location: &Location,
        account: Option<&Account>,
    ) -> Result<Option<Identity>, gix::Error> {
        let Action::Get(context) = action else {
            if let Action::Erase(_) = action {
                self.note("it refuses the user name and password of the source's credentials; renew them");
            }
            return Ok(None);
        };
        let server = context.url.clone().or_else(|| context.to_url());
        let server = server.and_then(|url| gix::url::parse(url.as_bstr()).ok());
        if !server.is_some_and(|server| location.is_same_server(&server)) {
            self.note("it redirects to another server, which gets no credentials; use that server's URL");
            return Ok(None);
        }
        let Some(account) = account else {
            self.note("set `credentials` in the source, or correct the URL of a public repository");
            return Ok(None);
        };
        Ok(Some(Identity {
            identity: gix::sec::identity::Account {
                username: account.username.clone(),
                password: account.password.clone(),
                oauth_refresh_token: None,
            },
            next: context.into(),
        }))
    }

    fn note(&self, hint: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(hint);
    }

    fn hint(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(asked: &Asked, url: &str, account: Option<&Account>) -> Option<Identity> {
        let location = Location::parse("https://git.example/shop.git").unwrap();
        asked.answer(Action::get_for_url(url), &location, account).unwrap()
    }

    #[test]
    fn only_the_server_of_the_source_gets_the_account() {
        let account = Account { username: "alice".to_owned(), password: "s3cret".to_owned() };
        let given = ask(&Asked::default(), "https://git.example/shop.git", Some(&account)).unwrap();
        assert_eq!((given.identity.username.as_str(), given.identity.password.as_str()), ("alice", "s3cret"));
        let others =
            ["https://evil.example/shop.git", "http://git.example/shop.git", "https://git.example:444/shop.git"];
        for other in others {
            let asked = Asked::default();
            assert!(ask(&asked, other, Some(&account)).is_none(), "{other}");
            assert!(asked.hint().unwrap().contains("another server"), "{other}");
        }
    }

    #[test]
    fn a_question_that_cannot_be_answered_gives_a_hint() {
        let asked = Asked::default();
        assert!(ask(&asked, "https://git.example/shop.git", None).is_none());
        assert!(asked.hint().unwrap().contains("credentials"));
    }
}
