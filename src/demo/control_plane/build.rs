//! Building the control plane's binaries, once for all checkouts and runs of a user.
//!
//! No binary is downloaded: the Go toolchain builds Kubernetes and etcd from the modules pinned here, whose checksums it
//! verifies. The result is renamed into place when it is complete, so a directory that exists is whole. A file lock
//! makes a second run wait for the first; both locks and builds end with their process, however it ends.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::guard::{self, GuardError, Guarded, Launch};

const KUBERNETES: &str = "v1.36.3";
const ETCD: &str = "v3.7.3";

/// A Go main module of `tests/control-plane/` and what is built from it.
struct Module {
    name: &'static str,
    version: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    packages: &'static [&'static str],
    /// The name of the binary where Go's own choice (the last element of the package path) would be another.
    output: Option<&'static str>,
    linker_flags: &'static str,
}

const MODULES: [Module; 2] = [
    Module {
        name: "etcd",
        version: ETCD,
        go_mod: include_str!("../../../tests/control-plane/etcd/go.mod"),
        go_sum: include_str!("../../../tests/control-plane/etcd/go.sum"),
        packages: &["go.etcd.io/etcd/server/v3"],
        output: Some("etcd"),
        linker_flags: "-s -w",
    },
    Module {
        name: "kubernetes",
        version: KUBERNETES,
        go_mod: include_str!("../../../tests/control-plane/kubernetes/go.mod"),
        go_sum: include_str!("../../../tests/control-plane/kubernetes/go.sum"),
        packages: &["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kube-controller-manager"],
        output: None,
        // Without these the binaries call themselves v0.0.0, and clients that look at the version take another path.
        linker_flags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
                       -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
    },
];

/// How often a build says that it is still at work.
const PROGRESS: Duration = Duration::from_secs(5);
const LOG_LINES: usize = 25;

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "Go is needed to build the control plane of the demo and the tests (once), but cannot be run: {0}; install Go \
         1.26 or newer, or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver and kube-controller-manager"
    )]
    NoGo(#[source] io::Error),
    #[error("building {name} failed; the end of {} is:\n{tail}", log.display())]
    Failed { name: &'static str, log: PathBuf, tail: String },
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error("waiting for a build: {0}")]
    Wait(#[source] io::Error),
}

/// The directory with the binaries below `cache`, after building them if they are not there yet.
pub async fn ensure_built(cache: &Path) -> Result<PathBuf, BuildError> {
    ensure_built_by(Path::new("go"), cache).await
}

async fn ensure_built_by(go: &Path, cache: &Path) -> Result<PathBuf, BuildError> {
    let built = cache.join(key());
    if built.is_dir() {
        return Ok(built);
    }
    fs::create_dir_all(cache).map_err(file("make the directory", cache))?;
    let _lock = lock(cache).await?;
    if built.is_dir() {
        return Ok(built);
    }
    can_run(go)?;
    // Under the lock, any such directory is what a killed run has left.
    let work = cache.join("building");
    if work.exists() {
        fs::remove_dir_all(&work).map_err(file("remove", &work))?;
    }
    let binaries = work.join("bin");
    fs::create_dir_all(&binaries).map_err(file("make the directory", &binaries))?;
    say(&format!("building etcd {ETCD} and Kubernetes {KUBERNETES} from source, once, into {}", built.display()));
    let start = Instant::now();
    for module in &MODULES {
        build(go, module, &work, &binaries, cache).await?;
    }
    fs::rename(&binaries, &built).map_err(file("move into place", &binaries))?;
    fs::remove_dir_all(&work).map_err(file("remove", &work))?;
    say(&format!("built the control plane in {} s", start.elapsed().as_secs()));
    Ok(built)
}

/// Names what is built by all that it is built from.
fn key() -> String {
    let mut digest = blake3::Hasher::new();
    for module in &MODULES {
        for part in [module.go_mod, module.go_sum, module.linker_flags, &module.packages.join(" ")] {
            digest.update(&part.len().to_le_bytes()).update(part.as_bytes());
        }
    }
    let digest = digest.finalize().to_hex();
    format!("kubernetes-{KUBERNETES}-etcd-{ETCD}-{}", digest.get(..12).unwrap_or_default())
}

/// Waits for a build of another process; the lock is given back when the file is closed.
async fn lock(cache: &Path) -> Result<File, BuildError> {
    let path = cache.join("lock");
    let lock = File::create(&path).map_err(file("open", &path))?;
    match lock.try_lock() {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) => say("another run is building the control plane: waiting for it"),
        Err(TryLockError::Error(source)) => return Err(BuildError::File { action: "lock", path, source }),
    }
    tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
        .await
        .map_err(|error| BuildError::Wait(io::Error::other(error)))?
        .map_err(file("lock", &path))
}

