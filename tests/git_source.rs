//! Sources against real repositories: following references, what a hostile tree gets, and copies that break.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/git_origin.rs"]
mod git_origin;

use std::fs;
use std::os::unix::fs::symlink;

use git_origin::{Origin, source};
use gitadel::source::{Listing, MAX_FILE_BYTES, Repository, SkipReason, SourceError};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\n";

fn paths(listing: &Listing) -> Vec<&str> {
    listing.files.iter().map(|file| file.path.as_str()).collect()
}

#[test]
fn repositories_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Repository>();
}

#[test]
fn a_branch_is_followed() {
    let origin = Origin::new();
    let first = origin.push("apps/web.yaml", CONFIG_MAP);
    let repository = origin.open(&source(&origin.url(), Some(("branch", "main"))));
    let commit = repository.fetch().unwrap();
    assert_eq!(commit.id, first);
    assert_eq!(commit.subject, "Change apps/web.yaml");
    assert_eq!(commit.author, "Ada Lovelace");
    assert_eq!(commit.time, 1_700_000_000);
    assert_eq!(commit.reference, "main");
    assert_eq!(commit.short(), format!("main@{}", &first[..7]));

    assert_eq!(repository.fetch().unwrap(), commit, "nothing new");
    let listing = repository.tree(&commit, ".").unwrap();
    let file = listing.files.first().unwrap();
    assert_eq!((file.path.as_str(), file.size), ("apps/web.yaml", CONFIG_MAP.len() as u64));
    assert_eq!(repository.read(&file.blob).unwrap(), CONFIG_MAP.as_bytes());

    let second = origin.push("apps/db.yaml", CONFIG_MAP);
    let commit = repository.fetch().unwrap();
    assert_eq!(commit.id, second);
    assert_eq!(paths(&repository.tree(&commit, ".").unwrap()), ["apps/db.yaml", "apps/web.yaml"]);
}

#[test]
fn only_the_subject_of_a_message_is_taken() {
    let origin = Origin::new();
    origin.write("a.yaml", CONFIG_MAP);
    origin.commit("Sell shoes\n\nThey are red.\n");
    let commit = origin.open(&source(&origin.url(), None)).fetch().unwrap();
    assert_eq!(commit.subject, "Sell shoes");
}

#[test]
fn a_force_push_is_followed() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    origin.push("db.yaml", CONFIG_MAP);
    let repository = origin.open(&source(&origin.url(), Some(("branch", "main"))));
    repository.fetch().unwrap();
    origin.git(&["checkout", "--quiet", "--orphan", "other"]);
    origin.git(&["rm", "--quiet", "-r", "--force", "."]);
    let replaced = origin.push("new.yaml", CONFIG_MAP);
    origin.git(&["branch", "--force", "main", "other"]);
    let commit = repository.fetch().unwrap();
    assert_eq!(commit.id, replaced);
    assert_eq!(paths(&repository.tree(&commit, ".").unwrap()), ["new.yaml"]);
}

#[test]
fn the_default_branch_has_its_real_name() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    origin.git(&["branch", "--move", "release/stable"]);
    let repository = origin.open(&source(&origin.url(), None));
    assert_eq!(repository.fetch().unwrap().reference, "release/stable");
}

#[test]
fn tags_lead_to_their_commit() {
    let origin = Origin::new();
    let first = origin.push("web.yaml", CONFIG_MAP);
    origin.git(&["tag", "light"]);
    origin.git(&["tag", "--annotate", "--message", "Release", "annotated"]);
    origin.git(&["tag", "--annotate", "--message", "Twice", "nested", "annotated"]);
    origin.push("db.yaml", CONFIG_MAP);
    for tag in ["light", "annotated", "nested"] {
        let commit = origin.open(&source(&origin.url(), Some(("tag", tag)))).fetch().unwrap();
        assert_eq!((commit.id.as_str(), commit.reference.as_str()), (first.as_str(), tag));
    }
    origin.git(&["tag", "tree", "HEAD^{tree}"]);
    let error = origin.open(&source(&origin.url(), Some(("tag", "tree")))).fetch().unwrap_err();
    assert!(matches!(error, SourceError::NotACommit { .. }), "{error}");
}

