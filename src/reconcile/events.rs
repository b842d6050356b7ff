//! Kubernetes Events: what `kubectl describe` and `kubectl get events` show of gitadel's work.
//!
//! Sent on the side: an API server that does not take an Event holds up no revert.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use super::observed::api_version;
use crate::api::{GROUP, MANAGER};
use crate::object::ObjectId;
use crate::snapshot::KindInfo;

/// More than this many waiting Events are dropped: they tell of one cause.
const WAITING: usize = 256;
const LONGEST_NOTE: usize = 1000;

#[derive(Clone)]
pub struct EventLog {
    events: mpsc::Sender<(Event, ObjectReference)>,
}

impl EventLog {
    /// Starts the task that sends Events.
    pub fn start(client: Client, instance: Option<String>) -> Self {
        let (events, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(WAITING);
        tokio::spawn(async move {
            let recorder = Recorder::new(client, Reporter { controller: MANAGER.into(), instance });
            while let Some((event, reference)) = waiting.recv().await {
                if let Err(error) = recorder.publish(&event, &reference).await {
                    tracing::debug!(%error, "an Event was not taken");
                }
            }
        });
        Self { events }
    }

    pub fn drift_reverted(&self, id: &ObjectId, kind: &KindInfo, what: &str, took: Duration) {
        let note = format!("Put back to what Git declares within {} ms: {what}", took.as_millis());
        self.send(EventType::Warning, "DriftReverted", "Revert", note, reference(id, &kind.version));
    }

    pub fn undeclared_removed(&self, id: &ObjectId, kind: &KindInfo, took: Duration) {
        let note = format!("{id} is not declared in Git and was removed within {} ms", took.as_millis());
        self.send(EventType::Warning, "UndeclaredRemoved", "Delete", note, reference(id, &kind.version));
    }

    pub fn webhook_restored(&self, what: &str, took: Duration) {
        let id = ObjectId::new("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "", MANAGER);
        let note = format!("The webhook configuration was {what} and was restored within {} ms", took.as_millis());
        self.send(EventType::Warning, "WebhookConfigurationRestored", "Restore", note, reference(&id, "v1"));
    }

    /// Something about an Enforcement.
    pub fn enforcement(&self, name: &str, uid: Option<String>, warning: bool, reason: &str, note: String) {
        let id = ObjectId::new(GROUP, "Enforcement", "", name);
        let reference = ObjectReference { uid, ..reference(&id, "v1alpha1") };
        let kind = if warning { EventType::Warning } else { EventType::Normal };
        self.send(kind, reason, "Reconcile", note, reference);
    }

    fn send(&self, type_: EventType, reason: &str, action: &str, note: String, reference: ObjectReference) {
        let note: String = note.chars().take(LONGEST_NOTE).collect();
        let event = Event { type_, reason: reason.into(), note: Some(note), action: action.into(), secondary: None };
        if self.events.try_send((event, reference)).is_err() {
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
