//! Brings one object to the desired state: the same steps for a new commit, for drift, and for what must go.

mod emptying;
mod error;
mod removal;
mod replacement;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;

use self::error::ConvergeError;
use self::removal::UNDECLARED;
use super::apply::{self, Action, ApplyError};
use super::assess::{Assessment, assess};
use super::deletion::DeletionBudget;
use super::events::EventLog;
use super::inventory_record::Written;
use super::observed::api_version;
use super::peers::Peers;
use super::publish::Publisher;
use super::queue::{Attempt, Cause, Live, Work};
use super::rest;
use super::tracker::{Standing, Tracker};
use super::unsettled::Unsettled;
use super::world::{Tolerance, World};
use crate::admission::{ObjectClass, classify_object};
use crate::compare::{Finding, difference, json_patch, mask_secret};
use crate::document::Document;
use crate::object::ObjectId;
use crate::snapshot::{EntryClass, KindInfo, SnapshotError};
use crate::telemetry::ReconcileMetrics;

/// All that a worker needs; shared by all of them.
pub struct Workshop {
    pub client: Client,
    pub publisher: Arc<Publisher>,
    pub tracker: Arc<Tracker>,
    pub leader: watch::Receiver<bool>,
    pub peers: Peers,
    pub deletions: DeletionBudget,
    pub events: EventLog,
    pub metrics: Arc<ReconcileMetrics>,
    /// By Enforcement: how much drift was put right, and when last.
    pub reverted: Mutex<HashMap<String, (u64, Timestamp)>>,
    /// The baseline is being recorded: what is undeclared may yet become a part of it.
    pub recording: AtomicBool,
    pub unsettled: Unsettled,
    pub inventories: Written,
}

/// What an object is to become.
struct Aim<'a> {
    desired: &'a Value,
    tolerance: Tolerance,
    /// It may be deleted and made anew where it cannot change.
    recreate: bool,
}

impl Workshop {
    /// Nothing is known yet of the sources, and nothing was written.
    pub fn new(
        client: Client,
        publisher: Arc<Publisher>,
        tracker: Arc<Tracker>,
        leader: watch::Receiver<bool>,
        peers: Peers,
        events: EventLog,
        metrics: Arc<ReconcileMetrics>,
    ) -> Self {
        Self {
            client,
            publisher,
            tracker,
            leader,
            peers,
            deletions: DeletionBudget::default(),
            events,
            metrics,
            reverted: Mutex::default(),
            recording: AtomicBool::default(),
            unsettled: Unsettled::default(),
            inventories: Written::default(),
        }
    }

    pub async fn converge(self: Arc<Self>, work: Work) -> Attempt {
        if !*self.leader.borrow() {
            return Attempt::Done;
        }
        match self.attempt(&work).await {
            Ok(()) => Attempt::Done,
            // Of many objects at once; the status and an Event tell of it.
            Err(error @ ConvergeError::DeletionGuard(_)) => {
                self.deletions.hold_back(&work.id);
                tracing::debug!(object = %work.id, %error, "not removed yet");
                self.metrics.apply_failures.with_label_values(&[error.reason()]).inc();
                Attempt::Failed(error.to_string())
            }
            Err(error) => {
                tracing::warn!(object = %work.id, cause = ?work.cause, %error, "not converged yet");
                self.metrics.apply_failures.with_label_values(&[error.reason()]).inc();
                Attempt::Failed(error.to_string())
            }
        }
    }