#[test]
fn a_commit_is_found_wherever_it_is() {
    let origin = Origin::new();
    let first = origin.push("web.yaml", CONFIG_MAP);
    let second = origin.push("db.yaml", CONFIG_MAP);
    let lost = origin.push("lost.yaml", CONFIG_MAP);
    origin.git(&["reset", "--quiet", "--hard", &second]);
    for id in [&first, &second, &lost] {
        let repository =
            Repository::open_or_init(&origin.scratch().join(id), &source(&origin.url(), Some(("commit", id))), None)
                .unwrap();
        let commit = repository.fetch().unwrap();
        assert_eq!((&commit.id, commit.reference.as_str()), (id, ""));
        repository.tree(&commit, ".").unwrap();
    }
    let absent = "0123456789012345678901234567890123456789";
    let error = origin.open(&source(&origin.url(), Some(("commit", absent)))).fetch().unwrap_err();
    assert!(matches!(error, SourceError::NoCommit { .. }), "{error}");
    assert!(error.to_string().contains(absent), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    for field in [("branch", "mian"), ("tag", "v1")] {
        let error = origin.open(&source(&origin.url(), Some(field))).fetch().unwrap_err();
        assert!(matches!(error, SourceError::NoReference { .. }), "{error}");
        assert!(error.to_string().contains(field.1), "{error}");
    }
    let url = format!("{}-absent", origin.url());
    let error = origin.open(&source(&url, None)).fetch().unwrap_err();
    assert!(matches!(error, SourceError::Fetch { .. }), "{error}");
    assert!(error.to_string().contains(&url), "{error}");

    let empty = Origin::new();
    let error = empty.open(&source(&empty.url(), None)).fetch().unwrap_err();
    assert!(matches!(error, SourceError::NoReference { .. }), "{error}");
}

#[test]
fn a_failed_fetch_leaves_the_last_commit_readable() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    let repository = origin.open(&source(&origin.url(), Some(("branch", "main"))));
    let commit = repository.fetch().unwrap();
    fs::rename(origin.work_tree(), origin.scratch().join("away")).unwrap();
    repository.fetch().unwrap_err();
    let listing = repository.tree(&commit, ".").unwrap();
    assert_eq!(repository.read(&listing.files[0].blob).unwrap(), CONFIG_MAP.as_bytes());
    fs::rename(origin.scratch().join("away"), origin.work_tree()).unwrap();
    assert_eq!(repository.fetch().unwrap(), commit);
}

#[test]
fn manifests_are_listed() {
    let origin = Origin::new();
    for file in [
        "shop/web.yaml",
        "shop/db.yml",
        "shop/deep/er/job.json",
        "shop/UPPER.YAML",
        "shop/readme.md",
        "shop/.hidden.yaml",
        "shop/.github/ci.yaml",
        "shop/yaml",
        "shop/.yaml",
        "other/else.yaml",
        "top.yaml",
    ] {
        origin.write(file, format!("{CONFIG_MAP}# {file}\n"));
    }
    origin.commit("Files");
    let repository = origin.open(&source(&origin.url(), None));
    let commit = repository.fetch().unwrap();
    let shop = ["shop/db.yml", "shop/deep/er/job.json", "shop/web.yaml"];
    for path in ["shop", "shop/", "./shop", "./shop/."] {
        let listing = repository.tree(&commit, path).unwrap();
        assert_eq!((paths(&listing), listing.skipped.len()), (shop.to_vec(), 0), "{path}");
    }
    for path in ["", ".", "./"] {
        assert_eq!(repository.tree(&commit, path).unwrap().files.len(), 5, "{path}");
    }
    let error = repository.tree(&commit, "shpo").unwrap_err();
    assert!(matches!(error, SourceError::NoPath { .. }), "{error}");
    let error = repository.tree(&commit, "shop/..").unwrap_err();
    assert!(matches!(error, SourceError::NoPath { .. }), "{error}");
    let error = repository.tree(&commit, "top.yaml").unwrap_err();
    assert!(matches!(error, SourceError::NotADirectory { .. }), "{error}");
}

