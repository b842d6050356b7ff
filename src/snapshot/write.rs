//! Writing a snapshot in one pass, beside the one in force, which the last step replaces.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::entry::{Entry, EntryDraft};
use super::format::{self, HEADER_LENGTH, Header, Record, Section};
use super::{HistoryDraft, Meta, Snapshot, SnapshotError};
use crate::object::{ObjectId, ObjectRef};

/// Where a snapshot is prepared that will replace the one at `path`.
pub fn preparing_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".preparing");
    path.with_file_name(name)
}

/// A snapshot in preparation. Dropped before [`finish`](Self::finish), it leaves nothing behind.
///
/// Entries go straight to the file, so that ten thousand objects need no memory for more than one.
#[derive(Debug)]
pub struct SnapshotWriter {
    path: PathBuf,
    preparing: Preparing,
    encoder: Encoder<BufWriter<File>>,
}

impl SnapshotWriter {
    /// Begins a snapshot that [`finish`](Self::finish) puts in the place of `path`. From here on webhooks know that one
    /// is in preparation.
    ///
    /// # Errors
    /// The directory cannot be written, or is full.
    pub fn create(path: &Path, meta: &Meta) -> Result<Self, SnapshotError> {
        let preparing = Preparing { path: preparing_path(path), renamed: false };
        let failed = |source| SnapshotError::Write { path: path.to_owned(), source };
        // Read as well: what is put in place is opened without its name, which may be another file's by then.
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&preparing.path);
        let file = file.map_err(failed)?;
        let encoder = Encoder::new(BufWriter::with_capacity(1 << 20, file), meta).map_err(failed)?;
        Ok(Self { path: path.to_owned(), preparing, encoder })
    }

    /// Adds an object.
    ///
    /// # Errors
    /// The object is there already, names an unknown source, or cannot be written.
    pub fn put(&mut self, draft: &EntryDraft) -> Result<(), SnapshotError> {
        self.put_with_digest(draft, format::digest(draft.id.as_ref()))
    }

    pub(super) fn put_with_digest(&mut self, draft: &EntryDraft, digest: [u8; 32]) -> Result<(), SnapshotError> {
        self.check_source(draft.id.as_ref(), draft.source)?;
        let bytes = draft.encode()?;
        let about = About {
            source: draft.source.and_then(Record::source_number),
            class: draft.class.number(),
            checksum: format::entry_checksum(&bytes),
        };
        self.append(draft.id.as_ref(), digest, &bytes, about)
    }

    /// Adds an entry of another snapshot with another history. `source` is the number of its source in this one.
    ///
    /// # Errors
    /// As for [`put`](Self::put).
    pub fn put_with_history(
        &mut self,
        entry: &Entry<'_>,
        source: Option<usize>,
        history: &HistoryDraft,
    ) -> Result<(), SnapshotError> {
        self.check_source(entry.id(), source)?;
        let bytes = entry.encode_with(history)?;
        let about = About {
            source: source.and_then(Record::source_number),
            class: entry.class().number(),
            checksum: format::entry_checksum(&bytes),
        };
        self.append(entry.id(), format::digest(entry.id()), &bytes, about)
    }

    /// As [`finish`](Self::finish), with all that another snapshot holds beside what was put into this one and what is
    /// `removed`. `source` tells the number of a source in this one; the objects of a source that has none are left out.
    ///
    /// They are copied unread, so that a change of one object costs little among ten thousand. One that is damaged stays
    /// so, and is found where it is used. Returns the file that is in place.
    ///
    /// # Errors
    /// As for [`put`](Self::put) and [`finish`](Self::finish).
    pub fn finish_over(
        mut self,
        before: &Snapshot,
        removed: &HashSet<ObjectId>,
        source: impl Fn(usize) -> Option<usize>,
    ) -> Result<File, SnapshotError> {
        let removed = removed.iter().map(|id| format::digest(id.as_ref()));
        let superseded: HashSet<[u8; 32]> = self.encoder.known.iter().copied().chain(removed).collect();
        let hashes: HashSet<u64> = superseded.iter().map(format::leading).collect();
        for (record, bytes) in before.records() {
            let bytes = bytes.ok_or(SnapshotError::Damaged("an entry lies outside of the file"))?;
            let gone = hashes.contains(&record.hash)
                && Entry::read(bytes, record).is_none_or(|e| superseded.contains(&format::digest(e.id())));
            let number = record.source.map(|number| source(usize::from(number)));
            if gone || number == Some(None) {
                continue;
            }
            let source = number.flatten().and_then(Record::source_number);
            self.write(|encoder| encoder.copy(record, source, bytes))?;
        }
        Ok(self.put_in_place()?.0)
    }

    /// Puts the snapshot in the place of the one before, and tells its size in bytes.
    ///
    /// # Errors
    /// It cannot be written: the one before stays.
    pub fn finish(self) -> Result<u64, SnapshotError> {
        Ok(self.put_in_place()?.1)
    }

    /// Returns the file and its length.
    fn put_in_place(self) -> Result<(File, u64), SnapshotError> {
        let Self { path, mut preparing, encoder } = self;
        let failed = |source| SnapshotError::Write { path: path.clone(), source };
        let (length, buffered) = encoder.finish().map_err(failed)?;
        let file = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&preparing.path, &path).map_err(failed)?;
        preparing.renamed = true;
        // The new name is durable only when the directory is. Should this fail, a crash of the node brings back the
        // snapshot before, which is whole as well.
        if let Some(Ok(directory)) = path.parent().map(File::open) {
            directory.sync_all().map_err(failed)?;
        }
        Ok((file, length))
    }

    fn append(&mut self, id: ObjectRef<'_>, digest: [u8; 32], bytes: &[u8], about: About) -> Result<(), SnapshotError> {
        let added = self.write(|encoder| encoder.append(digest, bytes, about))?;
        if added { Ok(()) } else { Err(SnapshotError::Duplicate { id: id.to_owned() }) }
    }

    fn write<T>(
        &mut self,
        write: impl FnOnce(&mut Encoder<BufWriter<File>>) -> io::Result<T>,
    ) -> Result<T, SnapshotError> {
        write(&mut self.encoder).map_err(|source| SnapshotError::Write { path: self.path.clone(), source })
    }

    fn check_source(&self, id: ObjectRef<'_>, source: Option<usize>) -> Result<(), SnapshotError> {
        let sources = self.encoder.sources;
        match source {
            Some(index) if index >= sources || Record::source_number(index).is_none() => {
                Err(SnapshotError::UnknownSource { id: id.to_owned(), index, sources })
            }
            _ => Ok(()),
        }
    }
}

