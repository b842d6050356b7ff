//! Judges what the watches show, and turns it into work.
//!
//! An event that shows a declared object as declared ends here; anything else is put into the queue with the object that
//! the event carried, so that a revert needs no read before its write.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc;

use super::addresses::{self, ServiceName};
use super::assess::{Assessment, assess};
use super::environment::is_mutator;
use super::observed::Observed;
use super::publish::Publisher;
use super::queue::{Cause, Live, Queue, Work};
use super::settled::Settled;
use super::terminating::Termination;
use super::tracker::{Fingerprint, Standing, Tracker};
use super::world::World;
use crate::admission::children::is_settled;
use crate::admission::own::is_canary;
use crate::document::{Document, Node};
use crate::object::{GroupKind, ObjectId};
use crate::snapshot::{EntryClass, KindInfo};
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

/// How long the engine gathers notices before it looks again.
pub const GATHER: Duration = Duration::from_millis(100);

/// Turns events into work.
pub struct Observer {
    pub publisher: Arc<Publisher>,
    pub tracker: Arc<Tracker>,
    pub queue: Queue,
    pub notices: mpsc::UnboundedSender<Notice>,
    pub terminating: mpsc::UnboundedSender<Termination>,
    pub settled: mpsc::UnboundedSender<Settled>,
    /// Services whose slices were written.
    pub addressed: mpsc::UnboundedSender<ServiceName>,
    pub metrics: Arc<ReconcileMetrics>,
    /// Drift is only noted.
    pub held: AtomicBool,
}

impl Observer {
    pub(super) fn count_started(&self, watches: usize) {
        self.metrics.watches.with_label_values(&["started"]).set(count(watches));
    }

    pub(super) fn count_listed(&self) {
        self.metrics.watches.with_label_values(&["listed"]).set(count(self.tracker.kinds_listed()));
    }

    pub(super) fn present(&self, kind: &KindInfo, object: Observed, initial: bool) {
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
        match &assessment {
            Ok(Assessment::Converged(_) | Assessment::Free) => self.tracker.accepted(&id),
            // What a list shows may have been there under other rules.
            Ok(Assessment::Undeclared) if is_first_sight && !initial => self.tracker.intruded(&id),
            _ => {}
        }
        let is_as_before = initial && matches!(assessment, Ok(Assessment::Converged(_) | Assessment::Free));
        if is_mutator(&id.kind) && !is_as_before {
            self.tracker.mutators.note();
        }
        match assessment {
            Ok(Assessment::Converged(state)) => {
                self.settle(&world, &id, document.root(), state);
                if let (Some(version), Some(state)) = (version, state) {
                    self.tracker.seen_as(&id, version, state);
                }
                self.tracker.converged(&id);
            }
            Ok(Assessment::Drifted(findings)) => {
                self.drifted(&id, "changed", findings.first().map(ToString::to_string));
                self.work(id, Live::Present(Arc::new(value)), since);
            }
            Ok(Assessment::Altered(_) | Assessment::Misstated(_) | Assessment::Held(_)) => {
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
            Ok(Assessment::Lingering(_)) if self.tracker.standing(&id) != Standing::Accepted => {
                self.drifted(&id, "undeclared", None);
                self.work(id, Live::Present(Arc::new(value)), since);
            }
            Ok(Assessment::Terminating | Assessment::Lingering(_)) => {
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
                self.addressed(&world, &id, document.root());
            }
            Err(error) => tracing::error!(object = %id, %error, "not judged"),
        }
    }

    pub(super) fn absent(&self, kind: &KindInfo, id: &ObjectId) {
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
            self.tracker.forget(id);
            self.tracker.converged(id);
        }
        tracing::trace!(kind = %kind.kind, object = %id, "gone");
    }

    /// After a full list: desired objects of this kind that were not in it.
    pub(super) fn missing(&self, kind: &GroupKind, seen: &HashSet<ObjectId>) {
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

    pub(super) fn work(&self, id: ObjectId, live: Live, since: Instant) {
        // Noted before: whoever lets go finds it there.
        if self.held.load(Ordering::SeqCst) {
            return;
        }
        self.queue.push(Work { id, live, cause: Cause::Drift, since });
    }

    /// An object that is as declared may have nothing left of its earlier templates. Its fingerprint is that of the desired
    /// state, where it is known already.
    fn settle(&self, world: &World, id: &ObjectId, live: Node<'_>, state: Option<Fingerprint>) {
        let Ok(Some(entry)) = world.entry(id.as_ref()) else { return };
        let Some(state) = state.or_else(|| entry.canonical().map(Fingerprint::of)) else { return };
        self.tracker.holds(id, state);
        let has_earlier = entry.history().templates().next().is_some();
        if has_earlier && is_settled(&id.kind.group, &id.kind.kind, live) {
            // A closed channel means that the process is stopping.
            let _ = self.settled.send((id.clone(), state));
        }
    }

    fn addressed(&self, world: &World, id: &ObjectId, live: Node<'_>) {
        if let Some(service) = addresses::to_look_at(world, id, live) {
            // A closed channel means that the process is stopping.
            let _ = self.addressed.send(service);
        }
    }

    /// A slice was found to lead to no Pod of its Service.
    pub(super) fn misdirected(&self, slice: ObjectId, to: &str) {
        self.drifted(&slice, "misdirected", Some(format!("it leads to {to}, which no Pod of the Service has")));
        self.work(slice, Live::Unknown, Instant::now());
    }

    pub(super) fn terminations(&self, termination: Termination) {
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

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn is_namespace(kind: &GroupKind) -> bool {
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
