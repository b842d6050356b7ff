//! From a commit to what it declares: what is found, what holds a commit back, and what is not read twice.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/git_origin.rs"]
mod git_origin;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use git_origin::{Origin, source};
use gitadel::object::ObjectId;
use gitadel::render::{self, Lines, render};
use gitadel::source::{CommitInfo, Repository};

fn fetch(origin: &Origin) -> (Repository, CommitInfo) {
    let repository = origin.open(&source(&origin.url(), None));
    let commit = repository.fetch().unwrap();
    (repository, commit)
}

fn config_map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  namespace: shop\ndata:\n  key: {value}\n")
}

#[test]
fn a_commit_is_rendered_and_its_bodies_are_found_again() {
    let origin = Origin::new();
    origin.write("apps/a.yaml", format!("{}---\n{}", config_map("a", "one"), config_map("b", "two")));
    origin.write("ci.yaml", "on: push");
    origin.commit("apps");
    let (repository, commit) = fetch(&origin);
    let rendered = render(&repository, &commit, "apps", None).unwrap();
    assert_eq!(rendered.verdict(), Ok(()));
    let found: Vec<_> =
        rendered.manifests().map(|(file, index, summary)| (file, index, summary.id.to_string())).collect();
    let expected = [("apps/a.yaml", 0, "ConfigMap shop/a"), ("apps/a.yaml", 1, "ConfigMap shop/b")];
    assert_eq!(found, expected.map(|(file, index, id)| (file, index, id.to_owned())));
    let body = render::body(&repository, &rendered, "apps/a.yaml", 1).unwrap();
    assert_eq!(body.value["data"]["key"], "two");
    assert!(matches!(&body.lines.children, Lines::Map(fields) if fields["data"].line == 14), "{:?}", body.lines);
    let all = render::bodies(&repository, &rendered, "apps/a.yaml").unwrap();
    assert_eq!((all.len(), &all[1]), (2, &body));
    assert!(render::body(&repository, &rendered, "apps/a.yaml", 2).is_err());
    assert!(render::body(&repository, &rendered, "ci.yaml", 0).is_err());
}

#[test]
fn one_fault_holds_back_the_commit_and_is_named_with_file_line_and_commit() {
    let origin = Origin::new();
    origin.write("a.yaml", config_map("a", "one"));
    origin.write("b.yaml", format!("# a copy\n{}", config_map("a", "two")));
    origin.write("c.yaml", "apiVersion: v1\nkind: [\n");
    origin.write("d.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\nmetadata: {name: y}");
    std::os::unix::fs::symlink("/etc/passwd", origin.work_tree().join("e.yaml")).unwrap();
    let id = origin.commit("faults");
    let (repository, commit) = fetch(&origin);
    let rendered = render(&repository, &commit, ".", None).unwrap();
    let problems = rendered.verdict().unwrap_err();
    let positions: Vec<_> = problems.iter().map(|problem| (problem.position(), problem.kind.reason())).collect();
    let expected = [
        ("b.yaml:2", "DuplicateObject"),
        ("c.yaml:2", "InvalidManifest"),
        ("d.yaml:4", "InvalidManifest"),
        ("e.yaml", "UnusableFile"),
    ];
    assert_eq!(positions, expected.map(|(position, reason)| (position.to_owned(), reason)));
    assert_eq!(problems[0].object(), Some(&ObjectId::new("", "ConfigMap", "shop", "a")));
    let message = problems[0].to_string();
    assert_eq!(
        message,
        format!("b.yaml:2 at main@{}: ConfigMap shop/a is declared in a.yaml:1 too; remove one", &id[..7])
    );
}

#[test]
fn unchanged_files_are_taken_over_and_moved_ones_are_not_lost() {
    let origin = Origin::new();
    origin.write("a.yaml", config_map("a", "one"));
    origin.write("b.yaml", config_map("b", "one"));
    origin.commit("first");
    let (repository, commit) = fetch(&origin);
    let first = render(&repository, &commit, ".", None).unwrap();
    origin.write("b.yaml", config_map("b", "two"));
    origin.git(&["mv", "a.yaml", "c.yaml"]);
    origin.commit("second");
    let commit = repository.fetch().unwrap();
    let second = render(&repository, &commit, ".", Some(&first)).unwrap();
    assert_eq!(second.files.keys().collect::<Vec<_>>(), ["b.yaml", "c.yaml"]);
    assert_ne!(first.files["b.yaml"].manifests[0].digest, second.files["b.yaml"].manifests[0].digest);
    assert_eq!(first.files["a.yaml"].manifests[0].digest, second.files["c.yaml"].manifests[0].digest);
    let third = render(&repository, &commit, ".", Some(&second)).unwrap();
    assert!(third.files.iter().all(|(path, file)| Arc::ptr_eq(file, &second.files[path])));
}

/// Prints how long ten thousand objects take; what is checked is that one change parses one file.
#[test]
fn ten_thousand_files() {
    let origin = Origin::new();
    let mut stream = "commit refs/heads/main\ncommitter Bob <b@example> 1700000000 +0000\ndata 4\nmany\n".to_owned();
    for n in 0..10_000 {
        let mut manifest = config_map(&format!("object-{n}"), &n.to_string());
        for line in 0..20 {
            writeln!(manifest, "  key-{line}: a value of some length, number {n}").unwrap();
        }
        let (directory, length) = (n % 100, manifest.len());
        write!(stream, "M 100644 inline apps/{directory}/object-{n}.yaml\ndata {length}\n{manifest}\n").unwrap();
    }
    origin.git_with_input(&["fast-import", "--quiet"], stream.as_bytes());
    let started = Instant::now();
    let (repository, commit) = fetch(&origin);
    let fetched = started.elapsed();
    let started = Instant::now();
    let first = render(&repository, &commit, "apps", None).unwrap();
    let full = started.elapsed();
    assert_eq!((first.verdict(), first.manifests().count()), (Ok(()), 10_000));
    let changed = config_map("object-7", "changed");
    let length = changed.len();
    let stream = format!(
        "commit refs/heads/main\ncommitter Bob <b@example> 1700000001 +0000\ndata 3\none\nfrom {}\nM 100644 inline \
         apps/7/object-7.yaml\ndata {length}\n{changed}\n",
        commit.id
    );
    origin.git_with_input(&["fast-import", "--quiet"], stream.as_bytes());
    let started = Instant::now();
    let commit = repository.fetch().unwrap();
    let fetched_one = started.elapsed();
    let started = Instant::now();
    let second = render(&repository, &commit, "apps", Some(&first)).unwrap();
    let incremental = started.elapsed();
    let parsed = second.files.iter().filter(|(path, file)| !Arc::ptr_eq(file, &first.files[*path])).count();
    assert_eq!(parsed, 1);
    println!("fetch {fetched:.0?}, render {full:.0?}; one change: fetch {fetched_one:.0?}, render {incremental:.0?}");
}
