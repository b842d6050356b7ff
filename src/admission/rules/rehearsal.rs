//! The reconciler asks the API server by dry-runs what a manifest comes to. They store nothing, and the snapshot cannot
//! know the answer yet. The webhook configuration keeps them out; one that arrives all the same is admitted.

use super::{Judgement, Rule, admit};
use crate::admission::context::Context;
use crate::admission::verdict::Class;

pub const RULE: Rule = Rule { name: "rehearsal", judge };

fn judge(context: &Context<'_>) -> Judgement {
    let request = context.request;
    if request.dry_run && context.snapshot.meta().reconciler_users.contains(request.user.name) {
        return admit(Class::Virtual);
    }
    Ok(None)
}
