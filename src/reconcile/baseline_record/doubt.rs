//! A record that nobody can vouch for.
//!
//! A process that lost its volume reads the record of a baseline from the cluster, where somebody may have altered it by
//! a way round admission. Such a record only ever freezes what is there: what is as it says is in force from then on. What
//! is otherwise is neither written over nor made by its word, and a person is told: either of the two may be the forgery.

use std::collections::{BTreeSet, HashMap, HashSet};

use kube::Api;
use kube::api::ListParams;

use super::{RecordError, Recorder};
use crate::document::Document;
use crate::object::{GroupKind, ObjectId};
use crate::reconcile::assess::{Assessment, assess};
use crate::reconcile::baseline::Baseline;
use crate::reconcile::observed::{Observed, api_resource};
use crate::reconcile::publish::Edit;
use crate::snapshot::EntryClass;

/// Objects of a record that are not in the cluster as it says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    pub different: Vec<ObjectId>,
    pub missing: Vec<ObjectId>,
}

impl Doubts {
    pub fn is_empty(&self) -> bool {
        self.different.is_empty() && self.missing.is_empty()
    }
}

impl std::fmt::Display for Doubts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMED: usize = 5;
        let list = |ids: &[ObjectId]| {
            let more = ids.len().saturating_sub(NAMED);
            let names: Vec<String> = ids.iter().take(NAMED).map(ToString::to_string).collect();
            names.join(", ") + &(if more > 0 { format!(" and {more} more") } else { String::new() })
        };
        write!(
            f,
            "the baseline was read from the cluster with no snapshot to prove it, and the cluster is not as it says"
        )?;
        if !self.different.is_empty() {
            write!(f, "; different and left so: {}", list(&self.different))?;
        }
        if !self.missing.is_empty() {
            write!(f, "; missing and not made: {}", list(&self.missing))?;
        }
        write!(f, ". Look at them, and declare in Git what they must be")
    }
}

impl Recorder<'_> {
    /// Looks at what is doubted of a record: what is as it says is doubted no longer, what is not there is forgotten.
    /// Returns what is still doubted.
    ///
    /// # Errors
    /// The cluster cannot be listed, or the snapshot not be written.
    pub async fn settle_doubts(&self, baseline: &Baseline) -> Result<Doubts, RecordError> {
        let world = self.workshop.publisher.world();
        let doubted = |id: &&ObjectId| world.snapshot.meta().doubted.contains(id);
        let doubted: BTreeSet<ObjectId> = baseline.objects.keys().filter(doubted).cloned().collect();
        let (mut settled, mut absent) = (HashSet::new(), HashSet::new());
        let mut doubts = Doubts::default();
        let mut by_kind: HashMap<(&GroupKind, String), HashSet<&ObjectId>> = HashMap::new();
        for id in &doubted {
            match world.entry(id.as_ref())? {
                Some(entry) if entry.class() == EntryClass::Baseline => {
                    let version = entry.version().rsplit('/').next().unwrap_or_default().to_owned();
                    _ = by_kind.entry((&id.kind, version)).or_default().insert(id)
                }
                // Git says now what it is.
                Some(_) => _ = settled.insert(id.clone()),
                None => doubts.missing.push(id.clone()),
            }
        }
        for ((group_kind, version), mut ids) in by_kind {
            let Some(kind) = self.kinds.in_version(group_kind, &version).map(|kind| &kind.info) else {
                // Its API server may be away.
                doubts.different.extend(ids.into_iter().cloned());
                continue;
            };
            let api: Api<Observed> = Api::all_with(self.workshop.client.clone(), &api_resource(kind));
            for object in api.list(&ListParams::default()).await?.items {
                let id = object.id(kind);
                if !ids.remove(&id) {
                    continue;
                }
                let live = Document::from_value(&object.into_value(kind));
                match assess(&world, kind, &id, live.root())? {
                    Assessment::Converged(_) => _ = settled.insert(id),
                    _ => doubts.different.push(id),
                }
            }
            absent.extend(ids.into_iter().cloned());
        }
        doubts.missing.extend(absent.iter().cloned());
        doubts.missing.sort();
        doubts.different.sort();
        for id in &absent {
            self.workshop.tracker.converged(id);
        }
        if !settled.is_empty() || !absent.is_empty() {
            let publisher = &self.workshop.publisher;
            publisher
                .publish(|_, meta| {
                    meta.doubted.retain(|id| !settled.contains(id));
                    Some(Edit { remove: absent, ..Edit::default() })
                })
                .await?;
        }
        Ok(doubts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_what_to_look_at() {
        let role = |n: usize| ObjectId::new("rbac.authorization.k8s.io", "ClusterRole", "", format!("r{n}"));
        let doubts = Doubts { different: vec![role(0)], missing: (1..8).map(role).collect() };
        let told = doubts.to_string();
        assert!(told.contains("left so: ClusterRole.rbac.authorization.k8s.io r0;"), "{told}");
        assert!(told.contains(" r5 and 2 more") && !told.contains(" r6"), "{told}");
    }
}
