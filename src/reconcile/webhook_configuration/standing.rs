//! The stored webhook configuration against the desired one, and when to act: without I/O.
//!
//! While replicas of two versions run, each computes another configuration; the delay of those that do not lead keeps that
//! from becoming a storm of writes, and its upper bound keeps an attacker from stretching it.

use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::runtime::watcher;

use super::likeness::is_alike;
use super::wanted::Wanted;

/// What a replica that does not lead waits, doubled with each restoration in a row.
const FOLLOWER_DELAY: Duration = Duration::from_millis(200);
const FOLLOWER_DELAY_BOUND: Duration = Duration::from_secs(1);
/// After this long without a deviation, the next one is the first again.
const QUIET: Duration = Duration::from_secs(30);
/// Pause after a failed write, doubled with each in a row, so that an API server in trouble is not pressed harder.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_BOUND: Duration = Duration::from_secs(2);
/// The same after a policy of the API server refused the write: only whoever keeps the policy can change that.
const REFUSED_RETRY: Duration = Duration::from_secs(1);
const REFUSED_RETRY_BOUND: Duration = Duration::from_secs(30);

/// Why the configuration was not the desired one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The desired configuration changed, or there was none yet.
    Planned,
    Deleted,
    Altered,
}

/// What is known of the stored object.
#[derive(Debug, Default)]
enum Live {
    #[default]
    Unknown,
    Absent,
    Present(Box<ValidatingWebhookConfiguration>),
}

/// A stored object as it was at one time: uid and resourceVersion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String, String);

