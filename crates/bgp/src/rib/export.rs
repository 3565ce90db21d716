//! What we announce: our own CIDRs, with ourselves as the next hop.

use crate::codec::{
    Announced, Attributes, Communities, Context, Family, GRACEFUL_SHUTDOWN, NextHop, Origin,
    Update, canonical,
};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// LOCAL_PREF that we send to iBGP peers.
const LOCAL_PREF: u32 = 100;

/// Our own addresses as one peer should use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddresses {
    /// The local address of the session's connection.
    pub session: IpAddr,
    /// The node's IPv4 address, for IPv4 over an IPv6 session without RFC 8950.
    pub ipv4: Option<Ipv4Addr>,
    /// The node's IPv6 address, for IPv6 over an IPv4 session.
    pub ipv6: Option<Ipv6Addr>,
    /// Our link-local address on the link of the session, if the peer is on that link (RFC 2545
    /// section 3).
    pub link_local: Option<Ipv6Addr>,
}

/// How one prefix is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Ourselves.
    pub next_hop: NextHop,
    /// What goes with it.
    pub attributes: Attributes,
}

/// Why a prefix cannot be announced to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unannounced {
    /// The peer did not offer the family.
    #[error("the peer does not take {0} prefixes")]
    Family(Family),
    /// There is no address to name as the next hop.
    #[error("this node has no {0} address to name as the next hop")]
    NextHop(Family),
}

impl LocalAddresses {
    /// Next-hop-self: the session's own address where the family allows, else the node's.
    fn next_hop(&self, family: Family, context: &Context) -> Option<NextHop> {
        let v6 = |address: Ipv6Addr| NextHop {
            address: address.into(),
            link_local: self.link_local.filter(|link_local| *link_local != address),
        };
        let v4 = |address: Ipv4Addr| NextHop { address: address.into(), link_local: None };
        match (family, self.session) {
            (Family::Ipv4, IpAddr::V4(session)) => Some(v4(session)),
            (Family::Ipv4, IpAddr::V6(session)) if context.extended_next_hop => Some(v6(session)),
            (Family::Ipv4, IpAddr::V6(_)) => self.ipv4.map(v4),
            (Family::Ipv6, IpAddr::V6(session)) => Some(v6(session)),
            (Family::Ipv6, IpAddr::V4(_)) => self.ipv6.map(v6),
        }
    }
}

/// What to announce to one peer of `own`, our CIDRs and the communities of each; and what cannot
/// be announced, and why. `context` is the session's.
pub fn exports(
    own: &BTreeMap<IpNetwork, Communities>,
    local_asn: u32,
    local: &LocalAddresses,
    context: &Context,
) -> (BTreeMap<IpNetwork, Export>, BTreeMap<IpNetwork, Unannounced>) {
    let (mut exports, mut unannounced) = (BTreeMap::new(), BTreeMap::new());
    for (prefix, communities) in own {
        let family = Family::of(prefix);
        let prefix = canonical(prefix);
        let next_hop = local.next_hop(family, context).ok_or(Unannounced::NextHop(family));
        let offered = context.families.contains(&family);
        match next_hop.and_then(|n| if offered { Ok(n) } else { Err(Unannounced::Family(family)) })
        {
            Err(why) => drop(unannounced.insert(prefix, why)),
            Ok(next_hop) => {
                // RFC 8326 section 4: it is about to go, and inside of the AS says so by this too.
                let going = communities.standard.contains(&GRACEFUL_SHUTDOWN);
                let preference = if going { 0 } else { LOCAL_PREF };
                let attributes = Attributes {
                    origin: Origin::Igp,
                    as_path: if context.internal { vec![] } else { vec![local_asn] },
                    local_pref: context.internal.then_some(preference),
                    communities: communities.standard.clone(),
                    large_communities: communities.large.clone(),
                    ..Attributes::default()
                };
                exports.insert(prefix, Export { next_hop, attributes });
            }
        }
    }
    (exports, unannounced)
}

/// What was announced to one peer in this session (Adj-RIB-Out). Begin with a new one when the session
/// comes up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdjRibOut {
    announced: BTreeMap<IpNetwork, Export>,
}

impl AdjRibOut {
    /// Nothing was announced.
    pub fn new() -> AdjRibOut {
        AdjRibOut::default()
    }

    /// The UPDATEs after which the peer has exactly `exports`; for
    /// [`Event::Advertise`](crate::fsm::Event::Advertise).
    pub fn sync(&mut self, exports: BTreeMap<IpNetwork, Export>) -> Vec<Update> {
        let gone = self.announced.keys().filter(|prefix| !exports.contains_key(prefix));
        let withdrawn: Vec<IpNetwork> = gone.copied().collect();
        let new =
            exports.iter().filter(|(prefix, export)| self.announced.get(prefix) != Some(export));
        let mut updates: Vec<Update> = vec![];
        for (prefix, Export { next_hop, attributes }) in new {
            let same = updates.iter_mut().filter(|update| update.attributes == *attributes);
            let mut lists = same.flat_map(|update| &mut update.announced);
            match lists.find(|announced| announced.next_hop == *next_hop) {
                Some(announced) => announced.prefixes.push(*prefix),
                None => updates.push(Update {
                    announced: vec![Announced { next_hop: *next_hop, prefixes: vec![*prefix] }],
                    attributes: attributes.clone(),
                    ..Update::default()
                }),
            }
        }
        if !withdrawn.is_empty() {
            updates.insert(0, Update { withdrawn, ..Update::default() });
        }
        self.announced = exports;
        updates
    }

    /// The peer asks for a family again: it knows nothing of it.
    pub fn forget(&mut self, family: Family) {
        self.announced.retain(|prefix, _| Family::of(prefix) != family);
    }

    /// What ends the first round of a session: End-of-RIB for each family (RFC 4724 section 2).
    pub fn end_of_rib(families: &BTreeSet<Family>) -> Vec<Update> {
        let end = |family: &Family| Update { end_of_rib: Some(*family), ..Update::default() };
        families.iter().map(end).collect()
    }

    /// How many prefixes the peer knows of us.
    pub fn len(&self) -> usize {
        self.announced.len()
    }

    /// The peer knows none.
    pub fn is_empty(&self) -> bool {
        self.announced.is_empty()
    }
}
