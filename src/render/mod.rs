//! From files in a commit to manifests.

mod position;

pub use position::{LineTree, Lines};
