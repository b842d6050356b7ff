//! Keeps the webhook configuration in the cluster equal to the desired one.
//!
//! Every replica does so: safety must not hang on a Lease that anybody who may write Leases can take. The leader acts
//! at once, the others a moment later if it has not. While replicas of two versions run, each computes another
//! configuration; the others' delay keeps that from becoming a storm of writes, and its upper bound keeps an attacker
//! from stretching it.

use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, OptionFuture};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::canary::{Canary, CanaryError, prove_enforcing};
use super::likeness::is_alike;
use super::wanted::Wanted;
use super::{NAME, is_in_force};
use crate::api::MANAGER;

/// How long the canary is tried after a restoration.
const PROOF_BOUND: Duration = Duration::from_secs(30);
/// What a replica that does not lead waits, doubled with each restoration in a row.
const FOLLOWER_DELAY: Duration = Duration::from_millis(200);
const FOLLOWER_DELAY_BOUND: Duration = Duration::from_secs(1);
/// After this long without a deviation, the next one is the first again.
const QUIET: Duration = Duration::from_secs(30);
/// Pause after a failed write, so that an API server in trouble is not pressed harder.
const RETRY: Duration = Duration::from_millis(100);

/// Why the configuration was not the desired one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The desired configuration changed, or there was none yet.
    Planned,
    Deleted,
    Altered,
}

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
        loop {
            let leader = *self.leader.borrow_and_update();
            let due = standing.assess(leader, Instant::now());
            if leader && due.is_none() && standing.take_unproven() {
                // An earlier process stored it, or it could not be proven before.
                let canary = self.canary.borrow().clone();
                proof = canary.map(|canary| Proof::begin(self.client.clone(), canary, Cause::Planned, Instant::now()));
            }
            let restore = OptionFuture::from(due.map(|at| tokio::time::sleep_until(at.into())));
            let proven = OptionFuture::from(proof.as_mut().map(|proof| &mut proof.outcome));
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = events.next() => match event {
                    Some(Ok(event)) => standing.observe(event),
                    // The watcher retries by itself, with a growing pause.
                    Some(Err(error)) => tracing::warn!(%error, "cannot watch the webhook configuration"),
                    None => return,
                },
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    standing.desire(self.desired.borrow_and_update().clone());
                }
                Ok(()) = self.leader.changed() => {}
                Some(outcome) = proven => {
                    if let Some(Proof { cause, since, .. }) = proof.take() {
                        on_event(match outcome {
                            Ok(_) => GuardEvent::Enforcing { cause, after: since.elapsed() },
                            Err(error) => {
                                standing.unproven = true;
                                GuardEvent::NotEnforcing { error }
                            }
                        });
                    }
                }
                Some(()) = restore => {
                    let Some((wanted, deviation)) = standing.to_store() else { continue };
                    match store(&api, wanted, standing.live()).await {
                        Ok(stored) => {
                            standing.stored(stored, Instant::now());
                            on_event(GuardEvent::Stored { cause: deviation.cause, after: deviation.since.elapsed() });
                            let canary = self.canary.borrow().clone();
                            // A second deviation before the first one's proof prolongs the same window.
                            let since = proof.as_ref().map_or(deviation.since, |open| open.since.min(deviation.since));
                            proof = canary.map(|canary| Proof::begin(self.client.clone(), canary, deviation.cause, since));
                        }
                        Err(error) => {
                            standing.failed(Instant::now());
                            on_event(GuardEvent::StoreFailed { error });
                        }
                    }
                }
            }
        }
    }
}

/// A canary under way. It runs beside the watch: the next deviation must not wait for it.
struct Proof {
    cause: Cause,
    since: Instant,
    outcome: BoxFuture<'static, Result<Duration, CanaryError>>,
}

impl Proof {
    fn begin(client: Client, canary: Canary, cause: Cause, since: Instant) -> Self {
        let outcome = async move { prove_enforcing(client, &canary, PROOF_BOUND).await }.boxed();
        Self { cause, since, outcome }
    }
}

/// Makes the stored configuration the desired one. Exact also while others write: a conflict is read again.
pub async fn store(
    api: &Api<ValidatingWebhookConfiguration>,
    wanted: &ValidatingWebhookConfiguration,
    live: Option<&ValidatingWebhookConfiguration>,
) -> Result<ValidatingWebhookConfiguration, kube::Error> {
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let mut live = live.cloned();
    loop {
        let attempt = match &live {
            None => api.create(&params, wanted).await,
            Some(live) if is_in_force(live, wanted) => return Ok(live.clone()),
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
            outcome => return outcome,
        }
    }
}

