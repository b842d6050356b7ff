//! How many children an owner may want, and when.
//!
//! A controller that is not itself could make more of what a template yields than was ever asked for: a second database
//! beside the first, a Job out of its time.

use std::ops::Range;

use serde_json::{Value, json};

use crate::compare::{Fault, Finding, Path, Segment};
use crate::document::Node;
use crate::snapshot::Source;

/// A ReplicaSet that would grow beyond what its Deployment may ever want of it.
pub fn replicas(deployment: &Value, source: Option<&Source>, old: Option<Node<'_>>, new: Node<'_>) -> Option<Finding> {
    let replicas = |set: Node<'_>| set.at(&["spec", "replicas"]).and_then(Node::as_i64).unwrap_or(1);
    let most = most_replicas(deployment, "Deployment", source)?;
    let most = most.saturating_add(surge(&deployment["spec"]["strategy"], most));
    (replicas(new) > most.max(old.map_or(0, replicas))).then(|| {
        finding(&["spec", "replicas"], Fault::OutOfBounds, json!({"minimum": 0, "maximum": most}), replicas(new).into())
    })
}

/// A Pod that is none of the replicas of a StatefulSet.
pub fn ordinal(set: &Value, source: Option<&Source>, pod: &str) -> Option<Finding> {
    let range = ordinals(set, source);
    let name = set["metadata"]["name"].as_str().unwrap_or_default();
    let ordinal = pod.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    let is_one = ordinal.and_then(|ordinal| ordinal.parse().ok()).is_some_and(|ordinal| range.contains(&ordinal));
    (!is_one).then(|| {
        let wanted = format!("{name}-N, N from {} to {}", range.start, range.end.saturating_sub(1));
        finding(&["metadata", "name"], Fault::Changed, wanted.into(), pod.into())
    })
}

/// A Job of a CronJob that is suspended.
pub fn suspended(cron_job: &Value, source: Option<&Source>) -> Option<Finding> {
    let is_left_to_somebody = delegated(cron_job, ("batch", "CronJob"), &["spec", "suspend"], source).next().is_some();
    (cron_job["spec"]["suspend"] == true && !is_left_to_somebody)
        .then(|| finding(&[], Fault::Changed, "none while the CronJob is suspended".into(), "one".into()))
}

/// The replicas that a StatefulSet may have.
pub fn ordinals(set: &Value, source: Option<&Source>) -> Range<i64> {
    let start = set["spec"]["ordinals"]["start"].as_i64().unwrap_or(0);
    start..start.saturating_add(most_replicas(set, "StatefulSet", source).unwrap_or(i64::MAX))
}

/// The greatest number of replicas that is declared or delegated; none where somebody may set any number.
fn most_replicas(owner: &Value, kind: &str, source: Option<&Source>) -> Option<i64> {
    let mut most = owner["spec"]["replicas"].as_i64().unwrap_or(1);
    for maximum in delegated(owner, ("apps", kind), &["spec", "replicas"], source) {
        most = most.max(maximum?);
    }
    Some(most)
}

/// For each delegation of a field of the owner, the greatest value that it allows.
fn delegated<'a>(
    owner: &'a Value,
    (group, kind): (&'a str, &'a str),
    field: &'a [&'a str],
    source: Option<&'a Source>,
) -> impl Iterator<Item = Option<i64>> + 'a {
    let text = |field: &str| owner["metadata"][field].as_str().unwrap_or_default();
    let delegations = source.into_iter().flat_map(|source| &source.delegations);
    delegations
        .filter(move |delegation| delegation.covers(group, kind, text("namespace"), text("name")))
        .flat_map(|delegation| &delegation.fields)
        .filter(move |free| free.pattern.covers_fields(field))
        .map(|free| free.bounds.and_then(|bounds| bounds.maximum))
}

/// How many Pods more than declared there may be while they are replaced.
fn surge(strategy: &Value, replicas: i64) -> i64 {
    let surge = &strategy["rollingUpdate"]["maxSurge"];
    let percent = surge.as_str().and_then(|text| text.strip_suffix('%')?.parse::<i64>().ok());
    match (surge.as_i64(), percent) {
        (Some(number), _) => number,
        (None, Some(percent)) => replicas.saturating_mul(percent).saturating_add(99) / 100,
        (None, None) => 0,
    }
}

fn finding(path: &[&str], fault: Fault, wanted: Value, given: Value) -> Finding {
    let path = Path(path.iter().map(|field| Segment::Field((*field).to_owned())).collect());
    Finding { path, fault, wanted: Some(wanted), given: Some(given) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::testing::{delegation, source};
    use crate::document::Document;

    fn left_to(kind: &str, field: &str, bounds: Option<(i64, i64)>) -> Source {
        let group = if kind == "CronJob" { "batch" } else { "apps" };
        Source { delegations: vec![delegation("scaler", (group, kind), field, bounds)], ..source("all") }
    }

    #[test]
    fn replicas_are_those_declared_or_delegated_and_a_surge() {
        let of = |replicas: i64, strategy: Value| {
            json!({"metadata": {"name": "web", "namespace": "shop"},
                "spec": {"replicas": replicas, "strategy": strategy}})
        };
        let surging = |replicas: i64, surge: Value| of(replicas, json!({"rollingUpdate": {"maxSurge": surge}}));
        let bounded = left_to("Deployment", "spec.replicas", Some((2, 8)));
        let unbounded = left_to("Deployment", "spec.replicas", None);
        for (deployment, source, most) in [
            (surging(2, json!(1)), None, 3),
            (surging(10, json!("25%")), None, 13),
            (of(2, json!({"type": "Recreate"})), None, 2),
            (surging(2, json!("50%")), Some(&bounded), 12),
            (surging(2, json!(1)), Some(&unbounded), i64::MAX),
        ] {
            let exceeds = |count: i64, before: Option<i64>| {
                let set = |count: i64| Document::from_value(&json!({"spec": {"replicas": count}}));
                let (old, new) = (before.map(set), set(count));
                replicas(&deployment, source, old.as_ref().map(Document::root), new.root()).is_some()
            };
            assert!(!exceeds(most, None), "{deployment}");
            assert_eq!(exceeds(most.saturating_add(1), None), most != i64::MAX, "{deployment}");
            assert!(!exceeds(most.saturating_add(1), Some(most.saturating_add(1))), "what is there may stay");
        }
    }

    #[test]
    fn a_stateful_set_has_pods_of_its_name_and_numbers() {
        let set = json!({"metadata": {"name": "db", "namespace": "shop"},
            "spec": {"replicas": 2, "ordinals": {"start": 3}}});
        let scaled = left_to("StatefulSet", "spec.replicas", Some((1, 4)));
        for (pod, by_git, by_delegate) in [
            ("db-3", true, true),
            ("db-4", true, true),
            ("db-6", false, true),
            ("db-7", false, false),
            ("db-2", false, false),
            ("db--4", false, false),
            ("other-3", false, false),
            ("db", false, false),
        ] {
            assert_eq!(ordinal(&set, None, pod).is_none(), by_git, "{pod}");
            assert_eq!(ordinal(&set, Some(&scaled), pod).is_none(), by_delegate, "{pod}");
        }
    }

    #[test]
    fn a_suspended_cron_job_makes_no_jobs() {
        let of =
            |suspend: bool| json!({"metadata": {"name": "tick", "namespace": "shop"}, "spec": {"suspend": suspend}});
        assert!(suspended(&of(true), None).is_some());
        assert!(suspended(&of(false), None).is_none());
        assert!(suspended(&of(true), Some(&left_to("CronJob", "spec.suspend", None))).is_none());
    }
}
