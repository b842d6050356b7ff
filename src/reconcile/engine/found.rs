//! Templates from which children were made before their owner came under Git, or before this process knew anything.
//!
//! While a rollout goes on, the controllers have to be able to replace a Pod of the old template as well. What that was is in
//! no commit that this process has seen, so it is taken from the cluster: once, when the world of an Enforcement is closed,
//! like the baseline; never afterwards. It counts until the rollout is over.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::admission::children::{Descent, Stray};
use crate::admission::{ObjectClass, classify_object};
use crate::document::Document;
use crate::object::{GroupKind, ObjectId};
use crate::reconcile::converge::Workshop;
use crate::reconcile::kinds::Kinds;
use crate::reconcile::observed::{Observed, api_resource};
use crate::reconcile::publish::{Edit, PublishError};
use crate::reconcile::refusal::Refusal;
use crate::reconcile::world::World;
use crate::snapshot::{KindInfo, SnapshotError};

#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    #[error("what is made from earlier templates cannot be listed: {0}")]
    Api(#[from] Refusal),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Since when the worlds were closed for which this was done.
pub struct Found(BTreeMap<String, Timestamp>);

impl Found {
    /// What an earlier process left in force, it has looked at.
    pub fn by_an_earlier_process(world: &World) -> Self {
        Self(world.snapshot.meta().closed_since.clone())
    }

    /// Looks for the templates of children that are older than the closed world around them.
    ///
    /// # Errors
    /// The cluster cannot be listed, or the snapshot not be written: nothing was taken over.
    pub async fn take_over(&mut self, workshop: &Workshop, kinds: &Kinds) -> Result<(), FoundError> {
        let world = workshop.publisher.world();
        let closed = closed_and_known(&world);
        if closed == self.0 {
            return Ok(());
        }
        let mut found: HashMap<ObjectId, Vec<Value>> = HashMap::new();
        for (group, kind) in [("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("batch", "Job")] {
            let Some(kind) = kinds.info(&GroupKind::new(group, kind)) else { continue };
            for (owner, template) in templates(workshop, kinds, &world, kind).await? {
                let enforcement = world.enforcement_of(owner.as_ref());
                if self.0.get(enforcement) != closed.get(enforcement) {
                    found.entry(owner).or_default().push(template);
                }
            }
        }
        for owner in found.keys() {
            tracing::info!(object = %owner, "a rollout was under way: its Pods of before may be replaced until it is over");
        }
        if !found.is_empty() {
            workshop.publisher.publish(|_, _| Some(Edit { found, ..Edit::default() })).await?;
        }
        self.0 = closed;
        Ok(())
    }
}

/// Of a source that was not read yet, nobody knows what it declares.
fn closed_and_known(world: &World) -> BTreeMap<String, Timestamp> {
    let meta = world.snapshot.meta();
    let known = meta.sources.iter().filter(|s| !s.commit.is_empty() && !meta.sealed.contains(&s.name));
    known.filter_map(|source| Some((source.name.clone(), *meta.closed_since.get(&source.name)?))).collect()
}

/// The owners of living objects of a kind, and the templates that these were made from, where no known one yields them.
async fn templates(
    workshop: &Workshop,
    kinds: &Kinds,
    world: &World,
    kind: &KindInfo,
) -> Result<Vec<(ObjectId, Value)>, FoundError> {
    let api: Api<Observed> = Api::all_with(workshop.client.clone(), &api_resource(kind));
    let listed = api.list(&ListParams::default()).await.map_err(Refusal::from)?;
    let mut templates = Vec::new();
    for object in listed.items {
        let id = object.id(kind);
        let live = object.into_value(kind);
        if kind.kind == "StatefulSet" {
            if let Some(template) = current_revision(workshop, kinds, &id, &live).await? {
                templates.push((id, template));
            }
            continue;
        }
        let document = Document::from_value(&live);
        let ObjectClass::Child { owner } = classify_object(&world.snapshot, kind, document.root())? else { continue };
        let stray =
            Descent::of(&world.snapshot, id.as_ref(), &owner)?.and_then(|descent| descent.strays(document.root()));
        if matches!(stray, Some(Stray::Unproven { .. })) && is_alive(&live) {
            templates.push((owner, template_behind(&live)));
        }
    }
    Ok(templates)
}

/// The template before, of a StatefulSet in a rollout.
async fn current_revision(
    workshop: &Workshop,
    kinds: &Kinds,
    id: &ObjectId,
    set: &Value,
) -> Result<Option<Value>, FoundError> {
    let revision = |field: &str| set["status"][field].as_str();
    let Some(kind) = kinds.info(&GroupKind::new("apps", "ControllerRevision")) else { return Ok(None) };
    let Some(current) =
        revision("currentRevision").filter(|_| revision("currentRevision") != revision("updateRevision"))
    else {
        return Ok(None);
    };
    let kept = crate::reconcile::rest::get(&workshop.client, kind, &id.namespace, current).await?;
    Ok(kept.map(|kept| {
        let mut template = kept["data"]["spec"]["template"].clone();
        if let Some(members) = template.as_object_mut() {
            members.remove("$patch");
        }
        template
    }))
}

fn is_alive(child: &Value) -> bool {
    let count = |pointer: &str| child.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    ["/spec/replicas", "/status/replicas", "/status/active"].iter().any(|pointer| count(pointer) > 0)
}

/// What a ReplicaSet's Deployment or a Job's CronJob had for a template.
fn template_behind(child: &Value) -> Value {
    const ADDED: [&str; 5] = [
        "pod-template-hash",
        "controller-uid",
        "job-name",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
    ];
    let mut spec = child["spec"].clone();
    if let Some(labels) = spec.pointer_mut("/template/metadata/labels").and_then(Value::as_object_mut) {
        labels.retain(|label, _| !ADDED.contains(&label.as_str()));
    }
    if child["kind"] == "ReplicaSet" {
        return spec["template"].take();
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("selector");
    }
    json!({"spec": spec})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_found_behind_what_was_made_from_it() {
        let pods = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        let mut of_set = pods.clone();
        of_set["metadata"]["labels"]["pod-template-hash"] = "5d4f8c".into();
        let set = json!({"kind": "ReplicaSet", "spec": {"replicas": 1, "selector": {}, "template": of_set}});
        assert_eq!(template_behind(&set), pods);
        let job =
            json!({"kind": "Job", "spec": {"selector": {"matchLabels": {}}, "template": pods, "backoffLimit": 1}});
        assert_eq!(template_behind(&job), json!({"spec": {"template": pods, "backoffLimit": 1}}));
        assert!(is_alive(&set) && !is_alive(&job));
    }
}
