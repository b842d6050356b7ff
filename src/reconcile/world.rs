//! What the reconciler knows at one moment: the published snapshot, the kinds, and the values of Secrets.
//!
//! Replaced as a whole, so that a worker that began with one world never mixes it with the next.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::kinds::Kinds;
use super::publish::PublishError;
use super::rest::Target;
use crate::admission::builtin;
use crate::admission::delegation::is_left_to_somebody;
use crate::api::{Action, Undeclared};
use crate::compare::{FreeField, Latitude, MaskKey, PathPattern, PatternSegment};
use crate::document::Node;
use crate::object::{ObjectId, ObjectRef};
use crate::snapshot::{Entry, EntryClass, KindInfo, Snapshot, SnapshotError, Source};

/// Cheap to clone.
#[derive(Clone)]
pub struct World {
    pub snapshot: Arc<Snapshot>,
    pub kinds: Arc<Kinds>,
    /// Canonical Secrets with their values, which the snapshot does not hold. Never written anywhere.
    pub secrets: Arc<HashMap<ObjectId, Value>>,
    pub mask_key: MaskKey,
}

impl World {
    /// # Errors
    /// The snapshot's mask key is unreadable.
    pub fn new(
        snapshot: Arc<Snapshot>,
        kinds: Arc<Kinds>,
        secrets: Arc<HashMap<ObjectId, Value>>,
    ) -> Result<Self, PublishError> {
        let mask_key = MaskKey::from_hex(&snapshot.meta().mask_key)?;
        Ok(Self { snapshot, kinds, secrets, mask_key })
    }

    /// The desired object of an entry as it can be written: with the values of a Secret.
    pub fn writable(&self, entry: &Entry<'_>) -> Option<Value> {
        let id = entry.id();
        if is_secret(id) {
            return self.secrets.get(&id.to_owned()).cloned();
        }
        entry.canonical().map(|canonical| canonical.to_value())
    }

    /// The entry of an object, where it is enforced.
    ///
    /// # Errors
    /// A damaged snapshot: nothing may be concluded from it.
    pub fn entry(&self, id: ObjectRef<'_>) -> Result<Option<Entry<'_>>, SnapshotError> {
        self.snapshot.get(id)
    }

    /// The kind of an object in the version that counts for it: the one of its desired state.
    ///
    /// # Errors
    /// A damaged snapshot: nothing may be concluded from it.
    pub fn kind_of(&self, id: &ObjectId) -> Result<Option<&KindInfo>, SnapshotError> {
        let entry = self.entry(id.as_ref())?;
        let version = entry.as_ref().and_then(|entry| entry.version().rsplit('/').next());
        let own = version.and_then(|version| self.kinds.in_version(&id.kind, version));
        Ok(own.or_else(|| self.kinds.get(&id.kind)).map(|kind| &kind.info))
    }

    /// What may differ between an object and its desired state without being drift.
    pub fn tolerance(&self, entry: &Entry<'_>) -> Tolerance {
        let source = entry.source().and_then(|index| self.snapshot.meta().sources.get(index));
        Tolerance::new(entry.id(), entry.canonical(), source)
    }

    /// The same for an object that nobody declares, and what it has to be.
    pub fn tolerance_of_generated(&self, id: ObjectRef<'_>, wanted: Node<'_>) -> Tolerance {
        let source = self.snapshot.meta().answer(id);
        Tolerance::new(id, Some(wanted), source)
    }

    /// The Enforcement that an object belongs to: the one that declares it, else the first that governs its place.
    pub fn enforcement_of(&self, id: ObjectRef<'_>) -> &str {
        let sources = &self.snapshot.meta().sources;
        let declared = self.snapshot.get(id).ok().flatten().and_then(|entry| sources.get(entry.source()?));
        let governing = || sources.iter().find(|s| s.governs(id.group, id.kind, id.namespace, id.name));
        declared.or_else(governing).map_or("", |source| source.name.as_str())
    }

    /// Whether nobody can tell if an object of the baseline or the record of it was altered.
    pub fn doubts(&self, entry: &Entry<'_>) -> bool {
        let doubted = &self.snapshot.meta().doubted;
        entry.class() == EntryClass::Baseline && !doubted.is_empty() && doubted.contains(&entry.id().to_owned())
    }

    /// Whether an undeclared object in this place is drift.
    pub fn removes(&self, id: ObjectRef<'_>) -> bool {
        let meta = self.snapshot.meta();
        // What a sealed one declares is not known.
        let is_sealed = |source: &Source| meta.sealed.contains(&source.name) && source.governs_id(id);
        meta.answering(id).any(Source::is_closed) && !meta.sources.iter().any(is_sealed)
    }

    /// Whether an object that nobody declares came after the worlds were closed that hold its place: then it came past
    /// admission, unless it was declared, or left to somebody, before.
    pub fn came_after_closing(&self, id: ObjectRef<'_>, object: Node<'_>) -> bool {
        self.snapshot.meta().came_after_closing(id, object)
    }

    /// Whether somebody may have given an object finalizers with Git's consent: an operator to whom they, or such objects
    /// as a whole, are left.
    pub fn leaves_finalizers(&self, id: ObjectRef<'_>, object: Node<'_>) -> bool {
        let ObjectRef { group, kind, namespace, name } = id;
        let is_finalizers = |field: &FreeField| {
            let at = ["metadata", "finalizers"].map(|name| PatternSegment::Field(name.to_owned()));
            field.pattern.0.starts_with(&at) || field.pattern.covers_fields(&["metadata", "finalizers"])
        };
        self.snapshot.meta().answering(id).any(|source| {
            let mut covering = source.delegations.iter().filter(|d| d.covers(group, kind, namespace, name));
            covering.any(|d| d.fields.iter().any(is_finalizers))
        }) || is_left_to_somebody(&self.snapshot, id, object)
    }

    /// Whether drift of this object is put right, or only reported.
    pub fn enforces(&self, id: ObjectRef<'_>) -> bool {
        let sources = &self.snapshot.meta().sources;
        sources
            .iter()
            .filter(|source| source.governs(id.group, id.kind, id.namespace, id.name))
            .any(|source| source.action == Action::Enforce)
    }
}

pub fn is_secret(id: ObjectRef<'_>) -> bool {
    id.group.is_empty() && id.kind == "Secret"
}

/// The owned parts of a [`Latitude`] that holds whoever wrote.
pub struct Tolerance {
    pub allotted: &'static [PathPattern],
    pub free: Vec<FreeField>,
    pub undeclared_fields: bool,
}

impl Tolerance {
    fn new(id: ObjectRef<'_>, canonical: Option<Node<'_>>, source: Option<&Source>) -> Self {
        let free = canonical.map_or_else(Vec::new, |canonical| {
            builtin::free_for_repair(id.group, id.kind, id.namespace, id.name, canonical, source)
        });
        Self {
            allotted: builtin::allotted(id.group, id.kind),
            free,
            undeclared_fields: source.is_some_and(|source| source.undeclared_fields == Undeclared::Allow),
        }
    }

    pub fn target<'a>(&'a self, kind: &'a KindInfo) -> Target<'a> {
        Target { kind, allotted: self.allotted, free: &self.free, undeclared_fields: self.undeclared_fields }
    }

    pub fn latitude<'a>(&'a self, kind: &'a KindInfo) -> Latitude<'a> {
        self.target(kind).latitude()
    }
}
