//! Decides which webhook configuration must be in force: it follows from the published snapshot and from the authorities
//! whose certificates the replicas serve with.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use super::events::EventLog;
use super::webhook_configuration::{
    Canary, CanaryError, Cause, ClientTarget, Desired, Extent, Guard, GuardEvent, Wanted, generate, likeness, places,
    prove_enforcing,
};
use super::world::World;
use crate::supervisor::Supervisor;
use crate::telemetry::{ReconcileMetrics, causes};

/// Within that time a healthy API server takes up a new configuration, and knows of a new namespace.
const TAKEN_UP: Duration = Duration::from_secs(2);
/// How long the proof may take where it does not, or where the webhook is only starting.
const PROOF_LIMIT: Duration = Duration::from_secs(18);

/// Whether the webhook is obeyed, as far as a canary can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Force {
    #[default]
    Pending,
    /// A canary was rejected since the configuration was last written or altered.
    Proven,
    /// The API server gets no answer of the webhook.
    Unreachable,
    /// Nothing that is enforced exists where a canary could be tried.
    NoPlace,
    /// A policy of the API server refuses the configuration; what was stored before stays in force.
    Refused,
}

pub struct Governor {
    client: Client,
    worlds: watch::Sender<Option<(Arc<World>, Extent)>>,
    force: watch::Receiver<Force>,
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
        supervisor: &Supervisor,
    ) -> Self {
        let (worlds, worlds_seen) = watch::channel(None);
        let (desired_in, desired) = watch::channel(None);
        let (canary_in, canary) = watch::channel(None);
        let (force_in, force) = watch::channel(Force::default());
        let follow = follow(worlds_seen, ca_bundle, target, desired_in, canary_in, force_in.clone());
        supervisor.spawn_cut_short("the generator of the webhook configuration", follow);
        let guard = Guard::new(client.clone(), desired, canary, leader);
        let observe = move |event| observe(event, &metrics, &events, &force_in);
        supervisor.spawn("the guard of the webhook configuration", guard.run(observe, supervisor.stop().clone()));
        Self { client, worlds, force }
    }

    /// The configuration follows from this world from now on.
    pub fn desire(&self, world: &Arc<World>, extent: Extent) {
        self.worlds.send_replace(Some((Arc::clone(world), extent)));
    }

    /// The same is known as before, of a newer world.
    pub fn refresh(&self, world: &Arc<World>) {
        let extent = self.worlds.borrow().as_ref().map_or(Extent::Governed, |(_, extent)| *extent);
        self.desire(world, extent);
    }

    pub fn force(&self) -> Force {
        *self.force.borrow()
    }

    /// Waits until what is undeclared is rejected in the scope of an Enforcement, by a webhook that knows its world as
    /// closed. Nothing where there is no place in the scope for a canary: its namespaces do not exist, so that nothing is
    /// in them either, or it holds none of the kinds that a canary can be of.
    ///
    /// # Errors
    /// It was not, in time.
    pub async fn prove_closed(&self, enforcement: &str) -> Result<Option<Duration>, CanaryError> {
        let world = self.worlds.borrow().clone().map(|(world, _)| world);
        let Some(canary) = world.and_then(|world| canary(&world, Some(enforcement))) else { return Ok(None) };
        match prove_enforcing(self.client.clone(), &canary, TAKEN_UP).await {
            Ok(took) => Ok(Some(took)),
            Err(CanaryError::Nowhere) => Ok(None),
            // The other Enforcements wait meanwhile, so it is waited for only what time may bring.
            Err(CanaryError::Admitted { .. } | CanaryError::Unreachable { .. }) => {
                prove_enforcing(self.client.clone(), &canary, PROOF_LIMIT).await.map(Some)
            }
            Err(error) => Err(error),
        }
    }
}

