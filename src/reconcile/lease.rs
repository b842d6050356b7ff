//! Who of several replicas writes: leader election by a Lease.
//!
//! Only a convenience: it spares the API server the same write twice. A Lease can be taken by whoever may write Leases,
//! so nothing here keeps a cluster safe; the webhook does.
//!
//! As in client-go, nobody compares another host's clock with its own. A candidate remembers when *it* last saw the
//! Lease change, and takes over when that is longer ago than the Lease lasts. A leader that cannot renew stops leading
//! before anybody else may begin: `renew_deadline` < `duration`.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::MANAGER;
use crate::telemetry::causes;

/// Name of the Lease that elects the leader.
pub const LEASE_NAME: &str = "gitadel";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// After this long without a renewal others may take the Lease.
    pub duration: Duration,
    /// After this long without a successful renewal the leader stops leading.
    pub renew_deadline: Duration,
    /// Between two attempts; up to a fifth is added at random.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(
        "cannot read or write Lease {namespace}/{name}: check that the API server is reachable and that RBAC allows get, create and update of leases"
    )]
    Api { namespace: String, name: String, source: Box<kube::Error> },
    #[error("no answer from the API server about Lease {namespace}/{name} in time")]
    Timeout { namespace: String, name: String },
}

/// One of the replicas that may lead.
pub struct Candidate {
    api: Api<Lease>,
    namespace: String,
    name: String,
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
}

impl Candidate {
    /// `identity` must be another one for each replica: the Pod's name.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str, timing: Timing) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            timing,
            seen: None,
        }
    }

    /// Takes part until `shutdown`, then gives the Lease back. The receiver is true while this replica leads.
    pub fn campaign(self, shutdown: CancellationToken) -> (watch::Receiver<bool>, impl Future<Output = ()> + Send) {
        let (leads, receiver) = watch::channel(false);
        (receiver, self.run(leads, shutdown))
    }

    async fn run(mut self, leads: watch::Sender<bool>, shutdown: CancellationToken) {
        let mut renewed = None::<Instant>;
        loop {
            // What the API server stores is at least as new as this.
            let started = Instant::now();
            let deadline = renewed.unwrap_or(started) + self.timing.renew_deadline;
            let attempt = tokio::select! {
                () = shutdown.cancelled() => break,
                attempt = tokio::time::timeout_at(deadline.into(), self.attempt()) => attempt,
            };
            match attempt.unwrap_or_else(|_| Err(self.timeout())) {
                Ok(true) => renewed = Some(started),
                Ok(false) => renewed = None,
                Err(error) => tracing::warn!(error = causes(&error), "leader election"),
            }
            renewed = renewed.filter(|at| at.elapsed() < self.timing.renew_deadline);
            let leading = renewed.is_some();
            leads.send_if_modified(|leads| {
                let changed = *leads != leading;
                if changed {
                    tracing::info!(lease = self.name, identity = self.identity, leading, "leadership changed");
                }
                *leads = leading;
                changed
            });
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(with_jitter(self.timing.retry)) => {}
            }
        }
        leads.send_replace(false);
        if renewed.is_some()
            && let Ok(Err(error)) = tokio::time::timeout(self.timing.retry, self.release()).await
        {
            tracing::warn!(%error, "the Lease is not given back: another replica takes it when it has expired");
        }
    }

    /// Acquires or renews; whether this replica holds the Lease now.
    async fn attempt(&mut self) -> Result<bool, LeaseError> {
        loop {
            let live = self.api.get_opt(&self.name).await.map_err(|e| self.api_error(e))?;
            let now = Instant::now();
            self.seen = live.as_ref().map(|live| Seen::update(self.seen.take(), live, now));
            let claim = next_claim(&self.identity, self.seen.as_ref(), now);
            let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
            let time = MicroTime(jiff::Timestamp::now());
            let written = match (claim, live) {
                (Claim::Wait, _) => return Ok(false),
                (_, None) => {
                    let lease = self.write(Claim::Take, Lease::default(), time);
                    self.api.create(&params, &lease).await
                }
                (claim, Some(live)) => {
                    let lease = self.write(claim, live, time);
                    self.api.replace(&self.name, &params, &lease).await
                }
            };
            match written {
                Ok(lease) => {
                    self.seen = Some(Seen::update(self.seen.take(), &lease, Instant::now()));
                    return Ok(true);
                }
                // Somebody was faster, or the Lease was deleted: what is there now decides.
                Err(kube::Error::Api(status))
                    if status.is_conflict() || status.is_already_exists() || status.is_not_found() => {}
                Err(error) => return Err(self.api_error(error)),
            }
        }
    }

    /// The Lease as this replica writes it over the live one.
    fn write(&self, claim: Claim, mut lease: Lease, now: MicroTime) -> Lease {
        lease.metadata.name = Some(self.name.clone());
        lease.metadata.namespace = Some(self.namespace.clone());
        let spec = lease.spec.get_or_insert_default();
        if claim == Claim::Take {
            let changes_hands = spec.holder_identity.as_deref().is_some_and(|holder| holder != self.identity);
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(i32::from(changes_hands)));
            spec.acquire_time = Some(now.clone());
            spec.holder_identity = Some(self.identity.clone());
        }
        spec.renew_time = Some(now);
        spec.lease_duration_seconds = Some(i32::try_from(self.timing.duration.as_secs()).unwrap_or(i32::MAX).max(1));
        lease
    }

    async fn release(&self) -> Result<(), LeaseError> {
        let Some(live) = self.api.get_opt(&self.name).await.map_err(|e| self.api_error(e))? else { return Ok(()) };
        let held = live.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.identity);
        if !held {
            return Ok(());
        }
        let released = Lease {
            metadata: ObjectMeta { managed_fields: None, ..live.metadata },
            spec: Some(LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                renew_time: Some(MicroTime(jiff::Timestamp::now())),
                ..live.spec.unwrap_or_default()
            }),
        };
        match self.api.replace(&self.name, &PostParams::default(), &released).await {
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(()),
            Err(error) => Err(self.api_error(error)),
            Ok(_) => Ok(()),
        }
    }

    fn api_error(&self, source: kube::Error) -> LeaseError {
        LeaseError::Api { namespace: self.namespace.clone(), name: self.name.clone(), source: Box::new(source) }
    }

    fn timeout(&self) -> LeaseError {
        LeaseError::Timeout { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// What a candidate may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Nobody holds the Lease, or its holder has not renewed it in time.
    Take,
    Renew,
    Wait,
}

/// A Lease as a candidate last saw it change, by the candidate's own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    holder: String,
    duration: Duration,
    /// Only ever compared for equality: it comes from another host's clock.
    renewed: Option<MicroTime>,
    changed: Instant,
}

