//! Kubernetes Events: what `kubectl describe` and `kubectl get events` show of gitadel's work.
//!
//! Sent on the side: an API server that does not take an Event holds up no revert.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use super::observed::api_version;
use crate::api::{GROUP, MANAGER};
use crate::object::ObjectId;
use crate::snapshot::KindInfo;
use crate::supervisor::Supervisor;

/// More than this many waiting Events are dropped: they tell of one cause.
const WAITING: usize = 256;
const LONGEST_NOTE: usize = 1000;

/// How long repetitions of one occurrence are counted in its first Event.
const REPEATED_WITHIN: Duration = Duration::from_secs(360);

#[derive(Clone)]
pub struct EventLog {
    events: mpsc::Sender<Occurrence>,
}

struct Occurrence {
    event: Event,
    reference: ObjectReference,
    /// Equal for what is the same but for its duration.
    what: String,
}

/// A recorder counts all Events of an object with the same reason as one and shows the first note only: then a second,
/// different change would never be seen. One for each kind of occurrence keeps them apart.
struct Recorders {
    client: Client,
    reporter: Reporter,
    known: HashMap<String, (Recorder, Instant)>,
}

impl Recorders {
    fn of(&mut self, what: String, now: Instant) -> Recorder {
        self.known.retain(|_, (_, last)| now.duration_since(*last) < REPEATED_WITHIN);
        let (client, reporter) = (&self.client, &self.reporter);
        let (recorder, last) =
            self.known.entry(what).or_insert_with(|| (Recorder::new(client.clone(), reporter.clone()), now));
        *last = now;
        recorder.clone()
    }
}

impl EventLog {
    /// Starts the task that sends Events.
    pub fn start(client: Client, instance: Option<String>, supervisor: &Supervisor) -> Self {
        let (events, mut waiting) = mpsc::channel::<Occurrence>(WAITING);
        supervisor.spawn_cut_short("the sender of Events", async move {
            let reporter = Reporter { controller: MANAGER.into(), instance };
            let mut recorders = Recorders { client, reporter, known: HashMap::new() };
            while let Some(Occurrence { event, reference, what }) = waiting.recv().await {
                if let Err(error) = recorders.of(what, Instant::now()).publish(&event, &reference).await {
                    tracing::debug!(%error, "an Event was not taken");
                }
            }
        });
        Self { events }
    }

    pub fn drift_reverted(&self, id: &ObjectId, kind: &KindInfo, what: &str, took: Duration) {
        let note = format!("Put back to what Git declares within {} ms: {what}", took.as_millis());
        self.send(EventType::Warning, "DriftReverted", "Revert", note, reference(id, &kind.version), what);
    }

    pub fn undeclared_removed(&self, id: &ObjectId, kind: &KindInfo, why: &str, took: Duration) {
        let note = format!("{id} was removed within {} ms: {why}", took.as_millis());
        self.send(EventType::Warning, "UndeclaredRemoved", "Delete", note, reference(id, &kind.version), "");
    }

    pub fn recreated(&self, id: &ObjectId, kind: &KindInfo) {
        let note = format!("{id} could not become what Git declares, and was deleted to be created again");
        self.send(EventType::Normal, "Recreated", "Recreate", note, reference(id, &kind.version), "");
    }

    pub fn webhook_restored(&self, what: &str, took: Duration) {
        let id = ObjectId::new("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "", MANAGER);
        let note = format!("The webhook configuration was {what} and was restored within {} ms", took.as_millis());
        self.send(EventType::Warning, "WebhookConfigurationRestored", "Restore", note, reference(&id, "v1"), what);
    }

    /// Something about an Enforcement.
    pub fn enforcement(&self, name: &str, uid: Option<String>, warning: bool, reason: &str, note: String) {
        let id = ObjectId::new(GROUP, "Enforcement", "", name);
        let reference = ObjectReference { uid, ..reference(&id, "v1alpha1") };
        let kind = if warning { EventType::Warning } else { EventType::Normal };
        let what = note.clone();
        self.send(kind, reason, "Reconcile", note, reference, &what);
    }

    fn send(&self, type_: EventType, reason: &str, action: &str, note: String, reference: ObjectReference, what: &str) {
        let what = format!("{reason} {what}");
        let note: String = note.chars().take(LONGEST_NOTE).collect();
        let event = Event { type_, reason: reason.into(), note: Some(note), action: action.into(), secondary: None };
        if self.events.try_send(Occurrence { event, reference, what }).is_err() {
            tracing::debug!(reason, "an Event was dropped: too many are waiting");
        }
    }
}

fn reference(id: &ObjectId, version: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version(&id.kind.group, version)),
        kind: Some(id.kind.kind.clone()),
        name: Some(id.name.clone()),
        namespace: (!id.namespace.is_empty()).then(|| id.namespace.clone()),
        ..ObjectReference::default()
    }
}
