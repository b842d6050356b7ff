//! What the watches saw: which objects exist, and which of them differ from Git at this moment.
//!
//! A few bytes for every object, no copies. Whoever needs an object's content reads it.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::object::{GroupKind, ObjectId};

#[derive(Default)]
pub struct Tracker {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    present: HashSet<u64>,
    listed: HashSet<GroupKind>,
    drifted: HashMap<ObjectId, Instant>,
}

fn key(id: &ObjectId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

impl Tracker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn seen(&self, id: &ObjectId) {
        self.state().present.insert(key(id));
    }

    pub fn gone(&self, id: &ObjectId) {
        self.state().present.remove(&key(id));
    }

    /// All objects of a kind were listed: what was not seen is not there.
    pub fn listed(&self, kind: &GroupKind) {
        self.state().listed.insert(kind.clone());
    }

    /// A watch of this kind starts anew.
    pub fn unlisted(&self, kind: &GroupKind) {
        self.state().listed.remove(kind);
    }

    pub fn is_listed(&self, kind: &GroupKind) -> bool {
        self.state().listed.contains(kind)
    }

    /// How many kinds are listed.
    pub fn kinds_listed(&self) -> usize {
        self.state().listed.len()
    }

    /// Whether an object exists, as far as the watches know. `None` where its kind is not listed yet.
    pub fn exists(&self, id: &ObjectId) -> Option<bool> {
        let state = self.state();
        if state.present.contains(&key(id)) {
            return Some(true);
        }
        state.listed.contains(&id.kind).then_some(false)
    }

    /// Notes that an object differs from Git; true where that is news.
    pub fn drifted(&self, id: &ObjectId) -> bool {
        self.state().drifted.insert(id.clone(), Instant::now()).is_none()
    }

    pub fn converged(&self, id: &ObjectId) {
        self.state().drifted.remove(id);
    }

    /// Objects that differ from Git now.
    pub fn drift(&self) -> Vec<ObjectId> {
        self.state().drifted.keys().cloned().collect()
    }

    pub fn clear(&self) {
        *self.state() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absence_is_known_only_after_a_full_list() {
        let tracker = Tracker::default();
        let web = ObjectId::new("apps", "Deployment", "shop", "web");
        assert_eq!(tracker.exists(&web), None);
        tracker.listed(&web.kind);
        assert_eq!(tracker.exists(&web), Some(false));
        assert_eq!(tracker.kinds_listed(), 1);
        tracker.seen(&web);
        assert_eq!(tracker.exists(&web), Some(true));
        tracker.unlisted(&web.kind);
        tracker.gone(&web);
        assert_eq!(tracker.exists(&web), None);
    }

    #[test]
    fn drift_is_news_once() {
        let tracker = Tracker::default();
        let web = ObjectId::new("apps", "Deployment", "shop", "web");
        assert!(tracker.drifted(&web));
        assert!(!tracker.drifted(&web));
        assert_eq!(tracker.drift(), std::slice::from_ref(&web));
        tracker.converged(&web);
        assert!(tracker.drift().is_empty());
    }
}
