//! Keeps the webhook configuration in the cluster equal to the desired one.
//!
//! Every replica does so: safety must not hang on a Lease that anybody who may write Leases can take. The leader acts
//! at once, the others a moment later if it has not.

use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, OptionFuture};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::canary::{Canary, CanaryError, prove_enforcing};
use super::provisional::provisional;
use super::standing::{Cause, Standing, Version};
use super::wanted::Wanted;
use super::{NAME, is_in_force};
use crate::api::MANAGER;
use crate::telemetry::causes;

/// How long the canary is tried after a restoration.
const PROOF_BOUND: Duration = Duration::from_secs(30);
/// How often it is tried while nothing changes, and how long: the webhook may be gone, and its configuration is not.
const CHECK_INTERVAL: Duration = Duration::from_secs(15);
const CHECK_BOUND: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub enum GuardEvent {
    /// The desired configuration is stored; `after` counts from when it was asked for, or the deviation was seen.
    Stored {
        cause: Cause,
        after: Duration,
    },
    /// The webhook rejects again. Between the deviation and this moment anything may have slipped in.
    Enforcing {
        cause: Cause,
        after: Duration,
    },
    NotEnforcing {
        error: CanaryError,
    },
    StoreFailed {
        error: kube::Error,
    },
    /// A policy of the API server lets nobody store what is wanted; what was stored before stays in force.
    StoreRefused {
        message: String,
    },
}

/// The task that keeps the configuration.
pub struct Guard {
    client: Client,
    desired: watch::Receiver<Option<Wanted>>,
    canary: watch::Receiver<Option<Canary>>,
    leader: watch::Receiver<bool>,
}

impl Guard {
    /// `desired` is `None` until it is known: until then nothing is written. Without a `canary` (nothing is enforced)
    /// nothing is proven.
    pub fn new(
        client: Client,
        desired: watch::Receiver<Option<Wanted>>,
        canary: watch::Receiver<Option<Canary>>,
        leader: watch::Receiver<bool>,
    ) -> Self {
        Self { client, desired, canary, leader }
    }

