//! What a component may do to the objects that it keeps for others.

use crate::admission::builtin::{self, Change, Writer};
use crate::admission::context::Context;
use crate::admission::ownership::Controller;
use crate::compare::{Finding, FreeField};
use crate::document::Node;

/// Rows of the built-in table for the user who asks, and for the controller that the object names: a Pod of a Job is no
/// business of the ReplicaSet controller.
pub fn writers(context: &Context<'_>) -> impl Iterator<Item = &'static Writer> {
    let request = context.request;
    let kinds = [request.old, request.object].map(|o| o.and_then(Controller::of).map_or("", |owner| owner.kind));
    builtin::writers(request.group, request.resource)
        .filter(move |writer| writer.controller.is_empty() || kinds.contains(&writer.controller))
        .filter(|writer| writer.by.is(&request.user))
}

/// What an UPDATE changes that is none of the writer's business.
pub fn foreign_changes(context: &Context<'_>, old: Node<'_>, new: Node<'_>) -> Vec<Finding> {
    let mut free: Vec<FreeField> = context.delegated(old).into_owned();
    for writer in writers(context) {
        match &writer.changes {
            Change::Everything => return Vec::new(),
            Change::Fields(fields) => free.extend(fields.iter().cloned()),
            Change::Nothing => {}
        }
    }
    context.changes(old, new, &free)
}
