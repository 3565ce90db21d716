//! What the daemon says of itself.

use super::failures::{Aim, Failure};
use super::{LOGGED, Sync, now};
use crate::config::Mode;
use crate::query::Figures;
use crate::report::{Entry, Path, Problem, Report, State};
use crate::routes::desired::{PathTo, RouteTo};
use crate::routes::diff::{Change, Object};
use ipnetwork::IpNetwork;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use tracing::warn;

/// Path and state of a CIDR.
pub(super) type Condition = (Path, State);

/// A CIDR; of one that is refused also whose, since another node may have it.
pub(super) type Place = (IpNetwork, Option<Box<str>>);

fn place(path: &PathTo) -> Place {
    (path.cidr, path.refused.as_ref().map(|_| path.node.as_str().into()))
}

impl Sync {
    /// The state of a path, and why it is not synced.
    pub(super) fn state(&self, path: &PathTo) -> (State, Option<String>) {
        if let Some(reason) = &path.refused {
            let state = if path.conflict { State::Conflict } else { State::Refused };
            return (state, Some(reason.clone()));
        }
        if let Some(failure) = self.failure_to(path.cidr) {
            let state = if failure.conflict { State::Conflict } else { State::Failing };
            return (state, Some(failure.error.clone()));
        }
        if path.path == Path::Vxlan && self.tunnel.is_none() {
            return (State::Failing, Some("the tunnel's device cannot be made".to_owned()));
        }
        let failure = |object| self.failures.get(&(object, false));
        match self.below(path).into_iter().flatten().find_map(failure) {
            Some(failure) => (State::Failing, Some(failure.error.clone())),
            None => (State::Synced, None),
        }
    }

    /// What a path through the tunnel needs beside its route: FDB entry and neighbour.
    fn below(&self, path: &PathTo) -> Option<[Object; 2]> {
        let remote = path.via.filter(|_| path.path == Path::Vxlan)?;
        let Some(RouteTo::Tunnel { gateway, .. }) = self.desired.routes.get(&path.cidr) else {
            return None;
        };
        Some([Object::Fdb(net::Mac(node::vtep::mac(remote))), Object::Neighbour(*gateway)])
    }

    /// What fails and is no CIDR's that is shown: mostly what cannot be removed.
    fn failing_apart(&self) -> Vec<Problem> {
        if self.failures.is_empty() {
            return Vec::new();
        }
        let shown = |cidr| self.desired.path_to(cidr).is_some_and(|path| path.refused.is_none());
        let is_route = |(object, _): &Aim| matches!(object, Object::Route(_));
        let of_tunnel = self.failures.keys().any(|aim| !is_route(aim));
        let paths = self.desired.paths.iter().filter(|path| of_tunnel && path.refused.is_none());
        let below: HashSet<Object> = paths.flat_map(|path| self.below(path)).flatten().collect();
        let apart = |(object, deletes): &Aim| match object {
            Object::Route(key) => !shown(key.dst),
            object => *deletes || !below.contains(object),
        };
        let failing = self.failures.iter().filter(|(aim, _)| apart(aim));
        let problem = |((object, _), failure): (&Aim, &Failure)| Problem {
            what: object.to_string(),
            error: failure.error.clone(),
            since: failure.since,
        };
        failing.map(problem).collect()
    }

