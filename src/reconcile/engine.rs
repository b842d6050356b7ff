//! The engine: hears of Enforcements, commits, and changes of the cluster's kinds, and runs a round when one of them
//! asks for it. One task, so that two rounds never overlap; what arrives meanwhile is looked at afterwards.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, CustomResourceExt};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::baseline_record::{self, BaselineState, Recorder};
use super::canonicaliser::Canonicaliser;
use super::converge::Workshop;
use super::environment::Environment;
use super::governor::Governor;
use super::inventory_record;
use super::kinds::{Kinds, KindsError};
use super::observed::Observed;
use super::openapi::ListSchemas;
use super::peers::Step;
use super::publish::{Edit, PublishError};
use super::queue::Queue;
use super::receiver::Receiver;
use super::round::{Participant, Round, RoundError, RoundReport};
use super::settings;
use super::sources::{Failure, Follower, SourceState, SourceUpdate};
use super::status::{self, Facts};
use super::watch::{GATHER, Notice, Watches, is_watched};
use crate::api::{Action, Enforcement, EnforcementStatus, GROUP, Problem};
use crate::document::Document;
use crate::object::{GroupKind, ObjectId};
use crate::snapshot::Source;
use crate::source::CommitInfo;

/// Where things are on the Pod's volumes.
pub struct Directories {
    pub repositories: PathBuf,
    pub credentials: Option<PathBuf>,
}

