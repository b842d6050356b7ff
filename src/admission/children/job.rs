//! The Job that a CronJob's template yields.

use serde_json::{Map, Value, json};

use super::additions::{JOB_NAME, JOB_UID};
use super::metadata::{self, adopt};

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What a Job has to be.
pub fn wanted(template: &Value, child: &Value) -> Value {
    let mut spec = template["spec"].clone();
    let own = |field: &str| child["metadata"][field].as_str().unwrap_or_default();
    let by_hand = spec["manualSelector"] == true;
    let pods = &child["spec"]["template"];
    if !by_hand {
        spec["selector"] = json!({"matchLabels": {JOB_UID[0]: own("uid")}});
        let mut labels = metadata::map(&spec["template"], "labels");
        identify(&mut labels, &metadata::map(pods, "labels"), own("uid"), own("name"));
        if !labels.is_empty() {
            spec["template"]["metadata"]["labels"] = Value::Object(labels);
        }
    }
    for (field, value) in defaults(&spec) {
        if spec.get(field).is_none() && child["spec"].get(field) == Some(&value) {
            spec[field] = value;
        }
    }
    let found = metadata::map(child, "labels");
    let mut labels = metadata::map(template, "labels");
    if labels.is_empty() {
        // Without any of its own, a Job gets those of its Pods.
        for (key, value) in metadata::map(&spec["template"], "labels") {
            adopt(&mut labels, &found, &key, |text| value == text);
        }
    }
    identify(&mut labels, &found, own("uid"), own("name"));
    let mut annotations = metadata::map(template, "annotations");
    adopt(&mut annotations, &metadata::map(child, "annotations"), SCHEDULED, |_| true);
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata::wanted(child, labels, annotations, metadata::finalizers(template)),
        "spec": spec,
    })
}

fn identify(labels: &mut Map<String, Value>, found: &Map<String, Value>, uid: &str, name: &str) {
    for key in JOB_UID {
        adopt(labels, found, key, |value| value == uid);
    }
    for key in JOB_NAME {
        adopt(labels, found, key, |value| value == name);
    }
}

/// What the API server says of a Job where the template says nothing. A CronJob's template has no such defaults.
fn defaults(spec: &Value) -> [(&'static str, Value); 7] {
    let by_index = spec.get("backoffLimitPerIndex").is_some();
    let replacement = if spec.get("podFailurePolicy").is_some() { "Failed" } else { "TerminatingOrFailed" };
    [
        ("parallelism", json!(1)),
        ("completions", json!(1)),
        ("backoffLimit", json!(if by_index { i64::from(i32::MAX) } else { 6 })),
        ("completionMode", json!("NonIndexed")),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!(replacement)),
        ("suspend", json!(false)),
    ]
}
