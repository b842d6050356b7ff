//! One object in a snapshot.
//!
//! ```text
//! length of the head   4 bytes, little endian
//! head                 flat document: id, version, position in Git, …
//! canonical            flat document, empty while the object is not canonicalised yet
//! ```
//!
//! The canonical object is a document of its own: that of an unchanged object is copied, never encoded again, and
//! comparing touches no other byte.

use serde_json::{Map, Value};

use super::format::{Record, entry_checksum};
use super::history::{self, History, HistoryDraft};
use super::{SnapshotError, lines};
use crate::compare::Path;
use crate::document::{Document, Node};
use crate::object::{ObjectId, ObjectRef};
use crate::render::LineTree;

/// Why an object has a desired state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryClass {
    /// Git declares it.
    Declared,
    /// It was there, and not in Git, when enforcement began.
    Baseline,
    /// It left Git and was not pruned: frozen, and anybody may delete it.
    Retained,
}

impl EntryClass {
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Declared => 0,
            Self::Baseline => 1,
            Self::Retained => 2,
        }
    }

    fn from_number(number: u16) -> Option<Self> {
        [Self::Declared, Self::Baseline, Self::Retained].into_iter().find(|class| class.number() == number)
    }
}

/// What a reconciler says of one object.
#[derive(Clone, Debug)]
pub struct EntryDraft {
    pub id: ObjectId,
    pub class: EntryClass,
    /// Index in the sources of the snapshot's meta section.
    pub source: Option<usize>,
    /// API version of the canonical object: `apps/v1`.
    pub version: String,
    /// The desired state. None while the API server could not be asked: then nothing but no change is admitted.
    pub canonical: Option<Value>,
    /// Digest of the manifest.
    pub inputs: String,
    /// File in the source, for messages.
    pub file: Option<String>,
    pub lines: Option<LineTree>,
    /// Git allows to delete and create the object where a field cannot be changed in place.
    pub recreate: bool,
    pub uid: Option<String>,
    /// Why the object cannot be canonicalised or applied.
    pub problem: Option<String>,
    pub history: HistoryDraft,
}

impl EntryDraft {
    pub(super) fn encode(&self) -> Result<Vec<u8>, SnapshotError> {
        let head = Document::from_value(&Value::Object(self.head()));
        let canonical = self.canonical.as_ref().map(Document::from_value);
        join(self.id.as_ref(), &head, canonical.as_ref().map_or(&[][..], Document::as_bytes))
    }

    fn head(&self) -> Map<String, Value> {
        let mut head = Map::new();
        for (name, value) in [
            ("group", Some(&self.id.kind.group)),
            ("kind", Some(&self.id.kind.kind)),
            ("namespace", Some(&self.id.namespace)),
            ("name", Some(&self.id.name)),
            ("version", Some(&self.version)),
            ("inputs", Some(&self.inputs)),
            ("file", self.file.as_ref()),
            ("uid", self.uid.as_ref()),
            ("problem", self.problem.as_ref()),
        ] {
            if let Some(value) = value {
                head.insert(name.to_owned(), value.as_str().into());
            }
        }
        if let Some(lines) = &self.lines {
            head.insert("lines".to_owned(), lines::encode(lines));
        }
        self.history.encode(&mut head);
        if self.recreate {
            head.insert("recreate".to_owned(), true.into());
        }
        head
    }
}

fn join(id: ObjectRef<'_>, head: &Document, canonical: &[u8]) -> Result<Vec<u8>, SnapshotError> {
    let head = head.as_bytes();
    let length = u32::try_from(head.len()).map_err(|_| SnapshotError::TooLarge { what: id.to_owned().to_string() })?;
    let mut bytes = Vec::with_capacity(4 + head.len() + canonical.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(canonical);
    Ok(bytes)
}

/// One object of an open snapshot, proven intact.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    record: Record,
    class: EntryClass,
    id: ObjectRef<'a>,
    head: Node<'a>,
    canonical: Option<Node<'a>>,
}

impl<'a> Entry<'a> {
    /// The entry that a record describes, where `bytes` are those that the record points at. None: damaged.
    pub(super) fn read(bytes: &'a [u8], record: Record) -> Option<Self> {
        if entry_checksum(bytes) != record.checksum {
            return None;
        }
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (head, canonical) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let head = Node::root(head);
        let text = |name| head.get(name).and_then(Node::as_str);
        let id = ObjectRef {
            group: text("group")?,
            kind: text("kind")?,
            namespace: text("namespace")?,
            name: text("name")?,
        };
        let class = EntryClass::from_number(record.class)?;
        let canonical = (!canonical.is_empty()).then(|| Node::root(canonical));
        Some(Self { record, class, id, head, canonical })
    }

    pub fn id(&self) -> ObjectRef<'a> {
        self.id
    }

    pub fn class(&self) -> EntryClass {
        self.class
    }

    /// Index in the sources of the snapshot's meta section.
    pub fn source(&self) -> Option<usize> {
        self.record.source.map(usize::from)
    }

    /// API version of the canonical object: `apps/v1`.
    pub fn version(&self) -> &'a str {
        self.text("version").unwrap_or_default()
    }

    /// The desired state. None: the API server could not be asked yet, so that it is not known.
    pub fn canonical(&self) -> Option<Node<'a>> {
        self.canonical
    }

    /// Digest of the manifest.
    pub fn inputs(&self) -> &'a str {
        self.text("inputs").unwrap_or_default()
    }

    pub fn file(&self) -> Option<&'a str> {
        self.text("file")
    }

    /// Line in the file of the field at `path`, or of what is nearest above it in the manifest.
    pub fn line(&self, path: &Path) -> Option<u32> {
        lines::nearest(self.head.get("lines")?, self.canonical, path)
    }

    /// Line in the file where the manifest begins.
    pub fn first_line(&self) -> Option<u32> {
        lines::first(self.head.get("lines")?)
    }

    /// Git allows to delete and create the object where a field cannot be changed in place.
    pub fn recreate(&self) -> bool {
        self.head.get("recreate").and_then(Node::as_bool) == Some(true)
    }

    pub fn uid(&self) -> Option<&'a str> {
        self.text("uid")
    }

    /// Why the object cannot be canonicalised or applied.
    pub fn problem(&self) -> Option<&'a str> {
        self.text("problem")
    }

    /// The entry as it is written with another history.
    pub(super) fn encode_with(&self, history: &HistoryDraft) -> Result<Vec<u8>, SnapshotError> {
        let mut head = self.head.to_value();
        history::replace(&mut head, history);
        join(self.id, &Document::from_value(&head), self.canonical.map_or(&[][..], Node::as_bytes))
    }

    /// Templates from which children were made before.
    pub fn history(&self) -> History<'a> {
        History(self.head)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.head.get(name).and_then(Node::as_str)
    }
}
