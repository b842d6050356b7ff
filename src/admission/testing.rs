//! A cluster on paper: what is declared, and reviews of writes to it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{ObjectClass, Outcome, Request, Verdict, classify_object, decide};
use crate::api::{ClusterScope, Scope};
use crate::compare::{Bounds, FreeField, ListKind, ListSchema, MaskKey, SchemaNode, mask_secret};
use crate::document::Document;
use crate::object::{GroupKind, ObjectId};
use crate::render::{LineTree, Lines};
use crate::snapshot::{
    self, DelegatedFields, EntryClass, EntryDraft, HistoryDraft, KindInfo, Meta, Snapshot, SnapshotWriter, Source,
};

/// group, kind, resource, namespaced, subresources
const KINDS: &[(&str, &str, &str, bool, &[&str])] = &[
    ("", "ConfigMap", "configmaps", true, &[]),
    ("", "Endpoints", "endpoints", true, &[]),
    ("", "Event", "events", true, &[]),
    ("", "Namespace", "namespaces", false, &["status", "finalize"]),
    ("", "Node", "nodes", false, &["status", "proxy"]),
    ("", "PersistentVolume", "persistentvolumes", false, &["status"]),
    ("", "PersistentVolumeClaim", "persistentvolumeclaims", true, &["status"]),
    ("", "Pod", "pods", true, &["status", "binding", "eviction", "exec", "ephemeralcontainers", "resize"]),
    ("", "Secret", "secrets", true, &[]),
    ("", "Service", "services", true, &["status", "proxy"]),
    ("", "ServiceAccount", "serviceaccounts", true, &["token"]),
    ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", false, &["status"]),
    ("apiregistration.k8s.io", "APIService", "apiservices", false, &["status"]),
    ("apps", "ControllerRevision", "controllerrevisions", true, &[]),
    ("apps", "DaemonSet", "daemonsets", true, &["status"]),
    ("apps", "Deployment", "deployments", true, &["status", "scale"]),
    ("apps", "ReplicaSet", "replicasets", true, &["status", "scale"]),
    ("apps", "StatefulSet", "statefulsets", true, &["status", "scale"]),
    ("batch", "CronJob", "cronjobs", true, &["status"]),
    ("batch", "Job", "jobs", true, &["status"]),
    ("certificates.k8s.io", "ClusterTrustBundle", "clustertrustbundles", false, &[]),
    ("certificates.k8s.io", "PodCertificateRequest", "podcertificaterequests", true, &["status"]),
    ("coordination.k8s.io", "Lease", "leases", true, &[]),
    ("discovery.k8s.io", "EndpointSlice", "endpointslices", true, &[]),
    ("example.com", "Database", "databases", true, &["status"]),
    ("flowcontrol.apiserver.k8s.io", "FlowSchema", "flowschemas", false, &["status"]),
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "prioritylevelconfigurations", false, &["status"]),
    ("gitadel.dev", "Enforcement", "enforcements", false, &["status"]),
    ("networking.k8s.io", "IPAddress", "ipaddresses", false, &[]),
    ("rbac.authorization.k8s.io", "ClusterRole", "clusterroles", false, &[]),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings", false, &[]),
    ("resource.k8s.io", "DeviceClass", "deviceclasses", false, &[]),
    ("resource.k8s.io", "ResourceClaim", "resourceclaims", true, &["status"]),
    ("resource.k8s.io", "ResourceClaimTemplate", "resourceclaimtemplates", true, &[]),
    ("resource.k8s.io", "ResourceSlice", "resourceslices", false, &[]),
    ("storage.k8s.io", "CSINode", "csinodes", false, &[]),
];

pub const NOW: &str = "2026-11-21T12:00:00Z";
pub const ADMIN: &str = "kubernetes-admin";

/// The service account of a built-in controller.
pub fn controller(name: &str) -> String {
    format!("system:serviceaccount:kube-system:{name}")
}

pub struct World {
    pub meta: Meta,
    drafts: Vec<EntryDraft>,
}

impl World {
    /// One Enforcement over all but `kube-*`, cluster-scoped objects included.
    pub fn new() -> Self {
        let kinds = KINDS.iter().map(|(group, kind, resource, namespaced, subresources)| KindInfo {
            group: (*group).into(),
            kind: (*kind).into(),
            resource: (*resource).into(),
            version: "v1".into(),
            namespaced: *namespaced,
            subresources: subresources.iter().map(|s| (*s).to_owned()).collect(),
            scale_paths: BTreeMap::new(),
            schema: keyed_containers(),
            registered: true,
        });
        let mask_key = MaskKey::from_hex(&"07".repeat(32)).unwrap().to_hex();
        let meta = Meta { sources: vec![source("all")], kinds: kinds.collect(), mask_key, ..Meta::default() };
        Self { meta, drafts: Vec::new() }
    }

    pub fn source(mut self, change: impl FnOnce(&mut Source)) -> Self {
        change(&mut self.meta.sources[0]);
        self
    }

    pub fn meta(mut self, change: impl FnOnce(&mut Meta)) -> Self {
        change(&mut self.meta);
        self
    }

