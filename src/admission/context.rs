//! A request together with what the snapshot says of its object: what every rule looks at.

use std::borrow::Cow;

use jiff::Timestamp;

use super::builtin::{self, Identity};
use super::classify::{self, ObjectClass};
use super::ownership;
use super::request::{Operation, Request};
use super::verdict::Class;
use crate::api::{Action, ChildOperations, Permission};
use crate::compare::{Finding, FreeField, Latitude, ListSchema, judge};
use crate::document::Node;
use crate::object::{ObjectId, ObjectRef};
use crate::snapshot::{DelegatedFields, Entry, EntryClass, KindInfo, Snapshot, SnapshotError, Source};

/// A kind that the snapshot does not know is compared as if all of its lists were atomic: stricter, never looser.
static UNKNOWN_SCHEMA: ListSchema = ListSchema { nodes: Vec::new() };

pub struct Context<'a> {
    pub request: &'a Request<'a>,
    pub snapshot: &'a Snapshot,
    pub now: Timestamp,
    /// The kind of the resource, not of what a subresource shows.
    pub kind: Option<&'a KindInfo>,
    pub id: ObjectRef<'a>,
    pub entry: Option<Entry<'a>>,
    /// The source that answers for the object, and is named in messages: the one that declares it, else of those that
    /// answer together one that lets nothing come to be.
    pub source: Option<&'a Source>,
    is_declared: bool,
}

impl<'a> Context<'a> {
    /// Looks the object of a request up.
    ///
    /// # Errors
    /// Its entry in the snapshot is damaged.
    pub fn new(request: &'a Request<'a>, snapshot: &'a Snapshot, now: Timestamp) -> Result<Self, SnapshotError> {
        let kind = snapshot.resource(request.group, request.version, resource_of_object(request));
        let id = identify(request, kind);
        let entry = snapshot.get(id)?;
        let meta = snapshot.meta();
        let owner = entry.and_then(|entry| entry.source()).and_then(|index| meta.sources.get(index));
        let strictest = || meta.answer(id);
        // What was there before belongs to all whose scope holds it, whichever of them took it down first.
        let is_shared = entry.is_some_and(|entry| entry.class() == EntryClass::Baseline) && strictest().is_some();
        let declaring = owner.filter(|_| !is_shared);
        let source = declaring.or_else(strictest);
        Ok(Self { request, snapshot, now, kind, id, entry, source, is_declared: declaring.is_some() })
    }

