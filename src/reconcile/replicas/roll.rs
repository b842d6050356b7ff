//! Which replicas count: those that renew their Lease and have a Pod.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::runtime::watcher;

use super::{Announcement, DEAD_AFTER, FORGOTTEN_AFTER, MOST_REPLICAS, Replicas, replica_of};

/// Who announced what, and when this process last saw a sign of life.
#[derive(Debug, Default)]
pub(super) struct Roll(BTreeMap<String, Signs>);

#[derive(Debug)]
struct Signs {
    announcement: Announcement,
    renewed: Option<MicroTime>,
    seen: Instant,
}

impl Roll {
    pub(super) fn observe(&mut self, event: watcher::Event<Lease>, now: Instant) {
        match event {
            // Leases that vanished while the watch was broken expire like others.
            watcher::Event::Init | watcher::Event::InitDone => {}
            watcher::Event::Apply(lease) | watcher::Event::InitApply(lease) => {
                let Some(name) = replica_of(&lease) else { return };
                let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
                let seen = match self.0.get(name) {
                    Some(known) if known.renewed == renewed => known.seen,
                    _ => now,
                };
                let signs = Signs { announcement: Announcement::from_lease(&lease), renewed, seen };
                self.0.insert(name.to_owned(), signs);
            }
            watcher::Event::Delete(lease) => {
                if let Some(name) = replica_of(&lease) {
                    self.0.remove(name);
                }
            }
        }
    }

    pub(super) fn live(&self, now: Instant, pods: &BTreeSet<String>) -> Replicas {
        let renews = |signs: &Signs| now.saturating_duration_since(signs.seen) < DEAD_AFTER;
        let mut alive: Vec<_> =
            self.0.iter().filter(|(name, signs)| renews(signs) && pods.contains(name.as_str())).collect();
        alive.sort_by_key(|(_, signs)| std::cmp::Reverse(signs.seen));
        alive.into_iter().take(MOST_REPLICAS).map(|(name, signs)| (name.clone(), signs.announcement.clone())).collect()
    }

    pub(super) fn forgotten(&mut self, now: Instant) -> Vec<String> {
        let gone = |signs: &Signs| now.saturating_duration_since(signs.seen) >= FORGOTTEN_AFTER;
        self.0.iter().filter(|(_, signs)| gone(signs)).map(|(name, _)| name.clone()).collect()
    }
}

/// The Pods that are not over, by name.
#[derive(Debug, Default)]
pub(super) struct Present {
    pub pods: BTreeSet<String>,
    /// Those of a list that has begun.
    coming: BTreeSet<String>,
    pub listed: bool,
}

impl Present {
    pub(super) fn observe(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.coming.clear(),
            watcher::Event::InitApply(pod) => self.coming.extend(alive(&pod).map(str::to_owned)),
            watcher::Event::InitDone => {
                self.pods = std::mem::take(&mut self.coming);
                self.listed = true;
            }
            watcher::Event::Apply(pod) => match (alive(&pod), pod.metadata.name.as_deref()) {
                (Some(name), _) => _ = self.pods.insert(name.to_owned()),
                (None, Some(name)) => _ = self.pods.remove(name),
                (None, None) => {}
            },
            watcher::Event::Delete(pod) => _ = pod.metadata.name.is_some_and(|name| self.pods.remove(&name)),
        }
    }
}

/// The name of a Pod that runs or is about to.
fn alive(pod: &Pod) -> Option<&str> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_over = matches!(phase, Some("Succeeded" | "Failed"));
    pod.metadata.name.as_deref().filter(|_| !is_over)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::tls::issue::Authority;

    fn time(second: i64) -> MicroTime {
        MicroTime(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn replicas_live_as_long_as_they_renew() {
        let start = Instant::now();
        let lease = |at| Announcement { authorities: String::new(), serving: None }.to_lease("x", time(at));
        let pods = BTreeSet::from(["x".to_owned()]);
        let mut roll = Roll::default();
        roll.observe(Event::InitApply(lease(1)), start);
        // Seen again unchanged, as after a broken watch: no sign of life.
        roll.observe(Event::InitApply(lease(1)), start + DEAD_AFTER / 2);
        assert_eq!(roll.live(start + DEAD_AFTER / 2, &pods).len(), 1);
        assert_eq!(roll.live(start + DEAD_AFTER, &pods).len(), 0);
        roll.observe(Event::Apply(lease(2)), start + DEAD_AFTER);
        assert_eq!(roll.live(start + DEAD_AFTER, &pods).len(), 1);
        assert_eq!(roll.forgotten(start + DEAD_AFTER), Vec::<String>::new());
        assert_eq!(roll.forgotten(start + DEAD_AFTER + FORGOTTEN_AFTER), ["x"]);
        roll.observe(Event::Delete(lease(2)), start + DEAD_AFTER);
        assert_eq!(roll.live(start + DEAD_AFTER, &pods).len(), 0);
    }

    #[test]
    fn a_lease_without_a_pod_is_nobodys() {
        let now = Instant::now();
        let lease = |name: &str, at| {
            let authorities = Authority::new(name).unwrap().certificate().to_owned();
            let mut lease = Announcement { authorities, serving: None }.to_lease(name, time(at));
            lease.spec.as_mut().unwrap().lease_duration_seconds = Some(100_000);
            lease
        };
        let mut roll = Roll::default();
        // Of a far future.
        roll.observe(Event::Apply(lease("forged", 99_999_999_999)), now);
        roll.observe(Event::Apply(lease("b", 1)), now);
        let mut present = Present::default();
        let pod = |name: &str, phase: Option<&str>| Pod {
            metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
            status: phase.map(|phase| PodStatus { phase: Some(phase.into()), ..PodStatus::default() }),
            ..Pod::default()
        };
        let names = |present: &Present, at| roll.live(at, &present.pods).into_keys().collect::<Vec<_>>();
        assert!(names(&present, now).is_empty() && !present.listed);
        for event in [Event::Init, Event::InitApply(pod("b", None)), Event::InitApply(pod("forged", Some("Failed")))] {
            present.observe(event);
        }
        assert!(names(&present, now).is_empty(), "the list is not whole");
        present.observe(Event::InitDone);
        assert_eq!(names(&present, now), ["b"]);
        present.observe(Event::Apply(pod("b", Some("Succeeded"))));
        assert!(names(&present, now).is_empty(), "it is over");
        present.observe(Event::Apply(pod("forged", Some("Running"))));
        assert_eq!(names(&present, now), ["forged"]);
        assert!(names(&present, now + DEAD_AFTER).is_empty(), "whatever the Lease says of its duration");
        present.observe(Event::Delete(pod("forged", None)));
        assert!(names(&present, now).is_empty());
    }
}