    pub fn declare(self, object: &Value) -> Self {
        self.entry(object, |_| {})
    }

    pub fn entry(mut self, object: &Value, change: impl FnOnce(&mut EntryDraft)) -> Self {
        let (group, kind, namespaced) = kind_of(object);
        let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
        let canonical = if kind == "Secret" {
            let key = MaskKey::from_hex(&self.meta.mask_key).unwrap();
            mask_secret(Document::from_value(object).root(), &key).root().to_value()
        } else {
            object.clone()
        };
        let mut draft = EntryDraft {
            id: ObjectId::new(group, kind, if namespaced { text("namespace") } else { "" }, text("name")),
            class: EntryClass::Declared,
            source: Some(0),
            version: object["apiVersion"].as_str().unwrap_or_default().into(),
            canonical: Some(canonical),
            inputs: "digest".into(),
            file: Some("apps/web.yaml".into()),
            lines: Some(lines(object)),
            recreate: false,
            uid: None,
            problem: None,
            history: HistoryDraft::default(),
        };
        change(&mut draft);
        self.drafts.push(draft);
        self
    }

    pub fn snapshot(&self) -> Snapshot {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        let mut writer = SnapshotWriter::create(&path, &self.meta).unwrap();
        for draft in &self.drafts {
            writer.put(draft).unwrap();
        }
        writer.finish().unwrap();
        Snapshot::open(&path, None).unwrap()
    }

    pub fn verdict(&self, review: &Review) -> Verdict {
        review.verdict(&self.snapshot())
    }

    /// Fails unless each write has the outcome and is decided by the rule beside it.
    pub fn expect(&self, cases: &[(&str, Review, Outcome, &str)]) {
        let snapshot = self.snapshot();
        for (name, review, outcome, rule) in cases {
            let verdict = review.verdict(&snapshot);
            assert_eq!((verdict.outcome, verdict.rule), (*outcome, *rule), "{name}: {:?}", verdict.message);
        }
    }

    pub fn class(&self, object: &Value) -> ObjectClass {
        let (group, kind, _) = kind_of(object);
        let snapshot = self.snapshot();
        let kind = snapshot.kind(group, kind).unwrap();
        classify_object(&snapshot, kind, Document::from_value(object).root()).unwrap()
    }
}

/// Over all but `kube-*`, cluster-scoped objects included.
pub fn source(name: &str) -> Source {
    let excluded_namespaces = Some(vec!["kube-*".into()]);
    snapshot::testing::source(name, Scope { excluded_namespaces, cluster: ClusterScope::All, ..Scope::default() })
}

pub fn delegation(user: &str, kind: (&str, &str), field: &str, bounds: Option<(i64, i64)>) -> DelegatedFields {
    let bounds = bounds.map(|(minimum, maximum)| Bounds { minimum: Some(minimum), maximum: Some(maximum) });
    DelegatedFields {
        user: user.into(),
        kind: GroupKind::new(kind.0, kind.1),
        namespace: None,
        name: None,
        fields: vec![FreeField { pattern: field.parse().unwrap(), bounds }],
    }
}

/// A review under construction.
#[derive(Clone, Debug)]
pub struct Review(Value);

impl Review {
    pub fn create(object: &Value) -> Self {
        Self::new("CREATE", Some(object), None)
    }

    pub fn update(old: &Value, new: &Value) -> Self {
        Self::new("UPDATE", Some(new), Some(old))
    }

    pub fn delete(old: &Value) -> Self {
        Self::new("DELETE", None, Some(old))
    }

    fn new(operation: &str, object: Option<&Value>, old: Option<&Value>) -> Self {
        let shown = object.or(old).unwrap();
        let (group, kind, _) = kind_of(shown);
        let resource = KINDS.iter().find(|(g, k, ..)| (*g, *k) == (group, kind)).unwrap().2;
        let metadata = &shown["metadata"];
        Self(json!({
            "uid": "u-1", "operation": operation, "name": metadata["name"], "namespace": metadata["namespace"],
            "kind": {"group": group, "version": "v1", "kind": kind},
            "resource": {"group": group, "version": "v1", "resource": resource},
            "userInfo": {"username": ADMIN, "groups": ["system:masters", "system:authenticated"]},
            "object": object, "oldObject": old, "options": null,
        }))
    }

    pub fn by(self, user: &str) -> Self {
        self.set("/userInfo", json!({"username": user, "groups": ["system:authenticated"]}))
    }

    pub fn by_node(self, node: &str) -> Self {
        let user =
            json!({"username": format!("system:node:{node}"), "groups": ["system:nodes", "system:authenticated"]});
        self.set("/userInfo", user)
    }

    pub fn through(mut self, subresource: &str) -> Self {
        self.0["subResource"] = json!(subresource);
        self
    }

