//! What the API server itself adds to a new Pod: its defaults, and its own admission.
//!
//! Values are computed from what governs them (the ServiceAccount, the LimitRange, the RuntimeClass, all of them in the
//! snapshot where they are governed), or are refused by the API server itself when they are not what they have to be:
//! priorities, and the overhead of a RuntimeClass.

use serde_json::{Map, Value, json};

use super::lists::{extended, set};
use super::metadata::adopt;
use crate::api::{ChildOperations, Permission};
use crate::document::Node;
use crate::object::ObjectRef;
use crate::snapshot::{Entry, Snapshot, SnapshotError, Source};

const LIMIT_RANGER: &str = "kubernetes.io/limit-ranger";
const TOKEN_VOLUME: &str = "kube-api-access-";
/// Of the token in that volume, in seconds.
const TOKEN_LIFETIME: u32 = 3607;
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Where nothing else is said, a Pod leaves a failing node only after a while.
const NODE_FAILURES: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// What the API server adds in one namespace.
pub struct Defaults<'a> {
    snapshot: &'a Snapshot,
    namespace: &'a str,
    operations: Option<&'a ChildOperations>,
    /// Nothing is in this namespace but what the snapshot knows.
    is_closed: bool,
}

/// What is known of an object on which a child depends.
pub enum Known {
    There(Value),
    Absent,
    /// There may be one that nobody declared, or it is not canonicalised yet.
    Unknown,
}

impl Known {
    fn of(entry: Result<Option<Entry<'_>>, SnapshotError>, is_closed: bool) -> Self {
        match entry {
            Ok(Some(entry)) => entry.canonical().map_or(Self::Unknown, |found| Self::There(found.to_value())),
            Ok(None) if is_closed => Self::Absent,
            _ => Self::Unknown,
        }
    }
}

impl<'a> Defaults<'a> {
    pub fn of(snapshot: &'a Snapshot, namespace: &'a str, source: Option<&'a Source>) -> Self {
        Self {
            snapshot,
            namespace,
            operations: source.map(|source| &source.child_operations),
            is_closed: source.is_some_and(Source::is_closed),
        }
    }

    pub fn annotate(&self, child: &Value, annotations: &mut Map<String, Value>) {
        adopt(annotations, &super::metadata::map(child, "annotations"), LIMIT_RANGER, |_| true);
    }

    /// Takes over what the API server may have added to a Pod's spec.
    pub fn complete(&self, found: &Value, spec: &mut Value) {
        self.name_account(found, spec);
        self.prioritise(found, spec);
        self.runtime(found, spec);
        adopt_value(spec, found, "enableServiceLinks", |value| *value == true);
        let resources: Vec<String> = extended_resources(spec);
        let is_default =
            |item: &Value| (is_default_toleration(item) && is_alone(found, item)) || tolerates_one_of(item, &resources);
        set(spec, "tolerations", extended(spec.get("tolerations"), found.get("tolerations"), is_default));
        let token = self.token(found, spec);
        let is_token = |volume: &Value| token.is_some() && Some(volume) == token.as_ref();
        set(spec, "volumes", extended(spec.get("volumes"), found.get("volumes"), is_token));
        self.containers(found, spec, token.as_ref().and_then(|volume| volume["name"].as_str()));
        self.pull_secrets(found, spec);
        self.measure_pod(found, spec);
        if self.permits(|operations| operations.ephemeral_containers) {
            set(spec, "ephemeralContainers", found.get("ephemeralContainers").cloned());
        }
    }

    fn permits(&self, of: fn(&ChildOperations) -> Permission) -> bool {
        self.operations.is_some_and(|operations| of(operations) == Permission::Allow)
    }

    fn name_account(&self, found: &Value, spec: &mut Value) {
        adopt_value(spec, found, "serviceAccountName", |value| *value == "default");
        let account = spec.get("serviceAccountName").cloned();
        adopt_value(spec, found, "serviceAccount", |value| Some(value) == account.as_ref());
    }

    /// The API server lets no Pod have another priority than that of its class.
    fn prioritise(&self, found: &Value, spec: &mut Value) {
        adopt_value(spec, found, "priorityClassName", |value| {
            value.as_str().is_some_and(|name| self.is_default_priority(name))
        });
        adopt_value(spec, found, "priority", Value::is_number);
        adopt_value(spec, found, "preemptionPolicy", Value::is_string);
    }

    fn is_default_priority(&self, name: &str) -> bool {
        let class = self.entry("scheduling.k8s.io", "PriorityClass", "", name);
        match class {
            Ok(Some(class)) => class.get("globalDefault").and_then(Node::as_bool) == Some(true),
            // Where such classes are not governed, nobody can tell; those of the system are never the default.
            _ => !self.governs("scheduling.k8s.io", "PriorityClass") && !name.starts_with("system-"),
        }
    }

