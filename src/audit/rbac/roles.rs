//! Which rules each binding gives to whom, and where.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject as BoundSubject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use crate::admission::builtin::bootstrap_policy;
use crate::audit::finding::Who;
use crate::audit::selector;

/// The roles and bindings of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Rbac {
    pub cluster_roles: Vec<ClusterRole>,
    pub roles: Vec<Role>,
    pub cluster_role_bindings: Vec<ClusterRoleBinding>,
    pub role_bindings: Vec<RoleBinding>,
}

/// Where rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place<'a> {
    Cluster,
    Namespace(&'a str),
}

impl<'a> Place<'a> {
    pub fn namespace(self) -> Option<&'a str> {
        match self {
            Self::Cluster => None,
            Self::Namespace(namespace) => Some(namespace),
        }
    }

    pub fn includes(self, namespace: &str) -> bool {
        self.namespace().is_none_or(|only| only == namespace)
    }
}

/// What one binding gives.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    /// `RoleBinding shop/ops`
    pub binding: String,
    /// `ClusterRole ops`
    pub role: String,
    pub place: Place<'a>,
    pub subjects: Vec<Who>,
    pub rules: &'a [PolicyRule],
    /// The roles that an aggregated one has its rules from.
    pub parts: Vec<&'a ClusterRole>,
}

impl Rbac {
    /// What the API server makes for itself in a new cluster.
    pub fn bootstrap() -> Self {
        let mut made = Self::default();
        for object in bootstrap_policy().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            match object["kind"].as_str() {
                Some("ClusterRole") => made.cluster_roles.extend(serde_json::from_value(object)),
                Some("Role") => made.roles.extend(serde_json::from_value(object)),
                Some("ClusterRoleBinding") => made.cluster_role_bindings.extend(serde_json::from_value(object)),
                Some("RoleBinding") => made.role_bindings.extend(serde_json::from_value(object)),
                _ => {}
            }
        }
        made
    }

    /// Bindings to a role that is not there give nothing.
    pub fn grants(&self) -> Vec<Grant<'_>> {
        let cluster_wide = self.cluster_role_bindings.iter().filter_map(|binding| {
            let role = self.cluster_role(&binding.role_ref.name)?;
            Some(Grant {
                binding: format!("ClusterRoleBinding {}", name(&binding.metadata)),
                role: format!("ClusterRole {}", name(&role.metadata)),
                place: Place::Cluster,
                subjects: subjects(binding.subjects.as_deref(), ""),
                rules: role.rules.as_deref().unwrap_or_default(),
                parts: self.selected_by(role),
            })
        });
        let within = self.role_bindings.iter().filter_map(|binding| {
            let namespace = binding.metadata.namespace.as_deref()?;
            let (role, rules, parts) = if binding.role_ref.kind == "ClusterRole" {
                let role = self.cluster_role(&binding.role_ref.name)?;
                (format!("ClusterRole {}", name(&role.metadata)), role.rules.as_deref(), self.selected_by(role))
            } else {
                let role = self.roles.iter().find(|role| {
                    role.metadata.namespace.as_deref() == Some(namespace)
                        && name(&role.metadata) == binding.role_ref.name
                })?;
                (format!("Role {namespace}/{}", name(&role.metadata)), role.rules.as_deref(), Vec::new())
            };
            Some(Grant {
                binding: format!("RoleBinding {namespace}/{}", name(&binding.metadata)),
                role,
                place: Place::Namespace(namespace),
                subjects: subjects(binding.subjects.as_deref(), namespace),
                rules: rules.unwrap_or_default(),
                parts,
            })
        });
        cluster_wide.chain(within).collect()
    }

    pub fn cluster_role(&self, wanted: &str) -> Option<&ClusterRole> {
        self.cluster_roles.iter().find(|role| name(&role.metadata) == wanted)
    }

    /// The roles that an aggregated one selects, with those that these select.
    pub fn selected_by<'a>(&'a self, role: &ClusterRole) -> Vec<&'a ClusterRole> {
        let mut unselected: Vec<_> =
            self.cluster_roles.iter().filter(|r| r.metadata.name != role.metadata.name).collect();
        let (mut found, mut selecting) = (Vec::new(), vec![role]);
        while let Some(by) = selecting.pop() {
            let (selected, rest): (Vec<_>, Vec<_>) = unselected.into_iter().partition(|role| selects(by, role));
            unselected = rest;
            selecting.extend(selected.iter().filter(|role| role.aggregation_rule.is_some()));
            found.extend(selected);
        }
        found
    }
}

fn selects(by: &ClusterRole, role: &ClusterRole) -> bool {
    let selectors = by.aggregation_rule.iter().flat_map(|rule| rule.cluster_role_selectors.iter().flatten());
    selectors.into_iter().any(|selector| selector::matches(selector, role.metadata.labels.as_ref()))
}

pub fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

pub fn subjects(bound: Option<&[BoundSubject]>, namespace: &str) -> Vec<Who> {
    let who = |subject: &BoundSubject| match subject.kind.as_str() {
        "Group" => Some(Who::group(&subject.name)),
        "User" => Some(Who::user(&subject.name)),
        "ServiceAccount" => {
            Some(Who::service_account(subject.namespace.as_deref().unwrap_or(namespace), &subject.name))
        }
        // The API server takes no other.
        _ => None,
    };
    bound.unwrap_or_default().iter().filter_map(who).collect()
}
