//! What has to be changed in the kernel: desired against actual, by one key for each object.

use super::desired::{Desired, RouteTo};
use super::learned::Learned;
use super::protocols::{BLACKHOLE, LEARNED, PROTOCOL};
use crate::convergence::{Convergence, Leftover, Stays};
use ipnetwork::IpNetwork;
use net::fdb::{self, FdbEntry};
use net::neighbour::{self, Neighbour};
use net::route::{self, Hop, Kind, Route};
use net::{Mac, Verb};
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use tracing::debug;

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A route. Several of one destination may exist side by side.
    Route(RouteKey),
    /// A neighbour on the tunnel's device.
    Neighbour(IpAddr),
    /// An FDB entry of the tunnel's device.
    Fdb(Mac),
}

/// What identifies a route. The destination is first, so all routes of one are adjacent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Where it leads.
    pub dst: IpNetwork,
    /// Its table.
    pub table: u32,
    /// Its metric.
    pub priority: u32,
    /// Who made it (RTPROT_*).
    pub protocol: u8,
    /// What becomes of the packets.
    pub kind: Kind,
}

impl RouteKey {
    /// That of a route.
    pub fn of(route: &Route) -> RouteKey {
        let Route { dst, table, priority, protocol, kind, .. } = *route;
        RouteKey { dst, table, priority, protocol, kind }
    }

    /// Before those of every route to a destination.
    pub fn before(dst: IpNetwork) -> RouteKey {
        RouteKey { dst, table: 0, priority: 0, protocol: 0, kind: Kind::Unicast }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A route that is not there; another's at its place is left alone.
    Create(Route),
    /// A route of ours that is there, and differs.
    Replace(Route),
    /// A route of ours that must not exist.
    Delete(Route),
    /// A neighbour that is missing or differs.
    Neighbour(Neighbour),
    /// A neighbour that must not be.
    DeleteNeighbour(Neighbour),
    /// An FDB entry that is missing or differs.
    Fdb(FdbEntry),
    /// An FDB entry that must not be.
    DeleteFdb(FdbEntry),
}

impl Change {
    /// What it is about.
    pub fn object(&self) -> Object {
        match self {
            Change::Create(route) | Change::Replace(route) | Change::Delete(route) => {
                Object::Route(RouteKey::of(route))
            }
            Change::Neighbour(entry) | Change::DeleteNeighbour(entry) => {
                Object::Neighbour(entry.address)
            }
            Change::Fdb(entry) | Change::DeleteFdb(entry) => Object::Fdb(entry.mac),
        }
    }

    /// The message that does it.
    pub fn verb(&self) -> Verb<()> {
        match self {
            Change::Create(route) => route::create(route),
            Change::Replace(route) => route::replace(route),
            Change::Delete(route) => route::del_one(route),
            Change::Neighbour(entry) => neighbour::replace(entry),
            Change::DeleteNeighbour(entry) => neighbour::del(entry),
            Change::Fdb(entry) => fdb::replace(entry),
            Change::DeleteFdb(entry) => fdb::del(entry),
        }
    }

