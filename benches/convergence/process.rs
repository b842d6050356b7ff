//! What the processes take of the machine.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::bare;
use crate::figures::{figure, processor_time};
use crate::support::governed::Governed;

/// The goals are for this many objects.
const GOAL_SIZE: usize = 10_000;

/// Prints the resident memory of webhook and reconciler, beside what the objects alone take.
pub async fn memory(governed: &Governed, size: usize, when: &str) {
    let objects = bare::list(&governed.client).await.bytes;
    for (command, goal) in [("webhook", "≤ 64 MiB"), ("reconcile", "≤ 160 MiB")] {
        let goal = if size == GOAL_SIZE { goal } else { "" };
        let status = fs::read_to_string(format!("/proc/{}/status", id(governed, command))).unwrap();
        let kilobytes = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().unwrap_or_default()
        };
        let shared = kilobytes("RssFile") + kilobytes("RssShmem");
        figure(
            &format!("memory: {command} at {size} objects, {when}"),
            format!("{} MiB", kilobytes("VmRSS") >> 10),
            goal,
            format!(
                "the objects are {:.1} MiB as JSON; {} MiB of its own, {} MiB shared (program and snapshot); at most {} MiB since it began",
                objects as f64 / f64::from(1 << 20),
                kilobytes("RssAnon") >> 10,
                shared >> 10,
                kilobytes("VmHWM") >> 10
            ),
        );
    }
}

/// Processor time of webhook and reconciler so far.
pub fn times(governed: &Governed) -> [Duration; 2] {
    ["webhook", "reconcile"].map(|command| processor_time(id(governed, command)))
}

/// The process that works in the directory of these.
fn id(governed: &Governed, command: &str) -> u32 {
    let directory = governed.run_directory.display().to_string();
    let is_it = |process: &PathBuf| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        arguments.next().is_some_and(|program| program.ends_with("gitadel"))
            && arguments.next().is_some_and(|argument| argument == command)
            && arguments.any(|argument| argument.starts_with(&directory))
    };
    let process = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path())).find(is_it);
    process.and_then(|process| process.file_name()?.to_str()?.parse().ok()).expect("a running gitadel")
}
