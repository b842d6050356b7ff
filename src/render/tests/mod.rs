//! What files mean, as tables.

mod files;
mod positions;
mod semantics;

use serde_json::Value;

use super::manifest::manifests;
use super::problem::FileProblem;
use super::{Manifest, ManifestSummary};

/// A file that must be without fault.
fn good(file: &str, content: &str) -> Vec<(ManifestSummary, Manifest)> {
    let (manifests, problems) = manifests(file, content.as_bytes());
    assert_eq!(problems, [], "{content}");
    manifests
}

/// The first thing that is wrong with a file.
fn fault(file: &str, content: &str) -> FileProblem {
    let (_, problems) = manifests(file, content.as_bytes());
    problems.into_iter().next().unwrap_or_else(|| panic!("nothing is wrong with {content:?}"))
}

/// The value of a YAML document of any form.
fn value(text: &str) -> Result<Value, FileProblem> {
    match super::yaml::documents(text) {
        (_, Some(problem)) => Err(problem),
        (documents, None) => Ok(documents.into_iter().next().map_or(Value::Null, |document| document.value)),
    }
}
