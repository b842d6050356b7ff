//! A file as memory. The only place of gitadel where the compiler's guarantees are suspended.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::Mmap;

/// A file mapped read-only.
#[derive(Debug)]
pub(super) struct Mapping(Mmap);

impl Mapping {
    /// Maps a file.
    ///
    /// Reading it into memory instead would need no `unsafe`, but twice the memory while one snapshot replaces another,
    /// and at each start as long as the file is large.
    #[allow(unsafe_code)]
    pub fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the bytes must not change while they are borrowed. Nobody changes a snapshot in place: the only writer
        // makes a new file and renames it over the old name, and the old file lives on, unchanged and nameless, as long
        // as it is mapped. The volume is shared with that writer alone. Should somebody break this rule all the same,
        // what is read is still only bytes: no reference into the file has a type with invalid values except `str`, and
        // text is validated each time it is read from the bytes. A file truncated in place ends the process by SIGBUS:
        // fail-closed, and restarted by the kubelet.
        unsafe { Mmap::map(file) }.map(Self)
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_outlives_the_name_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("snapshot"), directory.path().join("next"));
        std::fs::write(&path, b"first").unwrap();
        std::fs::write(&other, b"next").unwrap();
        let mapping = Mapping::new(&File::open(&path).unwrap()).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(&mapping[..], b"first");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&mapping[..], b"first");
    }

    #[test]
    fn an_empty_file_is_no_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("empty");
        std::fs::write(&path, b"").unwrap();
        assert!(Mapping::new(&File::open(&path).unwrap()).unwrap().is_empty());
    }
}
