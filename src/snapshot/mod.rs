//! The desired state as one file: the only thing between the reconciler, which writes it, and the webhook, which reads it.
//!
//! The file is written in one pass and renamed into place, mapped into memory and never parsed as a whole: opening costs
//! as much as its index, a look-up touches one entry, and the previous file stays in force until the next one is proven
//! good. The bytes are laid out in `format`.

mod entry;
mod error;
mod file;
mod format;
mod history;
mod lines;
mod map;
mod meta;
mod open;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod write;

#[cfg(test)]
mod tests;

pub use entry::{Entry, EntryClass, EntryDraft};
pub use error::SnapshotError;
pub use file::{FileStamp, watch_file};
pub use history::{History, HistoryDraft};
pub use meta::{DelegatedFields, KindInfo, Meta, Misdirected, Source, answering};
pub use open::Snapshot;
pub use store::SnapshotStore;
pub use write::{SnapshotWriter, preparing_path};

/// Name of the snapshot in the directory that reconciler and webhook share.
pub const FILE_NAME: &str = "snapshot";
