//! From next hops to the kernel's: over which links they are reached.

use super::config::Bgp;
use crate::desired;
use crate::facts::Facts;
use bgp_speaker::rib::{Decided, Rib, Source, Via};
use ipnetwork::IpNetwork;
use net::route::{Hop, Kind, Route};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use tracing::warn;

/// The kernel's hops of a route, ascending.
pub type Hops = Arc<[Hop]>;

/// Routes that were heard, as far as they lead somewhere: prefix → hops.
pub type Learned = BTreeMap<IpNetwork, Hops>;

/// How next hops are reached.
pub struct Resolver<'a> {
    bgp: &'a Bgp,
    facts: &'a Facts,
    lookup: &'a mut dyn FnMut(IpAddr) -> Option<Route>,
    known: HashMap<Via, Option<Way>>,
    /// Hops by the next hops that lead there and the family: prefixes share them.
    shared: HashMap<(bool, Vec<Via>), Option<Hops>>,
}

/// RTPROT_KERNEL: what follows from a link's address.
const KERNEL: u8 = 2;

/// How one is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    /// The metric of the route to it; 0 on a link.
    cost: u32,
    /// It is on a link of this node.
    connected: bool,
    hops: Vec<Hop>,
}

impl<'a> Resolver<'a> {
    /// By the links as they are now; `lookup` tells the kernel's route to an address, of links that
    /// `facts` lack without the hops that carry no packets.
    pub fn new(
        bgp: &'a Bgp,
        facts: &'a Facts,
        lookup: &'a mut dyn FnMut(IpAddr) -> Option<Route>,
    ) -> Resolver<'a> {
        Resolver { bgp, facts, lookup, known: HashMap::new(), shared: HashMap::new() }
    }

    /// The cost to a next hop, as [`Rib::changes`] asks; `None` where it must not be used.
    fn cost(&mut self, via: &Via, source: &Source) -> Option<u32> {
        let way = self.way(via)?;
        let strict = !source.internal && !self.is_multihop(source.address);
        (way.connected || !strict).then_some(way.cost)
    }

    fn is_multihop(&self, peer: IpAddr) -> bool {
        self.bgp.peers.iter().any(|known| known.address == peer && known.multihop.is_some())
    }

    fn way(&mut self, via: &Via) -> Option<Way> {
        if let Some(known) = self.known.get(via) {
            return known.clone();
        }
        let way = self.find(via);
        self.known.insert(*via, way.clone());
        way
    }

    fn find(&mut self, via: &Via) -> Option<Way> {
        let gateway = via.address;
        if self.facts.holder(gateway).is_some() {
            return None;
        }
        let direct = |link| Way {
            cost: 0,
            connected: true,
            hops: vec![Hop { gateway: Some(gateway), link, onlink: false }],
        };
        // A link-local address is on the link of the peer that named it, or nowhere.
        match self.facts.on_live_link(via.peer.unwrap_or(gateway)) {
            None if via.peer.is_none() => self.across(gateway),
            link => link.map(direct),
        }
    }

    /// Across a router, or on a link by a route that somebody wrote: by the route that the kernel has
    /// to it, unless that is one of ours, or the kernel's own, which [`Facts`] know better.
    fn across(&mut self, address: IpAddr) -> Option<Way> {
        let found = (self.lookup)(address)?;
        let ours = desired::is_ours(found.protocol) || found.protocol == desired::POD;
        let connected = found.protocol == KERNEL;
        let live = |hop: &Hop| {
            let link = self.facts.links.get(&hop.link);
            let there = hop.gateway.is_some() || !connected;
            there && link.is_none_or(|link| link.up && link.carrier)
        };
        let toward = |hop: Hop| Hop { gateway: hop.gateway.or(Some(address)), ..hop };
        let hops: Vec<Hop> = found.hops.into_iter().filter(live).map(toward).collect();
        let usable = found.kind == Kind::Unicast && !ours && !hops.is_empty();
        // 0 is for what is on a link.
        usable.then_some(Way { cost: found.priority.max(1), connected: false, hops })
    }

    /// The kernel's hops of next hops.
    fn hops(&mut self, prefix: &IpNetwork, vias: &[Via]) -> Option<Hops> {
        if vias.is_empty() {
            return None;
        }
        let key = (prefix.is_ipv4(), vias.to_vec());
        if let Some(shared) = self.shared.get(&key) {
            return shared.clone();
        }
        let hops = self.find_hops(prefix, vias);
        self.shared.insert(key, hops.clone());
        hops
    }

    fn find_hops(&mut self, prefix: &IpNetwork, vias: &[Via]) -> Option<Hops> {
        let mut hops: Vec<Hop> =
            vias.iter().filter_map(|via| self.way(via)).flat_map(|w| w.hops).collect();
        // IPv6 by a next hop of IPv4 there is not.
        hops.retain(|hop| prefix.is_ipv4() || hop.gateway.is_some_and(|gateway| gateway.is_ipv6()));
        hops.sort_unstable_by_key(|hop| (hop.gateway, hop.link));
        hops.dedup();
        (!hops.is_empty()).then(|| hops.into())
    }
}

