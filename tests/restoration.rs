//! Without static protection: the webhook configuration is deleted, and everything that got in meanwhile is undone.
//!
//! How long that takes is printed, never asserted; `docs/benchmarks.md` has the figures. `GITADEL_RESTORATIONS` says how
//! often it is deleted.

// clippy.toml spares test functions only; their helpers fail in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hyper::Method;
use kube::Client;
use serde_json::{Value, json};
use support::bypass::{get, send};
use support::eventually;
use support::governed::Governed;
use support::shop::SHOP;

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const OWN: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gitadel";
const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps";
/// By then an API server that obeys the restored configuration without a gap has shown it.
const NO_GAP: Duration = Duration::from_secs(2);

/// Between two looks and between two writes: whoever measures shares the processor with what is measured.
const PAUSE: Duration = Duration::from_millis(2);

/// From the deletion on.
struct Restoration {
    /// When there was one again.
    back: Duration,
    /// When it was what it had been.
    restored: Duration,
    /// When the first foreign write was rejected after the last one that was not; nothing where all were rejected.
    enforcing: Option<Duration>,
    slipped_in: BTreeSet<String>,
}

async fn delete(client: &Client, round: usize) -> Restoration {
    let before = get(client, OWN).await.unwrap();
    let start = Instant::now();
    send(client, Method::DELETE, OWN, &Value::Null).await.unwrap();
    let restored = async {
        let mut back = None;
        loop {
            if let Some(own) = get(client, OWN).await.filter(|own| own["metadata"]["uid"] != before["metadata"]["uid"])
            {
                let back = *back.get_or_insert_with(|| start.elapsed());
                if own["webhooks"] == before["webhooks"] {
                    return (back, start.elapsed());
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let (told, known) = tokio::sync::watch::channel(None);
    let restored = async {
        let (back, restored) = restored.await;
        told.send_replace(Some(restored));
        (back, restored)
    };
    let writes = async {
        let mut slipped_in = BTreeSet::new();
        for attempt in 0.. {
            let name = format!("slip-{round}-{attempt}");
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
            match send(client, Method::POST, CONFIG_MAPS, &object).await {
                Ok(_) => _ = slipped_in.insert(name),
                Err(kube::Error::Api(status)) if status.message.contains("gitadel.dev") => {
                    if !slipped_in.is_empty() {
                        return (Some(start.elapsed()), slipped_in);
                    }
                    if known.borrow().is_some_and(|restored: Duration| start.elapsed() > restored + NO_GAP) {
                        return (None, slipped_in);
                    }
                }
                Err(error) => panic!("{name}: {error}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        (None, slipped_in)
    };
    let ((back, restored), (enforcing, slipped_in)) = tokio::join!(restored, writes);
    Restoration { back, restored, enforcing, slipped_in }
}

/// A configuration of nobody's, made and read: what a restoration costs the API server at least.
async fn bare(client: &Client) -> Duration {
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "bare"}});
    let start = Instant::now();
    // Undeclared, so it may be gone before it is read.
    send(client, Method::POST, CONFIGURATIONS, &object).await.unwrap();
    let _ = get(client, &format!("{CONFIGURATIONS}/bare")).await;
    let took = start.elapsed();
    eventually("it to be removed", async || {
        get(client, &format!("{CONFIGURATIONS}/bare")).await.is_none().then_some(())
    })
    .await;
    took
}

fn figures(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    if times.is_empty() { "none".into() } else { format!("p50 {:.1} ms, p99 {:.1} ms", at(0.5), at(0.99)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_slips_in_while_the_configuration_is_gone_is_undone() {
    let count = std::env::var("GITADEL_RESTORATIONS").map_or(5, |count| count.parse().unwrap());
    let mut governed = Governed::prepare(&[("shop.yaml", SHOP)]).await;
    governed.run();
    // All of it, however much it is.
    governed.enforce(governed.enforcement_with(json!({"deletionGuard": {"maxObjects": 100_000}}))).await;
    governed.converged().await;
    governed.obeyed().await;
    let mut bares = Vec::new();
    let mut restorations = Vec::new();
    for round in 0..count {
        bares.push(bare(&governed.client).await);
        let restoration = delete(&governed.client, round).await;
        // Seen by the reconciler, not waited for by the next list.
        let slips: Vec<_> = restoration.slipped_in.iter().map(|name| format!("{CONFIG_MAPS}/{name}")).collect();
        for path in &slips {
            eventually("what slipped in to be gone", async || {
                get(&governed.client, path).await.is_none().then_some(())
            })
            .await;
        }
        restorations.push(restoration);
    }
    let slipped_in: usize = restorations.iter().map(|restoration| restoration.slipped_in.len()).sum();
    assert!(slipped_in > 0, "nothing slipped in: this shows nothing");
    let left = get(&governed.client, CONFIG_MAPS).await.unwrap();
    let left: Vec<_> = left["items"].as_array().unwrap().iter().map(|item| &item["metadata"]["name"]).collect();
    assert!(left.iter().all(|name| !name.as_str().unwrap().starts_with("slip-")), "{left:?}");

    println!("a configuration made and read: {}", figures(bares));
    println!("{count} deletions: one is back {}", figures(restorations.iter().map(|r| r.back).collect()));
    println!("it is what it was: {}", figures(restorations.iter().map(|r| r.restored).collect()));
    let windows: Vec<_> = restorations.iter().filter_map(|restoration| restoration.enforcing).collect();
    println!("enforcing again, of {} with a window: {}", windows.len(), figures(windows));
    println!("{slipped_in} writes slipped in, all undone");
}
