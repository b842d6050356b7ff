//! The reconciler's metrics. The label `enforcement` has as many values as there are Enforcements, which are an
//! administrator's to make.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::metrics::{counters, gauge, histogram};

const REVERT_BUCKETS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];
const CONVERGENCE_BUCKETS: &[f64] = &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];

/// What the objects of an Enforcement are counted by.
const OBJECT_STATES: [&str; 5] = ["declared", "applied", "failed", "drifted", "baseline"];

/// What the reconciler read, wrote and put right.
#[derive(Clone, Debug)]
pub struct ReconcileMetrics {
    /// Labels: enforcement, result.
    pub source_fetches: IntCounterVec,
    /// Always 1. Labels: enforcement, commit. Reset an Enforcement's old commit with
    /// [`set_commit`](Self::set_commit), or its series pile up.
    source_commit_info: IntGaugeVec,
    /// Labels: enforcement, state (`declared`, `applied`, `failed`, `drifted`, `baseline`).
    pub objects: IntGaugeVec,
    /// Labels: enforcement, cause.
    pub drift_detected: IntCounterVec,
    /// Labels: enforcement.
    pub drift_reverted: IntCounterVec,
    /// From the event that showed the drift to the answer to the write that undid it.
    pub drift_revert_seconds: Histogram,
    /// From the moment a commit was seen to the one when the cluster was what it says. Labels: enforcement.
    pub convergence_seconds: HistogramVec,
    /// Labels: action.
    pub applies: IntCounterVec,
    /// Labels: reason.
    pub apply_failures: IntCounterVec,
    /// Labels: outcome (`asked`, `predicted`, `cached`, `failed`).
    pub canonicalisations: IntCounterVec,
    pub webhook_configuration_restored: IntCounter,
    /// From the event that showed the change until writes were rejected again.
    pub webhook_configuration_restore_seconds: Histogram,
    /// 1 while a policy of the API server refuses what the reconciler wants to store, else 0.
    pub webhook_configuration_refused: IntGauge,
    /// Labels: enforcement.
    pub pruned: IntCounterVec,
    /// 1 on the replica that writes, else 0.
    pub leader: IntGauge,
    /// Labels: reason.
    pub api_errors: IntCounterVec,
    /// Watched kinds: all are checked against Git when as many are `listed` as `started`. Labels: state.
    pub watches: IntGaugeVec,
}

impl ReconcileMetrics {
    /// # Errors
    /// The registry has these metrics already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| counters(registry, name, help, labels);
        let convergence = HistogramVec::new(
            HistogramOpts::new("gitadel_convergence_seconds", "Time from a commit seen to a cluster that matches it.")
                .buckets(CONVERGENCE_BUCKETS.to_vec()),
            &["enforcement"],
        )?;
        registry.register(Box::new(convergence.clone()))?;
        let restored = IntCounter::new(
            "gitadel_webhook_configuration_restored_total",
            "Times that the webhook configuration was deleted or altered and put back.",
        )?;
        registry.register(Box::new(restored.clone()))?;
        Ok(Self {
            source_fetches: counters(
                "gitadel_source_fetches_total",
                "Fetches of Git sources.",
                &["enforcement", "result"],
            )?,
            source_commit_info: gauges(
                "gitadel_source_commit_info",
                "The enforced commit of each source; always 1.",
                &["enforcement", "commit"],
            )?,
            objects: gauges("gitadel_objects", "Objects of each source by state.", &["enforcement", "state"])?,
            drift_detected: counters(
                "gitadel_drift_detected_total",
                "Objects found to differ from their desired state.",
                &["enforcement", "cause"],
            )?,
            drift_reverted: counters(
                "gitadel_drift_reverted_total",
                "Objects brought back to their desired state.",
                &["enforcement"],
            )?,
            drift_revert_seconds: histogram(
                registry,
                "gitadel_drift_revert_seconds",
                "Time from the event that shows drift to its revert.",
                REVERT_BUCKETS,
            )?,
            convergence_seconds: convergence,
            applies: counters("gitadel_applies_total", "Desired objects written, by what it took.", &["action"])?,
            apply_failures: counters(
                "gitadel_apply_failures_total",
                "Attempts to write or remove an object that failed and are repeated.",
                &["reason"],
            )?,
            canonicalisations: counters(
                "gitadel_canonicalisations_total",
                "Manifests whose canonical object was established, by how.",
                &["outcome"],
            )?,
            webhook_configuration_restored: restored,
            webhook_configuration_restore_seconds: histogram(
                registry,
                "gitadel_webhook_configuration_restore_seconds",
                "Time from a change of the webhook configuration until writes are rejected again.",
                REVERT_BUCKETS,
            )?,
            webhook_configuration_refused: gauge(
                registry,
                "gitadel_webhook_configuration_refused",
                "Whether a static policy of the API server refuses the webhook configuration.",
            )?,
            pruned: counters("gitadel_pruned_total", "Objects deleted because they left Git.", &["enforcement"])?,
            leader: gauge(registry, "gitadel_leader", "Whether this replica is the one that writes.")?,
            api_errors: counters("gitadel_api_errors_total", "Failed requests to the API server.", &["reason"])?,
            watches: gauges("gitadel_watches", "Watched kinds, and those of which every object was seen.", &["state"])?,
        })
    }

    /// Says which commit an Enforcement enforces, in place of the one before.
    pub fn set_commit(&self, enforcement: &str, previous: Option<&str>, commit: &str) {
        if let Some(previous) = previous {
            // It may never have been set: then there is nothing to remove.
            let _ = self.source_commit_info.remove_label_values(&[enforcement, previous]);
        }
        self.source_commit_info.with_label_values(&[enforcement, commit]).set(1);
    }

    /// Takes the gauges of an Enforcement away that is removed. What was counted stays counted.
    pub fn forget(&self, enforcement: &str, commit: Option<&str>) {
        // Those that were never set are not there.
        for state in OBJECT_STATES {
            let _ = self.objects.remove_label_values(&[enforcement, state]);
        }
        if let Some(commit) = commit {
            let _ = self.source_commit_info.remove_label_values(&[enforcement, commit]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{encode, registry};

    #[test]
    fn an_enforcement_has_one_commit_at_a_time() {
        let registry = registry().unwrap();
        let metrics = ReconcileMetrics::new(&registry).unwrap();
        metrics.set_commit("all", None, "1a2b3c4");
        metrics.set_commit("all", Some("1a2b3c4"), "5d6e7f8");
        let text = encode(&registry).unwrap();
        assert!(text.contains(r#"gitadel_source_commit_info{commit="5d6e7f8",enforcement="all"} 1"#), "{text}");
        assert!(!text.contains("1a2b3c4"), "{text}");
    }

    #[test]
    fn of_a_removed_enforcement_no_gauge_stays() {
        let registry = registry().unwrap();
        let metrics = ReconcileMetrics::new(&registry).unwrap();
        metrics.set_commit("all", None, "1a2b3c4");
        for state in OBJECT_STATES {
            metrics.objects.with_label_values(&["all", state]).set(1);
        }
        metrics.objects.with_label_values(&["other", "declared"]).set(1);
        metrics.forget("all", Some("1a2b3c4"));
        let text = encode(&registry).unwrap();
        assert!(!text.contains(r#"enforcement="all""#) && text.contains(r#"enforcement="other""#), "{text}");
    }
}
