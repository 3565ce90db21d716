//! The guard of the tunnel's port.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::kernel::expr::{Ip, Rule};
use crate::kernel::set::{NAME_LEN, Span};
use crate::rules::rule;
use crate::rules::spans::{bits, bytes};
use crate::rules::tables::{PEERS4, PEERS6};

/// UDP to the port is dropped unless it comes from a peer over the underlay, or from where the way
/// to that peer leads, to the tunnel's own address. What is passed on is dropped if it goes to a peer
/// and does not come from one, or if it names a peer as its source and does not come from where the
/// way to that peer leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The tunnel's UDP port.
    pub port: u16,
    /// The name of the interface that peers send through, 1 to 15 bytes; None: whatever the way
    /// back to the peer leads through.
    pub underlay: Option<String>,
    /// The tunnel's own address. VXLAN listens on all that the node has, and those that no node
    /// set names are not known to the nodes on the way.
    pub local: IpAddr,
    /// The nodes' addresses. Those of the other family than the tunnel's count for what is passed
    /// on alone: the device has no socket of that family.
    pub peers: BTreeSet<IpAddr>,
}

impl Guard {
    pub(super) fn rules(&self) -> Vec<Rule> {
        let name = self.underlay.as_ref().map(|name| {
            let mut name = name.clone().into_bytes();
            name.resize(NAME_LEN, 0);
            name
        });
        let (ip, peers) = if self.local.is_ipv4() { (Ip::V4, PEERS4) } else { (Ip::V6, PEERS6) };
        let local = bytes(ip, bits(self.local));
        vec![rule::accept_udp_of(ip, peers.name, name, local, self.port), rule::drop_udp(self.port)]
    }

    pub(super) fn transit_rules(&self) -> Vec<Rule> {
        let own = if self.local.is_ipv4() { Ip::V4 } else { Ip::V6 };
        let families = [(Ip::V4, PEERS4), (Ip::V6, PEERS6)];
        let mut rules = vec![rule::accept_what_is_not_udp()];
        // A pod sends with any source address, and comes in by no link that leads to a peer. Without a
        // name of the underlay that holds for what is for the node too.
        let for_node = |ip: &Ip| self.underlay.is_none() && *ip == own;
        for (ip, peers) in families.iter().filter(|(ip, _)| for_node(ip)) {
            rules.push(rule::drop_udp_from_elsewhere(*ip, peers.name, self.port));
        }
        rules.push(rule::accept_udp_to_the_node(self.port));
        for (ip, peers) in families {
            rules.push(rule::drop_udp_of_strangers_to(ip, peers.name, self.port));
            if !for_node(&ip) {
                rules.push(rule::drop_udp_from_elsewhere(ip, peers.name, self.port));
            }
        }
        rules
    }

    /// The peers of one family.
    pub(super) fn peers(&self, ip: Ip) -> BTreeSet<Span> {
        let of_family = self.peers.iter().filter(|peer| peer.is_ipv4() == (ip == Ip::V4));
        of_family.map(|peer| Span { first: bytes(ip, bits(*peer)), end: None }).collect()
    }
}
