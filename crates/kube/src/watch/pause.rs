//! Pauses between attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses that grow up to a limit, each shortened by up to a half at random, so that all nodes of a
/// cluster do not ask at the same time.
#[derive(Debug)]
pub(super) struct Pause {
    first: Duration,
    longest: Duration,
    count: u32,
}

impl Pause {
    pub(super) fn new(first: Duration, longest: Duration) -> Pause {
        Pause { first, longest, count: 0 }
    }

    /// The next pause.
    pub(super) fn take(&mut self) -> Duration {
        let factor = 1 << self.count.min(16);
        self.count = self.count.saturating_add(1);
        let whole = (self.first * factor).min(self.longest);
        whole.mul_f64(1.0 - random() / 2.0)
    }

    /// How many were taken in a row.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Something succeeded.
    pub(super) fn reset(&mut self) {
        self.count = 0;
    }
}

/// At least 0, less than 1.
pub(super) fn random() -> f64 {
    // Each RandomState has other keys.
    let bits = RandomState::new().hash_one(0) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_differ() {
        let (first, longest) = (Duration::from_millis(500), Duration::from_secs(16));
        let mut pause = Pause::new(first, longest);
        let taken: Vec<Duration> = (0..100).map(|_| pause.take()).collect();
        let whole = (0..100).map(|at| (first * (1 << at.min(16))).min(longest));
        for (taken, whole) in taken.iter().zip(whole) {
            assert!(*taken > whole.mul_f64(0.499) && *taken <= whole, "{taken:?} of {whole:?}");
        }
        assert!(taken[10..].iter().any(|it| *it != taken[99]));
        assert_eq!(pause.count(), 100);
        pause.reset();
        assert!(pause.take() <= first);
    }
}
