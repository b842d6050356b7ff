use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::{SnapshotError, SnapshotStore, SnapshotWriter, preparing_path};
use super::{CLUSTER, config_map, meta, write};
use crate::snapshot::{Meta, Snapshot};
use crate::telemetry::{SnapshotMetrics, registry};

const PATIENCE: Duration = Duration::from_secs(10);

fn metrics() -> SnapshotMetrics {
    SnapshotMetrics::new(&registry().unwrap()).unwrap()
}

fn open(path: &Path, metrics: &SnapshotMetrics) -> SnapshotStore {
    SnapshotStore::open(path, Some(CLUSTER.to_owned()), metrics.clone()).unwrap()
}

fn generation(store: &SnapshotStore) -> Option<u64> {
    store.load().map(|snapshot: Arc<Snapshot>| snapshot.meta().generation)
}

#[tokio::test]
async fn a_snapshot_that_appears_or_is_replaced_comes_into_force() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    let metrics = metrics();
    let store = open(&path, &metrics);
    assert_eq!(generation(&store), None);
    assert_eq!(store.wait_for(1, Duration::from_millis(20)).await, None);
    for next in [1, 2, 5] {
        write(&path, &meta(next), &[config_map("web")]);
        // No forced reload: the watch alone must see the rename.
        assert_eq!(store.wait_for(next, PATIENCE).await, Some(next));
        assert_eq!(metrics.generation.get(), i64::try_from(next).unwrap());
    }
    assert_eq!(metrics.objects.get(), 1);
    assert_eq!(store.wait_for(3, Duration::ZERO).await, Some(5), "an older generation than that in force is reached");
    assert_eq!(store.wait_for(6, Duration::from_millis(20)).await, Some(5));
}

#[tokio::test]
async fn a_link_that_is_swapped_is_followed() {
    // As the kubelet does it: snapshot -> ..data/snapshot, ..data -> ..1, and ..data is replaced by a rename.
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    for n in 1..=2_u64 {
        fs::create_dir(root.join(format!("..{n}"))).unwrap();
        write(&root.join(format!("..{n}/snapshot")), &meta(n), &[]);
    }
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/snapshot", root.join("snapshot")).unwrap();
    let store = open(&root.join("snapshot"), &metrics());
    assert_eq!(generation(&store), Some(1));
    symlink("..2", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    assert_eq!(store.wait_for(2, PATIENCE).await, Some(2));
}

#[test]
fn what_cannot_be_used_never_replaces_the_snapshot_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    write(&path, &meta(1), &[config_map("web")]);
    let metrics = metrics();
    let store = open(&path, &metrics);
    let refused = |reason: &str| metrics.loads.with_label_values(&[reason]).get();
    let settled = |reason: &str| {
        let deadline = Instant::now() + PATIENCE;
        while refused(reason) == 0 && Instant::now() < deadline {
            store.check();
        }
        // A file is judged once, however often somebody asks.
        assert!(!store.reload_now().unwrap());
        assert_eq!(refused(reason), 1, "{reason}");
        assert_eq!(generation(&store), Some(1));
        assert!(!store.preparing(), "nobody waits for a file that was refused");
    };
    fs::write(directory.path().join("junk"), "junk").unwrap();
    fs::rename(directory.path().join("junk"), &path).unwrap();
    settled("foreign");
    write(&path, &Meta { cluster: "another".into(), ..meta(2) }, &[]);
    settled("other_cluster");
    fs::remove_file(&path).unwrap();
    settled("missing");

    write(&path, &meta(3), &[]);
    store.check();
    assert_eq!(generation(&store), Some(3));
}

#[test]
fn without_a_given_cluster_the_first_snapshot_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    let metrics = metrics();
    let store = SnapshotStore::open(&path, None, metrics.clone()).unwrap();
    write(&path, &meta(1), &[]);
    store.check();
    write(&path, &Meta { cluster: "another".into(), ..meta(2) }, &[]);
    store.check();
    assert_eq!(generation(&store), Some(1));
    assert_eq!(metrics.loads.with_label_values(&["other_cluster"]).get(), 1);
}

#[tokio::test]
async fn a_preparation_is_known_until_it_is_done_or_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    write(&path, &meta(1), &[]);
    let store = open(&path, &metrics());
    let first = store.load().unwrap();
    assert!(!store.preparing());
    let writer = SnapshotWriter::create(&path, &meta(2)).unwrap();
    assert!(store.preparing());
    assert!(store.wait_for_other(&first, Duration::from_millis(20)).await.is_none());
    writer.finish().unwrap();
    let second = store.wait_for_other(&first, PATIENCE).await.unwrap();
    assert_eq!(second.meta().generation, 2);
    assert!(!store.preparing());

    let stale = fs::File::create(preparing_path(&path)).unwrap();
    assert!(store.preparing());
    stale.set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    assert!(!store.preparing(), "left behind by a reconciler that is no more");
}

#[test]
fn a_directory_that_cannot_be_watched_is_an_error() {
    let error = SnapshotStore::open(Path::new("/nonexistent/snapshot"), None, metrics()).unwrap_err();
    assert!(matches!(error, SnapshotError::Watch { .. }), "{error}");
}
