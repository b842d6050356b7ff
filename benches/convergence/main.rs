//! What a whole gitadel does on a real control plane: from a commit to the state of the cluster, back from drift, and
//! from a cold start; and the memory that it takes.
//!
//! `cargo bench --bench convergence -- 1000 10000 --memory 50000` names the numbers of objects, and how many there are to
//! be at the end to see the memory. These are the ones that it takes when nothing is named. Each number gets a control plane
//! of its own, on which bare loops write the same objects just before: what the API server takes from a client that does
//! nothing but write. No controller manager runs: its own writes would come in between, in each run at another moment.

// A benchmark that cannot go on has nothing to report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bare;
mod drift;
#[path = "../figures/mod.rs"]
mod figures;
mod process;
#[path = "../../tests/support/source.rs"]
mod source;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use figures::{Times, figure, fleet, short};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use support::bypass::send;
use support::git::git;
use support::governed::{Governed, NAME, condition};

const SIZES: [usize; 2] = [1_000, 10_000];
const MEMORY: usize = 50_000;
const OBJECTS_PER_FILE: usize = 10;
const SMALL_COMMITS: usize = 20;
const LIMIT: Duration = Duration::from_secs(600);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut memory =
        arguments.iter().position(|a| a == "--memory").map(|at| arguments[at + 1].parse::<usize>().unwrap());
    let mut sizes: Vec<usize> =
        arguments.iter().take_while(|a| *a != "--memory").filter_map(|a| a.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = SIZES.into();
        memory = memory.or(Some(MEMORY));
    }
    let largest = sizes.iter().copied().max().unwrap_or_default();
    for size in sizes {
        let mut bench = Bench::start().await;
        bench.convergence(size).await;
        bench.small_commits(size).await;
        if size == largest {
            drift::reverts(&bench.governed, size).await;
            process::memory(&bench.governed, size, "after convergence").await;
            bench.cold_start(size).await;
            process::memory(&bench.governed, size, "after a restart").await;
            if let Some(more) = memory {
                bench.write(size..more, 1);
                bench.converge("more").await;
                process::memory(&bench.governed, more, "after convergence").await;
                bench.cold_start(more).await;
                process::memory(&bench.governed, more, "after a restart").await;
            }
        }
    }
}

struct Bench {
    governed: Governed,
    http: HttpClient<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>>,
    _volume: tempfile::TempDir,
}

impl Bench {
    /// A control plane with gitadel installed, not running yet.
    async fn start() -> Self {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": fleet::NAMESPACE}});
        let mut governed = Governed::prepare(&[("namespace.yaml", &namespace.to_string())]).await;
        governed.control_plane.stop_controller_manager();
        // In a Pod the snapshot is on a volume in memory.
        let memory = Path::new("/dev/shm");
        let volume = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        governed.run_directory = volume.path().to_owned();
        governed.log_filter = "warn,gitadel=info".into();
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self { governed, http, _volume: volume }
    }

    async fn convergence(&mut self, size: usize) {
        let bare = bare::measure(&self.governed.client, size).await;
        self.governed.run();
        self.governed.enforce(self.governed.enforcement()).await;
        self.governed.converged().await;
        for (what, generation, apply, write) in
            [("new", 1, bare.apply_new, bare.create), ("changed", 2, bare.apply_changed, bare.replace)]
        {
            self.write(0..size, generation);
            let dry_runs =
                || self.governed.reconciler_metrics().sum("gitadel_canonicalisations_total", &[("outcome", "asked")]);
            let (before, asked) = (process::times(&self.governed), dry_runs());
            let took = self.converge(what).await;
            let after = process::times(&self.governed);
            let rate = size as f64 / took.as_secs_f64();
            figure(
                &format!("convergence: {size} {what} objects"),
                format!("{} = {rate:.0}/s", short(took)),
                "≥ 1.0 apply, 0.7 write",
                format!(
                    "{:.2} of a bare server-side apply loop ({apply:.0}/s), {:.2} of a bare POST or PUT loop ({write:.0}/s); \
                     {:.0} dry-runs; processor time: webhook {}, reconciler {}",
                    rate / apply,
                    rate / write,
                    (dry_runs() - asked).abs(),
                    short(after[0] - before[0]),
                    short(after[1] - before[1])
                ),
            );
        }
    }

    /// A commit that changes one object among many.
    async fn small_commits(&self, size: usize) {
        let (mut applied, mut bare) = (Times::default(), Times::default());
        for round in 0..SMALL_COMMITS {
            let number = 4 + 10 * (round * (size / 10) / SMALL_COMMITS);
            let generation = 100 + round;
            self.write_one(number, generation);
            let path = bare::path(&fleet::manifest(number, generation));
            let wanted = json!(format!("g{generation}"));
            let start = Instant::now();
            self.notify().await;
            self.until_label(&path, &wanted).await;
            applied.add(start.elapsed());
            self.governed.converged().await;
            let start = Instant::now();
            send(&self.governed.client, Method::GET, &path, &Value::Null).await.unwrap();
            bare.add(start.elapsed());
        }
        figure(
            &format!("convergence: a commit of one object among {size}"),
            &applied,
            "< 300 ms",
            format!("from the notification to the object read as changed; a read takes {}", short(bare.p50())),
        );
    }

