//! What a child has to be: its owner's template, and what Kubernetes is known to add to it.
//!
//! Who writes a child can be impersonated, and a token can be stolen. So a ReplicaSet, a Pod, a Job or a ControllerRevision
//! is compared with the template of the declared object at the end of its chain of controllers. Nothing of a template is
//! ever changed or left out by Kubernetes: there are additions only, and they are a short, closed list: those of the
//! controllers (`additions`) and those of the API server's own admission (`defaults`). An addition is taken over from
//! the child where the list allows its value; everything else is the template's.
//!
//! A template may have been replaced while what was made from it still runs, and is replaced Pod by Pod. So a child may
//! follow from each of those templates that still live: see [`crate::snapshot::History`].

mod additions;
mod claim;
mod defaults;
mod job;
mod lists;
mod metadata;
mod pod;
mod quota;
pub mod recycler;
mod replica_set;
mod resource_claim;
mod revision;
mod settled;

use jiff::Timestamp;
use serde_json::{Map, Value};

use self::defaults::Defaults;
use self::pod::Origin;
use super::builtin;
use super::ownership::Controller;
use crate::api::{Children, Undeclared};
use crate::compare::{Finding, Latitude, ListSchema, Segment, difference, judge as compare, judge_create};
use crate::document::{Document, Node};
use crate::object::{ObjectId, ObjectRef};
use crate::snapshot::{Entry, EntryClass, Snapshot, SnapshotError, Source};

pub use quota::ordinals;
pub use settled::is_settled;

/// What follows from the template of a kind of owner, and which field holds that.
pub fn template_of<'a>(group: &str, kind: &str, owner: Node<'a>) -> Option<Node<'a>> {
    match (group, kind) {
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("", "ReplicationController")
        | ("batch", "Job") => owner.at(&["spec", "template"]),
        ("batch", "CronJob") => owner.at(&["spec", "jobTemplate"]),
        _ => None,
    }
}

/// Stands for the hash of a Deployment's template, in what mutators make of its Pods.
pub const HASH: &str = "0gitadel0hash0";

/// The template of the Pods that are made for an object.
pub fn pod_template_of<'a>(group: &str, kind: &str, owner: Node<'a>) -> Option<Node<'a>> {
    let template = template_of(group, kind, owner)?;
    if kind == "CronJob" { template.at(&["spec", "template"]) } else { Some(template) }
}

/// What keeps a claim from being made for a replica of a StatefulSet, by the template of that name.
pub fn judge_claim_of_set(
    snapshot: &Snapshot,
    set: &Entry<'_>,
    template: &str,
    claim: Node<'_>,
    latitude: &Latitude<'_>,
) -> Vec<Finding> {
    let wanted = wanted_claim_of_set(snapshot, set, template, claim);
    wanted.map_or_else(Vec::new, |wanted| judge_create(claim, wanted.root(), latitude))
}

/// Whether a claim that is bound to nothing yet asks for what the template of that name does. What it is called and by whom it
/// is kept does no harm.
pub fn is_claim_of_set(snapshot: &Snapshot, set: &Entry<'_>, template: &str, claim: Node<'_>) -> bool {
    const VOLUME: [&str; 2] = ["spec", "volumeName"];
    let Some(wanted) = wanted_claim_of_set(snapshot, set, template, claim) else { return true };
    let (id, source) = (set.id(), snapshot.meta().answer(set.id()));
    let name = claim.at(&["metadata", "name"]).and_then(Node::as_str).unwrap_or_default();
    let id = ObjectRef { group: "", kind: "PersistentVolumeClaim", namespace: id.namespace, name };
    let of_spec =
        unlike(snapshot, id, source, claim, wanted.root()).into_iter().any(|finding| !is_of_metadata(&finding));
    // Whoever binds claims may name the volume, and then it is bound.
    !of_spec && claim.at(&VOLUME).map(|n| n.to_value()) == wanted.root().at(&VOLUME).map(|n| n.to_value())
}

fn wanted_claim_of_set(snapshot: &Snapshot, set: &Entry<'_>, template: &str, claim: Node<'_>) -> Option<Document> {
    let canonical = set.canonical()?.to_value();
    let source = set.source().and_then(|index| snapshot.meta().sources.get(index));
    let child = claim.to_value();
    let defaults = Defaults::of(snapshot, set.id().namespace, source);
    let template = claim::template_of_set(&canonical, template).unwrap_or(&Value::Null);
    let wanted = claim::wanted(template, claim::selected(&canonical), &child, |class| defaults.is_default_class(class));
    Some(Document::from_value(&wanted))
}