    /// Runs until `shutdown`, or until nobody can change what is desired.
    pub async fn run(mut self, mut on_event: impl FnMut(GuardEvent), shutdown: CancellationToken) {
        let api = Api::<ValidatingWebhookConfiguration>::all(self.client.clone());
        let only_ours = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
        let events = watcher(api.clone(), only_ours).default_backoff();
        pin_mut!(events);

        let mut standing = Standing::default();
        standing.desire(self.desired.borrow_and_update().clone());
        let mut proof: Option<Proof> = None;
        // It was told, of this canary, and nothing else since.
        let mut is_enforcing = false;
        let mut check = tokio::time::interval_at(tokio::time::Instant::now() + CHECK_INTERVAL, CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let leader = *self.leader.borrow_and_update();
            let due = standing.assess(leader, Instant::now());
            if leader && due.is_none() && standing.take_unproven() {
                // An earlier process stored it, it could not be proven before, or that was long ago.
                is_enforcing &= !self.canary.has_changed().unwrap_or(false);
                let canary = self.canary.borrow_and_update().clone();
                proof = canary.map(|canary| {
                    Proof::begin(self.client.clone(), canary, Cause::Planned, Instant::now(), CHECK_BOUND)
                });
            }
            let restore = OptionFuture::from(due.map(|at| tokio::time::sleep_until(at.into())));
            let is_proving = proof.is_some();
            let proven = OptionFuture::from(proof.as_mut().map(|proof| &mut proof.outcome));
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(event)) => standing.observe(event),
                    // The watcher retries by itself, with a growing pause.
                    Some(Err(error)) => tracing::warn!(error = causes(&error), "cannot watch the webhook configuration"),
                    None => return,
                },
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    standing.desire(self.desired.borrow_and_update().clone());
                }
                Ok(()) = self.leader.changed() => {}
                _ = check.tick(), if !is_proving => standing.not_proven(),
                Some(outcome) = proven => {
                    if let Some(Proof { cause, since, .. }) = proof.take() {
                        let was_enforcing = std::mem::replace(&mut is_enforcing, outcome.is_ok());
                        match outcome {
                            Ok(_) if was_enforcing => {}
                            Ok(_) => on_event(GuardEvent::Enforcing { cause, after: since.elapsed() }),
                            Err(error) => {
                                standing.not_proven();
                                on_event(GuardEvent::NotEnforcing { error });
                            }
                        }
                    }
                }
                Some(()) = restore => {
                    let Some((wanted, deviation)) = standing.to_store() else { continue };
                    match store(&api, wanted, standing.live()).await {
                        Ok(StoredConfiguration { configuration, written, superseded }) => {
                            standing.stored(configuration, superseded, Instant::now());
                            if !written && !leader {
                                // The leader was faster.
                                continue;
                            }
                            is_enforcing = false;
                            on_event(GuardEvent::Stored { cause: deviation.cause, after: deviation.since.elapsed() });
                            let canary = self.canary.borrow().clone();
                            // A second deviation before the first one's proof prolongs the same window.
                            let since = proof.as_ref().map_or(deviation.since, |open| open.since.min(deviation.since));
                            proof = canary.map(|canary| {
                                Proof::begin(self.client.clone(), canary, deviation.cause, since, PROOF_BOUND)
                            });
                        }
                        Err(error) => {
                            // Whatever is in force, it is to be proven anew when this is over.
                            is_enforcing = false;
                            if let Some(message) = refused_by_policy(&error) {
                                standing.refused(Instant::now());
                                on_event(GuardEvent::StoreRefused { message });
                            } else {
                                standing.failed(Instant::now());
                                on_event(GuardEvent::StoreFailed { error });
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a ValidatingAdmissionPolicy said. About webhook configurations only those are asked that kube-apiserver has from
/// files.
fn refused_by_policy(error: &kube::Error) -> Option<String> {
    let kube::Error::Api(status) = error else { return None };
    let denied = status.message.contains("ValidatingAdmissionPolicy '") && status.message.contains(" denied request");
    denied.then(|| status.message.clone())
}

/// A canary under way. It runs beside the watch: the next deviation must not wait for it.
struct Proof {
    cause: Cause,
    since: Instant,
    outcome: BoxFuture<'static, Result<Duration, CanaryError>>,
}

impl Proof {
    fn begin(client: Client, canary: Canary, cause: Cause, since: Instant, bound: Duration) -> Self {
        let outcome = async move { prove_enforcing(client, &canary, bound).await }.boxed();
        Self { cause, since, outcome }
    }
}

/// What is stored, and whether it had to be written for that.
#[derive(Debug)]
pub struct StoredConfiguration {
    pub configuration: ValidatingWebhookConfiguration,
    pub written: bool,
    /// What was stored first, for a moment: a watch still shows it.
    pub superseded: Option<Version>,
}

/// Makes the stored configuration the desired one. Exact also while others write: a conflict is read again.
pub async fn store(
    api: &Api<ValidatingWebhookConfiguration>,
    wanted: &ValidatingWebhookConfiguration,
    live: Option<&ValidatingWebhookConfiguration>,
) -> Result<StoredConfiguration, kube::Error> {
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let mut live = live.cloned();
    let mut superseded = None;
    if live.is_none()
        && let Some(first) = provisional(wanted)
        // Whatever keeps it from being stored: the whole is tried all the same.
        && let Ok(first) = api.create(&params, &first).await
    {
        superseded = Version::of(&first);
        live = Some(first);
    }
    loop {
        let attempt = match &live {
            None => api.create(&params, wanted).await,
            Some(live) if is_in_force(live, wanted) => {
                return Ok(StoredConfiguration {
                    configuration: live.clone(),
                    written: superseded.is_some(),
                    superseded,
                });
            }
            Some(live) => {
                let mut next = wanted.clone();
                next.metadata.resource_version = live.metadata.resource_version.clone();
                next.metadata.uid = live.metadata.uid.clone();
                api.replace(NAME, &params, &next).await
            }
        };
        match attempt {
            Err(kube::Error::Api(status))
                if status.is_conflict() || status.is_already_exists() || status.is_not_found() =>
            {
                live = api.get_opt(NAME).await?;
            }
            Ok(configuration) => return Ok(StoredConfiguration { configuration, written: true, superseded }),
            Err(error) => return Err(error),
        }
    }
}
