//! Objects whose chain of controllers ends in a governed object: made, changed and removed by their controller.
//!
//! Nothing about them is declared, and they come and go with their owner. A Pod may be deleted by anybody where the
//! Enforcement allows it: its controller makes it anew.

use super::{Judgement, Rule, admit, deny, kept};
use crate::admission::builtin::Identity;
use crate::admission::classify::ObjectClass;
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::api::Permission;
use crate::document::Node;
use crate::object::{ObjectId, ObjectRef};

pub const RULE: Rule = Rule { name: "child", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    if !context.shows_whole_object() {
        return Ok(None);
    }
    let owner_in = |object: Option<Node<'_>>| match object.map(|object| context.classify(object)).transpose()? {
        Some(ObjectClass::Child { owner }) => Ok(Some(owner)),
        _ => Ok(None),
    };
    // Adoption and release: one of both states is a child's.
    let owner = match owner_in(request.old)? {
        None => owner_in(request.object)?,
        owner => owner,
    };
    owner.map_or(Ok(None), |owner| by_owner(context, &owner))
}

fn by_owner(context: &Context<'_>, owner: &ObjectId) -> Judgement {
    let request = context.request;
    let delegate = is_delegate(context);
    let admitted = match request.operation {
        Operation::Create => delegate || kept::writers(context).any(|writer| writer.creates),
        Operation::Delete => delegate || deletes_pod(context) || kept::writers(context).any(|writer| writer.deletes),
        Operation::Update => {
            let Some((old, new)) = context.states() else { return Ok(None) };
            let findings = kept::foreign_changes(context, old, new);
            if !findings.is_empty() {
                return deny(Class::Child, denial::kept_by_controller(context, owner, &findings));
            }
            true
        }
        Operation::Connect => false,
    };
    if admitted { admit(Class::Child) } else { deny(Class::Child, denial::kept_by_controller(context, owner, &[])) }
}

/// An operator that an Enforcement names for this kind makes and removes its children.
fn is_delegate(context: &Context<'_>) -> bool {
    let ObjectRef { group, kind, namespace, name } = context.id;
    let delegations = context.source.into_iter().flat_map(|source| &source.delegations);
    delegations
        .filter(|d| Identity::is_named(&d.user, &context.request.user))
        .any(|d| d.covers(group, kind, namespace, name))
}

fn deletes_pod(context: &Context<'_>) -> bool {
    (context.id.group, context.id.kind) == ("", "Pod")
        && context.source.is_none_or(|source| source.child_operations.delete == Permission::Allow)
}
