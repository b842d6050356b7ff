//! A snapshot of the fleet, and reviews of writes to it.

use std::error::Error;
use std::path::Path;

use gitadel::compare::{ListKind, ListSchema, MaskKey, SchemaNode};
use gitadel::object::ObjectId;
use gitadel::snapshot::{EntryClass, EntryDraft, HistoryDraft, KindInfo, Meta, SnapshotWriter};
use serde_json::{Value, json};

use super::fleet;
use crate::source::source;

/// An update of a stored Deployment, as the API server sends it.
pub fn review(number: usize, change: fn(&mut Value, &mut Value)) -> Result<Vec<u8>, serde_json::Error> {
    let (mut old, mut new) = (fleet::stored_deployment(number), fleet::stored_deployment(number));
    change(&mut old, &mut new);
    let kind = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    let resource = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    serde_json::to_vec(&json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "operation": "UPDATE",
            "name": new["metadata"]["name"], "namespace": fleet::NAMESPACE,
            "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "userInfo": {"username": "alice@example.com", "groups": ["developers", "system:authenticated"]},
            "object": new, "oldObject": old, "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "UpdateOptions", "fieldManager": "kubectl-edit"},
        },
    }))
}

/// Writes a snapshot of many Deployments, and tells its size in bytes.
pub fn write(path: &Path, cluster: &str, size: usize) -> Result<u64, Box<dyn Error>> {
    let mut writer = SnapshotWriter::create(path, &meta(cluster)?)?;
    for number in 0..size {
        let canonical = fleet::canonical_deployment(number);
        writer.put(&EntryDraft {
            id: ObjectId::new("apps", "Deployment", fleet::NAMESPACE, format!("app-{number}")),
            class: EntryClass::Declared,
            source: Some(0),
            version: "apps/v1".into(),
            canonical: Some(canonical),
            inputs: "digest".into(),
            file: Some(format!("apps/app-{number}.yaml")),
            lines: None,
            recreate: false,
            uid: None,
            problem: None,
            history: HistoryDraft::default(),
        })?;
    }
    Ok(writer.finish()?)
}

fn meta(cluster: &str) -> Result<Meta, Box<dyn Error>> {
    let source = source("all", json!({"excludedNamespaces": ["kube-*"], "cluster": "All"}));
    let kind = KindInfo {
        group: "apps".into(),
        kind: "Deployment".into(),
        resource: "deployments".into(),
        version: "v1".into(),
        namespaced: true,
        subresources: ["status", "scale"].map(String::from).into(),
        scale_paths: Default::default(),
        schema: schema(),
        registered: true,
    };
    let mask_key = MaskKey::from_hex(&"07".repeat(32))?.to_hex();
    Ok(Meta { cluster: cluster.into(), sources: vec![source], kinds: vec![kind], mask_key, ..Meta::default() })
}

/// The keyed lists of a Deployment's Pods.
fn schema() -> ListSchema {
    let node = |fields: &[(&str, u32)]| SchemaNode {
        fields: fields.iter().map(|(name, index)| ((*name).to_owned(), *index)).collect(),
        ..SchemaNode::default()
    };
    let keyed = |keys: &[&str], items: u32| SchemaNode {
        list: Some(ListKind::Map(keys.iter().map(|key| (*key).to_owned()).collect())),
        items: Some(items),
        ..SchemaNode::default()
    };
    ListSchema {
        nodes: vec![
            node(&[("spec", 1)]),
            node(&[("template", 2)]),
            node(&[("spec", 3)]),
            node(&[("containers", 4), ("volumes", 8)]),
            keyed(&["name"], 5),
            node(&[("env", 6), ("ports", 7), ("volumeMounts", 9)]),
            keyed(&["name"], 10),
            keyed(&["containerPort", "protocol"], 10),
            keyed(&["name"], 10),
            keyed(&["mountPath"], 10),
            SchemaNode::default(),
        ],
    }
}
