//! Routes: what peers announced, which of it is used, what we announce. No I/O and no time.
//!
//! [`Rib`] keeps what each peer announced (Adj-RIB-In), as far as the import [`Policy`] admits it:
//! a peer that sends a full table costs nothing. [`select`] is the decision, a pure function.
//! [`AdjRibOut`] is what was announced to one peer.
//!
//! We are an end node and forward only our pods' traffic: we announce our own CIDRs, and pass no
//! learned route on to any peer. So iBGP's split horizon and the communities NO_EXPORT,
//! NO_ADVERTISE and NO_EXPORT_SUBCONFED are always obeyed, and we cannot cause a loop.

mod best_path;
mod export;
mod kept;
mod policy;

pub use best_path::{Path, Selection, Source, select};
pub use export::{AdjRibOut, Export, LocalAddresses, Unannounced, exports};
pub use kept::COMMUNITIES_MAX;
pub use policy::{AS_PATH_MAX, CLUSTERS_MAX, Policy, Rejected};

use crate::codec::{Family, NextHop, Update};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Where a route goes: an address, on the link of a peer if it is link-local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Via {
    /// Next hop of the kernel's route; an IPv6 one for an IPv4 prefix is RFC 8950.
    pub address: IpAddr,
    /// For a link-local address, the peer whose session's link it is on; else `None`, so that
    /// one next hop that two peers name is one.
    pub peer: Option<IpAddr>,
}

impl Via {
    /// The global address, unless there is none.
    fn new(next_hop: &NextHop, peer: IpAddr) -> Via {
        let link_local = next_hop.link_local.filter(|_| next_hop.address.is_unspecified());
        let address = link_local.map_or(next_hop.address, IpAddr::V6);
        let on_link = matches!(address, IpAddr::V6(v6) if Ipv6Addr::is_unicast_link_local(&v6));
        Via { address, peer: on_link.then_some(peer) }
    }
}

#[derive(Debug)]
struct Peer {
    source: Source,
    paths: BTreeMap<IpNetwork, Arc<Path>>,
    /// The prefixes of `paths` by next hop: never empty sets.
    by_via: BTreeMap<Via, BTreeSet<IpNetwork>>,
    /// How many of `paths` are of IPv4.
    ipv4: usize,
    rejected: BTreeMap<Rejected, u64>,
    /// Its last path, if it is one that may be kept: UPDATEs with equal attributes share it.
    last: Option<Arc<Path>>,
    /// UPDATEs of which communities were left out.
    shortened: u64,
}

impl Peer {
    /// Gives the path of before.
    fn insert(&mut self, prefix: IpNetwork, path: &Arc<Path>) -> Option<Arc<Path>> {
        let old = self.paths.insert(prefix, Arc::clone(path));
        self.ipv4 += usize::from(old.is_none() && prefix.is_ipv4());
        if old.as_ref().is_none_or(|old| old.via != path.via) {
            self.unlist(&prefix, old.as_deref());
            self.by_via.entry(path.via).or_default().insert(prefix);
        }
        old
    }

    fn remove(&mut self, prefix: &IpNetwork) -> Option<Arc<Path>> {
        let old = self.paths.remove(prefix);
        self.ipv4 -= usize::from(old.is_some() && prefix.is_ipv4());
        self.unlist(prefix, old.as_deref());
        old
    }

    fn unlist(&mut self, prefix: &IpNetwork, path: Option<&Path>) {
        let Some(via) = path.map(|path| path.via) else { return };
        if let Some(prefixes) = self.by_via.get_mut(&via) {
            prefixes.remove(prefix);
            if prefixes.is_empty() {
                self.by_via.remove(&via);
            }
        }
    }
}

/// All peers' routes.
#[derive(Debug)]
pub struct Rib {
    policy: Policy,
    peers: BTreeMap<IpAddr, Peer>,
    /// Prefixes to decide again.
    dirty: BTreeSet<IpNetwork>,
    /// The prefix that was decided on last: those behind it come next, so that one that changes all
    /// the time holds up no other.
    last: Option<IpNetwork>,
    /// What was decided: never empty lists.
    routes: BTreeMap<IpNetwork, Vec<Via>>,
}

/// A prefix that was decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Which one.
    pub prefix: IpNetwork,
    /// Its next hops, ascending; none: remove the route.
    pub vias: Vec<Via>,
    /// They are others than before.
    pub changed: bool,
}

impl Rib {
    /// An empty RIB.
    pub fn new(policy: Policy) -> Rib {
        let (peers, dirty, last, routes) = Default::default();
        Rib { policy, peers, dirty, last, routes }
    }

