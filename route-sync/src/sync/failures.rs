//! What fails is noted, and tried again after a pause that grows.

use super::{Sync, now};
use crate::diff::{Change, Object, RouteKey};
use ipnetwork::IpNetwork;
use nix::errno::Errno;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// The first pause after a failure; each one is twice as long as the one before, up to
/// [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Something that the kernel refused.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) error: String,
    /// Another's route has the place.
    pub(super) conflict: bool,
    pub(super) since: u64,
    pause: Duration,
    again: Instant,
}

impl Failure {
    /// A failure after an earlier one of the same object, if there was one. What events ask for
    /// meanwhile is no reason to wait longer.
    fn after(before: Option<&Failure>, error: String, conflict: bool) -> Failure {
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

    /// Once its time has come, after a longer pause again.
    fn postpone(&mut self) {
        let now = Instant::now();
        if self.again <= now {
            self.pause = (self.pause * 2).min(LONGEST);
            self.again = now + self.pause;
        }
    }
}

/// An object, and whether it must go. That one route is removed says nothing of another that could
/// not be made beside it, nor of the same one with other hops.
pub(super) type Aim = (Object, bool);

/// What a change wants.
pub(super) fn aim(change: &Change) -> Aim {
    (change.object(), change.deletes())
}

fn is_conflict(change: &Change, error: &net::Error) -> bool {
    matches!(change, Change::Create(_)) && error.is_exists()
}

impl Sync {
    /// When something that failed is tried again.
    pub fn next_try(&self) -> Option<Instant> {
        let failures = self.failures.values().chain(self.troubles.values());
        failures.map(|failure| failure.again).min()
    }

    /// After a pass nothing is due, not even what the pass did not come to: each turn of the loop
    /// would be a pass.
    pub(super) fn postpone(&mut self) {
        self.failures.values_mut().chain(self.troubles.values_mut()).for_each(Failure::postpone);
    }

    /// Forgets what a change that the kernel took solves. What is there need not go any more.
    pub(super) fn carried_out(&mut self, change: &Change) {
        let (object, deletes) = aim(change);
        self.failures.remove(&(object, true));
        if !deletes {
            self.failures.remove(&(object, false));
        }
    }

    /// What fails of the routes to a destination; what cannot be made before what cannot be removed.
    pub(super) fn failure_to(&self, dst: IpNetwork) -> Option<&Failure> {
        let first = (Object::Route(RouteKey::before(dst)), false);
        let to = |aim: &Aim| matches!(aim.0, Object::Route(key) if key.dst == dst);
        let found = self.failures.range(first..).take_while(|(aim, _)| to(aim));
        found.min_by_key(|((_, deletes), _)| *deletes).map(|(_, failure)| failure)
    }

    /// Whether something has the place of what is not known to be another's yet.
    pub(super) fn is_new_conflict(&self, change: &Change, error: &net::Error) -> bool {
        let before = self.failures.get(&aim(change));
        is_conflict(change, error) && before.is_none_or(|before| !before.conflict)
    }

    /// Notes a change that the kernel refused; gives whether that is new, which is logged if `log`.
    pub(super) fn refused(&mut self, change: &Change, error: &net::Error, log: bool) -> bool {
        let aim = aim(change);
        let conflict = is_conflict(change, error);
        let before = self.failures.get(&aim);
        let text = if conflict {
            "another's route has this destination and metric, and is left alone; delete it, or \
             give it another metric"
                .to_owned()
        } else {
            format!("{}: {}", error.what, error.cause())
        };
        let new = before.is_none_or(|before| before.error != text);
        if new && log {
            warn!("{change}: {text}");
        }
        if error.errno == Errno::ENODEV as i32 {
            self.pending = Some("a device is gone");
        }
        self.figures.errors += 1;
        let failure = Failure::after(before, text, conflict);
        self.failures.insert(aim, failure);
        new
    }

    /// Notes what fails as a whole.
    pub(super) fn trouble(&mut self, what: &str, error: &impl std::fmt::Display) {
        let text = error.to_string();
        let before = self.troubles.get(what);
        if before.is_none_or(|before| before.error != text) {
            warn!("{what}: {text}");
        }
        let failure = Failure::after(before, text, false);
        self.figures.errors += 1;
        self.troubles.insert(what.to_owned(), failure);
    }

    pub(super) fn well(&mut self, what: &str) {
        if self.troubles.remove(what).is_some() {
            info!("{what}: well again");
        }
    }
}
