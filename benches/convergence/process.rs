//! What the processes take of the machine.

use std::fs;
use std::path::PathBuf;

use crate::figures::figure;
use crate::support::governed::Governed;

/// Prints the resident memory of webhook and reconciler.
pub fn memory(governed: &Governed, size: usize, when: &str) {
    let directory = governed.run_directory.display().to_string();
    for (command, goal) in [("webhook", "≤ 64 MiB at 10000"), ("reconcile", "≤ 160 MiB at 10000")] {
        let status = status_of(command, &directory);
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
                "{} MiB of its own, {} MiB shared (program and snapshot); at most {} MiB since it began",
                kilobytes("RssAnon") >> 10,
                shared >> 10,
                kilobytes("VmHWM") >> 10
            ),
        );
    }
}

/// `/proc/<pid>/status` of the gitadel that works in a directory.
fn status_of(command: &str, directory: &str) -> String {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let is_it = |process: &PathBuf| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        arguments.next().is_some_and(|program| program.ends_with("gitadel"))
            && arguments.next().is_some_and(|argument| argument == command)
            && arguments.any(|argument| argument.starts_with(directory))
    };
    let process = processes.into_iter().find(is_it).expect("a running gitadel");
    fs::read_to_string(process.join("status")).unwrap()
}
