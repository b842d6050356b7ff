//! Status that others act on, and which component keeps it.
//!
//! Most status only tells people something. This deletes objects, starts or keeps back work, leads traffic or counts what
//! is left: whoever writes it acts with the rights of the component that believes it.

use super::Identity::{self, ApiServer, Controller, Scheduler};

struct Row {
    group: &'static str,
    kind: &'static str,
    keepers: &'static [Identity],
}

const fn row(group: &'static str, kind: &'static str, keepers: &'static [Identity]) -> Row {
    Row { group, kind, keepers }
}

const ROWS: &[Row] = &[
    // Its kind is served, or takes no more objects. See `definition`.
    row("apiextensions.k8s.io", "CustomResourceDefinition", &[ApiServer]),
    // Requests are sent to it or refused.
    row("apiregistration.k8s.io", "APIService", &[ApiServer]),
    row("autoscaling", "HorizontalPodAutoscaler", &[Controller("horizontal-pod-autoscaler")]),
    // When it ran last: in the future, and it runs no more.
    row("batch", "CronJob", &[Controller("cronjob-controller")]),
    // That it is to fail: its Pods are deleted.
    row("batch", "Job", &[Controller("job-controller")]),
    // From which ranges Services have their addresses.
    row("networking.k8s.io", "ServiceCIDR", &[ApiServer, Controller("service-cidrs-controller")]),
    // How many Pods may be evicted.
    row("policy", "PodDisruptionBudget", &[ApiServer, Controller("disruption-controller")]),
    // Which devices it has, and for whom.
    row("resource.k8s.io", "ResourceClaim", &[Scheduler, Controller("resource-claim-controller")]),
    // What is used up.
    row("", "ResourceQuota", &[ApiServer, Controller("resourcequota-controller")]),
    // By which addresses every node takes traffic for it. Those who give them are mostly no part of Kubernetes.
    row("", "Service", &[Controller("service-controller")]),
];

/// Who writes the status of such objects; none where nobody acts on it.
pub fn status_keepers(group: &str, kind: &str) -> Option<&'static [Identity]> {
    ROWS.iter().find(|row| (row.group, row.kind) == (group, kind)).map(|row| row.keepers)
}

/// Groups and kinds of the table.
#[cfg(test)]
pub fn with_kept_status() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROWS.iter().map(|row| (row.group, row.kind))
}
