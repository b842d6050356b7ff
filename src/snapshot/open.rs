//! An open snapshot: look-ups that touch one entry.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use super::entry::Entry;
use super::format::{Header, Index, Record, digest, leading};
use super::map::Mapping;
use super::{KindInfo, Meta, SnapshotError};
use crate::object::ObjectRef;

/// The desired state of a cluster, as one reconciler knew it at one moment.
#[derive(Debug)]
pub struct Snapshot {
    mapping: Mapping,
    entries: Range<usize>,
    records: Range<usize>,
    directory: Range<usize>,
    directory_bits: u32,
    meta: Meta,
    kinds: NameIndex,
    resources: NameIndex,
}

/// group → kind or resource → position in the kinds of the meta section. Two levels, so that a look-up needs no owned key.
type NameIndex = HashMap<String, HashMap<String, usize>>;

impl Snapshot {
    /// Opens a snapshot, and proves it whole, of this format, and of this cluster (UID of the Namespace `kube-system`)
    /// where one is given.
    ///
    /// # Errors
    /// Whatever makes the file no snapshot to decide by.
    pub fn open(path: &Path, cluster: Option<&str>) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        Self::from_file(path, &file, cluster)
    }

    /// As [`open`](Self::open), of a file that is open already and was found at `path`.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn from_file(path: &Path, file: &File, cluster: Option<&str>) -> Result<Self, SnapshotError> {
        let mapping = Mapping::new(file).map_err(|error| unreadable(path, error))?;
        let header = Header::read(&mapping)?;
        let range = |section: super::format::Section| {
            section.range(mapping.len()).ok_or(SnapshotError::Damaged("a section lies outside of the file"))
        };
        let meta: Meta = serde_json::from_slice(&mapping[range(header.meta)?])
            .map_err(|_| SnapshotError::Damaged("its meta section cannot be read"))?;
        if let Some(expected) = cluster
            && meta.cluster != expected
        {
            return Err(SnapshotError::OtherCluster { found: meta.cluster, expected: expected.to_owned() });
        }
        let (kinds, resources) = (name_index(&meta.kinds, |k| &k.kind), name_index(&meta.kinds, |k| &k.resource));
        Ok(Self {
            entries: range(header.entries)?,
            records: range(header.index)?,
            directory: range(header.directory)?,
            directory_bits: header.directory_bits,
            mapping,
            meta,
            kinds,
            resources,
        })
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The entry of an object; None: the snapshot does not hold it.
    ///
    /// # Errors
    /// The entry is damaged: what Git says of the object is not known, so that nothing may be admitted.
    pub fn get(&self, id: ObjectRef<'_>) -> Result<Option<Entry<'_>>, SnapshotError> {
        self.get_hashed(leading(&digest(id)), id)
    }

    /// Two ids may have one hash: only an entry with the whole id is the object's.
    pub(super) fn get_hashed(&self, hash: u64, id: ObjectRef<'_>) -> Result<Option<Entry<'_>>, SnapshotError> {
        for record in self.index().with_hash(hash) {
            let entry = self.entry(record).ok_or_else(|| SnapshotError::DamagedEntry { id: id.to_string() })?;
            if entry.id() == id {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Every entry, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Entry<'_>, SnapshotError>> {
        (0..self.len()).map(|position| {
            let entry = self.index().get(position).and_then(|record| self.entry(record));
            entry.ok_or_else(|| SnapshotError::DamagedEntry { id: format!("object number {position}") })
        })
    }

    /// The records with the bytes of their entries, unread; None: these lie outside of the file.
    pub(super) fn records(&self) -> impl Iterator<Item = (Record, Option<&[u8]>)> {
        (0..self.len()).filter_map(|position| self.index().get(position)).map(|record| (record, self.bytes(record)))
    }

    pub fn len(&self) -> usize {
        self.index().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn kind(&self, group: &str, kind: &str) -> Option<&KindInfo> {
        self.meta.kinds.get(*self.kinds.get(group)?.get(kind)?)
    }

    /// The kind of a resource, in this version where it is in use.
    pub fn resource(&self, group: &str, version: &str, resource: &str) -> Option<&KindInfo> {
        let first = self.meta.kinds.get(*self.resources.get(group)?.get(resource)?)?;
        if first.version == version {
            return Some(first);
        }
        let mut kinds = self.meta.kinds.iter().filter(|kind| kind.group == group && kind.resource == resource);
        Some(kinds.find(|kind| kind.version == version).unwrap_or(first))
    }

    fn index(&self) -> Index<'_> {
        Index {
            records: &self.mapping[self.records.clone()],
            directory: &self.mapping[self.directory.clone()],
            bits: self.directory_bits,
        }
    }

    fn entry(&self, record: Record) -> Option<Entry<'_>> {
        Entry::read(self.bytes(record)?, record)
    }

    fn bytes(&self, record: Record) -> Option<&[u8]> {
        let start = usize::try_from(record.offset).ok()?;
        let end = start.checked_add(usize::try_from(record.length).ok()?)?;
        self.mapping[self.entries.clone()].get(start..end)
    }
}

fn unreadable(path: &Path, error: io::Error) -> SnapshotError {
    match error.kind() {
        io::ErrorKind::NotFound => SnapshotError::Missing { path: path.to_owned() },
        _ => SnapshotError::Read { path: path.to_owned(), source: error },
    }
}

fn name_index(kinds: &[KindInfo], name: impl Fn(&KindInfo) -> &String) -> NameIndex {
    let mut index = NameIndex::new();
    for (position, kind) in kinds.iter().enumerate() {
        // Discovery lists the preferred kind first.
        index.entry(kind.group.clone()).or_default().entry(name(kind).clone()).or_insert(position);
    }
    index
}
