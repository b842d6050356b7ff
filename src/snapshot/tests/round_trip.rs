use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{
    EntryClass, EntryDraft, HistoryDraft, KindInfo, Snapshot, SnapshotError, SnapshotWriter, preparing_path,
};
use super::{CLUSTER, config_map, meta, write};
use crate::compare::{ListSchema, Path, Segment};
use crate::object::{ObjectId, ObjectRef};
use crate::render::{LineTree, Lines};

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-z]{0,6}", inner, 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn any_draft() -> impl Strategy<Value = EntryDraft> {
    let class = prop_oneof![Just(EntryClass::Declared), Just(EntryClass::Baseline), Just(EntryClass::Retained)];
    let text = || option::of("\\PC{0,20}");
    let id = ("(|apps|example\\.com)", "[A-Z][a-z]{2,5}", "[a-z]{0,3}", "[a-z]{1,3}");
    let facts = (class, option::of(0_usize..2), option::of(any_value()), option::of(any::<u32>()), any::<bool>());
    (id, facts, (text(), text(), text())).prop_map(|(id, (class, source, canonical, line, recreate), texts)| {
        EntryDraft {
            id: ObjectId::new(id.0, id.1, id.2, id.3),
            class,
            source,
            version: "example.com/v1".into(),
            canonical,
            inputs: "digest".into(),
            file: texts.0,
            lines: line.map(|line| LineTree { line, children: Lines::None }),
            recreate,
            uid: texts.1,
            problem: texts.2,
            history: HistoryDraft::default(),
        }
    })
}

/// One draft for each id.
fn any_drafts() -> impl Strategy<Value = BTreeMap<ObjectId, EntryDraft>> {
    vec(any_draft(), 0..40).prop_map(|drafts| drafts.into_iter().map(|draft| (draft.id.clone(), draft)).collect())
}

fn assert_holds(snapshot: &Snapshot, draft: &EntryDraft) {
    let entry = snapshot.get(draft.id.as_ref()).unwrap().unwrap();
    assert_eq!(entry.id(), draft.id.as_ref());
    assert_eq!(entry.class(), draft.class);
    assert_eq!(entry.source(), draft.source);
    assert_eq!(entry.version(), draft.version);
    assert_eq!(entry.canonical().map(|node| node.to_value()), draft.canonical);
    assert_eq!(entry.inputs(), draft.inputs);
    assert_eq!(entry.file(), draft.file.as_deref());
    assert_eq!(entry.first_line(), draft.lines.as_ref().map(|lines| lines.line));
    assert_eq!(entry.line(&Path(vec![Segment::Field("spec".into())])), entry.first_line());
    assert_eq!(entry.recreate(), draft.recreate);
    assert_eq!(entry.uid(), draft.uid.as_deref());
    assert_eq!(entry.problem(), draft.problem.as_deref());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(drafts in any_drafts()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        let length = write(&path, &meta(7), &drafts.values().cloned().collect::<Vec<_>>());
        prop_assert_eq!(length, path.metadata().unwrap().len());
        prop_assert!(!preparing_path(&path).exists());

        let snapshot = Snapshot::open(&path, Some(CLUSTER)).unwrap();
        prop_assert_eq!(snapshot.meta().generation, 7);
        prop_assert_eq!(snapshot.len(), drafts.len());
        for draft in drafts.values() {
            assert_holds(&snapshot, draft);
        }
        let listed: BTreeSet<ObjectId> = snapshot.iter().map(|entry| entry.unwrap().id().to_owned()).collect();
        prop_assert!(listed.iter().eq(drafts.keys()));
        let absent = ObjectRef { group: "", kind: "Absent", namespace: "", name: "x" };
        prop_assert!(snapshot.get(absent).unwrap().is_none());
    }

    #[test]
    fn a_revision_holds_what_is_new_and_the_rest_of_the_snapshot_before(
        drafts in any_drafts(), mut put in any_drafts(), choices in prop::collection::vec(any::<bool>(), 40),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let (first, second) = (directory.path().join("first"), directory.path().join("second"));
        write(&first, &meta(1), &drafts.values().cloned().collect::<Vec<_>>());
        let before = Snapshot::open(&first, None).unwrap();
        // Of each two, one is put again otherwise, or removed.
        let mut choices = choices.into_iter();
        let mut chosen = || choices.next().unwrap_or_default();
        for draft in drafts.values().filter(|_| chosen()) {
            put.insert(draft.id.clone(), EntryDraft { inputs: "other".into(), ..draft.clone() });
        }
        let removed: HashSet<ObjectId> =
            drafts.keys().filter(|id| !put.contains_key(*id) && chosen()).cloned().collect();
        let mut writer = SnapshotWriter::create(&second, &meta(2)).unwrap();
        for draft in put.values() {
            writer.put(draft).unwrap();
        }
        // The first source has become the second, and the second is gone.
        writer.finish_over(&before, &removed, |source| (source == 0).then_some(1)).unwrap();
        let after = Snapshot::open(&second, None).unwrap();
        let kept = drafts.into_values().filter(|draft| {
            !put.contains_key(&draft.id) && !removed.contains(&draft.id) && draft.source != Some(1)
        });
        let expected: Vec<EntryDraft> = put.values().cloned()
            .chain(kept.map(|draft| EntryDraft { source: draft.source.map(|_| 1), ..draft }))
            .collect();
        prop_assert_eq!(after.len(), expected.len());
        for draft in &expected {
            assert_holds(&after, draft);
        }
    }
}

