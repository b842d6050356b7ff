//! When mutators changed, as the watch tells.
//!
//! An API server obeys a change some moments after it was made, each of several at another time. What one answers to a
//! dry-run meanwhile may hold what a mutator added that is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longer than an API server takes to obey.
const LAG: Duration = Duration::from_secs(3);

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
    pub async fn obeyed(&self) {
        loop {
            let remaining = self.changes().remaining(Instant::now());
            if remaining.is_zero() {
                return;
            }
            tokio::time::sleep(remaining).await;
        }
    }
}

impl Changes {
    fn remaining(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + LAG).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