/// A child and the governed object at the end of its chain of controllers.
pub struct Descent<'a> {
    snapshot: &'a Snapshot,
    id: ObjectRef<'a>,
    owner: Entry<'a>,
    source: Option<&'a Source>,
    /// Templates count that were replaced, as long as something may be made from them.
    by_earlier: bool,
}

impl<'a> Descent<'a> {
    /// Nothing where a child of this kind has no template, its owner's is not known yet, or the Enforcement leaves children
    /// to their controllers.
    ///
    /// # Errors
    /// The owner's entry is damaged.
    pub fn of(snapshot: &'a Snapshot, id: ObjectRef<'a>, owner: &ObjectId) -> Result<Option<Self>, SnapshotError> {
        let Some(entry) = snapshot.get(owner.as_ref())?.filter(|entry| entry.canonical().is_some()) else {
            return Ok(None);
        };
        let meta = snapshot.meta();
        let source = entry.source().and_then(|index| meta.sources.get(index)).or_else(|| meta.answer(id));
        // Nobody asks what mutators make of the Pods of what Git does not declare.
        let is_foreseen = !follows_from_pod(id.kind) || !meta.has_mutators || entry.class() == EntryClass::Declared;
        let by_template = is_foreseen && source.is_some_and(|source| source.children == Children::ByTemplate);
        Ok(by_template.then_some(Self { snapshot, id, owner: entry, source, by_earlier: true }))
    }

    /// As if no template had ever been replaced.
    pub fn by_present_template(self) -> Self {
        Self { by_earlier: false, ..self }
    }

    /// What the child has to be by each of the templates in use, the declared one first. What it has of the additions that
    /// are allowed is taken over. None where such an owner has no template for children of this kind: by their kinds alone,
    /// for nothing else that a child says of itself may spare it the comparison.
    pub fn wanted(&self, child: Node<'_>) -> Option<Vec<Document>> {
        let owner = self.owner.id();
        let canonical = self.owner.canonical()?;
        // A declared Pod is its own template.
        let is_pod = (owner.group, owner.kind) == ("", "Pod");
        let template = if is_pod { Some(canonical) } else { template_of(owner.group, owner.kind, canonical) };
        let declared = template?.to_value();
        let mutated = self.mutated(owner.kind, &declared);
        let (owner_object, child) = (canonical.to_value(), child.to_value());
        let earlier = self.owner.history().templates().filter(|_| self.by_earlier).map(Node::to_value);
        let yielded = |template: Value| self.yielded(&owner_object, &template, &child);
        std::iter::once(declared)
            .chain(mutated)
            .chain(earlier)
            .map(|template| yielded(template).map(|wanted| Document::from_value(&wanted)))
            .collect()
    }

    /// What mutators make of a Pod, in the place of the template that it comes from; for its claims as well.
    fn mutated(&self, owner: &str, declared: &Value) -> Option<Value> {
        let pod = self.owner.history().mutated().filter(|_| follows_from_pod(self.id.kind))?.to_value();
        if owner != "CronJob" {
            return Some(pod);
        }
        let mut job = declared.clone();
        job["spec"]["template"] = pod;
        Some(job)
    }

    fn yielded(&self, owner: &Value, template: &Value, child: &Value) -> Option<Value> {
        let (root, controller) = (self.owner.id(), Document::from_value(child));
        let controller = Controller::of(controller.root())?;
        let defaults = || Defaults::of(self.snapshot, self.id.namespace, self.source);
        let pod = |template: &Value, origin: Origin<'_>| Some(pod::wanted(template, child, &origin, &defaults()));
        match (self.id.kind, controller.kind, root.kind) {
            ("ReplicaSet", "Deployment", "Deployment") => Some(replica_set::wanted(owner, template, child)),
            ("Pod", "ReplicaSet", "Deployment") => {
                let hash = controller.name.strip_prefix(root.name).and_then(|rest| rest.strip_prefix('-'));
                let hash = hash.unwrap_or(controller.name);
                pod(&with_hash(template, hash), Origin::ReplicaSet { hash: Some(hash) })
            }
            ("Pod", "ReplicaSet", "ReplicaSet") | ("Pod", "ReplicationController", "ReplicationController") => {
                pod(template, Origin::ReplicaSet { hash: None })
            }
            ("Pod", "StatefulSet", "StatefulSet") => pod(template, Origin::StatefulSet { set: owner }),
            ("Pod", "DaemonSet", "DaemonSet") => pod(template, Origin::DaemonSet),
            ("Pod", "Job", "Job") => {
                pod(template, Origin::Job { spec: &owner["spec"], name: controller.name, uid: controller.uid })
            }
            ("Pod", "Job", "CronJob") => {
                let spec = &template["spec"];
                pod(&spec["template"], Origin::Job { spec, name: controller.name, uid: controller.uid })
            }
            ("Job", "CronJob", "CronJob") => Some(job::wanted(template, child)),
            ("ResourceClaim", "Pod", kind) => Some(resource_claim::wanted(of_pods(kind, template), child, &defaults())),
            ("PersistentVolumeClaim", "Pod", kind) => {
                let pods = of_pods(kind, template);
                let of_replica = claim::template_of_replica(owner, controller.name, self.id.name);
                let selected = if of_replica.is_some() { claim::selected(owner) } else { Map::new() };
                // Without such a volume there is no such claim, and what is made instead is nobody's.
                let claim = of_replica.or_else(|| claim::template_of_pod(pods, controller.name, self.id.name));
                let claim = claim.unwrap_or(&Value::Null);
                Some(claim::wanted(claim, selected, child, |class| defaults().is_default_class(class)))
            }
            ("ControllerRevision", "StatefulSet" | "DaemonSet", "StatefulSet" | "DaemonSet") => {
                Some(revision::wanted(template, child))
            }
            _ => None,
        }
    }