impl Seen {
    fn update(previous: Option<Self>, lease: &Lease, now: Instant) -> Self {
        let spec = lease.spec.clone().unwrap_or_default();
        let seconds = spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(0);
        let seen = Self {
            holder: spec.holder_identity.unwrap_or_default(),
            duration: Duration::from_secs(seconds),
            renewed: spec.renew_time,
            changed: now,
        };
        match previous {
            Some(previous) if (&previous.holder, &previous.renewed) == (&seen.holder, &seen.renewed) => {
                Self { changed: previous.changed, ..seen }
            }
            _ => seen,
        }
    }
}

fn next_claim(identity: &str, seen: Option<&Seen>, now: Instant) -> Claim {
    match seen {
        None => Claim::Take,
        Some(seen) if seen.holder.is_empty() => Claim::Take,
        Some(seen) if seen.holder == identity => Claim::Renew,
        Some(seen) if now.saturating_duration_since(seen.changed) >= seen.duration => Claim::Take,
        Some(_) => Claim::Wait,
    }
}

/// Keeps replicas that started together from asking together for ever.
fn with_jitter(period: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    period + (period / 5).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease(holder: &str, renewed: i64) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(jiff::Timestamp::from_second(renewed).unwrap())),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    #[test]
    fn who_may_claim() {
        let start = Instant::now();
        let seen = |holder: &str| Some(Seen::update(None, &lease(holder, 1), start));
        let cases = [
            (None, Duration::ZERO, Claim::Take),
            (seen(""), Duration::ZERO, Claim::Take),
            (seen("me"), Duration::ZERO, Claim::Renew),
            (seen("me"), 60 * SECOND, Claim::Renew),
            (seen("other"), Duration::ZERO, Claim::Wait),
            (seen("other"), 14 * SECOND, Claim::Wait),
            (seen("other"), 15 * SECOND, Claim::Take),
        ];
        for (seen, later, expected) in cases {
            assert_eq!(next_claim("me", seen.as_ref(), start + later), expected, "{seen:?} after {later:?}");
        }
    }

    #[test]
    fn expiry_counts_from_the_last_change_that_was_seen_here() {
        let start = Instant::now();
        // The other host's clock is a year behind: that must not matter.
        let first = Seen::update(None, &lease("other", 1), start);
        let unchanged = Seen::update(Some(first), &lease("other", 1), start + 10 * SECOND);
        assert_eq!(next_claim("me", Some(&unchanged), start + 15 * SECOND), Claim::Take);
        let renewed = Seen::update(Some(unchanged), &lease("other", 2), start + 14 * SECOND);
        assert_eq!(next_claim("me", Some(&renewed), start + 15 * SECOND), Claim::Wait);
        assert_eq!(next_claim("me", Some(&renewed), start + 29 * SECOND), Claim::Take);
    }

    #[test]
    fn a_lease_without_sense_can_be_taken() {
        let seen = Seen::update(None, &Lease::default(), Instant::now());
        assert_eq!(next_claim("me", Some(&seen), Instant::now()), Claim::Take);
        let negative = Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some("other".into()),
                lease_duration_seconds: Some(-1),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        let seen = Seen::update(None, &negative, Instant::now());
        assert_eq!(next_claim("me", Some(&seen), Instant::now()), Claim::Take);
    }

    #[test]
    fn jitter_only_ever_adds() {
        for _ in 0..100 {
            let pause = with_jitter(10 * SECOND);
            assert!((10 * SECOND..=12 * SECOND).contains(&pause), "{pause:?}");
        }
    }
}
