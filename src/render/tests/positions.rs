//! Lines of fields and items.

use super::super::{LineTree, Lines};
use super::good;

/// `spec.containers.0.image` → its line.
fn line(tree: &LineTree, path: &str) -> Option<u32> {
    let mut at = tree;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        at = match &at.children {
            Lines::Map(fields) => fields.get(part)?,
            Lines::List(items) => items.get(part.parse::<usize>().ok()?)?,
            Lines::None => return None,
        };
    }
    Some(at.line)
}

#[track_caller]
fn check(file: &str, content: &str, index: usize, cases: &[(&str, u32)]) {
    let manifests = good(file, content);
    for (path, expected) in cases {
        assert_eq!(line(&manifests[index].1.lines, path), Some(*expected), "{path}");
    }
}

#[test]
fn of_a_second_document() {
    let content = "# first\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n# second\napiVersion: v1\n\
                   kind: Pod\nmetadata:\n  name: web\nspec:\n  containers:\n  - name: a\n    image: x\n  -\n    name: b\n    \
                   args: [\"1\",\n      \"2\"]\n";
    check("a.yaml", content, 0, &[("", 2), ("metadata", 4), ("metadata.name", 4)]);
    let cases = [
        ("", 7),
        ("kind", 8),
        ("metadata.name", 10),
        ("spec", 11),
        ("spec.containers", 12),
        ("spec.containers.0", 13),
        ("spec.containers.0.image", 14),
        ("spec.containers.1", 16),
        ("spec.containers.1.args", 17),
        ("spec.containers.1.args.0", 17),
        ("spec.containers.1.args.1", 18),
    ];
    check("a.yaml", content, 1, &cases);
    assert_eq!(good("a.yaml", content)[1].0.line, 7);
    // Line ends of Windows and a byte order mark shift nothing.
    let windows = format!("\u{feff}{}", content.replace('\n', "\r\n"));
    check("a.yaml", &windows, 1, &cases);
}

#[test]
fn of_aliases_and_merges() {
    let content = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: &l\n    app: web\n  annotations: *l\n\
                   x:\n  <<: *l\n  own: 1\n";
    let cases = [
        ("metadata.labels.app", 6),
        ("metadata.annotations", 7),
        // Written where the anchor is.
        ("metadata.annotations.app", 6),
        ("x.app", 6),
        ("x.own", 10),
    ];
    check("a.yaml", content, 0, &cases);
}

#[test]
fn of_json() {
    let content = "{\n  \"apiVersion\": \"v1\", \"kind\": \"List\",\n  \"items\": [\n    {\"apiVersion\": \"v1\", \"kind\": \
                   \"ConfigMap\",\n     \"metadata\":\n       {\"name\": \"a\"},\n     \"data\": {\n       \"x\": \"1\"}},\n    \
                   {\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"b\"}, \"l\": [1,\n2]}\n  ]\n}";
    check("a.json", content, 0, &[("", 4), ("kind", 4), ("metadata", 5), ("metadata.name", 6), ("data.x", 8)]);
    check("a.json", content, 1, &[("", 9), ("metadata.name", 9), ("l.0", 9), ("l.1", 10)]);
    // The same text is YAML, too.
    check("a.yaml", content, 1, &[("", 9), ("l.1", 10)]);
}
