//! Something that failed, and is tried again after a pause that grows.

use crate::clock::now;
use std::time::{Duration, Instant};

/// The first pause after a failure. Each pause is twice as long as the one before, up to
/// [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Something that the kernel refused.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why, in words.
    pub error: String,
    /// Another program's route has the place.
    pub conflict: bool,
    /// Since when, seconds since 1970.
    pub since: u64,
    /// When it is tried again.
    pub again: Instant,
    pause: Duration,
}

impl Failure {
    /// A failure after an earlier one of the same object, if there was one. Attempts that events
    /// cause meanwhile do not make the pause longer.
    pub fn after(before: Option<&Failure>, error: String, conflict: bool) -> Failure {
        let again = Instant::now() + PAUSE;
        let since = before.map_or_else(now, |before| before.since);
        match before.filter(|before| before.error == error) {
            None => Failure { error, conflict, since, pause: PAUSE, again },
            Some(before) => {
                let mut failure = before.clone();
                failure.postpone();
                failure
            }
        }
    }

    /// If it is due, it is tried again after a longer pause.
    pub fn postpone(&mut self) {
        let now = Instant::now();
        if self.again <= now {
            self.pause = (self.pause * 2).min(LONGEST);
            self.again = now + self.pause;
        }
    }
}