/// One Enforcement and all that is known of it.
struct Known {
    enforcement: Enforcement,
    /// The last spec that could be understood.
    settings: Source,
    /// Why the newest spec is not in force.
    spec_problem: Option<String>,
    stop: CancellationToken,
    state: Option<Arc<SourceState>>,
    /// The source was read since this process began, or could not be.
    looked: bool,
    seen: Option<CommitInfo>,
    /// Why the newest commit is not in force.
    failure: Option<(&'static str, String)>,
    broken: Vec<Problem>,
    since: Instant,
    baseline: BaselineState,
    /// Git was read since this process leads, or began.
    current: bool,
    /// What the inventory names and Git no longer declares is known.
    recalled: bool,
    /// Problems of the last round.
    problems: Vec<Problem>,
    declared: u32,
    status: EnforcementStatus,
    converged_commit: Option<String>,
    /// The commit of the last round that this process ended, since it leads or began.
    round_commit: Option<String>,
}

/// An Enforcement that enforces nothing, because its spec cannot be understood.
struct Invalid {
    problem: String,
    generation: Option<i64>,
    status: EnforcementStatus,
}

impl Invalid {
    fn new(value: &Value, problem: String) -> Self {
        Self {
            problem,
            generation: value["metadata"]["generation"].as_i64(),
            status: serde_json::from_value(value["status"].clone()).unwrap_or_default(),
        }
    }
}

pub struct Engine {
    pub workshop: Arc<Workshop>,
    pub queue: Queue,
    pub watches: Watches,
    pub canonicaliser: Canonicaliser,
    pub governor: Governor,
    pub receiver: Receiver,
    pub directories: Directories,
    pub leader: watch::Receiver<bool>,
    pub ready: watch::Sender<bool>,
    known: BTreeMap<String, Known>,
    /// Enforcements that never could be understood.
    invalid: BTreeMap<String, Invalid>,
    kinds: Option<Arc<Kinds>>,
    schemas: Mutex<ListSchemas>,
    stop: CancellationToken,
    /// What the watches were started for: when it changes, everything is listed anew.
    watched: Vec<Source>,
    /// The Enforcements were listed. What a snapshot says of them counts until then.
    listed: bool,
    /// Since when drift waits for what Git says now.
    holding: Option<Instant>,
}

/// Pause before a round is repeated that left something undone; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// How long drift that a new leader finds waits for a Git server that does not answer.
const LONGEST_HOLD: Duration = Duration::from_secs(10);
const STATUS_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum EngineError {
    #[error(transparent)]
    Round(#[from] RoundError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Kinds(#[from] KindsError),
    #[error(transparent)]
    Environment(#[from] super::environment::EnvironmentError),
    #[error(transparent)]
    Baseline(#[from] super::baseline_record::RecordError),
    #[error(transparent)]
    Inventory(#[from] inventory_record::InventoryError),
}

impl Engine {
    #[expect(clippy::too_many_arguments, reason = "the parts are made by the command and meet only here")]
    pub fn new(
        workshop: Arc<Workshop>,
        queue: Queue,
        watches: Watches,
        governor: Governor,
        receiver: Receiver,
        directories: Directories,
        leader: watch::Receiver<bool>,
        ready: watch::Sender<bool>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            workshop,
            queue,
            watches,
            canonicaliser: Canonicaliser::default(),
            governor,
            receiver,
            directories,
            leader,
            ready,
            known: BTreeMap::new(),
            invalid: BTreeMap::new(),
            kinds: None,
            schemas: Mutex::default(),
            stop,
            watched: Vec::new(),
            listed: false,
            holding: None,
        }
    }

    /// Runs until it is stopped.
    pub async fn run(mut self, mut notices: mpsc::UnboundedReceiver<Notice>) {
        let (updates_in, mut updates) = mpsc::channel::<SourceUpdate>(16);
        let api: Api<Observed> = Api::all_with(self.workshop.client.clone(), &Enforcement::api_resource());
        let mut enforcements = watcher::watcher(api, watcher::Config::default()).default_backoff().boxed();
        let mut records = baseline_record::watch(self.workshop.client.clone()).boxed();
        let mut listing: HashMap<String, Value> = HashMap::new();
        let mut retry = FIRST_RETRY;
        let mut round_due: Option<tokio::time::Instant> = None;
        let mut kinds_due = true;
        let mut status_tick = tokio::time::interval(STATUS_INTERVAL);
        status_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        loop {
            let due = round_due;
            let soon = tokio::time::Instant::now() + GATHER;
            tokio::select! {
                () = stop.cancelled() => break,
                event = enforcements.next() => match event {
                    Some(Ok(Event::Init)) => listing.clear(),
                    Some(Ok(Event::InitApply(object))) => {
                        let (name, value) = named(object);
                        listing.insert(name, value);
                    }
                    Some(Ok(Event::InitDone)) => {
                        let gone: Vec<String> = self.known.keys().filter(|name| !listing.contains_key(*name)).cloned().collect();
                        for name in gone {
                            self.forget(&name);
                        }
                        self.listed = true;
                        for (name, value) in listing.drain() {
                            self.learn(&name, &value, &updates_in);
                        }
                        self.listed = true;
                        round_due = Some(soon);
                    }
                    Some(Ok(Event::Apply(object))) => {
                        let (name, value) = named(object);
                        if self.learn(&name, &value, &updates_in) {
                            round_due = Some(soon);
                        }
                    }
                    Some(Ok(Event::Delete(object))) => {
                        self.forget(&named(object).0);
                        round_due = Some(soon);
                    }
                    Some(Err(error)) => tracing::warn!(%error, "the Enforcements cannot be watched"),
                    None => break,
                },
                Some(Ok(event)) = records.next() => {
                    let waited_for = matches!(event, Event::Apply(_)) && self.known.values().any(|k| !k.baseline.is_recorded());
                    if waited_for {
                        round_due = Some(soon);
                    }
                }
                Some(update) = updates.recv() => {
                    if self.take(update) {
                        round_due = Some(tokio::time::Instant::now());
                    }
                }
                Some(notice) = notices.recv() => match notice {
                    Notice::KindsChanged => {
                        kinds_due = true;
                        round_due = Some(soon);
                    }
                    Notice::EnvironmentChanged => round_due = Some(soon),
                },
                Ok(()) = self.leader.changed() => {
                    let leads = *self.leader.borrow_and_update();
                    self.workshop.metrics.leader.set(i64::from(leads));
                    if leads {
                        // Whatever differs now was nobody's to put right, or the last leader's.
                        self.watched.clear();
                        self.workshop.settled.store(false, Ordering::SeqCst);
                        for (name, known) in &mut self.known {
                            known.current = false;
                            known.round_commit = None;
                            self.receiver.bell(name).notify_one();
                        }
                        round_due = Some(tokio::time::Instant::now());
                    }
                }
                () = async { tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)).await }, if due.is_some() && self.listed => {
                    round_due = None;
                    let all_looked = self.known.values().all(|known| known.looked);
                    match self.round(&mut kinds_due).await {
                        Ok(false) => retry = FIRST_RETRY,
                        Ok(true) => {
                            round_due = Some(tokio::time::Instant::now() + retry);
                            retry = (retry * 2).min(LAST_RETRY);
                        }
                        Err(error) => {
                            self.round_failed(&error);
                            round_due = Some(tokio::time::Instant::now() + retry);
                            retry = (retry * 2).min(LAST_RETRY);
                        }
                    }
                    self.release_if(all_looked);
                    self.report().await;
                }
                _ = status_tick.tick() => {
                    self.release_if(false);
                    self.report().await;
                }
            }
        }
        for known in self.known.values() {
            known.stop.cancel();
        }
    }

    /// Lets drift be put right that was found when the watches began.
    fn release_if(&mut self, all_looked: bool) {
        if self.holding.is_some_and(|since| all_looked || since.elapsed() > LONGEST_HOLD) {
            self.holding = None;
            self.watches.release();
        }
    }

    /// Takes an Enforcement in. True where its spec is new.
    fn learn(&mut self, name: &str, value: &Value, updates: &mpsc::Sender<SourceUpdate>) -> bool {
        if !self.is_as_declared(name, Some(value)) {
            tracing::warn!(enforcement = name, "its spec is not the declared one and does not count; it is put back");
            return false;
        }
        let understood = settings::read(value).and_then(|enforcement| {
            let settings = settings::source(&enforcement)?;
            Ok((enforcement, settings))
        });
        let (enforcement, settings) = match understood {
            Ok(understood) => understood,
            Err(error) => {
                tracing::error!(enforcement = name, %error, "not in force");
                self.workshop.events.enforcement(name, uid(value), true, "InvalidSpec", error.to_string());
                match self.known.get_mut(name) {
                    // What was understood before stays in force.
                    Some(known) => known.spec_problem = Some(error.to_string()),
                    None => _ = self.invalid.insert(name.to_owned(), Invalid::new(value, error.to_string())),
                }
                return false;
            }
        };
        self.invalid.remove(name);
        if let Some(known) = self.known.get_mut(name)
            && known.enforcement.spec == enforcement.spec
        {
            known.spec_problem = None;
            known.enforcement = enforcement;
            return false;
        }
        let before = self.known.remove(name);
        let same_source = before.as_ref().is_some_and(|k| k.enforcement.spec.source == enforcement.spec.source);
        let status = enforcement.status.clone().unwrap_or_default();
        let known = match before {
            Some(before) if same_source => Known { enforcement, settings, spec_problem: None, ..before },
            before => {
                if let Some(before) = &before {
                    before.stop.cancel();
                }
                let stop = self.stop.child_token();
                let follower = Follower {
                    enforcement: name.to_owned(),
                    source: enforcement.spec.source.clone(),
                    directory: self.directories.repositories.join(name),
                    credentials: self.directories.credentials.clone(),
                    bell: self.receiver.bell(name),
                    updates: updates.clone(),
                };
                tokio::spawn(follower.run(stop.clone()));
                Known {
                    enforcement,
                    settings,
                    spec_problem: None,
                    stop,
                    state: before.as_ref().and_then(|b| b.state.clone()),
                    looked: false,
                    seen: None,
                    failure: None,
                    broken: Vec::new(),
                    since: Instant::now(),
                    baseline: before.map_or_else(BaselineState::default, |b| b.baseline),
                    current: false,
                    recalled: false,
                    problems: Vec::new(),
                    declared: 0,
                    status,
                    converged_commit: None,
                    round_commit: None,
                }
            }
        };
        self.known.insert(name.to_owned(), known);
        true
    }

    /// Whether an Enforcement is what Git declares, or what the baseline recorded. One that was edited or deleted by a way
    /// round admission is drift like any other object: it must not switch off what would undo it.
    fn is_as_declared(&self, name: &str, live: Option<&Value>) -> bool {
        let world = self.workshop.publisher.world();
        let id = ObjectId::new(GROUP, "Enforcement", "", name);
        let desired = world.entry(id.as_ref()).ok().flatten();
        let Some(canonical) = desired.and_then(|entry| entry.canonical()) else { return true };
        if !world.enforces(id.as_ref()) {
            return true;
        }
        let live = live.map(|live| Document::from_value(&live["spec"]));
        match (live, canonical.get("spec")) {
            (Some(live), Some(spec)) => live.root() == spec,
            _ => false,
        }
    }

    fn forget(&mut self, name: &str) {
        if !self.is_as_declared(name, None) {
            tracing::warn!(enforcement = name, "deleted by a way round admission: it stays in force and is made again");
            return;
        }
        self.invalid.remove(name);
        if let Some(known) = self.known.remove(name) {
            known.stop.cancel();
            self.receiver.forget(name);
            tracing::warn!(enforcement = name, "removed: its objects are released, none is pruned");
        }
    }

    /// Takes in what a look at a source brought. True where a round is due.
    fn take(&mut self, update: SourceUpdate) -> bool {
        let Some(known) = self.known.get_mut(&update.enforcement) else { return false };
        let name = update.enforcement.as_str();
        let news = update.seen.is_some() && update.seen.as_ref().map(|c| &c.id) != known.seen.as_ref().map(|c| &c.id);
        if news {
            known.since = update.since;
        }
        known.seen = update.seen.or(known.seen.take());
        let first = !std::mem::replace(&mut known.looked, true);
        let read = !matches!(update.outcome, Err(Failure::Unreadable(_)));
        let first = first || (read && !known.current);
        known.current |= read;
        let result = match &update.outcome {
            Ok(_) => "success",
            Err(Failure::Unreadable(_)) => "unreadable",
            Err(Failure::Broken(_)) => "broken",
        };
        self.workshop.metrics.source_fetches.with_label_values(&[name, result]).inc();
        match update.outcome {
            Ok(state) => {
                known.failure = None;
                known.broken = Vec::new();
                let same = known.state.as_ref().is_some_and(|k| k.rendered.commit.id == state.rendered.commit.id);
                known.state = Some(state);
                first || !same
            }
            Err(Failure::Unreadable(error)) => {
                if known.failure.is_none() {
                    tracing::warn!(enforcement = name, %error, "the source cannot be read; the last good commit stays enforced");
                }
                known.failure = Some(("Unreachable", error.to_string()));
                first
            }
            Err(Failure::Broken(problems)) => {
                if news {
                    for problem in &problems {
                        tracing::error!(
                            enforcement = name,
                            position = problem.position,
                            problem = problem.message,
                            "broken commit"
                        );
                    }
                    let message = problems.first().map(|p| p.message.clone()).unwrap_or_default();
                    let uid = known.enforcement.metadata.uid.clone();
                    self.workshop.events.enforcement(name, uid, true, "BrokenCommit", message);
                }
                known.broken = problems;
                first
            }
        }
    }

    fn participants(&self) -> Vec<Participant> {
        let world = self.workshop.publisher.world();
        self.known
            .values()
            .filter_map(|known| {
                let settings = known.settings.clone();
                let baseline_recorded = known.baseline.is_closed();
                let source = match &known.state {
                    Some(state) => {
                        let commit = &state.rendered.commit;
                        let named = !commit.reference.is_empty();
                        let reference = if named { commit.reference.clone() } else { settings.reference.clone() };
                        let (commit, subject) = (commit.id.clone(), commit.subject.clone());
                        Source { commit, subject, reference, baseline_recorded, ..settings }
                    }
                    // Not read since this process began: what the snapshot holds of it stays in force.
                    None => {
                        let earlier = world.snapshot.meta().sources.iter().find(|s| s.name == settings.name)?;
                        let (commit, subject) = (earlier.commit.clone(), earlier.subject.clone());
                        let reference = earlier.reference.clone();
                        Source { commit, subject, reference, baseline_recorded, ..settings }
                    }
                };
                let (state, prune) = (known.state.clone(), known.enforcement.spec.prune);
                Some(Participant { source, state, prune, recall: !known.recalled })
            })
            .collect()
    }

    /// One round. True where something is left to do that time may bring.
    async fn round(&mut self, kinds_due: &mut bool) -> Result<bool, EngineError> {
        if !self.listed {
            return Ok(false);
        }
        let mut participants = self.participants();
        let world = self.workshop.publisher.world();
        if self.known.is_empty() && world.snapshot.meta().sources.is_empty() {
            if world.snapshot.meta().generation == 0 {
                // There is nothing to enforce, and the webhook beside is to be ready for when there is.
                self.workshop.publisher.publish(|_, _| Some(Edit::default())).await?;
                self.workshop.publisher.release().await?;
            }
            let _ = self.ready.send(true);
            return Ok(false);
        }
        let client = self.workshop.client.clone();
        // Before the kinds: those of a baseline are registered as well. Replicas that disagree on what is registered would
        // rewrite the webhook configuration in turns.
        for participant in &mut participants {
            let Some(known) = self.known.get_mut(&participant.source.name) else { continue };
            let recorder = Recorder::new(&self.workshop, &world.kinds);
            recorder.load(&participant.source.name, &mut known.baseline).await?;
            participant.source.baseline_recorded = known.baseline.is_closed();
        }
        let used = self.used_kinds(&participants);
        let kinds = match (&self.kinds, *kinds_due) {
            (Some(kinds), false)
                if used.iter().all(|(kind, version)| {
                    kinds.info(kind).is_none_or(|info| info.registered && info.version == *version)
                }) =>
            {
                Arc::clone(kinds)
            }
            _ => Arc::new(Kinds::read(&client, &self.schemas, used.into_iter()).await?),
        };
        *kinds_due = false;
        self.kinds = Some(Arc::clone(&kinds));
        let leader = *self.leader.borrow();
        let recorder = Recorder::new(&self.workshop, &kinds);
        let baselines = |source: &Source| self.known.get(&source.name).map(|known| &known.baseline);
        recorder.publish(&participants, baselines).await?;
        let environment = Environment::read(&client).await?;
        if self.watched.is_empty() {
            // What differs now may be what the newest commit changes: it is written once, not back and then forth.
            self.holding = Some(Instant::now());
            self.watches.hold();
            // Watched before the round, what exists is known without asking for each object. Where the world is closed
            // already, what is declared must be known first, or it would be taken for undeclared.
            if !participants.iter().any(|participant| participant.source.baseline_recorded) {
                self.watch(&participants);
            }
        }
        let round = Round {
            workshop: &self.workshop,
            queue: &self.queue,
            canonicaliser: &self.canonicaliser,
            schemas: &self.schemas,
            participants: &participants,
            kinds,
            environment,
            leader,
            step: Step::default(),
        };
        let mut report = round.run().await?;
        if self.is_whole().await? {
            self.workshop.publisher.release().await?;
            self.workshop.publisher.reached(Step::FINISHED);
        }
        self.kinds = Some(Arc::clone(&self.workshop.publisher.world().kinds));
        let incomplete = self.kinds.as_ref().is_some_and(|kinds| !kinds.complete);
        *kinds_due |= incomplete || (report.kinds_changed && report.retry);
        self.settle(&participants, &mut report);
        self.govern();
        // What follows is for the next commit and the next process; nobody has to wait for it.
        self.report().await;
        if leader {
            self.record_baselines(&mut participants).await?;
            self.workshop.peers.wait(&self.workshop.publisher.reached(Step::FINISHED)).await;
            inventory_record::write(&self.workshop, &participants, &report.undecided).await?;
        } else {
            self.freeze(&mut participants).await?;
        }
        // Nothing undeclared is removed before that: what this process does not know yet, another may just have applied.
        self.workshop.settled.store(self.known.values().all(|known| known.current), Ordering::SeqCst);
        self.watch(&participants);
        let _ = self.ready.send(true);
        Ok(report.retry || incomplete)
    }

    /// Whether the snapshot has all that was in force before this process began. A source that was enforced and cannot be
    /// read now keeps a new webhook from being ready; one that never was holds nobody up.
    async fn is_whole(&mut self) -> Result<bool, EngineError> {
        let world = self.workshop.publisher.world();
        let recorder = Recorder::new(&self.workshop, &world.kinds);
        for (name, known) in &mut self.known {
            if known.state.is_some() || known.settings.action != Action::Enforce {
                continue;
            }
            recorder.load(name, &mut known.baseline).await?;
            if known.baseline.is_recorded() && !world.snapshot.meta().sources.iter().any(|s| s.name == *name) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn used_kinds(&self, participants: &[Participant]) -> BTreeMap<GroupKind, String> {
        let mut used = BTreeMap::new();
        if participants.iter().any(|participant| participant.state.is_none()) {
            // What such a source declares is known to the snapshot only.
            let world = self.workshop.publisher.world();
            let registered = world.snapshot.meta().kinds.iter().filter(|kind| kind.registered);
            used.extend(registered.map(|kind| (GroupKind::new(&kind.group, &kind.kind), kind.version.clone())));
        }
        for known in self.known.values() {
            used.extend(known.baseline.kinds());
        }
        for participant in participants {
            for file in participant.state.iter().flat_map(|state| state.rendered.files.values()) {
                for manifest in &file.manifests {
                    used.insert(manifest.id.kind.clone(), manifest.version.clone());
                }
            }
        }
        used
    }

    fn settle(&mut self, participants: &[Participant], report: &mut RoundReport) {
        for (index, participant) in participants.iter().enumerate() {
            let known = self.known.get_mut(&participant.source.name).filter(|_| participant.state.is_some());
            let Some(known) = known else { continue };
            known.recalled = report.undecided.is_empty();
            known.round_commit = Some(participant.source.commit.clone());
            known.declared = report.declared.get(index).copied().unwrap_or_default();
            known.problems = report.problems.iter().filter(|p| p.source == index).map(|p| p.problem.clone()).collect();
            let commit = &participant.source.commit;
            let previous = known.converged_commit.as_deref();
            self.workshop.metrics.set_commit(&participant.source.name, previous, commit);
            if known.problems.is_empty() && previous != Some(commit) {
                let took = known.since.elapsed();
                tracing::info!(
                    enforcement = participant.source.name,
                    commit = participant.source.short_commit(),
                    milliseconds = took.as_millis() as u64,
                    objects = known.declared,
                    "converged"
                );
                self.workshop
                    .metrics
                    .convergence_seconds
                    .with_label_values(&[participant.source.name.as_str()])
                    .observe(took.as_secs_f64());
                let note = format!("{} is in force: {} objects", participant.source.short_commit(), known.declared);
                let uid = known.enforcement.metadata.uid.clone();
                self.workshop.events.enforcement(&participant.source.name, uid, false, "Converged", note);
                known.converged_commit = Some(commit.clone());
            }
        }
    }

    /// Registers the webhook for what the published snapshot governs.
    fn govern(&mut self) {
        self.governor.desire(&self.workshop.publisher.world());
    }

    async fn record_baselines(&mut self, participants: &mut [Participant]) -> Result<(), EngineError> {
        for participant in participants {
            let Some(known) = self.known.get_mut(&participant.source.name) else { continue };
            if participant.source.action != Action::Enforce || known.baseline.is_recorded() {
                continue;
            }
            let world = self.workshop.publisher.world();
            Recorder::new(&self.workshop, &world.kinds)
                .record(&participant.source.name, &mut known.baseline, &mut self.governor)
                .await?;
            participant.source.baseline_recorded = true;
        }
        Ok(())
    }

    /// Closes the world of a scope until the leader has recorded its baseline: the leader looks at what is there when
    /// no replica lets anything undeclared in any more.
    async fn freeze(&mut self, participants: &mut [Participant]) -> Result<(), EngineError> {
        for participant in participants {
            let Some(known) = self.known.get_mut(&participant.source.name) else { continue };
            if participant.source.action != Action::Enforce || known.baseline.is_closed() {
                continue;
            }
            let world = self.workshop.publisher.world();
            Recorder::new(&self.workshop, &world.kinds).freeze(&participant.source.name, &mut known.baseline).await?;
            participant.source.baseline_recorded = true;
            self.workshop.publisher.reached(Step::FINISHED);
        }
        Ok(())
    }

    /// Watches the kinds of the governed scopes; lists anew where the scopes are others than before.
    fn watch(&mut self, participants: &[Participant]) {
        let Some(kinds) = &self.kinds else { return };
        let scopes: Vec<Source> = participants
            .iter()
            .map(|p| Source { commit: String::new(), subject: String::new(), ..p.source.clone() })
            .collect();
        let same = scopes.len() == self.watched.len()
            && scopes.iter().zip(&self.watched).all(|(new, old)| {
                new.scope == old.scope
                    && new.action == old.action
                    && new.baseline_recorded == old.baseline_recorded
                    && new.undeclared_objects == old.undeclared_objects
            });
        if !same {
            self.watches.restart();
        }
        self.watched = scopes;
        let governed = kinds.iter().filter(|kind| {
            is_watched(kind)
                && (kind.info.namespaced
                    || participants.iter().any(|p| p.source.governs_cluster_kind(&kind.info.group, &kind.info.kind))
                    || kind.info.kind == "Namespace")
        });
        self.watches.watch(governed.cloned());
    }

    fn round_failed(&mut self, error: &EngineError) {
        tracing::error!(%error, "this round failed; what was published before stays enforced");
        self.workshop.metrics.api_errors.with_label_values(&["round"]).inc();
        let problem = Problem {
            reason: "RoundFailed".into(),
            object: None,
            position: None,
            commit: None,
            message: error.to_string(),
        };
        for known in self.known.values_mut() {
            known.problems = vec![problem.clone()];
        }
    }

    /// Writes what changed in the status of the Enforcements, and the gauges.
    async fn report(&mut self) {
        if !*self.leader.borrow() {
            return;
        }
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(k8s_openapi::jiff::Timestamp::now());
        let world = self.workshop.publisher.world();
        let drift = self.workshop.tracker.drift();
        for (name, invalid) in &mut self.invalid {
            let facts = Facts {
                generation: invalid.generation,
                source_problem: Some(("InvalidSpec", invalid.problem.clone())),
                ..Facts::default()
            };
            let status = status::compose(&facts, &invalid.status, &now);
            if status != invalid.status && status::write(&self.workshop.client, name, &status).await.is_ok() {
                invalid.status = status;
            }
        }
        for (name, known) in &mut self.known {
            let source = world.snapshot.meta().sources.iter().find(|source| source.name == *name).cloned();
            let drifted = drift.iter().filter(|id| source.as_ref().is_some_and(|s| governs(s, id))).count();
            let mut problems = known.broken.clone();
            problems.extend(known.problems.iter().cloned());
            let facts = Facts {
                generation: known.enforcement.metadata.generation,
                source_problem: known
                    .spec_problem
                    .as_ref()
                    .map(|problem| ("InvalidSpec", problem.clone()))
                    .or(known.failure.clone()),
                seen_commit: known.seen.as_ref().map(|commit| commit.id.clone()),
                round_commit: known.round_commit.clone(),
                enforcing: self.governor.is_enforcing(),
                problems,
                declared: known.declared,
                baseline: known.baseline.len(),
                drifted: u32::try_from(drifted).unwrap_or(u32::MAX),
                reverted: self.workshop.reverted.load(std::sync::atomic::Ordering::Relaxed),
                last_reverted_at: self.workshop.last_reverted_at(),
                source,
            };
            let status = status::compose(&facts, &known.status, &now);
            let states = [
                ("declared", facts.declared),
                ("baseline", facts.baseline),
                ("drifted", facts.drifted),
                ("applied", status.objects.map_or(0, |o| o.applied)),
                ("failed", status.objects.map_or(0, |o| o.failed)),
            ];
            for (state, count) in states {
                self.workshop.metrics.objects.with_label_values(&[name.as_str(), state]).set(i64::from(count));
            }
            if status != known.status {
                match status::write(&self.workshop.client, name, &status).await {
                    Ok(()) => known.status = status,
                    Err(error) => tracing::debug!(enforcement = name, %error, "the status was not taken"),
                }
            }
        }
    }
}

fn governs(source: &Source, id: &ObjectId) -> bool {
    source.governs(&id.kind.group, &id.kind.kind, &id.namespace, &id.name)
}

fn named(object: Observed) -> (String, Value) {
    let name = kube::ResourceExt::name_any(&object);
    (name, object.into_json())
}

fn uid(value: &Value) -> Option<String> {
    value["metadata"]["uid"].as_str().map(str::to_owned)
}
