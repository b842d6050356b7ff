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

#[cfg(test)]
mod tests {
    use crate::admission::Outcome::{Allow, Deny};
    use crate::admission::testing::{Review, World, config_map, set};

    #[test]
    fn dry_runs_of_the_reconciler_only() {
        let reconciler = "system:serviceaccount:gitadel-system:gitadel";
        let world = World::new().meta(|meta| meta.reconciler_users = set(&[reconciler]));
        let create = Review::create(&config_map("new"));
        world.expect(&[
            ("its dry-run", create.clone().by(reconciler).dry_run(), Allow, "rehearsal"),
            ("its own write", create.clone().by(reconciler), Deny, "undeclared"),
            ("somebody's dry-run", create.dry_run(), Deny, "undeclared"),
        ]);
    }
}