impl Version {
    pub fn of(object: &ValidatingWebhookConfiguration) -> Option<Self> {
        object
            .metadata
            .uid
            .clone()
            .zip(object.metadata.resource_version.clone())
            .map(|(uid, version)| Self(uid, version))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviation {
    pub cause: Cause,
    pub since: Instant,
}

/// What is known of both, and since when they differ.
#[derive(Debug, Default)]
pub struct Standing {
    live: Live,
    /// The watch lists anew: what it has shown of our object so far.
    listed: Option<Box<ValidatingWebhookConfiguration>>,
    wanted: Option<Wanted>,
    /// `wanted` was stored at least once: what differs from it now is somebody's doing.
    was_in_force: bool,
    /// No canary was sent since `wanted` is what it is.
    unproven: bool,
    deviation: Option<Deviation>,
    /// Our own, and no longer what is stored, however late the watch shows it.
    superseded: Option<Version>,
    /// Not before this, after a failure.
    pause_until: Option<Instant>,
    /// Failures in a row.
    failures: u32,
    restorations: u32,
    last_restoration: Option<Instant>,
}

impl Standing {
    pub fn desire(&mut self, wanted: Option<Wanted>) {
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
            // What kept the one before from being stored may not keep this one.
            self.pause_until = None;
            self.failures = 0;
        }
    }

    /// Whether a canary is due for what is stored; asked once.
    pub fn take_unproven(&mut self) -> bool {
        self.was_in_force && std::mem::take(&mut self.unproven)
    }

    /// The canary was not rejected: another is due.
    pub fn not_proven(&mut self) {
        self.unproven = true;
    }

    pub fn observe(&mut self, event: watcher::Event<ValidatingWebhookConfiguration>) {
        match event {
            watcher::Event::Init => self.listed = None,
            watcher::Event::InitApply(object) => self.listed = Some(Box::new(object)),
            watcher::Event::InitDone => self.live = self.listed.take().map_or(Live::Absent, Live::Present),
            watcher::Event::Apply(object) if self.superseded.is_some() && Version::of(&object) == self.superseded => {}
            watcher::Event::Apply(object) => self.live = Live::Present(Box::new(object)),
            watcher::Event::Delete(_) => self.live = Live::Absent,
        }
    }

    pub fn live(&self) -> Option<&ValidatingWebhookConfiguration> {
        match &self.live {
            Live::Present(object) => Some(object),
            Live::Absent | Live::Unknown => None,
        }
    }

    /// When to store the desired configuration, if the live one differs.
    pub fn assess(&mut self, leader: bool, now: Instant) -> Option<Instant> {
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

    pub fn to_store(&self) -> Option<(&ValidatingWebhookConfiguration, Deviation)> {
        self.wanted.as_ref().map(|wanted| &wanted.configuration).zip(self.deviation)
    }

    /// `superseded` was stored just before, on the way.
    pub fn stored(&mut self, live: ValidatingWebhookConfiguration, superseded: Option<Version>, now: Instant) {
        let quiet = self.last_restoration.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        self.restorations = if quiet { 1 } else { self.restorations.saturating_add(1) };
        self.last_restoration = Some(now);
        self.live = Live::Present(Box::new(live));
        self.superseded = superseded;
        self.was_in_force = true;
        self.unproven = false;
        self.deviation = None;
        self.pause_until = None;
        self.failures = 0;
    }

    pub fn failed(&mut self, now: Instant) {
        self.pause(now, RETRY, RETRY_BOUND);
    }

    /// A policy lets nobody store what is wanted.
    pub fn refused(&mut self, now: Instant) {
        self.pause(now, REFUSED_RETRY, REFUSED_RETRY_BOUND);
    }

    fn pause(&mut self, now: Instant, first: Duration, bound: Duration) {
        self.pause_until = Some(now + first.saturating_mul(1 << self.failures.min(8)).min(bound));
        self.failures = self.failures.saturating_add(1);
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
        standing.stored(configuration("better"), None, now);
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
            standing.stored(configuration("good"), None, now);
        }
        assert_eq!(delays, [200, 400, 800, 1000, 1000].map(Duration::from_millis));

        now += QUIET;
        standing.observe(Event::Apply(configuration("bad")));
        assert_eq!(standing.assess(false, now), Some(now + FOLLOWER_DELAY));
    }

    #[test]
    fn a_failed_write_is_tried_again_after_a_pause_that_grows() {
        let now = Instant::now();
        let mut standing = in_force(now);
        standing.observe(Event::Delete(configuration("good")));
        standing.assess(true, now);
        let mut pause = || {
            standing.failed(now);
            standing.assess(true, now).unwrap() - now
        };
        assert_eq!([pause(), pause(), pause()], [RETRY, RETRY * 2, RETRY * 4]);
        assert_eq!((0..9).map(|_| pause()).last(), Some(RETRY_BOUND));
        standing.stored(configuration("good"), None, now);
        standing.observe(Event::Delete(configuration("good")));
        standing.assess(true, now);
        standing.failed(now);
        assert_eq!(standing.assess(true, now), Some(now + RETRY), "it begins anew");
    }

    #[test]
    fn what_a_policy_refuses_is_tried_again_seldom_and_something_else_at_once() {
        let now = Instant::now();
        let mut standing = in_force(now);
        standing.desire(wanted("wider"));
        let mut pause = || {
            standing.assess(true, now);
            standing.refused(now);
            standing.assess(true, now).unwrap() - now
        };
        assert_eq!([pause(), pause()], [REFUSED_RETRY, REFUSED_RETRY * 2]);
        assert_eq!((0..9).map(|_| pause()).last(), Some(REFUSED_RETRY_BOUND));
        standing.desire(wanted("another"));
        assert_eq!(standing.assess(true, now), Some(now));
    }

    #[test]
    fn what_was_stored_on_the_way_is_no_tampering() {
        let now = Instant::now();
        let mut standing = in_force(now);
        let at = |label: &str, version: &str| {
            let mut configuration = configuration(label);
            configuration.metadata.uid = Some("uid".into());
            configuration.metadata.resource_version = Some(version.into());
            configuration
        };
        standing.stored(at("good", "2"), Version::of(&at("first", "1")), now);
        standing.observe(Event::Apply(at("first", "1")));
        assert_eq!(standing.assess(true, now), None);
        standing.observe(Event::Apply(at("first", "3")));
        assert_eq!(standing.assess(true, now), Some(now), "somebody else wrote the same later");
    }
}
