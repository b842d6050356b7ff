//! The taints by which Kubernetes says a node's condition.
//!
//! The node lifecycle controller sets them, with these effects and without a value, and takes them away; admission taints
//! a new node as not ready. A key alone says nothing: with another effect `unschedulable` throws every Pod off its node.
//! `out-of-service` is a person's, and the taints of a cloud are its controller's.

use crate::document::Node;

/// What the scheduler heeds, and what ends Pods that run.
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

pub struct ConditionTaint {
    pub key: &'static str,
    pub effects: &'static [&'static str],
}

const fn taint(key: &'static str, effects: &'static [&'static str]) -> ConditionTaint {
    ConditionTaint { key, effects }
}

pub const CONDITION_TAINTS: &[ConditionTaint] = &[
    taint("node.kubernetes.io/not-ready", &[NO_SCHEDULE, NO_EXECUTE]),
    taint("node.kubernetes.io/unreachable", &[NO_SCHEDULE, NO_EXECUTE]),
    taint("node.kubernetes.io/memory-pressure", &[NO_SCHEDULE]),
    taint("node.kubernetes.io/disk-pressure", &[NO_SCHEDULE]),
    taint("node.kubernetes.io/pid-pressure", &[NO_SCHEDULE]),
    taint("node.kubernetes.io/network-unavailable", &[NO_SCHEDULE]),
    taint("node.kubernetes.io/unschedulable", &[NO_SCHEDULE]),
];

/// Until its cloud knows it, nothing is scheduled on a node.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

fn text<'a>(taint: Node<'a>, field: &str) -> &'a str {
    taint.get(field).and_then(Node::as_str).unwrap_or_default()
}

fn of_key(taint: Node<'_>) -> Option<&'static ConditionTaint> {
    CONDITION_TAINTS.iter().find(|known| known.key == text(taint, "key"))
}

/// Whether a taint is what the node lifecycle controller sets.
pub fn is_condition_taint(taint: Node<'_>) -> bool {
    of_key(taint).is_some_and(|known| known.effects.contains(&text(taint, "effect")) && text(taint, "value").is_empty())
}

/// Whether a taint that is no condition's may go for good: one that only bears the name of a condition, or of a node that
/// its cloud knows now. The controller that says so has another name with each cloud.
pub fn may_be_taken_away(taint: Node<'_>) -> bool {
    of_key(taint).is_some() || text(taint, "key") == UNINITIALIZED
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Document;

    #[test]
    fn a_condition_is_told_by_key_effect_and_the_lack_of_a_value() {
        let cases = [
            ("node.kubernetes.io/not-ready", NO_EXECUTE, None, true),
            ("node.kubernetes.io/unreachable", NO_SCHEDULE, Some(""), true),
            ("node.kubernetes.io/not-ready", NO_EXECUTE, Some("x"), false),
            ("node.kubernetes.io/not-ready", "PreferNoSchedule", None, false),
            ("node.kubernetes.io/unschedulable", NO_SCHEDULE, None, true),
            ("node.kubernetes.io/unschedulable", NO_EXECUTE, None, false),
            ("node.kubernetes.io/memory-pressure", NO_EXECUTE, None, false),
            ("node.kubernetes.io/out-of-service", NO_EXECUTE, None, false),
            (UNINITIALIZED, NO_SCHEDULE, None, false),
        ];
        for (key, effect, value, expected) in cases {
            let mut taint = json!({"key": key, "effect": effect});
            if let Some(value) = value {
                taint["value"] = json!(value);
            }
            assert_eq!(is_condition_taint(Document::from_value(&taint).root()), expected, "{taint}");
        }
    }
}
