//! When mutators changed, as the watch tells.
//!
//! An API server obeys a change some moments after it was made, each of several at another time. What one answers to a
//! dry-run meanwhile may hold what a mutator added that is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longer than an API server takes to obey.
const LAG: Duration = Duration::from_secs(3);

/// Who waits longer than this says so, and tries again.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error(
    "mutating webhooks or policies come and go all the time: no commit can be brought about meanwhile. Find out who makes them, \
     and take away the permission"
)]
pub struct Restless;

#[derive(Default)]
pub struct MutatorChanges(Mutex<Changes>);

#[derive(Default)]
struct Changes {
    count: u64,
    last: Option<Instant>,
}

impl MutatorChanges {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One came, went or changed.
    pub fn note(&self) {
        let mut changes = self.changes();
        (changes.count, changes.last) = (changes.count + 1, Some(Instant::now()));
    }

    /// Tells whether there was a change between two moments, also one that was taken back.
    pub fn count(&self) -> u64 {
        self.changes().count
    }

    /// Waits until the API servers obey.
    ///
    /// # Errors
    /// There was no end of changes.
    pub async fn obeyed(&self) -> Result<(), Restless> {
        let began = Instant::now();
        loop {
            let remaining = self.changes().to_wait_for(began, Instant::now())?;
            if remaining.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(remaining).await;
        }
    }
}

impl Changes {
    fn to_wait_for(&self, began: Instant, now: Instant) -> Result<Duration, Restless> {
        let remaining = self.remaining(now);
        if !remaining.is_zero() && now.saturating_duration_since(began) >= PATIENCE {
            return Err(Restless);
        }
        Ok(remaining)
    }

    fn remaining(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + LAG).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_changes_something_all_the_time_is_not_waited_for() {
        let began = Instant::now();
        let now = began + PATIENCE;
        let last = |last| Changes { count: 1, last: Some(last) };
        assert!(last(now).to_wait_for(began, now).is_err());
        assert!(matches!(last(now).to_wait_for(now, now), Ok(LAG)), "it has only begun to wait");
        assert!(last(began).to_wait_for(began, now).is_ok_and(|remaining| remaining.is_zero()));
    }

    #[test]
    fn each_change_is_waited_for() {
        let changes = MutatorChanges::default();
        let now = Instant::now();
        assert_eq!(changes.changes().remaining(now), Duration::ZERO, "there was none");
        changes.note();
        let first = changes.changes().last.unwrap();
        assert_eq!(changes.changes().remaining(first + LAG / 3), LAG - LAG / 3);
        assert_eq!(changes.changes().remaining(first + LAG), Duration::ZERO);
        changes.note();
        assert_eq!(changes.count(), 2);
        assert!(changes.changes().last >= Some(first));
    }
}
