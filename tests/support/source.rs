//! A source as a snapshot holds it, from an Enforcement as users write it.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used)]

use gitadel::reconcile::settings;
use gitadel::snapshot::Source;
use serde_json::{Value, json};

/// Of an Enforcement that is in force, with this scope.
pub fn source(name: &str, scope: Value) -> Source {
    let git = json!({"url": "https://git.example.com/shop.git", "branch": "main"});
    let enforcement = json!({"apiVersion": "gitadel.dev/v1alpha1", "kind": "Enforcement", "metadata": {"name": name},
        "spec": {"source": git, "scope": scope, "action": "Enforce"}});
    Source {
        commit: "1a2b3c4d5e6f".into(),
        subject: "scale down for winter".into(),
        baseline_recorded: true,
        ..settings::source(&settings::read(&enforcement).unwrap()).unwrap()
    }
}
