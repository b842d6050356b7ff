//! Reading the flat form in place. Every offset is checked when it is followed, so that damaged bytes show as
//! [`View::Damaged`] and nothing worse.

use std::fmt;

use serde_json::Value;

use super::number::Number;
use super::{MAX_DEPTH, tag};

const WORD: usize = size_of::<u32>();

/// A value in a document.
///
/// Two nodes are equal if their values are. (Damaged bytes equal only their own copy, so a sound node never equals a
/// damaged one.)
#[derive(Clone, Copy)]
pub struct Node<'a> {
    bytes: &'a [u8],
    depth: u8,
}

/// What a node is.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(&'a str),
    List(List<'a>),
    Map(Map<'a>),
    /// Not the bytes of a document, or one nested too deeply.
    Damaged,
}

impl<'a> Node<'a> {
    pub fn root(bytes: &'a [u8]) -> Self {
        Self { bytes, depth: 0 }
    }

    /// The bytes of this value alone: a document of its own.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    pub fn view(self) -> View<'a> {
        let Some((&tag, payload)) = self.bytes.split_last() else { return View::Damaged };
        self.read(tag, payload).unwrap_or(View::Damaged)
    }

    fn read(self, tag: u8, payload: &'a [u8]) -> Option<View<'a>> {
        if self.depth > MAX_DEPTH {
            return None;
        }
        Some(match tag {
            tag::NULL if payload.is_empty() => View::Null,
            tag::FALSE if payload.is_empty() => View::Bool(false),
            tag::TRUE if payload.is_empty() => View::Bool(true),
            tag::INTEGER => View::Number(i64::from_le_bytes(payload.try_into().ok()?).into()),
            tag::UNSIGNED => View::Number(u64::from_le_bytes(payload.try_into().ok()?).into()),
            tag::FLOAT => {
                let value = f64::from_le_bytes(payload.try_into().ok()?);
                View::Number(value.is_finite().then_some(value)?.into())
            }
            tag::STRING => View::String(std::str::from_utf8(payload).ok()?),
            tag::LIST => View::List(List(Table::read(payload, 1, self.depth)?)),
            tag::MAP => View::Map(Map(Table::read(payload, 2, self.depth)?)),
            _ => return None,
        })
    }

    /// The member of a map.
    pub fn get(self, key: &str) -> Option<Node<'a>> {
        self.map()?.get(key)
    }

    /// The value at the end of a chain of members.
    pub fn at(self, path: &[&str]) -> Option<Node<'a>> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    pub fn as_str(self) -> Option<&'a str> {
        if let View::String(text) = self.view() { Some(text) } else { None }
    }

    pub fn as_i64(self) -> Option<i64> {
        if let View::Number(number) = self.view() { number.as_i64() } else { None }
    }

    pub fn as_bool(self) -> Option<bool> {
        if let View::Bool(value) = self.view() { Some(value) } else { None }
    }

    pub fn list(self) -> Option<List<'a>> {
        if let View::List(list) = self.view() { Some(list) } else { None }
    }

    pub fn map(self) -> Option<Map<'a>> {
        if let View::Map(map) = self.view() { Some(map) } else { None }
    }

    pub fn is_null(self) -> bool {
        matches!(self.view(), View::Null)
    }

    pub fn is_damaged(self) -> bool {
        matches!(self.view(), View::Damaged)
    }

    /// The value as a tree. Damaged parts become null.
    pub fn to_value(self) -> Value {
        match self.view() {
            View::Null | View::Damaged => Value::Null,
            View::Bool(value) => Value::Bool(value),
            View::Number(value) => Value::Number(value.to_json()),
            View::String(value) => Value::String(value.to_owned()),
            View::List(list) => Value::Array(list.iter().map(Node::to_value).collect()),
            View::Map(map) => {
                Value::Object(map.iter().map(|(key, value)| (key.to_owned(), value.to_value())).collect())
            }
        }
    }
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_value().fmt(f)
    }
}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_damaged() { f.write_str("damaged") } else { fmt::Display::fmt(self, f) }
    }
}

/// The slices that a list or map consists of: `columns` for each entry, one after the other.
#[derive(Clone, Copy, Debug)]
struct Table<'a> {
    body: &'a [u8],
    ends: &'a [u8],
    columns: usize,
    depth: u8,
}

impl<'a> Table<'a> {
    fn read(payload: &'a [u8], columns: usize, depth: u8) -> Option<Self> {
        let (rest, count) = payload.split_last_chunk::<WORD>()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let table = count.checked_mul(columns * WORD)?;
        let (body, ends) = rest.split_at_checked(rest.len().checked_sub(table)?)?;
        Some(Self { body, ends, columns, depth: depth + 1 })
    }

    fn entries(self) -> usize {
        self.ends.len() / WORD / self.columns
    }

    /// Where the slice with this number ends.
    fn end(self, slice: usize) -> Option<usize> {
        let end = self.ends.get(slice * WORD..)?.first_chunk::<WORD>()?;
        usize::try_from(u32::from_le_bytes(*end)).ok()
    }

    fn slice(self, slice: usize) -> Option<&'a [u8]> {
        let start = if slice == 0 { 0 } else { self.end(slice - 1)? };
        self.body.get(start..self.end(slice)?)
    }

    fn key(self, entry: usize) -> Option<&'a str> {
        std::str::from_utf8(self.slice(entry * self.columns)?).ok()
    }

    /// The value of an entry; its slice is the last of its columns. Nothing stands for what cannot be read.
    fn value(self, entry: usize) -> Node<'a> {
        Node { bytes: self.slice((entry + 1) * self.columns - 1).unwrap_or_default(), depth: self.depth }
    }

    /// Entries one after the other, up to one that begins before its predecessor ended: entries of a damaged table
    /// could else share bytes, and a walk over them take exponential time.
    fn walk(self) -> impl Iterator<Item = usize> + use<'a> {
        let mut reached = 0;
        (0..self.entries()).take_while(move |entry| {
            (entry * self.columns..(entry + 1) * self.columns).all(|slice| {
                let end = self.end(slice).filter(|end| *end >= reached);
                reached = end.unwrap_or(reached);
                end.is_some()
            })
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub struct List<'a>(Table<'a>);

impl<'a> List<'a> {
    pub fn len(self) -> usize {
        self.0.entries()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn get(self, index: usize) -> Option<Node<'a>> {
        (index < self.len()).then(|| self.0.value(index))
    }

    pub fn iter(self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        self.0.walk().map(move |index| self.0.value(index))
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Map<'a>(Table<'a>);

impl<'a> Map<'a> {
    pub fn len(self) -> usize {
        self.0.entries()
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn get(self, key: &str) -> Option<Node<'a>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.0.slice(middle * 2)?.cmp(key.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(self.0.value(middle)),
            }
        }
        None
    }

    /// The members, in the order of their keys.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, Node<'a>)> + use<'a> {
        self.0.walk().map_while(move |entry| Some((self.0.key(entry)?, self.0.value(entry))))
    }
}
