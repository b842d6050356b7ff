//! What an audit found, as a document that is the same as long as the cluster is.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::cluster::Unseen;
use super::finding::{Finding, Severity};

/// Of the document, not of the program: it changes when a reader has to.
const API_VERSION: &str = "audit.gitadel.dev/v1alpha1";

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    api_version: &'static str,
    kind: &'static str,
    /// Whether everything could be looked at.
    pub complete: bool,
    /// Severity → findings.
    summary: BTreeMap<&'static str, usize>,
    pub findings: Vec<Finding>,
}

impl Report {
    /// The most severe first, and what could not be looked at among them.
    pub fn new(mut findings: Vec<Finding>, unseen: &[Unseen]) -> Self {
        findings.extend(unseen.iter().map(not_looked_at));
        findings.sort_by(|a, b| {
            let key = |f: &Finding| (Reverse(f.severity), f.id, f.object.clone(), f.title.clone());
            key(a).cmp(&key(b)).then_with(|| a.subjects.cmp(&b.subjects))
        });
        let mut report = Self {
            api_version: API_VERSION,
            kind: "AuditReport",
            complete: unseen.is_empty(),
            summary: BTreeMap::new(),
            findings,
        };
        report.count();
        report
    }

    fn count(&mut self) {
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        self.summary = Severity::ALL.map(|severity| (severity.name(), count(severity))).into();
    }

    /// Only what is at least so severe. That something could not be looked at is always told.
    pub fn at_least(mut self, severity: Severity) -> Self {
        self.findings.retain(|finding| finding.severity >= severity || finding.id == UNSEEN);
        self.count();
        self
    }

    pub fn has(&self, at_least: Severity) -> bool {
        self.findings.iter().any(|finding| finding.severity >= at_least)
    }

    /// `1 critical, 2 high, 0 medium, 0 low, 3 info`
    pub fn summary(&self) -> String {
        let counts =
            Severity::ALL.map(|severity| format!("{} {severity}", self.summary.get(severity.name()).unwrap_or(&0)));
        let incomplete = if self.complete { "" } else { "; not everything could be looked at" };
        format!("{}{incomplete}", counts.join(", "))
    }
}

const UNSEEN: &str = "GA-READ-001";

fn not_looked_at(unseen: &Unseen) -> Finding {
    Finding::new(UNSEEN, Severity::Medium, format!("Could not look at {}", unseen.what))
        .object(unseen.what.clone())
        .why(format!("What is there is missing in this report: {}.", unseen.reason.trim_end_matches('.')))
        .fix("Audit as somebody who may: examples/audit-rbac.yaml has the rights.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let findings = vec![
            Finding::new("GA-B-001", Severity::Low, "b").object("y"),
            Finding::new("GA-B-001", Severity::Low, "b").object("x"),
            Finding::new("GA-A-001", Severity::Info, "a"),
            Finding::new("GA-C-001", Severity::Critical, "c"),
        ];
        Report::new(findings, &[Unseen { what: "Pods".into(), reason: "no right".into() }])
    }

    #[test]
    fn the_order_and_the_counts_follow_from_the_findings() {
        let report = report();
        let order: Vec<_> = report.findings.iter().map(|f| (f.id, f.object.as_str())).collect();
        let expected = [("GA-C-001", ""), (UNSEEN, "Pods"), ("GA-B-001", "x"), ("GA-B-001", "y"), ("GA-A-001", "")];
        assert_eq!(order, expected);
        assert_eq!(report.summary(), "1 critical, 0 high, 1 medium, 2 low, 1 info; not everything could be looked at");
        assert!(report.has(Severity::High) && !report.complete);
    }

    #[test]
    fn a_filter_hides_no_gap() {
        let report = report().at_least(Severity::Critical);
        let ids: Vec<_> = report.findings.iter().map(|f| f.id).collect();
        assert_eq!(ids, ["GA-C-001", UNSEEN]);
    }

    #[test]
    fn the_document_names_its_version() {
        let document = serde_json::to_value(report()).unwrap();
        assert_eq!(document["apiVersion"], "audit.gitadel.dev/v1alpha1");
        assert_eq!(document["kind"], "AuditReport");
        assert_eq!(document["summary"]["critical"], 1);
        assert_eq!(document["findings"][0]["severity"], "critical");
        assert!(document["findings"][0].get("object").is_none());
    }
}
