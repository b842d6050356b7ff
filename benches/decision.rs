//! Time and allocations for each decision, over the number of desired objects.
//!
//! The snapshot is a real file, and the reviews concern objects spread over all of it, so that nothing is warm by accident.

mod figures;
#[path = "../tests/support/source.rs"]
mod source;

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use figures::desired::{review, write};
use figures::{Times, figure, short};
use gitadel::admission::server::judge_review;
use gitadel::admission::{Outcome, Request, decide};
use gitadel::document::Document;
use gitadel::snapshot::Snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Counts allocations; the memory is the system's.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed to the system's allocator as it came; the counter touches no memory that is allocated.
#[allow(unsafe_code, reason = "the only way to see allocations; in this benchmark alone")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is that of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above; what `alloc` gave came from the same allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZES: [usize; 3] = [100, 10_000, 50_000];
/// Objects that reviews concern, evenly spread.
const REVIEWED: usize = 100;
const ROUNDS: usize = 200;

type Case = (&'static str, fn(&mut Value, &mut Value), Outcome);

/// The state before and after, of an object that is as Git declares it.
const CASES: [Case; 3] = [
    ("no change", |_, new| new["metadata"]["managedFields"][0]["time"] = json!("2026-11-02T08:00:00Z"), Outcome::Allow),
    (
        "change to what Git says",
        |old, _| {
            old["spec"]["replicas"] = json!(5);
            old["spec"]["template"]["spec"]["containers"][1]["image"] = json!("registry.example.com/fleet/proxy:0.9");
        },
        Outcome::Allow,
    ),
    (
        "denied change",
        |_, new| new["spec"]["template"]["spec"]["containers"][1]["image"] = json!("evil:1"),
        Outcome::Deny,
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let mut medians = Vec::new();
    for size in SIZES {
        let path = directory.path().join(format!("snapshot-{size}"));
        let bytes = write(&path, "", size)?;
        let start = Instant::now();
        let snapshot = Snapshot::open(&path, None)?;
        figure(
            &format!("decision: open a snapshot of {size}"),
            short(start.elapsed()),
            "",
            format!("{} MiB", bytes >> 20),
        );
        for (name, change, outcome) in CASES {
            medians.push((size, name, measure(&snapshot, size, name, change, outcome)?));
        }
    }
    for (name, ..) in CASES {
        let of = |size| medians.iter().find(|m| m.0 == size && m.1 == name).map_or(0.0, |m| m.2.as_secs_f64());
        let growth = of(50_000) / of(100);
        figure(
            &format!("decision: {name}: 50000 objects / 100 objects"),
            format!("{growth:.2} x"),
            "no growth",
            "medians",
        );
    }
    Ok(())
}

fn measure(
    snapshot: &Snapshot,
    size: usize,
    name: &str,
    change: fn(&mut Value, &mut Value),
    outcome: Outcome,
) -> Result<Duration, Box<dyn Error>> {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse()?;
    let reviews: Vec<Vec<u8>> =
        (0..REVIEWED).map(|n| review(n * size / REVIEWED, change)).collect::<Result<_, serde_json::Error>>()?;
    let documents: Vec<Document> = reviews.iter().map(|r| Document::from_json(r)).collect::<Result<_, _>>()?;
    for document in &documents {
        let verdict = decide(&Request::parse(document)?, snapshot, now);
        if verdict.outcome != outcome {
            return Err(format!("{name}: {:?} by {}: {:?}", verdict.outcome, verdict.rule, verdict.message).into());
        }
    }
    let requests: Vec<Request<'_>> = documents.iter().map(Request::parse).collect::<Result<_, _>>()?;
    let label = |what: &str| format!("decision: {what}, {name}, {size} objects");

    let (decided, decided_allocations) = repeat(REVIEWED, |n| decide(&requests[n], snapshot, now));
    let goal = "p99 < 50 µs";
    figure(&label("decide"), &decided, goal, format!("{decided_allocations:.1} allocations"));

    let (whole, whole_allocations) = repeat(REVIEWED, |n| {
        Document::from_json(&reviews[n]).ok().and_then(|document| judge_review(&document, snapshot, now).ok())
    });
    let (parsed, parsed_allocations) = repeat(REVIEWED, |n| serde_json::from_slice::<Value>(&reviews[n]).ok());
    let kilobytes = reviews.iter().map(Vec::len).sum::<usize>() / reviews.len() / 1000;
    figure(
        &label("bytes to bytes"),
        &whole,
        "",
        format!(
            "{whole_allocations:.1} allocations; serde_json alone parses the review ({kilobytes} KB) in {parsed}, \
             {parsed_allocations:.0} allocations"
        ),
    );
    Ok(decided.p50())
}

/// Times each of many calls, and how many allocations one of them makes on average.
fn repeat<T>(cases: usize, mut call: impl FnMut(usize) -> T) -> (Times, f64) {
    for n in 0..cases {
        black_box(call(n));
    }
    let mut times: Vec<Duration> = Vec::with_capacity(cases * ROUNDS);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..ROUNDS {
        for n in 0..cases {
            let start = Instant::now();
            let answer = black_box(call(n));
            times.push(start.elapsed());
            drop(answer);
        }
    }
    let allocations = (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64 / (cases * ROUNDS) as f64;
    (times.into_iter().collect(), allocations)
}
