//! What a scope holds, and whether two scopes have something in common.

use super::{ClusterScope, KindSelector, Scope};

impl Scope {
    pub fn holds_namespace(&self, namespace: &str) -> bool {
        match (&self.namespaces, &self.excluded_namespaces) {
            (Some(listed), _) => listed.iter().any(|n| n == namespace),
            (None, excluded) => !excluded.iter().flatten().any(|pattern| matches_name(pattern, namespace)),
        }
    }

    pub fn holds_cluster_kind(&self, group: &str, kind: &str) -> bool {
        match self.cluster {
            ClusterScope::All => true,
            ClusterScope::None => false,
            ClusterScope::Listed => {
                self.cluster_kinds.iter().any(|KindSelector { group: g, kind: k }| g == group && k == kind)
            }
        }
    }

    /// Whether one object could lie in both. Where that cannot be told from the names, it could.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.shares_namespaces(other) || self.shares_cluster_kinds(other)
    }

    fn shares_namespaces(&self, other: &Self) -> bool {
        match (&self.namespaces, &other.namespaces) {
            (Some(listed), _) => listed.iter().any(|namespace| other.holds_namespace(namespace)),
            (None, Some(listed)) => listed.iter().any(|namespace| self.holds_namespace(namespace)),
            (None, None) => {
                ![self, other].iter().any(|scope| scope.excluded_namespaces.iter().flatten().any(|p| p == "*"))
            }
        }
    }

    fn shares_cluster_kinds(&self, other: &Self) -> bool {
        let holds_any = |scope: &Self| match scope.cluster {
            ClusterScope::All => true,
            ClusterScope::Listed => !scope.cluster_kinds.is_empty(),
            ClusterScope::None => false,
        };
        match (self.cluster, other.cluster) {
            (ClusterScope::Listed, ClusterScope::Listed) => {
                self.cluster_kinds.iter().any(|listed| other.holds_cluster_kind(&listed.group, &listed.kind))
            }
            _ => holds_any(self) && holds_any(other),
        }
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_that_could_hold_the_same_object() {
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let listed = |listed: &[&str]| Scope { namespaces: names(listed), ..Scope::default() };
        let all_but = |left_out: &[&str]| Scope { excluded_namespaces: names(left_out), ..Scope::default() };
        let kinds = |cluster, kinds: &[&str]| Scope {
            cluster,
            cluster_kinds: kinds.iter().map(|k| KindSelector { group: String::new(), kind: (*k).into() }).collect(),
            ..listed(&[])
        };
        let (all, some) = (ClusterScope::All, ClusterScope::Listed);
        let cases = [
            (listed(&["shop", "bank"]), listed(&["bank"]), true),
            (listed(&["shop"]), listed(&["bank"]), false),
            (listed(&["shop"]), all_but(&["kube-*"]), true),
            (listed(&["kube-system"]), all_but(&["kube-*"]), false),
            (all_but(&["shop"]), all_but(&["bank"]), true),
            (all_but(&["*"]), all_but(&[]), false),
            (kinds(all, &[]), kinds(all, &[]), true),
            (kinds(all, &[]), kinds(some, &["Node"]), true),
            (kinds(all, &[]), kinds(some, &[]), false),
            (kinds(some, &["Node"]), kinds(some, &["Node", "PersistentVolume"]), true),
            (kinds(some, &["Node"]), kinds(some, &["PersistentVolume"]), false),
            (kinds(all, &[]), listed(&["shop"]), false),
        ];
        for (one, other, expected) in cases {
            assert_eq!(one.overlaps(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.overlaps(&one), expected, "{other:?} {one:?}");
        }
    }
}