    async fn attempt(&self, work: &Work) -> Result<(), ConvergeError> {
        let world = match work.cause {
            // What the webhook has just admitted is not undone by what counted before.
            Cause::Drift => self.publisher.settled_world().await,
            _ => self.publisher.world(),
        };
        let kind = world.kind_of(&work.id)?.ok_or_else(|| ConvergeError::UnknownKind(work.id.kind.to_string()))?;
        let live = match &work.live {
            Live::Present(value) if is_in(kind, value) => Some(Arc::clone(value)),
            Live::Unknown | Live::Present(_) => rest::get(&self.client, kind, &work.id.namespace, &work.id.name)
                .await
                .map_err(ApplyError::from)?
                .map(Arc::new),
            Live::Absent => None,
        };
        let assessment = match &live {
            None => None,
            Some(live) => Some(assess(&world, kind, &work.id, Document::from_value(live).root())?),
        };
        match (assessment, live) {
            (Some(Assessment::Converged(_)), _) => {
                self.tracker.converged(&work.id);
                Ok(())
            }
            (Some(Assessment::Drifted(findings)), Some(live)) => {
                self.write(&world, kind, work, Some(&live), findings).await
            }
            (Some(Assessment::Altered(wanted)), Some(live)) => {
                self.regenerate(&world, kind, work, &live, &wanted).await
            }
            (Some(Assessment::Held(hold)), Some(live)) => self.release(&world, kind, work, &live, &hold).await,
            (Some(Assessment::Lingering(hold)), Some(live))
                if self.tracker.standing(&work.id) != Standing::Accepted =>
            {
                if self.unsettled.holds(&work.id) {
                    return Err(ConvergeError::NotSettled);
                }
                self.release(&world, kind, work, &live, &hold).await
            }
            (Some(Assessment::Misstated(corrected)), Some(_)) => self.restate(&world, kind, work, &corrected).await,
            (Some(Assessment::Terminating | Assessment::Lingering(_)), _) => Err(ConvergeError::Terminating),
            (Some(Assessment::Undeclared), Some(live)) => self.delete(&world, kind, work, &live, UNDECLARED).await,
            (Some(Assessment::Unproven(_)), _) if self.tracker.is_kept(&work.id) => {
                self.tracker.converged(&work.id);
                Ok(())
            }
            (Some(Assessment::Foreign(findings) | Assessment::Unproven(findings)), Some(live)) => {
                let finding = findings.first().map(ToString::to_string).unwrap_or_default();
                let why = format!("it is not what its owner's template yields: {finding}");
                self.delete(&world, kind, work, &live, &why).await
            }
            (Some(Assessment::Free | Assessment::Kept), Some(live))
                if goes(work.cause, world.entry(work.id.as_ref())?.is_some()) =>
            {
                if is_left_to_others(&world, kind, &live)? {
                    tracing::info!(object = %work.id, "left Git, and stays for what it follows from");
                    return Ok(());
                }
                self.delete(&world, kind, work, &live, UNDECLARED).await
            }
            (None, _) => self.write(&world, kind, work, None, Vec::new()).await,
            (Some(_), _) => {
                self.tracker.converged(&work.id);
                Ok(())
            }
        }
    }

    fn count_revert(&self, world: &World, id: &ObjectId, took: Duration) {
        let enforcement = world.enforcement_of(id.as_ref());
        let mut reverted = self.reverted.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, last) = reverted.entry(enforcement.to_owned()).or_default();
        (*count, *last) = (*count + 1, Timestamp::now());
        drop(reverted);
        self.metrics.drift_reverted.with_label_values(&[enforcement]).inc();
        self.metrics.drift_revert_seconds.observe(took.as_secs_f64());
    }

    /// How much drift was put right in the name of an Enforcement, and when last.
    pub fn reverted(&self, enforcement: &str) -> (u64, Option<Time>) {
        let reverted = self.reverted.lock().unwrap_or_else(PoisonError::into_inner);
        reverted.get(enforcement).map_or((0, None), |(count, last)| (*count, Some(Time(*last))))
    }

    async fn write(
        &self,
        world: &World,
        kind: &KindInfo,
        work: &Work,
        live: Option<&Value>,
        findings: Vec<Finding>,
    ) -> Result<(), ConvergeError> {
        let Some(entry) = world.entry(work.id.as_ref())? else {
            self.tracker.converged(&work.id);
            return Ok(());
        };
        let is_wanted = entry.class() != EntryClass::Retained || live.is_some();
        if !is_wanted || entry.canonical().is_none() || world.doubts(&entry) || !world.enforces(work.id.as_ref()) {
            return Ok(());
        }
        let desired = world.writable(&entry).ok_or(ConvergeError::ValuesUnknown)?;
        let aim = Aim { desired: &desired, tolerance: world.tolerance(&entry), recreate: entry.recreate() };
        self.put_right(world, kind, work, live, aim, findings).await
    }

    /// What follows from another object becomes again what it has to be.
    async fn regenerate(
        &self,
        world: &World,
        kind: &KindInfo,
        work: &Work,
        live: &Value,
        desired: &Value,
    ) -> Result<(), ConvergeError> {
        let id = work.id.as_ref();
        if !world.enforces(id) {
            return Ok(());
        }
        if self.recording.load(Ordering::SeqCst) {
            return Err(ConvergeError::BaselineNotRecorded);
        }
        let wanted = Document::from_value(desired);
        let tolerance = world.tolerance_of_generated(id, wanted.root());
        let found = Document::from_value(live);
        let findings = difference(found.root(), wanted.root(), &tolerance.latitude(kind));
        self.put_right(world, kind, work, Some(live), Aim { desired, tolerance, recreate: false }, findings).await
    }

    /// What nobody else takes back is taken out of the status. Whoever wrote to the object meanwhile has it looked at anew.
    async fn restate(
        &self,
        world: &World,
        kind: &KindInfo,
        work: &Work,
        corrected: &Value,
    ) -> Result<(), ConvergeError> {
        if !world.enforces(work.id.as_ref()) {
            return Ok(());
        }
        let at = (work.id.namespace.as_str(), work.id.name.as_str());
        rest::replace_status(&self.client, kind, at, corrected).await.map_err(ApplyError::from)?;
        self.tracker.converged(&work.id);
        let took = work.since.elapsed();
        self.count_revert(world, &work.id, took);
        let what = "its status said what is not so, and its kind would not be served";
        tracing::warn!(object = %work.id, milliseconds = took.as_millis() as u64, what, "drift reverted");
        self.events.drift_reverted(&work.id, kind, what, took);
        Ok(())
    }

    async fn put_right(
        &self,
        world: &World,
        kind: &KindInfo,
        work: &Work,
        live: Option<&Value>,
        aim: Aim<'_>,
        findings: Vec<Finding>,
    ) -> Result<(), ConvergeError> {
        let Aim { desired, tolerance, recreate } = aim;
        let latitude = tolerance.latitude(kind);
        let target = tolerance.target(kind);
        let applied = match (apply::apply(&self.client, &target, desired, live.cloned()).await, live) {
            // Somebody put another object in its place, past admission.
            (Err(ApplyError::Immutable { .. }), Some(live)) if recreate => {
                apply::recreate(&self.client, &target, desired, live).await?
            }
            (Err(ApplyError::Immutable { .. } | ApplyError::Invalid { .. }), Some(live))
                if self.may_replace(world, work, live, &findings)? =>
            {
                self.replace(world, kind, work, &target, desired, live).await?
            }
            (applied, _) => applied?,
        };
        // The webhook may not be asked at this moment, or be another replica's: what is stored is looked at as well.
        let stored = Document::from_value(&applied.object);
        if let Assessment::Drifted(findings) = assess(world, kind, &work.id, stored.root())? {
            let finding = findings.first().map(ToString::to_string).unwrap_or_default();
            return Err(ConvergeError::StoredOtherwise(finding));
        }
        self.metrics.applies.with_label_values(&[action(applied.action)]).inc();
        self.tracker.converged(&work.id);
        if work.cause == Cause::Drift && applied.action != Action::Unchanged {
            let took = work.since.elapsed();
            self.count_revert(world, &work.id, took);
            let what = describe(world, &work.id, desired, live, &latitude, &findings);
            tracing::warn!(object = %work.id, milliseconds = took.as_millis() as u64, %what, "drift reverted");
            self.events.drift_reverted(&work.id, kind, &what, took);
        }
        Ok(())
    }
}

