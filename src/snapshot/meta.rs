//! What a snapshot says besides the objects: sources, scopes, kinds, delegations, and what is going away.
//!
//! Small, and parsed once when a snapshot is opened. Everything here was computed by the reconciler; the webhook only
//! reads.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::api::{Action, ChildOperations, Children, EnforcementSpec, GROUP, Scope, Undeclared};
use crate::compare::{FreeField, ListSchema, PathPattern, PatternSegment};
use crate::document::Node;
use crate::object::{GroupKind, ObjectId, ObjectRef};

/// The part of a snapshot that is not objects.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Meta {
    /// Counts up with every snapshot that one reconciler writes.
    pub generation: u64,
    /// UID of the Namespace `kube-system`: a snapshot of another cluster is refused.
    pub cluster: String,
    /// Digest of what canonical objects depend on beside their manifest: server version, mutators, defaults.
    pub environment: String,
    /// One for each Enforcement that can be enforced, in order of their names.
    pub sources: Vec<Source>,
    /// Enforcements that were in force before this replica knew all that they hold. What has no entry in their scopes
    /// may be declared or of the baseline: it stays as it is.
    #[serde(default)]
    pub sealed: BTreeSet<String>,
    /// The kinds that the API server serves.
    pub kinds: Vec<KindInfo>,
    /// Namespaces that are being deleted: their contents may go.
    pub terminating_namespaces: BTreeSet<String>,
    /// Key of the hashes that stand for the values of Secrets, as hexadecimal.
    pub mask_key: String,
    /// BLAKE3 digests, as hexadecimal, of the objects in `gitadel-system` that gitadel itself may create:
    /// name of the Secret → digest of its data.
    pub baseline_shards: BTreeMap<String, String>,
    /// Objects of a baseline that was read from the cluster, where nothing could prove it, and that are not as it says. What
    /// is there is neither written over nor made by its word.
    #[serde(default)]
    pub doubted: BTreeSet<ObjectId>,
    /// Certificates of the authorities of the cluster, as PEM; empty where they are not known.
    #[serde(default)]
    pub root_authorities: String,
    /// There are mutators: what they make of Pods follows from no template.
    #[serde(default)]
    pub has_mutators: bool,
    /// Since when what is not declared is rejected, by Enforcement: of what was made before, nobody can tell here from what.
    #[serde(default)]
    pub closed_since: BTreeMap<String, Timestamp>,
    /// The LimitRanges that are declared or of the baseline: new Pods get defaults from them.
    #[serde(default)]
    pub limit_ranges: BTreeSet<ObjectId>,
    /// Slices that were seen to lead to no Pod of their Service.
    #[serde(default)]
    pub misdirected: Vec<Misdirected>,
    /// Names under which the reconcilers of this cluster are known to the API server.
    pub reconciler_users: BTreeSet<String>,
}

/// An EndpointSlice, and the addresses in it that none of the Pods of its Service has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misdirected {
    pub slice: ObjectId,
    /// Name of the Service.
    pub service: String,
    pub to: BTreeSet<String>,
}

/// An Enforcement as the webhook needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Name of the Enforcement.
    pub name: String,
    /// What all but the commit follows from, as it was let in; absent where an earlier version wrote the snapshot.
    #[serde(default)]
    pub spec: Option<EnforcementSpec>,
    pub url: String,
    /// Branch, tag or commit as the user wrote it, for messages: `main`.
    pub reference: String,
    /// Full id of the enforced commit.
    pub commit: String,
    pub subject: String,
    pub scope: Scope,
    pub action: Action,
    pub undeclared_objects: Undeclared,
    pub undeclared_fields: Undeclared,
    pub children: Children,
    pub child_operations: ChildOperations,
    pub delegations: Vec<DelegatedFields>,
    /// How many objects one round may delete.
    pub deletion_guard: u32,
    /// The baseline of this scope is recorded and in the snapshot: before that, nothing undeclared is denied.
    pub baseline_recorded: bool,
}

