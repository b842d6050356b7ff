//! Objects that are being deleted, and what is in namespaces that are.
//!
//! Nothing may keep them from going: their finalizers may be taken away, and deletions repeated. Everything else is as
//! frozen as before.

use super::{Judgement, Rule, admit, deny, is_finalizer_removal, is_terminating};
use crate::admission::context::Context;
use crate::admission::denial;
use crate::admission::request::Operation;
use crate::admission::verdict::Class;

pub const RULE: Rule = Rule { name: "terminating", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    let class = if context.entry.is_some() { Class::Governed } else { Class::Undeclared };
    if request.operation == Operation::Delete {
        let going = context.snapshot.meta().terminating_namespaces.contains(context.id.namespace);
        return if going || request.old.is_some_and(is_terminating) { admit(class) } else { Ok(None) };
    }
    let Some((old, new)) = context.states().filter(|(old, _)| is_terminating(*old)) else { return Ok(None) };
    let mut findings = context.foreign_changes(old, new);
    findings.retain(|finding| !is_finalizer_removal(request, finding));
    match context.entry {
        _ if findings.is_empty() => admit(class),
        Some(_) => deny(class, denial::terminating(context, &findings)),
        None => Ok(None),
    }
}
