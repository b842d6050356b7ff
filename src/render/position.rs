//! Where in its file a manifest says what it says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The line on which something begins, and those of what it contains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineTree {
    pub line: u32,
    pub children: Lines,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lines {
    None,
    Map(BTreeMap<String, LineTree>),
    List(Vec<LineTree>),
}
