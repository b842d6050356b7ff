//! What a component may do to the objects that it keeps for others.

use crate::admission::builtin::{self, Change, Writer};
use crate::admission::context::Context;
use crate::admission::delegation::holds_whole;
use crate::admission::ownership::Controller;
use crate::compare::{Finding, FreeField};
use crate::document::Node;

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

/// What an UPDATE changes that is none of the writers' business.
pub fn foreign_changes(
    context: &Context<'_>,
    old: Node<'_>,
    new: Node<'_>,
    writers: impl Iterator<Item = &'static Writer>,
) -> Vec<Finding> {
    let writers: Vec<_> = writers.collect();
    if writers.iter().any(|writer| matches!(writer.changes, Change::Everything)) {
        return Vec::new();
    }
    context.changes(old, new, &free_fields(context, old, writers.into_iter()))
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