    /// Whether a claim that names no class gets this one.
    pub fn is_default_class(&self, name: &str) -> bool {
        const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
        match self.entry("storage.k8s.io", "StorageClass", "", name) {
            Ok(Some(class)) => class.at(&["metadata", "annotations", DEFAULT]).and_then(Node::as_str) == Some("true"),
            _ => !self.governs("storage.k8s.io", "StorageClass"),
        }
    }

    /// Overhead, nodes and tolerations of a RuntimeClass. The API server lets no Pod have another overhead.
    fn runtime(&self, found: &Value, spec: &mut Value) {
        let Some(name) = spec["runtimeClassName"].as_str().map(str::to_owned) else { return };
        adopt_value(spec, found, "overhead", |_| true);
        let class = self.entry("node.k8s.io", "RuntimeClass", "", &name).ok().flatten().map(Node::to_value);
        if class.is_none() && self.governs("node.k8s.io", "RuntimeClass") {
            return;
        }
        let tolerations = class.as_ref().map(|class| class["scheduling"]["tolerations"].clone());
        let is_of_class = |item: &Value| {
            tolerations.as_ref().is_none_or(|list| list.as_array().is_some_and(|list| list.contains(item)))
        };
        set(spec, "tolerations", extended(spec.get("tolerations"), found.get("tolerations"), is_of_class));
        let nodes = class.as_ref().map(|class| class["scheduling"]["nodeSelector"].clone());
        let chosen = found["nodeSelector"].as_object().cloned().unwrap_or_default();
        let mut selector = spec["nodeSelector"].as_object().cloned().unwrap_or_default();
        for (key, value) in chosen {
            if nodes.as_ref().is_none_or(|nodes| nodes.get(&key) == Some(&value)) {
                selector.entry(key).or_insert(value);
            }
        }
        if !selector.is_empty() {
            set(spec, "nodeSelector", Some(Value::Object(selector)));
        }
    }

    /// The volume with the token of the Pod's account, where one is mounted without being asked for.
    fn token(&self, found: &Value, spec: &Value) -> Option<Value> {
        let wanted = spec["automountServiceAccountToken"].as_bool();
        let of_account = || {
            let account = self.account(spec)?;
            account.get("automountServiceAccountToken").and_then(Node::as_bool)
        };
        if !wanted.or_else(of_account).unwrap_or(true) {
            return None;
        }
        let mut volumes = found["volumes"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        volumes.rfind(|volume| is_token_volume(volume)).cloned()
    }

    fn containers(&self, found: &Value, spec: &mut Value, token: Option<&str>) {
        let on_host = spec["hostNetwork"] == true;
        for field in ["initContainers", "containers"] {
            let others = found[field].as_array().cloned().unwrap_or_default();
            let Some(containers) = spec.get_mut(field).and_then(Value::as_array_mut) else { continue };
            for container in containers {
                let Some(other) = others.iter().find(|other| other["name"] == container["name"]) else { continue };
                if let Some(volume) = token {
                    let mount = json!({"name": volume, "mountPath": TOKEN_PATH, "readOnly": true});
                    let mounts = extended(container.get("volumeMounts"), other.get("volumeMounts"), |m| *m == mount);
                    set(container, "volumeMounts", mounts);
                }
                // An admission plugin of the API server demands it of every Pod, where it is turned on.
                if other["imagePullPolicy"] == "Always" {
                    container["imagePullPolicy"] = "Always".into();
                }
                if on_host {
                    expose_ports(container, other);
                }
                self.measure(container, other);
            }
        }
    }

    /// Requests follow from limits, and both from a LimitRange.
    fn measure(&self, container: &mut Value, other: &Value) {
        if self.permits(|operations| operations.resize) {
            return set(container, "resources", other.get("resources").cloned());
        }
        let declared = container["resources"].clone();
        for (field, in_range, limit) in [("limits", "default", None), ("requests", "defaultRequest", Some("limits"))] {
            let Some(amounts) = other["resources"][field].as_object() else { continue };
            for (resource, amount) in amounts {
                let from_limit = || limit.is_some_and(|limit| declared[limit].get(resource) == Some(amount));
                let is_default = || !self.is_closed || self.is_of_range(in_range, resource, amount);
                if declared[field].get(resource).is_none() && (from_limit() || is_default()) {
                    container["resources"][field][resource.as_str()] = amount.clone();
                }
            }
        }
    }

    /// What a Pod as a whole requests follows from its limits and its containers. What limits it does not, but for pages
    /// that are asked for as they are limited.
    fn measure_pod(&self, found: &Value, spec: &mut Value) {
        if spec.get("resources").is_none() {
            return;
        }
        if self.permits(|operations| operations.resize) {
            return set(spec, "resources", found.get("resources").cloned());
        }
        for field in ["limits", "requests"] {
            for (resource, amount) in found["resources"][field].as_object().into_iter().flatten() {
                let follows = field == "requests" || resource.starts_with("hugepages-");
                if follows && spec["resources"][field].get(resource).is_none() {
                    spec["resources"][field][resource.as_str()] = amount.clone();
                }
            }
        }
    }

    fn is_of_range(&self, field: &str, resource: &str, amount: &Value) -> bool {
        let ranges = self.snapshot.meta().limit_ranges.iter().filter(|range| range.namespace == self.namespace);
        let mut limits = ranges
            .filter_map(|range| {
                self.snapshot.get(range.as_ref()).ok().flatten()?.canonical()?.at(&["spec", "limits"])?.list()
            })
            .flat_map(|limits| limits.iter());
        limits.any(|limit| {
            limit.get("type").and_then(Node::as_str) == Some("Container")
                && limit.at(&[field, resource]).is_some_and(|default| default.to_value() == *amount)
        })
    }

    /// Those of the account, where the Pod has none.
    fn pull_secrets(&self, found: &Value, spec: &mut Value) {
        let has_none = spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty);
        let of_account = match self.account(spec) {
            Some(account) => account.get("imagePullSecrets").map(Node::to_value),
            // `default` is empty where nobody declares it; another account that is not in the snapshot is an operator's.
            None if spec["serviceAccountName"] == "default" => None,
            None => found.get("imagePullSecrets").cloned(),
        };
        if has_none && found.get("imagePullSecrets") == of_account.as_ref() {
            set(spec, "imagePullSecrets", of_account);
        }
    }

