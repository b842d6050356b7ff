//! The demo's Git server: a bare repository whose hook tells the reconciler of every push, and a clone to work in.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::report::command_line;

pub const BRANCH: &str = "main";
const AUTHOR: (&str, &str) = ("Alice", "alice@example.com");

#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    #[error("git cannot be run: {0}. The demo needs it on the PATH")]
    Run(#[source] io::Error),
    #[error("`{line}` failed:\n{output}")]
    Failed { line: String, output: String },
    #[error("{} cannot be written: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the clone has no {file} that contains `{text}`")]
    Missing { file: String, text: String },
}

/// A commit that was pushed.
#[derive(Clone, Debug)]
pub struct Pushed {
    pub id: String,
    pub subject: String,
    /// When `git push` was called, and how long it took, the hook included.
    pub began: Instant,
    pub took: Duration,
}

impl Pushed {
    /// As gitadel names it: `main@1a2b3c4`.
    pub fn short(&self) -> String {
        format!("{BRANCH}@{}", self.id.get(..7).unwrap_or(&self.id))
    }
}

pub struct Repository {
    bare: PathBuf,
    clone: PathBuf,
}

impl Repository {
    /// Makes both repositories below `directory`. The hook runs `program notify <url>`.
    pub async fn create(directory: &Path, program: &Path, notification_url: &str) -> Result<Self, RepositoryError> {
        let repository = Self { bare: directory.join("shop.git"), clone: directory.join("clone") };
        let branch = format!("--initial-branch={BRANCH}");
        git(directory, &["init", "--quiet", "--bare", &branch, "shop.git"]).await?;
        let program = program.to_string_lossy();
        let hook = format!("#!/bin/sh\n{}\n", command_line("exec", [&*program, "notify", notification_url]));
        let hooks = repository.bare.join("hooks");
        // A visitor pushes with a configuration of his own, which may look for hooks elsewhere, or make none by template.
        fs::create_dir_all(&hooks).map_err(|source| RepositoryError::Write { path: hooks.clone(), source })?;
        git(&repository.bare, &["config", "core.hooksPath", &hooks.to_string_lossy()]).await?;
        let path = hooks.join("post-receive");
        write(&path, &hook)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(|source| RepositoryError::Write { path, source })?;
        git(directory, &["init", "--quiet", &branch, "clone"]).await?;
        repository.git(&["config", "user.name", AUTHOR.0]).await?;
        repository.git(&["config", "user.email", AUTHOR.1]).await?;
        repository.git(&["remote", "add", "origin", &repository.url()]).await?;
        Ok(repository)
    }

    /// Where it can be cloned from and pushed to.
    pub fn url(&self) -> String {
        format!("file://{}", self.bare.display())
    }

    /// The clone in which the demo works.
    pub fn clone_directory(&self) -> &Path {
        &self.clone
    }

    pub fn write(&self, file: &str, content: &str) -> Result<(), RepositoryError> {
        write(&self.clone.join(file), content)
    }

    /// Replaces a text that must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) -> Result<(), RepositoryError> {
        let content = fs::read_to_string(self.clone.join(file)).unwrap_or_default();
        if !content.contains(from) {
            return Err(RepositoryError::Missing { file: file.into(), text: from.into() });
        }
        self.write(file, &content.replace(from, to))
    }

    /// Commits all that changed.
    pub async fn commit(&self, subject: &str) -> Result<(), RepositoryError> {
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--message", subject]).await?;
        Ok(())
    }

    /// Undoes the newest commit by another one.
    pub async fn revert(&self) -> Result<(), RepositoryError> {
        self.git(&["revert", "--no-edit", "HEAD"]).await?;
        Ok(())
    }

    pub async fn push(&self) -> Result<Pushed, RepositoryError> {
        let id = self.git(&["rev-parse", "HEAD"]).await?;
        let subject = self.git(&["log", "-1", "--format=%s"]).await?;
        let began = Instant::now();
        self.git(&["push", "--quiet", "origin", BRANCH]).await?;
        Ok(Pushed { id, subject, began, took: began.elapsed() })
    }

    /// The newest commits, a line for each.
    pub async fn log(&self) -> Result<String, RepositoryError> {
        self.git(&["log", "--oneline", "--no-decorate"]).await
    }

    /// What the newest commit changed.
    pub async fn diff(&self) -> Result<String, RepositoryError> {
        self.git(&["show", "--unified=0", "--format=", "--no-prefix", "HEAD"]).await
    }

    async fn git(&self, arguments: &[&str]) -> Result<String, RepositoryError> {
        git(&self.clone, arguments).await
    }
}

