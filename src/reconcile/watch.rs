//! Watches every kind in the governed scopes: one watch a kind, over all namespaces. Nothing is kept but what `Tracker`
//! holds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use super::discovery::ServedKind;
use super::observed::{Observed, api_resource};
use super::observer::{Observer, is_namespace};
use super::queue::Live;
use super::terminating::Termination;
use crate::object::{GroupKind, ObjectId};
use crate::snapshot::KindInfo;
use crate::supervisor::Supervisor;

pub struct Watches {
    client: Client,
    observer: Arc<Observer>,
    /// The version that is watched, and what ends the watch.
    running: HashMap<GroupKind, (String, CancellationToken)>,
    supervisor: Supervisor,
}

impl Watches {
    pub fn new(client: Client, observer: Arc<Observer>, supervisor: Supervisor) -> Self {
        Self { client, observer, running: HashMap::new(), supervisor }
    }

    /// Watches exactly the kinds that `wanted` yields; those that are watched already are left alone.
    pub fn watch(&mut self, wanted: impl Iterator<Item = ServedKind>) {
        let mut unwanted: Vec<GroupKind> = self.running.keys().cloned().collect();
        for kind in wanted {
            let id = GroupKind::new(&kind.info.group, &kind.info.kind);
            unwanted.retain(|known| *known != id);
            if self.running.get(&id).is_some_and(|(version, _)| *version == kind.info.version) {
                continue;
            }
            if let Some((_, old)) = self.running.remove(&id) {
                old.cancel();
            }
            let version = kind.info.version.clone();
            let stop = self.supervisor.stop().child_token();
            let follow = follow(self.client.clone(), kind.info, Arc::clone(&self.observer));
            self.supervisor.spawn_cut_short_by("a watch", stop.clone(), follow);
            self.running.insert(id, (version, stop));
        }
        for id in unwanted {
            if let Some((_, watch)) = self.running.remove(&id) {
                watch.cancel();
            }
            self.observer.tracker.unlisted(&id);
        }
        self.observer.count_started(self.running.len());
        self.observer.count_listed();
    }

    /// Which of these kinds are watched and were not seen in full yet.
    pub fn unlisted(&self, mut kinds: Vec<GroupKind>) -> Vec<GroupKind> {
        kinds.retain(|kind| self.running.contains_key(kind) && !self.observer.tracker.is_listed(kind));
        kinds
    }

    /// Lets drift wait until [`Self::release`].
    pub fn hold(&self) {
        self.observer.held.store(true, Ordering::SeqCst);
    }

    pub fn release(&self) {
        self.observer.held.store(false, Ordering::SeqCst);
        for id in self.observer.tracker.drift() {
            self.observer.work(id, Live::Unknown, Instant::now());
        }
    }

    /// Lists some kinds anew with the next [`Self::watch`]: what followed from something that is gone may be drift.
    pub fn look_again(&mut self, kinds: &BTreeSet<GroupKind>) {
        for kind in kinds {
            if let Some((_, watch)) = self.running.remove(kind) {
                watch.cancel();
                self.observer.tracker.unlisted(kind);
            }
        }
    }

    /// Lists everything anew: after the scopes changed, what was of no interest may be drift.
    pub fn restart(&mut self) {
        for (_, (_, watch)) in self.running.drain() {
            watch.cancel();
        }
        self.observer.tracker.clear();
    }
}

/// Kinds whose objects say nothing about the desired state: machinery, or bound to what is judged elsewhere.
pub fn is_watched(kind: &ServedKind) -> bool {
    let machinery = matches!(
        (kind.info.group.as_str(), kind.info.kind.as_str()),
        ("" | "events.k8s.io", "Event") | ("coordination.k8s.io", "Lease" | "LeaseCandidate") | ("", "ComponentStatus")
    );
    !machinery && kind.verbs.contains("list") && kind.verbs.contains("watch")
}

async fn follow(client: Client, kind: KindInfo, observer: Arc<Observer>) {
    let id = GroupKind::new(&kind.group, &kind.kind);
    let api: Api<Observed> = Api::all_with(client, &api_resource(&kind));
    let config = watcher::Config::default();
    let mut events = watcher::watcher(api, config).default_backoff().boxed();
    let mut seen: HashSet<ObjectId> = HashSet::new();
    let mut terminating = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                observer.tracker.unlisted(&id);
                observer.count_listed();
                seen.clear();
                terminating.clear();
            }
            Ok(Event::InitApply(object)) => {
                let id = object.id(&kind);
                if is_namespace(&id.kind) && object.is_terminating() {
                    terminating.insert(id.name.clone());
                }
                seen.insert(id);
                observer.present(&kind, object, true);
            }
            Ok(Event::InitDone) => {
                // In this order: what counts as listed has nothing missing that was not noted.
                observer.missing(&id, &seen);
                observer.tracker.listed(&id);
                observer.count_listed();
                seen = HashSet::new();
                if is_namespace(&id) {
                    observer.terminations(Termination::Listed(std::mem::take(&mut terminating)));
                }
            }
            Ok(Event::Apply(object)) => observer.present(&kind, object, false),
            Ok(Event::Delete(object)) => observer.absent(&kind, &object.id(&kind)),
            Err(error) => {
                observer.metrics.api_errors.with_label_values(&["watch"]).inc();
                tracing::debug!(kind = %id, %error, "watch interrupted");
            }
        }
    }
}
