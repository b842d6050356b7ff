//! Snapshots as files: what comes back, and what is refused.

mod damage;
mod disk;
mod round_trip;
mod store;

use std::path::Path;

use serde_json::json;

use super::testing::source;
use super::{EntryClass, EntryDraft, HistoryDraft, Meta, SnapshotWriter};
use crate::api::Scope;
use crate::object::ObjectId;

const CLUSTER: &str = "0a1b2c3d-cluster";

fn meta(generation: u64) -> Meta {
    Meta {
        generation,
        cluster: CLUSTER.into(),
        sources: ["a", "b"].map(|name| source(name, Scope::default())).into(),
        ..Meta::default()
    }
}

fn config_map(name: &str) -> EntryDraft {
    EntryDraft {
        id: ObjectId::new("", "ConfigMap", "shop", name),
        class: EntryClass::Declared,
        source: Some(0),
        version: "v1".into(),
        canonical: Some(json!({"kind": "ConfigMap", "data": {"name": name}})),
        inputs: "digest".into(),
        file: Some("shop/config.yaml".into()),
        lines: None,
        recreate: false,
        uid: None,
        problem: None,
        history: HistoryDraft::default(),
    }
}

fn write(path: &Path, meta: &Meta, drafts: &[EntryDraft]) -> u64 {
    let mut writer = SnapshotWriter::create(path, meta).unwrap();
    for draft in drafts {
        writer.put(draft).unwrap();
    }
    writer.finish().unwrap()
}
