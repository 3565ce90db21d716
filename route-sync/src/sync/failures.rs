//! What fails is noted, and tried again after a pause that grows.

use super::{Sync, now};
use crate::routes::diff::{Change, Object, RouteKey};
use crate::routes::protocols::{LEARNED, is_ours};
use ipnetwork::IpNetwork;
use net::route;
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
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

/// What the kernel refuses, and when each is tried again, the next first.
#[derive(Debug, Default)]
pub(super) struct Failures {
    of: BTreeMap<Aim, Failure>,
    times: BTreeSet<(Instant, Aim)>,
}

impl Deref for Failures {
    type Target = BTreeMap<Aim, Failure>;

    fn deref(&self) -> &BTreeMap<Aim, Failure> {
        &self.of
    }
}

impl Failures {
    pub(super) fn remove(&mut self, aim: &Aim) {
        if let Some(failure) = self.of.remove(aim) {
            self.times.remove(&(failure.again, *aim));
        }
    }

    fn insert(&mut self, aim: Aim, failure: Failure) {
        self.remove(&aim);
        self.times.insert((failure.again, aim));
        self.of.insert(aim, failure);
    }

    /// Keeps some alone.
    pub(super) fn keep(&mut self, mut kept: impl FnMut(&Aim) -> bool) {
        self.of.retain(|aim, _| kept(aim));
        self.times.retain(|(_, aim)| self.of.contains_key(aim));
    }

    fn postpone(&mut self) {
        self.of.values_mut().for_each(Failure::postpone);
        self.times = self.of.iter().map(|(aim, failure)| (failure.again, *aim)).collect();
    }

    fn next(&self) -> Option<Instant> {
        self.times.first().map(|(again, _)| *again)
    }

    fn due(&self) -> Vec<Aim> {
        let now = Instant::now();
        self.times.iter().take_while(|(again, _)| *again <= now).map(|(_, aim)| *aim).collect()
    }
}

/// Others' routes at places of ours that are remembered.
const REMEMBERED: usize = 4096;

/// What a change wants.
pub(super) fn aim(change: &Change) -> Aim {
    (change.object(), change.deletes())
}

/// Where a route is in the kernel: only one of them can be there, whosever it is.
pub(super) type Place = (IpNetwork, u32, u32);

fn place(key: &RouteKey) -> Place {
    (key.dst, key.table, key.priority)
}

fn is_conflict(change: &Change, error: &net::Error) -> bool {
    matches!(change, Change::Create(_)) && error.is_exists()
}

impl Sync {
    /// When something that failed is tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.failures.next().into_iter().chain(self.next_trouble()).min()
    }

    fn next_trouble(&self) -> Option<Instant> {
        self.troubles.values().map(|failure| failure.again).min()
    }

    /// What is due to be tried again, each by itself; `None` where only a full pass can. A peer
    /// can make routes fail as often as it likes: a pass for each would be work through all.
    pub(super) fn due(&self) -> Option<Vec<Change>> {
        if self.next_trouble().is_some_and(|again| again <= Instant::now()) {
            return None;
        }
        self.failures.due().iter().map(|aim| self.once_more(aim)).collect()
    }

    fn once_more(&self, aim: &Aim) -> Option<Change> {
        let (Object::Route(key), false) = *aim else { return None };
        let alone = key.protocol == LEARNED || self.failures.get(aim)?.conflict;
        let wanted = self.wanted(key.dst).filter(|wanted| alone && RouteKey::of(wanted) == key);
        wanted.map(Change::Create)
    }

    /// After a pass nothing is due, not even what the pass did not come to: each turn of the loop
    /// would be a pass.
    pub(super) fn postpone(&mut self) {
        self.failures.postpone();
        self.troubles.values_mut().for_each(Failure::postpone);
    }

    /// Forgets what a change that the kernel took solves. What is there need not go any more.
    pub(super) fn carried_out(&mut self, change: &Change) {
        let (object, deletes) = aim(change);
        self.failures.remove(&(object, true));
        if !deletes {
            self.failures.remove(&(object, false));
            if let Object::Route(key) = object {
                self.others.remove(&place(&key));
            }
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
        let Object::Route(key) = change.object() else { return false };
        let before = self.failures.get(&aim(change));
        let known = before.is_some_and(|before| before.conflict);
        is_conflict(change, error) && !known && !self.others.contains(&place(&key))
    }

    /// Whether the kernel shows another's route in the place of one that is to be made. Where it
    /// does not, that says nothing: packets may find a longer prefix, or the route be a blackhole.
    pub(super) fn is_others(&mut self, change: &Change) -> bool {
        let Change::Create(wanted) = change else { return false };
        let found = self.socket.get(&route::toward(wanted.dst.network()));
        let same =
            |found: &route::Route| place(&RouteKey::of(found)) == place(&RouteKey::of(wanted));
        matches!(found, Ok(Some(found)) if same(&found) && !is_ours(found.protocol))
    }

    /// Another's route was in the way, and is so no more.
    pub(super) fn gone_from(&mut self, route: &route::Route) {
        self.others.remove(&place(&RouteKey::of(route)));
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
        if new
            && log
            && let Some(end) = self.lines.line()
        {
            warn!("{change}: {text}{end}");
        }
        if let (Object::Route(key), true) = (aim.0, conflict) {
            if self.others.len() >= REMEMBERED {
                self.others.clear();
            }
            self.others.insert(place(&key));
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
