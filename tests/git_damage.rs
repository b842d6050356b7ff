//! A copy of a repository whose damage shows only when it is read: the next fetch replaces it.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/git_origin.rs"]
mod git_origin;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use git_origin::{Origin, source};
use gitadel::api::GitSource;
use gitadel::reconcile::sources::{Failure, Follower, SourceState, SourceUpdate};
use gitadel::source::{SourceError, Transport, Transports};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\n";

/// Where the copy has an object by itself. What is in packs is unpacked first; an open pack could be read even without its
/// file.
fn loose_object(origin: &Origin, id: &str) -> PathBuf {
    let packs = origin.copy().join("objects/pack");
    for entry in fs::read_dir(&packs).unwrap() {
        let path = entry.unwrap().path();
        let away = origin.scratch().join(path.file_name().unwrap());
        fs::rename(&path, &away).unwrap();
        if away.extension().is_some_and(|ending| ending == "pack") {
            let pack = fs::read(&away).unwrap();
            let copy = origin.copy();
            origin.git_with_input(&["--git-dir", copy.to_str().unwrap(), "unpack-objects", "-q"], &pack);
        }
    }
    let (directory, file) = id.split_at(2);
    origin.copy().join("objects").join(directory).join(file)
}

#[test]
fn a_file_that_cannot_be_read_any_more_is_brought_by_the_next_fetch() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    let source = source(&origin.url(), Some(("branch", "main")));
    let commit = origin.open(&source).fetch().unwrap();
    let blob = origin.git(&["rev-parse", "HEAD:web.yaml"]);
    fs::remove_file(loose_object(&origin, &blob)).unwrap();

    let repository = origin.open(&source);
    assert_eq!(repository.fetch().unwrap(), commit, "commit and tree are whole");
    assert!(matches!(repository.read(&blob), Err(SourceError::Damaged { .. })));
    assert_eq!(repository.fetch().unwrap(), commit);
    assert_eq!(repository.read(&blob).unwrap(), CONFIG_MAP.as_bytes());
}

/// Follows the source with the copy that is there, without ever asking again by itself.
fn follow(origin: &Origin) -> (mpsc::Receiver<SourceUpdate>, DropGuard) {
    let (updates, seen) = mpsc::channel(1);
    let source = source(&origin.url(), Some(("branch", "main")));
    let follower = Follower {
        transports: Transports::new(vec![Transport::File]),
        enforcement: "shop".into(),
        source: GitSource { interval_seconds: 86_400, ..source },
        directory: origin.copy(),
        credentials: None,
        bell: Arc::default(),
        updates,
    };
    let stop = CancellationToken::new();
    tokio::spawn(follower.run(stop.clone()));
    (seen, stop.drop_guard())
}

async fn next(seen: &mut mpsc::Receiver<SourceUpdate>) -> Arc<SourceState> {
    let update = tokio::time::timeout(Duration::from_secs(20), seen.recv()).await.expect("an update in time");
    match update.unwrap().outcome {
        Ok(state) => state,
        Err(Failure::Unreadable(error)) => panic!("{error}"),
        Err(Failure::Broken(problems)) => panic!("{problems:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_damaged_before_it_is_rendered() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    origin.open(&source(&origin.url(), Some(("branch", "main")))).fetch().unwrap();
    fs::remove_file(loose_object(&origin, &origin.git(&["rev-parse", "HEAD:web.yaml"]))).unwrap();

    let (mut seen, _stop) = follow(&origin);
    next(&mut seen).await.manifest("web.yaml", 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_damaged_after_it_was_rendered() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    origin.open(&source(&origin.url(), Some(("branch", "main")))).fetch().unwrap();
    let file = loose_object(&origin, &origin.git(&["rev-parse", "HEAD:web.yaml"]));

    let (mut seen, _stop) = follow(&origin);
    let state = next(&mut seen).await;
    fs::remove_file(file).unwrap();
    state.manifest("web.yaml", 0).await.unwrap_err();
    // Nobody waited for the interval: the bell was rung.
    next(&mut seen).await.manifest("web.yaml", 0).await.unwrap();
    state.manifest("web.yaml", 0).await.unwrap();
}