    /// The sources that have to agree: the one that declares the object, else all that answer for it.
    fn answering(&self) -> impl Iterator<Item = &'a Source> + Clone {
        let declaring = self.source.filter(|_| self.is_declared);
        let others = (!self.is_declared).then(|| self.snapshot.meta().answering(self.id));
        declaring.into_iter().chain(others.into_iter().flatten())
    }

    /// Whether nothing may come to be here that is not declared.
    pub fn is_closed(&self) -> bool {
        self.source.is_some_and(Source::is_closed)
    }

    /// A source that forbids an operation on running Pods or nodes.
    pub fn forbidding(&self, of: fn(&ChildOperations) -> Permission) -> Option<&'a Source> {
        self.answering().find(|source| of(&source.child_operations) == Permission::Deny)
    }

    /// What is delegated to this user in the object, by every source that has to agree.
    pub fn delegations(&self) -> impl Iterator<Item = &'a DelegatedFields> {
        let ObjectRef { group, kind, namespace, name } = self.id;
        let user = &self.request.user;
        let of = move |source: &'a Source| {
            let delegations = source.delegations.iter();
            delegations.filter(move |d| Identity::is_named(&d.user, user) && d.covers(group, kind, namespace, name))
        };
        let agreed = self.answering();
        let first = self.source.into_iter().flat_map(of);
        first.filter(move |d| agreed.clone().all(|source| of(source).any(|other| other.fields == d.fields)))
    }

    /// What happens to a finding. gitadel's own objects are kept wherever they are, as soon as anything is enforced.
    pub fn action(&self, class: Class) -> Action {
        let strictest = || self.snapshot.meta().sources.iter().map(|source| source.action).max();
        let action = if class == Class::Own { strictest() } else { self.source.map(|source| source.action) };
        action.unwrap_or(Action::Enforce)
    }

    /// Whether the object is declared, or recorded, by an Enforcement that rejects what differs.
    pub fn is_declared_by_enforcing(&self) -> bool {
        self.entry.is_some() && self.source.is_some_and(|source| source.action == Action::Enforce)
    }

    /// Old and new state of an UPDATE that shows the whole object, also through a subresource such as `status`.
    pub fn states(&self) -> Option<(Node<'a>, Node<'a>)> {
        match (self.request.operation, self.request.old, self.request.object) {
            (Operation::Update, Some(old), Some(new)) if self.shows_whole_object() => Some((old, new)),
            _ => None,
        }
    }

    /// Whether the review shows the object itself, and not a Scale, a Binding or an Eviction of it.
    pub fn shows_whole_object(&self) -> bool {
        self.request.kind.group == self.id.group && self.request.kind.kind == self.id.kind
    }

    /// What an UPDATE changes apart from status, bookkeeping, and what Kubernetes' own components keep in such objects.
    /// Empty also where it changes nothing at all.
    pub fn foreign_changes(&self, old: Node<'_>, new: Node<'_>) -> Vec<Finding> {
        self.changes(old, new, &self.delegated(old))
    }

    /// What an UPDATE changes apart from status, bookkeeping, and these fields.
    pub fn changes(&self, old: Node<'_>, new: Node<'_>, free: &[FreeField]) -> Vec<Finding> {
        let latitude = Latitude { free, undeclared_fields: false, allotted: &[], ..self.latitude() };
        judge(old, new, old, &latitude)
    }

    pub fn latitude(&self) -> Latitude<'a> {
        Latitude {
            schema: self.kind.map_or(&UNKNOWN_SCHEMA, |kind| &kind.schema),
            status_subresource: self.status_is_apart(),
            allotted: builtin::allotted(self.id.group, self.id.kind),
            free: &[],
            undeclared_fields: self.source.is_some_and(|s| s.undeclared_fields == crate::api::Undeclared::Allow),
        }
    }

    /// Whether `status` is no state here: it has a subresource of its own, or this is a write to such a one.
    fn status_is_apart(&self) -> bool {
        matches!(self.request.subresource, Some("status" | "approval" | "finalize"))
            || self.kind.is_some_and(KindInfo::status_subresource)
    }

    /// Fields of `object` that this user may set on this way: the built-in ones and those of the Enforcement.
    pub fn delegated(&self, object: Node<'_>) -> Cow<'a, [FreeField]> {
        let ObjectRef { group, kind, .. } = self.id;
        let user = &self.request.user;
        let through_status = self.request.subresource == Some("status");
        let builtin = builtin::delegated(group, kind).iter().filter(|row| row.lets(user, through_status, object));
        let declared = self.delegations().map(|delegation| delegation.fields.as_slice());
        let mut fields = builtin.map(|row| row.fields.as_slice()).chain(declared);
        match (fields.next(), fields.next()) {
            (None, _) => Cow::Borrowed(&[]),
            (Some(only), None) => Cow::Borrowed(only),
            (Some(first), Some(second)) => {
                Cow::Owned([first, second].into_iter().chain(fields).flatten().cloned().collect())
            }
        }
    }

    /// Whether this user may set a field of the object, which is in no list.
    pub fn may_set(&self, object: Node<'_>, field: &[&str]) -> bool {
        self.delegated(object).iter().any(|free| free.pattern.covers_fields(field))
    }

    /// The governed object to which the object of this request belongs, by their names alone.
    ///
    /// # Errors
    /// An entry of the snapshot is damaged.
    pub fn owner_by_name(&self) -> Result<Option<ObjectId>, SnapshotError> {
        ownership::root_by_name(self.snapshot, self.id)
    }

    /// What an object of this request is by its state.
    ///
    /// # Errors
    /// An entry of the snapshot is damaged.
    pub fn classify(&self, object: Node<'_>) -> Result<ObjectClass, SnapshotError> {
        match self.entry.map(|entry| entry.class()) {
            Some(EntryClass::Declared) => Ok(ObjectClass::Declared),
            Some(EntryClass::Baseline) => Ok(ObjectClass::Baseline),
            Some(EntryClass::Retained) => Ok(ObjectClass::Retained),
            None => classify::classify_unlisted(self.snapshot, self.id, object),
        }
    }

    /// The object that a review shows: the new one, for a deletion the old one.
    pub fn shown(&self) -> Option<Node<'a>> {
        self.request.object.or(self.request.old)
    }
}

/// A Binding may also be made at a resource of its own.
fn resource_of_object<'a>(request: &Request<'a>) -> &'a str {
    if request.group.is_empty() && request.resource == "bindings" { "pods" } else { request.resource }
}

/// The identity of the object that a write concerns. The names in the object come first: a `deletecollection` leaves the
/// name of the request empty.
fn identify<'a>(request: &Request<'a>, kind: Option<&'a KindInfo>) -> ObjectRef<'a> {
    let (group, kind_name) =
        kind.map_or((request.kind.group, request.kind.kind), |kind| (kind.group.as_str(), kind.kind.as_str()));
    let whole = request.kind.group == group && request.kind.kind == kind_name;
    let name_in = |object: Option<Node<'a>>| object?.at(&["metadata", "name"])?.as_str();
    let shown = || name_in(request.old).or_else(|| name_in(request.object)).unwrap_or_default();
    let name = match whole.then(shown) {
        Some(name) if !name.is_empty() => name,
        _ if !request.name.is_empty() => request.name,
        _ => shown(),
    };
    let clustered = (group.is_empty() && kind_name == "Namespace") || kind.is_some_and(|kind| !kind.namespaced);
    ObjectRef { group, kind: kind_name, namespace: if clustered { "" } else { request.namespace }, name }
}
