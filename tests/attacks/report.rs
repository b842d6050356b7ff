//! The table for people: at the end of a run with its figures, and in docs/enforcement.md.

use std::fmt::Write;
use std::time::Duration;

use super::attack::{Attack, Outcome};
use super::runner::Trial;

/// A part of the table.
pub struct Section {
    pub title: &'static str,
    pub attacks: Vec<Attack>,
}

pub fn figures(trials: &[Trial]) -> String {
    let count = |is: fn(&Outcome) -> bool| trials.iter().filter(|trial| is(&trial.attack.outcome)).count();
    let by_gitadel = trials.iter().filter(|trial| trial.attack.outcome == Outcome::Undone);
    let mut undone: Vec<Duration> = by_gitadel.filter_map(|trial| trial.undone_after).collect();
    undone.sort_unstable();
    format!(
        "{} attacks: {} rejected at admission, {} undone (p50 {:.0?}, p99 {:.0?}), {} put back by \
         Kubernetes itself, {} harmless, {} open and documented",
        trials.len(),
        count(|outcome| matches!(outcome, Outcome::Rejected(_))),
        undone.len(),
        percentile(&undone, 50),
        percentile(&undone, 99),
        count(|outcome| matches!(outcome, Outcome::PutBack(_))),
        count(|outcome| matches!(outcome, Outcome::Harmless(_))),
        count(|outcome| matches!(outcome, Outcome::Open { .. })),
    )
}

/// By the nearest rank.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

pub fn markdown(sections: &[Section]) -> String {
    let mut text = String::new();
    for Section { title, attacks } in sections {
        write!(text, "\n### {title}\n\n| attempt | operation | by | outcome |\n|---|---|---|---|\n").unwrap();
        let alike = |one: &Attack, next: &Attack| {
            (one.what, operation(one), &one.outcome) == (next.what, operation(next), &next.outcome)
        };
        for alike in attacks.chunk_by(alike) {
            let by: Vec<_> = alike.iter().map(|attack| attack.by.described()).collect();
            let attack = &alike[0];
            let cells = [attack.what.to_owned(), operation(attack), by.join(", "), outcome(&attack.outcome)];
            writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")).unwrap();
        }
    }
    text
}

fn operation(attack: &Attack) -> String {
    let described = attack.act.described();
    if attack.past_admission { format!("{described}, past admission") } else { described }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Rejected(rule) => format!("rejected: `{rule}`"),
        Outcome::Undone => "undone".into(),
        Outcome::PutBack(by) => format!("put back: {by}"),
        Outcome::Harmless(why) => format!("harmless: {why}"),
        Outcome::Open { closed_by } => format!("**open**; closed by {closed_by}"),
    }
}
