use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::format::Header;
use super::super::{Snapshot, SnapshotError};
use super::{CLUSTER, config_map, meta, write};

fn snapshot_bytes(directory: &Path) -> Vec<u8> {
    let path = directory.join("good");
    write(&path, &meta(1), &(0..20).map(|n| config_map(&format!("c-{n}"))).collect::<Vec<_>>());
    fs::read(&path).unwrap()
}

fn open(directory: &Path, bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let path = directory.join("tried");
    fs::write(&path, bytes).unwrap();
    Snapshot::open(&path, Some(CLUSTER))
}

/// Whether a flipped bit is noticed: the file is refused, or the one entry that holds it is.
fn assert_noticed(directory: &Path, good: &[u8], position: usize, bit: u8) {
    let header = Header::read(good).unwrap();
    let mut damaged = good.to_vec();
    damaged[position] ^= 1 << bit;
    let outcome = open(directory, &damaged);
    if !header.entries.range(good.len()).unwrap().contains(&position) {
        assert!(outcome.is_err(), "byte {position} bit {bit}");
        return;
    }
    let snapshot = outcome.unwrap();
    let refused = snapshot.iter().filter(|entry| matches!(entry, Err(SnapshotError::DamagedEntry { .. }))).count();
    assert_eq!(refused, 1, "byte {position} bit {bit}");
    let by_id = (0..20).filter(|n| snapshot.get(config_map(&format!("c-{n}")).id.as_ref()).is_err()).count();
    assert_eq!(by_id, 1, "byte {position} bit {bit}");
}

#[test]
fn a_flipped_bit_in_any_section_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let good = snapshot_bytes(directory.path());
    let header = Header::read(&good).unwrap();
    for section in [header.meta, header.entries, header.index, header.directory] {
        let range = section.range(good.len()).unwrap();
        for position in [range.start, range.start + range.len() / 2, range.end - 1] {
            assert_noticed(directory.path(), &good, position, 0);
        }
    }
    for position in 0..128 {
        assert_noticed(directory.path(), &good, position, 7);
    }
}

#[test]
fn what_is_no_good_snapshot_is_refused_for_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let good = snapshot_bytes(directory.path());
    let refusal = |bytes: &[u8]| open(directory.path(), bytes).unwrap_err();
    assert!(matches!(refusal(b""), SnapshotError::Damaged(_)));
    assert!(matches!(refusal(b"apiVersion: v1\nkind: ConfigMap\n"), SnapshotError::Foreign));
    assert!(matches!(refusal(&[0; 4096]), SnapshotError::Foreign), "a preparation that was never finished");
    for length in [1, 7, 8, 60, 127, 128, 129, good.len() / 2, good.len() - 1] {
        assert!(matches!(refusal(&good[..length]), SnapshotError::Damaged(_)), "{length} bytes");
    }
    assert!(matches!(refusal(&[&good[..], b"\n"].concat()), SnapshotError::Damaged(_)));
    let mut other_format = good.clone();
    other_format[8] += 1;
    assert!(matches!(refusal(&other_format), SnapshotError::Format { found: 2, supported: 1 }));

    let path = directory.path().join("good");
    let error = Snapshot::open(&path, Some("another")).unwrap_err();
    assert!(matches!(&error, SnapshotError::OtherCluster { found, .. } if found == CLUSTER), "{error}");
    assert!(Snapshot::open(&path, None).is_ok());
    let missing = Snapshot::open(&directory.path().join("missing"), None).unwrap_err();
    assert!(matches!(missing, SnapshotError::Missing { .. }), "{missing}");
    let unreadable = Snapshot::open(directory.path(), None).unwrap_err();
    assert!(matches!(unreadable, SnapshotError::Read { .. }), "{unreadable}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_flipped_bit_anywhere_is_noticed(place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let directory = tempfile::tempdir().unwrap();
        let good = snapshot_bytes(directory.path());
        assert_noticed(directory.path(), &good, place.index(good.len()), bit);
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), magic in any::<bool>()) {
        let directory = tempfile::tempdir().unwrap();
        let bytes = if magic { [b"gitadel\n\x01\0\0\0".to_vec(), bytes].concat() } else { bytes };
        prop_assert!(open(directory.path(), &bytes).is_err());
    }
}