    /// A subresource that shows an object of another kind than the resource.
    pub fn of(mut self, group: &str, resource: &str, subresource: &str) -> Self {
        self.0["resource"] = json!({"group": group, "version": "v1", "resource": resource});
        self.through(subresource)
    }

    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        *self.0.pointer_mut(pointer).unwrap() = value;
        self
    }

    /// With one more member.
    pub fn with(mut self, member: &str, value: Value) -> Self {
        self.0[member] = value;
        self
    }

    pub fn dry_run(mut self) -> Self {
        self.0["dryRun"] = json!(true);
        self
    }

    /// An operation that shows an object of no kind that can be stored, on a Pod, Service or Node.
    pub fn connect(resource: &str, subresource: &str, namespace: &str, name: &str) -> Self {
        Self::special("CONNECT", resource, subresource, namespace, name, &json!({"kind": "Options"}))
    }

    pub fn special(
        operation: &str,
        resource: &str,
        subresource: &str,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Self {
        Self(json!({
            "uid": "u-1", "operation": operation, "name": name, "namespace": namespace,
            "kind": {"group": "", "version": "v1", "kind": object["kind"]},
            "resource": {"group": "", "version": "v1", "resource": resource}, "subResource": subresource,
            "userInfo": {"username": ADMIN, "groups": ["system:masters"]}, "object": object,
        }))
    }

    pub fn verdict(&self, snapshot: &Snapshot) -> Verdict {
        let document = Document::from_value(&self.0);
        decide(&Request::from_node(document.root()).unwrap(), snapshot, NOW.parse().unwrap())
    }
}

fn kind_of(object: &Value) -> (&'static str, &'static str, bool) {
    let api_version = object["apiVersion"].as_str().unwrap();
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let kind = object["kind"].as_str().unwrap();
    let row = KINDS.iter().find(|(g, k, ..)| *g == group && *k == kind);
    row.map(|(g, k, _, namespaced, _)| (*g, *k, *namespaced)).unwrap_or_else(|| panic!("{kind}.{group}"))
}

/// Line by line, as if every field stood on a line of its own.
fn lines(object: &Value) -> LineTree {
    fn tree(value: &Value, next: &mut u32) -> LineTree {
        let line = *next;
        *next += 1;
        let children = match value {
            Value::Object(map) => {
                Lines::Map(map.iter().map(|(k, v)| (k.clone(), tree(v, next))).collect::<BTreeMap<_, _>>())
            }
            Value::Array(items) => Lines::List(items.iter().map(|item| tree(item, next)).collect()),
            _ => Lines::None,
        };
        LineTree { line, children }
    }
    tree(object, &mut 1)
}

/// `spec.template.spec.containers` and `spec.containers`, keyed by name, for every kind.
fn keyed_containers() -> ListSchema {
    let node = |fields: &[(&str, u32)]| SchemaNode {
        fields: fields.iter().map(|(name, index)| ((*name).to_owned(), *index)).collect(),
        ..SchemaNode::default()
    };
    let containers =
        SchemaNode { items: Some(5), list: Some(ListKind::Map(vec!["name".to_owned()])), ..SchemaNode::default() };
    ListSchema {
        nodes: vec![
            node(&[("spec", 1)]),
            node(&[("template", 2), ("containers", 4)]),
            node(&[("spec", 3)]),
            node(&[("containers", 4)]),
            containers,
            SchemaNode::default(),
        ],
    }
}

pub fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

pub fn deployment() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "uid": "d-1", "labels": {"app": "web"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}}})
}

/// An object with a controller.
pub fn owned(object: &Value, owner: (&str, &str, &str)) -> Value {
    let (api_version, kind, name) = owner;
    with(
        object,
        "/metadata/ownerReferences",
        json!([
            {"apiVersion": api_version, "kind": kind, "name": name, "uid": "d-1", "controller": true}
        ]),
    )
}

pub fn replica_set() -> Value {
    let object = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web-5d4f8c", "namespace": "shop", "uid": "r-1", "labels": {"pod-template-hash": "5d4f8c"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"pod-template-hash": "5d4f8c"}},
            "template": {"metadata": {"labels": {"pod-template-hash": "5d4f8c"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}});
    owned(&object, ("apps/v1", "Deployment", "web"))
}

pub fn pod() -> Value {
    let object = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-5d4f8c-x7k2p", "namespace": "shop", "labels": {"pod-template-hash": "5d4f8c"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]}});
    owned(&object, ("apps/v1", "ReplicaSet", "web-5d4f8c"))
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"},
        "data": {"a": "1"}})
}

/// The object with one more value; the members above are made.
pub fn with(object: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = object.clone();
    let mut place = &mut changed;
    for name in pointer.split('/').skip(1).map(|name| name.replace("~1", "/")) {
        place = match name.parse::<usize>() {
            Ok(index) if place.is_array() => &mut place[index],
            _ => &mut place[name.as_str()],
        };
    }
    *place = value;
    changed
}

pub fn without(object: &Value, pointer: &str) -> Value {
    let mut changed = object.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).and_then(Value::as_object_mut).unwrap().remove(&name.replace("~1", "/"));
    changed
}

pub fn terminating(object: &Value) -> Value {
    with(object, "/metadata/deletionTimestamp", json!(NOW))
}