    /// What keeps a child from being created: the findings against the template that it comes closest to.
    pub fn judge_creation(&self, new: Node<'_>, latitude: &Latitude<'_>) -> Option<Vec<Finding>> {
        closest(self.wanted(new)?.iter().map(|wanted| judge_create(new, wanted.root(), latitude)))
    }

    /// What keeps a child from being changed like this: each place is as it was, or as the template has it.
    pub fn judge_change(&self, old: Node<'_>, new: Node<'_>, latitude: &Latitude<'_>) -> Option<Vec<Finding>> {
        // What was added once stays as it was added: by the old state, not by the new one.
        closest(self.wanted(old)?.iter().map(|wanted| compare(old, new, wanted.root(), latitude)))
    }

    /// A child, made or grown, that its owner does not want now, whatever it is made of.
    pub fn excess(&self, old: Option<Node<'_>>, new: Node<'_>) -> Option<Finding> {
        let owner = || Some(self.owner.canonical()?.to_value());
        match (self.id.kind, self.owner.id().kind) {
            ("ReplicaSet", "Deployment") => quota::replicas(&owner()?, self.source, old, new),
            ("Pod", "StatefulSet") if old.is_none() => quota::ordinal(&owner()?, self.source, self.id.name),
            ("Job", "CronJob") if old.is_none() => quota::suspended(&owner()?, self.source),
            _ => None,
        }
    }

    /// Whether no template yields this child; and in what it differs from the one that it comes closest to.
    ///
    /// Not told of what is kept of earlier templates on purpose, with which nothing is made any more: ControllerRevisions,
    /// ReplicaSets without replicas, what has run to its end. Nor of claims: with them data would go.
    pub fn strays(&self, child: Node<'_>) -> Option<Stray> {
        if is_claim(self.id) {
            return None;
        }
        let mut difference = self.difference(child)?;
        if is_kept_as_history(self.id.kind, child) || is_allocated(self.id.kind, child) {
            difference.findings.retain(is_of_metadata);
        }
        if difference.findings.is_empty() {
            return None;
        }
        let made = child.at(&["metadata", "creationTimestamp"]).and_then(Node::as_str).and_then(|at| at.parse().ok());
        let is_proven = made.zip(self.known_since()).is_some_and(|(made, since): (Timestamp, _)| made >= since);
        Some(match difference {
            Difference { wanted, findings } if findings.iter().all(is_of_metadata) => Stray::Labelled { wanted },
            Difference { findings, .. } if is_proven => Stray::Foreign { findings },
            Difference { findings, .. } => Stray::Unproven { findings },
        })
    }

    /// Finalizers that hold a child, and that neither its template nor a component of Kubernetes has. A claim may be held by
    /// whoever has its data in use.
    pub fn foreign_finalizers(&self, child: Node<'_>) -> Vec<String> {
        if is_claim(self.id) {
            return Vec::new();
        }
        let names = |object: Node<'_>| -> Vec<String> {
            let list = object.at(&["metadata", "finalizers"]).and_then(Node::list);
            list.into_iter().flat_map(|list| list.iter()).filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let Some(wanted) = self.wanted(child).and_then(|wanted| wanted.into_iter().next()) else { return Vec::new() };
        let (found, wanted) = (names(child), names(wanted.root()));
        let is_foreign =
            |name: &String| !wanted.contains(name) && !builtin::has_finalizer(self.id.group, self.id.kind, name);
        found.into_iter().filter(is_foreign).collect()
    }

