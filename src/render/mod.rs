//! From files in a commit to manifests.
//!
//! A commit counts as a whole: one broken file or one object declared twice, and the last good commit stays enforced.
//! Only summaries are kept, and files that a commit did not change are not read again: with ten thousand objects, a
//! one-line commit must cost little time and the rest little memory. [`body`] brings a manifest back when it is needed.

mod duplicates;
mod json;
mod manifest;
mod position;
mod problem;
mod rendered;
mod scalar;
mod yaml;

#[cfg(test)]
mod tests;

pub use duplicates::{Declaration, Duplicate, find_duplicates};
pub use manifest::{Manifest, ManifestSummary};
pub use position::{LineTree, Lines};
pub use problem::{FileProblem, ProblemKind, RenderError, RenderProblem};
pub use rendered::{Rendered, RenderedFile, bodies, body, declared_in, render};
