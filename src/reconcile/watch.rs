//! Watches every kind in the governed scopes and turns what it sees into work.
//!
//! One watch a kind, over all namespaces; nothing is kept but what `Tracker` holds. An event that shows a declared
//! object as declared ends here; anything else is put into the queue with the object that the event carried, so that a
//! revert needs no read before its write.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::assess::{Assessment, assess};
use super::discovery::ServedKind;
use super::environment::is_mutator;
use super::observed::{Observed, api_resource};
use super::publish::Publisher;
use super::queue::{Cause, Live, Queue, Work};
use super::settled::Settled;
use super::terminating::Termination;
use super::tracker::{Fingerprint, Tracker};
use super::world::World;
use crate::admission::children::is_settled;
use crate::admission::own::is_canary;
use crate::document::{Document, Node};
use crate::object::{GroupKind, ObjectId};
use crate::snapshot::{EntryClass, KindInfo};
use crate::supervisor::Supervisor;
use crate::telemetry::ReconcileMetrics;

/// What the engine must hear of, beside drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A CustomResourceDefinition or APIService changed: the API server may serve other kinds now.
    KindsChanged,
    /// Something on which canonical objects depend changed.
    EnvironmentChanged,
    /// An object is gone that was in the way of what Git declares, or that was kept until then.
    Gone,
}

pub struct Watches {
    client: Client,
    observer: Arc<Observer>,
    /// The version that is watched, and what ends the watch.
    running: HashMap<GroupKind, (String, CancellationToken)>,
    supervisor: Supervisor,
}

