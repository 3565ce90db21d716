//! The state of each pod CIDR, and since when.

use super::desired::{PathTo, RouteTo};
use super::diff::{Change, Object};
use super::failures::{Aim, Failures};
use crate::clock::now;
use crate::report::{Path, Problem, State};
use crate::view::View;
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, HashMap, HashSet};
use tracing::warn;

/// Refused CIDRs of one pass that are logged one by one; of more only their number.
const LOGGED: usize = 20;

/// Path and state of a CIDR.
type Condition = (Path, State);

/// A CIDR; of one that is refused also whose, since another node may have it.
pub type Place = (IpNetwork, Option<Box<str>>);

fn place(path: &PathTo) -> Place {
    (path.cidr, path.refused.as_ref().map(|_| path.node.as_str().into()))
}

/// The place of a CIDR, if packets get there at all.
pub fn place_of(view: &View, cidr: IpNetwork) -> Option<Place> {
    view.desired.path_to(cidr).map(|path| place(&path))
}

/// The state of a path, and why it is not synced.
pub fn state(view: &View, failures: &Failures, path: &PathTo) -> (State, Option<String>) {
    if let Some(reason) = &path.refused {
        let state = if path.conflict { State::Conflict } else { State::Refused };
        return (state, Some(reason.clone()));
    }
    if let Some(failure) = failures.to(path.cidr) {
        let state = if failure.conflict { State::Conflict } else { State::Failing };
        return (state, Some(failure.error.clone()));
    }
    if path.path == Path::Vxlan && view.device.is_none() {
        return (State::Failing, Some("the tunnel's device cannot be made".to_owned()));
    }
    let failure = |object| failures.get(&(object, false));
    match below(view, path).into_iter().flatten().find_map(failure) {
        Some(failure) => (State::Failing, Some(failure.error.clone())),
        None => (State::Synced, None),
    }
}

/// What a path through the tunnel needs beside its route: FDB entry and neighbour.
fn below(view: &View, path: &PathTo) -> Option<[Object; 2]> {
    let remote = path.via.filter(|_| path.path == Path::Vxlan)?;
    let Some(RouteTo::Tunnel { gateway, .. }) = view.desired.routes.get(&path.cidr) else {
        return None;
    };
    Some([Object::Fdb(net::Mac(node::vtep::mac(remote))), Object::Neighbour(*gateway)])
}

/// Failures that belong to no CIDR that is shown: mostly what cannot be removed.
pub fn failing_apart(view: &View, failures: &Failures) -> Vec<Problem> {
    if failures.is_empty() {
        return Vec::new();
    }
    let shown = |cidr| view.desired.path_to(cidr).is_some_and(|path| path.refused.is_none());
    let is_route = |(object, _): &Aim| matches!(object, Object::Route(_));
    let of_tunnel = failures.keys().any(|aim| !is_route(aim));
    let paths = view.desired.paths.iter().filter(|path| of_tunnel && path.refused.is_none());
    let below: HashSet<Object> = paths.flat_map(|path| below(view, path)).flatten().collect();
    let apart = |(object, deletes): &Aim| match object {
        Object::Route(key) => !shown(key.dst),
        object => *deletes || !below.contains(object),
    };
    let failing = failures.iter().filter(|(aim, _)| apart(aim));
    let problems = failing.map(|((object, _), failure)| Problem {
        what: object.to_string(),
        error: failure.error.clone(),
        since: failure.since,
    });
    problems.collect()
}

/// Since when each CIDR is on its path and in its state, and how many are.
#[derive(Debug, Default)]
pub struct Conditions {
    since: HashMap<Place, (Condition, u64)>,
    counts: BTreeMap<Condition, u64>,
}

impl Conditions {
    /// Notes the condition of every CIDR, and logs which ones are refused now.
    pub fn note_all(&mut self, view: &View, failures: &Failures) {
        let mut refused = 0;
        let before = std::mem::take(&mut self.since);
        let mut after = HashMap::with_capacity(before.len());
        let mut counts = BTreeMap::new();
        for path in view.desired.all_paths() {
            let condition = (path.path, state(view, failures, &path).0);
            let place = place(&path);
            let since = match before.get(&place) {
                Some((old, since)) if *old == condition => *since,
                _ => {
                    if let Some(reason) = &path.refused {
                        refused += 1;
                        if refused <= LOGGED {
                            warn!(node = path.node, "refused {}: {reason}", path.cidr);
                        }
                    }
                    now()
                }
            };
            *counts.entry(condition).or_default() += 1;
            after.insert(place, (condition, since));
        }
        (self.since, self.counts) = (after, counts);
        if refused > LOGGED {
            warn!("refused {} more: see `route-sync status`", refused - LOGGED);
        }
    }

    /// As [`Conditions::note_all`], of what these changes were about. An entry of the tunnel's device
    /// is about all CIDRs of a node.
    pub fn note_changed(&mut self, changes: &[Change], view: &View, failures: &Failures) {
        let route = |change: &Change| match change.object() {
            Object::Route(key) => Some(key.dst),
            Object::Neighbour(_) | Object::Fdb(_) => None,
        };
        let routes: Option<Vec<IpNetwork>> = changes.iter().map(route).collect();
        match routes {
            Some(routes) => {
                routes.into_iter().for_each(|cidr| self.note(cidr, view, failures));
            }
            None => self.note_all(view, failures),
        }
    }

    /// Notes the condition of one CIDR.
    pub fn note(&mut self, cidr: IpNetwork, view: &View, failures: &Failures) {
        let Some(path) = view.desired.path_to(cidr) else { return };
        let (condition, place) = ((path.path, state(view, failures, &path).0), place(&path));
        let before = self.since.get(&place).map(|(before, _)| *before);
        if before != Some(condition) {
            before.into_iter().for_each(|before| self.uncount(before));
            *self.counts.entry(condition).or_default() += 1;
            self.since.insert(place, (condition, now()));
        }
    }

    /// There is no CIDR at this place any more.
    pub fn forget(&mut self, place: Option<Place>) {
        let before = place.and_then(|place| self.since.remove(&place));
        if let Some((condition, _)) = before {
            self.uncount(condition);
        }
    }

    fn uncount(&mut self, condition: Condition) {
        if let Some(count) = self.counts.get_mut(&condition) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&condition);
            }
        }
    }

    /// Since when a path has its condition, seconds since 1970.
    pub fn since(&self, path: &PathTo) -> u64 {
        self.since.get(&place(path)).map_or_else(now, |(_, since)| *since)
    }

    /// How many CIDRs there are.
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// CIDRs by path and state.
    pub fn counts(&self) -> Vec<(Path, State, u64)> {
        self.counts.iter().map(|((path, state), count)| (*path, *state, *count)).collect()
    }
}
