//! From next hops to the kernel's: over which links they are reached.

use super::config::Bgp;
use super::refusals::Refusals;
use crate::facts::Facts;
use crate::routes::learned::{Hops, Learned};
use crate::routes::protocols;
use crate::routes::reserved::Reserved;
use bgp_speaker::rib::{self, Decided, Rib, Source, Via};
use daemon::logs::Allowance;
use ipnetwork::IpNetwork;
use net::route::{Hop, Kind, Route};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use tracing::warn;

/// How next hops are reached.
pub struct Resolver<'a> {
    bgp: &'a Bgp,
    facts: &'a Facts,
    reserved: &'a Reserved,
    lookup: &'a mut dyn FnMut(IpAddr) -> Option<Route>,
    known: Resolutions,
    /// Next hops that this round found unusable.
    fresh: Vec<(Via, Unusable)>,
    /// Hops by the next hops that lead there and the family: prefixes share them.
    shared: HashMap<(bool, Vec<Via>), Option<Hops>>,
}

/// How next hops are reached, or why they are not used.
type Resolutions = HashMap<Via, Result<Resolved, Unusable>>;

/// Why a next hop must not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is this node's own address, on the link of this name.
    Own(String),
    /// No route leads there.
    Unreachable,
    /// It is on no link, where it has to be.
    OffLink,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Own(link) => {
                write!(f, "it is this node's own address, on {link}: set next-hop-self at the peer")
            }
            Unusable::Unreachable => f.write_str(
                "it cannot be reached over a link that is up, or by a route that is not BGP's: set \
                 next-hop-self at the peer, or give this node a route to it",
            ),
            Unusable::OffLink => f.write_str(
                "it is on no link of this node: set next-hop-self at the peer, or write multihop \
                 for the peer here",
            ),
        }
    }
}

/// A peer of another AS that is not multihop may name next hops on a link alone.
fn is_strict(bgp: &Bgp, peer: &Source) -> bool {
    let mut known = bgp.peers.iter().filter(|known| known.address == peer.address);
    !peer.internal && !known.any(|known| known.multihop.is_some())
}

/// Lines in a minute about what is not used; `status bgp` shows it too.
const LOGGED: u32 = 20;

/// RTPROT_KERNEL: what follows from a link's address.
const KERNEL: u8 = 2;

/// How a next hop is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resolved {
    /// The metric of the route to it; 0 on a link.
    cost: u32,
    /// It is on a link of this node.
    connected: bool,
    hops: Vec<Hop>,
}

impl<'a> Resolver<'a> {
    /// By the links as they are now; `lookup` asks the kernel for its route to an address; on links
    /// that `facts` lack, it leaves out hops that carry no packets. `reserved`: what no route may take.
    pub fn new(
        bgp: &'a Bgp,
        facts: &'a Facts,
        reserved: &'a Reserved,
        lookup: &'a mut dyn FnMut(IpAddr) -> Option<Route>,
    ) -> Resolver<'a> {
        Resolver {
            bgp,
            facts,
            reserved,
            lookup,
            known: HashMap::new(),
            fresh: vec![],
            shared: HashMap::new(),
        }
    }

    /// The cost to a next hop, as [`Rib::changes`] asks; `None` where it must not be used.
    fn cost(&mut self, via: &Via, source: &Source) -> Option<u32> {
        let resolved = self.resolved(via).ok()?;
        (resolved.connected || !is_strict(self.bgp, source)).then_some(resolved.cost)
    }

    fn resolved(&mut self, via: &Via) -> Result<Resolved, Unusable> {
        if let Some(known) = self.known.get(via) {
            return known.clone();
        }
        let resolved = self.find(via);
        self.fresh.extend(resolved.as_ref().err().map(|why| (*via, why.clone())));
        self.known.insert(*via, resolved.clone());
        resolved
    }

    fn find(&mut self, via: &Via) -> Result<Resolved, Unusable> {
        let gateway = via.address;
        if let Some((_, link)) = self.facts.holder(gateway) {
            return Err(Unusable::Own(link.name.clone()));
        }
        let direct = |link| Resolved {
            cost: 0,
            connected: true,
            hops: vec![Hop { gateway: Some(gateway), link, onlink: false }],
        };
        // A link-local address is on the link of the peer that named it, or nowhere.
        let resolved = match self.facts.on_live_link(via.peer.unwrap_or(gateway)) {
            None if via.peer.is_none() => self.across(gateway),
            link => link.map(direct),
        };
        resolved.ok_or(Unusable::Unreachable)
    }

    /// Across a router, or on a link by a route of another program: by the kernel's route to it,
    /// unless that is one of ours, or one the kernel made from an address, which [`Facts`] hold.
    fn across(&mut self, address: IpAddr) -> Option<Resolved> {
        let found = (self.lookup)(address)?;
        let ours = protocols::is_ours(found.protocol) || found.protocol == protocols::POD;
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
        usable.then_some(Resolved { cost: found.priority.max(1), connected: false, hops })
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
            vias.iter().filter_map(|via| self.resolved(via).ok()).flat_map(|w| w.hops).collect();
        // IPv6 by a next hop of IPv4 there is not.
        hops.retain(|hop| prefix.is_ipv4() || hop.gateway.is_some_and(|gateway| gateway.is_ipv6()));
        hops.sort_unstable_by_key(|hop| (hop.gateway, hop.link));
        hops.dedup();
        (!hops.is_empty()).then(|| hops.into())
    }
}

