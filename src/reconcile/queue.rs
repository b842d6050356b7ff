//! The queue of objects that must be brought to the desired state.
//!
//! A new commit, a watch event and a failed attempt all come here, so that an object is written by one worker at a
//! time, whoever asked for it. An object that fails is tried again with growing pauses and holds back only itself.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;

use crate::object::ObjectId;

/// What is known of the live object by whoever asks, which spares a read.
#[derive(Clone, Debug, Default)]
pub enum Live {
    #[default]
    Unknown,
    Absent,
    Present(Arc<Value>),
}

/// Why an object is brought to the desired state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A commit declares it anew or otherwise.
    Commit,
    /// The cluster moved away from what Git declares.
    Drift,
    /// It left Git.
    Prune,
    /// It is undeclared, and nothing can be brought about before it is gone.
    Obstacle,
}

#[derive(Debug)]
pub struct Work {
    pub id: ObjectId,
    pub live: Live,
    pub cause: Cause,
    /// When the need for it was seen.
    pub since: std::time::Instant,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Done,
    /// Not yet, and why; tried again.
    Failed(String),
}

struct Request {
    work: Work,
    done: Option<oneshot::Sender<Attempt>>,
}

/// The sending end. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    requests: mpsc::UnboundedSender<Request>,
}

impl Queue {
    /// Asks for an object to be converged, some time soon.
    pub fn push(&self, work: Work) {
        // A closed queue means that the process is stopping: whoever starts next lists the cluster anew.
        let _ = self.requests.send(Request { work, done: None });
    }

    /// Asks for an object to be converged and waits for the first attempt.
    pub async fn attempt(&self, work: Work) -> Attempt {
        let (done, result) = oneshot::channel();
        let _ = self.requests.send(Request { work, done: Some(done) });
        result.await.unwrap_or_else(|_| Attempt::Failed("gitadel is stopping".into()))
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
}

#[derive(Default)]
struct Slot {
    running: bool,
    failures: u32,
    next: Option<Work>,
    /// Who waits for the next attempt, and who for the running one.
    waiting: Vec<oneshot::Sender<Attempt>>,
    served: Vec<oneshot::Sender<Attempt>>,
    retry: Option<tokio_util::time::delay_queue::Key>,
}

impl Slot {
    /// Whether a failed object may wait for its next attempt: nobody waits for it, and all that was heard of it is that
    /// it is still there. An object whose status changes all the time would never get a pause.
    fn is_patient(&self) -> bool {
        let heard = |work: &Work| work.cause == Cause::Drift && matches!(work.live, Live::Present(_));
        self.waiting.is_empty() && self.next.as_ref().is_none_or(heard)
    }
}

/// The receiving end: runs `worker` for at most `limit` objects at a time.
pub struct Dispatcher {
    requests: mpsc::UnboundedReceiver<Request>,
    slots: HashMap<ObjectId, Slot>,
    ready: std::collections::VecDeque<ObjectId>,
    retries: DelayQueue<(ObjectId, Cause)>,
    limit: usize,
}

pub fn queue(limit: usize) -> (Queue, Dispatcher) {
    let (sender, requests) = mpsc::unbounded_channel();
    let dispatcher = Dispatcher {
        requests,
        slots: HashMap::new(),
        ready: std::collections::VecDeque::new(),
        retries: DelayQueue::new(),
        limit,
    };
    (Queue { requests: sender }, dispatcher)
}

impl Dispatcher {
    /// Runs until `stop`, then lets running attempts finish.
    pub async fn run<F, R>(mut self, stop: CancellationToken, worker: F)
    where
        F: Fn(Work) -> R,
        R: Future<Output = Attempt> + Send + 'static,
    {
        let mut running: JoinSet<Attempt> = JoinSet::new();
        let mut tasks: HashMap<tokio::task::Id, (ObjectId, Cause)> = HashMap::new();
        loop {
            while running.len() < self.limit {
                let Some(work) = self.take_ready() else { break };
                let known = (work.id.clone(), work.cause);
                tasks.insert(running.spawn(worker(work)).id(), known);
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(finished) = running.join_next_with_id(), if !running.is_empty() => {
                    let (task, attempt) = match finished {
                        Ok(finished) => finished,
                        Err(error) => (error.id(), Attempt::Failed(format!("gitadel's worker died: {error}"))),
                    };
                    if let Some((id, cause)) = tasks.remove(&task) {
                        self.finish(id, cause, attempt);
                    }
                }
                request = self.requests.recv() => match request {
                    Some(request) => self.accept(request),
                    None => break,
                },
                Some(expired) = futures::StreamExt::next(&mut self.retries), if !self.retries.is_empty() => {
                    let (id, cause) = expired.into_inner();
                    self.retry(id, cause);
                }
            }
        }
        while running.join_next().await.is_some() {}
    }

    fn accept(&mut self, Request { work, done }: Request) {
        let id = work.id.clone();
        let slot = self.slots.entry(id.clone()).or_default();
        slot.waiting.extend(done);
        let is_queued = slot.next.is_some() && slot.retry.is_none();
        let since = slot.next.as_ref().map_or(work.since, |earlier| earlier.since.min(work.since));
        slot.next = Some(Work { since, ..work });
        if slot.retry.is_some() && slot.is_patient() {
            return;
        }
        if let Some(retry) = slot.retry.take() {
            self.retries.remove(&retry);
        }
        if !is_queued && !slot.running {
            self.ready.push_back(id);
        }
    }

