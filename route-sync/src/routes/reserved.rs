//! What this node itself needs to reach, so that no route to other nodes or to BGP peers may take it.

use crate::facts::Facts;
use crate::prefix::{last_address, martian, overlap, single};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Why a destination is not routed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In words, with the value that is in the way and the remedy.
    pub reason: String,
    /// It would be fine but for what this node holds at the moment.
    pub conflict: bool,
}

/// What of this node no route to others may cover or be a part of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Addresses, and what they are.
    addresses: BTreeMap<IpAddr, Held>,
    /// Connected networks of more than one address, and the names of their links.
    networks: Vec<(IpNetwork, Arc<str>)>,
}

/// What an address is that no route may cover.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    /// This node's, on the link of this name.
    Own(Arc<str>),
    Gateway,
    /// Of a BGP session.
    Peer,
}

/// Why a destination is not routed to others.
struct Met {
    /// What is in the way.
    what: String,
    /// What to do at this node, if anything.
    here: &'static str,
    /// What to do about a node set.
    node_set: &'static str,
}

impl Reserved {
    /// Of a node's links and routes.
    pub fn of(facts: &Facts) -> Reserved {
        let mut reserved = Reserved::default();
        for gateway in &facts.gateways {
            reserved.addresses.insert(*gateway, Held::Gateway);
        }
        for link in facts.links.values() {
            let name: Arc<str> = link.name.as_str().into();
            for held in &link.addresses {
                reserved.addresses.insert(held.ip(), Held::Own(Arc::clone(&name)));
                if held.prefix() < single(held.ip()) {
                    let network = IpNetwork::new(held.network(), held.prefix()).unwrap_or(*held);
                    reserved.networks.push((network, Arc::clone(&name)));
                }
            }
        }
        reserved
    }

    /// As [`Reserved::of`], for what BGP peers announce: their own addresses too, and nothing of
    /// what is inside `own`, this node's pod CIDRs. Those are blackholes and bridges here, which
    /// are more specific than an aggregate of the cluster's.
    pub fn of_imports(
        facts: &Facts,
        own: &[IpNetwork],
        peers: impl Iterator<Item = IpAddr>,
    ) -> Reserved {
        let outside = |address: &IpAddr| !own.iter().any(|cidr| cidr.contains(*address));
        let mut facts = facts.clone();
        facts.gateways.retain(&outside);
        for link in facts.links.values_mut() {
            link.addresses.retain(|held| outside(&held.ip()));
        }
        let mut reserved = Reserved::of(&facts);
        for peer in peers.filter(outside) {
            reserved.addresses.entry(peer).or_insert(Held::Peer);
        }
        reserved
    }

    /// Every range of it; an address as a network of one.
    pub fn ranges(&self) -> BTreeSet<IpNetwork> {
        let addresses = self.addresses.keys().copied().map(IpNetwork::from);
        addresses.chain(self.networks.iter().map(|(network, _)| *network)).collect()
    }

    /// Why a destination of the node set must not be routed to others: it holds, or is part of,
    /// what this node itself needs to reach. It grows with the number of connected networks alone.
    pub fn fault(&self, cidr: IpNetwork) -> Option<Refusal> {
        let Met { what, here, node_set } = self.met(cidr)?;
        Some(Refusal { reason: format!("conflict: {what}; {here}{node_set}"), conflict: true })
    }

    /// The same of what a BGP peer announces; martians too.
    pub fn fault_of_import(&self, prefix: IpNetwork) -> Option<String> {
        let here = |met: Met| (met.what, met.here);
        let (what, here) =
            martian(prefix).map(|what| (what, "")).or_else(|| self.met(prefix).map(here))?;
        Some(format!(
            "{what}; {here}announce it no more at the peer, or narrow import-cidrs to the ranges of pods"
        ))
    }

    fn met(&self, cidr: IpNetwork) -> Option<Met> {
        let range = cidr.network()..=last_address(cidr);
        if let Some((address, held)) = self.addresses.range(range).next() {
            return Some(held.met(*address));
        }
        let (network, link) = self.networks.iter().find(|(held, _)| overlap(*held, cidr))?;
        let what = format!("it overlaps {network}, a network of this node on {link}");
        Some(Met { what, here: "", node_set: "give pods a range of their own" })
    }
}

impl Held {
    fn met(&self, address: IpAddr) -> Met {
        let node_set = "give pods a range of their own";
        match self {
            Held::Own(link) => Met {
                what: format!("it covers {address}, an address of this node on {link}"),
                here: "remove that address if it is of an earlier pod CIDR, or ",
                node_set: "correct the node set",
            },
            Held::Gateway => {
                let what = format!("it covers {address}, a gateway of this node's routes");
                Met { what, here: "", node_set }
            }
            Held::Peer => {
                let what = format!("it covers {address}, the address of a BGP peer");
                Met { what, here: "", node_set }
            }
        }
    }
}

#[cfg(test)]
mod tests;
