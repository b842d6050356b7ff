//! A full disk: the snapshot before stays, and nothing is left behind.

use std::io::{self, Cursor, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use super::super::write::{About, Encoder};
use super::super::{EntryDraft, Snapshot, SnapshotError, SnapshotWriter, preparing_path};
use super::{config_map, meta, write};

/// A disk with room for so many bytes.
struct Full {
    disk: Cursor<Vec<u8>>,
    room: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.room);
        if fits == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room -= fits;
        self.disk.write(&bytes[..fits])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Full {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.disk.seek(position)
    }
}

fn encode(room: usize) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(Full { disk: Cursor::default(), room }, &meta(1))?;
    let mut outcome = Ok(());
    for n in 0..3 {
        // As if the caller went on after an error.
        let added = encoder.append([n; 32], &[n; 100], About::default()).map(drop);
        outcome = outcome.and(added);
    }
    let (_, out) = encoder.finish()?;
    outcome.map(|()| out.disk.into_inner())
}

#[test]
fn a_write_that_fails_anywhere_fails_the_snapshot() {
    let whole = encode(usize::MAX).unwrap();
    // The header is written twice: once to hold its place.
    let needed = whole.len() + 128;
    assert!(encode(needed).is_ok());
    for room in 0..needed {
        let error = encode(room).expect_err("no room for all of it");
        assert!(matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::Other), "{room}: {error}");
    }
}

#[test]
fn an_abandoned_snapshot_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    write(&path, &meta(1), &[config_map("web")]);
    let mut writer = SnapshotWriter::create(&path, &meta(2)).unwrap();
    writer.put(&config_map("other")).unwrap();
    assert!(preparing_path(&path).exists());
    drop(writer);
    assert!(!preparing_path(&path).exists());
    assert_eq!(Snapshot::open(&path, None).unwrap().meta().generation, 1);
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let error = SnapshotWriter::create(Path::new("/nonexistent/snapshot"), &meta(1)).unwrap_err();
    assert!(matches!(error, SnapshotError::Write { .. }), "{error}");
}

/// Set in the process that may not write much.
const LIMITED: &str = "GITADEL_TEST_LIMITED_FILES";

/// Runs a test of this binary again, in a process whose files have at most 64 or 128 KiB: by POSIX `ulimit` counts blocks
/// of 512 bytes, by some shells of 1024. Writing beyond that fails as on a full disk, and needs no privilege to set up.
fn with_limited_files(test: &str) {
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 128 && exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn on_a_full_disk_the_snapshot_before_stays() {
    if std::env::var_os(LIMITED).is_none() {
        return with_limited_files("snapshot::tests::disk::on_a_full_disk_the_snapshot_before_stays");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    write(&path, &meta(1), &[config_map("web")]);
    let large = EntryDraft { inputs: "x".repeat(300_000), ..config_map("large") };
    let mut writer = SnapshotWriter::create(&path, &meta(2)).unwrap();
    let error = writer.put(&large).and_then(|()| writer.finish().map(drop)).unwrap_err();
    assert!(matches!(&error, SnapshotError::Write { source, .. } if source.kind() == io::ErrorKind::FileTooLarge));
    assert!(error.to_string().contains("the previous one stays"), "{error}");
    assert!(!preparing_path(&path).exists());
    let snapshot = Snapshot::open(&path, None).unwrap();
    assert!(snapshot.get(config_map("web").id.as_ref()).unwrap().is_some());
}