/// Whether an object that Git declares no more follows from another, or the API server makes it for itself: then it is as
/// if Git had never declared it.
fn is_left_to_others(world: &World, kind: &KindInfo, live: &Value) -> Result<bool, SnapshotError> {
    let class = classify_object(&world.snapshot, kind, Document::from_value(live).root())?;
    Ok(matches!(class, ObjectClass::Generated { .. } | ObjectClass::Child { .. } | ObjectClass::Bootstrap))
}

/// Whether an object is of the version that counts. The watch may show another.
fn is_in(kind: &KindInfo, object: &Value) -> bool {
    object["apiVersion"] == api_version(&kind.group, &kind.version)
}

/// Whether an object goes that is no drift. One that is declared again meanwhile stays, also while nobody knows yet as
/// what.
fn goes(cause: Cause, has_entry: bool) -> bool {
    matches!(cause, Cause::Prune | Cause::Obstacle) && !has_entry
}

fn describe(
    world: &World,
    id: &ObjectId,
    desired: &Value,
    live: Option<&Value>,
    latitude: &crate::compare::Latitude<'_>,
    findings: &[Finding],
) -> String {
    let Some(live) = live else { return "it was deleted".into() };
    if let Some(finding) = findings.first() {
        let more = findings.len() - 1;
        return if more == 0 { finding.to_string() } else { format!("{finding}, and {more} more") };
    }
    let (live, desired) = (Document::from_value(live), Document::from_value(desired));
    let patch = if super::world::is_secret(id.as_ref()) {
        let (live, desired) = (mask_secret(live.root(), &world.mask_key), mask_secret(desired.root(), &world.mask_key));
        json_patch(live.root(), desired.root(), latitude)
    } else {
        json_patch(live.root(), desired.root(), latitude)
    };
    patch.to_string()
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Created => "create",
        Action::Updated => "update",
        Action::Recreated => "recreate",
        Action::Unchanged => "none",
    }
}

/// How long the leader waits for the webhook before it writes all the same and retries denials.
pub const SERVED_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_again_is_not_pruned() {
        let cases = [(Cause::Prune, true), (Cause::Obstacle, true), (Cause::Drift, false), (Cause::Commit, false)];
        for (cause, expected) in cases {
            assert_eq!(goes(cause, false), expected, "{cause:?}");
            assert!(!goes(cause, true), "{cause:?}");
        }
    }
}
