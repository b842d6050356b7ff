//! Where a canary can be tried: it has to be in the scope of an Enforcement that enforces, and the place has to exist.

use std::fmt;

use crate::api::{Action, SYSTEM_NAMESPACE};
use crate::snapshot::{Snapshot, Source};

/// Where a canary is created: as a ConfigMap in a namespace, or as a ClusterRole without rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Namespace(String),
    Cluster,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "namespace {namespace}"),
            Self::Cluster => f.write_str("the ClusterRoles"),
        }
    }
}

/// Namespaces that every cluster has.
const ALWAYS_THERE: [&str; 5] = [SYSTEM_NAMESPACE, "default", "kube-public", "kube-node-lease", "kube-system"];

/// Places in the scope of the sources that enforce, the surest first. None where nothing is enforced, or only
/// cluster-scoped kinds without ClusterRoles.
pub fn places<'a>(sources: impl IntoIterator<Item = &'a Source>, snapshot: &Snapshot) -> Vec<Place> {
    let enforced: Vec<_> = sources.into_iter().filter(|source| source.action == Action::Enforce).collect();
    let governed = |namespace: &str| enforced.iter().any(|source| source.governs_namespace(namespace));
    if let Some(namespace) = ALWAYS_THERE.into_iter().find(|namespace| governed(namespace)) {
        return vec![Place::Namespace(namespace.to_owned())];
    }
    if enforced.iter().any(|source| source.governs_cluster_kind("rbac.authorization.k8s.io", "ClusterRole")) {
        return vec![Place::Cluster];
    }
    let listed = enforced.iter().flat_map(|source| source.scope.namespaces.iter().flatten()).cloned();
    // The search reads the whole snapshot, for the sake of scopes that leave out each of the namespaces above.
    let open = enforced.iter().any(|source| source.scope.namespaces.is_none());
    let known = open.then(|| snapshot.iter().flatten().map(|entry| entry.id())).into_iter().flatten();
    let known = known.filter(|id| (id.group, id.kind) == ("", "Namespace") && governed(id.name));
    let mut places = Vec::new();
    for place in listed.chain(known.map(|id| id.name.to_owned())).map(Place::Namespace) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::source;
    use super::*;
    use crate::api::{ClusterScope, KindSelector, Scope};
    use crate::object::ObjectId;
    use crate::snapshot::{EntryClass, EntryDraft, HistoryDraft, Meta, SnapshotWriter};

    /// A snapshot with these Namespaces in it.
    fn snapshot(namespaces: &[&str]) -> Snapshot {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("snapshot");
        let mut writer = SnapshotWriter::create(&path, &Meta::default()).unwrap();
        for name in namespaces {
            let draft = EntryDraft {
                id: ObjectId::new("", "Namespace", "", *name),
                class: EntryClass::Baseline,
                source: None,
                version: "v1".into(),
                canonical: Some(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})),
                inputs: String::new(),
                file: None,
                lines: None,
                recreate: false,
                uid: None,
                problem: None,
                history: HistoryDraft::default(),
            };
            writer.put(&draft).unwrap();
        }
        writer.finish().unwrap();
        Snapshot::open(&path, None).unwrap()
    }

    #[test]
    fn every_scope_that_enforces_has_a_place() {
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let scope = |namespaces, excluded_namespaces, cluster, kinds: &[(&str, &str)]| Scope {
            namespaces,
            excluded_namespaces,
            cluster,
            cluster_kinds: kinds.iter().map(|(g, k)| KindSelector { group: (*g).into(), kind: (*k).into() }).collect(),
        };
        let roles: &[_] = &[("rbac.authorization.k8s.io", "ClusterRole")];
        let all_there = names(&["gitadel-*", "default", "kube-*"]);
        let cases: [(&str, Scope, &[&str]); 9] = [
            ("everything", scope(None, None, ClusterScope::All, &[]), &["gitadel-system"]),
            ("without gitadel", scope(None, names(&["gitadel-system"]), ClusterScope::All, &[]), &["default"]),
            ("kube only", scope(None, names(&["gitadel-*", "default"]), ClusterScope::None, &[]), &["kube-public"]),
            ("listed", scope(names(&["shop", "bank", "shop"]), None, ClusterScope::None, &[]), &["shop", "bank"]),
            ("listed and cluster", scope(names(&["shop"]), None, ClusterScope::All, &[]), &[""]),
            ("cluster alone", scope(names(&[]), None, ClusterScope::Listed, roles), &[""]),
            ("others", scope(None, all_there.clone(), ClusterScope::None, &[]), &["bank", "shop"]),
            ("others and cluster", scope(None, all_there, ClusterScope::All, &[]), &[""]),
            ("nothing", scope(names(&[]), None, ClusterScope::None, &[]), &[]),
        ];
        let snapshot = snapshot(&["bank", "default", "shop"]);
        for (name, scope, expected) in cases {
            let source = source("a", scope);
            let mut found: Vec<_> = places([&source], &snapshot)
                .into_iter()
                .map(|place| if let Place::Namespace(name) = place { name } else { String::new() })
                .collect();
            if name == "others" {
                found.sort();
            }
            assert_eq!(found, expected, "{name}");
            let observed = Source { action: Action::Observe, ..source };
            assert_eq!(places([&observed], &snapshot), [], "{name}, observed");
        }
    }
}
