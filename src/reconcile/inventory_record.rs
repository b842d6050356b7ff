//! Writes the inventory into its shards, and prunes by it what a new Pod finds there and never saw declared.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::Value;

use super::converge::Workshop;
use super::inventory::{ENFORCEMENT_LABEL, Inventory, Line};
use super::round::Participant;
use crate::api::{Action, SYSTEM_NAMESPACE};
use crate::object::ObjectId;
use crate::snapshot::EntryClass;

#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("the inventory cannot be read or written: {0}")]
    Api(#[from] kube::Error),
    #[error("the inventory cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::SnapshotError),
}

/// Brings the shards of every source up to date with what is declared and applied.
///
/// # Errors
/// A shard cannot be read or written. The next round tries again.
pub async fn write(workshop: &Workshop, participants: &[Participant]) -> Result<(), InventoryError> {
    let world = workshop.publisher.world();
    let api: Api<ConfigMap> = Api::namespaced(workshop.client.clone(), SYSTEM_NAMESPACE);
    for (index, participant) in participants.iter().enumerate() {
        if participant.source.action != Action::Enforce {
            continue;
        }
        let name = participant.source.name.as_str();
        let shards = api.list(&ListParams::default().labels(&format!("{ENFORCEMENT_LABEL}={name}"))).await?;
        let shards: Vec<Value> = shards.items.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let inventory = Inventory::read(shards.iter());
        let mut declared = Vec::new();
        for entry in world.snapshot.iter() {
            let entry = entry?;
            if entry.class() == EntryClass::Declared && entry.source() == Some(index) && entry.canonical().is_some() {
                declared.push(Line {
                    id: entry.id().to_owned(),
                    commit: participant.source.commit.clone(),
                    file: entry.file().unwrap_or_default().to_owned(),
                });
            }
        }
        let ids: BTreeSet<&ObjectId> = declared.iter().map(|line| &line.id).collect();
        let gone: BTreeSet<ObjectId> =
            inventory.lines().map(|line| line.id.clone()).filter(|id| !ids.contains(id)).collect();
        let (next, changed) = inventory.updated(name, declared, &gone);
        for shard in changed {
            let known = shards.iter().find(|s| s["metadata"]["name"] == *shard);
            match next.config_map(name, &shard) {
                Some(map) => store(&api, map, known).await?,
                None => {
                    api.delete(&shard, &DeleteParams::default()).await?;
                }
            }
        }
    }
    Ok(())
}

async fn store(api: &Api<ConfigMap>, map: Value, known: Option<&Value>) -> Result<(), InventoryError> {
    let mut map: ConfigMap = serde_json::from_value(map)?;
    let params = PostParams { field_manager: Some(crate::api::MANAGER.into()), ..PostParams::default() };
    match known {
        None => {
            api.create(&params, &map).await?;
        }
        Some(known) => {
            map.metadata.resource_version = known["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            let name = map.metadata.name.clone().unwrap_or_default();
            api.replace(&name, &params, &map).await?;
        }
    }
    Ok(())
}
