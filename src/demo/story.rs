//! What the steps of the story share: who acts, what is looked at, and what a deviation from the expectation is.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::{Api, Client};

use super::installation::ENFORCEMENT;
use super::kubectl::{Answer, Kubectl, KubectlError};
use super::metrics::ScrapeError;
use super::processes::{Pair, ProcessError};
use super::report::Report;
use super::repository::{Pushed, Repository, RepositoryError};
use super::steps;
use crate::api::{ConditionType, Enforcement, EnforcementStatus};

/// Generous: the story must not fail because a machine is slow. What it measures, it prints.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    #[error(transparent)]
    Kubectl(#[from] KubectlError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Scrape(#[from] ScrapeError),
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    #[error("a task of the demo died: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("{what}\nexpected: {expected}\nobserved: {observed}")]
    Unexpected { what: String, expected: String, observed: String },
    #[error("{what}: not within {} s\nlast seen: {last}", PATIENCE.as_secs())]
    Timeout { what: String, last: String },
}

/// Someone who acts on the cluster.
#[derive(Clone, Debug)]
pub struct Person {
    pub who: &'static str,
    pub kubeconfig: PathBuf,
}

/// The stage: a cluster with gitadel on it.
pub struct Stage {
    pub pair: Pair,
    pub report: Report,
    pub kubectl: Kubectl,
    /// A cluster administrator's.
    pub client: Client,
    pub repository: Repository,
    /// Whom RBAC lets do anything in the namespace of the shop.
    pub alice: Person,
    /// Whom Kubernetes lets do everything, without asking RBAC.
    pub administrator: Person,
    /// Who has stolen the reconciler's token.
    pub thief: Person,
    /// Denials that the demo has seen; the metrics must know at least as many.
    pub denials: u32,
}

/// The story, from the first commit to the last metric.
pub async fn tell(stage: &mut Stage) -> Result<(), StoryError> {
    steps::enforcement::begin(stage).await?;
    let opened = steps::commits::open_the_shop(stage).await?;
    steps::denials::attack(stage, &opened).await?;
    steps::admitted::harmless(stage).await?;
    steps::commits::scale_up(stage).await?;
    let forced = steps::bypass::force_drift(stage).await?;
    steps::commits::roll_back(stage).await?;
    steps::accounts::settle(stage, &forced).await
}

impl Stage {
    /// Runs kubectl as the administrator and prints the command and its answer. It must succeed.
    pub async fn show(&mut self, arguments: &[&str]) -> Result<Answer, StoryError> {
        self.report.command(&Kubectl::line(arguments));
        let answer = self.kubectl.run(&self.administrator.kubeconfig, arguments).await?;
        self.report.output(&answer.text);
        expect(answer.success, || Kubectl::line(arguments), || "success".into(), || answer.text.clone())?;
        Ok(answer)
    }

    /// Waits until gitadel says that the cluster is what this commit declares; returns the time since the push began.
    pub async fn converged(&mut self, pushed: &Pushed) -> Result<Duration, StoryError> {
        let what = format!("the cluster becomes what {} declares", pushed.short());
        self.status(&what, |status| {
            let enforced = status.commit.as_ref().is_some_and(|commit| commit.id == pushed.id);
            enforced && holds(status, ConditionType::Converged)
        })
        .await?;
        Ok(pushed.began.elapsed())
    }

    /// Waits until the status of the Enforcement is as wanted.
    pub async fn status(
        &mut self,
        what: &str,
        wanted: impl Fn(&EnforcementStatus) -> bool,
    ) -> Result<EnforcementStatus, StoryError> {
        let api = Api::<Enforcement>::all(self.client.clone());
        self.eventually(what, async || {
            let status = api.get(ENFORCEMENT).await?.status.unwrap_or_default();
            Ok(if wanted(&status) { ControlFlow::Break(status) } else { ControlFlow::Continue(summary(&status)) })
        })
        .await
    }

    /// Waits until an attempt breaks out with what it found; what it continues with is what was last seen.
    pub async fn eventually<T>(
        &mut self,
        what: &str,
        mut attempt: impl AsyncFnMut() -> Result<ControlFlow<T, String>, kube::Error>,
    ) -> Result<T, StoryError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let last = match attempt().await? {
                ControlFlow::Break(found) => return Ok(found),
                ControlFlow::Continue(last) => last,
            };
            self.pair.check()?;
            if Instant::now() > deadline {
                return Err(StoryError::Timeout { what: what.into(), last });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The demo exists to notice when this fails.
pub fn expect(
    met: bool,
    what: impl FnOnce() -> String,
    expected: impl FnOnce() -> String,
    observed: impl FnOnce() -> String,
) -> Result<(), StoryError> {
    if met {
        return Ok(());
    }
    Err(StoryError::Unexpected { what: what(), expected: expected(), observed: observed() })
}

pub fn holds(status: &EnforcementStatus, condition: ConditionType) -> bool {
    status.conditions.iter().any(|known| known.type_ == condition.as_str() && known.status == "True")
}

/// The status in a line, for whoever waited in vain.
fn summary(status: &EnforcementStatus) -> String {
    let commit = status.commit.as_ref().map_or("no commit yet", |commit| commit.short.as_str());
    let conditions = status
        .conditions
        .iter()
        .map(|known| format!("{}={} ({}: {})", known.type_, known.status, known.reason, known.message));
    [commit.to_owned()].into_iter().chain(conditions).collect::<Vec<_>>().join("; ")
}
