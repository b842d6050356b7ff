//! Why a commit, or a file of it, cannot be enforced.

use std::fmt;

use crate::object::ObjectId;
use crate::source::{SkipReason, SourceError};

/// The source could not be read: nothing is known of the commit.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("manifest {index} of {file} is not in {commit}; render the commit again")]
    NoManifest { file: String, index: usize, commit: String },
}

/// What is wrong with a file, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    pub line: Option<u32>,
    pub kind: ProblemKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    #[error("is not UTF-8; save it as UTF-8")]
    NotUtf8,
    #[error("has the character U+{0:04X}, which YAML does not allow; write it as an escape in double quotes")]
    ControlCharacter(u32),
    #[error(
        "has the character U+{0:04X}, a line break to Kubernetes' YAML parser only; write it as an escape in double quotes"
    )]
    AmbiguousBreak(u32),
    #[error("is not valid YAML: {0}")]
    Yaml(String),
    #[error("is not valid JSON: {0}")]
    Json(String),
    #[error("{0:?} is set twice; remove one")]
    DuplicateKey(String),
    #[error("{0:?} stands before a `<<` that sets it too, and parsers disagree which counts; put `<<` first")]
    KeyBeforeMerge(String),
    #[error("`<<` must be given a map or a list of maps")]
    MergeOfNoMap,
    #[error("a key must be a string, a number or a boolean")]
    UnusableKey,
    #[error("{0} has no JSON form; quote it if it is a string")]
    NotFinite(String),
    #[error("{value:?} is no {tag}")]
    Tag { value: String, tag: String },
    #[error("is nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("its aliases stand for more than {0} bytes; write the values out")]
    TooManyAliases(usize),
    #[error("is no Kubernetes object but a {0}; point `path` of the source at the directory of the manifests")]
    NotAnObject(&'static str),
    #[error("has no {0}, so it is no Kubernetes object; point `path` of the source at the directory of the manifests")]
    NoKind(&'static str),
    #[error("has no metadata.name; give the object a name")]
    NoName,
    #[error("has metadata.generateName; an object in Git needs a fixed metadata.name")]
    GeneratedName,
    #[error("{0} must be a string")]
    NotAString(&'static str),
    #[error("{0:?} is no apiVersion; it must be `version` or `group/version`")]
    ApiVersion(String),
    #[error("items of a List must be a list of objects")]
    ListItems,
    #[error("{id} is declared in {other} too; remove one")]
    DuplicateObject { id: Box<ObjectId>, other: String },
    #[error("{0}")]
    Skipped(String),
}

impl ProblemKind {
    /// The machine-readable cause, as a status has it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::DuplicateObject { .. } => "DuplicateObject",
            Self::Skipped(_) => "UnusableFile",
            Self::NotAnObject(_) | Self::NoKind(_) => "NotAManifest",
            _ => "InvalidManifest",
        }
    }
}

impl From<&SkipReason> for ProblemKind {
    fn from(reason: &SkipReason) -> Self {
        Self::Skipped(reason.to_string())
    }
}

/// What is wrong with a commit, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderProblem {
    pub file: String,
    pub line: Option<u32>,
    /// `main@1a2b3c4`
    pub commit: String,
    pub kind: ProblemKind,
}

impl RenderProblem {
    /// `apps/web.yaml:7`
    pub fn position(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }

    pub fn object(&self) -> Option<&ObjectId> {
        match &self.kind {
            ProblemKind::DuplicateObject { id, .. } => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for RenderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.position(), self.commit, self.kind)
    }
}
