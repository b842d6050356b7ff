//! Child processes and a directory that never outlive this process, however it ends.
//!
//! A demo or a test run may end by returning, by a panic, by Ctrl-C or by SIGKILL, and the last leaves no chance to
//! clean up. Linux could tie a child to its parent (`PR_SET_PDEATHSIG`), but only by unsafe code between fork and exec,
//! and only to the parent's *thread*. The kernel closes our end of a pipe in every case, so each child gets a guard, a
//! few lines of shell that watch the other end:
//!
//! ```text
//!            lifeline (stdin): our end closed → the child and its process group are killed; a line names a signal
//! this process ───────────────────────────────► guard ── child (its own process group: Ctrl-C does not reach it)
//!            ◄───────────────────────────────
//!            presence (stdout): end of file when guard, child and all that the child started are gone
//! ```
//!
//! The [`Scratch`] directory is removed in the same way, by a guard whose lifeline is held by this process *and* by
//! every guarded child: it sees the end of file when the last of them is gone, so nothing writes while it removes.

use std::ffi::OsString;
use std::fs;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// `$1` is the log, the rest the command. File descriptors: 3 lifeline, 4 presence, 5 hold on the scratch directory;
/// the child keeps 4 and 5 open by inheritance, which is their whole purpose.
///
/// The guard waits for the child and for the watcher, so that no zombie is left where process 1 reaps none. What the
/// child leaves in its process group is asked to end (the guard shields itself) and, if this process let go of the
/// lifeline (then the watcher ended by itself), killed together with the guard. Else the child's status is passed on.
/// What the shell has to say about that is no part of the child's log.
const GUARD: &str = r#"
log=$1; shift
exec 3<&0 </dev/null 4>&1 5>&2 >>"$log" 2>&1
"$@" 3<&- &
child=$!
{ while read -r signal; do kill -s "$signal" "$child"; done; kill -s KILL "$child"; exit 0; } <&3 &
watcher=$!
exec 3<&-
wait "$child"
status=$?
exec 2>/dev/null
trap '' TERM
kill -s TERM 0
wait "$watcher" && kill -s KILL 0
exit "$status"
"#;

const REMOVER: &str = r#"
while read -r _; do :; done
[ "$2" = keep ] || rm -rf -- "$1"
"#;

/// How often a child is looked at that is waited for.
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("cannot start {name} under /bin/sh: {source}")]
    Spawn { name: String, source: io::Error },
    #[error("cannot make the directory {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("the directory {} is not empty: name one that does not exist yet", path.display())]
    NotEmpty { path: PathBuf },
}

/// What to run under a guard.
#[derive(Clone, Debug)]
pub struct Launch {
    /// For messages.
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
    /// If given, all that the child takes over of this process's own environment.
    pub inherited: Option<Vec<String>>,
    pub directory: Option<PathBuf>,
    /// Takes what the child prints; appended to.
    pub log: PathBuf,
}

impl Launch {
    pub fn new(name: &str, program: &Path, log: &Path) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            inherited: None,
            directory: None,
            log: log.into(),
        }
    }

    #[must_use]
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Keeps everything of this process's environment from the child but these variables.
    #[must_use]
    pub fn inheriting(mut self, names: &[&str]) -> Self {
        self.inherited = Some(names.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }
}

/// A child process that dies with this one. Dropping it kills it and returns when it is gone.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    log: PathBuf,
    guard: Child,
    lifeline: Option<ChildStdin>,
    presence: Option<ChildStdout>,
}

