//! Routes: what peers announced, which of it is used, what we announce. No I/O and no time.
//!
//! [`Rib`] keeps what each peer announced (Adj-RIB-In), as far as the import [`Policy`] admits it:
//! a peer that sends a full table costs nothing. [`select`] is the decision, a pure function.
//! [`AdjRibOut`] is what one peer was told.
//!
//! We are an end node and carry nobody's traffic but our pods': only our own CIDRs are announced,
//! and nothing that was heard is passed on, to nobody. So iBGP's split horizon holds by itself,
//! as do NO_EXPORT and its kin, and no loop can come of us.

mod best_path;
mod export;
mod policy;

pub use best_path::{Path, Selection, Source, select};
pub use export::{AdjRibOut, Export, LocalAddresses, Unannounced, exports};
pub use policy::{Policy, Rejected};

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
    rejected: BTreeMap<Rejected, u64>,
}

/// All peers' routes.
#[derive(Debug)]
pub struct Rib {
    policy: Policy,
    peers: BTreeMap<IpAddr, Peer>,
    /// Prefixes to decide anew.
    dirty: BTreeSet<IpNetwork>,
    /// What was decided: never empty lists.
    routes: BTreeMap<IpNetwork, Vec<Via>>,
}

impl Rib {
    /// An empty RIB.
    pub fn new(policy: Policy) -> Rib {
        let (peers, dirty, routes) = Default::default();
        Rib { policy, peers, dirty, routes }
    }

    /// A session came up; the peer begins with nothing.
    pub fn up(&mut self, source: Source) {
        self.down(source.address);
        let peer = Peer { source, paths: BTreeMap::new(), rejected: BTreeMap::new() };
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
            let gone = peer.paths.keys().filter(|prefix| unread(prefix));
            self.dirty.extend(gone);
            peer.paths.retain(|prefix, _| !unread(prefix));
        }
        for prefix in &update.withdrawn {
            if peer.paths.remove(prefix).is_some() {
                self.dirty.insert(*prefix);
            }
        }
        for announced in &update.announced {
            let via = Via::new(&announced.next_hop, peer.source.address);
            let attributes = update.attributes.clone();
            let path = Arc::new(Path { source: peer.source, via, attributes });
            for prefix in &announced.prefixes {
                let old = match self.policy.admits(prefix, &path) {
                    Ok(()) => peer.paths.insert(*prefix, Arc::clone(&path)),
                    Err(rejected) => {
                        *peer.rejected.entry(rejected).or_default() += 1;
                        peer.paths.remove(prefix)
                    }
                };
                if old.as_ref() != peer.paths.get(prefix) {
                    self.dirty.insert(*prefix);
                }
            }
        }
    }

    /// A new import policy; gives whether it may admit more. What it does not admit goes at once;
    /// what it admits more, the peers have to send again:
    /// [`Event::Refresh`](crate::fsm::Event::Refresh).
    pub fn set_policy(&mut self, policy: Policy) -> bool {
        for peer in self.peers.values_mut() {
            let dirty = &mut self.dirty;
            peer.paths.retain(|prefix, path| {
                let stays = policy.admits(prefix, path).is_ok();
                if !stays {
                    dirty.insert(*prefix);
                }
                stays
            });
        }
        let before = std::mem::replace(&mut self.policy, policy);
        self.policy.is_wider_than(&before)
    }

    /// Next hops may have become usable or unusable: [`changes`](Rib::changes) decides on every
    /// prefix anew.
    pub fn recheck(&mut self) {
        let held = self.peers.values().flat_map(|peer| peer.paths.keys().copied());
        self.dirty.extend(held);
    }

    /// Decides on what changed, and says which routes are now other than before: prefix → next
    /// hops, ascending; without next hops the route shall go.
    ///
    /// `cost` is the cost to a next hop (RFC 4271 section 9.1.2.2 e), such as the metric of the
    /// route to it, or 0; `None` means that it must not be used: no route leads there but one of
    /// ours, its link is down or without carrier, or it is an address of this node (section
    /// 5.1.3). An eBGP peer that is not multihop may only name next hops on a connected network.
    pub fn changes(
        &mut self,
        mut cost: impl FnMut(&Via, &Source) -> Option<u32>,
    ) -> BTreeMap<IpNetwork, Vec<Via>> {
        let mut changes = BTreeMap::new();
        for prefix in std::mem::take(&mut self.dirty) {
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
            if old != vias {
                changes.insert(prefix, vias);
            }
        }
        changes
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

    /// Whether a peer announced a prefix that the policy admits.
    pub fn has(&self, peer: IpAddr, prefix: &IpNetwork) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.paths.contains_key(prefix))
    }

    /// Announcements of a peer that the policy did not admit since the session came up, by reason.
    pub fn rejected(&self, peer: IpAddr) -> BTreeMap<Rejected, u64> {
        self.peers.get(&peer).map(|peer| peer.rejected.clone()).unwrap_or_default()
    }
}