    async fn until_label(&self, path: &str, wanted: &Value) {
        let start = Instant::now();
        loop {
            let object = send(&self.governed.client, Method::GET, path, &Value::Null).await.unwrap();
            if object["metadata"]["labels"]["generation"] == *wanted {
                return;
            }
            assert!(start.elapsed() < LIMIT, "{path} does not become {wanted}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn cold_start(&mut self, size: usize) {
        self.governed.stop_reconciler();
        self.governed.stop_webhook();
        let start = Instant::now();
        self.governed.run();
        let webhook = self.until_ready(self.governed.webhook_probe, start).await;
        let reconciler = self.until_ready(self.governed.reconciler_probe, start).await;
        loop {
            let metrics = self.governed.reconciler_metrics();
            let watches = |state: &str| metrics.sum("gitadel_watches", &[("state", state)]);
            if watches("started") > 0.0 && watches("started") == watches("listed") {
                break;
            }
            assert!(start.elapsed() < LIMIT, "not every kind is listed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let checked = start.elapsed();
        let metrics = self.governed.reconciler_metrics();
        let asked = metrics.sum("gitadel_canonicalisations_total", &[("outcome", "asked")]).abs();
        let writes = metrics.sum("gitadel_applies_total", &[]).abs();
        let bare = bare::list(&self.governed.client).await;
        figure(
            &format!("cold start: {size} objects: every object checked"),
            short(checked),
            "",
            format!(
                "{:.1} of what a bare client takes to list and parse them ({}); webhook ready after {}, reconciler after {}; \
                 {asked:.0} dry-runs, {writes:.0} writes",
                checked.as_secs_f64() / bare.took.as_secs_f64(),
                short(bare.took),
                short(webhook),
                short(reconciler)
            ),
        );
    }

    async fn until_ready(&self, port: u16, start: Instant) -> Duration {
        loop {
            let uri = format!("http://127.0.0.1:{port}/readyz").parse().unwrap();
            if self.http.get(uri).await.is_ok_and(|answer| answer.status().is_success()) {
                return start.elapsed();
            }
            assert!(start.elapsed() < LIMIT, "not ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Commits this state of objects.
    fn write(&self, numbers: std::ops::Range<usize>, generation: usize) {
        for first in numbers.clone().step_by(OBJECTS_PER_FILE) {
            let last = numbers.end.min(first + OBJECTS_PER_FILE);
            self.write_file(first, |number| (first..last).contains(&number).then_some(generation));
        }
        self.push();
    }

    /// Commits another state of one object; its neighbours in the file stay in that of [`Self::convergence`].
    fn write_one(&self, number: usize, generation: usize) {
        let first = number / OBJECTS_PER_FILE * OBJECTS_PER_FILE;
        self.write_file(first, |other| Some(if other == number { generation } else { 2 }));
        self.push();
    }

    fn write_file(&self, first: usize, generation: impl Fn(usize) -> Option<usize>) {
        let documents: Vec<String> = (first..first + OBJECTS_PER_FILE)
            .filter_map(|number| Some(fleet::manifest(number, generation(number)?)))
            .map(|manifest| serde_saphyr::to_string(&manifest).unwrap())
            .collect();
        let file = self.governed.work_tree.join(format!("objects/{}/{first}.yaml", first / 1000));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, documents.join("---\n")).unwrap();
    }

    fn push(&self) {
        let tree = &self.governed.work_tree;
        git(tree, &["add", "--all"]);
        git(tree, &["commit", "--quiet", "--allow-empty", "-m", "next state"]);
        git(tree, &["push", "--quiet", "origin", "HEAD:main"]);
    }

    async fn notify(&self) {
        let uri = format!("http://127.0.0.1:{}/notify/{NAME}", self.governed.reconciler_probe);
        let request = Request::builder().method(Method::POST).uri(uri).body(Empty::new()).unwrap();
        let answer = self.http.request(request).await.unwrap();
        assert!(answer.status().is_success());
        answer.into_body().collect().await.unwrap();
    }

    /// Notifies of the newest commit and waits until its Enforcement says that it is in force.
    async fn converge(&self, what: &str) -> Duration {
        let commit = git(&self.governed.work_tree, &["rev-parse", "HEAD"]);
        let start = Instant::now();
        self.notify().await;
        let in_force = |status: &Value| status["commit"]["id"] == *commit && condition(status, "Converged") == "True";
        self.governed.until(what, LIMIT, in_force).await;
        start.elapsed()
    }
}
