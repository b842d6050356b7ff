//! What is told of the Enforcements: their status, the gauges, and that a commit is in force.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::enforcements::Enforcements;
use super::known::{Invalid, Known};
use crate::api::{Action, EnforcementStatus, Problem};
use crate::object::{GroupKind, ObjectId};
use crate::reconcile::converge::Workshop;
use crate::reconcile::deletion;
use crate::reconcile::governor::Force;
use crate::reconcile::status::{self, Facts};
use crate::reconcile::world::World;
use crate::snapshot::Source;

/// What holds for all Enforcements.
pub struct Overall {
    pub force: Force,
    /// Kinds that the watches have not listed.
    pub unlisted: Vec<GroupKind>,
    /// For how long there have been any.
    pub unlisted_for: Duration,
}

/// By then the kinds of a large cluster are listed.
const LONGEST_LISTING: Duration = Duration::from_secs(120);

/// Writes what changed in the status of the Enforcements, and the gauges.
pub async fn report(workshop: &Workshop, enforcements: &mut Enforcements, overall: &Overall) {
    let now = Time(Timestamp::now());
    for (name, invalid) in &mut enforcements.invalid {
        report_invalid(workshop, name, invalid, &now).await;
    }
    let world = workshop.publisher.world();
    let sources: BTreeMap<&str, &Source> =
        world.snapshot.meta().sources.iter().map(|source| (source.name.as_str(), source)).collect();
    let drift = workshop.tracker.drift();
    let held_back = workshop.deletions.held_back(&drift);
    for (name, known) in &mut enforcements.known {
        let source = sources.get(name.as_str()).copied().filter(|source| !source.commit.is_empty());
        let drifted = drift.iter().filter(|id| source.is_some_and(|source| governs(source, id))).count();
        let (reverted, last_reverted_at) = workshop.reverted(name);
        let mut facts = Facts {
            force: overall.force,
            unlisted: overall
                .unlisted
                .iter()
                .filter(|kind| source.is_some_and(|s| may_hold(s, kind, &world)))
                .cloned()
                .collect(),
            drifted: u32::try_from(drifted).unwrap_or(u32::MAX),
            reverted,
            last_reverted_at,
            source: source.cloned(),
            ..facts(known)
        };
        facts.problems.extend(source.and_then(|source| deletion::problem(source, &held_back)));
        if overall.unlisted_for > LONGEST_LISTING {
            facts.problems.extend(not_watched(&facts.unlisted));
        }
        let status = status::compose(&facts, &known.status, &now);
        if let Some(guarded) = guarded(&status).filter(|_| guarded(&known.status).is_none()) {
            tracing::warn!(enforcement = name, problem = guarded.message, "the guard against deletions holds back");
            let uid = known.enforcement.metadata.uid.clone();
            workshop.events.enforcement(name, uid, true, "DeletionGuard", guarded.message.clone());
        }
        let states = [
            ("declared", facts.declared),
            ("baseline", facts.baseline),
            ("drifted", facts.drifted),
            ("applied", status.objects.map_or(0, |o| o.applied)),
            ("failed", status.objects.map_or(0, |o| o.failed)),
        ];
        for (state, count) in states {
            workshop.metrics.objects.with_label_values(&[name.as_str(), state]).set(i64::from(count));
        }
        if let Some(source) = source.filter(|_| status::is_converged(&status))
            && let Some(took) = known.converged(&source.commit)
        {
            announce_converged(workshop, source, known, took);
        }
        if status != known.status || known.status_overwritten {
            match status::write(&workshop.client, name, &status).await {
                Ok(()) => (known.status, known.status_overwritten) = (status, false),
                Err(error) => tracing::debug!(enforcement = name, %error, "the status was not taken"),
            }
        }
    }
}

/// That nobody sees what becomes of objects of some kinds.
fn not_watched(unlisted: &[GroupKind]) -> Option<Problem> {
    let (first, count) = (unlisted.first()?, unlisted.len());
    Some(Problem::of_enforcement(
        "NotWatched",
        format!(
            "{count} kinds cannot be listed, such as {first}: drift there is not seen, while writes are still rejected; the \
             reconciler's log says why"
        ),
    ))
}

/// That more is to be deleted than may be.
fn guarded(status: &EnforcementStatus) -> Option<&Problem> {
    status.problems.iter().find(|problem| problem.reason == "DeletionGuard")
}

async fn report_invalid(workshop: &Workshop, name: &str, invalid: &mut Invalid, now: &Time) {
    let facts = Facts {
        generation: invalid.generation,
        source_problem: Some(("InvalidSpec", invalid.problem.clone())),
        ..Facts::default()
    };
    let status = status::compose(&facts, &invalid.status, now);
    if status != invalid.status && status::write(&workshop.client, name, &status).await.is_ok() {
        invalid.status = status;
    }
}

/// What follows from an Enforcement alone.
fn facts(known: &Known) -> Facts {
    let spec_problem = known.spec_problem.as_ref().map(|problem| ("InvalidSpec", problem.clone()));
    Facts {
        generation: known.enforcement.metadata.generation,
        source_problem: spec_problem.or(known.git.failure.clone()),
        seen_commit: known.git.seen.as_ref().map(|commit| commit.id.clone()),
        round_commit: known.round.commit.clone().filter(|_| known.round.is_fresh),
        problems: known.problems().cloned().collect(),
        declared: known.round.counts.declared,
        applied: known.round.counts.applied,
        baseline: known.baseline.len(),
        baseline_recorded: known.has_baseline(),
        ..Facts::default()
    }
}

/// Whether a scope can hold objects of a kind.
fn may_hold(source: &Source, kind: &GroupKind, world: &World) -> bool {
    let namespaced = world.kinds.info(kind).is_none_or(|info| info.namespaced);
    namespaced || kind.kind == "Namespace" || source.governs_cluster_kind(&kind.group, &kind.kind)
}

fn governs(source: &Source, id: &ObjectId) -> bool {
    source.governs(&id.kind.group, &id.kind.kind, &id.namespace, &id.name)
}

/// Tells once that a commit is in force.
fn announce_converged(workshop: &Workshop, source: &Source, known: &Known, took: Duration) {
    let (name, commit) = (source.name.as_str(), source.short_commit());
    let (milliseconds, objects) = (took.as_millis() as u64, known.round.counts.declared);
    tracing::info!(enforcement = name, commit, milliseconds, objects, "converged");
    let note = if source.action == Action::Enforce {
        workshop.metrics.convergence_seconds.with_label_values(&[name]).observe(took.as_secs_f64());
        format!("{commit} is in force: {objects} objects")
    } else {
        format!("the cluster is what {commit} declares: {objects} objects; nothing is enforced")
    };
    workshop.events.enforcement(name, known.enforcement.metadata.uid.clone(), false, "Converged", note);
}