    /// A session came up; the peer begins with nothing.
    pub fn up(&mut self, source: Source) {
        self.down(source.address);
        let (paths, by_via, ipv4, rejected, last, shortened) = Default::default();
        let peer = Peer { source, paths, by_via, ipv4, rejected, last, shortened };
        self.peers.insert(source.address, peer);
    }

    /// A session is over: all that the peer announced is withdrawn.
    pub fn down(&mut self, peer: IpAddr) {
        if let Some(peer) = self.peers.remove(&peer) {
            self.dirty.extend(peer.paths.into_keys());
        }
    }

    /// Takes an UPDATE of a peer that is [`up`](Rib::up); of another, it does nothing. What the
    /// policy does not admit replaces, and so withdraws, what the peer announced before.
    pub fn update(&mut self, peer: IpAddr, update: &Update) {
        let Some(peer) = self.peers.get_mut(&peer) else { return };
        let unread = |prefix: &IpNetwork| update.disabled.contains(&Family::of(prefix));
        if !update.disabled.is_empty() {
            let gone = peer.paths.keys().copied().filter(unread);
            for prefix in gone.collect::<Vec<_>>() {
                peer.remove(&prefix);
                self.dirty.insert(prefix);
            }
        }
        for prefix in &update.withdrawn {
            if peer.remove(prefix).is_some() {
                self.dirty.insert(*prefix);
            }
        }
        for announced in &update.announced {
            let via = Via::new(&announced.next_hop, peer.source.address);
            let path = peer.path(via, &update.attributes);
            for prefix in &announced.prefixes {
                let old = match self.policy.admits(prefix, &path) {
                    Ok(()) => peer.insert(*prefix, &path),
                    Err(rejected) => {
                        *peer.rejected.entry(rejected).or_default() += 1;
                        peer.remove(prefix)
                    }
                };
                if old.as_ref() != peer.paths.get(prefix) {
                    self.dirty.insert(*prefix);
                }
            }
        }
    }

    /// Sets a new import policy; returns whether it may admit more. Routes that it does not admit are
    /// removed at once; for those that it admits in addition, peers must send their routes again:
    /// [`Event::Refresh`](crate::fsm::Event::Refresh).
    pub fn set_policy(&mut self, policy: Policy) -> bool {
        for peer in self.peers.values_mut() {
            let goes =
                |(prefix, path): &(&IpNetwork, &Arc<Path>)| policy.admits(prefix, path).is_err();
            let gone: Vec<IpNetwork> =
                peer.paths.iter().filter(goes).map(|(prefix, _)| *prefix).collect();
            for prefix in gone {
                peer.remove(&prefix);
                self.dirty.insert(prefix);
            }
        }
        let before = std::mem::replace(&mut self.policy, policy);
        self.policy.is_wider_than(&before)
    }

    /// A next hop may have become usable or unusable, or cost another amount: the prefixes that
    /// have it are decided again.
    pub fn recheck(&mut self, via: &Via) {
        let named = self.peers.values().filter_map(|peer| peer.by_via.get(via));
        self.dirty.extend(named.flatten());
    }

    /// Routes to a range may be used or refused now: the prefixes that cover it or are inside of it
    /// are decided again if they have next hops.
    pub fn recheck_range(&mut self, range: IpNetwork) {
        let (first, last, single) = match range {
            IpNetwork::V4(range) => (range.network().into(), range.broadcast().into(), 32),
            IpNetwork::V6(range) => (range.network().into(), range.broadcast().into(), 128),
        };
        let network = |address: IpAddr, prefix| IpNetwork::new(address, prefix).ok();
        let covering = (0..range.prefix()).filter_map(|prefix| {
            let wider = network(first, prefix)?;
            network(wider.network(), prefix).filter(|wider| self.routes.contains_key(wider))
        });
        self.dirty.extend(covering);
        let bounds = network(first, range.prefix()).zip(network(last, single));
        let inside = bounds.map(|(first, last)| self.routes.range(first..=last));
        self.dirty.extend(inside.into_iter().flatten().map(|(prefix, _)| *prefix));
    }

    /// Every next hop that a path names, once, ascending.
    pub fn next_hops(&self) -> BTreeSet<Via> {
        self.peers.values().flat_map(|peer| peer.by_via.keys().copied()).collect()
    }

    /// Decides on what changed, and returns the routes that are different now: prefix → next
    /// hops, ascending; without next hops the route must be removed.
    ///
    /// `cost` is the cost to a next hop (RFC 4271 section 9.1.2.2 e), such as the metric of the
    /// route to it, or 0; `None` means that it must not be used: no route leads there but one of
    /// ours, its link is down or without carrier, or it is an address of this node (section
    /// 5.1.3). An eBGP peer that is not multihop may only name next hops on a connected network.
    pub fn changes(
        &mut self,
        cost: impl FnMut(&Via, &Source) -> Option<u32>,
    ) -> BTreeMap<IpNetwork, Vec<Via>> {
        let decided = self.decide(usize::MAX, cost);
        let changed = decided.into_iter().filter(|decided| decided.changed);
        changed.map(|decided| (decided.prefix, decided.vias)).collect()
    }