async fn follow(
    mut worlds: watch::Receiver<Option<(Arc<World>, Extent)>>,
    mut ca_bundle: watch::Receiver<String>,
    target: ClientTarget,
    desired: watch::Sender<Option<Wanted>>,
    canaries: watch::Sender<Option<Canary>>,
    force: watch::Sender<Force>,
) {
    loop {
        let world = worlds.borrow_and_update().clone();
        let authorities = ca_bundle.borrow_and_update().clone();
        if let Some((world, extent)) = world
            && !authorities.is_empty()
        {
            let meta = world.snapshot.meta();
            let canary = canary(&world, None);
            match &canary {
                None => _ = force.send_replace(Force::NoPlace),
                Some(_) => _ = force.send_if_modified(|force| replace_if(force, Force::NoPlace, Force::Pending)),
            }
            canaries.send_if_modified(|known| replace_if_new(known, Some(canary)));
            let configuration = generate(&Desired {
                sources: &meta.sources,
                kinds: &meta.kinds,
                target: &target,
                ca_bundle: &authorities,
                reconciler_users: &meta.reconciler_users,
            });
            let wanted = Wanted { configuration, served: likeness::served(&meta.kinds), extent };
            desired.send_if_modified(|known| replace_if_new(known, Some(Some(wanted))));
        }
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            changed = ca_bundle.changed() => if changed.is_err() { return },
        }
    }
}

fn replace_if<T: PartialEq>(known: &mut T, old: T, new: T) -> bool {
    let is_old = *known == old;
    if is_old {
        *known = new;
    }
    is_old
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

/// What proves that the webhook is in force: anywhere, or in the scope of one Enforcement whose world must be closed.
fn canary(world: &World, closed: Option<&str>) -> Option<Canary> {
    let sources = &world.snapshot.meta().sources;
    let asked = sources.iter().filter(|source| closed.is_none_or(|name| source.name == name));
    let places = places(asked, &world.snapshot);
    (!places.is_empty()).then(|| Canary { places, closed: closed.map(str::to_owned) })
}

fn observe(event: GuardEvent, metrics: &ReconcileMetrics, events: &EventLog, force: &watch::Sender<Force>) {
    let what = |cause| match cause {
        Cause::Planned => "changed as planned",
        Cause::Deleted => "deleted",
        Cause::Altered => "altered",
    };
    match event {
        GuardEvent::Stored { cause: Cause::Planned, after } => {
            metrics.webhook_configuration_refused.set(0);
            force.send_if_modified(|force| replace_if(force, Force::Refused, Force::Pending));
            tracing::info!(milliseconds = after.as_millis() as u64, "webhook configuration stored");
        }
        GuardEvent::Stored { cause, after } => {
            force.send_replace(Force::Pending);
            metrics.webhook_configuration_refused.set(0);
            metrics.webhook_configuration_restored.inc();
            tracing::warn!(
                milliseconds = after.as_millis() as u64,
                "webhook configuration was {} and is restored",
                what(cause)
            );
            events.webhook_restored(what(cause), after);
        }
        GuardEvent::Enforcing { cause, after } => {
            force.send_replace(Force::Proven);
            metrics.webhook_configuration_refused.set(0);
            if cause != Cause::Planned {
                metrics.webhook_configuration_restore_seconds.observe(after.as_secs_f64());
            }
            tracing::info!(milliseconds = after.as_millis() as u64, "the webhook is in force");
        }
        GuardEvent::NotEnforcing { error: CanaryError::Nowhere } => {
            force.send_replace(Force::NoPlace);
        }
        GuardEvent::NotEnforcing { error } => {
            let is_reached = !matches!(error, CanaryError::Unreachable { .. });
            force.send_replace(if is_reached { Force::Pending } else { Force::Unreachable });
            tracing::error!(%error, "the webhook does not reject what it should");
        }
        GuardEvent::StoreRefused { message } => {
            force.send_replace(Force::Refused);
            metrics.webhook_configuration_refused.set(1);
            tracing::error!(
                reason = message,
                "a policy of the API server refuses the webhook configuration; what was stored before stays in force"
            );
        }
        GuardEvent::StoreFailed { error } => {
            metrics.api_errors.with_label_values(&["webhook_configuration"]).inc();
            tracing::error!(error = causes(&error), "the webhook configuration cannot be stored; tried again");
        }
    }
}