fn write(path: &Path, content: &str) -> Result<(), RepositoryError> {
    fs::write(path, content).map_err(|source| RepositoryError::Write { path: path.into(), source })
}

async fn git(directory: &Path, arguments: &[&str]) -> Result<String, RepositoryError> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        // The user's signing keys, hooks and editors have no part in this.
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .kill_on_drop(true)
        .output()
        .await
        .map_err(RepositoryError::Run)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(RepositoryError::Failed {
        line: command_line("git", arguments.iter().copied()),
        output: format!("{}{}", text(&output.stdout), text(&output.stderr)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::control_plane::guard::Scratch;

    #[tokio::test]
    async fn a_push_runs_the_hook_and_a_revert_restores_the_file() {
        let scratch = Scratch::temporary().unwrap();
        let program = scratch.path().join("it's a program");
        write(&program, "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/called\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let repository = Repository::create(scratch.path(), &program, "http://127.0.0.1:1/notify/demo").await.unwrap();

        repository.write("web.yaml", "replicas: 2\n").unwrap();
        repository.commit("first").await.unwrap();
        let first = repository.push().await.unwrap();
        repository.edit("web.yaml", "replicas: 2", "replicas: 5").unwrap();
        assert!(repository.edit("web.yaml", "replicas: 2", "").is_err());
        repository.commit("second").await.unwrap();
        let second = repository.push().await.unwrap();
        assert_eq!((first.subject.as_str(), second.subject.as_str()), ("first", "second"));
        assert!(repository.diff().await.unwrap().contains("+replicas: 5"));
        repository.revert().await.unwrap();
        repository.push().await.unwrap();

        assert_eq!(fs::read_to_string(repository.clone.join("web.yaml")).unwrap(), "replicas: 2\n");
        assert_eq!(repository.log().await.unwrap().lines().count(), 3);
        let called = fs::read_to_string(scratch.path().join("called")).unwrap();
        assert_eq!(called, "notify http://127.0.0.1:1/notify/demo\n".repeat(3));

        // A visitor whose own configuration looks for hooks elsewhere.
        let elsewhere = scratch.path().join("gitconfig");
        write(&elsewhere, "[core]\n\thooksPath = /nonexistent\n").unwrap();
        let clone = scratch.path().join("visitor");
        git(scratch.path(), &["clone", "--quiet", &repository.url(), "visitor"]).await.unwrap();
        let visit = |arguments: &'static [&'static str]| {
            let (clone, elsewhere) = (clone.clone(), elsewhere.clone());
            async move {
                let mut command = Command::new("git");
                command.current_dir(clone).args(["-c", "user.name=V", "-c", "user.email=v@example.org"]);
                let status = command.args(arguments).env("GIT_CONFIG_GLOBAL", elsewhere).status().await.unwrap();
                assert!(status.success(), "{arguments:?}");
            }
        };
        let calls = || fs::read_to_string(scratch.path().join("called")).unwrap().lines().count();
        let before = calls();
        visit(&["commit", "--quiet", "--allow-empty", "--message", "mine"]).await;
        visit(&["push", "--quiet"]).await;
        assert_eq!(calls(), before + 1);
    }
}
