//! `Enforcement`: one Git source, what of the cluster it governs, and how strictly.
//!
//! The CRD manifest is generated from these types (`gitadel crd`), so that schema, defaults and validation rules are
//! written once. Status is output only: nothing in gitadel reads it back for a decision. Kubernetes knows the formats int32
//! and int64 only, and warns of those that Rust's unsigned numbers would get.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which Git source governs which part of the cluster, and how strictly.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "gitadel.dev",
    version = "v1alpha1",
    kind = "Enforcement",
    plural = "enforcements",
    shortname = "enf",
    category = "gitadel",
    status = "EnforcementStatus",
    derive = "PartialEq",
    doc = "Makes a Git source the only way into a part of this cluster: what Git does not declare there cannot be created, and what Git declares is changed by a commit and in no other way.",
    printcolumn = r#"{"name":"Source","type":"string","jsonPath":".spec.source.url"}"#,
    printcolumn = r#"{"name":"Commit","type":"string","jsonPath":".status.commit.short"}"#,
    printcolumn = r#"{"name":"Action","type":"string","jsonPath":".spec.action"}"#,
    printcolumn = r#"{"name":"Enforcing","type":"string","jsonPath":".status.conditions[?(@.type=='Enforcing')].status"}"#,
    printcolumn = r#"{"name":"Converged","type":"string","jsonPath":".status.conditions[?(@.type=='Converged')].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type=='Converged')].reason"}"#,
    printcolumn = r#"{"name":"Drift","type":"integer","jsonPath":".status.drift.objects"}"#,
    printcolumn = r#"{"name":"Objects","type":"integer","jsonPath":".status.objects.declared","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.conditions[?(@.type=='Converged')].message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("self.metadata.name.size() <= 63").message("the name must have at most 63 characters"),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnforcementSpec {
    /// Where the declared state comes from.
    pub source: GitSource,
    /// What of the cluster the source governs.
    pub scope: Scope,
    /// What happens to a write that does not match Git: `Observe` records it, `Warn` also warns the client, `Enforce`
    /// rejects it. Drift is reverted only by `Enforce`.
    #[serde(default)]
    pub action: Action,
    /// What happens to objects in the scope that Git does not declare.
    #[serde(default)]
    pub undeclared_objects: Undeclared,
    /// What happens to fields of declared objects that Git does not declare.
    #[serde(default)]
    pub undeclared_fields: Undeclared,
    /// How objects with a controller whose chain of owners ends in a declared object are judged.
    #[serde(default)]
    pub children: Children,
    /// Operations on running Pods that change no declared state.
    #[serde(default)]
    pub child_operations: ChildOperations,
    /// Fields that Git leaves to somebody else.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub delegations: Vec<Delegation>,
    /// Whether objects that leave Git are deleted from the cluster.
    #[serde(default = "yes")]
    pub prune: bool,
    /// The guard against a source that suddenly deletes much (an empty directory, a wrong path).
    #[serde(default)]
    pub deletion_guard: DeletionGuard,
}

fn yes() -> bool {
    true
}

