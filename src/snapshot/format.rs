//! The layout of a snapshot file, little endian throughout:
//!
//! ```text
//! header     128 bytes: magic, format, length of the file, where the sections are, checksum
//! meta       JSON
//! entries    one after the other, see `entry`
//! index      one record for each entry, sorted by the hash of its id
//! directory  for every value of the leading bits of a hash, the first record at or after it
//! ```
//!
//! The checksum covers header, meta, index and directory: what is needed to find an entry. Each record holds the checksum
//! of its entry, which is verified whenever the entry is read, so that opening does not touch 50,000 objects. The
//! directory has about as many slots as there are entries, so that a look-up takes the same few steps however many
//! there are.

use std::ops::Range;

use super::SnapshotError;
use crate::object::ObjectRef;

pub(super) const MAGIC: [u8; 8] = *b"gitadel\n";
pub(super) const FORMAT: u32 = 1;
pub(super) const HEADER_LENGTH: usize = 128;
pub(super) const RECORD_LENGTH: usize = 40;
const CHECKSUM_AT: usize = HEADER_LENGTH - blake3::OUT_LEN;
const NO_SOURCE: u16 = u16::MAX;
/// More slots than this do not make a look-up faster for any number of objects that fits into memory.
const MAX_DIRECTORY_BITS: u32 = 24;

/// Where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub length: u64,
    pub meta: Section,
    pub entries: Section,
    pub index: Section,
    pub directory: Section,
    pub directory_bits: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub start: u64,
    pub length: u64,
}

impl Section {
    /// The section's place in a file of `length` bytes, if it lies within it.
    pub fn range(self, length: usize) -> Option<Range<usize>> {
        let start = usize::try_from(self.start).ok()?;
        let end = start.checked_add(usize::try_from(self.length).ok()?)?;
        (end <= length).then_some(start..end)
    }
}

impl Header {
    /// Everything but the checksum.
    pub fn encode(&self) -> [u8; CHECKSUM_AT] {
        let mut bytes = [0; CHECKSUM_AT];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.directory_bits.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        for (n, section) in [self.meta, self.entries, self.index, self.directory].into_iter().enumerate() {
            let at = 24 + 16 * n;
            bytes[at..at + 8].copy_from_slice(&section.start.to_le_bytes());
            bytes[at + 8..at + 16].copy_from_slice(&section.length.to_le_bytes());
        }
        bytes
    }

    /// Reads the header of a file and proves it, the meta section, the index and the directory intact.
    pub fn read(file: &[u8]) -> Result<Self, SnapshotError> {
        // A file of another kind is told apart from a truncated one as far as its length allows.
        if file.is_empty() {
            return Err(SnapshotError::Damaged("it is empty"));
        }
        if !file.starts_with(&MAGIC[..MAGIC.len().min(file.len())]) {
            return Err(SnapshotError::Foreign);
        }
        let Some(header) = file.first_chunk::<HEADER_LENGTH>() else {
            return Err(SnapshotError::Damaged("it is truncated"));
        };
        let format = u32_at(header, 8);
        if format != FORMAT {
            return Err(SnapshotError::Format { found: format, supported: FORMAT });
        }
        let section = |n: usize| Section { start: u64_at(header, 24 + 16 * n), length: u64_at(header, 32 + 16 * n) };
        let read = Self {
            directory_bits: u32_at(header, 12),
            length: u64_at(header, 16),
            meta: section(0),
            entries: section(1),
            index: section(2),
            directory: section(3),
        };
        if usize::try_from(read.length) != Ok(file.len()) {
            return Err(SnapshotError::Damaged("it is truncated or longer than its header says"));
        }
        read.verify(file, header)?;
        Ok(read)
    }

    fn verify(&self, file: &[u8], header: &[u8; HEADER_LENGTH]) -> Result<(), SnapshotError> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&header[..CHECKSUM_AT]);
        for section in [self.meta, self.index, self.directory] {
            let range =
                section.range(file.len()).ok_or(SnapshotError::Damaged("a section lies outside of the file"))?;
            hasher.update(&file[range]);
        }
        if self.entries.range(file.len()).is_none() {
            return Err(SnapshotError::Damaged("a section lies outside of the file"));
        }
        if hasher.finalize().as_bytes() != &header[CHECKSUM_AT..] {
            return Err(SnapshotError::Damaged("its checksum is wrong"));
        }
        // Written by this program but inconsistent would be a fault of the writer: still refused, never trusted.
        let slots = 1_u64.checked_shl(self.directory_bits).and_then(|slots| slots.checked_add(1));
        if !self.index.length.is_multiple_of(RECORD_LENGTH as u64)
            || self.directory_bits > MAX_DIRECTORY_BITS
            || slots.and_then(|slots| slots.checked_mul(4)) != Some(self.directory.length)
        {
            return Err(SnapshotError::Damaged("its index has an impossible size"));
        }
        Ok(())
    }
}

/// What the index says of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub hash: u64,
    /// From the start of the entries.
    pub offset: u64,
    pub length: u32,
    /// Kept here and not in the entry, so that an unchanged entry can be copied from one snapshot to the next while the
    /// sources around it are renumbered.
    pub source: Option<u16>,
    pub class: u16,
    pub checksum: [u8; 16],
}