impl Meta {
    /// The sources of which what differs is rejected.
    pub fn enforcing(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.action == Action::Enforce)
    }

    /// The source of an Enforcement that stays as it was let in, for as long as it enforces and none that keeps the world of
    /// Enforcements closed answers for it. Where Git declares it, that counts instead.
    pub fn frozen(&self, enforcement: &str) -> Option<&Source> {
        let id = ObjectRef { group: GROUP, kind: "Enforcement", namespace: "", name: enforcement };
        let answers = |source: &Source| source.name != enforcement && source.is_closed() && source.governs_id(id);
        let itself = self.enforcing().find(|source| source.name == enforcement)?;
        (!self.enforcing().any(answers)).then_some(itself)
    }

    /// The sources that answer for an object that none of them declares: of those whose scope holds it, the strictest. Each
    /// of them must agree with what becomes of it.
    pub fn answering<'a>(&'a self, id: ObjectRef<'a>) -> impl Iterator<Item = &'a Source> + Clone {
        answering(self.sources.iter(), id)
    }

    /// The one of [`Self::answering`] that is named, and whose settings count: one that lets nothing come to be, if any does.
    pub fn answer<'a>(&'a self, id: ObjectRef<'a>) -> Option<&'a Source> {
        self.answering(id).max_by_key(|source| source.is_closed())
    }

    /// Whether an object was made after the worlds were closed that hold its place.
    pub fn came_after_closing(&self, id: ObjectRef<'_>, object: Node<'_>) -> bool {
        let made = object.at(&["metadata", "creationTimestamp"]).and_then(Node::as_str);
        let Some(made) = made.and_then(|made| made.parse::<Timestamp>().ok()) else { return false };
        let mut closed = self.answering(id).filter(|source| source.is_closed()).peekable();
        // Kubernetes counts in seconds.
        closed.peek().is_some()
            && closed.all(|source| {
                self.closed_since.get(&source.name).is_some_and(|since| made.as_second() > since.as_second())
            })
    }
}

/// Of these sources, those that answer for an undeclared object: see [`Meta::answering`].
pub fn answering<'a>(
    sources: impl Iterator<Item = &'a Source> + Clone,
    id: ObjectRef<'a>,
) -> impl Iterator<Item = &'a Source> + Clone {
    let governing = sources.filter(move |source| source.governs_id(id));
    let strictest = governing.clone().map(|source| source.action).max();
    governing.filter(move |source| Some(source.action) == strictest)
}

impl Source {
    pub fn governs_namespace(&self, namespace: &str) -> bool {
        self.scope.holds_namespace(namespace)
    }

    pub fn governs_cluster_kind(&self, group: &str, kind: &str) -> bool {
        self.scope.holds_cluster_kind(group, kind)
    }

    /// Whether the scope holds an object. A Namespace belongs to the scope that governs what is in it; where its kind
    /// is governed at all, one that is excluded by name stays out.
    pub fn governs(&self, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
        if !namespace.is_empty() {
            return self.governs_namespace(namespace);
        }
        if group.is_empty() && kind == "Namespace" {
            return self.governs_namespace(name)
                && (self.scope.namespaces.is_some() || self.governs_cluster_kind(group, kind));
        }
        self.governs_cluster_kind(group, kind)
    }

    pub fn governs_id(&self, id: ObjectRef<'_>) -> bool {
        self.governs(id.group, id.kind, id.namespace, id.name)
    }

    /// Whether nothing may come to be in the scope that is not declared. Before the baseline is recorded, nobody can tell
    /// what was there from what is new.
    pub fn is_closed(&self) -> bool {
        self.baseline_recorded && self.undeclared_objects == Undeclared::Deny
    }

    /// `main@1a2b3c4`; a commit that is named by its id needs no reference.
    pub fn short_commit(&self) -> String {
        let id = self.commit.get(..7).unwrap_or(&self.commit);
        if self.reference.is_empty() || self.commit.starts_with(&self.reference) {
            id.to_owned()
        } else {
            format!("{}@{id}", self.reference)
        }
    }
}

