//! The webhook's metrics, and what all processes share.

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// A registry that knows which build this is.
///
/// # Errors
/// None that a running program meets: names and labels are fixed, and the tests register them all.
pub fn registry() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let info = IntGaugeVec::new(Opts::new("gitadel_build_info", "The running build; always 1."), &["version"])?;
    registry.register(Box::new(info.clone()))?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    Ok(registry)
}

/// All metrics in the text format of Prometheus.
///
/// # Errors
/// A metric without a name or a value, which registering rules out.
pub fn encode(registry: &Registry) -> Result<String, prometheus::Error> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

pub(super) fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

pub(super) fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

pub(super) fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    buckets: &[f64],
) -> Result<Histogram, prometheus::Error> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

/// What the webhook decided.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    /// Labels: outcome, rule, operation.
    pub reviews: IntCounterVec,
    pub decision_seconds: Histogram,
    /// Requests that got no verdict. Labels: reason.
    pub errors: IntCounterVec,
    pub body_bytes: IntGauge,
}

impl AdmissionMetrics {
    /// # Errors
    /// The registry has these metrics already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            reviews: counters(
                registry,
                "gitadel_admission_reviews_total",
                "Writes that were judged: allow, deny, observe (a finding that was let pass), or proof (gitadel's own canary).",
                &["outcome", "rule", "operation"],
            )?,
            decision_seconds: histogram(
                registry,
                "gitadel_admission_decision_seconds",
                "Time from a review's bytes to the verdict's bytes, without waiting for a snapshot in preparation.",
                &[10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 250e-3],
            )?,
            errors: counters(
                registry,
                "gitadel_admission_errors_total",
                "Requests that got an HTTP error instead of a verdict. The API server rejects such a write where something is enforced, and lets it pass where it is only observed.",
                &["reason"],
            )?,
            body_bytes: gauge(
                registry,
                "gitadel_admission_body_bytes",
                "Room taken by the reviews that are being read and judged.",
            )?,
        })
    }
}

/// Connections to the webhook.
#[derive(Clone, Debug)]
pub struct ConnectionMetrics {
    pub open: IntGauge,
    pub refused: IntCounter,
}

impl ConnectionMetrics {
    /// # Errors
    /// The registry has these metrics already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let refused = IntCounter::new(
            "gitadel_admission_connections_refused_total",
            "Connections that were closed at once, since as many were open as may be, in all or from one address.",
        )?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self {
            open: gauge(registry, "gitadel_admission_connections", "Open connections to the webhook.")?,
            refused,
        })
    }
}

/// Which snapshot is in force.
#[derive(Clone, Debug)]
pub struct SnapshotMetrics {
    pub generation: IntGauge,
    pub objects: IntGauge,
    /// Labels: result (`loaded`, or why a file was refused).
    pub loads: IntCounterVec,
}

impl SnapshotMetrics {
    /// # Errors
    /// The registry has these metrics already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            generation: gauge(registry, "gitadel_snapshot_generation", "Generation of the snapshot in force.")?,
            objects: gauge(registry, "gitadel_snapshot_objects", "Objects in the snapshot in force.")?,
            loads: counters(
                registry,
                "gitadel_snapshot_loads_total",
                "Snapshot files that were loaded or refused.",
                &["result"],
            )?,
        })
    }
}

/// The serving certificate.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    /// Labels: result (`loaded`, or why a pair was refused).
    pub reloads: IntCounterVec,
}

impl TlsMetrics {
    /// # Errors
    /// The registry has these metrics already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let reloads = counters(
            registry,
            "gitadel_tls_reloads_total",
            "Certificate and key pairs that were loaded or refused.",
            &["result"],
        )?;
        Ok(Self { reloads })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::ReconcileMetrics;

    #[test]
    fn every_metric_can_be_registered_once_in_one_registry() {
        let registry = registry().unwrap();
        let admission = AdmissionMetrics::new(&registry).unwrap();
        SnapshotMetrics::new(&registry).unwrap();
        TlsMetrics::new(&registry).unwrap();
        ReconcileMetrics::new(&registry).unwrap();
        assert!(AdmissionMetrics::new(&registry).is_err());
        admission.reviews.with_label_values(&["deny", "declared", "UPDATE"]).inc();
        let text = encode(&registry).unwrap();
        assert!(
            text.contains(r#"gitadel_admission_reviews_total{operation="UPDATE",outcome="deny",rule="declared"} 1"#),
            "{text}"
        );
        assert!(text.contains(r#"gitadel_admission_decision_seconds_bucket{le="0.00001"} 0"#), "{text}");
        assert!(text.contains(concat!("gitadel_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")), "{text}");
    }
}
