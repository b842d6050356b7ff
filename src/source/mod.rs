//! Git repositories: where the declared state comes from.
//!
//! A source is kept as a bare repository on the reconciler's volume. Fetching is the only step that talks to the
//! network; listing and reading name a commit, so that everything after it works on one immutable state.

mod credentials;
mod error;
mod fetch;
mod history;
mod location;
mod repository;
mod transport;
mod tree;

pub use error::SourceError;
pub use repository::{CommitInfo, Repository};
pub use transport::{Transport, TransportError, Transports};
pub use tree::{Known, Listing, MAX_FILE_BYTES, ManifestFile, SkipReason, SkippedFile};
