//! What docs/operations.md tells an operator is what the program says: its tables cannot rot.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = "docs/operations.md";

/// All words of a text that begin so and go on with small letters and underscores.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let end = |rest: &str| rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(rest.len());
    text.match_indices(prefix).map(|(at, _)| &text[at..at + end(&text[at..])]).collect()
}

fn program(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            program(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let file = fs::read_to_string(&path).unwrap();
            text.push_str(file.split("#[cfg(test)]").next().unwrap());
        }
    }
}

fn metrics_of_the_program() -> BTreeSet<String> {
    let mut text = String::new();
    program(Path::new("src/telemetry"), &mut text);
    let quoted = text.split('"').skip(1).step_by(2);
    quoted.filter(|literal| literal.starts_with("gitadel_")).map(str::to_owned).collect()
}

#[test]
fn every_metric_is_explained() {
    let page = fs::read_to_string(PAGE).unwrap();
    let explained: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `gitadel_"))
        .map(|row| format!("gitadel_{}", row.split('`').next().unwrap()))
        .collect();
    let known = metrics_of_the_program();
    assert!(known.len() > 20, "{known:?}");
    assert_eq!(explained, known);
}

#[test]
fn alerts_ask_for_metrics_that_exist() {
    let known = metrics_of_the_program();
    let rule = fs::read_to_string("examples/prometheus-rule.yaml").unwrap();
    let asked = words(&rule, "gitadel_");
    assert!(asked.len() > 5, "{asked:?}");
    for metric in asked {
        assert!(known.contains(metric), "{metric}");
    }
}

#[test]
fn every_reason_explained_is_one_that_the_program_gives() {
    let mut text = String::new();
    program(Path::new("src"), &mut text);
    let page = fs::read_to_string(PAGE).unwrap();
    let section = page.split("## Conditions").nth(1).unwrap().split("\n## ").next().unwrap();
    let reasons = section.split('`').skip(1).step_by(2).filter(|word| {
        word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphabetic())
    });
    let mut count = 0;
    for reason in reasons {
        assert!(text.contains(&format!("\"{reason}\"")), "{reason}");
        count += 1;
    }
    assert!(count > 20, "{count}");
}
