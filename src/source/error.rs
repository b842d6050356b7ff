//! What can go wrong with a Git source, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Messages name the URL without its user and password.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{url} is not a usable Git URL: {reason}; use https://…, ssh://… or user@host:path")]
    Url { url: String, reason: String },
    #[error("cannot keep a copy of {url} in {}: {reason}; the directory must be writable", dir.display())]
    Store { url: String, dir: PathBuf, reason: String },
    #[error("credentials {name:?}: {reason}")]
    Credentials { name: String, reason: String },
    #[error("{url} asks for authentication: {hint}")]
    Authentication { url: String, hint: String },
    #[error("{url} has no {reference}; correct the source or push it")]
    NoReference { url: String, reference: String },
    #[error(
        "commit {commit} is not in {url}, neither on a branch or tag nor given out by its id; push it or correct the source"
    )]
    NoCommit { url: String, commit: String },
    #[error("{reference} of {url} is no commit but a {kind}; point the source at a commit")]
    NotACommit { url: String, reference: String, kind: String },
    #[error("cannot fetch {reference} from {url}: {reason}")]
    Fetch { url: String, reference: String, reason: String },
    #[error("{url} did not finish answering within {} s; check the server and the network to it", after.as_secs())]
    Timeout { url: String, after: Duration },
    #[error("{fetches} earlier fetches of {url} still hang; check the server, or restart the reconciler")]
    Hanging { url: String, fetches: usize },
    #[error("{url} is being fetched already")]
    Busy { url: String },
    #[error("the fetch of {url} was given up because gitadel stops")]
    Aborted { url: String },
    #[error("there is no directory {path:?} in {commit}; correct the path of the source")]
    NoPath { path: String, commit: String },
    #[error("{path:?} in {commit} is no directory; the path of the source must name a directory")]
    NotADirectory { path: String, commit: String },
    #[error(
        "{path:?} in {commit} holds more than {limit} files and directories; point the source at a smaller directory"
    )]
    TooManyFiles { path: String, commit: String, limit: usize },
    #[error("{file} has {size} bytes, the limit is {limit}")]
    TooLarge { file: String, size: u64, limit: u64 },
    /// The local copy lacks something that it should have.
    #[error("the local copy of {url} is damaged: {reason}; the next fetch brings everything anew")]
    Damaged { url: String, reason: String },
}

impl SourceError {
    /// For a condition, so that nobody looks for a network that is fine.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Url { .. } => "InvalidURL",
            Self::Store { .. } => "StoreUnusable",
            Self::Credentials { .. } => "CredentialsUnusable",
            Self::Authentication { .. } => "AuthenticationFailed",
            Self::NoReference { .. } | Self::NoCommit { .. } | Self::NotACommit { .. } => "RevisionNotFound",
            Self::NoPath { .. } | Self::NotADirectory { .. } => "PathNotFound",
            Self::TooManyFiles { .. } | Self::TooLarge { .. } => "TooLarge",
            Self::Damaged { .. } => "CopyDamaged",
            Self::Fetch { .. }
            | Self::Timeout { .. }
            | Self::Hanging { .. }
            | Self::Busy { .. }
            | Self::Aborted { .. } => "Unreachable",
        }
    }
}
