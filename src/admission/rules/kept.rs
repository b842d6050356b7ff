//! What a component may do to the objects that it keeps for others.

use std::sync::LazyLock;

use crate::admission::builtin::{self, Change, Deletes, Writer};
use crate::admission::context::Context;
use crate::admission::delegation::holds_whole;
use crate::admission::generated;
use crate::admission::ownership::{Controller, references};
use crate::admission::volumes;
use crate::compare::{Finding, FreeField, judge as compare};
use crate::document::{Document, Node};
use crate::snapshot::SnapshotError;

/// Rows of the built-in table for the user who asks, and for the controller that the object names: a Pod of a Job is no
/// business of the ReplicaSet controller.
pub fn writers(context: &Context<'_>) -> impl Iterator<Item = &'static Writer> {
    let (request, id) = (context.request, context.id);
    let owners = [request.old, request.object].map(|object| object.and_then(Controller::of));
    let is_owner = move |kind: &str| {
        let mut owners = owners.iter().flatten();
        owners.any(|owner| owner.kind == kind && builtin::may_own((owner.group, owner.kind), (id.group, id.kind)))
    };
    builtin::writers(request.group, request.resource)
        .filter(move |writer| writer.controller.is_empty() || is_owner(writer.controller))
        .filter(|writer| writer.by.is(&request.user))
}

/// The rows for an object that has a controller. Who makes objects that have none does not make this one.
pub fn writers_of_child(context: &Context<'_>) -> impl Iterator<Item = &'static Writer> {
    writers(context).filter(|writer| !writer.creates || !writer.controller.is_empty())
}

/// How a child is let go.
static OWNERS: LazyLock<Vec<FreeField>> = LazyLock::new(|| {
    let owners = "metadata.ownerReferences".parse().ok();
    owners.map(|pattern| FreeField { pattern, bounds: None }).into_iter().collect()
});

/// The changes by which whoever keeps a child may release it.
pub fn release() -> &'static [FreeField] {
    &OWNERS
}

/// Whether one of these writers deletes such an object.
///
/// # Errors
/// An entry of the snapshot is damaged.
pub fn deletes(
    context: &Context<'_>,
    mut writers: impl Iterator<Item = &'static Writer>,
) -> Result<bool, SnapshotError> {
    let claim = generated::set_of_claim(context.snapshot, context.id)?;
    // An owner that a claim may not have is no reason to delete it, and the data.
    let counts = |owner| claim.as_ref().is_none_or(|claim| volumes::goes_with(claim, owner));
    let is_owned = || context.request.old.is_some_and(|old| references(old).any(counts));
    Ok(writers.any(|writer| match writer.deletes {
        Deletes::None => false,
        Deletes::Owned => is_owned(),
        Deletes::All => true,
    }))
}

/// The owners that an object gets.
fn added_owners<'a>(old: Node<'a>, new: Node<'a>) -> impl Iterator<Item = Node<'a>> {
    let whose =
        |owner: Node<'a>| ["apiVersion", "kind", "name", "uid"].map(|key| owner.get(key).and_then(Node::as_str));
    let before: Vec<_> = references(old).map(whose).collect();
    references(new).filter(move |owner| !before.contains(&whose(*owner)))
}

/// What an UPDATE changes that is none of the writers' business.
///
/// # Errors
/// An entry of the snapshot is damaged.
pub fn foreign_changes(
    context: &Context<'_>,
    old: Node<'_>,
    new: Node<'_>,
    writers: impl Iterator<Item = &'static Writer>,
) -> Result<Vec<Finding>, SnapshotError> {
    let writers: Vec<_> = writers.collect();
    if !keeps_claim(context, old, new)? {
        return Ok(context.changes(old, new, &[]));
    }
    if writers.iter().any(|writer| matches!(writer.changes, Change::Everything)) {
        return Ok(Vec::new());
    }
    let mut free = free_fields(context, old, writers.iter().copied());
    if writers.iter().any(|writer| matches!(writer.changes, Change::Release)) && added_owners(old, new).next().is_none()
    {
        free.extend_from_slice(release());
    }
    Ok(context.changes(old, new, &free))
}

/// Whether a claim gets no owner but those with which its set lets it go: the collector would delete it, and the data.
fn keeps_claim(context: &Context<'_>, old: Node<'_>, new: Node<'_>) -> Result<bool, SnapshotError> {
    let Some(claim) = generated::set_of_claim(context.snapshot, context.id)? else { return Ok(true) };
    Ok(added_owners(old, new).all(|owner| volumes::goes_with(&claim, owner)))
}

/// Whether a claim loses owners with which it may not go, and changes in nothing else.
///
/// # Errors
/// An entry of the snapshot is damaged.
pub fn is_freed(context: &Context<'_>, old: Node<'_>, new: Node<'_>) -> Result<bool, SnapshotError> {
    let wanted = volumes::without_foreign_owners(context.snapshot, context.id, old)?;
    Ok(wanted
        .is_some_and(|wanted| compare(old, new, Document::from_value(&wanted).root(), &context.latitude()).is_empty()))
}

/// The fields that are the writers' business, or delegated to the user who asks.
pub fn free_fields(
    context: &Context<'_>,
    old: Node<'_>,
    writers: impl Iterator<Item = &'static Writer>,
) -> Vec<FreeField> {
    let mut free: Vec<FreeField> = context.delegated(old).into_owned();
    for writer in writers {
        if let Change::Fields(fields) = &writer.changes {
            free.extend(fields.iter().cloned());
        }
    }
    free
}

/// Whoever an Enforcement leaves all of an object to makes and removes it, where it follows from another: an operator, or
/// a volume's provisioner.
pub fn is_delegate(context: &Context<'_>) -> bool {
    context.shown().is_some_and(|object| holds_whole(context.delegations(), context.kind, object))
}
