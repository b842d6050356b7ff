//! What the replicas tell each other: whose certificates to trust, and which commits they serve.
//!
//! Each replica's serving key stays in its own Pod, so the webhook configuration has to trust every replica's
//! authority, and whichever replica writes it has to know them all. And the leader may apply a commit only when the
//! webhooks serve it, or they reject it as they should. Each replica says both in annotations of a Lease of its own.
//! Leases are never judged by the webhook, so this works before any webhook runs.
//!
//! Anybody who may write Leases in gitadel's namespace can forge one. So a replica counts only while the API server knows
//! a Pod of its name there, one that is not over: Pods are judged where Leases are not. What is forged in the name of a
//! replica that lives is written over by it as soon as it sees it. How long a Lease is good for is told by this process's
//! own clock, whatever it says itself. What remains is described in `docs/architecture.md`.

mod roll;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::roll::{Present, Roll};
use super::peers::Progress;
use crate::api::MANAGER;
use crate::tls::authorities;

const LEASE_PREFIX: &str = "gitadel-replica-";
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
const COMPONENT: &str = "replica";
const AUTHORITIES_ANNOTATION: &str = "gitadel.dev/authorities";
const SERVING_ANNOTATION: &str = "gitadel.dev/serving";

const RENEW: Duration = Duration::from_secs(10);
/// Long enough to outlast a restart of the API server: a replica that is taken for dead too early serves with a
/// certificate that nobody trusts.
const DEAD_AFTER: Duration = Duration::from_secs(60);
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Within this time of its own last word a replica takes a differing one for its own, seen late.
const CORRECTION_PAUSE: Duration = Duration::from_secs(1);
/// A bound on what forged Leases can add to the webhook configuration.
const MOST_AUTHORITIES_EACH: usize = 2;
const MOST_REPLICAS: usize = 32;

/// What one replica says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Certificates of the authorities that may sign what its webhook serves with, as PEM.
    pub authorities: String,
    /// What its webhook has confirmed that it serves; `None` while it serves nothing.
    pub serving: Option<Serving>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Of this replica's own snapshots: generations of two replicas cannot be compared.
    pub generation: u64,
    #[serde(flatten)]
    pub progress: Progress,
}

/// The replicas that are alive, by name, this one included.
pub type Replicas = BTreeMap<String, Announcement>;

/// Every authority that a live replica may serve with, once each and sorted: the `caBundle`.
pub fn ca_bundle(replicas: &Replicas) -> String {
    let all: BTreeSet<_> = replicas.values().flat_map(|r| authorities::split(&r.authorities)).collect();
    all.into_iter().collect()
}

/// The task that announces this replica and listens to the others.
pub struct Exchange {
    api: Api<Lease>,
    pods: Api<Pod>,
    name: String,
    own: watch::Receiver<Announcement>,
    replicas: watch::Sender<Replicas>,
    announced: Option<Instant>,
}

impl Exchange {
    /// `name` is the Pod's name. The receiver has this replica's own announcement from the start.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        own: watch::Receiver<Announcement>,
    ) -> (Self, watch::Receiver<Replicas>) {
        let first = Replicas::from([(name.to_owned(), own.borrow().clone())]);
        let (replicas, receiver) = watch::channel(first);
        let (api, pods) = (Api::namespaced(client.clone(), namespace), Api::namespaced(client, namespace));
        (Self { api, pods, name: name.into(), own, replicas, announced: None }, receiver)
    }

    /// Runs until `shutdown`. The own Lease is left to expire: the webhook beside still drains with its certificate. But
    /// nobody is to wait for it any more.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let config = watcher::Config::default().labels(&format!("{COMPONENT_LABEL}={COMPONENT}"));
        let events = watcher(self.api.clone(), config).default_backoff();
        let pods = watcher(self.pods.clone(), watcher::Config::default()).default_backoff();
        pin_mut!(events, pods);
        let mut present = Present::default();
        let mut renewal = tokio::time::interval(RENEW);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut roll = Roll::default();
        let (mut listed, mut told) = (false, false);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.withdraw().await;
                    return;
                }
                changed = self.own.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.announce().await;
                }
                _ = renewal.tick() => {
                    self.announce().await;
                    self.forget(&mut roll).await;
                }
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        let forged = self.is_forged(&event);
                        listed |= matches!(event, watcher::Event::InitDone);
                        roll.observe(event, Instant::now());
                        if forged {
                            tracing::warn!(replica = self.name, "somebody else wrote this replica's Lease: announced anew");
                            self.announce().await;
                        }
                    }
                    Some(Err(error)) => tracing::warn!(%error, "cannot watch the Leases of the replicas"),
                    None => return,
                },
                event = pods.next() => match event {
                    Some(Ok(event)) => present.observe(event),
                    Some(Err(error)) => tracing::warn!(%error, "cannot watch the Pods of the replicas"),
                    None => return,
                },
            }
            if !listed || !present.listed {
                continue;
            }
            let mut live = roll.live(Instant::now(), &present.pods);
            // Of itself a replica knows better than any Lease says.
            live.insert(self.name.clone(), self.own.borrow().clone());
            // Whoever waits for the others is told of the first list also where there are none.
            let first = !std::mem::replace(&mut told, true);
            self.replicas.send_if_modified(|known| {
                let changed = first || *known != live;
                *known = live;
                changed
            });
        }
    }

    /// Whether somebody wrote another announcement under our name. Where a second process goes by the same name, the
    /// pause keeps the two from writing against each other without rest.
    fn is_forged(&self, event: &watcher::Event<Lease>) -> bool {
        let (watcher::Event::Apply(lease) | watcher::Event::InitApply(lease)) = event else { return false };
        replica_of(lease) == Some(&self.name)
            && Announcement::from_lease(lease) != *self.own.borrow()
            && self.announced.is_some_and(|at| at.elapsed() >= CORRECTION_PAUSE)
    }

    async fn announce(&mut self) {
        let announcement = self.own.borrow_and_update().clone();
        self.write(&announcement).await;
    }

    async fn withdraw(&mut self) {
        let announcement = Announcement { serving: None, ..self.own.borrow_and_update().clone() };
        if tokio::time::timeout(CORRECTION_PAUSE, self.write(&announcement)).await.is_err() {
            tracing::debug!(replica = self.name, "the API server does not take the last announcement");
        }
    }

    async fn write(&mut self, announcement: &Announcement) {
        self.announced = Some(Instant::now());
        let lease = announcement.to_lease(&self.name, MicroTime(jiff::Timestamp::now()));
        let name = lease_name(&self.name);
        let merged = self.api.patch(&name, &PatchParams::default(), &Patch::Merge(&lease)).await;
        let written = match merged {
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
                self.api.create(&params, &lease).await
            }
            other => other,
        };
        if let Err(error) = written {
            tracing::warn!(%error, lease = name, "cannot announce this replica; it is tried again in {RENEW:?}");
        }
    }

    /// Deletes the Leases of replicas that are long gone. Several replicas may do so at once.
    async fn forget(&self, roll: &mut Roll) {
        for name in roll.forgotten(Instant::now()) {
            match self.api.delete(&lease_name(&name), &DeleteParams::default()).await {
                Ok(_) => tracing::info!(replica = name, "removed the Lease of a replica that is gone"),
                Err(error) => tracing::debug!(%error, replica = name, "cannot remove the Lease of a replica"),
            }
        }
    }
}

