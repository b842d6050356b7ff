//! The end: what the two processes counted, held against what the demo saw.

use std::time::Duration;

use super::bypass::Bypassed;
use crate::demo::report::took;
use crate::demo::story::{Stage, StoryError, expect};

const REVIEWS: &str = "gitadel_admission_reviews_total";
const REVERTED: &str = "gitadel_drift_reverted_total";
const RESTORED: &str = "gitadel_webhook_configuration_restored_total";

const WEBHOOK: [&str; 3] = [REVIEWS, "gitadel_snapshot_objects", "gitadel_snapshot_generation"];
const RECONCILER: [&str; 10] = [
    "gitadel_source_commit_info",
    "gitadel_source_fetches_total",
    "gitadel_objects",
    "gitadel_applies_total",
    "gitadel_apply_failures_total",
    "gitadel_canonicalisations_total",
    "gitadel_drift_detected_total",
    REVERTED,
    RESTORED,
    "gitadel_leader",
];

pub async fn settle(stage: &mut Stage, bypassed: &Bypassed) -> Result<(), StoryError> {
    stage.report.step("What the metrics say");
    let webhook = stage.pair.webhook_metrics().await?;
    let reconciler = stage.pair.reconciler_metrics().await?;
    stage.report.say("gitadel webhook:");
    stage.report.output(&webhook.lines(&WEBHOOK).join("\n"));
    stage.report.say("gitadel reconcile:");
    stage.report.output(&reconciler.lines(&RECONCILER).join("\n"));
    for (metrics, name, what) in [
        (&webhook, "gitadel_admission_decision_seconds", "a decision of the webhook"),
        (
            &reconciler,
            "gitadel_convergence_seconds",
            "from a commit seen to convergence, the first with its baseline included",
        ),
        (&reconciler, "gitadel_drift_revert_seconds", "from the event that shows drift to its revert"),
        (&reconciler, "gitadel_webhook_configuration_restore_seconds", "until the configuration is in force again"),
    ] {
        if let Some(mean) = metrics.mean(name) {
            let mean = took_exactly(Duration::from_secs_f64(mean.max(0.0)));
            let count = metrics.sum(&format!("{name}_count"), &[]);
            stage.report.say(&format!("{what}: {mean} on average ({count} times)"));
        }
    }

    let denied = webhook.sum(REVIEWS, &[("outcome", "deny")]);
    let (reverted, restored) = (reconciler.sum(REVERTED, &[]), reconciler.sum(RESTORED, &[]));
    for (what, counted, seen) in [
        ("denials", denied, f64::from(stage.denials)),
        ("reverts", reverted, as_number(bypassed.drifts)),
        ("restorations of the webhook configuration", restored, as_number(bypassed.deletions)),
    ] {
        expect(
            counted >= seen,
            || format!("{what} in the metrics"),
            || format!("at least the {seen} that the demo saw"),
            || counted.to_string(),
        )?;
    }
    stage
        .report
        .met(&format!("{denied} denials, {reverted} reverts and {restored} restorations: no fewer than the demo saw"));
    Ok(())
}

/// Decisions take microseconds.
fn took_exactly(duration: Duration) -> String {
    if duration < Duration::from_millis(1) { format!("{} µs", duration.as_micros()) } else { took(duration) }
}

fn as_number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
