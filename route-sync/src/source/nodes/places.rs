//! Node addresses against pod CIDRs: which of the two is wrong where a CIDR covers another node's
//! address. Every node that sees the same set decides the same.

use super::Node;
use crate::prefix::last_address;
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Where nodes are, and who of them is where another one's pods are.
#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    /// Every node's addresses, those refused too: routing them into a tunnel would cut the node off.
    addresses: BTreeMap<IpAddr, &'a str>,
    /// Addresses inside the pod CIDR of another node, which is right.
    intruders: BTreeMap<IpAddr, (IpNetwork, &'a str)>,
}

impl<'a> Places<'a> {
    pub(super) fn of(nodes: &[&'a Node]) -> Places<'a> {
        let held = |node: &&'a Node| node.addresses.iter().map(|held| (*held, node.name.as_str()));
        // The first by name has an address.
        let addresses = nodes.iter().rev().flat_map(held).collect();
        Places { addresses, intruders: BTreeMap::new() }
    }

    /// Finds the addresses that are wrong and not the CIDRs around them; `possible`: whether a CIDR
    /// may be one at all.
    pub(super) fn find_intruders(
        &mut self,
        nodes: &[&'a Node],
        possible: impl Fn(IpNetwork) -> bool,
    ) {
        for node in nodes {
            for cidr in node.pod_cidrs.iter().filter(|cidr| possible(**cidr)) {
                if self.is_wrong(node, *cidr) {
                    continue;
                }
                let covered = self.within(*cidr).map(|(address, _)| *address);
                let covered: Vec<IpAddr> = covered.collect();
                let found =
                    covered.into_iter().map(|address| (address, (*cidr, node.name.as_str())));
                self.intruders.extend(found);
            }
        }
    }

    /// The CIDR, and its node, that a node's address must not be inside of.
    pub(super) fn intruder(&self, address: IpAddr) -> Option<(IpNetwork, &'a str)> {
        self.intruders.get(&address).copied()
    }

    /// Why a CIDR must not be `node`'s: it covers addresses of nodes, and they are right.
    pub(super) fn covered(&self, node: &Node, cidr: IpNetwork) -> Option<String> {
        let (address, _) = self.within(cidr).next().filter(|_| self.is_wrong(node, cidr))?;
        Some(format!(
            "it covers {address}, which is a node's address; give node {} another range",
            node.name
        ))
    }

    fn within(&self, cidr: IpNetwork) -> impl Iterator<Item = (&IpAddr, &&'a str)> {
        self.addresses.range(cidr.network()..=last_address(cidr))
    }

    /// Whether a CIDR that covers addresses of nodes is itself wrong: it covers its own node's
    /// address, those of two others, or one that is close to those of other nodes. A single distant
    /// address inside of another node's CIDR is no reason to refuse that CIDR.
    fn is_wrong(&self, node: &Node, cidr: IpNetwork) -> bool {
        let mut owners = BTreeSet::new();
        // Nobody reaches the pods of a node without an address.
        if node.addresses.is_empty() {
            return self.within(cidr).next().is_some();
        }
        for (address, owner) in self.within(cidr) {
            owners.insert(*owner);
            if *owner == node.name
                || owners.len() > 1
                || self.is_among_others(*address, owner, cidr)
            {
                return true;
            }
        }
        false
    }

    /// Whether another node has an address in the same /24 or /64, outside of the CIDR.
    fn is_among_others(&self, address: IpAddr, owner: &str, cidr: IpNetwork) -> bool {
        let Ok(link) = IpNetwork::new(address, if address.is_ipv4() { 24 } else { 64 }) else {
            return false;
        };
        let mut there = self.within(link);
        there.any(|(other, of)| *of != owner && !cidr.contains(*other))
    }
}
