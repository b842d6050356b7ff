//! What no Enforcement governs is nobody's business here.

use super::{Judgement, Rule, admit};
use crate::admission::context::Context;
use crate::admission::verdict::Class;

pub const RULE: Rule = Rule { name: "scope", judge };

fn judge(context: &Context<'_>) -> Judgement {
    if context.entry.is_none() && context.source.is_none() { admit(Class::OutOfScope) } else { Ok(None) }
}
