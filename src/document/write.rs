//! Writing the flat form: the one growing buffer behind parsing and encoding.

use serde_json::Value;

use super::number::{Kind, Number};
use super::tag;

/// Builds a document from its leaves up. Lists and maps are written in the order in which they are met, and the
/// members of a map are put in key order when it ends.
#[derive(Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    items: Vec<u32>,
    members: Vec<Member>,
    scratch: Vec<u8>,
}

/// Where a member of an unfinished map lies, relative to the start of the map.
#[derive(Clone, Copy)]
pub(super) struct Member {
    start: u32,
    key_end: u32,
    end: u32,
}

/// What was there when a list or map began.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    start: usize,
    stacked: usize,
}

/// A key that one map holds twice.
pub(super) struct Duplicate(pub String);

impl Builder {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), ..Self::default() }
    }

    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub fn null(&mut self) {
        self.bytes.push(tag::NULL);
    }

    pub fn bool(&mut self, value: bool) {
        self.bytes.push(if value { tag::TRUE } else { tag::FALSE });
    }

    pub fn number(&mut self, value: Number) {
        let (payload, tag) = match value.kind() {
            Kind::Integer(value) => (value.to_le_bytes(), tag::INTEGER),
            Kind::Unsigned(value) => (value.to_le_bytes(), tag::UNSIGNED),
            Kind::Float(value) => (value.to_le_bytes(), tag::FLOAT),
        };
        self.bytes.extend_from_slice(&payload);
        self.bytes.push(tag);
    }

    pub fn string(&mut self, value: &str) {
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(tag::STRING);
    }

    pub fn begin_list(&self) -> Mark {
        Mark { start: self.bytes.len(), stacked: self.items.len() }
    }

    pub fn item_done(&mut self, list: Mark) {
        self.items.push(self.offset(list));
    }

    pub fn end_list(&mut self, list: Mark) {
        let count = length(self.items.len() - list.stacked);
        for end in self.items.drain(list.stacked..) {
            self.bytes.extend_from_slice(&end.to_le_bytes());
        }
        self.bytes.extend_from_slice(&count.to_le_bytes());
        self.bytes.push(tag::LIST);
    }

    pub fn begin_map(&self) -> Mark {
        Mark { start: self.bytes.len(), stacked: self.members.len() }
    }

    /// A key; its value has to be written next, and then `member_done` called with what this returned.
    pub fn key(&mut self, map: Mark, key: &str) -> Member {
        let start = self.offset(map);
        self.bytes.extend_from_slice(key.as_bytes());
        let key_end = self.offset(map);
        Member { start, key_end, end: key_end }
    }

    pub fn member_done(&mut self, map: Mark, member: Member) {
        let end = self.offset(map);
        self.members.push(Member { end, ..member });
    }

    pub fn end_map(&mut self, map: Mark) -> Result<(), Duplicate> {
        self.sort_members(map)?;
        let count = length(self.members.len() - map.stacked);
        for member in self.members.drain(map.stacked..) {
            self.bytes.extend_from_slice(&member.key_end.to_le_bytes());
            self.bytes.extend_from_slice(&member.end.to_le_bytes());
        }
        self.bytes.extend_from_slice(&count.to_le_bytes());
        self.bytes.push(tag::MAP);
        Ok(())
    }

    /// Puts the members of the map that ends in key order. Nodes do not know where they are, so they can be moved.
    fn sort_members(&mut self, map: Mark) -> Result<(), Duplicate> {
        let members = &mut self.members[map.stacked..];
        let body = &mut self.bytes[map.start..];
        if members.is_sorted_by(|a, b| key(body, *a) < key(body, *b)) {
            return Ok(());
        }
        members.sort_unstable_by(|a, b| key(body, *a).cmp(key(body, *b)));
        if let Some(pair) = members.windows(2).find(|pair| key(body, pair[0]) == key(body, pair[1])) {
            return Err(Duplicate(String::from_utf8_lossy(key(body, pair[0])).into_owned()));
        }
        self.scratch.clear();
        for member in members {
            let start = length(self.scratch.len());
            self.scratch.extend_from_slice(&body[member.start as usize..member.end as usize]);
            *member = Member {
                start,
                key_end: start + (member.key_end - member.start),
                end: start + (member.end - member.start),
            };
        }
        body.copy_from_slice(&self.scratch);
        Ok(())
    }

    fn offset(&self, mark: Mark) -> u32 {
        length(self.bytes.len() - mark.start)
    }
}

fn key(body: &[u8], member: Member) -> &[u8] {
    &body[member.start as usize..member.key_end as usize]
}

/// Documents are refused on input long before they reach 4 GiB (`ParseError`), and those that are built from values come
/// from such input.
#[allow(clippy::cast_possible_truncation, reason = "see above")]
fn length(value: usize) -> u32 {
    value as u32
}

pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut builder = Builder::default();
    write(&mut builder, value);
    builder.finish()
}

fn write(builder: &mut Builder, value: &Value) {
    match value {
        Value::Null => builder.null(),
        Value::Bool(value) => builder.bool(*value),
        Value::Number(value) => builder.number(value.into()),
        Value::String(value) => builder.string(value),
        Value::Array(items) => {
            let list = builder.begin_list();
            for item in items {
                write(builder, item);
                builder.item_done(list);
            }
            builder.end_list(list);
        }
        Value::Object(members) => {
            let map = builder.begin_map();
            for (key, value) in members {
                let member = builder.key(map, key);
                write(builder, value);
                builder.member_done(map, member);
            }
            // The keys of a `serde_json::Map` are unique.
            let _unique = builder.end_map(map);
        }
    }
}
