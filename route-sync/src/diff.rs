//! What has to be changed in the kernel: desired against actual, by one key for each object.

use crate::desired::{BLACKHOLE, Desired, LEARNED, PROTOCOL, Way};
use ipnetwork::IpNetwork;
use net::fdb::{self, FdbEntry};
use net::neighbour::{self, Neighbour};
use net::route::{self, Hop, Route};
use net::{Mac, Verb};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// The route to a CIDR.
    Route(IpNetwork),
    /// A neighbour on the tunnel's device.
    Neighbour(IpAddr),
    /// An FDB entry of the tunnel's device.
    Fdb(Mac),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A route that is not there; another's at its place is left alone.
    Create(Route),
    /// A route of ours that is there, and differs.
    Replace(Route),
    /// A route of ours that shall not be.
    Delete(Route),
    /// A neighbour that is missing or differs.
    Neighbour(Neighbour),
    /// A neighbour that shall not be.
    DeleteNeighbour(Neighbour),
    /// An FDB entry that is missing or differs.
    Fdb(FdbEntry),
    /// An FDB entry that shall not be.
    DeleteFdb(FdbEntry),
}

impl Change {
    /// What it is about.
    pub fn object(&self) -> Object {
        match self {
            Change::Create(route) | Change::Replace(route) | Change::Delete(route) => {
                Object::Route(route.dst)
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
            Change::Delete(route) => route::del(route),
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

/// What of ours the kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// The routes of [`PROTOCOL`] and [`LEARNED`] in the main table.
    pub routes: Vec<Route>,
    /// The neighbours on the tunnel's device.
    pub neighbours: Vec<Neighbour>,
    /// The FDB entries of the tunnel's device.
    pub fdb: Vec<FdbEntry>,
}

/// The route that a way is, through the tunnel's device of this index; `None` when there is no
/// such device.
pub fn route(dst: IpNetwork, way: &Way, tunnel: Option<u32>) -> Option<Route> {
    let mut protocol = PROTOCOL;
    let mut route = match way {
        Way::Blackhole => Route { priority: BLACKHOLE, ..Route::blackhole(dst) },
        Way::Direct { gateway, link } => Route::new(dst, Some(*gateway), *link),
        Way::Tunnel { gateway, source } => {
            let mut route = Route::new(dst, None, tunnel?);
            route.hops = vec![Hop { gateway: Some(*gateway), link: tunnel?, onlink: true }];
            route.source = *source;
            route
        }
        Way::Learned { hops, source } => {
            protocol = LEARNED;
            let mut route = Route::new(dst, None, 0);
            route.hops = hops.to_vec();
            route.source = *source;
            route
        }
    };
    // What IPv6 makes of 0.
    if dst.is_ipv6() && route.priority == 0 {
        route.priority = 1024;
    }
    route.protocol = protocol;
    Some(route)
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

/// Whether what is not desired goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep<'a> {
    /// The node set is complete.
    pub nodes: bool,
    /// While not every BGP peer has sent its routes, what was heard in this run: of what BGP made
    /// only that may go, the rest is an earlier run's.
    pub heard: Option<&'a BTreeSet<IpNetwork>>,
}

impl Sweep<'_> {
    /// Whether this may be done: everything but some deletions.
    pub fn allows(&self, change: &Change) -> bool {
        match change {
            Change::Delete(route) if self.waits_for(route) => false,
            change => self.nodes || !change.deletes(),
        }
    }

    /// Whether a route is an earlier run's that a peer may yet say is still good.
    fn waits_for(&self, route: &Route) -> bool {
        route.protocol == LEARNED && self.heard.is_some_and(|heard| !heard.contains(&route.dst))
    }
}

/// All changes: neighbours and FDB entries before the routes that need them, additions and
/// replacements before deletions, as far as `sweep` allows.
pub fn diff(
    desired: &Desired,
    tunnel: Option<u32>,
    actual: &Actual,
    sweep: Sweep<'_>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut stale = Vec::new();
    routes(desired, tunnel, actual, sweep, &mut changes, &mut stale);
    let mut first = Vec::new();
    if let Some(link) = tunnel {
        neighbours(desired, link, &actual.neighbours, &mut first, &mut stale);
        entries(desired, link, &actual.fdb, &mut first, &mut stale);
    }
    first.append(&mut changes);
    first.extend(stale.into_iter().filter(|change| sweep.allows(change)));
    first
}

fn routes(
    desired: &Desired,
    tunnel: Option<u32>,
    actual: &Actual,
    sweep: Sweep<'_>,
    changes: &mut Vec<Change>,
    stale: &mut Vec<Change>,
) {
    let mut found: HashMap<(IpNetwork, u32), &Route> =
        actual.routes.iter().map(|route| ((route.dst, route.priority), route)).collect();
    for (dst, way) in &desired.routes {
        let Some(wanted) = route(*dst, way, tunnel) else { continue };
        match found.remove(&(wanted.dst, wanted.priority)) {
            Some(present) if wanted.protocol != LEARNED && sweep.waits_for(present) => {}
            None => changes.push(Change::Create(wanted)),
            Some(present) if !same(&wanted, present) => changes.push(Change::Replace(wanted)),
            Some(_) => {}
        }
    }
    stale.extend(found.into_values().map(|route| Change::Delete(route.clone())));
}

fn neighbours(
    desired: &Desired,
    link: u32,
    actual: &[Neighbour],
    changes: &mut Vec<Change>,
    stale: &mut Vec<Change>,
) {
    let mut found: HashMap<IpAddr, &Neighbour> =
        actual.iter().filter(|entry| entry.permanent).map(|entry| (entry.address, entry)).collect();
    for (address, mac) in &desired.neighbours {
        if found.remove(address).is_none_or(|present| present.mac != *mac) {
            let (address, mac) = (*address, *mac);
            changes.push(Change::Neighbour(Neighbour { link, address, mac, permanent: true }));
        }
    }
    // The kernel's own, for multicast, are not permanent.
    stale.extend(found.into_values().map(|entry| Change::DeleteNeighbour(*entry)));
}

fn entries(
    desired: &Desired,
    link: u32,
    actual: &[FdbEntry],
    changes: &mut Vec<Change>,
    stale: &mut Vec<Change>,
) {
    let mut found: HashMap<Mac, &FdbEntry> = HashMap::new();
    for entry in actual {
        // A second destination of one MAC address, as for multicast, is none of ours.
        if let Some(second) = found.insert(entry.mac, entry) {
            stale.push(Change::DeleteFdb(*second));
        }
    }
    for (mac, dst) in &desired.fdb {
        let same = |present: &FdbEntry| present.dst == Some(*dst) && present.permanent;
        if !found.remove(mac).is_some_and(same) {
            let (mac, dst) = (*mac, Some(*dst));
            changes.push(Change::Fdb(FdbEntry { link, mac, dst, permanent: true }));
        }
    }
    stale.extend(found.into_values().map(|entry| Change::DeleteFdb(*entry)));
}

#[cfg(test)]
mod tests;
