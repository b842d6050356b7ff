//! The desired state that the recording implies: what the person declared, and what was there before.

use std::collections::BTreeMap;

use gitadel::admission::children::template_of;
use gitadel::admission::{ObjectClass, Request, Verdict, classify_object, decide};
use gitadel::compare::{FreeField, MaskKey, mask_secret};
use gitadel::document::Document;
use gitadel::object::{GroupKind, ObjectId};
use gitadel::snapshot::{
    DelegatedFields, EntryClass, EntryDraft, HistoryDraft, KindInfo, Meta, Snapshot, SnapshotWriter,
};
use serde_json::{Value, json};

use crate::recording::text;
use crate::source::source;

/// Kinds that people do not make in these reviews.
fn is_made_by_controllers(id: &ObjectId) -> bool {
    matches!(id.kind.kind.as_str(), "ControllerRevision" | "Endpoints" | "EndpointSlice" | "ReplicaSet")
}

/// The governed object that must have been there for this one.
fn owner(id: &ObjectId, object: &Value) -> Option<ObjectId> {
    let service = |name: &str| Some(ObjectId::new("", "Service", &id.namespace, name));
    match id.kind.kind.as_str() {
        "Endpoints" => return service(&id.name),
        "Pod" if id.name.starts_with("recycler-for-") => {
            return Some(ObjectId::new("", "PersistentVolume", "", &id.name["recycler-for-".len()..]));
        }
        _ => {}
    }
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let owner = owners.iter().find(|owner| owner["controller"] == true)?;
    let (group, kind, name) = (
        text(owner, "/apiVersion").rsplit_once('/').map_or("", |(group, _)| group),
        text(owner, "/kind"),
        text(owner, "/name"),
    );
    match (kind, name.rsplit_once('-')) {
        ("ReplicaSet", Some((deployment, _))) => Some(ObjectId::new(group, "Deployment", &id.namespace, deployment)),
        _ => Some(ObjectId::new(group, kind, &id.namespace, name)),
    }
}

/// What the cluster is, as far as Git and the baseline go.
pub struct World {
    pub meta: Meta,
    pub entries: BTreeMap<ObjectId, EntryDraft>,
    directory: tempfile::TempDir,
    /// None: something changed since it was written.
    snapshot: Option<Snapshot>,
}

impl World {
    pub fn new(kinds: Vec<KindInfo>) -> Self {
        let mut source = source("all", json!({"excludedNamespaces": ["kube-*"], "cluster": "All"}));
        source.delegations = vec![DelegatedFields {
            user: "system:serviceaccount:kube-system:horizontal-pod-autoscaler".into(),
            kind: GroupKind::new("apps", "Deployment"),
            namespace: None,
            name: None,
            fields: vec![FreeField { pattern: "spec.replicas".parse().unwrap(), bounds: None }],
        }];
        let mask_key = MaskKey::random().unwrap().to_hex();
        let meta = Meta { sources: vec![source], kinds, mask_key, ..Meta::default() };
        Self { meta, entries: BTreeMap::new(), directory: tempfile::tempdir().unwrap(), snapshot: None }
    }

    pub fn kind(&self, request: &Value) -> Option<&KindInfo> {
        let (group, resource) = (text(request, "/resource/group"), text(request, "/resource/resource"));
        self.meta.kinds.iter().find(|kind| kind.group == group && kind.resource == resource)
    }

    pub fn id(&self, request: &Value) -> Option<ObjectId> {
        let kind = self.kind(request)?;
        let shown = if request["object"].is_null() { &request["oldObject"] } else { &request["object"] };
        let namespace = if kind.namespaced { text(request, "/namespace") } else { "" };
        Some(ObjectId::new(&kind.group, &kind.kind, namespace, text(shown, "/metadata/name")))
    }

    pub fn enter(&mut self, id: ObjectId, class: EntryClass, object: &Value) {
        let canonical = if (id.kind.group.as_str(), id.kind.kind.as_str()) == ("", "Secret") {
            let key = MaskKey::from_hex(&self.meta.mask_key).unwrap();
            mask_secret(Document::from_value(object).root(), &key).root().to_value()
        } else {
            object.clone()
        };
        if id.kind.kind == "LimitRange" {
            self.meta.limit_ranges.insert(id.clone());
        }
        let history = self.history(&id, &canonical);
        let draft = EntryDraft {
            id: id.clone(),
            class,
            source: Some(0),
            version: text(object, "/apiVersion").into(),
            canonical: Some(canonical),
            inputs: String::new(),
            file: None,
            lines: None,
            recreate: false,
            uid: None,
            problem: None,
            history,
        };
        self.entries.insert(id, draft);
        self.snapshot = None;
    }

    /// What the object's children were made from before.
    fn history(&self, id: &ObjectId, canonical: &Value) -> HistoryDraft {
        let template = |object: &Value| {
            let document = Document::from_value(object);
            template_of(&id.kind.group, &id.kind.kind, document.root()).map(|template| template.to_value())
        };
        let before = self.entries.get(id);
        let earlier = before.map(|entry| entry.history.clone()).unwrap_or_default();
        let replaced = before.and_then(|entry| template(entry.canonical.as_ref()?));
        earlier.after(replaced, template(canonical).as_ref())
    }

