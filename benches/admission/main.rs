//! What a review costs: over HTTPS on loopback at the real `gitadel webhook`, beside a bare server of the same libraries
//! that reads the body and answers a constant; and what a client of a real API server sees of it.

// A benchmark that cannot go on has nothing to report.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bare;
#[allow(dead_code)]
#[path = "../../tests/webhook_server/client.rs"]
mod client;
mod client_view;
#[path = "../figures/mod.rs"]
mod figures;
mod load;
#[path = "../../tests/webhook_server/process.rs"]
mod process;
#[path = "../../tests/support/source.rs"]
mod source;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::time::Duration;

use figures::{desired, figure, processor_time};
use gitadel::tls::issue::Authority;
use hyper::body::Bytes;
use serde_json::json;

const OBJECTS: usize = 10_000;
const REVIEWED: usize = 100;
/// Parts of the highest rate.
const LOADS: [f64; 3] = [0.25, 0.5, 0.75];

fn main() {
    let authority = Authority::new("benchmark").unwrap();
    // The same program is the bare server, in a process of its own, so that its time can be told apart.
    if let Some(directory) = std::env::args().skip_while(|a| a != bare::ARGUMENT).nth(1) {
        return bare::serve(directory.as_ref());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let webhook = process::Webhook::start(&authority, 0);
    desired::write(&webhook.snapshot_path(), process::CLUSTER, OBJECTS).unwrap();
    runtime.block_on(webhook.probe_until("/readyz", 200));
    let bare = bare::Bare::start(&authority);
    let trusted = authority.certificate();
    runtime.block_on(async {
        let reviews = reviews();
        let kilobytes = reviews.iter().map(Bytes::len).sum::<usize>() / reviews.len() / 1000;
        let (webhook_most, webhook_core) = highest(webhook.reviews, webhook.id(), trusted, &reviews).await;
        let (bare_most, bare_core) = highest(bare.address, bare.id(), trusted, &reviews).await;
        figure(
            &format!("admission: reviews of {kilobytes} KB, a second of one core"),
            format!("{webhook_core:.0}/s"),
            "> 8000/s per core",
            format!("{:.2} of a bare server ({bare_core:.0}/s)", webhook_core / bare_core),
        );
        figure(
            "admission: highest rate over one connection",
            format!("{webhook_most:.0}/s"),
            "",
            format!("{:.2} of a bare server ({bare_most:.0}/s), client on the same machine", webhook_most / bare_most),
        );
        for load in LOADS {
            let rate = webhook_most * load;
            let ours = load::steady(webhook.reviews, trusted, &reviews, rate).await;
            let theirs = load::steady(bare.address, trusted, &reviews, rate).await;
            figure(
                &format!("admission: latency at {:.0} % load ({rate:.0}/s)", load * 100.0),
                &ours,
                if load == 0.5 { "p99 < 1 ms" } else { "" },
                format!("a bare server at the same rate: {theirs}"),
            );
        }
    });
    drop((webhook, bare));
    runtime.block_on(client_view::measure());
}

/// Updates of replicas toward what Git says.
fn reviews() -> Vec<Bytes> {
    let toward_git = |old: &mut serde_json::Value, _: &mut serde_json::Value| old["spec"]["replicas"] = json!(5);
    let review = |n| desired::review(n * OBJECTS / REVIEWED, toward_git).unwrap().into();
    (0..REVIEWED).map(review).collect()
}

/// Requests a second, and requests for each second of the server's processor time.
async fn highest(address: SocketAddr, process: u32, authority: &str, reviews: &[Bytes]) -> (f64, f64) {
    load::full(address, authority, reviews, Duration::from_secs(1)).await;
    let before = processor_time(process);
    let (count, took) = load::full(address, authority, reviews, Duration::from_secs(5)).await;
    let used = processor_time(process) - before;
    (count as f64 / took.as_secs_f64(), count as f64 / used.as_secs_f64())
}
