//! A Git repository that plays the server's, made with the `git` program: what gitadel reads was then not written by
//! the library that reads it.

// Each test binary uses a part of it.
#![allow(dead_code)]
// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gitadel::api::GitSource;
use gitadel::source::Repository;
use serde_json::json;

/// A repository with a work tree in a temporary directory, which also holds the copies that gitadel makes of it.
pub struct Origin {
    scratch: tempfile::TempDir,
}

impl Origin {
    /// Empty, on branch `main`.
    pub fn new() -> Self {
        let origin = Self { scratch: tempfile::tempdir().expect("a temporary directory") };
        fs::create_dir(origin.work_tree()).unwrap();
        origin.git(&["init", "--quiet", "--initial-branch=main"]);
        origin
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub fn work_tree(&self) -> PathBuf {
        self.scratch.path().join("shop.git")
    }

    pub fn url(&self) -> String {
        format!("file://{}", self.work_tree().display())
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_with_input(arguments, b"")
    }

    pub fn git_with_input(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut child = Command::new("git")
            .args(arguments)
            .current_dir(self.work_tree())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Ada Lovelace")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_COMMITTER_NAME", "Grace Hopper")
            .env("GIT_COMMITTER_EMAIL", "grace@example.org")
            .env("GIT_COMMITTER_DATE", "1700000000 +0100")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the git program");
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.work_tree().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Commits everything in the work tree and returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Writes one file and commits it.
    pub fn push(&self, file: &str, content: &str) -> String {
        self.write(file, content);
        self.commit(&format!("Change {file}"))
    }

    pub fn copy(&self) -> PathBuf {
        self.scratch.path().join("copy")
    }

    /// gitadel's copy of it, always in the same directory.
    pub fn open(&self, source: &GitSource) -> Repository {
        Repository::open_or_init(&self.copy(), source, Some(&self.credentials())).expect("a copy")
    }

    pub fn credentials(&self) -> PathBuf {
        self.scratch.path().join("credentials")
    }

    pub fn write_credential(&self, name: &str, part: &str, value: &str) {
        fs::create_dir_all(self.credentials()).unwrap();
        fs::write(self.credentials().join(format!("{name}.{part}")), value).unwrap();
    }

    /// Credentials for the URLs that begin like this.
    pub fn write_credentials(&self, name: &str, url: &str, username: &str, password: &str) {
        self.write_credential(name, "url", url);
        self.write_credential(name, "username", username);
        self.write_credential(name, "password", password);
    }
}

/// A source with one more field, such as `("branch", "main")`.
pub fn source(url: &str, field: Option<(&str, &str)>) -> GitSource {
    let mut source = json!({"url": url});
    if let Some((name, value)) = field {
        source[name] = json!(value);
    }
    serde_json::from_value(source).expect("a source")
}
