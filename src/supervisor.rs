//! The tasks of a process: named, started in one place, and none of them missed.
//!
//! A task that panics takes nothing with it but itself, and Tokio tells nobody who does not ask. A reconciler whose guard
//! of the webhook configuration is gone would look healthy and be none. So a task that ends before it was asked to is
//! the end of the process: what restarts processes makes it whole again.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A task that ended unasked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{task} {how}; the process ends to be started anew")]
pub struct TaskEnded {
    task: &'static str,
    how: HowEnded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum HowEnded {
    #[error("panicked: the log says why")]
    Panicked,
    #[error("ended although nobody asked it to")]
    Returned,
}

/// Starts tasks and notices their end. Clones watch over the same tasks.
#[derive(Clone, Debug)]
pub struct Supervisor {
    tasks: TaskTracker,
    stop: CancellationToken,
    ended: watch::Sender<Option<TaskEnded>>,
}

impl Supervisor {
    pub fn new() -> Self {
        Self { tasks: TaskTracker::new(), stop: CancellationToken::new(), ended: watch::Sender::new(None) }
    }

    /// Cancelled when the process is to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts a task that runs until [`Self::stop`] and finishes what it has begun. The handle is for who must know when.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.spawn_until(name, self.stop.clone(), task)
    }

    /// Starts a task that may end when `stop` is cancelled, or the whole process stops.
    pub fn spawn_until(
        &self,
        name: &'static str,
        stop: CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        let (process, ended) = (self.stop.clone(), self.ended.clone());
        self.tasks.spawn(async move {
            // The state that a panic leaves behind is looked at by nobody: the process ends.
            let how = match AssertUnwindSafe(task).catch_unwind().await {
                Err(_) => HowEnded::Panicked,
                Ok(()) if stop.is_cancelled() || process.is_cancelled() => return,
                Ok(()) => HowEnded::Returned,
            };
            ended.send_modify(|first| {
                first.get_or_insert(TaskEnded { task: name, how });
            });
        })
    }

    /// Starts a task that has nothing to finish: it is dropped where it stands when the process stops.
    pub fn spawn_cut_short(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_cut_short_by(name, self.stop.child_token(), task);
    }

    /// As [`Self::spawn_cut_short`], but `stop`, a child of [`Self::stop`], may end it before.
    pub fn spawn_cut_short_by(
        &self,
        name: &'static str,
        stop: CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let cut = stop.clone();
        self.spawn_until(name, stop, async move {
            cut.run_until_cancelled_owned(task).await;
        });
    }

    /// Waits for the first task that ends unasked.
    pub async fn ended(&self) -> TaskEnded {
        let mut ended = self.ended.subscribe();
        loop {
            if let Some(ended) = ended.borrow_and_update().clone() {
                return ended;
            }
            // The sender is this supervisor's: it is never gone.
            let _ = ended.changed().await;
        }
    }

    /// Asks all tasks to stop and waits until they have, for at most `limit`.
    pub async fn shut_down(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some tasks still ran after {} s and are cut", limit.as_secs());
        }
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_panic_is_noticed() {
        let supervisor = Supervisor::new();
        supervisor.spawn("the idle one", supervisor.stop().clone().cancelled_owned());
        supervisor.spawn("the guard", async { panic!("as tests may") });
        assert_eq!(supervisor.ended().await, TaskEnded { task: "the guard", how: HowEnded::Panicked });
    }

    #[tokio::test]
    async fn a_task_may_end_when_it_is_asked_to_and_not_before() {
        let supervisor = Supervisor::new();
        let own = CancellationToken::new();
        supervisor.spawn_until("a source", own.clone(), own.clone().cancelled_owned());
        own.cancel();
        supervisor.spawn("the lease", supervisor.stop().clone().cancelled_owned());
        supervisor.shut_down(LIMIT).await;
        assert_eq!(supervisor.tasks.len(), 0);
        assert_eq!(supervisor.ended().now_or_never(), None);

        let supervisor = Supervisor::new();
        supervisor.spawn("the lease", async {});
        assert_eq!(supervisor.ended().await, TaskEnded { task: "the lease", how: HowEnded::Returned });
    }

    #[tokio::test]
    async fn the_first_one_is_told() {
        let supervisor = Supervisor::new();
        let first = supervisor.spawn("the first", async {});
        first.await.unwrap();
        supervisor.spawn("the second", async { panic!("as tests may") });
        supervisor.shut_down(LIMIT).await;
        assert_eq!(supervisor.ended().await.task, "the first");
    }

    #[tokio::test]
    async fn a_task_that_does_not_stop_is_not_waited_for_without_end() {
        let supervisor = Supervisor::new();
        supervisor.spawn("the deaf one", std::future::pending());
        supervisor.shut_down(Duration::ZERO).await;
        assert_eq!(supervisor.tasks.len(), 1);
    }

    #[tokio::test]
    async fn a_task_without_an_end_of_its_own_is_cut_short() {
        let supervisor = Supervisor::new();
        supervisor.spawn_cut_short("the listener", std::future::pending());
        let own = CancellationToken::new();
        supervisor.spawn_cut_short_by("a watch", own.clone(), std::future::pending());
        own.cancel();
        supervisor.shut_down(LIMIT).await;
        assert_eq!(supervisor.tasks.len(), 0);
        assert_eq!(supervisor.ended().now_or_never(), None);
    }
}