/// Fields that Git leaves to one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedFields {
    pub user: String,
    pub kind: GroupKind,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub fields: Vec<FreeField>,
}

impl DelegatedFields {
    pub fn covers(&self, group: &str, kind: &str, namespace: &str, name: &str) -> bool {
        self.kind.group == group
            && self.kind.kind == kind
            && self.namespace.as_deref().is_none_or(|n| n == namespace)
            && self.name.as_deref().is_none_or(|n| n == name)
    }
}

/// A kind that the API server serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KindInfo {
    pub group: String,
    pub kind: String,
    /// Plural name, as in a URL: `deployments`.
    pub resource: String,
    /// The version that Git uses, else the preferred one. Canonical objects and reviews are of this version.
    pub version: String,
    pub namespaced: bool,
    /// Subresources that discovery lists for `version`.
    pub subresources: BTreeSet<String>,
    /// By the version in whose name it is written: where in objects of `version` the number of replicas is that the `scale`
    /// subresource of a custom kind sets. Absent where that is not known.
    #[serde(default)]
    pub scale_paths: BTreeMap<String, PathPattern>,
    /// Reduced from the group's OpenAPI v3.
    pub schema: ListSchema,
    /// Whether an object of this kind is in Git or in the baseline: it has a webhook rule with its exact version.
    pub registered: bool,
}

impl KindInfo {
    pub fn status_subresource(&self) -> bool {
        self.subresources.contains("status")
    }

    /// Whether the kind is one of Kubernetes' own, which have their replicas in one place.
    pub fn scales_as_built_in(&self) -> bool {
        matches!(self.group.as_str(), "" | "apps" | "extensions")
    }

    /// Where the number of replicas is that `scale` sets in the name of a version.
    pub fn scale_path(&self, version: &str) -> Option<Vec<String>> {
        if self.scales_as_built_in() {
            return Some(["spec", "replicas"].map(str::to_owned).into());
        }
        let field = |segment: &PatternSegment| match segment {
            PatternSegment::Field(name) => Some(name.clone()),
            _ => None,
        };
        self.scale_paths.get(version)?.0.iter().map(field).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ClusterScope;
    use crate::snapshot::testing::source;

    #[test]
    fn scopes() {
        let all_but_system = source(
            "all",
            Scope {
                excluded_namespaces: Some(vec!["kube-*".into(), "legacy".into()]),
                cluster: ClusterScope::All,
                ..Scope::default()
            },
        );
        let listed = source("all", Scope { namespaces: Some(vec!["shop".into()]), ..Scope::default() });
        let cases = [
            (&all_but_system, "apps", "Deployment", "shop", "web", true),
            (&all_but_system, "apps", "Deployment", "kube-system", "dns", false),
            (&all_but_system, "", "ConfigMap", "legacy", "c", false),
            (&all_but_system, "", "ConfigMap", "legacy-2", "c", true),
            (&all_but_system, "", "Namespace", "", "shop", true),
            (&all_but_system, "", "Namespace", "", "kube-system", false),
            (&all_but_system, "rbac.authorization.k8s.io", "ClusterRole", "", "view", true),
            (&listed, "apps", "Deployment", "shop", "web", true),
            (&listed, "apps", "Deployment", "default", "web", false),
            (&listed, "", "Namespace", "", "shop", true),
            (&listed, "", "Namespace", "", "default", false),
            (&listed, "rbac.authorization.k8s.io", "ClusterRole", "", "view", false),
        ];
        for (source, group, kind, namespace, name, expected) in cases {
            assert_eq!(source.governs(group, kind, namespace, name), expected, "{kind} {namespace}/{name}");
        }
    }

    #[test]
    fn an_abbreviated_commit_names_its_reference() {
        assert_eq!(source("all", Scope::default()).short_commit(), "main@1a2b3c4");
        let pinned = Source { reference: "1a2b3c4".into(), ..source("all", Scope::default()) };
        assert_eq!(pinned.short_commit(), "1a2b3c4");
    }
}
