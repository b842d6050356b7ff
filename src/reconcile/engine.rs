//! The engine: hears of Enforcements, commits, and changes of the cluster's kinds, and runs a round when one of them
//! asks for it. One task, so that two rounds never overlap; what arrives meanwhile is looked at afterwards.

mod admitted;
mod baselines;
mod coverage;
mod cycle;
mod enforcements;
mod found;
mod known;
mod participants;
mod report;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, CustomResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::baseline_record;
use super::converge::Workshop;
use super::governor::Governor;
use super::inventory_record;
use super::observed::Observed;
use super::observer::{GATHER, Notice};
use super::queue::Queue;
use super::receiver::Receiver;
use super::sources::SourceUpdate;
use super::watch::Watches;
use crate::api::Enforcement;
use crate::supervisor::Supervisor;
use coverage::Coverage;
use cycle::Cycle;
use enforcements::Enforcements;
pub use enforcements::Provision;

const STATUS_INTERVAL: Duration = Duration::from_millis(500);
/// By then the Enforcements are listed, or cannot be.
const LONGEST_LIST: Duration = Duration::from_secs(10);
/// By then what comes in pieces is looked at.
const LONGEST_GATHER: Duration = Duration::from_secs(1);
/// Pause before a round is repeated that left something undone; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What the engine is put together from.
pub struct Parts {
    pub workshop: Arc<Workshop>,
    pub queue: Queue,
    pub watches: Watches,
    pub governor: Governor,
    pub receiver: Receiver,
    pub provision: Provision,
    pub leader: watch::Receiver<bool>,
    /// Told once there is a snapshot to answer from.
    pub ready: watch::Sender<bool>,
    pub supervisor: Supervisor,
}

pub struct Engine {
    workshop: Arc<Workshop>,
    enforcements: Enforcements,
    cycle: Cycle,
    schedule: Schedule,
    leader: watch::Receiver<bool>,
    updates: mpsc::Receiver<SourceUpdate>,
    stop: CancellationToken,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let Parts { workshop, queue, watches, governor, receiver, provision, leader, ready, supervisor } = parts;
        let (updates_in, updates) = mpsc::channel(16);
        let coverage = Coverage::new(watches);
        Self {
            enforcements: Enforcements::new(Arc::clone(&workshop), receiver, provision, updates_in, supervisor.clone()),
            cycle: Cycle::new(Arc::clone(&workshop), queue, governor, coverage, leader.clone(), ready),
            schedule: Schedule::default(),
            workshop,
            leader,
            updates,
            stop: supervisor.stop().clone(),
        }
    }

    /// Runs until it is stopped.
    pub async fn run(mut self, mut notices: mpsc::UnboundedReceiver<Notice>) {
        let client = self.workshop.client.clone();
        let api: Api<Observed> = Api::all_with(client.clone(), &Enforcement::api_resource());
        let mut enforcements = watcher::watcher(api, watcher::Config::default()).default_backoff().boxed();
        let mut records = baseline_record::watch(client.clone()).boxed();
        let mut inventories = inventory_record::watch(client).boxed();
        let mut status_tick = tokio::time::interval(STATUS_INTERVAL);
        status_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.cycle.remember();
        let began = Instant::now();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Some(event) = enforcements.next() => {
                    if self.enforcements.heard(event) {
                        self.schedule.soon();
                    }
                    self.put_back().await;
                }
                Some(event) = records.next() => {
                    let changed = matches!(event, Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone));
                    if changed && self.cycle.records_changed() {
                        self.schedule.soon();
                    }
                }
                // Nobody but the leader writes one.
                Some(Ok(event)) = inventories.next() => {
                    if *self.leader.borrow() && self.workshop.inventories.is_foreign(&event) {
                        self.schedule.soon();
                    }
                }
                Some(update) = self.updates.recv() => if self.enforcements.take(update) {
                    self.schedule.now();
                },
                Some(notice) = notices.recv() => {
                    if notice == Notice::KindsChanged {
                        self.cycle.kinds_changed();
                    }
                    self.schedule.soon();
                }
                Ok(()) = self.leader.changed() => self.leadership_changed(),
                () = self.schedule.reached(), if self.enforcements.are_listed() => self.round().await,
                _ = status_tick.tick() => {
                    if !self.enforcements.are_listed() && began.elapsed() > LONGEST_LIST {
                        self.resume().await;
                    }
                    self.cycle.coverage.release_if(false);
                    self.put_back().await;
                    self.report().await;
                }
            }
        }
    }

    fn leadership_changed(&mut self) {
        let leads = *self.leader.borrow_and_update();
        self.workshop.metrics.leader.set(i64::from(leads));
        if leads {
            self.workshop.unsettled.begin_anew();
            self.cycle.coverage.begin_anew();
            self.cycle.records_changed();
            self.enforcements.begin_anew();
            self.schedule.now();
        }
    }

    async fn put_back(&mut self) {
        if *self.leader.borrow() {
            self.stop.run_until_cancelled(self.enforcements.put_back()).await;
        }
    }

    async fn resume(&mut self) {
        self.enforcements.presume_gone();
        if let Some(Err(error)) = self.stop.run_until_cancelled(self.cycle.resume(&mut self.enforcements)).await {
            tracing::warn!(%error, "what an earlier process left cannot be watched yet");
        }
    }

    async fn round(&mut self) {
        let all_looked = self.enforcements.all_looked();
        let left_undone = match self.cycle.run(&mut self.enforcements, &self.stop).await {
            Ok(left_undone) => left_undone,
            Err(_) if self.stop.is_cancelled() => return,
            Err(error) => {
                cycle::failed(&self.workshop, &mut self.enforcements, &error);
                true
            }
        };
        self.schedule.ended(left_undone);
        if self.enforcements.reconsider() {
            self.schedule.now();
        }
        self.cycle.coverage.release_if(all_looked);
        self.report().await;
    }

    async fn report(&mut self) {
        self.stop.run_until_cancelled(self.cycle.report(&mut self.enforcements)).await;
    }
}

/// When the next round is due.
struct Schedule {
    due: Option<Instant>,
    /// Since when pieces come.
    gathering: Option<Instant>,
    pause: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { due: None, gathering: None, pause: FIRST_RETRY }
    }
}

impl Schedule {
    fn now(&mut self) {
        self.due = Some(Instant::now());
    }

    /// What comes in many pieces is gathered, but what never ends holds nobody up.
    fn soon(&mut self) {
        let now = Instant::now();
        let begun = *self.gathering.get_or_insert(now);
        self.due = Some((now + GATHER).min(begun + LONGEST_GATHER));
    }

    fn ended(&mut self, left_undone: bool) {
        self.gathering = None;
        (self.due, self.pause) = if left_undone {
            (Some(Instant::now() + self.pause), (self.pause * 2).min(LAST_RETRY))
        } else {
            (None, FIRST_RETRY)
        };
    }

    async fn reached(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_waits_for_what_comes_with_it_but_not_for_ever() {
        let mut schedule = Schedule::default();
        schedule.soon();
        let first = schedule.due;
        schedule.soon();
        assert!(schedule.due >= first);
        let begun = Instant::now().checked_sub(LONGEST_GATHER).unwrap();
        schedule.gathering = Some(begun);
        schedule.soon();
        assert_eq!(schedule.due, Some(begun + LONGEST_GATHER));
        schedule.ended(false);
        schedule.soon();
        assert!(schedule.due >= first, "the next round gathers anew");
    }
}
