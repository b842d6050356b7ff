//! What the Enforcements close, as their specs say.
//!
//! Whether it is in force is another question, which a canary answers. Several Enforcements over one place must agree,
//! so each question here is whether *one* of those that enforce closes it.

use crate::api::{Action, Enforcement, EnforcementSpec, Permission, Undeclared};

pub struct Governance<'a> {
    enforcing: Vec<&'a EnforcementSpec>,
}

/// Cluster-scoped kinds by which whoever may write them gets further.
pub const POWERFUL_KINDS: [(&str, &str); 7] = [
    ("", "Namespace"),
    ("", "PersistentVolume"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("apiregistration.k8s.io", "APIService"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
];

impl<'a> Governance<'a> {
    pub fn new(enforcements: impl IntoIterator<Item = &'a Enforcement>) -> Self {
        let specs = enforcements.into_iter().map(|enforcement| &enforcement.spec);
        Self { enforcing: specs.filter(|spec| spec.action == Action::Enforce).collect() }
    }

    pub fn enforces_anything(&self) -> bool {
        !self.enforcing.is_empty()
    }

    fn over<'s>(&'s self, namespace: &'s str) -> impl Iterator<Item = &'a EnforcementSpec> + 's {
        self.enforcing.iter().copied().filter(move |spec| spec.scope.holds_namespace(namespace))
    }

    pub fn governs(&self, namespace: &str) -> bool {
        self.over(namespace).next().is_some()
    }

    /// Whether what Git does not declare is refused there.
    pub fn closes(&self, namespace: &str) -> bool {
        self.over(namespace).any(|spec| spec.undeclared_objects == Undeclared::Deny)
    }

    pub fn governs_kind(&self, group: &str, kind: &str) -> bool {
        self.enforcing.iter().any(|spec| spec.scope.holds_cluster_kind(group, kind))
    }

    pub fn closes_kind(&self, group: &str, kind: &str) -> bool {
        let holding = self.enforcing.iter().filter(|spec| spec.scope.holds_cluster_kind(group, kind));
        holding.into_iter().any(|spec| spec.undeclared_objects == Undeclared::Deny)
    }

    pub fn denies_exec(&self, namespace: &str) -> bool {
        self.over(namespace).any(|spec| spec.child_operations.exec == Permission::Deny)
    }

    pub fn denies_ephemeral_containers(&self, namespace: &str) -> bool {
        self.over(namespace).any(|spec| spec.child_operations.ephemeral_containers == Permission::Deny)
    }

    /// Beginnings of names that are left out by every Enforcement that governs namespaces by exclusion: whatever
    /// namespace of such a name is made is governed by nobody.
    pub fn open_patterns(&self) -> Vec<&'a str> {
        let mut patterns: Vec<_> = self
            .enforcing
            .iter()
            .flat_map(|spec| spec.scope.excluded_namespaces.iter().flatten())
            .filter_map(|pattern| pattern.strip_suffix('*').map(|prefix| (pattern.as_str(), prefix)))
            // A name that nobody lists.
            .filter(|(_, prefix)| !self.governs(&format!("{prefix}gitadel-audit")))
            .map(|(pattern, _)| pattern)
            .collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn enforcement(scope: Value, settings: Value) -> Enforcement {
        let mut spec = json!({"source": {"url": "https://git.example/x"}, "scope": scope, "action": "Enforce"});
        spec.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        serde_json::from_value(json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement",
            "metadata": {"name": "a"}, "spec": spec}))
        .unwrap()
    }

    #[test]
    fn the_strictest_counts() {
        let all = enforcement(
            json!({"excludedNamespaces": ["kube-*"], "cluster": "All"}),
            json!({"undeclaredObjects": "Allow"}),
        );
        let shop = enforcement(json!({"namespaces": ["shop"]}), json!({"childOperations": {"exec": "Deny"}}));
        let watching = enforcement(json!({"namespaces": ["kube-system"]}), json!({"action": "Warn"}));
        let all = [all, shop, watching];
        let governance = Governance::new(&all);
        assert!(governance.governs("bank") && !governance.closes("bank") && !governance.denies_exec("bank"));
        assert!(governance.closes("shop") && governance.denies_exec("shop"));
        assert!(!governance.governs("kube-system"));
        assert!(governance.governs_kind("", "Namespace") && !governance.closes_kind("", "Namespace"));
        assert_eq!(governance.open_patterns(), ["kube-*"]);
    }

    #[test]
    fn a_pattern_that_another_governs_is_not_open() {
        let scopes =
            [json!({"excludedNamespaces": ["kube-*"]}), json!({"excludedNamespaces": ["shop-*", "kube-public"]})];
        let all = scopes.map(|scope| enforcement(scope, json!({})));
        assert!(Governance::new(&all).open_patterns().is_empty());
    }
}
