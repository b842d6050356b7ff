//! The guard against deleting much by mistake: a wrong path, an empty directory, a scope that was widened carelessly.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::world::World;
use crate::api::Problem;
use crate::object::{GroupKind, ObjectId};
use crate::snapshot::Source;

const WINDOW: Duration = Duration::from_secs(60);

/// Counts the undeclared objects that were removed within the last minute.
#[derive(Default)]
pub struct DeletionBudget {
    deletions: Mutex<VecDeque<Deletion>>,
    /// What stays for now because nothing is left of it.
    held_back: Mutex<BTreeSet<ObjectId>>,
}

struct Deletion {
    at: Instant,
    urgency: Urgency,
}

/// How much harm an object does for as long as it is there. What does less may be many, and must not be able to stand before
/// what does more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    Least,
    /// It runs, says what a right is, or changes what the API server serves.
    Acts,
    /// It gives somebody rights at once.
    GivesRights,
}

impl Urgency {
    pub fn of(kind: &GroupKind) -> Self {
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("rbac.authorization.k8s.io", "ClusterRoleBinding" | "RoleBinding") => Self::GivesRights,
            ("rbac.authorization.k8s.io" | "apps" | "batch" | "apiextensions.k8s.io" | "apiregistration.k8s.io", _)
            | ("", "Pod" | "ReplicationController") => Self::Acts,
            _ => Self::Least,
        }
    }
}

impl DeletionBudget {
    /// Whether the budget is meant for objects of a kind. Registrations of webhooks and policies are removed however many there
    /// are: with them goes nothing but what they do to the writes of others, and gitadel's own wait for it.
    pub fn holds(kind: &GroupKind) -> bool {
        kind.group != "admissionregistration.k8s.io"
    }

    /// Takes one deletion out of a budget of `limit` a minute; false where none is left. Only what is as
    /// urgent, or more so, is counted.
    pub fn take(&self, limit: u32, urgency: Urgency) -> bool {
        self.take_at(limit, urgency, Instant::now())
    }

    fn take_at(&self, limit: u32, urgency: Urgency, now: Instant) -> bool {
        let mut deletions = self.deletions.lock().unwrap_or_else(PoisonError::into_inner);
        while deletions.front().is_some_and(|first| now.duration_since(first.at) >= WINDOW) {
            deletions.pop_front();
        }
        if deletions.iter().filter(|earlier| earlier.urgency >= urgency).count() >= limit as usize {
            return false;
        }
        deletions.push_back(Deletion { at: now, urgency });
        true
    }

    /// Notes that an object stays, because nothing is left of its budget.
    pub fn hold_back(&self, id: &ObjectId) {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
    }

    /// What is held back of the objects that differ from Git now: the others are gone, or declared.
    pub fn held_back(&self, drift: &[ObjectId]) -> Vec<ObjectId> {
        let mut held_back = self.held_back.lock().unwrap_or_else(PoisonError::into_inner);
        let known = std::mem::take(&mut *held_back);
        *held_back = drift.iter().filter(|id| known.contains(id)).cloned().collect();
        held_back.iter().cloned().collect()
    }

    /// An object is held back no longer.
    pub fn let_go(&self, id: &ObjectId) {
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The smallest limit of the sources that govern an object.
    pub fn limit(&self, world: &World, id: &ObjectId) -> u32 {
        world
            .snapshot
            .meta()
            .sources
            .iter()
            .filter(|source| source.governs(&id.kind.group, &id.kind.kind, &id.namespace, &id.name))
            .map(|source| source.deletion_guard)
            .min()
            .unwrap_or(0)
    }
}

/// What holds a source back whose scope has undeclared objects that stay for now.
pub fn problem(source: &Source, held_back: &[ObjectId]) -> Option<Problem> {
    let mut of_source = held_back.iter().filter(|id| source.governs_id(id.as_ref()));
    let first = of_source.next()?;
    let count = 1 + of_source.count();
    let limit = source.deletion_guard;
    Some(Problem {
        commit: Some(source.commit.clone()),
        ..Problem::of_enforcement(
            "DeletionGuard",
            format!(
                "more undeclared objects were to be removed within a minute than spec.deletionGuard.maxObjects ({limit}) \
                 allows; left for now: {count}, such as {first}. They go as time passes, or sooner with a higher limit; \
                 what shall stay must be declared"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::webhook_configuration::testing::source;
    use super::*;
    use crate::api::Scope;

    #[test]
    fn registrations_are_not_for_the_budget() {
        let kind = |group: &str, kind: &str| DeletionBudget::holds(&GroupKind::new(group, kind));
        assert!(kind("", "ConfigMap") && kind("rbac.authorization.k8s.io", "ClusterRoleBinding"));
        assert!(!kind("admissionregistration.k8s.io", "MutatingAdmissionPolicy"));
    }

    #[test]
    fn what_is_held_back_is_told_of_whose_scope_it_is_in_until_it_is_gone() {
        let budget = DeletionBudget::default();
        let in_namespace = |namespace: &str, name: &str| ObjectId::new("", "ConfigMap", namespace, name);
        let (shop, bank) = (in_namespace("shop", "a"), in_namespace("bank", "b"));
        budget.hold_back(&shop);
        budget.hold_back(&bank);
        let held_back = budget.held_back(&[shop.clone(), bank.clone(), in_namespace("shop", "other")]);
        let of = |namespace: &str| source("s", Scope { namespaces: Some(vec![namespace.into()]), ..Scope::default() });
        let told = problem(&of("shop"), &held_back).unwrap();
        assert_eq!(told.reason, "DeletionGuard");
        assert!(told.message.contains("left for now: 1, such as ConfigMap shop/a."), "{}", told.message);
        assert_eq!(problem(&of("elsewhere"), &held_back), None);
        assert_eq!(budget.held_back(std::slice::from_ref(&bank)), std::slice::from_ref(&bank), "the other is gone");
        budget.let_go(&bank);
        assert!(budget.held_back(&[bank]).is_empty());
    }

    #[test]
    fn a_budget_is_spent_and_comes_back() {
        let budget = DeletionBudget::default();
        let start = Instant::now();
        let take = |limit, seconds| budget.take_at(limit, Urgency::Least, start + Duration::from_secs(seconds));
        assert!(take(2, 0));
        assert!(take(2, 30));
        assert!(!take(2, 59));
        assert!(take(2, 60));
        assert!(!take(0, 600));
    }

    #[test]
    fn nothing_stands_before_what_is_urgent() {
        let budget = DeletionBudget::default();
        let now = Instant::now();
        let take = |urgency| budget.take_at(2, urgency, now);
        for urgency in [Urgency::Least, Urgency::Acts, Urgency::GivesRights] {
            assert!(take(urgency) && take(urgency) && !take(urgency), "{urgency:?}");
        }
        assert!(!take(Urgency::Least) && !take(Urgency::Acts), "more was removed that is more urgent");
        for (group, kind, expected) in [
            ("rbac.authorization.k8s.io", "ClusterRoleBinding", Urgency::GivesRights),
            ("rbac.authorization.k8s.io", "RoleBinding", Urgency::GivesRights),
            ("rbac.authorization.k8s.io", "Role", Urgency::Acts),
            ("apps", "DaemonSet", Urgency::Acts),
            ("", "Pod", Urgency::Acts),
            ("", "ConfigMap", Urgency::Least),
            ("networking.k8s.io", "NetworkPolicy", Urgency::Least),
        ] {
            assert_eq!(Urgency::of(&GroupKind::new(group, kind)), expected, "{kind}");
        }
    }
}
