//! The heart of it: a write to an object that Git or the baseline declares may only move it toward the declared state.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Judgement, Rule, admit, deny};
use crate::admission::builtin;
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::compare::{
    Latitude, Path, PathPattern, PatternSegment, Segment, difference, judge as compare, judge_create,
};
use crate::document::Node;
use crate::snapshot::{Entry, EntryClass};

pub const RULE: Rule = Rule { name: "declared", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let Some(entry) = context.entry else { return Ok(None) };
    let request = context.request;
    match (request.operation, request.object, request.old) {
        (Operation::Delete, _, old) if request.subresource.is_none() => delete(context, entry, old),
        (Operation::Create, Some(new), _) if request.subresource.is_none() => create(context, entry, new),
        (Operation::Update, _, _) if context.shows_whole_object() => update(context, entry),
        _ => {
            let operation = request.operation.as_str();
            let reason = format!("is governed by Git, and {operation} by its subresource cannot be compared with Git");
            deny(Class::Governed, denial::other(context, reason))
        }
    }
}

fn create(context: &Context<'_>, entry: Entry<'_>, new: Node<'_>) -> Judgement {
    let Some(canonical) = entry.canonical() else {
        return deny(Class::Governed, denial::pending(context, entry));
    };
    if !is_version_of(entry, new) {
        return deny(Class::Governed, denial::other_version(context, entry));
    }
    // What nobody in particular keeps may have any value. What a delegate keeps is Git's on creation.
    let nobodys = builtin::delegated(context.id.group, context.id.kind)
        .iter()
        .filter(|row| row.by == builtin::Identity::Anyone && row.through == builtin::Through::Any);
    let free: Vec<_> = nobodys.flat_map(|row| row.fields.iter().cloned()).collect();
    let mut findings = judge_create(new, canonical, &Latitude { free: &free, ..context.latitude() });
    // The canonical object of one that lives holds what its delegates wrote, and a new one has none of it yet.
    let kept = builtin::free_for_repair(
        context.id.group,
        context.id.kind,
        context.id.namespace,
        context.id.name,
        canonical,
        context.source,
    );
    findings.retain(|f| f.given.is_some() || !kept.iter().any(|field| covers(&field.pattern, &f.path)));
    if findings.is_empty() {
        return admit(Class::Governed);
    }
    deny(Class::Governed, denial::differs(context, entry, &findings))
}

fn update(context: &Context<'_>, entry: Entry<'_>) -> Judgement {
    let Some((old, new)) = context.states() else { return Ok(None) };
    let comparable = entry.canonical().filter(|_| is_version_of(entry, new));
    let Some(canonical) = comparable else {
        // Nothing to compare with, but what changes nothing of Git's needs no comparison.
        if context.foreign_changes(old, new).is_empty() {
            return admit(Class::Governed);
        }
        let message = if entry.canonical().is_none() {
            denial::pending(context, entry)
        } else {
            denial::other_version(context, entry)
        };
        return deny(Class::Governed, message);
    };
    let free = context.delegated(canonical);
    let findings = compare(old, new, canonical, &Latitude { free: &free, ..context.latitude() });
    if findings.is_empty() {
        return admit(Class::Governed);
    }
    deny(Class::Governed, denial::differs(context, entry, &findings))
}

fn delete(context: &Context<'_>, entry: Entry<'_>, old: Option<Node<'_>>) -> Judgement {
    let recreated = || {
        let (Some(canonical), Some(live)) = (entry.canonical(), old) else { return false };
        entry.recreate() && !difference(live, canonical, &context.latitude()).is_empty()
    };
    let expired = || {
        let (Some(canonical), Some(live)) = (entry.canonical(), old) else { return false };
        is_expired_job(context, canonical, live)
    };
    if entry.class() == EntryClass::Retained || recreated() || expired() {
        return admit(Class::Governed);
    }
    deny(Class::Governed, denial::deletion(context, entry))
}

/// Whether a Job has ended so long ago that Git wants it gone.
fn is_expired_job(context: &Context<'_>, canonical: Node<'_>, live: Node<'_>) -> bool {
    if (context.id.group, context.id.kind) != ("batch", "Job") {
        return false;
    }
    let Some(lifetime) = canonical.at(&["spec", "ttlSecondsAfterFinished"]).and_then(Node::as_i64) else {
        return false;
    };
    let conditions = live.at(&["status", "conditions"]).and_then(Node::list);
    conditions.into_iter().flat_map(|conditions| conditions.iter()).any(|condition| {
        let text = |key| condition.get(key).and_then(Node::as_str).unwrap_or_default();
        matches!(text("type"), "Complete" | "Failed")
            && text("status") == "True"
            && text("lastTransitionTime")
                .parse::<Timestamp>()
                .is_ok_and(|end| context.now.duration_since(end) >= SignedDuration::from_secs(lifetime))
    })
}

/// Whether a path is at or below a place that a pattern names.
fn covers(pattern: &PathPattern, path: &Path) -> bool {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let agrees = |(wanted, step): (&PatternSegment, &Segment)| match (wanted, step) {
        (PatternSegment::Any, _) => true,
        (PatternSegment::Field(name), Segment::Field(field)) => name == field,
        (PatternSegment::Prefix(prefix), Segment::Field(field)) => field.starts_with(prefix),
        (PatternSegment::Item(wanted), Segment::Item(keys)) => {
            wanted.iter().all(|(key, value)| keys.iter().any(|(k, v)| k == key && text(v) == *value))
        }
        (PatternSegment::Item(wanted), Segment::Member(member)) => {
            matches!(wanted.as_slice(), [(key, value)] if key.is_empty() && text(member) == *value)
        }
        _ => false,
    };
    pattern.0.len() <= path.0.len() && pattern.0.iter().zip(&path.0).all(agrees)
}

fn is_version_of(entry: Entry<'_>, object: Node<'_>) -> bool {
    object.get("apiVersion").and_then(Node::as_str) == Some(entry.version())
}
