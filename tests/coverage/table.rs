//! The classification for people.

use gitadel::admission::coverage::{ROWS, Resources, Row, Target, Treatment};

pub fn markdown() -> String {
    let mut text =
        String::from("| write | operations | class | judged by | decided before | why |\n|---|---|---|---|---|---|\n");
    for row in ROWS {
        let operations: Vec<_> = row.operations.iter().map(|operation| operation.as_str().to_lowercase()).collect();
        let cells =
            [target(row), operations.join(", "), classes(row), rules(row), decided_before(row), row.means.to_owned()];
        text.push_str(&format!("| {} |\n", cells.join(" | ").replace("|  |", "| |")));
    }
    text
}

fn target(row: &Row) -> String {
    match row.target {
        Target::Objects => "**objects of every other kind**, custom ones included".to_owned(),
        Target::Common { subresource, builtin } => {
            format!("**`*/{subresource}`** of every custom kind that has it, and of {}", names(builtin))
        }
        Target::Named { resources, subresource: "" } => names(resources),
        Target::Named { resources, subresource } => {
            let names = resources.iter().flat_map(|(group, names)| names.iter().map(|name| full(group, name)));
            names.map(|name| format!("`{name}/{subresource}`")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn names(resources: &[Resources]) -> String {
    let names = resources.iter().flat_map(|(group, names)| names.iter().map(|name| full(group, name)));
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// As kubectl writes it.
fn full(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// The last row, about objects, is spelled out. Others refer to it.
fn is_as_objects(row: &Row) -> bool {
    let objects = ROWS.iter().find(|row| row.target == Target::Objects).unwrap();
    row.target != Target::Objects && (row.classes, row.rules) == (objects.classes, objects.rules)
}

fn rules(row: &Row) -> String {
    if is_as_objects(row) {
        return "as objects".to_owned();
    }
    row.rules.iter().map(|rule| format!("`{rule}`")).collect::<Vec<_>>().join(", ")
}

fn classes(row: &Row) -> String {
    if row.classes.is_empty() {
        return "unreachable".to_owned();
    }
    if is_as_objects(row) {
        return "as objects".to_owned();
    }
    row.classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", ")
}

fn decided_before(row: &Row) -> String {
    match row.treatment {
        Treatment::Judged => String::new(),
        Treatment::PreDecided(exemption) => format!("`{}`: {}", exemption.name, exemption.keeps_out),
        Treatment::NeverAsked { closed_by } => format!("nobody is asked; {closed_by}"),
    }
}
