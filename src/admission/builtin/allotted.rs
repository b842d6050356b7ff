//! Values that the API server or an admission plugin sets once: admitted where they were absent, frozen afterwards.

use std::sync::LazyLock;

use super::Table;
use crate::compare::PathPattern;

const ALLOTTED: &[(&str, &str, &[&str])] = &[
    ("", "Service", &["spec.clusterIP", "spec.clusterIPs", "spec.ports[*].nodePort", "spec.healthCheckNodePort"]),
    (
        "batch",
        "Job",
        &[
            "spec.selector",
            "metadata.labels[controller-uid]",
            "metadata.labels[job-name]",
            "metadata.labels[batch.kubernetes.io/controller-uid]",
            "metadata.labels[batch.kubernetes.io/job-name]",
            "spec.template.metadata.labels[controller-uid]",
            "spec.template.metadata.labels[job-name]",
            "spec.template.metadata.labels[batch.kubernetes.io/controller-uid]",
            "spec.template.metadata.labels[batch.kubernetes.io/job-name]",
        ],
    ),
    ("", "PersistentVolumeClaim", &["spec.storageClassName"]),
    ("", "Namespace", &["spec.finalizers", "metadata.labels[kubernetes.io/metadata.name]"]),
];

static TABLE: LazyLock<Table<PathPattern>> = LazyLock::new(|| {
    Table::new(ALLOTTED.iter().flat_map(|(group, kind, patterns)| {
        patterns.iter().filter_map(|pattern| Some((*group, *kind, pattern.parse().ok()?)))
    }))
});

/// The allotted values of a kind.
pub fn allotted(group: &str, kind: &str) -> &'static [PathPattern] {
    TABLE.rows(group, kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_the_table_is_one() {
        for (group, kind, patterns) in ALLOTTED {
            assert_eq!(allotted(group, kind).len(), patterns.len(), "{kind}.{group}");
        }
    }

    #[test]
    fn a_kind_that_is_not_in_the_table_is_allotted_nothing() {
        assert!(allotted("apps", "Deployment").is_empty());
    }
}