    /// It takes something away.
    pub fn deletes(&self) -> bool {
        use Change::{Delete, DeleteFdb, DeleteNeighbour};
        matches!(self, Delete(_) | DeleteNeighbour(_) | DeleteFdb(_))
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Route(key) => write!(f, "route {}", key.dst),
            Object::Neighbour(address) => write!(f, "neighbour {address}"),
            Object::Fdb(mac) => write!(f, "FDB entry {mac}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Create(route) => write!(f, "create route {route}"),
            Change::Replace(route) => write!(f, "replace route {route}"),
            Change::Delete(route) => write!(f, "delete route {route}"),
            Change::Neighbour(entry) => write!(f, "set neighbour {}", entry.address),
            Change::DeleteNeighbour(entry) => write!(f, "delete neighbour {}", entry.address),
            Change::Fdb(entry) => write!(f, "set FDB entry {}", entry.mac),
            Change::DeleteFdb(entry) => write!(f, "delete FDB entry {}", entry.mac),
        }
    }
}

/// Whether the kernel's report is of the wanted route.
pub fn same(wanted: &Route, found: &Route) -> bool {
    // A blackhole of IPv6 reports the loopback device as its hop.
    let hops = wanted.hops.is_empty() || same_hops(&wanted.hops, &found.hops);
    hops && (wanted.dst, wanted.kind, wanted.priority) == (found.dst, found.kind, found.priority)
        && (wanted.source, wanted.protocol) == (found.source, found.protocol)
        && (wanted.mtu, wanted.advmss) == (found.mtu, found.advmss)
}

/// IPv6 has its own order of several.
fn same_hops(wanted: &[Hop], found: &[Hop]) -> bool {
    wanted == found || (wanted.len() == found.len() && wanted.iter().all(|hop| found.contains(hop)))
}

/// Which deletions are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Deletions<'a> {
    /// What is known so far.
    pub convergence: &'a Convergence,
    /// What BGP peers announce now.
    pub learned: &'a Learned,
}

impl Deletions<'_> {
    /// Whether a change may be made: everything but some deletions. An error says why not.
    pub fn allow(&self, change: &Change) -> Result<(), Stays> {
        match change {
            Change::Delete(route) if route.protocol == LEARNED => {
                let announced = self.learned.contains_key(&route.dst);
                self.convergence.deletes(Leftover::OfBgp { prefix: route.dst, announced })
            }
            change if change.deletes() => self.convergence.deletes(Leftover::OfNodes),
            _ => Ok(()),
        }
    }

    /// Whether a route is an earlier run's that a peer may still announce.
    fn wait_for(&self, route: &Route) -> bool {
        route.protocol == LEARNED && self.convergence.waits_for(route.dst)
    }
}

/// A dump compared with the desired state; `K` identifies an object. Of an object that is as desired
/// only `K` is kept: with 5,000 nodes that is nearly all of them.
#[derive(Debug)]
pub struct Seen<K> {
    present: HashSet<K>,
    changes: Vec<Change>,
    stale: Vec<Change>,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Seen { present: HashSet::new(), changes: Vec::new(), stale: Vec::new() }
    }
}

/// A desired state, to be compared with dumps; the tunnel's device has this index, if it is there.
#[derive(Clone, Copy, Debug)]
pub struct Diff<'a> {
    /// What must exist.
    pub desired: &'a Desired,
    /// Index of the tunnel's device.
    pub tunnel: Option<u32>,
    /// What may be deleted.
    pub deletions: Deletions<'a>,
}

