//! A commit's manifests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use super::duplicates::{Declaration, find_duplicates};
use super::manifest::{Manifest, ManifestSummary, manifests};
use super::problem::{FileProblem, ProblemKind, RenderError, RenderProblem};
use crate::source::{CommitInfo, ManifestFile, Repository};

/// Fewer files than this are parsed sooner than another thread is started.
const FILES_PER_THREAD: usize = 64;

/// What a commit declares.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub commit: CommitInfo,
    /// By path.
    pub files: BTreeMap<String, Arc<RenderedFile>>,
    /// Everything that is wrong with the commit, by file and line.
    pub problems: Vec<RenderProblem>,
}

/// What one file declares. Commits that do not change it share it.
#[derive(Debug, PartialEq, Eq)]
pub struct RenderedFile {
    pub blob: String,
    /// Bytes of the file.
    pub size: u64,
    pub manifests: Vec<Arc<ManifestSummary>>,
    pub problems: Vec<FileProblem>,
}

impl Rendered {
    /// Whether the commit can be enforced. It counts as a whole: half of a commit is a state that nobody declared.
    pub fn verdict(&self) -> Result<(), &[RenderProblem]> {
        if self.problems.is_empty() { Ok(()) } else { Err(&self.problems) }
    }

    /// Every object with its file and its index for [`body`], in the order of paths.
    pub fn manifests(&self) -> impl Iterator<Item = (&str, usize, &ManifestSummary)> {
        self.files.iter().flat_map(|(path, file)| {
            file.manifests.iter().enumerate().map(move |(index, summary)| (path.as_str(), index, summary.as_ref()))
        })
    }
}

/// Renders the manifests below `path` of a commit. Files that `previous` has with the same content are taken over.
///
/// An error means that the commit could not be read; what is wrong with the commit itself is in
/// [`Rendered::verdict`].
pub fn render(
    repository: &Repository,
    commit: &CommitInfo,
    path: &str,
    previous: Option<&Rendered>,
) -> Result<Rendered, RenderError> {
    let known = |file: &str, blob: &str| {
        let known = previous?.files.get(file)?;
        (known.blob == blob).then_some(known.size)
    };
    let listing = repository.tree_since(commit, path, &known)?;
    let mut files = BTreeMap::new();
    let mut changed = Vec::new();
    for file in listing.files {
        match previous.and_then(|previous| previous.files.get(&file.path)) {
            Some(known) if known.blob == file.blob => {
                files.insert(file.path, Arc::clone(known));
            }
            _ => changed.push(file),
        }
    }
    files.extend(parse_all(repository, &changed)?);
    let problem = |file: &str, line, kind| RenderProblem { file: file.to_owned(), line, commit: commit.short(), kind };
    let mut problems: Vec<_> = listing
        .skipped
        .iter()
        .map(|skipped| problem(&skipped.path, None, ProblemKind::from(&skipped.reason)))
        .collect();
    for (path, file) in &files {
        problems.extend(file.problems.iter().map(|found| problem(path, found.line, found.kind.clone())));
    }
    let declarations = files.iter().flat_map(|(path, file)| {
        file.manifests.iter().map(|summary| Declaration { id: summary.id.as_ref(), file: path, line: summary.line })
    });
    problems.extend(find_duplicates(declarations).into_iter().map(|duplicate| {
        let other = format!("{}:{}", duplicate.first.file, duplicate.first.line);
        let kind = ProblemKind::DuplicateObject { id: Box::new(duplicate.second.id.to_owned()), other };
        problem(duplicate.second.file, Some(duplicate.second.line), kind)
    }));
    problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(Rendered { commit: commit.clone(), files, problems })
}

/// A declared object in full, parsed again from the file.
pub fn body(repository: &Repository, rendered: &Rendered, file: &str, index: usize) -> Result<Manifest, RenderError> {
    let missing = || no_manifest(rendered, file, index);
    bodies(repository, rendered, file)?.into_iter().nth(index).ok_or_else(missing)
}

/// All declared objects of a file, in the order of its summaries. A file is parsed as a whole in any case: who needs
/// several of its objects asks once.
pub fn bodies(repository: &Repository, rendered: &Rendered, file: &str) -> Result<Vec<Manifest>, RenderError> {
    let known = rendered.files.get(file).ok_or_else(|| no_manifest(rendered, file, 0))?;
    let (manifests, _) = manifests(file, &repository.read(&known.blob)?);
    Ok(manifests.into_iter().map(|(_, manifest)| manifest).collect())
}

/// The objects that the content of a file declares, whatever else is wrong with it.
pub fn declared_in(file: &str, content: &[u8]) -> Vec<(ManifestSummary, Manifest)> {
    manifests(file, content).0
}

fn no_manifest(rendered: &Rendered, file: &str, index: usize) -> RenderError {
    RenderError::NoManifest { file: file.to_owned(), index, commit: rendered.commit.short() }
}

fn parse_all(repository: &Repository, files: &[ManifestFile]) -> Result<Vec<(String, Arc<RenderedFile>)>, RenderError> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(files.len() / FILES_PER_THREAD).max(1);
    let share = files.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let parse_share =
            |share: &[ManifestFile]| share.iter().map(|file| parse(repository, file)).collect::<Result<Vec<_>, _>>();
        let mut shares = files.chunks(share);
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> = shares.map(|share| scope.spawn(move || parse_share(share))).collect();
        let mut parsed = parse_share(own)?;
        for other in others {
            parsed.extend(other.join().unwrap_or_else(|failure| std::panic::resume_unwind(failure))?);
        }
        Ok(parsed)
    })
}

fn parse(repository: &Repository, file: &ManifestFile) -> Result<(String, Arc<RenderedFile>), RenderError> {
    let content = repository.read(&file.blob)?;
    let (manifests, problems) = manifests(&file.path, &content);
    let manifests = manifests.into_iter().map(|(summary, _)| Arc::new(summary)).collect();
    Ok((file.path.clone(), Arc::new(RenderedFile { blob: file.blob.clone(), size: file.size, manifests, problems })))
}
