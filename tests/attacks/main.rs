//! Every way to change a cluster past Git that we know of, each tried on a real API server that gitadel governs.
//!
//! The rows are in `rows/`, one file for each family. A row says what is tried, by whom, and what must come of it; the
//! runner makes the write and compares the whole cluster with what it was before, since an answer is only a word. The same
//! rows are the table in docs/enforcement.md.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod absence;
mod attack;
mod audit;
#[path = "../support/page.rs"]
mod page;
mod races;

mod report;
mod rows;
mod runner;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod victim;
mod wire;

use report::figures;
use rows::settings;
use runner::Trial;
use serde_json::json;
use support::shop::{SHOP, WEB};
use victim::Victim;

#[test]
fn the_page_shows_the_table() {
    page::assert_section("docs/enforcement.md", "attacks", &report::markdown(&rows::all()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_attack_ends_as_the_table_says() {
    let mut trials: Vec<Trial> = Vec::new();
    let few = [("shop.yaml", SHOP), ("web.yaml", WEB)];
    for (files, settings, sections) in [
        (&rows::files()[..], json!({}), rows::on_the_whole_cluster()),
        (&rows::files(), settings::strict(), vec![settings::under_strict()]),
        (&few, settings::narrow(), vec![settings::under_narrow()]),
    ] {
        let mut victim = Victim::with(files, settings).await;
        for section in sections {
            println!("\n{}", section.title);
            trials.extend(victim.suffer(section.attacks).await);
        }
        victim.audit.read_on();
        for rejected in audit::components_rejected(&victim.audit.events) {
            println!("rejected: {rejected}");
        }
    }
    println!("\n{}", figures(&trials));
    let faults: Vec<_> = trials.iter().filter_map(|trial| Some((trial.attack.what, trial.fault.as_ref()?))).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
