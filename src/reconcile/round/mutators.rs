//! Mutators that nobody declared: what they add during a dry-run would become the law.

use std::time::Instant;

use super::{Round, RoundError};
use crate::api::Undeclared;
use crate::object::{ObjectId, ObjectRef};
use crate::reconcile::desired::Desired;
use crate::reconcile::environment::MutatorActive;
use crate::reconcile::queue::{Cause, Live, Work};
use crate::snapshot::{Source, answering};

impl Round<'_> {
    pub(super) fn check_mutators(&self, desired: &Desired) -> Result<(), RoundError> {
        let world = self.workshop.publisher.world();
        let undeclared = self.environment.undeclared_mutators(|id| {
            !self.is_unwanted(id)
                || desired.objects.contains_key(&id.to_owned())
                || matches!(world.entry(id), Ok(Some(_)))
                || !self.participants.iter().any(|p| p.source.baseline_recorded)
        });
        if undeclared.is_empty() {
            return Ok(());
        }
        // While one is there nothing is brought about. So it does not wait until everything was.
        for id in undeclared.iter().filter(|id| self.leader && self.may_remove(id)) {
            let (live, cause, since) = (Live::Unknown, Cause::Obstacle, Instant::now());
            self.queue.push(Work { id: id.clone(), live, cause, since });
        }
        Err(MutatorActive(undeclared).into())
    }

    fn is_unwanted(&self, id: ObjectRef<'_>) -> bool {
        is_unwanted(self.participants.iter().map(|participant| &participant.source), id)
    }

    /// Whether those who govern a place are known well enough to say that what is undeclared there goes.
    fn may_remove(&self, id: &ObjectId) -> bool {
        let mut governing = self.participants.iter().filter(|p| p.source.governs_id(id.as_ref())).peekable();
        governing.peek().is_some()
            && self.is_unwanted(id.as_ref())
            && governing.all(|p| {
                let is_known = p.certain && (p.state.is_some() || !p.sealed);
                is_known && p.source.baseline_recorded
            })
    }
}

/// Whether somebody rejects what is undeclared in a place. Where nobody governs mutators, or those who do leave it to
/// others what is there, they are part of what the server does.
fn is_unwanted<'a>(sources: impl Iterator<Item = &'a Source> + Clone, id: ObjectRef<'a>) -> bool {
    answering(sources, id).any(|source| source.undeclared_objects == Undeclared::Deny)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Action, ClusterScope, Scope};
    use crate::reconcile::webhook_configuration::testing::source;

    #[test]
    fn where_undeclared_objects_are_allowed_a_mutator_is_no_obstacle() {
        let of = |action, undeclared_objects, cluster| Source {
            action,
            undeclared_objects,
            ..source("one", Scope { cluster, ..Scope::default() })
        };
        let id = ObjectId::new("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "", "istio");
        let (allow, deny) = (Undeclared::Allow, Undeclared::Deny);
        let (enforce, observe) = (Action::Enforce, Action::Observe);
        let all = ClusterScope::All;
        for (sources, expected) in [
            (vec![], false),
            (vec![of(enforce, deny, ClusterScope::None)], false),
            (vec![of(enforce, deny, all)], true),
            (vec![of(enforce, allow, all)], false),
            (vec![of(enforce, allow, all), of(observe, deny, all)], false),
            (vec![of(enforce, allow, all), of(enforce, deny, all)], true),
        ] {
            assert_eq!(is_unwanted(sources.iter(), id.as_ref()), expected, "{sources:#?}");
        }
    }
}
