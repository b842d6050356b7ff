//! Where a walk through an object is, and what the latitude says about that place.
//!
//! The steps are borrowed from the documents: a [`Path`] is only made when there is something to report.

use super::{Bounds, LAST_APPLIED, Latitude, Path, PathPattern, PatternSegment, Segment};
use crate::document::{Node, View};

/// Set by the API server on every object, and no part of its state.
pub(super) const BOOKKEEPING: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generateName",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    /// Member of a map or struct.
    Field(&'a str),
    /// Item of a keyed list, and the names of its keys.
    Item(Node<'a>, &'a [String]),
    /// Member of a set.
    Member(Node<'a>),
}

pub(super) struct Place<'a> {
    pub latitude: &'a Latitude<'a>,
    steps: Vec<Step<'a>>,
}

/// What a delegation says about a value.
pub(super) enum Freedom {
    /// There is none for this place.
    None,
    Within,
    Beyond(Bounds),
}

impl<'a> Place<'a> {
    pub fn root(latitude: &'a Latitude<'a>) -> Self {
        Self { latitude, steps: Vec::with_capacity(16) }
    }

    pub fn enter(&mut self, step: Step<'a>) {
        self.steps.push(step);
    }

    pub fn leave(&mut self) {
        self.steps.pop();
    }

    pub fn within<T>(&mut self, step: Step<'a>, visit: impl FnOnce(&mut Self) -> T) -> T {
        self.enter(step);
        let result = visit(self);
        self.leave();
        result
    }

    pub fn path(&self) -> Path {
        Path(self.steps.iter().map(Step::segment).collect())
    }

    fn is(&self, fields: &[&str]) -> bool {
        self.steps.len() == fields.len() && self.is_below(fields)
    }

    /// Here or below.
    fn is_below(&self, fields: &[&str]) -> bool {
        self.steps.len() >= fields.len()
            && self.steps.iter().zip(fields).all(|(step, name)| matches!(step, Step::Field(field) if field == name))
    }

    /// Bookkeeping, or a status with a subresource of its own.
    pub fn is_ignored(&self) -> bool {
        match self.steps.as_slice() {
            [Step::Field("status")] => self.latitude.status_subresource,
            [Step::Field("metadata"), Step::Field(field)] => BOOKKEEPING.contains(field),
            _ => false,
        }
    }

    pub fn is_of_metadata(&self) -> bool {
        self.is_below(&["metadata"])
    }

    /// Maps whose members have nothing to do with each other, so that each is judged by itself even where Git declares
    /// none. The API server does not tell an empty one from an absent one.
    pub fn is_granular(&self) -> bool {
        self.is(&["metadata", "labels"]) || self.is(&["metadata", "annotations"])
    }

    /// The same for lists.
    pub fn is_granular_set(&self) -> bool {
        self.is(&["metadata", "finalizers"]) || self.is(&["metadata", "ownerReferences"])
    }

    pub fn is_last_applied(&self) -> bool {
        self.is(&["metadata", "annotations", LAST_APPLIED])
    }

    /// May anybody set this where Git declares nothing? Not what decides how long the object lives: an owner that is
    /// planted makes the garbage collector delete the object.
    pub fn is_open(&self) -> bool {
        self.latitude.undeclared_fields
            && !self.is_below(&["metadata", "ownerReferences"])
            && !self.is_below(&["metadata", "finalizers"])
    }

    pub fn freedom(&self, value: Option<Node<'_>>) -> Freedom {
        let mut freedom = Freedom::None;
        for field in self.latitude.free.iter().filter(|field| self.is_covered_by(&field.pattern)) {
            match field.bounds {
                Some(bounds) if !value.and_then(Node::as_i64).is_some_and(|value| bounds.hold(value)) => {
                    freedom = Freedom::Beyond(bounds);
                }
                _ => return Freedom::Within,
            }
        }
        freedom
    }

    pub fn is_allotted(&self) -> bool {
        self.latitude.allotted.iter().any(|pattern| self.is_covered_by(pattern))
    }

    /// Some deeper place may be allotted.
    pub fn is_above_allotted(&self) -> bool {
        self.latitude.allotted.iter().any(|pattern| self.is_above(pattern))
    }

    /// Some deeper place may be free or allotted.
    pub fn is_above_latitude(&self) -> bool {
        self.is_above_allotted() || self.latitude.free.iter().any(|field| self.is_above(&field.pattern))
    }

    fn is_covered_by(&self, pattern: &PathPattern) -> bool {
        pattern.0.len() <= self.steps.len() && self.agrees_with(pattern)
    }

    fn is_above(&self, pattern: &PathPattern) -> bool {
        pattern.0.len() > self.steps.len() && self.agrees_with(pattern)
    }

    fn agrees_with(&self, pattern: &PathPattern) -> bool {
        self.steps.iter().zip(&pattern.0).all(|(step, segment)| step.matches(segment))
    }
}

impl Step<'_> {
    fn matches(&self, segment: &PatternSegment) -> bool {
        match (segment, self) {
            (PatternSegment::Any, _) => true,
            (PatternSegment::Field(name), Step::Field(field)) => name == field,
            (PatternSegment::Prefix(prefix), Step::Field(field)) => field.starts_with(prefix),
            // metadata.finalizers[kubernetes.io/pvc-protection]
            (PatternSegment::Field(name), Step::Member(member)) => is_text(*member, name),
            (PatternSegment::Prefix(prefix), Step::Member(member)) => {
                member.as_str().is_some_and(|text| text.starts_with(prefix))
            }
            (PatternSegment::Item(wanted), Step::Item(item, keys)) => wanted
                .iter()
                .all(|(key, text)| keys.contains(key) && item.get(key).is_some_and(|value| is_text(value, text))),
            // metadata.finalizers[=kubernetes.io/pvc-protection], metadata.ownerReferences[kind=Node]
            (PatternSegment::Item(wanted), Step::Member(member)) => wanted.iter().all(|(key, text)| {
                let value = if key.is_empty() { Some(*member) } else { member.get(key) };
                value.is_some_and(|value| is_text(value, text))
            }),
            (PatternSegment::Item(_), Step::Field(_)) | (_, Step::Item(..)) => false,
        }
    }

    fn segment(&self) -> Segment {
        match self {
            Step::Field(name) => Segment::Field((*name).to_owned()),
            Step::Item(item, keys) => Segment::Item(
                keys.iter().map(|key| (key.clone(), item.get(key).map(Node::to_value).unwrap_or_default())).collect(),
            ),
            Step::Member(member) => Segment::Member(member.to_value()),
        }
    }
}

fn is_text(value: Node<'_>, text: &str) -> bool {
    match value.view() {
        View::String(value) => value == text,
        View::Number(value) => value.to_string() == text,
        View::Bool(value) => text == if value { "true" } else { "false" },
        View::Null | View::List(_) | View::Map(_) | View::Damaged => false,
    }
}