#[test]
fn hostile_trees_get_a_problem_for_each_file() {
    let origin = Origin::new();
    origin.write("shop/web.yaml", CONFIG_MAP);
    origin.write("base/db.yaml", CONFIG_MAP);
    let links = [
        ("inside.yaml", "../base/db.yaml"),
        ("twice.yaml", "inside.yaml"),
        ("absolute.yaml", "/etc/passwd"),
        ("outside.yaml", "../../etc/passwd"),
        ("broken.yaml", "absent.yaml"),
        ("circle.yaml", "circle.yaml"),
        ("directory", "../base"),
        ("notes.md", "../base/db.yaml"),
    ];
    for (name, target) in links {
        symlink(target, origin.work_tree().join("shop").join(name)).unwrap();
    }
    origin.write("shop/kust/kustomization.yaml", "resources: [a.yaml]\n");
    origin.write("shop/kust/a.yaml", CONFIG_MAP);
    origin.write("shop/chart/Chart.yaml", "name: shop\n");
    origin.write("shop/chart/templates/a.yaml", "{{ if }}");
    for name in ["new\nline.yaml", "\u{1b}[31m/a.yaml", "notes\n.md"] {
        origin.write(&format!("shop/{name}"), CONFIG_MAP);
    }
    let size = MAX_FILE_BYTES + 1;
    origin.write("shop/huge.yaml", vec![b'#'; usize::try_from(size).unwrap()]);
    origin.write("shop/huge.bin", vec![b'#'; usize::try_from(size).unwrap()]);
    origin.write("shop/limit.yaml", vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap()]);
    let head = origin.commit("Hostile");
    origin.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},shop/module")]);
    origin.git(&["commit", "--quiet", "--message", "Submodule"]);

    let repository = origin.open(&source(&origin.url(), None));
    let commit = repository.fetch().unwrap();
    let listing = repository.tree(&commit, "shop").unwrap();
    assert_eq!(paths(&listing), ["shop/inside.yaml", "shop/limit.yaml", "shop/twice.yaml", "shop/web.yaml"]);
    let skipped: Vec<_> = listing.skipped.iter().map(|p| (p.path.as_str(), p.reason.clone())).collect();
    let target = str::to_owned;
    assert_eq!(
        skipped,
        [
            ("shop/\\u{1b}[31m", SkipReason::NameWithControlCharacter),
            ("shop/absolute.yaml", SkipReason::LinkLeavesRepository { target: target("/etc/passwd") }),
            ("shop/broken.yaml", SkipReason::BrokenLink { target: target("absent.yaml") }),
            ("shop/chart/Chart.yaml", SkipReason::HelmChart),
            ("shop/circle.yaml", SkipReason::BrokenLink { target: target("shop/circle.yaml") }),
            ("shop/directory", SkipReason::LinkedDirectory { target: target("../base") }),
            ("shop/huge.yaml", SkipReason::TooLarge { size }),
            ("shop/kust/kustomization.yaml", SkipReason::Kustomization),
            ("shop/module", SkipReason::Submodule),
            ("shop/new\\nline.yaml", SkipReason::NameWithControlCharacter),
            ("shop/outside.yaml", SkipReason::LinkLeavesRepository { target: target("../../etc/passwd") }),
        ]
    );
    let huge = origin.git(&["rev-parse", "HEAD:shop/huge.yaml"]);
    let error = repository.read(&huge).unwrap_err();
    assert!(matches!(error, SourceError::TooLarge { .. }), "{error}");
}

#[test]
fn a_tree_without_end_is_refused() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    // 2⁴⁰ files out of 40 small trees.
    let mut tree = origin.git(&["rev-parse", "HEAD^{tree}"]);
    for _ in 0..40 {
        let entries = format!("040000 tree {tree}\ta\n040000 tree {tree}\tb\n");
        tree = origin.git_with_input(&["mktree"], entries.as_bytes());
    }
    let commit = origin.git(&["commit-tree", "-m", "Endless", &tree]);
    origin.git(&["update-ref", "refs/heads/endless", &commit]);
    let repository = origin.open(&source(&origin.url(), Some(("branch", "endless"))));
    let commit = repository.fetch().unwrap();
    let error = repository.tree(&commit, ".").unwrap_err();
    assert!(matches!(error, SourceError::TooManyFiles { .. }), "{error}");
}

