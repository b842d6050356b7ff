//! One round: from what the sources declare to a published snapshot and a cluster that matches it.
//!
//! The steps of a stage are always the same: establish the canonical objects, publish them, and (on the leader) write
//! what differs. A stage begins when the one before is done, since a dry-run needs the Namespace and the kind. Batches
//! bound the memory: no more than one batch of whole objects is held at a time.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::Mutex;

use super::canonicalise::{CanonicaliseError, LiveState, Pending, Provenance};
use super::canonicaliser::{Canonicaliser, Question};
use super::converge::{SERVED_LIMIT, Workshop};
use super::desired::{Contribution, Declaration, Desired, SourceProblem, Stage, resolve};
use super::environment::Environment;
use super::inputs::Inputs;
use super::kinds::Kinds;
use super::openapi::ListSchemas;
use super::peers::Step;
use super::publish::{Edit, PublishError};
use super::queue::{Attempt, Cause, Live, Queue, Work};
use super::rest;
use super::sources::SourceState;
use super::world::{World, is_secret};
use crate::api::Problem;
use crate::object::ObjectId;
use crate::snapshot::{EntryClass, EntryDraft, Source};

/// Objects whose content is held at once.
const BATCH: usize = 500;
/// Requests under way at once. More gain nothing: the API server is the limit.
pub(super) const PARALLEL: usize = 16;
/// How long a stage waits for what the one before has created.
const CREATED_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at what the watches saw.
const LOOK: Duration = Duration::from_millis(20);

/// A source that takes part in a round.
#[derive(Clone)]
pub struct Participant {
    pub source: Source,
    /// `None` where Git was not read since this process began: then its entries stay as they are.
    pub state: Option<Arc<SourceState>>,
    pub prune: bool,
    /// The inventory may name objects that this process does not know.
    pub recall: bool,
}

#[derive(Debug, Default)]
pub struct RoundReport {
    pub problems: Vec<SourceProblem>,
    /// Objects declared and objects applied, by source.
    pub declared: Vec<u32>,
    /// Something was not possible yet and may be soon.
    pub retry: bool,
    /// The API server may serve other kinds now.
    pub kinds_changed: bool,
    /// Objects in the inventory of which nothing could be found out yet.
    pub undecided: BTreeSet<ObjectId>,
}

