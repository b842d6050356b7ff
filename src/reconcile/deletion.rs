//! The guard against deleting much by mistake: a wrong path, an empty directory, a scope that was widened carelessly.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::world::World;
use crate::object::ObjectId;

const WINDOW: Duration = Duration::from_secs(60);

/// Counts the undeclared objects that were removed within the last minute.
#[derive(Default)]
pub struct DeletionBudget {
    deletions: Mutex<VecDeque<Instant>>,
}

impl DeletionBudget {
    /// Takes one deletion out of a budget of `limit` a minute; false where none is left.
    pub fn take(&self, limit: u32) -> bool {
        self.take_at(limit, Instant::now())
    }

    fn take_at(&self, limit: u32, now: Instant) -> bool {
        let mut deletions = self.deletions.lock().unwrap_or_else(PoisonError::into_inner);
        while deletions.front().is_some_and(|first| now.duration_since(*first) >= WINDOW) {
            deletions.pop_front();
        }
        if deletions.len() >= limit as usize {
            return false;
        }
        deletions.push_back(now);
        true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_and_comes_back() {
        let budget = DeletionBudget::default();
        let start = Instant::now();
        assert!(budget.take_at(2, start));
        assert!(budget.take_at(2, start + Duration::from_secs(30)));
        assert!(!budget.take_at(2, start + Duration::from_secs(59)));
        assert!(budget.take_at(2, start + Duration::from_secs(60)));
        assert!(!budget.take_at(0, start + Duration::from_secs(600)));
    }
}
