//! What the webhook answers, and its form on the wire.

use serde_json::{Map, Value, json};

/// The API server cuts longer warnings itself, without a sign that it did.
const LONGEST_WARNING: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allow,
    Deny,
}

/// What kind of write it was, for metrics and audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// An object that Git or the baseline declares.
    Governed,
    /// An object that a controller keeps for a governed one.
    Child,
    /// An object that follows from a governed one, or from the cluster itself, without naming it as its controller.
    Generated,
    /// One of gitadel's own records.
    Own,
    /// An object in the scope that nothing declares.
    Undeclared,
    /// A write without which a cluster does not live, whoever makes it.
    Machinery,
    /// Nothing is stored.
    Virtual,
    OutOfScope,
}

impl Class {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governed => "governed",
            Self::Child => "child",
            Self::Generated => "generated",
            Self::Own => "own",
            Self::Undeclared => "undeclared",
            Self::Machinery => "machinery",
            Self::Virtual => "virtual",
            Self::OutOfScope => "out-of-scope",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The rule that decided: metric label and denial code.
    pub rule: &'static str,
    pub class: Class,
    /// The finding, in words for the person who made the write. Present on a denial, and where `observed` is set.
    pub message: Option<String>,
    /// Audit annotations, without the prefix that the API server adds.
    pub audit: Vec<(String, String)>,
    pub warnings: Vec<String>,
    /// An Enforcement that only observes or warns let a finding pass.
    pub observed: bool,
    /// The write asked for nothing but this denial, as proof that the webhook is in force.
    pub proof: bool,
}

impl Verdict {
    pub fn allow(rule: &'static str, class: Class) -> Self {
        Self {
            outcome: Outcome::Allow,
            rule,
            class,
            message: None,
            audit: Vec::new(),
            warnings: Vec::new(),
            observed: false,
            proof: false,
        }
    }

    pub fn deny(rule: &'static str, class: Class, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Deny, message: Some(message.into()), ..Self::allow(rule, class) }
    }

    /// The `AdmissionReview` that answers the request with this uid.
    pub fn response(&self, uid: &str) -> Vec<u8> {
        let mut response = Map::new();
        response.insert("uid".into(), json!(uid));
        response.insert("allowed".into(), json!(self.outcome == Outcome::Allow));
        if self.outcome == Outcome::Deny {
            let message = self.message.as_deref().unwrap_or("denied");
            response.insert("status".into(), json!({"code": 403, "reason": "Forbidden", "message": message}));
        }
        if !self.warnings.is_empty() {
            let warnings: Vec<_> = self.warnings.iter().map(|warning| shortened(warning)).collect();
            response.insert("warnings".into(), json!(warnings));
        }
        if !self.audit.is_empty() {
            let audit: Map<String, Value> = self.audit.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
            response.insert("auditAnnotations".into(), Value::Object(audit));
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            .to_string()
            .into_bytes()
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= LONGEST_WARNING {
        return text.to_owned();
    }
    let end = (0..=LONGEST_WARNING - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(verdict: &Verdict) -> Value {
        serde_json::from_slice(&verdict.response("u-1")).unwrap()
    }

    #[test]
    fn an_admission_says_nothing_but_yes() {
        assert_eq!(
            response(&Verdict::allow("scope", Class::OutOfScope)),
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": {"uid": "u-1", "allowed": true}})
        );
    }

    #[test]
    fn a_denial_carries_its_message() {
        let body = response(&Verdict::deny("declared", Class::Governed, "no"));
        assert_eq!(
            body["response"],
            json!({"uid": "u-1", "allowed": false,
                "status": {"code": 403, "reason": "Forbidden", "message": "no"}})
        );
    }

    #[test]
    fn warnings_are_cut_between_characters() {
        let verdict = Verdict { warnings: vec!["ü".repeat(200)], ..Verdict::allow("declared", Class::Governed) };
        let body = response(&verdict);
        let warning = body["response"]["warnings"][0].as_str().unwrap();
        assert!(warning.len() <= LONGEST_WARNING && warning.ends_with("ü…"), "{warning}");
    }

    #[test]
    fn audit_annotations_are_a_map() {
        let verdict =
            Verdict { audit: vec![("rule".into(), "declared".into())], ..Verdict::allow("declared", Class::Governed) };
        assert_eq!(response(&verdict)["response"]["auditAnnotations"], json!({"rule": "declared"}));
    }
}