    fn account(&self, spec: &Value) -> Option<Node<'a>> {
        let name = spec["serviceAccountName"].as_str()?;
        self.entry("", "ServiceAccount", self.namespace, name).ok().flatten()
    }

    /// An object of the namespace.
    pub fn of_namespace(&self, group: &str, kind: &str, name: &str) -> Known {
        Known::of(self.snapshot.get(ObjectRef { group, kind, namespace: self.namespace, name }), self.is_closed)
    }

    /// A cluster-scoped object.
    pub fn of_cluster(&self, group: &str, kind: &str, name: &str) -> Known {
        Known::of(self.snapshot.get(ObjectRef { group, kind, namespace: "", name }), self.governs(group, kind))
    }

    fn entry(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Node<'a>>, SnapshotError> {
        let entry = self.snapshot.get(ObjectRef { group, kind, namespace, name })?;
        Ok(entry.and_then(|entry| entry.canonical()))
    }

    fn governs(&self, group: &str, kind: &str) -> bool {
        let sources = &self.snapshot.meta().sources;
        sources.iter().any(|source| source.is_closed() && source.governs_cluster_kind(group, kind))
    }
}

/// Takes over a value that the template does not have.
fn adopt_value(spec: &mut Value, found: &Value, field: &str, is_allowed: impl Fn(&Value) -> bool) {
    if spec.get(field).is_none()
        && let Some(value) = found.get(field).filter(|value| is_allowed(value))
    {
        set(spec, field, Some(value.clone()));
    }
}

fn is_default_toleration(toleration: &Value) -> bool {
    let seconds = &toleration["tolerationSeconds"];
    seconds.is_u64()
        && NODE_FAILURES.iter().any(|key| {
            *toleration
                == json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds})
        })
}

/// Whether a Pod tolerates this taint once: more often would say nothing, at any length.
fn is_alone(pod: &Value, toleration: &Value) -> bool {
    let all = pod["tolerations"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|other| other["key"] == toleration["key"] && other["effect"] == toleration["effect"]).count() == 1
}

/// Devices for which a Pod asks. An admission plugin lets it onto the nodes that are kept for them.
fn extended_resources(spec: &Value) -> Vec<String> {
    let containers = ["initContainers", "containers"].into_iter().filter_map(|field| spec[field].as_array()).flatten();
    let requests = containers.flat_map(|container| {
        ["requests", "limits"].into_iter().filter_map(|field| container["resources"][field].as_object()).flatten()
    });
    requests
        .map(|(name, _)| name)
        .filter(|name| name.contains('/') && !name.starts_with("kubernetes.io/"))
        .cloned()
        .collect()
}

fn tolerates_one_of(toleration: &Value, resources: &[String]) -> bool {
    resources.iter().any(|name| *toleration == json!({"key": name, "operator": "Exists", "effect": "NoSchedule"}))
}

fn is_token_volume(volume: &Value) -> bool {
    let Some(name) = volume["name"].as_str().filter(|name| name.starts_with(TOKEN_VOLUME)) else { return false };
    *volume
        == json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME, "path": "token"}},
            {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
            {"downwardAPI": {"items": [
                {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}}]}})
}

/// In the network of its node, a Pod has the ports of its containers on the host.
fn expose_ports(container: &mut Value, other: &Value) {
    let found = other["ports"].as_array().cloned().unwrap_or_default();
    for port in container["ports"].as_array_mut().into_iter().flatten() {
        let exposed = found.iter().any(|other| {
            other["containerPort"] == port["containerPort"]
                && other["protocol"] == port["protocol"]
                && other["hostPort"] == port["containerPort"]
        });
        if exposed && port.get("hostPort").is_none() {
            port["hostPort"] = port["containerPort"].clone();
        }
    }
}