#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Environment(#[from] super::environment::EnvironmentError),
    #[error(transparent)]
    MutatorActive(#[from] super::environment::MutatorActive),
    #[error(transparent)]
    Kinds(#[from] super::kinds::KindsError),
    #[error(transparent)]
    Snapshot(#[from] crate::snapshot::SnapshotError),
    #[error("what defaults depend on (mutators, limit ranges, classes) changed meanwhile; the round begins anew")]
    EnvironmentChanged,
    #[error(transparent)]
    Inventory(#[from] super::inventory_record::InventoryError),
}

pub struct Round<'a> {
    pub workshop: &'a Workshop,
    pub queue: &'a Queue,
    pub canonicaliser: &'a Canonicaliser,
    pub schemas: &'a Mutex<ListSchemas>,
    pub participants: &'a [Participant],
    pub kinds: Arc<Kinds>,
    pub environment: Environment,
    pub leader: bool,
    /// The step that is being taken.
    pub step: Step,
}

/// What came of an attempt.
#[derive(Default)]
struct Attempted {
    changed: bool,
    /// Predictions that were not admitted or not taken.
    refused: Vec<ObjectId>,
    /// Objects, with their uids, that have to go before the declared ones can be made.
    obsolete: Vec<(ObjectId, String)>,
}

/// What became of one declared object.
enum Outcome {
    /// As in the snapshot before, down to the line in the file.
    Kept,
    New(Box<Prepared>),
}

struct Prepared {
    draft: EntryDraft,
    /// The canonical Secret with its values.
    secret: Option<Value>,
    live: Live,
    /// The cluster must be written.
    changed: bool,
    problem: Option<(CanonicaliseError, bool)>,
    predicted: bool,
    asked: bool,
    /// The uid of the live object, where Git lets it be deleted because it cannot become the declared one.
    obsolete: Option<String>,
}

impl Round<'_> {
    /// # Errors
    /// What stops the round as a whole. What was published stays.
    pub async fn run(mut self) -> Result<RoundReport, RoundError> {
        self.check_mutators()?;
        self.canonicaliser.enter(&self.environment);
        self.publish_sources().await?;
        let mut report = RoundReport::default();
        let mut desired = self.resolve();
        // The others hear of the commit now, and look at it while this replica asks about its objects.
        self.workshop.publisher.reached(Step::default());
        for (stage_index, stage) in Stage::ALL.into_iter().enumerate() {
            let mut objects: Vec<(ObjectId, Declaration)> = desired
                .objects
                .iter()
                .filter(|(_, declaration)| declaration.stage == stage)
                .map(|(id, declaration)| (id.clone(), declaration.clone()))
                .collect();
            // By file, so that each is read once.
            objects.sort_by(|(_, a), (_, b)| (a.source, &a.file, a.index).cmp(&(b.source, &b.file, b.index)));
            let mut changed = false;
            for (index, batch) in objects.chunks(BATCH).enumerate() {
                self.step = Step::after(stage_index, index);
                changed |= self.batch(batch, &mut report).await?;
                self.workshop.publisher.reached(self.step);
            }
            if stage == Stage::Namespaces && changed && !self.leader {
                self.created(&objects).await;
            }
            if stage == Stage::Definitions && (changed || desired.unknown_kinds) {
                if changed {
                    self.established(&objects).await;
                }
                let declared = desired.objects.values().map(|d| (d.summary.id.kind.clone(), d.summary.version.clone()));
                self.kinds = Arc::new(self.kinds.refreshed(&self.workshop.client, self.schemas, declared).await?);
                desired = self.resolve();
                self.publish_sources().await?;
                report.kinds_changed = true;
            }
        }
        for state in self.participants.iter().filter_map(|participant| participant.state.as_ref()) {
            state.rest().await;
        }
        report.declared = vec![0; self.participants.len()];
        for declaration in desired.objects.values() {
            if let Some(count) = report.declared.get_mut(declaration.source) {
                *count += 1;
            }
        }
        report.retry |= desired.unknown_kinds;
        self.step = Step::FINISHED;
        self.recall(&desired, &mut report).await?;
        self.retire(&desired, &mut report).await?;
        self.workshop.publisher.reached(self.step);
        report.problems.append(&mut desired.problems);
        Ok(report)
    }

    fn resolve(&self) -> Desired {
        let contributions: Vec<Contribution<'_>> = self
            .participants
            .iter()
            .map(|participant| Contribution {
                source: &participant.source,
                rendered: participant.state.as_ref().map(|state| &state.rendered),
            })
            .collect();
        resolve(&contributions, &self.kinds)
    }

    fn check_mutators(&self) -> Result<(), RoundError> {
        let world = self.workshop.publisher.world();
        let desired = self.resolve();
        self.environment.require_declared_mutators(|id| {
            let governed = self.participants.iter().any(|p| p.source.governs(id.group, id.kind, id.namespace, id.name));
            // Where nobody governs mutators, the cluster's own are part of what the server does.
            !governed
                || desired.objects.contains_key(&id.to_owned())
                || matches!(world.entry(id), Ok(Some(_)))
                || !self.participants.iter().any(|p| p.source.baseline_recorded)
        })?;
        Ok(())
    }

    /// Makes sources and kinds known to the webhook. The objects follow batch by batch.
    async fn publish_sources(&self) -> Result<(), RoundError> {
        let kinds = Arc::clone(&self.kinds);
        let sources: Vec<Source> = self.participants.iter().map(|p| p.source.clone()).collect();
        let environment = self.environment.digest.clone();
        self.workshop
            .publisher
            .publish(move |_, meta| {
                meta.sources = sources;
                meta.kinds = kinds.iter().map(|kind| kind.info.clone()).collect();
                meta.environment = environment;
                Some(Edit { kinds: Some(kinds), ..Edit::default() })
            })
            .await?;
        Ok(())
    }

    /// Canonicalises, publishes and applies some objects. True where anything changed.
    async fn batch(&self, objects: &[(ObjectId, Declaration)], report: &mut RoundReport) -> Result<bool, RoundError> {
        let declarations: HashMap<&ObjectId, &Declaration> = objects.iter().map(|(id, d)| (id, d)).collect();
        let these = |ids: Vec<ObjectId>| -> Vec<(ObjectId, Declaration)> {
            ids.into_iter().filter_map(|id| declarations.get(&id).map(|d| (id.clone(), (*d).clone()))).collect()
        };
        let before = self.workshop.publisher.world();
        let mut attempted = self.attempt(objects, true, &before, report).await?;
        if !attempted.refused.is_empty() {
            // Each was a prediction that its object did not bear out: the server is asked about these, and what cannot
            // be canonicalised keeps the state that it had before the prediction.
            let again = these(std::mem::take(&mut attempted.refused));
            attempted.obsolete.extend(self.attempt(&again, false, &before, report).await?.obsolete);
        }
        if !attempted.obsolete.is_empty() {
            let gone = these(self.remove_obsolete(attempted.obsolete, &declarations, report).await);
            self.attempt(&gone, false, &self.workshop.publisher.world(), report).await?;
        }
        Ok(attempted.changed)
    }

    /// One attempt at some objects. `before` is the world whose states stay where no other can be found.
    async fn attempt(
        &self,
        objects: &[(ObjectId, Declaration)],
        may_predict: bool,
        before: &World,
        report: &mut RoundReport,
    ) -> Result<Attempted, RoundError> {
        let positions: HashMap<&ObjectId, &Declaration> = objects.iter().map(|(id, d)| (id, d)).collect();
        let mut prepared: Vec<Prepared> = Vec::new();
        {
            let mut outcomes = stream::iter(objects)
                .map(|(id, declaration)| self.prepare(before, id, declaration, may_predict))
                .buffer_unordered(PARALLEL);
            while let Some(outcome) = outcomes.next().await {
                if let Outcome::New(new) = outcome {
                    prepared.push(*new);
                }
            }
        }
        if prepared.is_empty() {
            return Ok(Attempted::default());
        }
        if prepared.iter().any(|new| new.asked) {
            // A mutator that came meanwhile may be in the answers.
            let now = Environment::read(&self.workshop.client).await?;
            if now.digest != self.environment.digest {
                return Err(RoundError::EnvironmentChanged);
            }
        }
        let mut work = Vec::new();
        let mut predicted = HashSet::new();
        let mut edit = Edit::default();
        let mut obsolete = Vec::new();
        for new in prepared {
            obsolete.extend(new.obsolete.clone().map(|uid| (new.draft.id.clone(), uid)));
            if let Some((error, retry)) = &new.problem
                && let Some(declaration) = positions.get(&new.draft.id)
            {
                report.retry |= *retry;
                report.problems.push(self.problem(&new.draft.id, declaration, reason(error), error.to_string()));
            }
            if new.predicted {
                predicted.insert(new.draft.id.clone());
            }
            if new.changed && new.draft.canonical.is_some() {
                if before.enforces(new.draft.id.as_ref()) {
                    work.push((new.draft.id.clone(), new.live));
                } else {
                    self.note_difference(before, &new);
                }
            }
            if let Some(secret) = new.secret {
                edit.secrets.insert(new.draft.id.clone(), secret);
            }
            edit.put.push(new.draft);
        }
        let published = self.workshop.publisher.publish(|_, _| Some(edit)).await?;
        if !self.leader || work.is_empty() {
            return Ok(Attempted { changed: true, obsolete, ..Attempted::default() });
        }
        let failed = self.apply(&published, work).await;
        let (refused, failed): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(id, _)| predicted.contains(id));
        for (id, message) in failed {
            if let Some(declaration) = positions.get(&id) {
                report.retry = true;
                report.problems.push(self.problem(&id, declaration, "NotApplied", message));
            }
        }
        let refused = refused.into_iter().map(|(id, _)| id).collect();
        Ok(Attempted { changed: true, refused, obsolete })
    }

    /// Where Git is only compared with the cluster, a difference is all that comes of it.
    fn note_difference(&self, world: &World, new: &Prepared) {
        let id = &new.draft.id;
        if self.workshop.tracker.drifted(id) {
            let cause = if matches!(new.live, Live::Absent) { "absent" } else { "changed" };
            let enforcement = world.enforcement_of(id.as_ref());
            self.workshop.metrics.drift_detected.with_label_values(&[enforcement, cause]).inc();
            tracing::info!(object = %id, cause, "differs from Git");
        }
    }

    /// Writes objects, and returns those that were not taken.
    async fn apply(&self, world: &World, work: Vec<(ObjectId, Live)>) -> Vec<(ObjectId, String)> {
        if !self.workshop.publisher.served(world, SERVED_LIMIT).await {
            tracing::warn!("the webhook does not serve the new snapshot yet; its denials are retried");
        }
        self.workshop.peers.wait(&self.workshop.publisher.reached(self.step)).await;
        let since = Instant::now();
        stream::iter(work)
            .filter(|(id, _)| std::future::ready(world.enforces(id.as_ref())))
            .map(|(id, live)| async {
                let work = Work { id: id.clone(), live, cause: Cause::Commit, since };
                (id, self.queue.attempt(work).await)
            })
            .buffer_unordered(PARALLEL)
            .filter_map(async |(id, attempt)| match attempt {
                Attempt::Done => None,
                Attempt::Failed(message) => Some((id, message)),
            })
            .collect()
            .await
    }

    async fn prepare(&self, world: &World, id: &ObjectId, declaration: &Declaration, may_predict: bool) -> Outcome {
        let participant = &self.participants[declaration.source];
        let Some(state) = &participant.state else { return Outcome::Kept };
        let blob = state.rendered.files.get(&declaration.file).map_or("", |file| file.blob.as_str());
        let inputs = Inputs {
            digest: declaration.summary.digest.clone(),
            environment: self.environment.digest.clone(),
            blob: blob.to_owned(),
        };
        let entry = world.entry(id.as_ref()).ok().flatten();
        let known = entry.as_ref().filter(|entry| {
            entry.class() == EntryClass::Declared
                && entry.source() == Some(declaration.source)
                && entry.version() == declaration.summary.api_version
                && entry.canonical().is_some()
                && entry.problem().is_none()
        });
        let earlier = known.and_then(|entry| Inputs::parse(entry.inputs()));
        // A prediction that the webhook refused is asked about, though nothing else changed.
        let same = may_predict
            && earlier.as_ref().is_some_and(|e| e.digest == inputs.digest && e.environment == inputs.environment);
        let values_known = !is_secret(id.as_ref()) || world.secrets.contains_key(id);
        if same
            && values_known
            && earlier.as_ref() == Some(&inputs)
            && known.and_then(|e| e.file()) == Some(declaration.file.as_str())
        {
            self.workshop.metrics.canonicalisations.with_label_values(&["cached"]).inc();
            return Outcome::Kept;
        }
        let mut draft = EntryDraft {
            id: id.clone(),
            class: EntryClass::Declared,
            source: Some(declaration.source),
            version: declaration.summary.api_version.clone(),
            canonical: entry.as_ref().and_then(|entry| entry.canonical()).map(|canonical| canonical.to_value()),
            inputs: inputs.to_string(),
            file: Some(declaration.file.clone()),
            lines: None,
            recreate: declaration.summary.recreate,
            // An object that is deleted by a way round admission is made anew with another one at once, and its children
            // must not wait for the next snapshot. A child of another uid is collected by Kubernetes itself.
            uid: None,
            problem: None,
        };
        let manifest = match state.manifest(&declaration.file, declaration.index).await {
            Ok(manifest) => manifest,
            Err(error) => {
                return failed(
                    draft,
                    CanonicaliseError::InvalidManifest { field: None, message: error.to_string() },
                    true,
                );
            }
        };
        draft.lines = Some(manifest.lines);
        if same && let Some(secret) = self.known_values(world, id, &manifest.value, draft.canonical.as_ref()) {
            // Only the position in the file changed, or this process does not hold the values yet.
            self.workshop.metrics.canonicalisations.with_label_values(&["cached"]).inc();
            return Outcome::New(Box::new(Prepared {
                draft,
                secret,
                live: Live::Unknown,
                changed: false,
                problem: None,
                predicted: false,
                asked: false,
                obsolete: None,
            }));
        }
        self.ask(world, draft, declaration, manifest.value, may_predict).await
    }

    async fn ask(
        &self,
        world: &World,
        mut draft: EntryDraft,
        declaration: &Declaration,
        manifest: Value,
        may_predict: bool,
    ) -> Outcome {
        let id = draft.id.clone();
        let Some(kind) = self.kinds.get(&id.kind) else {
            return failed(draft, CanonicaliseError::Pending(Pending::KindAbsent), true);
        };
        let live = match self.workshop.tracker.exists(&id) {
            Some(false) => Ok(None),
            _ => rest::get(&self.workshop.client, &kind.info, &id.namespace, &id.name).await,
        };
        let live = match live {
            Ok(live) => live,
            Err(refusal) => return failed(draft, CanonicaliseError::Api(refusal), true),
        };
        let source = &self.participants[declaration.source].source;
        // A prediction is proven by its write: whoever does not write learns of no wrong one.
        let writes = self.leader && world.enforces(id.as_ref());
        let may_predict = may_predict && writes && self.environment.is_predictable();
        let asked = self
            .canonicaliser
            .canonicalise(
                &self.workshop.client,
                Question { kind: &kind.info, id: &id, manifest: &manifest, live: live.clone(), source, may_predict },
            )
            .await;
        match asked {
            Ok(canonical) => {
                self.workshop.metrics.canonicalisations.with_label_values(&[provenance(canonical.provenance)]).inc();
                let (masked, secret) = self.canonicaliser.masked(world, &id, canonical.object);
                draft.canonical = Some(masked);
                let changed = canonical.live != LiveState::Matches;
                let live = live.map_or(Live::Absent, |live| Live::Present(Arc::new(live)));
                let predicted = canonical.provenance == Provenance::Predicted;
                let asked = !predicted;
                let new = Prepared { draft, secret, live, changed, problem: None, predicted, asked, obsolete: None };
                Outcome::New(Box::new(new))
            }
            Err(CanonicaliseError::NeedsRecreate { .. }) if declaration.summary.recreate => {
                // What it becomes is known when it is gone. Until then it may only go.
                draft.canonical = None;
                draft.problem = Some("it is deleted to be created again, as Git asks".to_owned());
                Outcome::New(Box::new(Prepared {
                    draft,
                    secret: None,
                    obsolete: live.as_ref().map(|live| rest::metadata(live, "uid").to_owned()),
                    live: Live::Unknown,
                    changed: false,
                    problem: None,
                    predicted: false,
                    asked: true,
                }))
            }
            Err(error) => {
                self.workshop.metrics.canonicalisations.with_label_values(&["failed"]).inc();
                let retry = is_temporary(&error);
                failed(draft, error, retry)
            }
        }
    }

    /// `Some` where nothing has to be asked: with the values of a Secret where it is one.
    fn known_values(
        &self,
        world: &World,
        id: &ObjectId,
        manifest: &Value,
        canonical: Option<&Value>,
    ) -> Option<Option<Value>> {
        let canonical = canonical?;
        if !is_secret(id.as_ref()) {
            return Some(None);
        }
        let kind = self.kinds.info(&id.kind)?;
        self.canonicaliser.values(world, kind, manifest, canonical).map(Some)
    }

    /// Waits until the leader has created the namespaces: what is in them cannot be canonicalised before.
    async fn created(&self, namespaces: &[(ObjectId, Declaration)]) {
        let world = self.workshop.publisher.world();
        let absent = || {
            let mut enforced = namespaces.iter().filter(|(id, _)| world.enforces(id.as_ref()));
            enforced.any(|(id, _)| self.workshop.tracker.exists(id) == Some(false))
        };
        let since = Instant::now();
        while absent() && since.elapsed() < CREATED_LIMIT {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the new definitions are established, so that their kinds are served.
    async fn established(&self, definitions: &[(ObjectId, Declaration)]) {
        let world = self.workshop.publisher.world();
        let enforced = definitions.iter().filter(|(id, _)| world.enforces(id.as_ref()));
        let waiting = stream::iter(enforced).for_each_concurrent(PARALLEL, |(id, _)| async move {
            super::definitions::established(&self.workshop.client, &id.name).await;
        });
        if tokio::time::timeout(CREATED_LIMIT, waiting).await.is_err() {
            tracing::warn!("not every CustomResourceDefinition is established yet");
        }
    }

    pub(super) fn problem(
        &self,
        id: &ObjectId,
        declaration: &Declaration,
        reason: &str,
        message: String,
    ) -> SourceProblem {
        SourceProblem {
            source: declaration.source,
            problem: Problem {
                reason: reason.into(),
                object: Some(id.to_string()),
                position: Some(declaration.position()),
                commit: Some(self.participants[declaration.source].source.commit.clone()),
                message,
            },
        }
    }
}

/// An object that cannot be canonicalised keeps its last good state, if it has one.
fn failed(mut draft: EntryDraft, error: CanonicaliseError, retry: bool) -> Outcome {
    draft.problem = Some(error.to_string());
    // Without a state to compare with, the permission to recreate would let anybody delete it.
    draft.recreate &= draft.canonical.is_some();
    Outcome::New(Box::new(Prepared {
        draft,
        secret: None,
        live: Live::Unknown,
        changed: false,
        problem: Some((error, retry)),
        predicted: false,
        asked: false,
        obsolete: None,
    }))
}

fn provenance(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Asked => "asked",
        Provenance::Predicted => "predicted",
    }
}

/// Whether time alone may solve it.
fn is_temporary(error: &CanonicaliseError) -> bool {
    match error {
        CanonicaliseError::Pending(_)
        | CanonicaliseError::Conflict
        | CanonicaliseError::MutatorActive(_)
        | CanonicaliseError::Denied { .. }
        | CanonicaliseError::Forbidden(_)
        | CanonicaliseError::Api(_) => true,
        CanonicaliseError::NeedsRecreate { .. }
        | CanonicaliseError::InvalidManifest { .. }
        | CanonicaliseError::DeclaredButDropped { .. } => false,
    }
}

fn reason(error: &CanonicaliseError) -> &'static str {
    match error {
        CanonicaliseError::Pending(_) => "Pending",
        CanonicaliseError::NeedsRecreate { .. } => "NeedsRecreate",
        CanonicaliseError::InvalidManifest { .. } => "InvalidManifest",
        CanonicaliseError::DeclaredButDropped { .. } => "DeclaredButDropped",
        CanonicaliseError::Forbidden(_) => "Forbidden",
        CanonicaliseError::Denied { .. } => "DeniedByWebhook",
        CanonicaliseError::Conflict => "Conflict",
        CanonicaliseError::MutatorActive(_) => "MutatorActive",
        CanonicaliseError::Api(_) => "ApiError",
    }
}
