//! Sources on servers: credentials go where they belong, and no server can hang or fool the reconciler.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/git_http.rs"]
mod git_http;
#[path = "support/git_origin.rs"]
mod git_origin;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use git_http::{Behaviour, Certificate, GitServer};
use git_origin::{Origin, source};
use gitadel::api::GitSource;
use gitadel::source::{Repository, SourceError};

/// Set for the process that [`ssh_is_followed`] starts.
const OVER_SSH: &str = "GITADEL_TEST_SSH";

/// Set for the process that [`passwords_go_over_https_to_their_server_only`] starts.
const SECURE: &str = "GITADEL_TEST_GIT_SERVERS";

const ACCOUNT: Option<(&str, &str)> = Some(("alice", "s3cret"));

fn with_credentials(url: &str) -> GitSource {
    source(url, Some(("credentials", "shop")))
}

#[test]
fn http_is_followed() {
    let origin = Origin::new();
    origin.push("web.yaml", "a: 1\n");
    let server = GitServer::repositories(origin.scratch(), None);
    let repository = origin.open(&source(&format!("{}/shop.git", server.url), None));
    assert_eq!(repository.fetch().unwrap().reference, "main");
    let second = origin.push("web.yaml", "a: 2\n");
    let commit = repository.fetch().unwrap();
    assert_eq!(commit.id, second);
    assert_eq!(repository.read_at(&commit.id, "web.yaml").unwrap().as_deref(), Some(&b"a: 2\n"[..]));
    let error = origin.open(&source(&format!("{}/absent.git", server.url), None)).fetch().unwrap_err();
    assert!(matches!(error, SourceError::Fetch { .. }), "{error}");
}

#[test]
fn a_server_that_asks_for_a_password_is_an_error_without_a_prompt() {
    let origin = Origin::new();
    origin.push("web.yaml", "a: 1\n");
    let server = GitServer::repositories(origin.scratch(), ACCOUNT);
    let error = origin.open(&source(&format!("{}/shop.git", server.url), None)).fetch().unwrap_err();
    assert!(matches!(error, SourceError::Authentication { .. }), "{error}");
    assert!(error.to_string().contains("set `credentials`"), "{error}");
}

#[test]
fn passwords_are_not_sent_in_the_clear() {
    let origin = Origin::new();
    origin.push("web.yaml", "a: 1\n");
    let server = GitServer::repositories(origin.scratch(), ACCOUNT);
    origin.write_credentials("shop", &server.url, "alice", "s3cret");
    let url = format!("{}/shop.git", server.url);
    let opened = Repository::open_or_init(&origin.copy(), &with_credentials(&url), Some(&origin.credentials()));
    let error = opened.err().expect("no source");
    assert!(matches!(error, SourceError::Credentials { .. }) && error.to_string().contains("https"), "{error}");
    let in_url = url.replace("http://", "http://alice:s3cret@");
    let error = origin.open(&source(&in_url, None)).fetch().unwrap_err();
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert_eq!(*server.authorizations.lock().unwrap(), Vec::<String>::new());
}

/// Which certificates a process trusts is decided by its environment, so that the client is a process of its own.
#[test]
fn passwords_go_over_https_to_their_server_only() {
    if let Ok(urls) = std::env::var(SECURE) {
        let (server, redirect) = urls.split_once(' ').unwrap();
        return follow_over_https(server, redirect);
    }
    let origin = Origin::new();
    origin.push("web.yaml", "a: 1\n");
    let certificate = Certificate::new();
    let repositories = || Behaviour::Repositories { root: origin.scratch().to_owned(), account: ACCOUNT };
    let server = GitServer::start_secure(repositories(), &certificate);
    let thief = GitServer::start_secure(repositories(), &certificate);
    let redirect = GitServer::start_secure(Behaviour::Redirect { to: thief.url.clone() }, &certificate);
    // As in the Pod: a directory of public authorities, and one for those of an organisation.
    let (public, private) = (origin.scratch().join("public"), origin.scratch().join("private"));
    for directory in [&public, &private] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(private.join("ca.crt"), &certificate.pem).unwrap();
    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "passwords_go_over_https_to_their_server_only", "--nocapture"])
        .env(SECURE, format!("{} {}", server.url, redirect.url))
        .env("SSL_CERT_DIR", format!("{}:{}", public.display(), private.display()))
        .output()
        .unwrap();
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
    assert!(!server.authorizations.lock().unwrap().is_empty(), "the client did not ask");
    assert_eq!(*thief.authorizations.lock().unwrap(), Vec::<String>::new());

    // Without that trust, nothing is sent at all.
    let untrusted = origin.open(&source(&format!("{}/shop.git", server.url), None)).fetch().unwrap_err();
    assert!(matches!(untrusted, SourceError::Fetch { .. }), "{untrusted}");
}

