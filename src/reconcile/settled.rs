//! Tells the webhook when nothing is left any more of a template that was replaced: from then on nobody makes Pods of it.
//!
//! That an owner's status says so is not enough, for whoever may write a status could end a rollout in the middle, and what
//! no template yields is removed. So its children are looked at themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::core::Selector;
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc;

use super::observed::{Observed, api_resource};
use super::publish::{Edit, Publisher};
use super::refusal::Refusal;
use super::tracker::Fingerprint;
use super::world::World;
use crate::admission::children::{Descent, Stray};
use crate::admission::{ObjectClass, classify_object};
use crate::document::{Document, Node};
use crate::object::ObjectId;
use crate::snapshot::SnapshotError;

/// An object in this desired state, whose status says that nothing is left of its earlier templates.
pub type Settled = (ObjectId, Fingerprint);

/// Many objects settle at the same time after a commit, and each snapshot is written as a whole.
const GATHER: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("the children cannot be listed: {0}")]
    Api(#[from] Refusal),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// Runs until the sender is gone.
pub async fn follow(client: Client, publisher: Arc<Publisher>, mut settled: mpsc::UnboundedReceiver<Settled>) {
    while let Some(first) = settled.recv().await {
        tokio::time::sleep(GATHER).await;
        let mut said = HashMap::from([first]);
        while let Ok((id, state)) = settled.try_recv() {
            said.insert(id, state);
        }
        let world = publisher.world();
        let mut all = HashMap::new();
        for (id, state) in said {
            match lives_by_present_template(&client, &world, &id).await {
                Ok(true) => _ = all.insert(id, state),
                // With the end of the rollout its owner changes again.
                Ok(false) => {
                    tracing::debug!(object = %id, "its status says that its rollout is over, its children do not")
                }
                Err(error) => {
                    tracing::warn!(object = %id, %error, "its earlier templates count until it changes again")
                }
            }
        }
        let forget = |_: &_, _: &mut _| (!all.is_empty()).then(|| Edit { settled: all, ..Edit::default() });
        if let Err(error) = publisher.publish(forget).await {
            tracing::error!(%error, "templates of which nothing is left are not taken out of the snapshot");
        }
    }
}

/// Whether every child that is alive is what the present template yields.
async fn lives_by_present_template(client: &Client, world: &World, owner: &ObjectId) -> Result<bool, LookError> {
    let Some(entry) = world.entry(owner.as_ref())? else { return Ok(false) };
    let labels = ListParams { label_selector: selector(owner, entry.canonical()), ..ListParams::default() };
    for (group, kind) in children(&owner.kind.kind) {
        let Some(kind) = world.snapshot.kind(group, kind) else { continue };
        let api: Api<Observed> = Api::namespaced_with(client.clone(), &owner.namespace, &api_resource(kind));
        for child in api.list(&labels).await.map_err(Refusal::from)?.items {
            if child.is_terminating() {
                continue;
            }
            let id = child.id(kind);
            let live = Document::from_value(&child.into_value(kind));
            let class = classify_object(&world.snapshot, kind, live.root())?;
            if !matches!(class, ObjectClass::Child { owner: found } if found == *owner) {
                continue;
            }
            let descent = Descent::of(&world.snapshot, id.as_ref(), owner)?.map(Descent::by_present_template);
            let stray = descent.and_then(|descent| descent.strays(live.root()));
            if matches!(stray, Some(Stray::Foreign { .. } | Stray::Unproven { .. })) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The kinds that are made from the template of an owner.
fn children(owner: &str) -> &'static [(&'static str, &'static str)] {
    match owner {
        "Deployment" => &[("apps", "ReplicaSet"), ("", "Pod")],
        "CronJob" => &[("batch", "Job"), ("", "Pod")],
        _ => &[("", "Pod")],
    }
}

/// By which labels an owner finds its children, as a query. None where it does not find them by labels, or nobody knows.
fn selector(owner: &ObjectId, canonical: Option<Node<'_>>) -> Option<String> {
    let selector: Value = canonical?.at(&["spec", "selector"])?.to_value();
    let selector = match owner.kind.kind.as_str() {
        "ReplicationController" => {
            LabelSelector { match_labels: serde_json::from_value(selector).ok()?, ..LabelSelector::default() }
        }
        _ => serde_json::from_value(selector).ok()?,
    };
    Some(Selector::try_from(selector).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_owner_finds_its_children() {
        let of = |kind: &str, selector: Value| {
            let owner = Document::from_value(&json!({"spec": {"selector": selector}}));
            super::selector(&ObjectId::new("", kind, "shop", "x"), Some(owner.root()))
        };
        assert_eq!(of("ReplicationController", json!({"app": "web"})).as_deref(), Some("app=web"));
        let web = json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]});
        let query = of("Deployment", web).unwrap();
        assert!(query.contains("app=web") && query.contains("tier"), "{query}");
        assert_eq!(of("CronJob", Value::Null), None);
    }
}
