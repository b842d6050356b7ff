//! The Enforcements of the cluster, as their watch and the looks at their sources tell of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::watcher::{self, Event};
use serde_json::Value;
use tokio::sync::mpsc;

use super::admitted::{self, Patience, is_admitted};
use super::known::{Invalid, Known};
use crate::api::{Enforcement, EnforcementSpec, GROUP};
use crate::object::ObjectId;
use crate::reconcile::converge::Workshop;
use crate::reconcile::observed::Observed;
use crate::reconcile::receiver::Receiver;
use crate::reconcile::settings;
use crate::reconcile::sources::{Failure, Follower, SourceUpdate};
use crate::reconcile::status;
use crate::reconcile::world::World;
use crate::snapshot::{EntryClass, Source};
use crate::source::Transports;
use crate::supervisor::Supervisor;
use crate::telemetry::causes;

/// What this process has for the sources, whatever the Enforcements say of them.
pub struct Provision {
    /// Directory of the repositories.
    pub repositories: PathBuf,
    pub credentials: Option<PathBuf>,
    pub transports: Transports,
}

pub struct Enforcements {
    workshop: Arc<Workshop>,
    receiver: Receiver,
    provision: Provision,
    updates: mpsc::Sender<SourceUpdate>,
    supervisor: Supervisor,
    pub known: BTreeMap<String, Known>,
    /// Those that never could be understood.
    pub invalid: BTreeMap<String, Invalid>,
    /// As they are in the cluster where that does not count, by what Git was known to say when they were seen.
    disregarded: BTreeMap<String, Value>,
    /// Gone from the cluster, though nobody may delete them.
    deleted: BTreeSet<String>,
    patience: Patience,
    /// What a list has shown that is not complete yet.
    listing: HashMap<String, Value>,
    /// They were listed. What a snapshot says of them counts until then.
    listed: bool,
}

impl Enforcements {
    /// What the sources bring is sent to `updates`.
    pub fn new(
        workshop: Arc<Workshop>,
        receiver: Receiver,
        provision: Provision,
        updates: mpsc::Sender<SourceUpdate>,
        supervisor: Supervisor,
    ) -> Self {
        Self {
            workshop,
            receiver,
            provision,
            updates,
            supervisor,
            known: BTreeMap::new(),
            invalid: BTreeMap::new(),
            disregarded: BTreeMap::new(),
            deleted: BTreeSet::new(),
            patience: Patience::default(),
            listing: HashMap::new(),
            listed: false,
        }
    }

    pub fn are_listed(&self) -> bool {
        self.listed
    }

    /// Whether every source was read, or could not be.
    pub fn all_looked(&self) -> bool {
        self.known.values().all(|known| known.git.looked)
    }

    /// The sources that were not read since this process leads, or began.
    pub fn not_current(&self) -> Vec<Source> {
        self.known.values().filter(|known| !known.git.current).map(|known| known.settings.clone()).collect()
    }

    /// Takes in what the watch tells. True where a round is due.
    pub fn heard(&mut self, event: Result<Event<Observed>, watcher::Error>) -> bool {
        match event {
            Ok(Event::Init) => {
                self.listing.clear();
                false
            }
            Ok(Event::InitApply(object)) => {
                let (name, value) = named(object);
                self.listing.insert(name, value);
                false
            }
            Ok(Event::InitDone) => {
                let listing = std::mem::take(&mut self.listing);
                let world = self.workshop.publisher.world();
                let remembered = world.snapshot.meta().sources.iter().map(|source| &source.name);
                let seen =
                    self.known.keys().chain(self.invalid.keys()).chain(self.disregarded.keys()).chain(remembered);
                let gone: BTreeSet<String> = seen.filter(|name| !listing.contains_key(*name)).cloned().collect();
                for name in gone {
                    self.forget(&name);
                }
                for (name, value) in listing {
                    self.learn(&name, &value);
                }
                self.listed = true;
                true
            }
            Ok(Event::Apply(object)) => {
                let (name, value) = named(object);
                self.learn(&name, &value)
            }
            Ok(Event::Delete(object)) => {
                self.forget(&named(object).0);
                true
            }
            Err(error) => {
                tracing::warn!(error = causes(&error), "the Enforcements cannot be watched");
                false
            }
        }
    }