/// Prefixes that are decided on at once. More wait for the next turn of the daemon's loop.
pub const AT_ONCE: usize = 8192;

/// What was learned and leads somewhere, and what of it changed.
#[derive(Debug)]
pub struct Table {
    learned: Learned,
    /// How next hops are reached, as it was found last.
    resolutions: Resolutions,
    /// How many of them peers named when they were counted last.
    named: usize,
    /// Lines about what is not used.
    lines: Allowance,
    /// What is not used for where it leads to.
    pub(super) refusals: Refusals,
}

impl Default for Table {
    fn default() -> Table {
        let (learned, resolutions, named, refusals) = Default::default();
        Table { learned, resolutions, named, lines: Allowance::new(LOGGED), refusals }
    }
}

/// Next hops that may be known beside twice those that peers named last.
const SPARE: usize = 1024;

impl Table {
    /// Brings it in step with the RIB, [`AT_ONCE`] prefixes at most, and returns what changed: prefix
    /// → hops, `None` for what is gone. `all`: links or routes changed, so every next hop may be
    /// reached otherwise; prefixes are decided on again only by next hops that are.
    pub fn follow(
        &mut self,
        rib: &mut Rib,
        resolver: &mut Resolver<'_>,
        all: bool,
    ) -> BTreeMap<IpNetwork, Option<Hops>> {
        let before = self.find(rib, resolver, all);
        let (mut new, mut incapable) = (BTreeMap::new(), vec![]);
        for Decided { prefix, vias, changed } in
            rib.decide(AT_ONCE, |via, source| resolver.cost(via, source))
        {
            if !vias.is_empty() && self.refusals.refuse(prefix, resolver.reserved) {
                self.note(prefix, None, &mut new);
                continue;
            }
            self.refusals.forget(&prefix);
            let hops = resolver.hops(&prefix, &vias);
            if hops.is_none() && !vias.is_empty() && changed {
                incapable.push(prefix);
            }
            self.note(prefix, hops, &mut new);
        }
        self.warn_of(std::mem::take(&mut resolver.fresh), &before);
        self.warn_of_families(&incapable);
        self.resolutions = std::mem::take(&mut resolver.known);
        if self.resolutions.len() > 2 * self.named + SPARE {
            let named = rib.next_hops();
            self.resolutions.retain(|via, _| named.contains(via));
            self.named = named.len();
        }
        new
    }

    /// Logs which next hops are not used any more.
    fn warn_of(&mut self, fresh: Vec<(Via, Unusable)>, before: &Resolutions) {
        let new = |(via, why): &(Via, Unusable)| before.get(via) != Some(&Err(why.clone()));
        for (via, why) in fresh.into_iter().filter(new) {
            if let Some(end) = self.lines.line() {
                warn!("routes with the next hop {} are not used: {why}{end}", via.address);
            }
        }
    }

    /// Logs prefixes whose next hops are usable for the other family alone.
    fn warn_of_families(&mut self, prefixes: &[IpNetwork]) {
        if let Some(prefix) = prefixes.first()
            && let Some(end) = self.lines.line()
        {
            let count = prefixes.len();
            warn!(%prefix, count, "learned, and not used: next hops cannot carry its family{end}");
        }
    }

    /// Resolves next hops again where that may have changed; returns the earlier answers then.
    fn find(&mut self, rib: &mut Rib, resolver: &mut Resolver<'_>, all: bool) -> Resolutions {
        let before = std::mem::take(&mut self.resolutions);
        if !all {
            resolver.known = before;
            return Resolutions::new();
        }
        for via in rib.next_hops() {
            let resolved = resolver.resolved(&via);
            if before.get(&via).is_none_or(|before| *before != resolved) {
                rib.recheck(&via);
            }
        }
        before
    }

    /// Why the next hop of a path is not used.
    pub fn unusable(&self, bgp: &Bgp, path: &rib::Path) -> Option<Unusable> {
        match self.resolutions.get(&path.via)? {
            Ok(resolved) if resolved.connected || !is_strict(bgp, &path.source) => None,
            Ok(_) => Some(Unusable::OffLink),
            Err(why) => Some(why.clone()),
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