/// A Git repository and which commit and directory of it count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.branch) ? 1 : 0) + (has(self.tag) ? 1 : 0) + (has(self.commit) ? 1 : 0) <= 1",
    "message": "at most one of branch, tag and commit may be set",
}]))]
pub struct GitSource {
    /// URL of the repository: `https://…`, `ssh://…` or `git@host:path`. `http://…` and `file:///…` only where gitadel was
    /// started with `--allow-transport`.
    #[schemars(length(min = 1, max = 2048), extend("x-kubernetes-validations" = [{
        "rule": "self.matches('^(https?|ssh|file)://.+') || self.matches('^[^/:@]+@[^/:]+:.+')",
        "message": "must be an http(s), ssh or file URL, or user@host:path",
    }, {
        "rule": "!self.matches('^(https?|file)://[^/]*@') && !self.matches('^ssh://[^/@]*:[^/]*@')",
        "message": "must hold no password or token, which everybody who may read it would see: use `credentials`",
    }]))]
    pub url: String,
    /// Branch to follow. The repository's default branch where neither branch, tag nor commit is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub branch: Option<String>,
    /// Tag to enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub tag: Option<String>,
    /// Commit to enforce, as a full hexadecimal id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9a-f]{40}([0-9a-f]{24})?$"))]
    pub commit: Option<String>,
    /// Directory in the repository that holds the manifests.
    #[serde(default = "root_path")]
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = [{
        "rule": "!self.startsWith('/') && !self.split('/').exists(s, s == '..')",
        "message": "must be relative to the repository and may not leave it",
    }]))]
    pub path: String,
    /// Seconds between two fetches where nobody notifies gitadel of a push.
    #[serde(default = "default_interval")]
    #[schemars(range(min = 1, max = 86400), extend("format" = "int64"))]
    pub interval_seconds: u32,
    /// Name of the credentials, for a repository that is not public. The reconciler's `--credentials-dir` (in a
    /// cluster: the keys of the Secret `gitadel-git-credentials`) has them as `NAME.username`, `NAME.password` and
    /// `NAME.url` (how the URLs begin that may get them) for https, or `NAME.identity` (a private key) and
    /// `NAME.known_hosts` for ssh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200), regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub credentials: Option<String>,
}

fn root_path() -> String {
    ".".into()
}

fn default_interval() -> u32 {
    60
}

/// Which namespaces and cluster-scoped kinds are governed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!(has(self.namespaces) && has(self.excludedNamespaces))",
        "message": "namespaces and excludedNamespaces exclude one another",
    },
    {
        "rule": "has(self.namespaces) || has(self.excludedNamespaces)",
        "message": "set namespaces ([] for none) or excludedNamespaces ([] to govern every namespace, kube-system included)",
    },
    {
        "rule": "(has(self.clusterKinds) && self.clusterKinds.size() > 0) == (self.cluster == 'Listed')",
        "message": "clusterKinds belongs to cluster: Listed, and needs at least one kind there",
    },
]))]
pub struct Scope {
    /// The governed namespaces, by name; `[]` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), inner(length(max = 63)), extend("x-kubernetes-validations" = [{
        "rule": "self.all(name, name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
        "message": "each must be the name of a namespace: only excludedNamespaces takes a trailing *",
    }]))]
    pub namespaces: Option<Vec<String>>,
    /// Instead of `namespaces`: every namespace is governed but these, with all that is in them. A trailing `*` matches any
    /// ending, also of namespaces that are not there yet: whoever may create namespaces may create those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), inner(length(max = 64)), extend("x-kubernetes-validations" = [{
        "rule": "self.all(name, name.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?|[a-z0-9][-a-z0-9]*[*])$'))",
        "message": "each must be the name of a namespace, or its beginning and a trailing *",
    }]))]
    pub excluded_namespaces: Option<Vec<String>>,
    /// Whether cluster-scoped objects are governed: `All`, `None`, or only the kinds in `clusterKinds`.
    #[serde(default)]
    pub cluster: ClusterScope,
    /// The governed cluster-scoped kinds where `cluster` is `Listed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub cluster_kinds: Vec<KindSelector>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterScope {
    All,
    Listed,
    #[default]
    None,
}

