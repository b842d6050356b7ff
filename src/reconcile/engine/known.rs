//! One Enforcement, and all that is known of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::api::{Action, Enforcement, EnforcementStatus, Problem};
use crate::reconcile::baseline_state::BaselineState;
use crate::reconcile::round::Counts;
use crate::reconcile::sources::{Failure, SourceState, SourceUpdate};
use crate::snapshot::Source;
use crate::source::CommitInfo;

pub struct Known {
    pub enforcement: Enforcement,
    /// The last spec that could be understood.
    pub settings: Source,
    /// Why the newest spec is not in force.
    pub spec_problem: Option<String>,
    /// Stops the task that follows the source.
    pub follower: CancellationToken,
    pub git: Sighting,
    pub baseline: BaselineState,
    /// Why its baseline cannot be read or recorded.
    pub baseline_problem: Option<Problem>,
    /// What of its baseline nobody can vouch for.
    pub baseline_doubts: Option<Problem>,
    /// What Git declares left its baseline, and the Secrets do not say so yet.
    pub record_outdated: bool,
    /// Why its inventory cannot be written.
    pub inventory_problem: Option<Problem>,
    pub round: LastRound,
    /// As it was last written.
    pub status: EnforcementStatus,
    /// The cluster shows another one.
    pub status_overwritten: bool,
    /// The last commit of which people were told that the cluster is what it says.
    converged_commit: Option<String>,
}

/// An Enforcement that enforces nothing, because its spec cannot be understood.
pub struct Invalid {
    pub problem: String,
    pub generation: Option<i64>,
    pub status: EnforcementStatus,
}

impl Invalid {
    pub fn new(value: &Value, problem: String) -> Self {
        Self {
            problem,
            generation: value["metadata"]["generation"].as_i64(),
            status: serde_json::from_value(value["status"].clone()).unwrap_or_default(),
        }
    }
}

impl Known {
    /// An Enforcement that is new, or has a new source. Then what was in force `before` stays until that source is read.
    pub fn new(enforcement: Enforcement, settings: Source, follower: CancellationToken, before: Option<Self>) -> Self {
        let (state, baseline, commit) =
            before.map(|before| (before.git.state, before.baseline, before.round.commit)).unwrap_or_default();
        Self {
            status: enforcement.status.clone().unwrap_or_default(),
            status_overwritten: false,
            enforcement,
            settings,
            spec_problem: None,
            follower,
            git: Sighting::new(state),
            baseline,
            baseline_problem: None,
            baseline_doubts: None,
            record_outdated: false,
            inventory_problem: None,
            round: LastRound { commit, ..LastRound::default() },
            converged_commit: None,
        }
    }

    /// The spec changed, and the source in it did not.
    #[must_use]
    pub fn with_spec(self, enforcement: Enforcement, settings: Source) -> Self {
        Self { enforcement, settings, spec_problem: None, ..self }
    }

    /// This process leads now: what counts is what Git says and the cluster is from here on.
    pub fn begin_anew(&mut self) {
        self.git.current = false;
        self.round.is_fresh = false;
    }

    /// What holds it back, and only it.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let baseline = self.baseline_problem.iter().chain(&self.baseline_doubts);
        let records = baseline.chain(&self.inventory_problem);
        self.git.broken.iter().chain(records).chain(&self.round.problems)
    }

    /// The cluster is what a commit says. Where that is news: how long it took.
    pub fn converged(&mut self, commit: &str) -> Option<Duration> {
        let news = self.converged_commit.as_deref() != Some(commit);
        news.then(|| {
            self.converged_commit = Some(commit.to_owned());
            self.git.since.elapsed()
        })
    }

    /// Whether it enforces, and did so before: there is a record of what was there, or one that cannot be read.
    pub fn was_in_force(&self) -> bool {
        self.settings.action == Action::Enforce && (self.baseline.is_recorded() || self.baseline.is_unknown())
    }

    /// Whether what is in the scope and not in Git is on record, where that is called for.
    pub fn has_baseline(&self) -> bool {
        self.settings.action != Action::Enforce || self.baseline.is_recorded()
    }
}

/// What the last round left.
#[derive(Default)]
pub struct LastRound {
    /// The commit that it brought about.
    pub commit: Option<String>,
    /// It ended since this process leads, or began.
    pub is_fresh: bool,
    pub counts: Counts,
    pub problems: Vec<Problem>,
    /// What the inventory names and Git no longer declares is known.
    pub recalled: bool,
}

/// What was seen of a source.
pub struct Sighting {
    pub state: Option<Arc<SourceState>>,
    /// The source was read since this process began, or could not be.
    pub looked: bool,
    /// Git was read since this process leads, or began.
    pub current: bool,
    pub seen: Option<CommitInfo>,
    /// Why the newest commit is not in force.
    pub failure: Option<(&'static str, String)>,
    pub broken: Vec<Problem>,
    /// When the newest commit was pushed, as far as this process knows.
    pub since: Instant,
}

/// What a look at a source brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    pub round_due: bool,
    /// The source was readable until now.
    pub unreadable: bool,
    /// The commit is new, and broken.
    pub broken: bool,
}

impl Sighting {
    fn new(state: Option<Arc<SourceState>>) -> Self {
        Self {
            state,
            looked: false,
            current: false,
            seen: None,
            failure: None,
            broken: Vec::new(),
            since: Instant::now(),
        }
    }

    /// Whether it is known what Git declares: it was read since this process leads, or it cannot be, and what it said
    /// last counts.
    pub fn is_certain(&self) -> bool {
        self.current || self.failure.is_some()
    }

    pub fn take(&mut self, update: SourceUpdate) -> News {
        let news = update.seen.is_some() && update.seen.as_ref().map(|c| &c.id) != self.seen.as_ref().map(|c| &c.id);
        if news {
            self.since = update.since;
        }
        self.seen = update.seen.or(self.seen.take());
        let read = !matches!(update.outcome, Err(Failure::Unreadable(_)));
        let first = !self.looked || (read && !self.current);
        self.looked = true;
        self.current |= read;
        match update.outcome {
            Ok(state) => {
                self.failure = None;
                self.broken = Vec::new();
                let same = self.state.as_ref().is_some_and(|k| k.rendered.commit.id == state.rendered.commit.id);
                self.state = Some(state);
                News { round_due: first || !same, ..News::default() }
            }
            Err(Failure::Unreadable(error)) => {
                let unreadable = self.failure.is_none();
                self.failure = Some((error.reason(), error.to_string()));
                News { round_due: first, unreadable, ..News::default() }
            }
            Err(Failure::Broken(problems)) => {
                self.broken = problems;
                News { round_due: first, broken: news, ..News::default() }
            }
        }
    }
}