    /// Since when every template is known from which a child is made.
    fn known_since(&self) -> Option<Timestamp> {
        let closed = self.snapshot.meta().closed_since.get(&self.source?.name)?;
        // A Pod never becomes another: its claims are of the one that they name.
        let is_pod = (self.owner.id().group, self.owner.id().kind) == ("", "Pod");
        let since = if is_pod { *closed } else { self.owner.history().since()?.max(*closed) };
        // Kubernetes counts in seconds.
        Timestamp::from_second(since.as_second()).ok()
    }

    fn difference(&self, child: Node<'_>) -> Option<Difference> {
        let differences = self.wanted(child)?.into_iter().map(|wanted| Difference {
            findings: unlike(self.snapshot, self.id, self.source, child, wanted.root()),
            wanted: wanted.root().to_value(),
        });
        differences.min_by_key(|difference| difference.findings.len())
    }
}

/// In what a live object differs from what it has to be.
fn unlike(
    snapshot: &Snapshot,
    id: ObjectRef<'_>,
    source: Option<&Source>,
    live: Node<'_>,
    wanted: Node<'_>,
) -> Vec<Finding> {
    let ObjectRef { group, kind, namespace, name } = id;
    let unknown = ListSchema::default();
    let free = builtin::free_for_repair(group, kind, namespace, name, wanted, source);
    let latitude = Latitude {
        schema: snapshot.kind(group, kind).map_or(&unknown, |kind| &kind.schema),
        status_subresource: true,
        allotted: builtin::allotted(group, kind),
        free: &free,
        undeclared_fields: source.is_some_and(|source| source.undeclared_fields == Undeclared::Allow),
    };
    difference(live, wanted, &latitude)
}

struct Difference {
    wanted: Value,
    findings: Vec<Finding>,
}

/// A child that is not what its owner's template yields.
#[derive(Debug, PartialEq)]
pub enum Stray {
    /// Only its labels, annotations, finalizers or owners are others than these.
    Labelled { wanted: Value },
    /// It was made of something else, or of nothing that was ever declared.
    Foreign { findings: Vec<Finding> },
    /// The same, but it is older than what is known of the templates: it may follow from one that was declared before.
    Unproven { findings: Vec<Finding> },
}

/// What is made of a template of Pods.
fn follows_from_pod(kind: &str) -> bool {
    matches!(kind, "Pod" | "PersistentVolumeClaim" | "ResourceClaim")
}

/// The template of an owner's Pods: a CronJob's is that of its Jobs.
fn of_pods<'a>(owner: &str, template: &'a Value) -> &'a Value {
    if owner == "CronJob" { &template["spec"]["template"] } else { template }
}

/// A mutator may have put the hash anywhere.
fn with_hash(template: &Value, hash: &str) -> Value {
    match template {
        Value::String(text) => text.replace(HASH, hash).into(),
        Value::Array(items) => items.iter().map(|item| with_hash(item, hash)).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.replace(HASH, hash), with_hash(value, hash)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

fn is_claim(id: ObjectRef<'_>) -> bool {
    (id.group, id.kind) == ("", "PersistentVolumeClaim")
}

fn is_of_metadata(finding: &Finding) -> bool {
    matches!(finding.path.0.first(), Some(Segment::Field(field)) if field == "metadata")
}

/// Whether a claim for devices has them: somebody may use them.
fn is_allocated(kind: &str, child: Node<'_>) -> bool {
    kind == "ResourceClaim" && child.at(&["status", "allocation"]).is_some()
}

fn is_kept_as_history(kind: &str, child: Node<'_>) -> bool {
    let has_none = |field| child.at(&[field, "replicas"]).and_then(Node::as_i64).unwrap_or(0) == 0;
    match kind {
        "ControllerRevision" => true,
        "ReplicaSet" => has_none("spec") && has_none("status"),
        "Job" | "Pod" => settled::is_over(kind, child),
        _ => false,
    }
}

/// The declared template comes first, so that it is named where none comes closer.
fn closest(findings: impl Iterator<Item = Vec<Finding>>) -> Option<Vec<Finding>> {
    findings.min_by_key(Vec::len)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whatever_an_owner_is_called_its_template_is_one() {
        let template = json!({"metadata": {"labels": {"pod-template-hash": HASH}}, "spec": {"containers": [
            {"name": "web", "args": [format!("--revision={HASH}"), 1]}]}});
        let hash = r#"a"}b"#;
        let expected = json!({"metadata": {"labels": {"pod-template-hash": hash}}, "spec": {"containers": [
            {"name": "web", "args": [format!("--revision={hash}"), 1]}]}});
        assert_eq!(with_hash(&template, hash), expected);
    }
}