    /// Takes an Enforcement in. True where its spec is new.
    fn learn(&mut self, name: &str, value: &Value) -> bool {
        self.deleted.remove(name);
        let is_new = self.disregarded.remove(name).is_none_or(|before| before["spec"] != value["spec"]);
        if !is_admitted(&self.workshop.publisher.world(), name, Some(value)) {
            if is_new {
                tracing::warn!(
                    enforcement = name,
                    "its spec came by a way round admission and does not count; it is put back"
                );
            }
            self.disregarded.insert(name.to_owned(), value.clone());
            return false;
        }
        let declared = as_git_enforces(&self.workshop.publisher.world(), name, value);
        if declared.is_some() {
            if is_new {
                tracing::warn!(enforcement = name, "Git does not have it enforce: its spec counts as Git declares it");
            }
            self.disregarded.insert(name.to_owned(), value.clone());
        }
        let value = declared.as_ref().unwrap_or(value);
        let understood = settings::read(value).and_then(|enforcement| {
            let settings = settings::source(&enforcement)?;
            Ok((enforcement, settings))
        });
        let (enforcement, settings) = match understood {
            Ok(understood) => understood,
            Err(error) => {
                self.not_understood(name, value, error.to_string());
                return false;
            }
        };
        self.invalid.remove(name);
        if let Some(known) = self.known.get_mut(name) {
            let shown = enforcement.status.clone().unwrap_or_default();
            known.status_overwritten = !status::is_same(&shown, &known.status);
        }
        if let Some(known) = self.known.get_mut(name)
            && known.enforcement.spec == enforcement.spec
        {
            known.spec_problem = None;
            known.enforcement = enforcement;
            return false;
        }
        let known = match self.known.remove(name) {
            Some(before) if before.enforcement.spec.source == enforcement.spec.source => {
                before.with_spec(enforcement, settings)
            }
            before => {
                if let Some(before) = &before {
                    before.follower.cancel();
                }
                let follower = Follower {
                    enforcement: name.to_owned(),
                    source: enforcement.spec.source.clone(),
                    directory: self.provision.repositories.join(name),
                    credentials: self.provision.credentials.clone(),
                    transports: self.provision.transports.clone(),
                    bell: self.receiver.bell(name),
                    updates: self.updates.clone(),
                };
                let stop = self.supervisor.stop().child_token();
                self.supervisor.spawn_until("the follower of a source", stop.clone(), follower.run(stop.clone()));
                Known::new(enforcement, settings, stop, before)
            }
        };
        self.known.insert(name.to_owned(), known);
        true
    }

    /// Looks once more at what did not count: Git may say now what the cluster had before. True where a round is due.
    pub fn reconsider(&mut self) -> bool {
        let disregarded = self.disregarded.clone();
        let due = disregarded.iter().fold(false, |due, (name, value)| self.learn(name, value) || due);
        self.deleted.clone().iter().fold(due, |due, name| self.forget(name) || due)
    }

    /// They cannot be listed: with their definition, they may all be gone.
    pub fn presume_gone(&mut self) {
        let world = self.workshop.publisher.world();
        let remembered = world.snapshot.meta().sources.iter().map(|source| source.name.clone());
        self.deleted.extend(remembered);
    }

    /// Puts back what came or went by a way round admission and no commit would put right.
    pub async fn put_back(&mut self) {
        let world = self.workshop.publisher.world();
        let displaced: Vec<_> = self
            .disregarded
            .iter()
            .map(|(name, live)| (name, Some(live)))
            .chain(self.deleted.iter().map(|name| (name, None)))
            .filter(|(name, live)| !is_admitted(&world, name, *live))
            .filter_map(|(name, live)| Some((name, admitted::frozen(&world, name)?, live.is_some())))
            .collect();
        if displaced.is_empty() {
            self.patience = Patience::default();
            return;
        }
        // A commit that this process has not read yet may say otherwise.
        if !self.patience.is_over() || !self.known.values().all(|known| known.git.is_certain()) {
            return;
        }
        self.patience.tried();
        for (name, spec, is_there) in displaced {
            let put_back = if is_there {
                admitted::put_back(&self.workshop.client, name, spec).await
            } else {
                admitted::make_again(&self.workshop.client, &self.as_it_was(name, spec)).await
            };
            match put_back {
                Ok(()) => tracing::warn!(enforcement = name, "put back as it was let in"),
                Err(error) => tracing::warn!(enforcement = name, error = causes(&error), "not put back yet"),
            }
        }
    }