#[test]
fn the_same_object_twice_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = SnapshotWriter::create(&directory.path().join("snapshot"), &meta(1)).unwrap();
    writer.put(&config_map("web")).unwrap();
    writer.put(&config_map("other")).unwrap();
    let error = writer.put(&config_map("web")).unwrap_err();
    assert!(matches!(error, SnapshotError::Duplicate { ref id } if id.name == "web"), "{error}");
}

#[test]
fn an_unknown_source_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = SnapshotWriter::create(&directory.path().join("snapshot"), &meta(1)).unwrap();
    let error = writer.put(&EntryDraft { source: Some(2), ..config_map("web") }).unwrap_err();
    assert!(matches!(error, SnapshotError::UnknownSource { index: 2, sources: 2, .. }), "{error}");
}

#[test]
fn objects_with_the_same_hash_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    let mut writer = SnapshotWriter::create(&path, &meta(1)).unwrap();
    // Digests that differ only behind the 64 bits that the index is sorted by.
    for (n, name) in ["a", "b", "c"].into_iter().enumerate() {
        let mut digest = [7; 32];
        digest[31] = u8::try_from(n).unwrap();
        writer.put_with_digest(&config_map(name), digest).unwrap();
    }
    writer.finish().unwrap();
    let snapshot = Snapshot::open(&path, None).unwrap();
    let hash = u64::from_le_bytes([7; 8]);
    for name in ["a", "b", "c"] {
        let id = config_map(name).id;
        let entry = snapshot.get_hashed(hash, id.as_ref()).unwrap().unwrap();
        assert_eq!(entry.id().name, name);
        assert_eq!(entry.canonical().unwrap().to_value()["data"]["name"], name);
    }
    assert!(snapshot.get_hashed(hash, config_map("d").id.as_ref()).unwrap().is_none());
}

#[test]
fn kinds_are_found_by_kind_and_by_resource() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    let kind = |group: &str, kind: &str, resource: &str| KindInfo {
        group: group.into(),
        kind: kind.into(),
        resource: resource.into(),
        version: "v1".into(),
        namespaced: true,
        subresources: BTreeSet::from(["status".to_owned()]),
        scale_paths: Default::default(),
        schema: ListSchema::default(),
        registered: true,
    };
    let mut meta = meta(1);
    meta.kinds = vec![kind("", "Event", "events"), kind("apps", "Deployment", "deployments")];
    meta.kinds.push(kind("events.k8s.io", "Event", "events"));
    write(&path, &meta, &[]);
    let snapshot = Snapshot::open(&path, None).unwrap();
    assert!(snapshot.is_empty());
    assert_eq!(snapshot.kind("events.k8s.io", "Event").unwrap().group, "events.k8s.io");
    assert_eq!(snapshot.resource("apps", "v1", "deployments").unwrap().kind, "Deployment");
    assert!(snapshot.resource("apps", "v1", "events").is_none());
    assert!(snapshot.kind("batch", "Job").is_none());
}

#[test]
fn fifty_thousand_objects() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("snapshot");
    let mut writer = SnapshotWriter::create(&path, &meta(1)).unwrap();
    for n in 0..50_000 {
        writer.put(&EntryDraft { canonical: Some(json!({"n": n})), ..config_map(&format!("c-{n}")) }).unwrap();
    }
    writer.finish().unwrap();
    let snapshot = Snapshot::open(&path, Some(CLUSTER)).unwrap();
    assert_eq!(snapshot.len(), 50_000);
    for n in (0..50_000).step_by(37) {
        let id = config_map(&format!("c-{n}")).id;
        let entry = snapshot.get(id.as_ref()).unwrap().unwrap();
        assert_eq!(entry.canonical().unwrap().get("n").unwrap().as_i64(), Some(n));
    }
}
