//! What docs/operations.md tells an operator is what the program says: its tables cannot rot.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const PAGE: &str = "docs/operations.md";

/// All words of a text that begin so and go on with small letters and underscores.
fn words<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let end = |rest: &str| rest.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(rest.len());
    text.match_indices(prefix).map(|(at, _)| &text[at..at + prefix.len() + end(&text[at + prefix.len()..])]).collect()
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

/// Names and labels.
fn metrics_of_the_program() -> BTreeMap<String, BTreeSet<String>> {
    let mut text = String::new();
    program(Path::new("src/telemetry"), &mut text);
    let definitions = text.split("\"gitadel_").skip(1);
    definitions
        .map(|definition| {
            let name = format!("gitadel_{}", definition.split('"').next().unwrap());
            let labels = definition.split_once("&[\"").map_or("", |(_, labels)| labels.split(']').next().unwrap());
            let labels = labels.split(", ").map(|label| label.trim_matches('"').to_owned());
            (name, labels.filter(|label| !label.is_empty()).collect())
        })
        .collect()
}

#[test]
fn every_metric_is_explained_with_its_labels() {
    let page = fs::read_to_string(PAGE).unwrap();
    let explained: BTreeMap<String, BTreeSet<String>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `gitadel_"))
        .map(|row| {
            let (name, rest) = row.split_once("` | ").unwrap();
            let labels = rest.split('|').next().unwrap().split(',').map(|label| label.trim().to_owned());
            (format!("gitadel_{name}"), labels.filter(|label| !label.is_empty()).collect())
        })
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
        assert!(known.contains_key(metric), "{metric}");
    }
}

/// A metric that does not exist is 0 to whoever sums it up: a test of a wrong name would hold whatever the program does.
#[test]
fn tests_ask_for_metrics_that_exist() {
    let known = metrics_of_the_program();
    let mut tests = String::new();
    program(Path::new("tests"), &mut tests);
    program(Path::new("benches"), &mut tests);
    let asked: BTreeSet<&str> = words(&tests, "\"gitadel_").into_iter().map(|word| &word[1..]).collect();
    assert!(asked.len() > 15, "{asked:?}");
    for metric in asked {
        let of_histogram = ["_count", "_sum", "_bucket"].iter().find_map(|part| metric.strip_suffix(part));
        assert!(known.contains_key(of_histogram.unwrap_or(metric)), "{metric}");
    }
}

/// What stands between quotation marks of some sort, where it could be a reason.
fn reasons_in(text: &str, quotation: char) -> impl Iterator<Item = &str> {
    text.split(quotation).skip(1).step_by(2).filter(|word| {
        word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(|c| c.is_ascii_alphabetic())
    })
}

/// The reasons of conditions, problems and Events, found by what stands before or behind them in the code.
fn reasons_of_the_program() -> BTreeSet<String> {
    const BEFORE: [&str; 7] =
        ["of_enforcement(", "reason: ", "true, ", "false, ", "((", "EventType::Warning, ", "EventType::Normal, "];
    let mut text = String::new();
    for directory in ["src/reconcile", "src/render", "src/source"] {
        program(Path::new(directory), &mut text);
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices('"') {
        let Some(reason) = reasons_in(&text[at..], '"').next().filter(|word| text[at + 1..].starts_with(word)) else {
            continue;
        };
        let (before, behind) = (&text[..at], &text[at + 1 + reason.len() + 1..]);
        if BEFORE.iter().any(|marker| before.ends_with(marker)) || behind.starts_with(", message)") {
            found.insert(reason.to_owned());
        }
    }
    for function in text.split("fn reason(&self) -> &'static str {").skip(1) {
        let body = function.split(" } } ").next().unwrap();
        found.extend(reasons_in(body, '"').map(str::to_owned));
    }
    found
}

#[test]
fn every_reason_is_explained_and_no_other() {
    let page = fs::read_to_string(PAGE).unwrap();
    let sections = page.split("## Conditions").nth(1).unwrap().split("\n## Upgrade").next().unwrap();
    let rows = sections.lines().filter(|line| line.starts_with("| "));
    let explained: BTreeSet<String> = rows.flat_map(|row| reasons_in(row, '`')).map(str::to_owned).collect();
    let known = reasons_of_the_program();
    assert!(known.len() > 40, "{known:?}");
    assert_eq!(explained, known);
}

/// What follows each `GA-` up to the next dash: the family of a finding.
fn families(text: &str) -> BTreeSet<String> {
    let family = |rest: &str| rest.chars().take_while(char::is_ascii_uppercase).collect::<String>();
    text.split("GA-").skip(1).map(family).filter(|family| !family.is_empty()).collect()
}

#[test]
fn every_family_of_findings_is_explained() {
    let mut text = String::new();
    program(Path::new("src/audit"), &mut text);
    let page = fs::read_to_string(PAGE).unwrap();
    let explained = page.lines().filter(|line| line.starts_with("| `GA-")).collect::<Vec<_>>().join("\n");
    assert!(families(&text).len() > 5, "{:?}", families(&text));
    assert_eq!(families(&explained), families(&text));
}