impl Diff<'_> {
    /// The route to a destination; `None` when there must be none, or it would be through the
    /// tunnel's device and that is not there.
    pub fn wanted(&self, dst: IpNetwork) -> Option<Route> {
        // With the tunnel's device its addresses are missing, and the kernel refuses them.
        let held = self.tunnel.is_some() || self.desired.tunnel.is_none();
        let mut protocol = PROTOCOL;
        let mut route = match self.desired.routes.get(&dst)? {
            RouteTo::Blackhole => Route { priority: BLACKHOLE, ..Route::blackhole(dst) },
            RouteTo::Direct { gateway, link, source } => {
                let source = source.filter(|_| held);
                Route { source, ..Route::new(dst, Some(*gateway), *link) }
            }
            RouteTo::Tunnel { gateway, source } => {
                let link = self.tunnel?;
                let hops = vec![Hop { gateway: Some(*gateway), link, onlink: true }];
                Route { hops, source: *source, ..Route::new(dst, None, link) }
            }
            RouteTo::Learned { hops, source } => {
                protocol = LEARNED;
                let source = source.filter(|_| held);
                Route { hops: hops.to_vec(), source, ..Route::new(dst, None, 0) }
            }
        };
        // What IPv6 makes of 0.
        if dst.is_ipv6() && route.priority == 0 {
            route.priority = 1024;
        }
        route.protocol = protocol;
        Some(route)
    }

    /// A route of [`PROTOCOL`] or [`LEARNED`] in the main table.
    pub fn route(&self, seen: &mut Seen<IpNetwork>, found: Route) {
        let wanted = self.wanted(found.dst);
        match wanted.filter(|wanted| wanted.priority == found.priority) {
            // A second one with the same destination and metric, appended, is not ours.
            Some(wanted) if seen.present.insert(found.dst) => {
                let waits = wanted.protocol != LEARNED && self.deletions.wait_for(&found);
                if !same(&wanted, &found) && !waits {
                    seen.changes.push(Change::Replace(wanted));
                }
            }
            _ => seen.stale.push(Change::Delete(found)),
        }
    }

    /// A neighbour on the tunnel's device. The kernel's own, for multicast, are not permanent.
    pub fn neighbour(&self, seen: &mut Seen<IpAddr>, found: Neighbour) {
        if !found.permanent {
            return;
        }
        let wanted = self.desired.neighbours.get(&found.address);
        if wanted == Some(&found.mac) {
            seen.present.insert(found.address);
        } else if wanted.is_none() {
            seen.stale.push(Change::DeleteNeighbour(found));
        }
    }

    /// An FDB entry of the tunnel's device.
    pub fn entry(&self, seen: &mut Seen<Mac>, found: FdbEntry) {
        let wanted = self.desired.fdb.get(&found.mac);
        if wanted.is_some_and(|dst| found.dst == Some(*dst) && found.permanent) {
            seen.present.insert(found.mac);
        } else if wanted.is_none() {
            seen.stale.push(Change::DeleteFdb(found));
        }
    }

    fn allows(&self, change: &Change) -> bool {
        let allowed = self.deletions.allow(change);
        allowed.inspect_err(|why| debug!("not done yet: {change}: {why}")).is_ok()
    }

    /// Destinations of an earlier run's routes that remain for now.
    pub fn leftovers(&self, routes: &[Seen<IpNetwork>; 4]) -> HashSet<IpNetwork> {
        let stale = routes.iter().flat_map(|seen| &seen.stale);
        let waiting = stale.filter_map(|change| match change {
            Change::Delete(route) if self.deletions.wait_for(route) => Some(route.dst),
            _ => None,
        });
        waiting.collect()
    }

    /// All changes: neighbours and FDB entries before the routes that need them, additions and
    /// replacements before deletions. `routes` are of both families and protocols.
    pub fn changes(
        &self,
        routes: [Seen<IpNetwork>; 4],
        neighbours: [Seen<IpAddr>; 2],
        fdb: Seen<Mac>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(link) = self.tunnel {
            let there = |address| neighbours.iter().any(|seen| seen.present.contains(address));
            let wanted = self.desired.neighbours.iter().filter(|(address, _)| !there(*address));
            changes.extend(wanted.map(|(address, mac)| {
                let (address, mac) = (*address, *mac);
                Change::Neighbour(Neighbour { link, address, mac, permanent: true })
            }));
            let wanted = self.desired.fdb.iter().filter(|(mac, _)| !fdb.present.contains(mac));
            changes.extend(wanted.map(|(mac, dst)| {
                let (mac, dst) = (*mac, Some(*dst));
                Change::Fdb(FdbEntry { link, mac, dst, permanent: true })
            }));
        }
        let there = |dst| routes.iter().any(|seen| seen.present.contains(dst));
        let missing = self.desired.routes.keys().filter(|dst| !there(*dst));
        changes.extend(missing.filter_map(|dst| self.wanted(*dst)).map(Change::Create));
        let mut stale = Vec::new();
        for seen in routes {
            changes.extend(seen.changes);
            stale.extend(seen.stale);
        }
        stale.extend(neighbours.into_iter().flat_map(|seen| seen.stale));
        stale.extend(fdb.stale);
        changes.extend(stale.into_iter().filter(|change| self.allows(change)));
        changes
    }
}

#[cfg(test)]
mod tests;