fn follow_over_https(server: &str, redirect: &str) {
    let here = Origin::new();
    let repository = |server: &str| here.open(&with_credentials(&format!("{server}/shop.git")));
    here.write_credentials("shop", "https://git.example", "alice", "s3cret");
    let error = repository(server).fetch().unwrap_err();
    assert!(error.to_string().contains("begin with https://git.example"), "{error}");
    here.write_credentials("shop", server, "alice", "wr0ng");
    let shop = repository(server);
    let error = shop.fetch().unwrap_err();
    assert!(matches!(error, SourceError::Authentication { .. }), "{error}");
    assert!(error.to_string().contains("renew") && !error.to_string().contains("wr0ng"), "{error}");
    // The same value notices that the password was changed.
    here.write_credentials("shop", server, "alice", "s3cret\n");
    let commit = shop.fetch().unwrap();
    assert_eq!(shop.read_at(&commit.id, "web.yaml").unwrap().as_deref(), Some(&b"a: 1\n"[..]));
    here.write_credentials("shop", redirect, "alice", "s3cret\n");
    let error = repository(redirect).fetch().unwrap_err();
    assert!(matches!(error, SourceError::Authentication { .. }), "{error}");
    assert!(error.to_string().contains("another server"), "{error}");
}

#[test]
fn a_page_instead_of_a_repository_is_an_error() {
    let origin = Origin::new();
    let server = GitServer::start(Behaviour::Garbage);
    let url = format!("{}/shop.git", server.url).replace("http://", "http://alice:s3cret@");
    let error = origin.open(&source(&url, None)).fetch().unwrap_err();
    assert!(matches!(error, SourceError::Fetch { .. }), "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

/// Accepts connections and never says a word.
fn silent() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (format!("http://{}/shop.git", listener.local_addr().unwrap()), listener)
}

#[test]
fn a_silent_server_does_not_hold_up_the_caller() {
    let origin = Origin::new();
    let (url, _listener) = silent();
    let repository = origin.open(&source(&url, None)).with_timeout(Duration::from_millis(300));
    let error = repository.fetch().unwrap_err();
    assert!(matches!(error, SourceError::Timeout { after, .. } if after == Duration::from_millis(300)), "{error}");
    // A server that recovers is followed again at the next fetch; one that does not is not asked without end.
    let errors: Vec<_> = (0..6).map(|_| repository.fetch().unwrap_err()).collect();
    assert!(matches!(errors.first(), Some(SourceError::Timeout { .. })));
    assert!(matches!(errors.last(), Some(SourceError::Hanging { .. })));
}

#[test]
fn a_shutdown_ends_a_fetch() {
    let origin = Origin::new();
    let (url, listener) = silent();
    let abort = Arc::new(AtomicBool::new(false));
    let repository = origin.open(&source(&url, None)).with_abort(Arc::clone(&abort));
    let fetch = thread::spawn(move || repository.fetch());
    let _connection = listener.accept().unwrap();
    abort.store(true, Ordering::Relaxed);
    let error = fetch.join().unwrap().unwrap_err();
    assert!(matches!(error, SourceError::Aborted { .. }), "{error}");
}

#[test]
fn an_ssh_server_that_is_not_there_is_an_error_without_a_prompt() {
    let origin = Origin::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let repository = origin.open(&source(&format!("ssh://git@{closed}/shop.git"), None));
    let error = repository.with_timeout(Duration::from_secs(20)).fetch().unwrap_err();
    assert!(matches!(error, SourceError::Fetch { .. }), "{error}");
}

/// Stands in for OpenSSH: notes what it was called with, then does what the server would, with this machine's own git: the
/// words after the destination are the command, to be run in the account's home directory.
const SSH: &str = r#"#!/bin/sh
echo "$@" >>"$HOME/calls"
while getopts F:i:o:p: option; do :; done
shift "$OPTIND"
cd "$HOME" && exec sh -c "$*"
"#;

/// Which `ssh` is run is decided by the environment, so that the client is a process of its own.
#[test]
fn ssh_is_followed() {
    if let Ok(url) = std::env::var(OVER_SSH) {
        let here = Origin::new();
        here.write_credential("shop", "identity", "a private key");
        let refused = here.open(&with_credentials(&url)).fetch().unwrap_err();
        assert!(refused.to_string().contains("shop.known_hosts"), "{refused}");
        here.write_credential("shop", "known_hosts", "git.example ssh-ed25519 …");
        let repository = here.open(&with_credentials(&url));
        let commit = repository.fetch().unwrap();
        assert_eq!(repository.read_at(&commit.id, "web.yaml").unwrap().as_deref(), Some(&b"a: 1\n"[..]));
        return;
    }
    let origin = Origin::new();
    origin.push("web.yaml", "a: 1\n");
    let programs = origin.scratch().join("bin");
    fs::create_dir(&programs).unwrap();
    fs::write(programs.join("ssh"), SSH).unwrap();
    fs::set_permissions(programs.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let client = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ssh_is_followed", "--nocapture"])
        .env(OVER_SSH, "git@git.example:shop.git")
        .env("PATH", path)
        .env("HOME", origin.scratch())
        .output()
        .unwrap();
    assert!(client.status.success(), "{}", String::from_utf8_lossy(&client.stderr));
    let calls = fs::read_to_string(origin.scratch().join("calls")).unwrap();
    for part in ["BatchMode=yes", "StrictHostKeyChecking=yes", "shop.identity", "shop.known_hosts", "git@git.example"] {
        assert!(calls.contains(part), "{part}: {calls}");
    }
}

#[test]
fn credentials_cannot_be_those_of_another_directory() {
    let origin = Origin::new();
    let source = source("https://git.example/shop.git", Some(("credentials", "../other")));
    let opened = Repository::open_or_init(&origin.copy(), &source, Some(&origin.credentials()));
    assert!(matches!(opened, Err(SourceError::Credentials { .. })));
}
