//! Waiting for the other replicas.
//!
//! A write of the leader may be sent to the webhook of any replica, and one that does not know the new commit rejects
//! it, as it should. So the leader writes a batch of objects when the ready replicas serve that batch. The wait is
//! bounded, and safety never depends on it: what is announced can be forged, and what is rejected is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::desired::Stage;
use super::replicas::{Replicas, Serving};

/// Longer than another replica needs to hear of a commit, fetch it and canonicalise a batch.
const LIMIT: Duration = Duration::from_secs(5);

/// How far a round is. Two replicas that look at the same commits take the same steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Step {
    stage: usize,
    /// Batches of the stage that are published.
    batches: usize,
}

impl Step {
    /// Everything is published, and what left Git is released.
    pub const FINISHED: Self = Self { stage: Stage::ALL.len(), batches: 0 };

    /// A batch of a stage is published; both count from zero.
    pub fn after(stage: usize, batch: usize) -> Self {
        Self { stage, batches: batch + 1 }
    }
}

/// What a replica's snapshot holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Enforcement → full id of its commit.
    pub commits: BTreeMap<String, String>,
    #[serde(default)]
    pub step: Step,
    /// Enforcements whose world is closed: what is undeclared is rejected.
    #[serde(default)]
    pub closed: BTreeSet<String>,
}

impl Progress {
    /// Whether a replica that is here has all that `wanted` asks for.
    fn covers(&self, wanted: &Self) -> bool {
        wanted.commits.iter().all(|(name, commit)| self.commits.get(name) == Some(commit))
            && self.step >= wanted.step
            && self.closed.is_superset(&wanted.closed)
    }

    /// The farther of two states of one replica. A round that is repeated takes nothing back.
    #[must_use]
    pub fn and_then(self, next: Self) -> Self {
        let step = if self.commits == next.commits { self.step.max(next.step) } else { next.step };
        Self { step, ..next }
    }
}

/// The replicas but this one.
pub struct Peers {
    own_name: String,
    replicas: watch::Receiver<Replicas>,
    /// Replicas that were waited for in vain, and what they said. They are waited for again when they say something
    /// else: the last word of a dead one stands for a minute.
    given_up: Mutex<BTreeMap<String, Serving>>,
}

impl Peers {
    pub fn new(own_name: &str, replicas: watch::Receiver<Replicas>) -> Self {
        Self { own_name: own_name.to_owned(), replicas, given_up: Mutex::default() }
    }

    /// Whether another replica answers the API server.
    pub fn any_serves(&self) -> bool {
        self.replicas.borrow().iter().any(|(name, replica)| *name != self.own_name && replica.serving.is_some())
    }

    /// Waits until every ready replica serves what is wanted, a few seconds at most.
    pub async fn wait(&self, wanted: &Progress) {
        self.wait_for(wanted, LIMIT).await;
    }

    async fn wait_for(&self, wanted: &Progress, limit: Duration) {
        let mut replicas = self.replicas.clone();
        let waited = replicas.wait_for(|replicas| self.lagging(replicas, wanted).is_empty());
        if matches!(tokio::time::timeout(limit, waited).await, Ok(Ok(_))) {
            return;
        }
        let lagging = self.lagging(&self.replicas.borrow(), wanted);
        let names: Vec<&str> = lagging.keys().map(String::as_str).collect();
        tracing::warn!(replicas = ?names, "do not serve the new commit in time; what they reject is tried again");
        self.given_up().extend(lagging);
    }

    /// A replica that serves nothing at all is not ready, gets no reviews, and holds nobody up.
    fn lagging(&self, replicas: &Replicas, wanted: &Progress) -> BTreeMap<String, Serving> {
        let given_up = self.given_up();
        replicas
            .iter()
            .filter(|(name, _)| **name != self.own_name)
            .filter_map(|(name, replica)| Some((name, replica.serving.as_ref()?)))
            .filter(|(name, serving)| !serving.progress.covers(wanted) && given_up.get(*name) != Some(*serving))
            .map(|(name, serving)| (name.clone(), serving.clone()))
            .collect()
    }

    fn given_up(&self) -> MutexGuard<'_, BTreeMap<String, Serving>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::replicas::Announcement;
    use super::*;

    fn progress(commit: &str, step: Step) -> Progress {
        Progress { commits: [("all".to_owned(), commit.to_owned())].into(), step, closed: BTreeSet::new() }
    }

    fn closed(progress: Progress) -> Progress {
        Progress { closed: ["all".to_owned()].into(), ..progress }
    }

    fn replicas(all: &[(&str, Option<Progress>)]) -> Replicas {
        all.iter()
            .map(|(name, progress)| {
                let serving = progress.clone().map(|progress| Serving { generation: 1, progress });
                ((*name).to_owned(), Announcement { authorities: String::new(), serving })
            })
            .collect()
    }

    #[test]
    fn steps_are_in_the_order_of_a_round() {
        let steps = [Step::default(), Step::after(0, 0), Step::after(0, 1), Step::after(2, 0), Step::FINISHED];
        assert!(steps.is_sorted());
        let before = progress("1", Step::FINISHED);
        assert_eq!(before.clone().and_then(progress("1", Step::default())).step, Step::FINISHED, "repeated");
        assert_eq!(before.and_then(progress("2", Step::default())).step, Step::default(), "a new commit");
    }

    #[test]
    fn who_lags_behind() {
        let all = replicas(&[
            ("own", Some(progress("old", Step::default()))),
            ("current", Some(closed(progress("new", Step::FINISHED)))),
            ("slow", Some(closed(progress("new", Step::after(0, 0))))),
            ("behind", Some(closed(progress("old", Step::FINISHED)))),
            ("not-ready", None),
        ]);
        let peers = Peers::new("own", watch::channel(all.clone()).1);
        let lagging = |wanted: &Progress| peers.lagging(&all, wanted).into_keys().collect::<Vec<_>>();
        assert_eq!(lagging(&progress("new", Step::after(0, 0))), ["behind"]);
        assert_eq!(lagging(&progress("new", Step::after(2, 0))), ["behind", "slow"]);
        assert_eq!(lagging(&closed(Progress::default())), Vec::<String>::new());
        assert_eq!(lagging(&Progress { closed: ["b".to_owned()].into(), ..Progress::default() }).len(), 3);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_last_replica() {
        let (sender, receiver) = watch::channel(replicas(&[("x", Some(progress("old", Step::FINISHED)))]));
        let peers = Peers::new("own", receiver);
        let wanted = progress("new", Step::FINISHED);
        let waiting = peers.wait_for(&wanted, Duration::from_secs(600));
        let answer = async {
            tokio::task::yield_now().await;
            sender.send(replicas(&[("x", Some(progress("new", Step::FINISHED)))])).unwrap();
        };
        tokio::join!(waiting, answer);
        assert!(peers.given_up().is_empty());
    }

    #[tokio::test]
    async fn a_replica_that_says_nothing_new_is_waited_for_once() {
        let (sender, receiver) = watch::channel(replicas(&[("dead", Some(progress("old", Step::FINISHED)))]));
        let peers = Peers::new("own", receiver);
        peers.wait_for(&progress("new", Step::FINISHED), Duration::from_millis(1)).await;
        let newer = progress("newer", Step::FINISHED);
        assert!(peers.lagging(&sender.borrow(), &newer).is_empty());
        let alive = replicas(&[("dead", Some(progress("new", Step::FINISHED)))]);
        assert_eq!(peers.lagging(&alive, &newer).len(), 1);
    }
}