/// Prefixes that are decided on at once. More wait for the next turn of the daemon's loop.
pub const AT_ONCE: usize = 8192;

/// What was heard and leads somewhere, and what of it changed.
#[derive(Debug, Default)]
pub struct Table {
    learned: Learned,
    /// How next hops are reached, as it was found last.
    ways: HashMap<Via, Option<Way>>,
    /// How many of them peers named when they were counted last.
    named: usize,
}

/// Next hops that may be known beside twice those that peers named last.
const SPARE: usize = 1024;

impl Table {
    /// Brings it in step with the RIB, [`AT_ONCE`] prefixes at most, and tells what changed: prefix
    /// → hops, `None` for what is gone. `all`: links or routes changed, so every next hop may be
    /// reached otherwise; prefixes are decided on anew only by next hops that are.
    pub fn follow(
        &mut self,
        rib: &mut Rib,
        resolver: &mut Resolver<'_>,
        all: bool,
    ) -> BTreeMap<IpNetwork, Option<Hops>> {
        self.find(rib, resolver, all);
        let mut new = BTreeMap::new();
        for Decided { prefix, vias, changed } in
            rib.decide(AT_ONCE, |via, source| resolver.cost(via, source))
        {
            let hops = resolver.hops(&prefix, &vias);
            if hops.is_none() && !vias.is_empty() && changed {
                warn!(%prefix, "heard, and not used: its next hops cannot carry its family");
            }
            self.note(prefix, hops, &mut new);
        }
        self.ways = std::mem::take(&mut resolver.known);
        if self.ways.len() > 2 * self.named + SPARE {
            let named = rib.next_hops();
            self.ways.retain(|via, _| named.contains(via));
            self.named = named.len();
        }
        new
    }

    /// Finds the ways to next hops anew, where they may be others.
    fn find(&mut self, rib: &mut Rib, resolver: &mut Resolver<'_>, all: bool) {
        let before = std::mem::take(&mut self.ways);
        if !all {
            resolver.known = before;
            return;
        }
        for via in rib.next_hops() {
            let way = resolver.way(&via);
            if before.get(&via).is_none_or(|before| *before != way) {
                rib.recheck(&via);
            }
        }
    }

    fn note(
        &mut self,
        prefix: IpNetwork,
        hops: Option<Hops>,
        new: &mut BTreeMap<IpNetwork, Option<Hops>>,
    ) {
        if self.learned.get(&prefix) == hops.as_ref() {
            return;
        }
        match &hops {
            Some(hops) => drop(self.learned.insert(prefix, Arc::clone(hops))),
            None => drop(self.learned.remove(&prefix)),
        }
        new.insert(prefix, hops);
    }

    /// All of it.
    pub fn learned(&self) -> &Learned {
        &self.learned
    }
}

#[cfg(test)]
mod tests;