    /// Notes since when each CIDR is as it is, and tells which ones are refused now.
    pub(super) fn conditions(&mut self) {
        let mut told = 0;
        let before = std::mem::take(&mut self.since);
        let mut after = HashMap::with_capacity(before.len());
        let mut counts = BTreeMap::new();
        for path in self.desired.all_paths() {
            let condition = (path.path, self.state(&path).0);
            let place = place(&path);
            let since = match before.get(&place) {
                Some((old, since)) if *old == condition => *since,
                _ => {
                    if let Some(reason) = &path.refused {
                        told += 1;
                        if told <= LOGGED {
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
        if told > LOGGED {
            warn!("refused {} more: see `route-sync status`", told - LOGGED);
        }
    }

    /// As [`Sync::conditions`], of what these changes were about. An entry of the tunnel's device is
    /// about all CIDRs of a node.
    pub(super) fn conditions_of(&mut self, changes: &[Change]) {
        let route = |change: &Change| match change.object() {
            Object::Route(key) => Some(key.dst),
            Object::Neighbour(_) | Object::Fdb(_) => None,
        };
        let routes: Option<Vec<IpNetwork>> = changes.iter().map(route).collect();
        match routes {
            Some(routes) => routes.into_iter().for_each(|cidr| self.note_condition(cidr)),
            None => self.conditions(),
        }
    }

    /// What a CIDR is noted by.
    pub(super) fn place(&self, cidr: IpNetwork) -> Option<Place> {
        self.desired.path_to(cidr).map(|path| place(&path))
    }

    /// A CIDR is noted by that no more.
    pub(super) fn forget_condition(&mut self, place: Option<Place>) {
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

    /// Notes how a CIDR goes, and since when.
    pub(super) fn note_condition(&mut self, cidr: IpNetwork) {
        let Some(path) = self.desired.path_to(cidr) else { return };
        let (condition, place) = ((path.path, self.state(&path).0), place(&path));
        let before = self.since.get(&place).map(|(before, _)| *before);
        if before != Some(condition) {
            before.into_iter().for_each(|before| self.uncount(before));
            *self.counts.entry(condition).or_default() += 1;
            self.since.insert(place, (condition, now()));
        }
    }

    /// All of it.
    pub fn report(&self) -> Report {
        let mut paths: Vec<Cow<'_, PathTo>> = self.desired.all_paths().collect();
        let key = |path: &PathTo| (path.path != Path::Local, path.cidr);
        paths.sort_by(|a, b| {
            let (own, other) = (key(a), key(b));
            own.0.cmp(&other.0).then_with(|| a.node.cmp(&b.node)).then_with(|| own.1.cmp(&other.1))
        });
        let entry = |path: Cow<'_, PathTo>| {
            let (state, error) = self.state(&path);
            let since = self.since.get(&place(&path)).map_or_else(now, |(_, since)| *since);
            let (node, cidr) = (path.node.clone(), path.cidr);
            Entry { node, cidr, path: path.path, via: path.via, state, since, error }
        };
        let mut source = self.source.clone();
        source.name = self.config.source.to_string();
        let mode = match self.config.mode {
            Mode::Auto => "auto",
            Mode::Direct => "direct",
            Mode::Vxlan => "vxlan",
        };
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.config.node_name.clone(),
            mode: mode.to_owned(),
            synced: self.convergence.is_synced(),
            source,
            cidrs: paths.into_iter().map(entry).collect(),
            problems: self.problems(),
            remarks: self.masquerade_remark().into_iter().collect(),
            probe: None,
        }
    }

    /// Private addresses (RFC 1918, RFC 4193) that no NAT of the daemon's translates.
    fn masquerade_remark(&self) -> Option<String> {
        let private = |cidr: &&IpNetwork| match cidr.network() {
            IpAddr::V4(four) => four.is_private(),
            IpAddr::V6(six) => six.is_unique_local(),
        };
        let off = !self.config.masquerade.enabled && self.config.bgp.is_none();
        let cidr = self.desired.own.iter().find(private).filter(|_| off)?;
        Some(format!(
            "masquerade is off, and pods' addresses are private ({cidr}): they reach nothing outside of \
             the cluster, unless the network routes to them or the plugin has ipMasq; set \
             masquerade.enabled"
        ))
    }

    /// In a line, for the service manager. It costs nothing, however many nodes there are.
    pub fn summary(&self) -> String {
        let (nodes, cidrs) = (self.source.nodes, self.counts.values().sum::<u64>());
        let step = if self.convergence.is_synced() { "" } else { "not in step yet; " };
        let mut text = format!("{step}{nodes} nodes, {cidrs} CIDRs");
        let problems = self.desired.problems.len() + self.troubles.len();
        for (count, what) in [(self.failures.len(), "failing"), (problems, "problems")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        if let Some(error) = &self.source.error {
            text += &format!("; the source fails: {error}");
        }
        text
    }

    fn problems(&self) -> Vec<Problem> {
        let since = self.source.since.unwrap_or_else(now);
        let of_set = self.desired.problems.iter().map(|(what, error)| Problem {
            what: what.clone(),
            error: error.clone(),
            since,
        });
        let troubles = self.troubles.iter().map(|(what, failure)| Problem {
            what: what.clone(),
            error: failure.error.clone(),
            since: failure.since,
        });
        let mut problems: Vec<Problem> =
            of_set.chain(troubles).chain(self.failing_apart()).collect();
        problems.sort_by(|a, b| a.what.cmp(&b.what));
        problems
    }

    /// The figures.
    pub fn figures(&self) -> Figures {
        let cidrs = self.counts.iter().map(|((path, state), n)| (*path, *state, *n)).collect();
        let desired = &self.desired;
        let counts = [desired.routes.len(), desired.neighbours.len(), desired.fdb.len()];
        Figures {
            synced: self.convergence.is_synced(),
            nodes: self.source.nodes as u64,
            cidrs,
            problems: self.problems().len() as u64,
            desired: counts.map(|count| count as u64),
            ..self.figures.clone()
        }
    }
}