/// The file's name in preparation, removed unless it was renamed.
#[derive(Debug)]
struct Preparing {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Preparing {
    fn drop(&mut self) {
        if !self.renamed
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "an unfinished snapshot cannot be removed");
        }
    }
}

/// What the index says of an entry beside where it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    source: Option<u16>,
    class: u16,
    checksum: [u8; 16],
}

/// The format, apart from where it goes.
#[derive(Debug)]
pub(super) struct Encoder<W> {
    out: W,
    meta: Vec<u8>,
    sources: usize,
    records: Vec<Record>,
    known: HashSet<[u8; 32]>,
    /// Length of the entries so far.
    entries: u64,
    /// A write failed half-way: what is in the file is not what the records say.
    broken: bool,
}

impl<W: Write + Seek> Encoder<W> {
    pub(super) fn new(mut out: W, meta: &Meta) -> io::Result<Self> {
        let sources = meta.sources.len();
        let meta = serde_json::to_vec(meta)?;
        // The header is known at the end. Until then the file is no snapshot.
        out.write_all(&[0; HEADER_LENGTH])?;
        out.write_all(&meta)?;
        Ok(Self { out, meta, sources, records: Vec::new(), known: HashSet::new(), entries: 0, broken: false })
    }

    /// Whether the entry was added: false where its id is there already.
    pub(super) fn append(&mut self, digest: [u8; 32], bytes: &[u8], about: About) -> io::Result<bool> {
        if !self.known.insert(digest) {
            return Ok(false);
        }
        self.add(format::leading(&digest), bytes, about)?;
        Ok(true)
    }

    /// Adds an entry of another snapshot, whose id is not there yet.
    fn copy(&mut self, record: Record, source: Option<u16>, bytes: &[u8]) -> io::Result<()> {
        self.add(record.hash, bytes, About { source, class: record.class, checksum: record.checksum })
    }

    fn add(&mut self, hash: u64, bytes: &[u8], about: About) -> io::Result<()> {
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "an object of more than 4 GiB");
        let length = u32::try_from(bytes.len()).map_err(|_| too_large())?;
        self.broken = true;
        self.out.write_all(bytes)?;
        self.broken = false;
        let About { source, class, checksum } = about;
        self.records.push(Record { hash, offset: self.entries, length, source, class, checksum });
        self.entries += u64::from(length);
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<(u64, W)> {
        if self.broken {
            return Err(io::Error::other("an object before could not be written"));
        }
        // Stable, so that the same entries in the same order make the same file.
        self.records.sort_by_key(|record| record.hash);
        let index: Vec<u8> = self.records.iter().flat_map(Record::encode).collect();
        let (directory, directory_bits) = format::directory(&self.records);
        self.out.write_all(&index)?;
        self.out.write_all(&directory)?;

        let mut end = HEADER_LENGTH as u64;
        let mut section = |length: u64| {
            let start = end;
            end += length;
            Section { start, length }
        };
        let header = Header {
            meta: section(self.meta.len() as u64),
            entries: section(self.entries),
            index: section(index.len() as u64),
            directory: section(directory.len() as u64),
            directory_bits,
            length: end,
        };
        let encoded = header.encode();
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&encoded)?;
        self.out.write_all(format::checksum(&encoded, [&self.meta, &index, &directory]).as_bytes())?;
        self.out.flush()?;
        Ok((header.length, self.out))
    }
}
