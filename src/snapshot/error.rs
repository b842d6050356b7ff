//! Why a snapshot cannot be used or written.

use std::io;
use std::path::PathBuf;

use crate::object::ObjectId;

#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("there is no snapshot at {path}: the reconciler writes it once it has read Git; look at its log")]
    Missing { path: PathBuf },
    #[error("the snapshot {path} cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the snapshot {path} cannot be written, the previous one stays in force: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("this is no gitadel snapshot: another file was put in its place")]
    Foreign,
    #[error(
        "the snapshot has format {found}, this gitadel reads format {supported}: run the same version as webhook and as reconciler"
    )]
    Format { found: u32, supported: u32 },
    #[error("the snapshot is damaged ({0}): delete the file, the reconciler writes a new one")]
    Damaged(&'static str),
    #[error("the entry of {id} in the snapshot is damaged: delete the file, the reconciler writes a new one")]
    DamagedEntry { id: String },
    #[error(
        "the snapshot belongs to the cluster {found}, not to {expected} (UIDs of kube-system): the volume was shared between clusters"
    )]
    OtherCluster { found: String, expected: String },
    #[error("{id} is in the snapshot twice: two sources declare it, or it is declared and baseline")]
    Duplicate { id: ObjectId },
    #[error("{id} names source {index}, but the snapshot has {sources} sources")]
    UnknownSource { id: ObjectId, index: usize, sources: usize },
    #[error("{what} is too large for a snapshot")]
    TooLarge { what: String },
    #[error("the directory {path} cannot be watched for snapshots: {source}")]
    Watch { path: PathBuf, source: notify::Error },
}

impl SnapshotError {
    /// A word for metrics: few and fixed.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Read { .. } => "unreadable",
            Self::Write { .. } | Self::TooLarge { .. } => "unwritable",
            Self::Foreign => "foreign",
            Self::Format { .. } => "format",
            Self::Damaged(_) | Self::DamagedEntry { .. } => "damaged",
            Self::OtherCluster { .. } => "other_cluster",
            Self::Duplicate { .. } | Self::UnknownSource { .. } => "inconsistent",
            Self::Watch { .. } => "unwatched",
        }
    }
}