impl Guarded {
    /// `scratch`, if given, is not removed before the child is gone.
    pub fn spawn(launch: &Launch, scratch: Option<&Scratch>) -> Result<Self, GuardError> {
        let failed = |source| GuardError::Spawn { name: launch.name.clone(), source };
        let hold = match scratch {
            Some(scratch) => scratch.hold().map_err(failed)?,
            None => Stdio::null(),
        };
        let mut command = Command::new("/bin/sh");
        if let Some(names) = &launch.inherited {
            let kept = names.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value)));
            command.env_clear().envs(kept);
        }
        command
            .args(["-c", GUARD, "guard"])
            .arg(&launch.log)
            .arg(&launch.program)
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(hold)
            .process_group(0);
        if let Some(directory) = &launch.directory {
            command.current_dir(directory);
        }
        let mut guard = command.spawn().map_err(failed)?;
        let (lifeline, presence) = (guard.stdin.take(), guard.stdout.take());
        Ok(Self { name: launch.name.clone(), log: launch.log.clone(), guard, lifeline, presence })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The child's status, once it has ended (128 + n after a signal n, as in a shell).
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.guard.try_wait()
    }

    /// Waits until the child ends by itself.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.exited()? {
                return Ok(status);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills the child and returns when it is gone, with all that it started: a matter of milliseconds.
    pub fn kill(&mut self) {
        drop(self.lifeline.take());
        if let Some(mut presence) = self.presence.take() {
            // Nothing is ever written there; an error, like the end of file, means that nobody is left.
            let _ = presence.read(&mut [0]);
        }
        let _ = self.guard.wait();
    }

    /// Asks the child to end (SIGTERM). An error means that it is gone already.
    pub fn terminate(&mut self) -> io::Result<()> {
        match &mut self.lifeline {
            Some(lifeline) => lifeline.write_all(b"TERM\n"),
            None => Ok(()),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory of mode 0700 that is removed when this process, and every child guarded with it, is gone.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    lifeline: Option<PipeWriter>,
    remover: Child,
}

impl Scratch {
    /// A new directory among the system's temporary files.
    pub fn temporary() -> Result<Self, GuardError> {
        let parent = std::env::temp_dir();
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(|error| GuardError::Directory {
            path: parent.clone(),
            source: io::Error::other(error.to_string()),
        })?;
        let suffix: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = parent.join(format!("gitadel-{suffix}"));
        Self::guard(path.clone(), "remove", fs::DirBuilder::new().mode(0o700).create(&path))
    }

    /// A directory of the caller's choice, which stays when all is over, for looking at logs and data. It must be empty
    /// or absent.
    pub fn kept(path: &Path) -> Result<Self, GuardError> {
        let created = fs::DirBuilder::new().mode(0o700).recursive(true).create(path);
        if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(GuardError::NotEmpty { path: path.into() });
        }
        Self::guard(path.into(), "keep", created)
    }

    fn guard(path: PathBuf, fate: &str, created: io::Result<()>) -> Result<Self, GuardError> {
        let failed = |source| GuardError::Directory { path: path.clone(), source };
        created.map_err(failed)?;
        let (reader, lifeline) = io::pipe().map_err(failed)?;
        let remover = Command::new("/bin/sh")
            .args(["-c", REMOVER, "remover"])
            .arg(&path)
            .arg(fate)
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Self { path, lifeline: Some(lifeline), remover })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn hold(&self) -> io::Result<Stdio> {
        match &self.lifeline {
            Some(lifeline) => Ok(lifeline.try_clone()?.into()),
            None => Ok(Stdio::null()),
        }
    }
}

impl Drop for Scratch {
    /// Returns when the directory is gone. Children that are still held must be dropped before, else this waits for
    /// their end.
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.remover.wait();
    }
}