/// What is known of the stored object.
#[derive(Debug, Default)]
enum Live {
    #[default]
    Unknown,
    Absent,
    Present(Box<ValidatingWebhookConfiguration>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Deviation {
    cause: Cause,
    since: Instant,
}

/// Live against desired, and when to act: without I/O.
#[derive(Debug, Default)]
struct Standing {
    live: Live,
    /// The watch lists anew: what it has shown of our object so far.
    listed: Option<Box<ValidatingWebhookConfiguration>>,
    wanted: Option<Wanted>,
    /// `wanted` was stored at least once: what differs from it now is somebody's doing.
    was_in_force: bool,
    /// No canary was sent since `wanted` is what it is.
    unproven: bool,
    deviation: Option<Deviation>,
    /// Not before this, after a failure.
    pause_until: Option<Instant>,
    restorations: u32,
    last_restoration: Option<Instant>,
}

impl Standing {
    fn desire(&mut self, wanted: Option<Wanted>) {
        if self.wanted != wanted {
            let configuration = |wanted: &Option<Wanted>| wanted.as_ref().map(|wanted| wanted.configuration.clone());
            let same = configuration(&self.wanted) == configuration(&wanted);
            self.wanted = wanted;
            if same {
                return;
            }
            self.was_in_force = false;
            self.unproven = true;
            self.deviation = None;
        }
    }

    /// Whether a canary is due for what is stored; asked once.
    fn take_unproven(&mut self) -> bool {
        self.was_in_force && std::mem::take(&mut self.unproven)
    }

    fn observe(&mut self, event: watcher::Event<ValidatingWebhookConfiguration>) {
        match event {
            watcher::Event::Init => self.listed = None,
            watcher::Event::InitApply(object) => self.listed = Some(Box::new(object)),
            watcher::Event::InitDone => self.live = self.listed.take().map_or(Live::Absent, Live::Present),
            watcher::Event::Apply(object) => self.live = Live::Present(Box::new(object)),
            watcher::Event::Delete(_) => self.live = Live::Absent,
        }
    }

    fn live(&self) -> Option<&ValidatingWebhookConfiguration> {
        match &self.live {
            Live::Present(object) => Some(object),
            Live::Absent | Live::Unknown => None,
        }
    }

    /// When to store the desired configuration, if the live one differs.
    fn assess(&mut self, leader: bool, now: Instant) -> Option<Instant> {
        let wanted = self.wanted.as_ref()?;
        let differs = match &self.live {
            Live::Unknown => return None,
            Live::Absent => Some(Cause::Deleted),
            Live::Present(live) if wanted.is_met_by(live, leader) => None,
            // Another replica's, which knew less.
            Live::Present(live) if is_alike(live, &wanted.configuration, &wanted.served) => Some(Cause::Planned),
            Live::Present(_) => Some(Cause::Altered),
        };
        let Some(cause) = differs else {
            self.was_in_force = true;
            self.deviation = None;
            return None;
        };
        let cause = if self.was_in_force { cause } else { Cause::Planned };
        let deviation = *self.deviation.get_or_insert(Deviation { cause, since: now });
        let delay = if leader { Duration::ZERO } else { self.follower_delay(now) };
        let due = deviation.since + delay;
        Some(self.pause_until.map_or(due, |pause| due.max(pause)))
    }

    fn follower_delay(&self, now: Instant) -> Duration {
        let in_a_row = match self.last_restoration {
            Some(last) if now.saturating_duration_since(last) < QUIET => self.restorations,
            _ => 0,
        };
        FOLLOWER_DELAY.saturating_mul(1 << in_a_row.min(8)).min(FOLLOWER_DELAY_BOUND)
    }

    fn to_store(&self) -> Option<(&ValidatingWebhookConfiguration, Deviation)> {
        self.wanted.as_ref().map(|wanted| &wanted.configuration).zip(self.deviation)
    }

    fn stored(&mut self, live: ValidatingWebhookConfiguration, now: Instant) {
        let quiet = self.last_restoration.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        self.restorations = if quiet { 1 } else { self.restorations.saturating_add(1) };
        self.last_restoration = Some(now);
        self.live = Live::Present(Box::new(live));
        self.was_in_force = true;
        self.unproven = false;
        self.deviation = None;
        self.pause_until = None;
    }

    fn failed(&mut self, now: Instant) {
        self.pause_until = Some(now + RETRY);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kube::runtime::watcher::Event;

    use super::super::likeness::Served;
    use super::super::wanted::Extent;
    use super::*;

    fn configuration(label: &str) -> ValidatingWebhookConfiguration {
        let mut configuration = ValidatingWebhookConfiguration::default();
        configuration.metadata.labels = Some(BTreeMap::from([("a".to_owned(), label.to_owned())]));
        configuration
    }

    fn wanted(label: &str) -> Option<Wanted> {
        Some(Wanted { configuration: configuration(label), served: Served::default(), extent: Extent::Whole })
    }

    fn in_force(now: Instant) -> Standing {
        let mut standing = Standing::default();
        standing.desire(wanted("good"));
        standing.observe(Event::Apply(configuration("good")));
        assert_eq!(standing.assess(true, now), None);
        standing
    }

    #[test]
    fn nothing_is_written_before_both_sides_are_known() {
        let now = Instant::now();
        let mut standing = Standing::default();
        assert_eq!(standing.assess(true, now), None);
        standing.desire(wanted("good"));
        assert_eq!(standing.assess(true, now), None, "the live object is not known");
        standing.observe(Event::Init);
        assert_eq!(standing.assess(true, now), None, "the list is not complete");
        standing.observe(Event::InitDone);
        assert_eq!(standing.assess(true, now), Some(now));
        assert_eq!(standing.to_store().map(|(_, d)| d.cause), Some(Cause::Planned));
    }

    #[test]
    fn what_an_earlier_process_stored_is_proven_once() {
        let now = Instant::now();
        let mut standing = in_force(now);
        assert!(standing.take_unproven());
        assert!(!standing.take_unproven());
        standing.desire(wanted("better"));
        assert!(!standing.take_unproven(), "it is not in force");
        standing.stored(configuration("better"), now);
        assert!(!standing.take_unproven(), "the proof began when it was stored");
    }

    #[test]
    fn the_leader_restores_at_once_and_the_others_after_a_moment() {
        let now = Instant::now();
        let cases = [
            (Event::Delete(configuration("good")), Cause::Deleted),
            (Event::Apply(configuration("bad")), Cause::Altered),
        ];
        for (event, cause) in cases {
            let mut standing = in_force(now);
            standing.observe(event);
            assert_eq!(standing.assess(false, now), Some(now + FOLLOWER_DELAY));
            assert_eq!(standing.assess(true, now), Some(now), "{cause:?}: became leader while waiting");
            assert_eq!(standing.to_store().map(|(_, d)| d.cause), Some(cause));
        }
    }

    #[test]
    fn a_follower_stands_back_when_somebody_else_restored() {
        let now = Instant::now();
        let mut standing = in_force(now);
        standing.observe(Event::Apply(configuration("bad")));
        assert!(standing.assess(false, now).is_some());
        standing.observe(Event::Apply(configuration("good")));
        assert_eq!(standing.assess(false, now), None);
    }

    #[test]
    fn a_change_of_what_is_desired_is_no_tampering() {
        let now = Instant::now();
        let mut standing = in_force(now);
        standing.desire(wanted("better"));
        assert_eq!(standing.assess(true, now), Some(now));
        assert_eq!(standing.to_store().map(|(_, d)| d.cause), Some(Cause::Planned));
    }

    #[test]
    fn a_fight_slows_a_follower_down_to_a_bound() {
        let mut now = Instant::now();
        let mut standing = in_force(now);
        let mut delays = Vec::new();
        for _ in 0..5 {
            standing.observe(Event::Apply(configuration("other version")));
            let due = standing.assess(false, now).unwrap();
            delays.push(due - now);
            now = due;
            standing.stored(configuration("good"), now);
        }
        assert_eq!(delays, [200, 400, 800, 1000, 1000].map(Duration::from_millis));

        now += QUIET;
        standing.observe(Event::Apply(configuration("bad")));
        assert_eq!(standing.assess(false, now), Some(now + FOLLOWER_DELAY));
    }

    #[test]
    fn a_failed_write_is_tried_again_after_a_pause() {
        let now = Instant::now();
        let mut standing = in_force(now);
        standing.observe(Event::Delete(configuration("good")));
        standing.assess(true, now);
        standing.failed(now);
        assert_eq!(standing.assess(true, now), Some(now + RETRY));
    }
}