/// Turns events into work.
pub struct Observer {
    pub publisher: Arc<Publisher>,
    pub tracker: Arc<Tracker>,
    pub queue: Queue,
    pub notices: mpsc::UnboundedSender<Notice>,
    pub terminating: mpsc::UnboundedSender<Termination>,
    pub settled: mpsc::UnboundedSender<Settled>,
    pub metrics: Arc<ReconcileMetrics>,
    /// Drift is only noted.
    pub held: AtomicBool,
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
        self.observer.metrics.watches.with_label_values(&["started"]).set(count(self.running.len()));
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

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Observer {
    fn count_listed(&self) {
        self.metrics.watches.with_label_values(&["listed"]).set(count(self.tracker.kinds_listed()));
    }

    fn present(&self, kind: &KindInfo, object: Observed, initial: bool) {
        let since = Instant::now();
        let id = object.id(kind);
        let is_first_sight = self.tracker.seen(&id);
        let version = object.version();
        let value = object.into_value(kind);
        self.notify(&id, Some(&value), initial);
        let world = self.publisher.world();
        if matches!(world.kind_of(&id), Ok(Some(own)) if own.version != kind.version && own.group == kind.group) {
            // Git, or the baseline, has it in another version than the watch: it is looked at in that one.
            if is_mutator(&id.kind) {
                self.tracker.mutators.note();
            }
            return self.work(id, Live::Unknown, since);
        }
        let document = Document::from_value(&value);
        let assessment = assess(&world, kind, &id, document.root());
        let is_as_before = initial && matches!(assessment, Ok(Assessment::Converged(_) | Assessment::Free));
        if is_mutator(&id.kind) && !is_as_before {
            self.tracker.mutators.note();
        }
        match assessment {
            Ok(Assessment::Converged(state)) => {
                self.settle(&world, &id, document.root());
                if let (Some(version), Some(state)) = (version, state) {
                    self.tracker.seen_as(&id, version, state);
                }
                self.tracker.converged(&id);
            }
            Ok(Assessment::Drifted(findings)) => {
                self.drifted(&id, "changed", findings.first().map(ToString::to_string));
                self.work(id, Live::Present(Arc::new(value)), since);
            }
            Ok(Assessment::Altered(_) | Assessment::Held(_)) => {
                self.drifted(&id, "changed", None);
                self.work(id, Live::Present(Arc::new(value)), since);
            }
            Ok(Assessment::Undeclared) => {
                let live = Live::Present(Arc::new(value));
                if is_canary(id.as_ref()) {
                    self.queue.push(Work { id, live, cause: Cause::Drift, since });
                } else {
                    self.drifted(&id, "undeclared", None);
                    self.work(id, live, since);
                }
            }
            Ok(Assessment::Terminating) => {
                self.drifted(&id, "terminating", None);
            }
            // It may be made from a template that counted before anything was known here. One that was seen to be what its
            // owner's template yields was altered since.
            Ok(Assessment::Unproven(_)) if is_first_sight || self.tracker.is_kept(&id) => {
                self.tracker.converged(&id);
                if self.tracker.kept(&id) {
                    let enforcement = world.enforcement_of(id.as_ref());
                    self.metrics.drift_detected.with_label_values(&[enforcement, "unproven"]).inc();
                    tracing::warn!(
                        object = %id,
                        "not what its owner's template yields, and left: it is older than what is known of that template"
                    );
                }
            }
            Ok(Assessment::Foreign(findings) | Assessment::Unproven(findings)) => {
                self.drifted(&id, "changed", findings.first().map(ToString::to_string));
                self.work(id, Live::Present(Arc::new(value)), since);
            }
            Ok(Assessment::Kept) => {
                self.tracker.converged(&id);
                if self.tracker.kept(&id) {
                    self.metrics.drift_detected.with_label_values(&[world.enforcement_of(id.as_ref()), "kept"]).inc();
                    tracing::warn!(object = %id, "not declared in Git, and left because data would go with it");
                }
            }
            Ok(Assessment::Free) => {
                self.tracker.converged(&id);
                self.tracker.not_kept(&id);
            }
            Err(error) => tracing::error!(object = %id, %error, "not judged"),
        }
    }

    fn absent(&self, kind: &KindInfo, id: &ObjectId) {
        let since = Instant::now();
        self.tracker.gone(id);
        if is_mutator(&id.kind) {
            self.tracker.mutators.note();
        }
        self.notify(id, None, false);
        if self.is_waited_for(id) {
            tracing::debug!(object = %id, "gone: the next round need not wait any longer");
            let _ = self.notices.send(Notice::Gone);
        }
        if self.is_desired(id) {
            self.drifted(id, "deleted", None);
            self.work(id.clone(), Live::Absent, since);
        } else {
            self.tracker.converged(id);
        }
        tracing::trace!(kind = %kind.kind, object = %id, "gone");
    }

    /// After a full list: desired objects of this kind that were not in it.
    fn missing(&self, kind: &GroupKind, seen: &HashSet<ObjectId>) {
        let world = self.publisher.world();
        for entry in world.snapshot.iter() {
            let Ok(entry) = entry else { continue };
            let id = entry.id();
            if id.group == kind.group && id.kind == kind.kind {
                let id = id.to_owned();
                if !seen.contains(&id) && self.is_desired(&id) {
                    self.tracker.gone(&id);
                    self.drifted(&id, "deleted", None);
                    self.work(id, Live::Absent, Instant::now());
                }
            }
        }
    }

    fn is_desired(&self, id: &ObjectId) -> bool {
        let world = self.publisher.world();
        matches!(
            world.entry(id.as_ref()),
            Ok(Some(entry)) if entry.class() != EntryClass::Retained && entry.canonical().is_some()
        )
    }

    fn is_waited_for(&self, id: &ObjectId) -> bool {
        let world = self.publisher.world();
        matches!(
            world.entry(id.as_ref()),
            Ok(Some(entry)) if entry.class() == EntryClass::Retained || entry.problem().is_some()
        )
    }

    fn drifted(&self, id: &ObjectId, cause: &str, what: Option<String>) {
        if self.tracker.drifted(id) {
            let world = self.publisher.world();
            self.metrics.drift_detected.with_label_values(&[world.enforcement_of(id.as_ref()), cause]).inc();
            tracing::info!(object = %id, cause, what, "differs from Git");
        }
    }

    fn work(&self, id: ObjectId, live: Live, since: Instant) {
        // Noted before: whoever lets go finds it there.
        if self.held.load(Ordering::SeqCst) {
            return;
        }
        self.queue.push(Work { id, live, cause: Cause::Drift, since });
    }

    /// An object that is as declared may have nothing left of its earlier templates.
    fn settle(&self, world: &World, id: &ObjectId, live: Node<'_>) {
        let Ok(Some(entry)) = world.entry(id.as_ref()) else { return };
        let has_earlier = entry.history().templates().next().is_some();
        if let Some(canonical) = entry.canonical().filter(|_| has_earlier)
            && is_settled(&id.kind.group, &id.kind.kind, live)
        {
            // A closed channel means that the process is stopping.
            let _ = self.settled.send((id.clone(), Fingerprint::of(canonical)));
        }
    }

    fn terminations(&self, termination: Termination) {
        // A closed channel means that the process is stopping.
        let _ = self.terminating.send(termination);
    }

    fn notify(&self, id: &ObjectId, value: Option<&Value>, initial: bool) {
        if is_namespace(&id.kind) {
            let terminating = value.is_some_and(|v| !v["metadata"]["deletionTimestamp"].is_null());
            match (terminating, initial) {
                (true, _) => self.terminations(Termination::Began(id.name.clone())),
                (false, false) => self.terminations(Termination::Ended(id.name.clone())),
                (false, true) => {}
            }
        }
        if !initial && let Some(notice) = notice(id) {
            let _ = self.notices.send(notice);
        }
    }
}

fn is_namespace(kind: &GroupKind) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}

/// What a change of an object tells the engine.
fn notice(id: &ObjectId) -> Option<Notice> {
    match (id.kind.group.as_str(), id.kind.kind.as_str()) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") | ("apiregistration.k8s.io", "APIService") => {
            Some(Notice::KindsChanged)
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "MutatingAdmissionPolicy" | "MutatingAdmissionPolicyBinding",
        )
        | ("", "LimitRange")
        | ("scheduling.k8s.io", "PriorityClass")
        | ("node.k8s.io", "RuntimeClass")
        | ("networking.k8s.io", "IngressClass")
        | ("storage.k8s.io", "StorageClass") => Some(Notice::EnvironmentChanged),
        _ => None,
    }
}

/// How long the engine gathers notices before it looks again.
pub const GATHER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_hears_of() {
        let crd = ObjectId::new("apiextensions.k8s.io", "CustomResourceDefinition", "", "shops.example.com");
        assert_eq!(notice(&crd), Some(Notice::KindsChanged));
        let limits = ObjectId::new("", "LimitRange", "shop", "limits");
        assert_eq!(notice(&limits), Some(Notice::EnvironmentChanged));
        assert_eq!(notice(&ObjectId::new("", "ConfigMap", "shop", "c")), None);
    }
}
