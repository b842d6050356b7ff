//! What a reconciler knows of the API server, and what it does with one object.

use gitadel::admission::builtin;
use gitadel::compare::{self, FreeField};
use gitadel::document::Document;
use gitadel::object::ObjectId;
use gitadel::reconcile::apply::{Applied, ApplyError, apply};
use gitadel::reconcile::canonicalise::{Canonical, CanonicaliseError, canonicalise};
use gitadel::reconcile::discovery::Discovery;
use gitadel::reconcile::openapi::ListSchemas;
use gitadel::reconcile::rest::{self, Target};
use gitadel::snapshot::KindInfo;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::{client, eventually, shared};

/// A client with what a reconciler knows of the server.
pub struct Cluster {
    pub client: Client,
    pub discovery: Discovery,
    pub schemas: tokio::sync::Mutex<ListSchemas>,
}

/// A declared object and its kind.
pub struct Subject {
    pub kind: KindInfo,
    pub manifest: Value,
    pub free: Vec<FreeField>,
    pub undeclared_fields: bool,
}

impl Subject {
    pub fn target(&self) -> Target<'_> {
        let allotted = builtin::allotted(&self.kind.group, &self.kind.kind);
        Target { kind: &self.kind, allotted, free: &self.free, undeclared_fields: self.undeclared_fields }
    }

    pub fn at(&self) -> (&str, &str) {
        (rest::metadata(&self.manifest, "namespace"), rest::metadata(&self.manifest, "name"))
    }

    pub fn id(&self) -> ObjectId {
        let (namespace, name) = self.at();
        ObjectId::new(&self.kind.group, &self.kind.kind, namespace, name)
    }

    pub fn with(&self, pointer: &str, value: Value) -> Self {
        let mut manifest = self.manifest.clone();
        *manifest.pointer_mut(pointer).expect("the field") = value;
        Self { kind: self.kind.clone(), manifest, free: self.free.clone(), ..*self }
    }
}

impl Cluster {
    pub async fn new() -> Self {
        let client = client(shared().await).await;
        let discovery = Discovery::read(&client).await.unwrap();
        Self { client, discovery, schemas: Default::default() }
    }

    pub async fn subject(&self, manifest: Value) -> Subject {
        let api_version = manifest["apiVersion"].as_str().unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let name = manifest["kind"].as_str().unwrap();
        let mut kind = self.discovery.with_version(group, name, version).expect("a served kind").info.clone();
        let mut schemas = self.schemas.lock().await;
        eventually("the kind's OpenAPI document", async || {
            schemas.learn(&self.client, [&kind]).await.unwrap().is_empty().then_some(())
        })
        .await;
        kind.schema = schemas.get(&kind).expect("a schema").clone();
        let document = Document::from_value(&manifest);
        let free = builtin::free_for_repair(group, name, "", "", document.root(), None);
        Subject { kind, manifest, free, undeclared_fields: false }
    }

    /// In the given namespace, where the kind has one.
    pub async fn subject_in(&self, namespace: &str, mut manifest: Value) -> Subject {
        manifest["metadata"]["namespace"] = namespace.into();
        self.subject(manifest).await
    }

    pub async fn subjects(&self, namespace: &str) -> Vec<Subject> {
        let mut subjects = Vec::new();
        for manifest in manifests() {
            subjects.push(self.subject_in(namespace, manifest).await);
        }
        subjects
    }

    pub async fn live(&self, subject: &Subject) -> Option<Value> {
        let (namespace, name) = subject.at();
        rest::get(&self.client, &subject.kind, namespace, name).await.unwrap()
    }

    pub async fn canonical(&self, subject: &Subject) -> Result<Canonical, CanonicaliseError> {
        let live = self.live(subject).await;
        canonicalise(&self.client, &subject.target(), &subject.manifest, live).await
    }

    pub async fn apply(&self, subject: &Subject, canonical: &Value) -> Result<Applied, ApplyError> {
        apply(&self.client, &subject.target(), canonical, self.live(subject).await).await
    }

    /// Canonicalises and writes, as a commit does.
    pub async fn converge(&self, subject: &Subject) -> Applied {
        let canonical = self.canonical(subject).await.unwrap();
        self.apply(subject, &canonical.object).await.unwrap()
    }

    /// Changes the live object behind Git's back.
    pub async fn tamper(&self, subject: &Subject, patch: Value) {
        let (namespace, name) = subject.at();
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        let gvk = kube::core::GroupVersionKind::gvk(&subject.kind.group, &subject.kind.version, &subject.kind.kind);
        let resource = kube::core::ApiResource::from_gvk_with_plural(&gvk, &subject.kind.resource);
        let api = kube::Api::<DynamicObject>::namespaced_with(self.client.clone(), namespace, &resource);
        api.patch(name, &PatchParams::default(), &Patch::Json::<DynamicObject>(patch)).await.unwrap();
    }
}

pub fn manifests() -> Vec<Value> {
    serde_saphyr::from_multiple(include_str!("kinds.yaml")).unwrap()
}

pub fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "example.org/web:1", "env": [{"name": "A", "value": "1"}]}]},
            },
        },
    })
}

pub fn differences(subject: &Subject, live: &Value, canonical: &Value) -> Vec<String> {
    let (live, canonical) = (Document::from_value(live), Document::from_value(canonical));
    let target = subject.target();
    compare::difference(live.root(), canonical.root(), &target.latitude()).iter().map(ToString::to_string).collect()
}