/// A kind in an API group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindSelector {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    pub kind: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    #[default]
    Observe,
    Warn,
    Enforce,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Undeclared {
    #[default]
    Deny,
    Allow,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Children {
    /// By state: a ReplicaSet, a Pod, a Job is what its owner's template yields, whoever writes it. Only its controller
    /// makes it.
    #[default]
    ByTemplate,
    /// By their chain of owners and the controller that writes them. For clusters in which something adds to Pods what
    /// nobody can foresee: whoever can act as a controller of Kubernetes then runs what they like.
    ByController,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Permission {
    #[default]
    Allow,
    Deny,
}

/// Operations on children: each is allowed or denied to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChildOperations {
    /// Deleting or evicting a Pod that its controller makes anew, and evicting one that Git declares, which gitadel makes
    /// anew.
    #[serde(default = "allow")]
    pub delete: Permission,
    /// `kubectl exec`, `attach`, `port-forward` and the Pod proxy.
    #[serde(default = "allow")]
    pub exec: Permission,
    /// `kubectl debug`: ephemeral containers.
    #[serde(default = "deny")]
    pub ephemeral_containers: Permission,
    /// In-place resizing of a Pod.
    #[serde(default = "deny")]
    pub resize: Permission,
    /// The kubelet's API through `nodes/proxy`.
    #[serde(default = "deny")]
    pub nodes_proxy: Permission,
}

fn allow() -> Permission {
    Permission::Allow
}

fn deny() -> Permission {
    Permission::Deny
}

impl Default for ChildOperations {
    fn default() -> Self {
        Self { delete: allow(), exec: allow(), ephemeral_containers: deny(), resize: deny(), nodes_proxy: deny() }
    }
}

/// Leaves fields of declared objects to one user, within bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
    "message": "minimum must not be greater than maximum",
}]))]
pub struct Delegation {
    /// User name, as the API server sees it: `system:serviceaccount:kube-system:horizontal-pod-autoscaler`.
    #[schemars(length(min = 1, max = 512))]
    pub user: String,
    /// API group of the kind; empty for the core group.
    #[serde(default)]
    pub group: String,
    pub kind: String,
    /// Namespace of the objects; every governed one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the object; every one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The fields, such as `spec.replicas` or `metadata.annotations[example.com/*]`. Where they hold all that an object
    /// says beside its metadata (`spec`, say), the user also makes and removes such objects, if they have a declared one
    /// for their owner, or are what Kubernetes itself would keep for one: an operator's children, a provisioner's
    /// volumes.
    #[schemars(length(min = 1, max = 64))]
    pub fields: Vec<String>,
    /// Least value that the delegate may set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// Greatest value that the delegate may set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
}

/// How many deletions need somebody to look. Beyond the limit nothing is deleted and the condition `Degraded` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeletionGuard {
    /// How many objects may be deleted because a commit no longer declares them: if there are more, none of them is. Also
    /// how many undeclared objects (ones that came past the webhook) are removed within a minute, where the budget is
    /// shared: the smallest limit of all Enforcements in whose scope an object lies counts. Zero forbids deletion.
    #[serde(default = "default_guard")]
    #[schemars(range(min = 0, max = 1_000_000), extend("format" = "int64"))]
    pub max_objects: u32,
}

fn default_guard() -> u32 {
    50
}

impl Default for DeletionGuard {
    fn default() -> Self {
        Self { max_objects: default_guard() }
    }
}

/// What gitadel observed. Output only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The commit that is enforced now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitStatus>,
    /// The newest commit seen in the source, also where it could not be enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_commit: Option<String>,
    /// When the enforced commit had been applied in full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectCounts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
    /// Objects that hold the source back, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommitStatus {
    pub id: String,
    /// Reference and abbreviated id: `main@1a2b3c4`.
    pub short: String,
    pub subject: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectCounts {
    #[schemars(extend("format" = "int64"))]
    pub declared: u32,
    #[schemars(extend("format" = "int64"))]
    pub applied: u32,
    #[schemars(extend("format" = "int64"))]
    pub failed: u32,
    #[schemars(extend("format" = "int64"))]
    pub baseline: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// Objects that differ from Git at this moment.
    #[schemars(extend("format" = "int64"))]
    pub objects: u32,
    /// Objects that were put back since the reconciler became leader.
    #[schemars(extend("format" = "int64"))]
    pub reverted: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reverted_at: Option<Time>,
}

/// One reason why an object or a file is not enforced as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Machine-readable cause, such as `NeedsRecreate` or `InvalidManifest`.
    pub reason: String,
    /// The object, where one is known: `Deployment.apps shop/web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Where it is declared: `apps/web.yaml:7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    pub message: String,
}

impl Problem {
    /// One that concerns an Enforcement as a whole, and no object of it.
    pub fn of_enforcement(reason: &str, message: impl std::fmt::Display) -> Self {
        Self { reason: reason.into(), object: None, position: None, commit: None, message: message.to_string() }
    }
}
