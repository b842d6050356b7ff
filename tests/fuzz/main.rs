//! Thousands of random edits of manifests that no one here wrote, on a real API server: each as the server normalises it.
//! Admitted is what changes nothing, or only what is delegated, and nothing else; and everything of that.
//!
//! `FUZZ_EDITS` says how many, `FUZZ_SEED` makes those of an earlier run again, `FUZZ_EDIT` only one of them.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod delegated;
mod drift;
mod edits;
mod fuzz;
mod manifests;
mod oracle;
mod places;
mod random;
mod spelled;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::collections::BTreeMap;
use std::time::Instant;

use futures::{StreamExt, stream};
use fuzz::{Fuzz, Judged, Outcome};
use gitadel::snapshot::{FILE_NAME, Snapshot};
use oracle::Expected;
use serde_json::json;
use support::governed::Governed;

/// Edits under way at once.
const PARALLEL: usize = 8;
const EDITS: u64 = 1500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// What came of all edits.
#[derive(Default)]
struct Report {
    judged: BTreeMap<Expected, usize>,
    refused: usize,
    wrong: Vec<String>,
}

impl Report {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut report = Self::default();
        for outcome in outcomes {
            let judged = match outcome {
                Outcome::Judged(judged) => judged,
                Outcome::Refused(_) => {
                    report.refused += 1;
                    continue;
                }
            };
            let Judged { edit, what, expected, changes, denial, .. } = &**judged;
            *report.judged.entry(*expected).or_default() += 1;
            if denial.is_some() != (*expected == Expected::Denied) {
                let said = denial.as_deref().unwrap_or("admitted");
                report.wrong.push(format!("FUZZ_EDIT={edit} {what}; changes {changes:?}, so {expected:?}: {said}"));
            }
        }
        report
    }

    fn count(&self, expected: Expected) -> usize {
        self.judged.get(&expected).copied().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_what_is_delegated_changes() {
    let files = manifests::files();
    let objects = manifests::objects(&files);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
    let mut governed = Governed::prepare(&files).await;
    governed.run();
    governed.enforce(governed.enforcement_with(json!({"delegations": delegated::delegations()}))).await;
    println!("{} objects converged after {:.1?}", objects.len(), governed.converged().await);

    let seed = number("FUZZ_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let only = number("FUZZ_EDIT");
    let edits = only.map_or(0..number("FUZZ_EDITS").unwrap_or(EDITS), |edit| edit..edit + 1);
    println!("FUZZ_SEED={seed}");
    let (fuzz, start) = (Fuzz::new(&governed, objects, seed).await, Instant::now());
    let outcomes: Vec<Outcome> =
        stream::iter(edits.clone()).map(|edit| fuzz.edit(edit)).buffer_unordered(PARALLEL).collect().await;
    if let (Some(_), [Outcome::Refused(why)]) = (only, outcomes.as_slice()) {
        println!("{why}");
    }
    let report = Report::of(&outcomes);
    let [unchanged, delegated, denied] =
        [Expected::Unchanged, Expected::Delegated, Expected::Denied].map(|expected| report.count(expected));
    println!(
        "{} edits judged: {unchanged} that change nothing and {delegated} of what is delegated to be admitted, {denied} to be \
         denied; {} refused by the API server; in {:.1?}",
        unchanged + delegated + denied,
        report.refused,
        start.elapsed()
    );
    assert!(report.wrong.is_empty(), "FUZZ_SEED={seed}\n{}", report.wrong.join("\n"));

    let snapshot = Snapshot::open(&governed.run_directory.join("snapshot").join(FILE_NAME), None).unwrap();
    let mut states = BTreeMap::new();
    for outcome in &outcomes {
        if let Outcome::Judged(judged) = outcome
            && let Some(state) = &judged.state
        {
            let target = &fuzz.targets[judged.target];
            states.entry(target.title.as_str()).or_insert_with(|| (target, Vec::new())).1.push(state);
        }
    }
    let (drift, wrong) = drift::judge(&snapshot, &states);
    println!("had they got past admission: {drift:?}, {} wrong verdicts", wrong.len());
    assert!(wrong.is_empty(), "FUZZ_SEED={seed}\n{}", wrong.join("\n"));

    // Of a fuzz that makes no edits of a kind, or none that an API server takes, nothing follows.
    let part = |count: usize, percent: u64| only.is_some() || count as u64 * 100 >= (edits.end - edits.start) * percent;
    assert!(part(unchanged, 15) && part(delegated, 3) && part(denied, 25), "too few of a kind");
    assert!(part(drift.repairs, 25) && part(drift.moves, 10), "{drift:?}");
}