#[test]
fn copies_survive_a_restart_and_broken_ones_are_made_anew() {
    let origin = Origin::new();
    origin.push("web.yaml", CONFIG_MAP);
    let source = source(&origin.url(), Some(("branch", "main")));
    let commit = origin.open(&source).fetch().unwrap();
    let readable = |repository: &Repository| {
        let listing = repository.tree(&commit, ".").unwrap();
        assert_eq!(repository.read(&listing.files[0].blob).unwrap(), CONFIG_MAP.as_bytes());
    };
    readable(&origin.open(&source));

    // Not a repository at all.
    fs::remove_dir_all(origin.copy()).unwrap();
    fs::create_dir(origin.copy()).unwrap();
    fs::write(origin.copy().join("HEAD"), "\0\0\0").unwrap();
    let repository = origin.open(&source);
    assert_eq!(repository.fetch().unwrap(), commit);
    readable(&repository);

    // References that lead to objects which are gone.
    for entry in fs::read_dir(origin.copy().join("objects/pack")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let repository = origin.open(&source);
    assert!(matches!(repository.tree(&commit, "."), Err(SourceError::Damaged { .. })));
    // Nothing is thrown away before the server has given a whole new copy.
    fs::rename(origin.work_tree(), origin.scratch().join("away")).unwrap();
    repository.fetch().unwrap_err();
    assert!(origin.copy().join("refs/gitadel/tip").exists());
    fs::rename(origin.scratch().join("away"), origin.work_tree()).unwrap();
    assert_eq!(repository.fetch().unwrap(), commit);
    readable(&repository);
}

#[test]
fn history_proves_what_was_declared() {
    let origin = Origin::new();
    let first = origin.push("web.yaml", "a: 1\n");
    let second = origin.push("web.yaml", "a: 2\n");
    let repository = origin.open(&source(&origin.url(), Some(("branch", "main"))));
    let tip = repository.fetch().unwrap();
    assert!(repository.is_ancestor(&first, &second).unwrap());
    assert!(repository.is_ancestor(&second, &second).unwrap());
    assert!(!repository.is_ancestor(&second, &first).unwrap());
    assert!(!repository.is_ancestor("0123456789012345678901234567890123456789", &second).unwrap());
    assert_eq!(repository.read_at(&first, "web.yaml").unwrap().as_deref(), Some(&b"a: 1\n"[..]));
    assert_eq!(repository.read_at(&first, "absent.yaml").unwrap(), None);
    assert_eq!(repository.commit(&first).unwrap().id, first);

    // A force-push takes `second` off the branch: it counts only where it was remembered.
    repository.remember(&tip).unwrap();
    origin.git(&["checkout", "--quiet", "--orphan", "other"]);
    let other = origin.push("web.yaml", "a: 3\n");
    origin.git(&["branch", "--force", "main", "other"]);
    let tip = repository.fetch().unwrap();
    assert_eq!(tip.id, other);
    assert!(!repository.is_ancestor(&second, &tip.id).unwrap(), "histories without a common commit");
    assert!(repository.is_in_history(&first, &tip).unwrap());
    assert_eq!(repository.remembered().unwrap(), [second.as_str()]);
    repository.forget(&second).unwrap();
    repository.forget(&second).unwrap();
    assert!(!repository.is_in_history(&first, &tip).unwrap());
    assert!(repository.is_in_history(&other, &tip).unwrap());
}

#[test]
fn a_long_life_with_many_pushes_keeps_everything_readable() {
    let origin = Origin::new();
    origin.push("web.yaml", "a: start\n");
    let repository = origin.open(&source(&origin.url(), Some(("branch", "main"))));
    let first = repository.fetch().unwrap();
    // More than the number of packs for which gix leaves room by default.
    for number in 0..70 {
        origin.push("web.yaml", &format!("a: {number}\n"));
        let commit = repository.fetch().unwrap();
        if number == 0 {
            repository.remember(&commit).unwrap();
        }
        let listing = repository.tree(&commit, ".").unwrap();
        assert_eq!(repository.read(&listing.files[0].blob).unwrap(), format!("a: {number}\n").as_bytes());
    }
    let packs = fs::read_dir(origin.copy().join("objects/pack")).unwrap().count();
    assert!(packs > 70, "the copy was made anew: only {packs} files");
    assert_eq!(repository.remembered().unwrap().len(), 1);
    assert_eq!(repository.read_at(&first.id, "web.yaml").unwrap().as_deref(), Some(&b"a: start\n"[..]));
}