    fn take_ready(&mut self) -> Option<Work> {
        while let Some(id) = self.ready.pop_front() {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            if let Some(work) = slot.next.take() {
                slot.running = true;
                slot.served = std::mem::take(&mut slot.waiting);
                return Some(work);
            }
        }
        None
    }

    fn finish(&mut self, id: ObjectId, cause: Cause, attempt: Attempt) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.running = false;
        for served in slot.served.drain(..) {
            let _ = served.send(attempt.clone());
        }
        match attempt {
            Attempt::Done => slot.failures = 0,
            Attempt::Failed(_) => slot.failures = slot.failures.saturating_add(1),
        }
        if slot.failures > 0 && slot.is_patient() {
            let after = pause(slot.failures);
            slot.retry = Some(self.retries.insert((id, cause), after));
        } else if slot.next.is_some() {
            self.ready.push_back(id);
        } else {
            self.slots.remove(&id);
        }
    }

    fn retry(&mut self, id: ObjectId, cause: Cause) {
        if let Some(slot) = self.slots.get_mut(&id) {
            slot.retry = None;
            if slot.next.is_some() {
                // What was seen of it meanwhile.
                self.ready.push_back(id);
                return;
            }
        }
        self.accept(Request {
            work: Work { id, live: Live::Unknown, cause, since: std::time::Instant::now() },
            done: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    fn work(name: &str) -> Work {
        Work {
            id: ObjectId::new("", "ConfigMap", "shop", name),
            live: Live::Unknown,
            cause: Cause::Drift,
            since: Instant::now(),
        }
    }

    #[tokio::test]
    async fn one_object_is_never_worked_on_twice_at_once_and_the_last_request_is_served() {
        let (queue, dispatcher) = queue(8);
        let stop = CancellationToken::new();
        let (running, most, runs) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (running.clone(), most.clone(), runs.clone());
        let task = tokio::spawn(dispatcher.run(stop.clone(), move |_| {
            let (running, most, runs) = counters.clone();
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                runs.fetch_add(1, Ordering::SeqCst);
                Attempt::Done
            }
        }));
        for _ in 0..10 {
            queue.push(work("a"));
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert_eq!(queue.attempt(work("a")).await, Attempt::Done);
        stop.cancel();
        task.await.unwrap();
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert!(runs.load(Ordering::SeqCst) < 10, "requests for one object are merged");
    }

    #[tokio::test]
    async fn a_failing_object_is_tried_again_and_holds_back_only_itself() {
        let (queue, dispatcher) = queue(1);
        let stop = CancellationToken::new();
        let log = Arc::new(Mutex::new(Vec::new()));
        let seen = log.clone();
        let task = tokio::spawn(dispatcher.run(stop.clone(), move |work| {
            let seen = seen.clone();
            async move {
                let mut seen = seen.lock().unwrap();
                seen.push(work.id.name.clone());
                let earlier = seen.iter().filter(|n| **n == work.id.name).count();
                if work.id.name == "broken" && earlier < 3 { Attempt::Failed("no".into()) } else { Attempt::Done }
            }
        }));
        assert_eq!(queue.attempt(work("broken")).await, Attempt::Failed("no".into()));
        assert_eq!(queue.attempt(work("sound")).await, Attempt::Done);
        tokio::time::sleep(Duration::from_millis(400)).await;
        stop.cancel();
        task.await.unwrap();
        let log = log.lock().unwrap();
        assert_eq!(log.iter().filter(|n| *n == "broken").count(), 3, "{log:?}");
    }

    #[tokio::test]
    async fn what_is_heard_of_a_failing_object_does_not_end_its_pause() {
        let (_, mut dispatcher) = queue(1);
        let seen = |version: u32| Work { live: Live::Present(Arc::new(version.into())), ..work("a") };
        let heard = |dispatcher: &mut Dispatcher, work| dispatcher.accept(Request { work, done: None });
        let id = work("a").id;
        let fail = |dispatcher: &mut Dispatcher| {
            assert!(dispatcher.take_ready().is_some(), "it is worked on");
            heard(dispatcher, seen(1));
            dispatcher.finish(id.clone(), Cause::Drift, Attempt::Failed("no".into()));
            heard(dispatcher, seen(2));
            assert!(dispatcher.take_ready().is_none(), "it has to wait");
        };
        heard(&mut dispatcher, seen(0));
        fail(&mut dispatcher);
        dispatcher.retries.clear();
        dispatcher.retry(id.clone(), Cause::Drift);
        let next = dispatcher.take_ready().unwrap();
        assert!(matches!(next.live, Live::Present(value) if *value == 2), "the last that was seen");
        heard(&mut dispatcher, seen(3));
        dispatcher.finish(id.clone(), Cause::Drift, Attempt::Failed("no".into()));

        // It is gone, or somebody waits for it: that is tried at once, and only once.
        heard(&mut dispatcher, Work { live: Live::Absent, ..work("a") });
        fail(&mut dispatcher);
        let (done, _waits) = oneshot::channel();
        dispatcher.accept(Request { work: seen(4), done: Some(done) });
        heard(&mut dispatcher, seen(5));
        assert!(dispatcher.take_ready().is_some());
        assert!(dispatcher.take_ready().is_none());
        dispatcher.finish(id, Cause::Drift, Attempt::Done);
        assert!(dispatcher.slots.is_empty() && dispatcher.retries.is_empty());
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        assert_eq!(pause(1), Duration::from_millis(50));
        assert_eq!(pause(3), Duration::from_millis(200));
        assert_eq!(pause(60), LONGEST_PAUSE);
    }
}
