//! Asks the rules in turn and says what the Enforcement's action makes of the answer.

use jiff::Timestamp;

use super::classify::is_own;
use super::context::Context;
use super::denial;
use super::request::Request;
use super::rules::{RULES, Ruling};
use super::verdict::{Class, Outcome, Verdict};
use crate::api::Action;
use crate::compare::{MaskKey, MaskKeyError, mask_secret};
use crate::document::Document;
use crate::snapshot::{Snapshot, SnapshotError};

/// The rule that speaks where the snapshot cannot.
const UNREADABLE: &str = "snapshot";
/// The rule that speaks where no other does.
const UNJUDGED: &str = "unjudged";

/// Every value of [`Verdict::rule`]: the labels of a metric are few and known.
pub fn rule_names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|rule| rule.name).chain([UNREADABLE, UNJUDGED])
}

/// May this write happen?
pub fn decide(request: &Request<'_>, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    if !holds_secret(request) {
        return ruled(request, snapshot, now);
    }
    match Masked::new(request, snapshot) {
        Ok(masked) => ruled(&masked.request(request), snapshot, now),
        Err(error) => Verdict::deny(UNREADABLE, Class::Governed, error.to_string()),
    }
}

fn ruled(request: &Request<'_>, snapshot: &Snapshot, now: Timestamp) -> Verdict {
    let unreadable = |error: SnapshotError| Verdict::deny(UNREADABLE, Class::Governed, error.to_string());
    let context = match Context::new(request, snapshot, now) {
        Ok(context) => context,
        Err(error) => return unreadable(error),
    };
    for rule in RULES {
        match (rule.judge)(&context) {
            Ok(None) => {}
            Ok(Some(ruling)) => return verdict(&context, rule.name, ruling),
            Err(error) => return unreadable(error),
        }
    }
    let message = denial::other(&context, "cannot be judged: gitadel knows no rule for such a request.");
    verdict(&context, UNJUDGED, Ruling::Deny(Class::Undeclared, message))
}

fn verdict(context: &Context<'_>, rule: &'static str, ruling: Ruling) -> Verdict {
    let (class, message) = match ruling {
        Ruling::Admit(class) => return Verdict::allow(rule, class),
        Ruling::Deny(class, message) => (class, message),
    };
    let mut audit = vec![("rule".to_owned(), rule.to_owned())];
    if let Some(source) = context.source {
        audit.push(("enforcement".to_owned(), source.name.clone()));
        audit.push(("commit".to_owned(), source.commit.clone()));
    }
    let action = context.action();
    if action == Action::Enforce {
        return Verdict { audit, ..Verdict::deny(rule, class, message) };
    }
    audit.push(("finding".to_owned(), message.clone()));
    let warnings = if action == Action::Warn { vec![message.clone()] } else { Vec::new() };
    Verdict { outcome: Outcome::Allow, rule, class, message: Some(message), audit, warnings, observed: true }
}

/// gitadel's own records are Secrets for their size of readers only: what they hold is proven by a digest of its own.
fn holds_secret(request: &Request<'_>) -> bool {
    let id = crate::object::ObjectRef { group: "", kind: "Secret", namespace: request.namespace, name: request.name };
    (request.group, request.resource) == ("", "secrets") && !is_own(id)
}

/// A Secret's states with hashes for values: no rule, message or annotation ever sees one.
struct Masked {
    object: Option<Document>,
    old: Option<Document>,
}

impl Masked {
    fn new(request: &Request<'_>, snapshot: &Snapshot) -> Result<Self, MaskKeyError> {
        let key = MaskKey::from_hex(&snapshot.meta().mask_key)?;
        Ok(Self {
            object: request.object.map(|secret| mask_secret(secret, &key)),
            old: request.old.map(|secret| mask_secret(secret, &key)),
        })
    }

    fn request<'a>(&'a self, request: &Request<'a>) -> Request<'a> {
        let root = |document: &'a Option<Document>| document.as_ref().map(Document::root);
        Request { object: root(&self.object), old: root(&self.old), ..request.clone() }
    }
}
