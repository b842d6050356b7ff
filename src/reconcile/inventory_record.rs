//! Reads the inventory from its shards and writes it there, and tells when somebody else wrote one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::Stream;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, PartialObjectMeta, PostParams, Preconditions};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::apply::ApplyError;
use super::converge::Workshop;
use super::finalizers;
use super::inventory::{Inventory, Line, is_as_written, is_beyond_repair};

use super::refusal::Refusal;
use super::rest::metadata;
use super::round::Participant;
use crate::admission::own::{INVENTORY_PREFIX, inventory_of};
use crate::api::{Action, SYSTEM_NAMESPACE};
use crate::object::ObjectId;
use crate::snapshot::EntryClass;

#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("the inventory cannot be read or written: {0}")]
    Api(#[from] Refusal),
    #[error("the inventory cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::SnapshotError),
    #[error("a list that is being deleted is kept from going: {0}")]
    Kept(#[from] ApplyError),
    #[error(transparent)]
    Source(#[from] crate::source::SourceError),
    #[error("the task that reads Git died: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<kube::Error> for InventoryError {
    fn from(error: kube::Error) -> Self {
        Refusal::from(error).into()
    }
}

/// The version of each shard as this process wrote it last.
#[derive(Default)]
pub struct Written(Mutex<HashMap<String, String>>);

impl Written {
    fn versions(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, shard: &ConfigMap) {
        self.versions().insert(shard.name_any(), shard.resource_version().unwrap_or_default());
    }

    /// Whether somebody else changed a shard, or took it away. A write of one's own that is heard of before its answer
    /// counts as well: then one round finds nothing to do.
    pub fn is_foreign(&self, event: &Event<PartialObjectMeta<ConfigMap>>) -> bool {
        let versions = self.versions();
        match event {
            Event::Apply(shard) => {
                let name = shard.name_any();
                name.starts_with(INVENTORY_PREFIX) && versions.get(&name) != shard.resource_version().as_ref()
            }
            Event::Delete(shard) => versions.contains_key(&shard.name_any()),
            Event::Init | Event::InitApply(_) | Event::InitDone => false,
        }
    }
}

/// The metadata of all that could be a shard.
pub fn watch(client: Client) -> impl Stream<Item = Result<Event<PartialObjectMeta<ConfigMap>>, watcher::Error>> + Send {
    watcher::watcher(Api::namespaced(client, SYSTEM_NAMESPACE), watcher::Config::default()).default_backoff()
}

/// Brings the shards of a source up to date with what is declared and applied. Lines of `undecided` objects stay.
///
/// # Errors
/// A shard cannot be read or written. The next round tries again.
pub async fn write(
    workshop: &Workshop,
    index: usize,
    participant: &Participant,
    undecided: &BTreeSet<ObjectId>,
) -> Result<(), InventoryError> {
    if participant.source.action != Action::Enforce || participant.state.is_none() {
        return Ok(());
    }
    let world = workshop.publisher.world();
    let api: Api<ConfigMap> = Api::namespaced(workshop.client.clone(), SYSTEM_NAMESPACE);
    let name = participant.source.name.as_str();
    let (shards, others): (Vec<_>, Vec<_>) =
        records(&api).await?.into_iter().partition(|record| shard_of(record) == Some(name));
    let (spoilt, shards): (Vec<_>, Vec<_>) = shards.into_iter().partition(is_beyond_repair);
    // What bears the name of an inventory and can be a part of none came by a way round admission.
    let strays = others.iter().filter(|record| shard_of(record).is_none());
    let maps = world.snapshot.kind("", "ConfigMap").ok_or(Refusal::KindAbsent)?;
    for record in spoilt.iter().chain(strays) {
        delete(&api, record).await?;
        finalizers::take_all(&workshop.client, maps, record).await?;
    }
    let inventory = Inventory::read(shards.iter());
    let mut declared = Vec::new();
    let mut kept = undecided.clone();
    for entry in world.snapshot.iter() {
        let entry = entry?;
        if entry.source() != Some(index) {
            continue;
        }
        match entry.class() {
            EntryClass::Declared if entry.canonical().is_some() => declared.push(Line {
                id: entry.id().to_owned(),
                commit: participant.source.commit.clone(),
                file: entry.file().unwrap_or_default().to_owned(),
            }),
            // Declared, but not written yet; or no longer declared, and kept: a new Pod must know of it.
            EntryClass::Declared | EntryClass::Retained => _ = kept.insert(entry.id().to_owned()),
            EntryClass::Baseline => {}
        }
    }
    kept.extend(declared.iter().map(|line| line.id.clone()));
    let gone: BTreeSet<ObjectId> =
        inventory.lines().map(|line| line.id.clone()).filter(|id| !kept.contains(id)).collect();
    let (next, changed) = inventory.updated(name, declared, &gone);
    if !changed.is_empty() {
        remember(participant).await?;
    }
    let written = &workshop.inventories;
    for shard in next.shards() {
        let known = shards.iter().find(|s| s["metadata"]["name"] == *shard);
        match (next.config_map(name, shard), known) {
            (Some(map), Some(known)) if is_as_written(known, &map) => {}
            (Some(map), Some(known)) if !metadata(known, "deletionTimestamp").is_empty() => {
                finalizers::take_all(&workshop.client, maps, known).await?;
                written.note(&store(&api, map, None).await?);
            }
            (Some(map), known) => written.note(&store(&api, map, known).await?),
            (None, Some(_)) => {
                written.versions().remove(shard);
                api.delete(shard, &DeleteParams::default()).await?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// The inventory of one source.
///
/// # Errors
/// It cannot be read.
pub async fn read(workshop: &Workshop, enforcement: &str) -> Result<Inventory, InventoryError> {
    let api: Api<ConfigMap> = Api::namespaced(workshop.client.clone(), SYSTEM_NAMESPACE);
    let records = records(&api).await?;
    Ok(Inventory::read(records.iter().filter(|record| shard_of(record) == Some(enforcement))))
}

/// Whatever bears the name of an inventory.
async fn records(api: &Api<ConfigMap>) -> Result<Vec<Value>, InventoryError> {
    let all = api.list(&ListParams::default()).await?;
    let records = all.items.into_iter().filter(|map| map.name_any().starts_with(INVENTORY_PREFIX));
    Ok(records.map(serde_json::to_value).collect::<Result<_, _>>()?)
}

fn shard_of(record: &Value) -> Option<&str> {
    record["metadata"]["name"].as_str().and_then(inventory_of)
}

/// Takes this very object away. Its lines are not believed: what is declared is listed anew.
async fn delete(api: &Api<ConfigMap>, shard: &Value) -> Result<(), InventoryError> {
    let (name, uid) = (&shard["metadata"]["name"], &shard["metadata"]["uid"]);
    let preconditions = Preconditions { uid: uid.as_str().map(str::to_owned), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    api.delete(name.as_str().unwrap_or_default(), &params).await?;
    Ok(())
}

/// A commit that the inventory names must be found again, even after a force-push. What leads to it needs no reference
/// of its own.
async fn remember(participant: &Participant) -> Result<(), InventoryError> {
    let Some(state) = participant.state.clone() else { return Ok(()) };
    tokio::task::spawn_blocking(move || {
        let (repository, tip) = (&state.repository, &state.rendered.commit);
        repository.remember(tip)?;
        for earlier in repository.remembered()? {
            if earlier != tip.id && repository.is_ancestor(&earlier, &tip.id)? {
                repository.forget(&earlier)?;
            }
        }
        Ok(())
    })
    .await?
}

async fn store(api: &Api<ConfigMap>, map: Value, known: Option<&Value>) -> Result<ConfigMap, InventoryError> {
    let mut map: ConfigMap = serde_json::from_value(map)?;
    let params = PostParams { field_manager: Some(crate::api::MANAGER.into()), ..PostParams::default() };
    match known {
        None => Ok(api.create(&params, &map).await?),
        Some(known) => {
            map.metadata.resource_version = known["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            let name = map.metadata.name.clone().unwrap_or_default();
            Ok(api.replace(&name, &params, &map).await?)
        }
    }
}