/// The end of a log, for an error message: enough to see why a process died.
pub fn tail(log: &Path, lines: usize) -> String {
    let Ok(content) = fs::read(log) else { return String::new() };
    let content = String::from_utf8_lossy(&content);
    let all: Vec<&str> = content.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(scratch: &Scratch, script: &str) -> Guarded {
        let launch =
            Launch::new("test", Path::new("/bin/sh"), &scratch.path().join("log")).arguments(["-c", script, "sh"]);
        Guarded::spawn(&launch, Some(scratch)).unwrap()
    }

    /// The process ids that the script has written into `file`.
    fn pids(scratch: &Scratch, file: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let pids: Vec<String> = fs::read_to_string(scratch.path().join(file))
                .unwrap_or_default()
                .split_terminator('\n')
                .map(str::to_owned)
                .collect();
            if pids.len() == count {
                return pids;
            }
            assert!(Instant::now() < deadline, "the child did not write its process ids");
            std::thread::sleep(POLL);
        }
    }

    /// A zombie is not alive: an orphan stays one for ever where process 1 does not reap.
    fn alive(pid: &str) -> bool {
        let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
    }

    /// The kernel closes the files of a dying process, by which its end is noticed, a moment before it counts as dead.
    fn die(pids: &[String]) -> bool {
        let deadline = Instant::now() + Duration::from_secs(2);
        while pids.iter().any(|pid| alive(pid)) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    #[tokio::test]
    async fn the_status_of_a_child_is_passed_on() {
        let scratch = Scratch::temporary().unwrap();
        assert_eq!(shell(&scratch, "echo to the log; exit 7").wait().await.unwrap().code(), Some(7));
        assert_eq!(shell(&scratch, "kill -s KILL $$").wait().await.unwrap().code(), Some(128 + 9));
        assert_eq!(tail(&scratch.path().join("log"), 5).lines().next(), Some("to the log"));
    }

    #[test]
    fn a_dropped_child_and_its_own_children_are_gone_and_so_is_the_directory() {
        let scratch = Scratch::temporary().unwrap();
        let path = scratch.path().to_owned();
        let file = path.join("pids");
        let child = shell(&scratch, &format!("sleep 600 & echo $! >{0}; echo $$ >>{0}; wait", file.display()));
        let pids = pids(&scratch, "pids", 2);
        assert!(pids.iter().all(|pid| alive(pid)));
        drop(child);
        assert!(die(&pids), "{pids:?}");
        drop(scratch);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_child_can_be_asked_to_end() {
        let scratch = Scratch::temporary().unwrap();
        let mut child = shell(
            &scratch,
            &format!("trap 'exit 3' TERM; echo $$ >{}/ready; while :; do sleep 0.01; done", scratch.path().display()),
        );
        pids(&scratch, "ready", 1);
        child.terminate().unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(3));
    }

    #[tokio::test]
    async fn what_a_child_leaves_behind_ends_with_it() {
        let scratch = Scratch::temporary().unwrap();
        let file = scratch.path().join("pids");
        let mut child = shell(&scratch, &format!("sleep 600 & echo $! >{}", file.display()));
        child.wait().await.unwrap();
        let left = pids(&scratch, "pids", 1);
        drop(child);
        assert!(die(&left), "{left:?}");
    }

    #[tokio::test]
    async fn a_missing_program_is_told_in_the_log() {
        let scratch = Scratch::temporary().unwrap();
        let log = scratch.path().join("log");
        let mut child =
            Guarded::spawn(&Launch::new("absent", Path::new("/absent/program"), &log), Some(&scratch)).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(127));
        assert!(tail(&log, 3).contains("/absent/program"), "{}", tail(&log, 3));
    }

    #[tokio::test]
    async fn a_child_can_be_kept_from_the_environment() {
        let scratch = Scratch::temporary().unwrap();
        let log = scratch.path().join("log");
        let launch =
            Launch::new("env", Path::new("/usr/bin/env"), &log).inheriting(&["PATH"]).environment("ADDED", "1");
        Guarded::spawn(&launch, Some(&scratch)).unwrap().wait().await.unwrap();
        let seen = tail(&log, 99);
        let mut names: Vec<&str> = seen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        // Shells set these by themselves.
        names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
        names.sort_unstable();
        assert_eq!(names, ["ADDED", "PATH"], "{seen}");
    }

    #[test]
    fn a_kept_directory_stays_and_is_never_mixed_with_an_older_one() {
        let scratch = Scratch::temporary().unwrap();
        let path = scratch.path().join("kept");
        let kept = Scratch::kept(&path).unwrap();
        fs::write(path.join("file"), "x").unwrap();
        drop(kept);
        assert!(path.join("file").exists());
        assert!(matches!(Scratch::kept(&path), Err(GuardError::NotEmpty { .. })));
    }

    #[test]
    fn the_tail_of_a_log() {
        let scratch = Scratch::temporary().unwrap();
        let log = scratch.path().join("log");
        fs::write(&log, "1\n2\n3\n").unwrap();
        assert_eq!(tail(&log, 2), "2\n3");
        assert_eq!(tail(&log, 9), "1\n2\n3");
        assert_eq!(tail(&scratch.path().join("absent"), 9), "");
    }
}
