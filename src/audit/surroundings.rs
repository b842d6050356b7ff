//! What the worth of a right depends on: which places are closed, and which accounts are there.

use std::collections::BTreeMap;

use super::finding::Severity;
use super::governance::Governance;
use super::rbac::{Names, Place};

/// Where Kubernetes' own controllers have their accounts.
pub const KUBE_SYSTEM: &str = "kube-system";
const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

pub struct Surroundings<'a> {
    pub governance: Governance<'a>,
    /// Name → labels.
    pub namespaces: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// Whether the API server itself keeps gitadel's webhook configuration.
    pub protected: bool,
    /// Namespace and name of a service account → the most that its rights are worth. What a group of accounts has stands
    /// under an empty name, and where it is the group of all under an empty namespace.
    pub accounts: BTreeMap<(String, String), Severity>,
}

impl<'a> Surroundings<'a> {
    pub fn new(governance: Governance<'a>, namespaces: &'a BTreeMap<String, BTreeMap<String, String>>) -> Self {
        Self { governance, namespaces, protected: false, accounts: BTreeMap::new() }
    }

    /// Namespaces in a place where what Git does not declare may be created.
    pub fn open_namespaces<'s>(&'s self, place: Place<'s>) -> impl Iterator<Item = &'a str> + 's {
        let all = self.namespaces.keys().map(String::as_str);
        all.filter(move |namespace| place.includes(namespace) && !self.governance.closes(namespace))
    }

    /// Whether the API server refuses privileged Pods there.
    pub fn refuses_privileged(&self, namespace: &str) -> bool {
        let label = self.namespaces.get(namespace).and_then(|labels| labels.get(POD_SECURITY));
        label.is_some_and(|level| level == "baseline" || level == "restricted")
    }

    /// What it is worth to act as any of these service accounts.
    pub fn worth_of_accounts(&self, place: Place<'_>, names: Names<'_>) -> Severity {
        let is_there = |at: &str| at.is_empty() || place.includes(at);
        let is_meant = |name: &str| name.is_empty() || names.include(name);
        let meant = self.accounts.iter().filter(|((at, name), _)| is_there(at) && is_meant(name));
        meant.map(|(_, severity)| *severity).max().unwrap_or(Severity::Low).max(Severity::Low)
    }
}