async fn build(go: &Path, module: &Module, work: &Path, binaries: &Path, cache: &Path) -> Result<(), BuildError> {
    let source = work.join(module.name);
    fs::create_dir_all(&source).map_err(file("make the directory", &source))?;
    for (name, content) in [("go.mod", module.go_mod), ("go.sum", module.go_sum)] {
        let path = source.join(name);
        fs::write(&path, content).map_err(file("write", &path))?;
    }
    // Beside the work directory: it stays for reading after a failure.
    let log = cache.join(format!("{}.log", module.name));
    File::create(&log).map_err(file("write", &log))?;
    let output = match module.output {
        Some(name) => binaries.join(name),
        // The trailing separator tells Go that this is a directory.
        None => binaries.join(""),
    };
    let mut launch = Launch::new(module.name, go, &log)
        .arguments(["build", "-v", "-mod=readonly", "-buildvcs=false", "-ldflags", module.linker_flags, "-o"])
        .arguments([output])
        .arguments(module.packages)
        // The user's own settings (vendoring, a workspace above the cache) are not for this module.
        .environment("GOFLAGS", "")
        .environment("GOWORK", "off");
    launch.directory = Some(source);
    let mut child = Guarded::spawn(&launch, None)?;

    let (start, mut next) = (Instant::now(), PROGRESS);
    loop {
        if let Some(status) = child.exited().map_err(BuildError::Wait)? {
            return if status.success() {
                Ok(())
            } else {
                let tail = guard::tail(&log, LOG_LINES);
                Err(BuildError::Failed { name: module.name, log, tail })
            };
        }
        if start.elapsed() >= next {
            next += PROGRESS;
            say(&progress(module, &log, start.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `go build -v` writes a line for each package that it compiles, and one for each module that it fetches.
fn progress(module: &Module, log: &Path, elapsed: Duration) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let fetched = log.lines().filter(|line| line.starts_with("go: downloading")).count();
    let compiled = log.lines().count() - fetched;
    format!(
        "  {} {}: {fetched} modules fetched, {compiled} packages compiled, {} s",
        module.name,
        module.version,
        elapsed.as_secs()
    )
}

fn can_run(go: &Path) -> Result<(), BuildError> {
    let mut version = Command::new(go);
    version.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().map(drop).map_err(BuildError::NoGo)
}

/// To the terminal itself: a test run that builds for minutes must not look dead, although tests' output is captured.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "gitadel: {line}");
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::demo::control_plane::guard::Scratch;

    #[test]
    fn the_versions_named_are_those_pinned() {
        let [etcd, kubernetes] = &MODULES;
        assert!(etcd.go_mod.contains(&format!("go.etcd.io/etcd/server/v3 {ETCD}")));
        assert!(kubernetes.go_mod.contains(&format!("k8s.io/kubernetes {KUBERNETES}")));
        assert!(kubernetes.linker_flags.contains(&format!("gitVersion={KUBERNETES} ")));
        assert!(key().starts_with("kubernetes-v1.36.3-etcd-v3.7.3-") && key().len() == 43, "{}", key());
    }

    #[test]
    fn progress_counts_what_go_writes() {
        let scratch = Scratch::temporary().unwrap();
        let log = scratch.path().join("log");
        fs::write(&log, "go: downloading example.org/a v1.0.0\ninternal/abi\nruntime\n").unwrap();
        let [etcd, _] = &MODULES;
        assert_eq!(
            progress(etcd, &log, Duration::from_secs(7)),
            "  etcd v3.7.3: 1 modules fetched, 2 packages compiled, 7 s"
        );
    }

    #[tokio::test]
    async fn a_second_run_waits_for_the_lock() {
        let scratch = Scratch::temporary().unwrap();
        let first = lock(scratch.path()).await.unwrap();
        let waiting = tokio::spawn({
            let cache = scratch.path().to_owned();
            async move { lock(&cache).await.map(drop) }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap().unwrap();
    }

    /// Stands in for Go: notes each build, and then does as told. `$out` is the argument of `-o`.
    fn fake_go(scratch: &Scratch, build: &str) -> PathBuf {
        let path = scratch.path().join("go");
        let script = format!(
            "#!/bin/sh\n[ \"$1\" = version ] && exit\necho \"$PWD\" >>{}\n\
             while [ \"$1\" != -o ]; do shift; done; out=$2\n{build}\n",
            scratch.path().join("builds").display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        // A test beside this one that forks meanwhile keeps the file open for writing ("text file busy") until its exec.
        while Command::new(&path).arg("version").status().is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        path
    }

    #[tokio::test]
    async fn two_runs_build_once() {
        let scratch = Scratch::temporary().unwrap();
        let go = fake_go(&scratch, "[ -d \"$out\" ] && out=$out/kube; sleep 0.1; echo binary >\"$out\"");
        let cache = scratch.path().join("cache");
        fs::create_dir_all(cache.join("building/bin/left-by-a-killed-run")).unwrap();
        let (first, second) = tokio::join!(ensure_built_by(&go, &cache), ensure_built_by(&go, &cache));
        let built = first.unwrap();
        assert_eq!(second.unwrap(), built);
        assert_eq!(ensure_built_by(&go, &cache).await.unwrap(), built);
        let mut names: Vec<_> = fs::read_dir(&built).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["etcd", "kube"]);
        assert!(!cache.join("building").exists());
        assert_eq!(fs::read_to_string(scratch.path().join("builds")).unwrap().lines().count(), MODULES.len());
    }

    #[tokio::test]
    async fn a_failed_build_shows_the_end_of_its_log_and_is_tried_again() {
        let scratch = Scratch::temporary().unwrap();
        let cache = scratch.path().join("cache");
        let go = fake_go(&scratch, "echo go: no such module; exit 1");
        for _ in 0..2 {
            match ensure_built_by(&go, &cache).await {
                Err(BuildError::Failed { name: "etcd", log, tail }) => {
                    assert_eq!(tail, "go: no such module");
                    assert_eq!(guard::tail(&log, 1), tail);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn missing_go_is_told() {
        let scratch = Scratch::temporary().unwrap();
        let error = ensure_built_by(&scratch.path().join("go"), &scratch.path().join("cache")).await.unwrap_err();
        assert!(matches!(error, BuildError::NoGo(_)), "{error}");
    }
}