    /// As [`changes`](Rib::changes), of at most so many prefixes; what is left is for the next
    /// call, see [`is_decided`](Rib::is_decided). Tells all of those that it decided on.
    pub fn decide(
        &mut self,
        most: usize,
        mut cost: impl FnMut(&Via, &Source) -> Option<u32>,
    ) -> Vec<Decided> {
        let mut decided = Vec::with_capacity(self.dirty.len().min(most));
        while decided.len() < most
            && let Some(prefix) = self.next()
        {
            decided.push(self.decide_on(prefix, &mut cost));
        }
        decided
    }

    /// Takes the next prefix to decide on.
    fn next(&mut self) -> Option<IpNetwork> {
        use std::ops::Bound::{Excluded, Unbounded};
        let behind = self.last.map(|last| (Excluded(last), Unbounded));
        let next = behind.and_then(|behind| self.dirty.range(behind).next().copied());
        let next = next.or_else(|| self.dirty.first().copied())?;
        self.dirty.remove(&next);
        self.last = Some(next);
        Some(next)
    }

    fn decide_on(
        &mut self,
        prefix: IpNetwork,
        cost: &mut impl FnMut(&Via, &Source) -> Option<u32>,
    ) -> Decided {
        let paths = self.peers.values().filter_map(|peer| peer.paths.get(&prefix));
        let usable: Vec<(&Path, u32)> = paths
            .filter_map(|path| Some((path.as_ref(), cost(&path.via, &path.source)?)))
            .collect();
        let vias = select(&usable).map(|selection| selection.vias()).unwrap_or_default();
        let old = if vias.is_empty() {
            self.routes.remove(&prefix).unwrap_or_default()
        } else {
            self.routes.insert(prefix, vias.clone()).unwrap_or_default()
        };
        Decided { prefix, changed: old != vias, vias }
    }

    /// Whether nothing is left to decide on.
    pub fn is_decided(&self) -> bool {
        self.dirty.is_empty()
    }

    /// All routes, as [`changes`](Rib::changes) last decided.
    pub fn routes(&self) -> &BTreeMap<IpNetwork, Vec<Via>> {
        &self.routes
    }

    /// What a peer announced and the policy admits.
    pub fn paths(&self, peer: IpAddr) -> impl Iterator<Item = (&IpNetwork, &Path)> {
        let paths = self.peers.get(&peer).into_iter().flat_map(|peer| &peer.paths);
        paths.map(|(prefix, path)| (prefix, path.as_ref()))
    }

    /// How many prefixes a peer announced that the policy admits.
    pub fn count(&self, peer: IpAddr) -> usize {
        self.peers.get(&peer).map_or(0, |peer| peer.paths.len())
    }

    /// A peer's path to a prefix, if the policy admits it.
    pub fn path(&self, peer: IpAddr, prefix: &IpNetwork) -> Option<&Path> {
        self.peers.get(&peer)?.paths.get(prefix).map(AsRef::as_ref)
    }

    /// The prefixes that a peer announced and the policy admits, by next hop: never empty sets.
    pub fn by_next_hop(&self, peer: IpAddr) -> impl Iterator<Item = (&Via, &BTreeSet<IpNetwork>)> {
        self.peers.get(&peer).into_iter().flat_map(|peer| &peer.by_via)
    }

    /// As [`count`](Rib::count), of one family.
    pub fn count_of(&self, peer: IpAddr, family: Family) -> usize {
        self.peers.get(&peer).map_or(0, |peer| match family {
            Family::Ipv4 => peer.ipv4,
            Family::Ipv6 => peer.paths.len() - peer.ipv4,
        })
    }

    /// Whether a peer announced a prefix that the policy admits.
    pub fn has(&self, peer: IpAddr, prefix: &IpNetwork) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.paths.contains_key(prefix))
    }

    /// UPDATEs of a peer since the session came up of whose communities only the first
    /// [`COMMUNITIES_MAX`] are kept.
    pub fn shortened(&self, peer: IpAddr) -> u64 {
        self.peers.get(&peer).map_or(0, |peer| peer.shortened)
    }

    /// Announcements of a peer that the policy did not admit since the session came up, by reason.
    pub fn rejected(&self, peer: IpAddr) -> BTreeMap<Rejected, u64> {
        self.peers.get(&peer).map(|peer| peer.rejected.clone()).unwrap_or_default()
    }
}
