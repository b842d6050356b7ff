//! Edits past the webhook, and how long they last.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use crate::bare;
use crate::figures::{Times, figure, fleet};
use crate::support::bypass::send;
use crate::support::governed::Governed;

const EDITS: usize = 100;
const LIMIT: Duration = Duration::from_secs(30);

/// From the answer to the edit until the object is read as Git declares it again.
pub async fn reverts(governed: &Governed, size: usize) {
    let (mut times, mut bare_writes) = (Times::default(), Times::default());
    let beside = bare::beside(&governed.client).await;
    for edit in 0..EDITS {
        let number = 5 + 10 * (edit * (size / 10) / EDITS);
        let path = bare::path(&fleet::manifest(number, 2));
        let patch = json!([{"op": "add", "path": "/data/drift", "value": edit.to_string()}]);
        let start = Instant::now();
        send(&governed.client, Method::PATCH, &beside, &patch).await.unwrap();
        send(&governed.client, Method::GET, &beside, &Value::Null).await.unwrap();
        bare_writes.add(start.elapsed());
        governed.slip_in(Method::PATCH, &path, &patch).await;
        let start = Instant::now();
        loop {
            let object = send(&governed.client, Method::GET, &path, &Value::Null).await.unwrap();
            if object["data"].get("drift").is_none() {
                break;
            }
            assert!(start.elapsed() < LIMIT, "{path} is not reverted");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.add(start.elapsed());
    }
    let metrics = governed.reconciler_metrics();
    let (sum, count) =
        (metrics.sum("gitadel_drift_revert_seconds_sum", &[]), metrics.sum("gitadel_drift_revert_seconds_count", &[]));
    figure(
        &format!("drift: a bypassing edit among {size} objects undone"),
        &times,
        "p99 < 100 ms",
        format!(
            "a bare write and read of such an object: {bare_writes}; from the event to the answer to the repair {:.1} ms on \
             average of {count}",
            1e3 * sum / count
        ),
    );
}
