//! Which destinations may be routed to other nodes, or to BGP peers: what no pod CIDR can be, what
//! is outside of the CIDRs that are configured, and what this node itself needs to reach.

use crate::facts::Facts;
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a destination is not routed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In words, with the value that is in the way and the remedy.
    pub reason: String,
    /// It would be fine but for what this node holds at the moment.
    pub conflict: bool,
}

/// Ranges that are never a pod's (RFC 6890). Documentation ranges are not among them.
const MARTIANS: [(IpAddr, u8, &str); 10] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8, "\"this network\""),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8, "loopback addresses"),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16, "link-local addresses"),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4, "multicast"),
    (IpAddr::V4(Ipv4Addr::new(240, 0, 0, 0)), 4, "reserved addresses"),
    (
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        96,
        "the unspecified, loopback and IPv4-compatible addresses",
    ),
    (IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0)), 96, "IPv4-mapped addresses"),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10, "link-local addresses"),
    (IpAddr::V6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0)), 10, "site-local addresses"),
    (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8, "multicast"),
];

/// The widest prefix that one node's pods may have: 10.0.0.0/8, or a whole allocation of IPv6.
const WIDEST: [u8; 2] = [8, 16];

/// Why no node's pods can have a CIDR, wherever one looks from.
pub fn martian(cidr: IpNetwork) -> Option<String> {
    let [four, six] = WIDEST;
    let widest = if cidr.is_ipv4() { four } else { six };
    if cidr.prefix() < widest {
        return Some(format!(
            "it is no range of pod addresses: it is wider than /{widest}; give the node one of its own"
        ));
    }
    let met = MARTIANS.iter().find(|(first, prefix, _)| {
        IpNetwork::new(*first, *prefix).is_ok_and(|range| overlap(range, cidr))
    });
    met.map(|(first, prefix, what)| {
        format!(
            "it is no range of pod addresses: {first}/{prefix} are {what}; give the node another range"
        )
    })
}

/// Why a CIDR is outside of `bounds`, where there are any.
pub fn outside(cidr: IpNetwork, bounds: &[IpNetwork]) -> Option<String> {
    let within = |bound: &IpNetwork| bound.prefix() <= cidr.prefix() && overlap(*bound, cidr);
    (!bounds.is_empty() && !bounds.iter().any(within)).then(|| {
        "it is outside of cluster-cidrs; correct the node's CIDR, or add its range to cluster-cidrs"
            .to_owned()
    })
}

/// What of this node no route to others may cover, as of [`Facts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved<'a> {
    /// Addresses, and the names of their links.
    addresses: BTreeMap<IpAddr, &'a str>,
    /// Connected networks of more than one address, and the names of their links.
    networks: Vec<(IpNetwork, &'a str)>,
    facts: Option<&'a Facts>,
}

impl<'a> Reserved<'a> {
    /// Of a node's links and routes.
    pub fn of(facts: &'a Facts) -> Reserved<'a> {
        let mut reserved = Reserved { facts: Some(facts), ..Reserved::default() };
        for link in facts.links.values() {
            for held in &link.addresses {
                reserved.addresses.insert(held.ip(), &link.name);
                let alone = if held.is_ipv4() { 32 } else { 128 };
                if held.prefix() < alone {
                    reserved.networks.push((*held, &link.name));
                }
            }
        }
        reserved
    }

    /// Why a destination must not be routed to others: it holds, or is part of, what this node
    /// itself needs to reach. It grows with the number of connected networks alone.
    pub fn fault(&self, cidr: IpNetwork) -> Option<Refusal> {
        let range = || cidr.network()..=last_address(cidr);
        let conflict = |reason| Some(Refusal { reason, conflict: true });
        if let Some((address, link)) = self.addresses.range(range()).next() {
            return conflict(format!(
                "conflict: it covers {address}, an address of this node on {link}; remove that \
                 address if it is of an earlier pod CIDR, or correct the node set"
            ));
        }
        if let Some(gateway) = self.facts.and_then(|facts| facts.gateways.range(range()).next()) {
            return conflict(format!(
                "conflict: it covers {gateway}, a gateway of this node's routes; give pods a range \
                 of their own"
            ));
        }
        let (held, link) = self.networks.iter().find(|(held, _)| overlap(*held, cidr))?;
        let network = IpNetwork::new(held.network(), held.prefix()).unwrap_or(*held);
        conflict(format!(
            "conflict: it overlaps {network}, a network of this node on {link}; give pods a range of \
             their own"
        ))
    }
}

/// The last address of a CIDR.
pub(crate) fn last_address(cidr: IpNetwork) -> IpAddr {
    match cidr {
        IpNetwork::V4(cidr) => cidr.broadcast().into(),
        IpNetwork::V6(cidr) => cidr.broadcast().into(),
    }
}

/// Whether two CIDRs share an address.
pub(crate) fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    a.contains(b.network()) || b.contains(a.network())
}

#[cfg(test)]
mod tests;
