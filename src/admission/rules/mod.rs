//! The rules, in the order in which they are asked. The first that has something to say decides.
//!
//! Each is a file: a name, which is also the metric label and the denial code, a function, and a table test.

mod canary;
mod child;
mod child_operations;
mod closed;
mod contents;
mod declared;
mod enforcement;
mod generated;
mod kept;
mod machinery;
mod namespace;
mod own;
mod pod_deletion;
mod rehearsal;
mod scale;
mod scope;
mod status;
mod terminating;
mod transient;

use super::context::Context;
use super::request::Request;
use super::verdict::Class;
use crate::compare::{Fault, Finding, Segment};
use crate::document::Node;
use crate::snapshot::SnapshotError;

pub struct Rule {
    pub name: &'static str,
    pub judge: fn(&Context<'_>) -> Judgement,
}

/// What a rule says; nothing where the next one is to be asked. A damaged snapshot decides nothing.
pub type Judgement = Result<Option<Ruling>, SnapshotError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    Admit(Class),
    /// With the finding in words.
    Deny(Class, String),
    /// Rejected to prove that the webhook is in force: nobody's finding.
    Prove(String),
}

pub const RULES: &[Rule] = &[
    rehearsal::RULE,
    canary::RULE,
    status::RULE,
    own::RULE,
    enforcement::RULE,
    contents::RULE,
    scope::RULE,
    transient::RULE,
    pod_deletion::RULE,
    child_operations::RULE,
    machinery::RULE,
    terminating::RULE,
    scale::RULE,
    namespace::RULE,
    declared::RULE,
    child::RULE,
    generated::RULE,
    closed::RULE,
];

fn admit(class: Class) -> Judgement {
    Ok(Some(Ruling::Admit(class)))
}

fn deny(class: Class, message: impl Into<String>) -> Judgement {
    Ok(Some(Ruling::Deny(class, message.into())))
}

/// Whether the object is being deleted.
fn is_terminating(object: Node<'_>) -> bool {
    object.at(&["metadata", "deletionTimestamp"]).is_some_and(|time| !time.is_null())
}

/// Whether a finding is no more than a finalizer that goes.
fn is_finalizer_removal(request: &Request<'_>, finding: &Finding) -> bool {
    let field = |position: usize| match finding.path.0.get(position) {
        Some(Segment::Field(name)) => Some(name.as_str()),
        _ => None,
    };
    match (field(0), field(1)) {
        (Some("metadata"), Some("finalizers")) => {
            finding.fault == Fault::Removed || only_removes(request, &["metadata", "finalizers"])
        }
        (Some("spec"), Some("finalizers")) if (request.kind.group, request.kind.kind) == ("", "Namespace") => {
            only_removes(request, &["spec", "finalizers"])
        }
        // Without its last finalizer, a Namespace is written with an empty spec or with none.
        (Some("spec"), None) if (request.kind.group, request.kind.kind) == ("", "Namespace") => {
            only_removes(request, &["spec", "finalizers"])
                && request.object.and_then(|o| o.get("spec")).and_then(Node::map).is_none_or(|spec| spec.is_empty())
        }
        _ => false,
    }
}

/// Whether the new list has nothing that the old one lacks.
fn only_removes(request: &Request<'_>, path: &[&str]) -> bool {
    let items = |object: Option<Node<'_>>| -> Option<Vec<String>> {
        match object?.at(path) {
            None => Some(Vec::new()),
            Some(list) if list.is_null() => Some(Vec::new()),
            Some(list) => list.list()?.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        }
    };
    match (items(request.old), items(request.object)) {
        (Some(old), Some(new)) => new.iter().all(|item| old.contains(item)),
        _ => false,
    }
}
