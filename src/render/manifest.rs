//! One declared object, and the objects of one file.

use serde_json::Value;

use super::json;
use super::position::{LineTree, Lines};
use super::problem::{FileProblem, ProblemKind};
use super::yaml::{self, Located};
use crate::api::{PRUNE_ANNOTATION, RECREATE_ANNOTATION};
use crate::object::ObjectId;

/// A declared object in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub value: Value,
    pub lines: LineTree,
}

/// What is kept of a declared object while nobody needs all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestSummary {
    /// As the file says it: the namespace is empty where the manifest has none.
    pub id: ObjectId,
    /// `apps/v1`
    pub api_version: String,
    /// `v1`
    pub version: String,
    /// BLAKE3 of the manifest as JSON with sorted keys, in hexadecimal: equal for equal declarations.
    pub digest: String,
    /// Which document of the file, from zero.
    pub document: usize,
    /// Where it begins.
    pub line: u32,
    pub recreate: bool,
    /// False where the manifest forbids it.
    pub prune: bool,
    /// Bytes of its JSON form.
    pub size: usize,
}

/// All objects of a file, Lists flattened, and what is wrong with it.
pub(super) fn manifests(file: &str, content: &[u8]) -> (Vec<(ManifestSummary, Manifest)>, Vec<FileProblem>) {
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) => {
            let before = content.iter().take(error.valid_up_to()).filter(|&&byte| byte == b'\n').count();
            let line = u32::try_from(before + 1).ok();
            return (Vec::new(), vec![FileProblem { line, kind: ProblemKind::NotUtf8 }]);
        }
    };
    let (documents, broken) = parse(file, text);
    let (mut manifests, mut problems) = (Vec::new(), Vec::new());
    for (index, document) in documents.into_iter().enumerate() {
        // Two markers with nothing but comments between them.
        if !document.value.is_null() {
            collect(document.value, document.lines, index, 0, &mut manifests, &mut problems);
        }
    }
    problems.extend(broken);
    (manifests, problems)
}

fn parse(file: &str, text: &str) -> (Vec<Located>, Option<FileProblem>) {
    let begin = text.trim_start_matches('\u{feff}').trim_start();
    if file.ends_with(".json") {
        return json::documents(text);
    }
    // As `kubectl` does: what begins like JSON is JSON if it can be, since YAML forbids some of it (surrogate escapes).
    if begin.starts_with('{') {
        let parsed = json::documents(text);
        if parsed.1.as_ref().is_none_or(|problem| !matches!(problem.kind, ProblemKind::Json(_))) {
            return parsed;
        }
    }
    yaml::documents(text)
}

/// Lists in Lists are taken apart too, but not without end.
const MAX_LISTS: usize = 8;

fn collect(
    value: Value,
    lines: LineTree,
    document: usize,
    lists: usize,
    manifests: &mut Vec<(ManifestSummary, Manifest)>,
    problems: &mut Vec<FileProblem>,
) {
    let line = lines.line;
    let is_list = |value: &Value| {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        kind.ends_with("List") && value.get("items").is_some() && value.pointer("/metadata/name").is_none()
    };
    if !is_list(&value) {
        match summarise(&value, &lines, document) {
            Ok(summary) => manifests.push((summary, Manifest { value, lines })),
            Err(problem) => problems.push(problem),
        }
        return;
    }
    let (Value::Object(mut list), Lines::Map(mut list_lines)) = (value, lines.children) else { return };
    match (list.remove("items"), list_lines.remove("items").map(|tree| tree.children)) {
        // What `kubectl get -o yaml` writes for an empty result.
        (Some(Value::Null), _) => {}
        (Some(Value::Array(items)), Some(Lines::List(trees))) if lists < MAX_LISTS => {
            for (item, tree) in items.into_iter().zip(trees) {
                collect(item, tree, document, lists + 1, manifests, problems);
            }
        }
        _ => problems.push(FileProblem { line: Some(line), kind: ProblemKind::ListItems }),
    }
}

fn line_of(lines: &LineTree, path: &[&str]) -> u32 {
    let mut tree = lines;
    for name in path {
        match &tree.children {
            Lines::Map(fields) => match fields.get(*name) {
                Some(field) => tree = field,
                None => break,
            },
            _ => break,
        }
    }
    tree.line
}

fn summarise(value: &Value, lines: &LineTree, document: usize) -> Result<ManifestSummary, FileProblem> {
    let refuse = |path: &[&str], kind| FileProblem { line: Some(line_of(lines, path)), kind };
    let what = match value {
        Value::Object(_) => None,
        Value::Array(_) => Some("list"),
        Value::String(_) => Some("text"),
        Value::Null => Some("null"),
        Value::Bool(_) => Some("boolean"),
        Value::Number(_) => Some("number"),
    };
    if let Some(what) = what {
        return Err(refuse(&[], ProblemKind::NotAnObject(what)));
    }
    let text =
        |path: &'static [&'static str], name: &'static str| match path.iter().try_fold(value, |at, key| at.get(key)) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(refuse(path, ProblemKind::NotAString(name))),
        };
    let api_version = text(&["apiVersion"], "apiVersion")?;
    let kind = text(&["kind"], "kind")?;
    for (name, given) in [("apiVersion", api_version), ("kind", kind)] {
        if given.is_empty() {
            return Err(refuse(&[], ProblemKind::NoKind(name)));
        }
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if version.is_empty() || version.contains('/') || (group.is_empty() && api_version.contains('/')) {
        return Err(refuse(&["apiVersion"], ProblemKind::ApiVersion(api_version.to_owned())));
    }
    let name = text(&["metadata", "name"], "metadata.name")?;
    let namespace = text(&["metadata", "namespace"], "metadata.namespace")?;
    if !text(&["metadata", "generateName"], "metadata.generateName")?.is_empty() {
        return Err(refuse(&["metadata", "generateName"], ProblemKind::GeneratedName));
    }
    if name.is_empty() {
        return Err(refuse(&["metadata"], ProblemKind::NoName));
    }
    let annotation =
        |name: &str| value.pointer("/metadata/annotations").and_then(|all| all.get(name)).and_then(Value::as_str);
    let mut hasher = Hasher::default();
    canonical_json(value, &mut hasher);
    Ok(ManifestSummary {
        id: ObjectId::new(group, kind, namespace, name),
        api_version: api_version.to_owned(),
        version: version.to_owned(),
        digest: hasher.hash.finalize().to_hex().to_string(),
        document,
        line: lines.line,
        recreate: annotation(RECREATE_ANNOTATION) == Some("true"),
        prune: annotation(PRUNE_ANNOTATION) != Some("false"),
        size: hasher.size,
    })
}

#[derive(Default)]
struct Hasher {
    hash: blake3::Hasher,
    size: usize,
}

impl Hasher {
    fn add(&mut self, text: &str) {
        self.hash.update(text.as_bytes());
        self.size += text.len();
    }
}

/// Compact JSON with sorted keys, whatever order the map type keeps.
fn canonical_json(value: &Value, out: &mut Hasher) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<_> = fields.keys().collect();
            names.sort_unstable();
            out.add("{");
            for (index, name) in names.into_iter().enumerate() {
                out.add(if index == 0 { "" } else { "," });
                out.add(&Value::from(name.as_str()).to_string());
                out.add(":");
                canonical_json(&fields[name], out);
            }
            out.add("}");
        }
        Value::Array(items) => {
            out.add("[");
            for (index, item) in items.iter().enumerate() {
                out.add(if index == 0 { "" } else { "," });
                canonical_json(item, out);
            }
            out.add("]");
        }
        scalar => out.add(&scalar.to_string()),
    }
}
