//! Decides which webhook configuration must be in force: it follows from the published snapshot and from the authorities
//! whose certificates the replicas serve with.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Client;
use tokio::sync::watch;

use super::events::EventLog;
use super::webhook_configuration::{
    Canary, CanaryError, Cause, ClientTarget, Desired, Guard, GuardEvent, generate, prove_enforcing,
};
use super::world::World;
use crate::api::{Action, SYSTEM_NAMESPACE};
use crate::telemetry::ReconcileMetrics;
use tokio_util::sync::CancellationToken;

/// How long a first proof may take: API servers take up a new configuration within about a second.
const PROOF_LIMIT: Duration = Duration::from_secs(20);

pub struct Governor {
    client: Client,
    worlds: watch::Sender<Option<Arc<World>>>,
    canary: watch::Receiver<Option<Canary>>,
    enforcing: watch::Receiver<bool>,
}

impl Governor {
    /// Starts the tasks that generate and guard the configuration.
    pub fn start(
        client: Client,
        target: ClientTarget,
        ca_bundle: watch::Receiver<String>,
        leader: watch::Receiver<bool>,
        metrics: Arc<ReconcileMetrics>,
        events: EventLog,
        stop: CancellationToken,
    ) -> Self {
        let (worlds, worlds_seen) = watch::channel(None);
        let (desired_in, desired) = watch::channel(None);
        let (canary_in, canary) = watch::channel(None);
        let (enforcing_in, enforcing) = watch::channel(false);
        tokio::spawn(follow(worlds_seen, ca_bundle, target, desired_in, canary_in));
        let guard = Guard::new(client.clone(), desired, canary.clone(), leader);
        tokio::spawn(guard.run(move |event| observe(event, &metrics, &events, &enforcing_in), stop));
        Self { client, worlds, canary, enforcing }
    }

    /// A new world is published.
    pub fn desire(&self, world: &Arc<World>) {
        self.worlds.send_replace(Some(Arc::clone(world)));
    }

    /// Whether a canary was rejected since the configuration was last written.
    pub fn is_enforcing(&self) -> bool {
        *self.enforcing.borrow()
    }

    /// Waits until an undeclared object is rejected.
    ///
    /// # Errors
    /// It was not, in time.
    pub async fn prove(&self) -> Result<Option<Duration>, CanaryError> {
        let canary = self.canary.borrow().clone();
        match canary {
            Some(canary) => prove_enforcing(self.client.clone(), &canary, PROOF_LIMIT).await.map(Some),
            None => Ok(None),
        }
    }
}

async fn follow(
    mut worlds: watch::Receiver<Option<Arc<World>>>,
    mut ca_bundle: watch::Receiver<String>,
    target: ClientTarget,
    desired: watch::Sender<Option<ValidatingWebhookConfiguration>>,
    canary: watch::Sender<Option<Canary>>,
) {
    loop {
        let world = worlds.borrow_and_update().clone();
        let authorities = ca_bundle.borrow_and_update().clone();
        if let Some(world) = world
            && !authorities.is_empty()
        {
            let meta = world.snapshot.meta();
            canary.send_if_modified(|known| replace_if_new(known, Some(place_for_canary(&world))));
            let configuration = generate(&Desired {
                sources: &meta.sources,
                kinds: &meta.kinds,
                target: &target,
                ca_bundle: &authorities,
                reconciler_users: &meta.reconciler_users,
            });
            desired.send_if_modified(|known| replace_if_new(known, Some(Some(configuration))));
        }
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            changed = ca_bundle.changed() => if changed.is_err() { return },
        }
    }
}

fn replace_if_new<T: PartialEq>(known: &mut T, new: Option<T>) -> bool {
    match new {
        Some(new) if *known != new => {
            *known = new;
            true
        }
        _ => false,
    }
}

/// A namespace where an undeclared object must be rejected.
fn place_for_canary(world: &World) -> Option<Canary> {
    let enforced = || world.snapshot.meta().sources.iter().filter(|source| source.action == Action::Enforce);
    if enforced().any(|source| source.governs_namespace(SYSTEM_NAMESPACE)) {
        return Some(Canary { namespace: SYSTEM_NAMESPACE.into() });
    }
    let listed = enforced().find_map(|source| source.scope.namespaces.as_ref()?.first().cloned());
    listed.map(|namespace| Canary { namespace })
}

fn observe(event: GuardEvent, metrics: &ReconcileMetrics, events: &EventLog, enforcing: &watch::Sender<bool>) {
    let what = |cause| match cause {
        Cause::Planned => "changed as planned",
        Cause::Deleted => "deleted",
        Cause::Altered => "altered",
    };
    match event {
        GuardEvent::Stored { cause: Cause::Planned, after } => {
            tracing::info!(milliseconds = after.as_millis() as u64, "webhook configuration stored");
        }
        GuardEvent::Stored { cause, after } => {
            enforcing.send_replace(false);
            metrics.webhook_configuration_restored.inc();
            tracing::warn!(
                milliseconds = after.as_millis() as u64,
                "webhook configuration was {} and is restored",
                what(cause)
            );
            events.webhook_restored(what(cause), after);
        }
        GuardEvent::Enforcing { cause, after } => {
            enforcing.send_replace(true);
            if cause != Cause::Planned {
                metrics.webhook_configuration_restore_seconds.observe(after.as_secs_f64());
            }
            tracing::info!(milliseconds = after.as_millis() as u64, "the webhook rejects undeclared writes");
        }
        GuardEvent::NotEnforcing { error } => {
            enforcing.send_replace(false);
            tracing::error!(%error, "the webhook does not reject what it should");
        }
        GuardEvent::StoreFailed { error } => {
            metrics.api_errors.with_label_values(&["webhook_configuration"]).inc();
            tracing::error!(%error, "the webhook configuration cannot be stored; tried again");
        }
    }
}
