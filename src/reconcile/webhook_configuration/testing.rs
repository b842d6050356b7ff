//! Short ways to the inputs of the tests beside this file.

use crate::api::{Action, ChildOperations, Scope, Undeclared};
use crate::compare::ListSchema;
use crate::snapshot::{KindInfo, Source};

pub fn source(name: &str, scope: Scope) -> Source {
    Source {
        name: name.into(),
        url: "file:///repository".into(),
        reference: "main".into(),
        commit: "1a2b3c4d5e".into(),
        subject: "subject".into(),
        scope,
        action: Action::Enforce,
        undeclared_objects: Undeclared::Deny,
        undeclared_fields: Undeclared::Deny,
        child_operations: ChildOperations::default(),
        delegations: Vec::new(),
        baseline_recorded: true,
        deletion_guard: 50,
    }
}

/// A registered kind.
pub fn kind(group: &str, kind: &str, resource: &str, version: &str, subresources: &[&str]) -> KindInfo {
    KindInfo {
        group: group.into(),
        kind: kind.into(),
        resource: resource.into(),
        version: version.into(),
        namespaced: group != "rbac.authorization.k8s.io",
        subresources: subresources.iter().map(|s| (*s).to_owned()).collect(),
        scale_replicas: None,
        schema: ListSchema::default(),
        registered: true,
    }
}
