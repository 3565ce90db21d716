//! Changes of single objects that the kernel refuses, until that very object is as it must be.

use super::diff::{Change, Object, RouteKey};
use super::protocols::LEARNED;
use crate::failure::Failure;
use daemon::logs::{Allowance, End};
use ipnetwork::IpNetwork;
use net::route::Route;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::time::Instant;
use tracing::warn;

/// Lines in a minute about changes for BGP: peers cause them.
const LINES: u32 = 200;
/// Other programs' routes in the place of ours that are remembered at most.
const REMEMBERED: usize = 4096;

/// An object, and whether it must be removed. That one route was removed says nothing about another
/// that could not be made beside it, nor about the same one with other hops.
pub type Aim = (Object, bool);

/// What the kernel refuses.
#[derive(Debug)]
pub struct Failures {
    of: BTreeMap<Aim, Failure>,
    /// When each is tried again, the next first.
    times: BTreeSet<(Instant, Aim)>,
    /// Where other programs' routes had the place of ours, until they are gone: also while ours is
    /// not wanted, so that a peer that announces and withdraws it costs no full pass each time.
    others: BTreeSet<Place>,
    /// Lines about changes for BGP.
    lines: Allowance,
    /// Refusals since the start.
    errors: u64,
}

impl Default for Failures {
    fn default() -> Failures {
        let (of, times, others, errors) = Default::default();
        Failures { of, times, others, lines: Allowance::new(LINES), errors }
    }
}

impl Deref for Failures {
    type Target = BTreeMap<Aim, Failure>;

    fn deref(&self) -> &BTreeMap<Aim, Failure> {
        &self.of
    }
}

impl Failures {
    /// Forgets one.
    pub fn remove(&mut self, aim: &Aim) {
        if let Some(failure) = self.of.remove(aim) {
            self.times.remove(&(failure.again, *aim));
        }
    }

    fn insert(&mut self, aim: Aim, failure: Failure) {
        self.remove(&aim);
        self.times.insert((failure.again, aim));
        self.of.insert(aim, failure);
    }

    /// Keeps only these.
    pub fn keep(&mut self, mut kept: impl FnMut(&Aim) -> bool) {
        self.of.retain(|aim, _| kept(aim));
        self.times.retain(|(_, aim)| self.of.contains_key(aim));
    }

    /// After a full pass none is due, not even what the pass did not reach: each turn of the loop
    /// would be a full pass.
    pub fn postpone(&mut self) {
        self.of.values_mut().for_each(Failure::postpone);
        self.times = self.of.iter().map(|(aim, failure)| (failure.again, *aim)).collect();
    }

    /// When the next one is tried again.
    pub fn next_try(&self) -> Option<Instant> {
        self.times.first().map(|(again, _)| *again)
    }

    /// The changes to retry now, one by one; `None` if that takes a full pass. A peer
    /// can make routes fail as often as it likes, and a full pass walks through all routes.
    pub fn due(&self, wanted: impl Fn(IpNetwork) -> Option<Route>) -> Option<Vec<Change>> {
        let now = Instant::now();
        let due = self.times.iter().take_while(|(again, _)| *again <= now);
        due.map(|(_, aim)| self.once_more(aim, &wanted)).collect()
    }

    fn once_more(&self, aim: &Aim, wanted: impl Fn(IpNetwork) -> Option<Route>) -> Option<Change> {
        let (Object::Route(key), false) = *aim else { return None };
        let alone = key.protocol == LEARNED || self.of.get(aim)?.conflict;
        let wanted = wanted(key.dst).filter(|wanted| alone && RouteKey::of(wanted) == key);
        wanted.map(Change::Create)
    }

    /// Forgets what a change that the kernel accepted solves. What exists need not be removed any
    /// more.
    pub fn carried_out(&mut self, change: &Change) {
        let (object, deletes) = aim(change);
        self.remove(&(object, true));
        if !deletes {
            self.remove(&(object, false));
            if let Object::Route(key) = object {
                self.others.remove(&place(&key));
            }
        }
    }

    /// What fails of the routes to a destination; what cannot be made before what cannot be removed.
    pub fn to(&self, dst: IpNetwork) -> Option<&Failure> {
        let first = (Object::Route(RouteKey::before(dst)), false);
        let to = |aim: &Aim| matches!(aim.0, Object::Route(key) if key.dst == dst);
        let found = self.of.range(first..).take_while(|(aim, _)| to(aim));
        found.min_by_key(|((_, deletes), _)| *deletes).map(|(_, failure)| failure)
    }

    /// Whether another program's route has the place of ours, and that is not known yet.
    pub fn is_new_conflict(&self, change: &Change, error: &net::Error) -> bool {
        let Object::Route(key) = change.object() else { return false };
        let before = self.of.get(&aim(change));
        let known = before.is_some_and(|before| before.conflict);
        is_conflict(change, error) && !known && !self.others.contains(&place(&key))
    }

    /// Another program's route had the place of ours, and is gone.
    pub fn other_is_gone(&mut self, route: &Route) {
        self.others.remove(&place(&RouteKey::of(route)));
    }

    /// Notes a change that the kernel refused; whether that is new, which is logged if `log`.
    pub fn refused(&mut self, change: &Change, error: &net::Error, log: bool) -> bool {
        let aim = aim(change);
        let conflict = is_conflict(change, error);
        let before = self.of.get(&aim);
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
        self.errors += 1;
        let failure = Failure::after(before, text, conflict);
        self.insert(aim, failure);
        new
    }

    /// Whether one more line about changes for BGP may be logged, and how it ends.
    pub fn line(&mut self) -> Option<End> {
        self.lines.line()
    }

    /// Refusals since the start.
    pub fn errors(&self) -> u64 {
        self.errors
    }
}

/// Whether two routes cannot be in the kernel at the same time, whatever programs made them.
pub fn same_place(one: &Route, other: &Route) -> bool {
    place(&RouteKey::of(one)) == place(&RouteKey::of(other))
}

/// What a change wants.
pub fn aim(change: &Change) -> Aim {
    (change.object(), change.deletes())
}

/// Where a route is in the kernel: only one of them can be there, whosever it is.
pub type Place = (IpNetwork, u32, u32);

fn place(key: &RouteKey) -> Place {
    (key.dst, key.table, key.priority)
}

fn is_conflict(change: &Change, error: &net::Error) -> bool {
    matches!(change, Change::Create(_)) && error.is_exists()
}
