//! The closed world: in a governed scope nothing comes to be that Git does not declare. What is there already may go.

use super::{Judgement, Rule, admit, deny, is_finalizer_removal};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;
use crate::api::Undeclared;

pub const RULE: Rule = Rule { name: "undeclared", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    // Before the baseline is recorded, nobody can tell what was there from what is new.
    let open = context.source.is_some_and(|s| s.undeclared_objects == Undeclared::Allow || !s.baseline_recorded);
    if open {
        return admit(Class::Undeclared);
    }
    match request.operation {
        Operation::Delete if request.subresource.is_none() => admit(Class::Undeclared),
        Operation::Create if request.subresource.is_none() => {
            deny(Class::Undeclared, denial::undeclared_creation(context))
        }
        Operation::Update if context.shows_whole_object() => {
            let Some((old, new)) = context.states() else { return Ok(None) };
            let mut findings = context.foreign_changes(old, new);
            // It could be deleted as well, so it may also lose what keeps it from going.
            findings.retain(|finding| !is_finalizer_removal(request, finding));
            if findings.is_empty() {
                return admit(Class::Undeclared);
            }
            deny(Class::Undeclared, denial::undeclared_change(context, &findings))
        }
        operation => {
            let subresource = request.subresource.unwrap_or_default();
            let reason = format!("is governed: {} of {subresource} cannot be compared with Git", operation.as_str());
            deny(Class::Undeclared, denial::other(context, reason))
        }
    }
}
