//! Which objects a file declares.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::manifest::manifests;
use super::super::problem::ProblemKind;
use super::{fault, good};
use crate::object::ObjectId;

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

fn names(file: &str, content: &str) -> Vec<String> {
    good(file, content).into_iter().map(|(summary, _)| summary.id.name).collect()
}

#[test]
fn documents_lists_and_emptiness() {
    let (a, b) = (config_map("a"), config_map("b"));
    let item = |name: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}}}");
    let json_item = |name: &str| format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}}}}"#);
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("x.yaml", String::new(), &[]),
        ("x.yaml", "# nothing yet\n".into(), &[]),
        ("x.yaml", "---\n---\n# nothing\n---\n".into(), &[]),
        ("x.yaml", format!("---\n{a}---\n# none\n---\n{b}...\n"), &["a", "b"]),
        ("x.yml", format!("apiVersion: v1\nkind: List\nitems:\n- {}\n- {}\n", item("a"), item("b")), &["a", "b"]),
        ("x.yml", format!("apiVersion: v1\nkind: ConfigMapList\nitems: [{}]\n---\n{b}", item("a")), &["a", "b"]),
        ("x.yml", "apiVersion: v1\nkind: List\nitems: []\n".into(), &[]),
        ("x.yml", "apiVersion: v1\nkind: List\nitems:\n".into(), &[]),
        // A kind of its own that happens to end like a list.
        ("x.yml", "apiVersion: net.example/v1\nkind: AllowList\nmetadata: {name: w}\nitems: [1]".into(), &["w"]),
        ("x.json", json_item("a"), &["a"]),
        ("x.json", format!("{}\n{}", json_item("a"), json_item("b")), &["a", "b"]),
        ("x.yaml", format!("{}\n{}", json_item("a"), json_item("b")), &["a", "b"]),
        ("x.yaml", format!("{}\n---\n{b}", item("a")), &["a", "b"]),
        ("x.json", String::new(), &[]),
    ];
    for (file, content, expected) in cases {
        assert_eq!(names(file, &content), expected, "{content}");
    }
}

#[test]
fn summaries() {
    let content = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  namespace: shop\n  annotations:\n    \
                   gitadel.dev/recreate: \"true\"\n    gitadel.dev/prune: \"false\"\n";
    let (summary, manifest) = good("web.yaml", &format!("{}---\n{content}", config_map("a"))).remove(1);
    assert_eq!(summary.id, ObjectId::new("apps", "Deployment", "shop", "web"));
    assert_eq!((summary.api_version.as_str(), summary.version.as_str()), ("apps/v1", "v1"));
    assert_eq!((summary.document, summary.line, summary.recreate, summary.prune), (1, 6, true, false));
    assert_eq!(summary.size, manifest.value.to_string().len());
    let (plain, _) = good("a.yaml", &config_map("a")).remove(0);
    assert_eq!((plain.id.namespace.as_str(), plain.recreate, plain.prune), ("", false, true));
}

#[test]
fn digests_are_of_the_declaration_not_of_its_spelling() {
    let digest = |file: &str, content: &str| good(file, content)[0].0.digest.clone();
    let yaml = digest("a.yaml", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\nx: [1, 0x2]\n# comment\n");
    let json = digest("a.json", r#"{"x":[1.0,2],"apiVersion":"v1","metadata":{"name":"a"},"kind":"ConfigMap"}"#);
    assert_eq!(yaml, json);
    let other = digest("a.yaml", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\nx: [2, 1]");
    assert_ne!(yaml, other);
    // The form is fixed: digests outlive the process in caches.
    let canonical = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"x":[1,2]}"#;
    assert_eq!(yaml, blake3::hash(canonical.as_bytes()).to_hex().to_string());
}

#[test]
fn faults_name_the_line_and_what_to_do() {
    let named = "metadata: {name: a}";
    let cases = [
        ("x.yaml", "on: push\njobs: {}\n".to_owned(), 1, ProblemKind::NoKind("apiVersion")),
        ("x.yaml", format!("{}---\napiVersion: v1\n{named}", config_map("a")), 6, ProblemKind::NoKind("kind")),
        ("x.yaml", "- a\n".to_owned(), 1, ProblemKind::NotAnObject("list")),
        ("x.json", "[]".to_owned(), 1, ProblemKind::NotAnObject("list")),
        ("x.yaml", "hello".to_owned(), 1, ProblemKind::NotAnObject("text")),
        ("x.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {}".to_owned(), 3, ProblemKind::NoName),
        (
            "x.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: a-".to_owned(),
            4,
            ProblemKind::GeneratedName,
        ),
        (
            "x.yaml",
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: 5".to_owned(),
            4,
            ProblemKind::NotAString("metadata.name"),
        ),
        ("x.yaml", format!("kind: A\napiVersion: a/b/c\n{named}"), 2, ProblemKind::ApiVersion("a/b/c".into())),
        ("x.yaml", "apiVersion: v1\nkind: List\nitems: {a: 1}".to_owned(), 1, ProblemKind::ListItems),
        ("x.yaml", "apiVersion: v1\nkind: List\nitems:\n- a".to_owned(), 4, ProblemKind::NotAnObject("text")),
        ("x.json", "{\"a\": 1,\n \"a\": 2}".to_owned(), 2, ProblemKind::DuplicateKey("a".into())),
        ("x.json", format!("{}1", "[".repeat(121)), 1, ProblemKind::TooDeep(120)),
    ];
    for (file, content, line, kind) in cases {
        let problem = fault(file, &content);
        assert_eq!((problem.line, problem.kind), (Some(line), kind), "{content}");
    }
    let (_, problems) = manifests("x.yaml", b"a: 1\nb: \xff\xfe\nc: \xff\n");
    assert_eq!((problems[0].line, &problems[0].kind), (Some(2), &ProblemKind::NotUtf8));
    for broken in ["{", "{\"a\"", "{\"a\":}", "{\"a\":1,}", "[1 2]", "{\"a\":\"\u{1}\"}", "nul", "01", "\"", "\"\\"] {
        assert!(matches!(fault("x.json", broken).kind, ProblemKind::Json(_)), "{broken}");
    }
}

#[test]
fn a_fault_does_not_hide_the_objects_before_it() {
    let (found, problems) = manifests("x.yaml", format!("{}---\na: [\n", config_map("a")).as_bytes());
    assert_eq!((found.len(), problems.len()), (1, 1));
}

/// Any JSON, with numbers that both readers spell alike.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC*".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_read_back_exactly(body in any_json(), pretty in any::<bool>()) {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "body": body});
        let text = if pretty { serde_json::to_string_pretty(&object).unwrap() } else { object.to_string() };
        prop_assert_eq!(&good("x.json", &text)[0].1.value, &object);
        prop_assert_eq!(&good("x.yaml", &text)[0].1.value, &object);
    }

    #[test]
    fn no_bytes_break_the_readers(content in proptest::collection::vec(any::<u8>(), 0..300), text in "[ -:{}\\[\\]&*<|>!#'\",a-c0-2\n]{0,120}") {
        for file in ["x.yaml", "x.json"] {
            manifests(file, &content);
            manifests(file, text.as_bytes());
        }
    }
}