    /// With the labels and annotations by which others know it, as far as this process has seen it.
    fn as_it_was(&self, name: &str, spec: &EnforcementSpec) -> Enforcement {
        let mut enforcement = Enforcement::new(name, spec.clone());
        if let Some(known) = self.known.get(name) {
            let metadata = &known.enforcement.metadata;
            enforcement.metadata.labels.clone_from(&metadata.labels);
            enforcement.metadata.annotations.clone_from(&metadata.annotations);
        }
        enforcement
    }

    fn not_understood(&mut self, name: &str, value: &Value, problem: String) {
        tracing::error!(enforcement = name, error = problem, "not in force");
        let uid = value["metadata"]["uid"].as_str().map(str::to_owned);
        self.workshop.events.enforcement(name, uid, true, "InvalidSpec", problem.clone());
        match self.known.get_mut(name) {
            // What was understood before stays in force.
            Some(known) => known.spec_problem = Some(problem),
            None => _ = self.invalid.insert(name.to_owned(), Invalid::new(value, problem)),
        }
    }

    /// Takes in that an Enforcement is gone. True where a round is due.
    fn forget(&mut self, name: &str) -> bool {
        self.disregarded.remove(name);
        if !is_admitted(&self.workshop.publisher.world(), name, None) {
            if self.deleted.insert(name.to_owned()) {
                tracing::warn!(
                    enforcement = name,
                    "deleted by a way round admission: it stays in force and is made again"
                );
            }
            return false;
        }
        self.deleted.remove(name);
        self.invalid.remove(name);
        if let Some(known) = self.known.remove(name) {
            known.follower.cancel();
            self.receiver.forget(name);
            self.workshop.metrics.forget(name, known.round.commit.as_deref());
            tracing::warn!(enforcement = name, "removed: its objects are released, none is pruned");
        }
        true
    }

    /// Takes in what a look at a source brought. True where a round is due.
    pub fn take(&mut self, update: SourceUpdate) -> bool {
        let name = update.enforcement.clone();
        let Some(known) = self.known.get_mut(&name) else { return false };
        let result = match &update.outcome {
            Ok(_) => "success",
            Err(Failure::Unreadable(_)) => "unreadable",
            Err(Failure::Broken(_)) => "broken",
        };
        self.workshop.metrics.source_fetches.with_label_values(&[name.as_str(), result]).inc();
        let news = known.git.take(update);
        if news.unreadable {
            let error = known.git.failure.as_ref().map(|(_, message)| message);
            tracing::warn!(enforcement = name, error, "the source cannot be read; the last good commit stays enforced");
        }
        if news.broken {
            for problem in &known.git.broken {
                let (position, message) = (&problem.position, &problem.message);
                tracing::error!(enforcement = name, position, problem = message, "broken commit");
            }
            let message = known.git.broken.first().map(|p| p.message.clone()).unwrap_or_default();
            let uid = known.enforcement.metadata.uid.clone();
            self.workshop.events.enforcement(&name, uid, true, "BrokenCommit", message);
        }
        news.round_due
    }

    /// This process leads now: every source is looked at once more.
    pub fn begin_anew(&mut self) {
        for (name, known) in &mut self.known {
            known.begin_anew();
            self.receiver.bell(name).notify_one();
        }
    }
}

/// An Enforcement with the spec that Git declares, where it enforces and Git has it observe or warn. That is drift which
/// nobody would undo: only it would enforce what Git says, and until then everything else as well.
fn as_git_enforces(world: &World, name: &str, live: &Value) -> Option<Value> {
    let id = ObjectId::new(GROUP, "Enforcement", "", name);
    let entry = world.entry(id.as_ref()).ok().flatten().filter(|entry| entry.class() == EntryClass::Declared)?;
    let spec = entry.canonical()?.get("spec")?.to_value();
    let enforces = |spec: &Value| spec["action"] == "Enforce";
    if world.enforces(id.as_ref()) || enforces(&spec) || !enforces(&live["spec"]) {
        return None;
    }
    let mut declared = live.clone();
    declared["spec"] = spec;
    Some(declared)
}

fn named(object: Observed) -> (String, Value) {
    let name = object.name_any();
    (name, object.into_json())
}