    pub fn snapshot(&mut self) -> &Snapshot {
        let path = self.directory.path().join("snapshot");
        let (entries, meta) = (&self.entries, &self.meta);
        self.snapshot.get_or_insert_with(|| {
            let mut writer = SnapshotWriter::create(&path, meta).unwrap();
            for entry in entries.values() {
                writer.put(entry).unwrap();
            }
            writer.finish().unwrap();
            Snapshot::open(&path, None).unwrap()
        })
    }

    pub fn verdict(&mut self, request: &Value) -> Verdict {
        let document = Document::from_value(request);
        let parsed = Request::from_node(document.root()).unwrap();
        decide(&parsed, self.snapshot(), "2026-11-22T09:00:00Z".parse().unwrap())
    }

    /// The person who exercised the cluster is Git.
    pub fn commit(&mut self, request: &Value) {
        let Some(id) = self.id(request).filter(|_| text(request, "/subResource").is_empty()) else { return };
        if !self.is_for_git(request, &id) {
            return;
        }
        match text(request, "/operation") {
            "CREATE" | "UPDATE" => {
                if id.kind.kind == "Namespace" {
                    self.meta.terminating_namespaces.remove(&id.name);
                }
                self.enter(id, EntryClass::Declared, &request["object"]);
            }
            _ => {
                if id.kind.kind == "Namespace" {
                    self.meta.terminating_namespaces.insert(id.name.clone());
                    self.entries.retain(|entry, _| entry.namespace != id.name);
                }
                self.entries.remove(&id);
                self.snapshot = None;
            }
        }
    }

    /// Much of what `admin` did was to disturb the system, to see how it mends itself: no part of Git.
    pub fn is_for_git(&mut self, request: &Value, id: &ObjectId) -> bool {
        if let Some(entry) = self.entries.get(id) {
            return entry.class == EntryClass::Declared;
        }
        let shown = if request["oldObject"].is_null() { &request["object"] } else { &request["oldObject"] };
        let kind = self.kind(request).cloned().unwrap();
        let document = Document::from_value(shown);
        classify_object(self.snapshot(), &kind, document.root()).unwrap() == ObjectClass::Undeclared
    }

    /// The reviews are distinct ones only, so that some of what `admin` created is first seen when a controller writes to
    /// it, or to its children. It was there.
    pub fn discover(&mut self, request: &Value) {
        let Some(id) = self.id(request) else { return };
        let whole = text(request, "/kind/kind") == id.kind.kind && text(request, "/kind/group") == id.kind.group;
        if !whole || self.entries.contains_key(&id) {
            return;
        }
        let kind = self.kind(request).cloned().unwrap();
        for object in [&request["oldObject"], &request["object"]].into_iter().filter(|object| !object.is_null()) {
            let document = Document::from_value(object);
            let class = classify_object(self.snapshot(), &kind, document.root()).unwrap();
            if class != ObjectClass::Undeclared {
                continue;
            }
            if let Some(owner) = owner(&id, object) {
                self.pending(owner);
            } else if text(request, "/operation") == "UPDATE" && !is_made_by_controllers(&id) {
                self.enter(id.clone(), EntryClass::Baseline, object);
                return;
            }
        }
    }

    /// Whether the desired state of the object is known at the end of the chain of owners of a child.
    pub fn knows_template_of(&self, request: &Value) -> bool {
        let id = self.id(request).unwrap();
        let mut owner = owner(&id, &request["object"]);
        if let Some(job) = owner.as_ref().filter(|owner| owner.kind.kind == "Job" && !self.entries.contains_key(owner))
        {
            let cron_job = job.name.rsplit_once('-').map(|(name, _)| name).unwrap_or_default();
            owner = Some(ObjectId::new("batch", "CronJob", &job.namespace, cron_job));
        }
        owner.and_then(|owner| self.entries.get(&owner)).is_some_and(|entry| entry.canonical.is_some())
    }

    /// Declares an object of which nothing but the name is known.
    fn pending(&mut self, id: ObjectId) {
        if !self.entries.contains_key(&id) {
            self.enter(id.clone(), EntryClass::Declared, &Value::Null);
            self.entries.get_mut(&id).unwrap().canonical = None;
        }
    }

    /// What the API server makes when it starts for the first time was there before gitadel.
    pub fn record(&mut self, request: &Value) -> bool {
        if text(request, "/operation") != "CREATE" || text(request, "/userInfo/username") != "system:apiserver" {
            return false;
        }
        let Some(id) = self.id(request) else { return false };
        let kind = self.kind(request).cloned().unwrap();
        let document = Document::from_value(&request["object"]);
        let class = classify_object(self.snapshot(), &kind, document.root()).unwrap();
        // Its roles are not told by their looks: they are in the baseline since they were there.
        let is_policy = id.kind.group == "rbac.authorization.k8s.io" && class == ObjectClass::Undeclared;
        let bootstrap = is_policy || class == ObjectClass::Bootstrap;
        if bootstrap {
            self.enter(id, EntryClass::Baseline, &request["object"]);
        }
        bootstrap
    }
}
