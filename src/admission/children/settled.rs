//! Whether anything still runs, or may be made, from a template that was replaced.

use crate::document::Node;

/// Whether a Pod or a Job has run to its end.
pub fn is_over(kind: &str, child: Node<'_>) -> bool {
    match kind {
        "Pod" => {
            let phase = child.at(&["status", "phase"]).and_then(Node::as_str);
            matches!(phase, Some("Succeeded" | "Failed"))
        }
        "Job" => {
            let conditions = child.at(&["status", "conditions"]).and_then(Node::list);
            conditions.into_iter().flat_map(|conditions| conditions.iter()).any(|condition| {
                let text = |key| condition.get(key).and_then(Node::as_str);
                matches!(text("type"), Some("Complete" | "Failed")) && text("status") == Some("True")
            })
        }
        _ => false,
    }
}

/// Whether an object that is as declared says that nothing is left of earlier templates. What it says may be forged.
pub fn is_settled(group: &str, kind: &str, live: Node<'_>) -> bool {
    let status = |field: &str| live.at(&["status", field]);
    let count = |field: &str| status(field).and_then(Node::as_i64).unwrap_or(0);
    let is_seen = || {
        let generation = live.at(&["metadata", "generation"]).and_then(Node::as_i64);
        generation.is_some_and(|generation| count("observedGeneration") >= generation)
    };
    match (group, kind) {
        // As `kubectl rollout status` has it.
        ("apps", "Deployment") => {
            let wanted = live.at(&["spec", "replicas"]).and_then(Node::as_i64).unwrap_or(1);
            is_seen() && ["updatedReplicas", "replicas", "availableReplicas"].iter().all(|field| count(field) == wanted)
        }
        ("apps", "StatefulSet") => {
            let revision = |field| status(field).and_then(Node::as_str);
            is_seen()
                && revision("updateRevision").is_some()
                && revision("currentRevision") == revision("updateRevision")
                && count("updatedReplicas") == count("replicas")
        }
        ("apps", "DaemonSet") => is_seen() && count("updatedNumberScheduled") == count("currentNumberScheduled"),
        ("batch", "CronJob") => {
            let active = status("active").and_then(Node::list);
            active.is_none_or(|active| active.is_empty())
        }
        // They replace no Pod because of their template.
        ("apps", "ReplicaSet") | ("", "ReplicationController") => count("replicas") == 0 && is_seen(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::document::Document;

    #[test]
    fn what_has_ended_makes_nothing_any_more() {
        let job = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
        for (kind, child, expected) in [
            ("Pod", json!({"status": {"phase": "Succeeded"}}), true),
            ("Pod", json!({"status": {"phase": "Running"}}), false),
            ("Pod", json!({}), false),
            ("Job", job("Complete", "True"), true),
            ("Job", job("Failed", "False"), false),
            ("Job", job("Suspended", "True"), false),
            ("ReplicaSet", json!({}), false),
        ] {
            assert_eq!(is_over(kind, Document::from_value(&child).root()), expected, "{kind} {child}");
        }
    }

    #[test]
    fn a_template_lives_as_long_as_something_may_be_made_from_it() {
        let cases: [(&str, &str, Value, bool); 10] = [
            (
                "apps",
                "Deployment",
                json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
                true,
            ),
            (
                "apps",
                "Deployment",
                json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 4}),
                false,
            ),
            ("apps", "Deployment", json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3}), false),
            (
                "apps",
                "Deployment",
                json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
                false,
            ),
            ("apps", "Deployment", json!({}), false),
            (
                "apps",
                "StatefulSet",
                json!({"observedGeneration": 2, "currentRevision": "a", "updateRevision": "a", "replicas": 1, "updatedReplicas": 1}),
                true,
            ),
            (
                "apps",
                "StatefulSet",
                json!({"observedGeneration": 2, "currentRevision": "a", "updateRevision": "b", "replicas": 1, "updatedReplicas": 1}),
                false,
            ),
            ("batch", "CronJob", json!({"active": [{"name": "backup-1"}]}), false),
            ("batch", "CronJob", json!({}), true),
            ("", "Service", json!({}), false),
        ];
        for (group, kind, status, expected) in cases {
            let live = Document::from_value(
                &json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": status}),
            );
            assert_eq!(is_settled(group, kind, live.root()), expected, "{kind} {status}");
        }
    }
}
