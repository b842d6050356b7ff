//! A JSON document in one flat buffer, read in place.
//!
//! The webhook compares three states of an object for every write: what is stored, what is asked for, and what Git
//! declares. All three are held in this one form, so that a comparison walks bytes and allocates nothing, the declared
//! state is read straight from the mapped snapshot, and a review is parsed into a single buffer.
//!
//! A node is one contiguous slice whose last byte is its tag (integers little endian):
//!
//! | node | bytes |
//! |---|---|
//! | null, false, true | tag |
//! | number | 8 bytes, tag |
//! | string | UTF-8 text, tag |
//! | list of n | items, n × end of item (u32), n (u32), tag |
//! | map of n | n × (key text, value), n × (end of key, end of value) (u32 each), n (u32), tag |
//!
//! Ends are relative to the node's own start and the members of a map are stored in key order. So a node can be copied
//! elsewhere as it is; a reader can only ever descend into a shorter slice, whatever the bytes say, and never loops;
//! and since every value has exactly one encoding, equal values are equal bytes: comparing two large subtrees is one
//! `memcmp`.

mod node;
mod number;
mod parse;
mod write;

pub use node::{List, Map, Node, View};
pub use number::Number;
pub use parse::ParseError;

/// Deeper nesting is refused when a document is read, as by the API server's own decoders.
pub(crate) const MAX_DEPTH: u8 = 128;

/// An owned document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    bytes: Vec<u8>,
}

impl Document {
    /// Parses JSON text. What is nested deeper than 124 levels becomes a text that stands for it.
    ///
    /// # Errors
    /// Text that is no JSON, or holds a key twice in one object.
    pub fn from_json(json: &[u8]) -> Result<Self, ParseError> {
        parse::parse(json).map(|bytes| Self { bytes })
    }

    pub fn from_value(value: &serde_json::Value) -> Self {
        Self { bytes: write::encode(value) }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn root(&self) -> Node<'_> {
        Node::root(&self.bytes)
    }
}

impl From<Node<'_>> for Document {
    /// Copies a part of another document.
    fn from(node: Node<'_>) -> Self {
        Self { bytes: node.as_bytes().to_vec() }
    }
}

/// The last byte of every node.
mod tag {
    pub const NULL: u8 = 0;
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    pub const INTEGER: u8 = 3;
    pub const UNSIGNED: u8 = 4;
    pub const FLOAT: u8 = 5;
    pub const STRING: u8 = 6;
    pub const LIST: u8 = 7;
    pub const MAP: u8 = 8;
}

#[cfg(test)]
mod tests;
