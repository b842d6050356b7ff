//! What the tables and properties have in common.

mod latitude;
mod properties;
mod writes;

use serde_json::{Value, json};

use super::*;
use crate::document::Document;

/// The list types of what the tables use of Deployment, Service and webhook configurations.
pub(super) fn schema() -> ListSchema {
    serde_json::from_value(json!({"nodes": [
        {"fields": {"spec": 1, "webhooks": 7}},
        {"fields": {"containers": 2, "ports": 5, "selector": 6, "tags": 9}},
        {"list": {"Map": ["name"]}, "items": 3},
        {"fields": {"env": 4, "args": 8}},
        {"list": {"Map": ["name"]}},
        {"list": {"Map": ["port", "protocol"]}},
        {"atomic": true},
        {"list": {"Map": ["name"]}},
        {"list": "Atomic"},
        {"list": "Set"},
    ]}))
    .unwrap()
}

pub(super) struct Case {
    schema: ListSchema,
    allotted: Vec<PathPattern>,
    free: Vec<FreeField>,
    undeclared_fields: bool,
}

pub(super) fn case() -> Case {
    Case { schema: schema(), allotted: Vec::new(), free: Vec::new(), undeclared_fields: false }
}

impl Case {
    pub fn allotted(mut self, pattern: &str) -> Self {
        self.allotted.push(pattern.parse().unwrap());
        self
    }

    pub fn free(mut self, pattern: &str, bounds: Option<(i64, i64)>) -> Self {
        let bounds = bounds.map(|(low, high)| Bounds { minimum: Some(low), maximum: Some(high) });
        self.free.push(FreeField { pattern: pattern.parse().unwrap(), bounds });
        self
    }

    pub fn latitude(&self) -> Latitude<'_> {
        Latitude {
            schema: &self.schema,
            status_subresource: true,
            allotted: &self.allotted,
            free: &self.free,
            undeclared_fields: self.undeclared_fields,
        }
    }

    pub fn judge(&self, old: &Value, new: &Value, canonical: &Value) -> Vec<Finding> {
        let [old, new, canonical] = [old, new, canonical].map(Document::from_value);
        judge(old.root(), new.root(), canonical.root(), &self.latitude())
    }

    pub fn create(&self, new: &Value, canonical: &Value) -> Vec<Finding> {
        let [new, canonical] = [new, canonical].map(Document::from_value);
        judge_create(new.root(), canonical.root(), &self.latitude())
    }

    pub fn difference(&self, live: &Value, canonical: &Value) -> Vec<Finding> {
        let [live, canonical] = [live, canonical].map(Document::from_value);
        difference(live.root(), canonical.root(), &self.latitude())
    }

    pub fn carry(&self, canonical: &Value, live: &Value) -> Value {
        let [canonical, live] = [canonical, live].map(Document::from_value);
        carry(canonical.root(), live.root(), &self.latitude())
    }

    /// Rows of old, new, canonical spec, and the findings.
    fn specs(&self, rows: &[(&str, Value, Value, Value, &[&str])]) {
        for (name, old, new, canonical, findings) in rows {
            let [old, new, canonical] = [old, new, canonical].map(object);
            assert_eq!(texts(&self.judge(&old, &new, &canonical)), *findings, "{name}");
        }
    }

    fn metadata(&self, rows: &[(&str, Value, Value, Value, &[&str])]) {
        for (name, old, new, canonical, findings) in rows {
            let [old, new, canonical] = [old, new, canonical].map(with_metadata);
            assert_eq!(texts(&self.judge(&old, &new, &canonical)), *findings, "{name}");
        }
    }
}

fn object(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

fn with_metadata(metadata: &Value) -> Value {
    let mut object = object(&json!({"replicas": 1}));
    for (key, value) in metadata.as_object().unwrap() {
        object["metadata"][key] = value.clone();
    }
    object
}

fn texts(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}
