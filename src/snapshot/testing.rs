//! A source for the tests of whatever makes or reads snapshots.

use super::Source;
use crate::api::{Action, ChildOperations, Children, Scope, Undeclared};

/// Of an Enforcement that is in force.
pub fn source(name: &str, scope: Scope) -> Source {
    Source {
        name: name.into(),
        spec: None,
        url: "https://git.example.com/shop.git".into(),
        reference: "main".into(),
        commit: "1a2b3c4d5e6f".into(),
        subject: "scale down for winter".into(),
        scope,
        action: Action::Enforce,
        undeclared_objects: Undeclared::Deny,
        undeclared_fields: Undeclared::Deny,
        children: Children::default(),
        child_operations: ChildOperations::default(),
        delegations: Vec::new(),
        deletion_guard: 50,
        baseline_recorded: true,
    }
}