impl Record {
    pub fn encode(&self) -> [u8; RECORD_LENGTH] {
        let mut bytes = [0; RECORD_LENGTH];
        bytes[..8].copy_from_slice(&self.hash.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.length.to_le_bytes());
        bytes[20..22].copy_from_slice(&self.source.unwrap_or(NO_SOURCE).to_le_bytes());
        bytes[22..24].copy_from_slice(&self.class.to_le_bytes());
        bytes[24..].copy_from_slice(&self.checksum);
        bytes
    }

    fn decode(bytes: &[u8; RECORD_LENGTH]) -> Self {
        let mut checksum = [0; 16];
        checksum.copy_from_slice(&bytes[24..]);
        let source = u16::from_le_bytes([bytes[20], bytes[21]]);
        Self {
            hash: u64_at(bytes, 0),
            offset: u64_at(bytes, 8),
            length: u32_at(bytes, 16),
            source: (source != NO_SOURCE).then_some(source),
            class: u16::from_le_bytes([bytes[22], bytes[23]]),
            checksum,
        }
    }

    /// A source's number, if it can be written.
    pub fn source_number(index: usize) -> Option<u16> {
        u16::try_from(index).ok().filter(|number| *number != NO_SOURCE)
    }
}

/// The index and the directory of a file that [`Header::read`] accepted.
#[derive(Clone, Copy)]
pub(super) struct Index<'a> {
    pub records: &'a [u8],
    pub directory: &'a [u8],
    pub bits: u32,
}

impl<'a> Index<'a> {
    pub fn len(self) -> usize {
        self.records.len() / RECORD_LENGTH
    }

    pub fn get(self, position: usize) -> Option<Record> {
        let start = position.checked_mul(RECORD_LENGTH)?;
        self.records.get(start..)?.first_chunk().map(Record::decode)
    }

    /// The records with this hash: nearly always one, or none.
    pub fn with_hash(self, hash: u64) -> impl Iterator<Item = Record> + 'a {
        let slot = slot(hash, self.bits);
        let first = self.directory_slot(slot);
        let end = self.directory_slot(slot + 1).min(self.len());
        (first..end).filter_map(move |position| self.get(position)).filter(move |record| record.hash == hash)
    }

    fn directory_slot(self, slot: usize) -> usize {
        let bytes = self.directory.get(slot * 4..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
    }
}

/// The directory of records sorted by hash, and the number of bits that it tells apart.
pub(super) fn directory(records: &[Record]) -> (Vec<u8>, u32) {
    let bits = records.len().next_power_of_two().trailing_zeros().min(MAX_DIRECTORY_BITS);
    let slots = 1_usize << bits;
    let mut bytes = Vec::with_capacity((slots + 1) * 4);
    let mut position = 0_usize;
    for current in 0..=slots {
        while records.get(position).is_some_and(|record| slot(record.hash, bits) < current) {
            position += 1;
        }
        bytes.extend_from_slice(&u32::try_from(position).unwrap_or(u32::MAX).to_le_bytes());
    }
    (bytes, bits)
}

fn slot(hash: u64, bits: u32) -> usize {
    // A shift by all 64 bits is no shift in Rust: with a single slot there is nothing to tell apart.
    hash.checked_shr(u64::BITS - bits).and_then(|slot| usize::try_from(slot).ok()).unwrap_or(0)
}

pub(super) fn checksum(header: &[u8], sections: [&[u8]; 3]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(header);
    for section in sections {
        hasher.update(section);
    }
    hasher.finalize()
}

/// Identifies an object among all. Its leading 64 bits order the index.
pub(super) fn digest(id: ObjectRef<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in [id.group, id.kind, id.namespace, id.name] {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    *hasher.finalize().as_bytes()
}

/// The leading bits of a [`digest`].
pub(super) fn leading(digest: &[u8; 32]) -> u64 {
    u64_at(digest, 0)
}

pub(super) fn entry_checksum(entry: &[u8]) -> [u8; 16] {
    let mut checksum = [0; 16];
    checksum.copy_from_slice(&blake3::hash(entry).as_bytes()[..16]);
    checksum
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(hash: u64, offset: u64) -> Record {
        Record { hash, offset, length: 7, source: Some(3), class: 1, checksum: [9; 16] }
    }

    #[test]
    fn records_survive_encoding() {
        for source in [None, Some(0), Some(65_534)] {
            let record = Record { source, ..record(u64::MAX - 5, 77) };
            assert_eq!(Record::decode(&record.encode()), record);
        }
        assert_eq!(Record::source_number(65_534), Some(65_534));
        assert_eq!(Record::source_number(65_535), None, "that number says: no source");
    }

    #[test]
    fn every_hash_is_found_and_no_other() {
        for count in [0_u64, 1, 2, 3, 17, 1000] {
            // Spread over the whole range, and each second hash twice.
            let mut hashes: Vec<u64> = (0..count).map(|n| (n / 2 * 2).wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
            hashes.sort_unstable();
            let records: Vec<_> = (0_u64..).zip(&hashes).map(|(n, hash)| record(*hash, n)).collect();
            let bytes: Vec<u8> = records.iter().flat_map(Record::encode).collect();
            let (directory, bits) = directory(&records);
            let index = Index { records: &bytes, directory: &directory, bits };
            for hash in &hashes {
                let found: Vec<_> = index.with_hash(*hash).collect();
                let expected: Vec<_> = records.iter().copied().filter(|record| record.hash == *hash).collect();
                assert_eq!(found, expected, "{count} records");
                assert!(index.with_hash(hash ^ 1).next().is_none(), "{count} records");
            }
        }
    }
}