fn lease_name(replica: &str) -> String {
    format!("{LEASE_PREFIX}{replica}")
}

impl Announcement {
    fn to_lease(&self, name: &str, now: MicroTime) -> Lease {
        let serving = self.serving.as_ref().and_then(|serving| serde_json::to_string(serving).ok());
        Lease {
            metadata: ObjectMeta {
                name: Some(lease_name(name)),
                labels: Some(BTreeMap::from([
                    (COMPONENT_LABEL.to_owned(), COMPONENT.to_owned()),
                    ("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned()),
                ])),
                annotations: Some(BTreeMap::from([
                    (AUTHORITIES_ANNOTATION.to_owned(), BASE64.encode(&self.authorities)),
                    // A merge patch would keep an annotation that is left out.
                    (SERVING_ANNOTATION.to_owned(), serving.unwrap_or_default()),
                ])),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(name.to_owned()),
                lease_duration_seconds: i32::try_from(DEAD_AFTER.as_secs()).ok(),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Anybody may have written this: what is no certificate is left out, or the API server would refuse the whole
    /// webhook configuration for it.
    fn from_lease(lease: &Lease) -> Self {
        let annotation = |key| lease.metadata.annotations.as_ref().and_then(|all| all.get(key));
        let pem = annotation(AUTHORITIES_ANNOTATION)
            .and_then(|encoded| BASE64.decode(encoded).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default();
        Self {
            authorities: authorities::split(&pem).into_iter().take(MOST_AUTHORITIES_EACH).collect(),
            serving: annotation(SERVING_ANNOTATION).and_then(|json| serde_json::from_str(json).ok()),
        }
    }
}

fn replica_of(lease: &Lease) -> Option<&str> {
    lease.metadata.name.as_deref()?.strip_prefix(LEASE_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::issue::Authority;

    fn time(second: i64) -> MicroTime {
        MicroTime(jiff::Timestamp::from_second(second).unwrap())
    }

    fn serving(commit: &str) -> Option<Serving> {
        let commits = BTreeMap::from([("all".to_owned(), commit.to_owned())]);
        Some(Serving { generation: 7, progress: Progress { commits, ..Progress::default() } })
    }

    #[test]
    fn an_announcement_survives_its_lease() {
        let authorities = Authority::new("a").unwrap().certificate().to_owned();
        for serving in [None, serving("1a2b")] {
            let announcement = Announcement { authorities: authorities.clone(), serving };
            let lease = announcement.to_lease("gitadel-0", time(1));
            assert_eq!(Announcement::from_lease(&lease), announcement);
            assert_eq!(replica_of(&lease), Some("gitadel-0"));
        }
    }

    #[test]
    fn a_forged_lease_adds_no_garbage_to_the_bundle() {
        let flood: String = (0..9).map(|_| Authority::new("a").unwrap().certificate().to_owned()).collect();
        for (pem, expected) in
            [("garbage", 0), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0), (&flood, 2)]
        {
            let lease = Announcement { authorities: pem.to_owned(), serving: None }.to_lease("x", time(1));
            let read = Announcement::from_lease(&lease);
            assert_eq!(authorities::split(&read.authorities).len(), expected);
        }
        assert_eq!(Announcement::from_lease(&Lease::default()), Announcement::default());
    }

    #[test]
    fn the_bundle_does_not_depend_on_who_computes_it() {
        let [a, b] = ["a", "b"].map(|name| Authority::new(name).unwrap().certificate().to_owned());
        let announce = |authorities: String| Announcement { authorities, serving: None };
        let one = Replicas::from([("x".into(), announce(a.clone())), ("y".into(), announce(format!("{b}{a}")))]);
        let other = Replicas::from([("x".into(), announce(b)), ("z".into(), announce(a))]);
        assert_eq!(ca_bundle(&one), ca_bundle(&other));
        assert_eq!(authorities::split(&ca_bundle(&one)).len(), 2);
    }
}
