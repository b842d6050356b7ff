//! What the watches saw: which objects exist, and which of them differ from Git at this moment.
//!
//! A few bytes for every object, no copies. Whoever needs an object's content reads it, unless it is known to be what
//! Git declared: then the snapshot has the content.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::mutators::MutatorChanges;
use crate::document::Node;
use crate::object::{GroupKind, ObjectId};
use crate::snapshot::Snapshot;

#[derive(Default)]
pub struct Tracker {
    state: Mutex<State>,
    pub mutators: MutatorChanges,
}

#[derive(Default)]
struct State {
    present: HashMap<u64, Presence>,
    listed: HashSet<GroupKind>,
    drifted: HashSet<ObjectId>,
    /// Undeclared, and left where they are.
    kept: HashSet<u64>,
    /// The desired state that an object of a name had last. It outlives the object.
    held: HashMap<u64, Fingerprint>,
}

#[derive(Clone, Copy, Default)]
struct Presence {
    sight: Option<Sight>,
    standing: Standing,
}

/// What an object was when this process saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Seen first when all objects of its kind were listed, and never as anything that may be there.
    #[default]
    Unknown,
    /// As Git declares it, or nothing against Git, at some time.
    Accepted,
    /// It appeared while its kind was watched, and nobody declared it.
    Intruder,
}

/// The last sight of an object that held what Git declared, and nothing else.
#[derive(Clone, Copy)]
struct Sight {
    /// Its resourceVersion.
    version: u64,
    state: Fingerprint,
}

/// Tells desired states of one object apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    pub fn of(canonical: Node<'_>) -> Self {
        Self(hash(canonical.as_bytes()))
    }
}

fn key(id: &ObjectId) -> u64 {
    hash(id)
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Tracker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True where it was not known to be there.
    pub fn seen(&self, id: &ObjectId) -> bool {
        let mut state = self.state();
        let known = state.present.get_mut(&key(id)).map(|presence| presence.sight = None);
        if known.is_none() {
            state.present.insert(key(id), Presence::default());
        }
        known.is_none()
    }

    /// It may be there. That counts for as long as it is.
    pub fn accepted(&self, id: &ObjectId) {
        if let Some(presence) = self.state().present.get_mut(&key(id)) {
            presence.standing = Standing::Accepted;
        }
    }

    /// It appeared, and nobody declared it.
    pub fn intruded(&self, id: &ObjectId) {
        if let Some(presence) = self.state().present.get_mut(&key(id)).filter(|p| p.standing == Standing::Unknown) {
            presence.standing = Standing::Intruder;
        }
    }

    pub fn standing(&self, id: &ObjectId) -> Standing {
        self.state().present.get(&key(id)).map(|presence| presence.standing).unwrap_or_default()
    }

    /// It was seen to hold this desired state, and nothing else.
    pub fn seen_as(&self, id: &ObjectId, version: u64, state: Fingerprint) {
        self.state().present.entry(key(id)).or_default().sight = Some(Sight { version, state });
    }

    /// An object of this name has this desired state.
    pub fn holds(&self, id: &ObjectId, state: Fingerprint) {
        self.state().held.insert(key(id), state);
    }

    /// The desired state that an object of this name had last.
    pub fn held(&self, id: &ObjectId) -> Option<Fingerprint> {
        self.state().held.get(&key(id)).copied()
    }

    /// What is in force since an earlier process counts as what its objects had.
    pub fn inherit(&self, snapshot: &Snapshot) {
        for entry in snapshot.iter().flatten() {
            if let Some(canonical) = entry.canonical() {
                self.holds(&entry.id().to_owned(), Fingerprint::of(canonical));
            }
        }
    }

    /// Nothing is desired of this name any more.
    pub fn forget(&self, id: &ObjectId) {
        self.state().held.remove(&key(id));
    }

    /// The resourceVersion at which an object was seen last, if it held this desired state then, and nothing else. It
    /// may have changed since: a write that names the version is refused then.
    pub fn seen_with(&self, id: &ObjectId, state: Fingerprint) -> Option<u64> {
        let sight = self.state().present.get(&key(id))?.sight?;
        (sight.state == state).then_some(sight.version)
    }

    pub fn gone(&self, id: &ObjectId) {
        let mut state = self.state();
        state.present.remove(&key(id));
        state.kept.remove(&key(id));
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
        if state.present.contains_key(&key(id)) {
            return Some(true);
        }
        state.listed.contains(&id.kind).then_some(false)
    }

    /// Notes that an object differs from Git; true where that is news.
    pub fn drifted(&self, id: &ObjectId) -> bool {
        self.state().drifted.insert(id.clone())
    }

    pub fn converged(&self, id: &ObjectId) {
        self.state().drifted.remove(id);
    }

    /// Notes that an undeclared object is left where it is; true where that is news.
    pub fn kept(&self, id: &ObjectId) -> bool {
        self.state().kept.insert(key(id))
    }

    /// It is as it has to be.
    pub fn not_kept(&self, id: &ObjectId) {
        self.state().kept.remove(&key(id));
    }

    pub fn is_kept(&self, id: &ObjectId) -> bool {
        self.state().kept.contains(&key(id))
    }

    /// Objects that differ from Git now.
    pub fn drift(&self) -> Vec<ObjectId> {
        self.state().drifted.iter().cloned().collect()
    }

    /// Nothing is known of what there is, but what there was.
    pub fn clear(&self) {
        let mut state = self.state();
        let held = std::mem::take(&mut state.held);
        *state = State { held, ..State::default() };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Document;

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
    fn a_sight_counts_until_the_next_and_for_one_state() {
        let tracker = Tracker::default();
        let web = ObjectId::new("apps", "Deployment", "shop", "web");
        let [old, new] = [1, 2].map(|replicas| Document::from_value(&json!({"spec": {"replicas": replicas}})));
        let [old, new] = [&old, &new].map(|document| Fingerprint::of(document.root()));
        assert_eq!(tracker.seen_with(&web, old), None);
        tracker.seen(&web);
        tracker.seen_as(&web, 7, old);
        assert_eq!(tracker.seen_with(&web, old), Some(7));
        assert_eq!(tracker.seen_with(&web, new), None);
        tracker.seen(&web);
        assert_eq!(tracker.seen_with(&web, old), None);
        assert_eq!(tracker.exists(&web), Some(true));
    }

    #[test]
    fn what_was_accepted_once_is_no_intruder_while_it_is_there() {
        let tracker = Tracker::default();
        let web = ObjectId::new("apps", "Deployment", "shop", "web");
        let then = |step: &dyn Fn()| {
            step();
            tracker.seen(&web);
            tracker.standing(&web)
        };
        assert_eq!(then(&|| _ = tracker.seen(&web)), Standing::Unknown);
        assert_eq!(then(&|| tracker.intruded(&web)), Standing::Intruder);
        assert_eq!(then(&|| tracker.accepted(&web)), Standing::Accepted);
        assert_eq!(then(&|| tracker.intruded(&web)), Standing::Accepted);
        assert_eq!(then(&|| tracker.gone(&web)), Standing::Unknown);
    }

    #[test]
    fn what_a_name_stood_for_outlives_the_object() {
        let tracker = Tracker::default();
        let web = ObjectId::new("apps", "Deployment", "shop", "web");
        let state = Fingerprint::of(Document::from_value(&json!({"spec": {"replicas": 1}})).root());
        assert_eq!(tracker.held(&web), None);
        tracker.holds(&web, state);
        tracker.gone(&web);
        tracker.clear();
        assert_eq!(tracker.held(&web), Some(state));
        tracker.forget(&web);
        assert_eq!(tracker.held(&web), None);
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
