//! Which lists of a kind are keyed, which are sets, and which maps are atomic.
//!
//! This is all that a comparison needs of an OpenAPI document, and it is small: nodes that lead to no such statement are
//! not there. What is not there has the API server's own default: a map is granular, a list atomic.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The list types of one kind and version. Node 0 is the object itself; definitions that refer to themselves (a CRD's
/// JSON schema) are cycles between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSchema {
    pub nodes: Vec<SchemaNode>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaNode {
    /// Members of a struct, by name: indices into [`ListSchema::nodes`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, u32>,
    /// Every value of a map with arbitrary keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<u32>,
    /// Every item of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListKind>,
    /// `x-kubernetes-map-type: atomic`
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub atomic: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListKind {
    Atomic,
    Set,
    /// Items are told apart by the values of these fields.
    Map(Vec<String>),
}

impl ListSchema {
    pub fn root(&self) -> Option<&SchemaNode> {
        self.nodes.first()
    }

    pub fn field(&self, node: Option<&SchemaNode>, name: &str) -> Option<&SchemaNode> {
        let node = node?;
        self.node(node.fields.get(name).copied().or(node.values)?)
    }

    pub fn item(&self, node: Option<&SchemaNode>) -> Option<&SchemaNode> {
        self.node(node?.items?)
    }

    fn node(&self, index: u32) -> Option<&SchemaNode> {
        self.nodes.get(usize::try_from(index).ok()?)
    }
}
