//! What of a node set is used: the part that does not contradict itself.

use super::places::Places;
use super::{Accepted, Node, NodeSet, Refused, similar};
use crate::prefix::{martian, outside, overlap};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

impl NodeSet {
    /// Takes what is valid and refuses the rest. Of two nodes with one address the first by name
    /// has it, on every node that sees the same set, the other one of the two too: what a node
    /// takes for its own is what the others send to. Of two CIDRs that overlap this node's own
    /// wins, since its pods are there; then the first by name. `cluster`: what all pod CIDRs are
    /// inside of, if it is not empty.
    pub fn accept(&self, own: &str, cluster: &[IpNetwork], services: &[IpNetwork]) -> Accepted {
        let mut sorted: Vec<&Node> = self.nodes.iter().collect();
        sorted.sort_by_key(|node| node.name.as_str());
        let mut refusals = Refusals {
            cluster,
            services,
            places: Places::of(&sorted),
            addresses: HashMap::new(),
            cidrs: BTreeMap::new(),
            refused: self.refused.clone(),
        };
        let possible =
            |cidr| impossible(services, cidr).or_else(|| outside(cidr, cluster)).is_none();
        refusals.places.find_intruders(&sorted, possible);
        let mut known: Vec<(&Node, Vec<IpAddr>)> = Vec::with_capacity(sorted.len());
        for node in sorted {
            if known.last().is_some_and(|(last, _)| last.name == node.name) {
                let reason = "the name is in the node set twice; give each node one entry";
                refusals.refuse(node, None, reason.to_owned());
                continue;
            }
            if let Some(reason) = fault_of_name(&node.name) {
                refusals.refuse(node, None, reason.to_owned());
                continue;
            }
            known.push((node, refusals.valid_addresses(node)));
        }
        let lacks =
            |(_, has): &&(&Node, Vec<IpAddr>)| !has.is_empty() && !has.iter().any(IpAddr::is_ipv6);
        let without_ipv6 = known.iter().find(lacks).map(|(node, _)| node.name.clone());
        known.sort_by_key(|(node, _)| node.name != own);
        let mut accepted = Accepted { without_ipv6, ..Accepted::default() };
        for (node, addresses) in known {
            let pod_cidrs = refusals.valid_cidrs(node);
            let valid = Node { name: node.name.clone(), addresses, pod_cidrs };
            if node.name == own {
                accepted.own = Some(valid);
            } else {
                accepted.others.push(valid);
            }
        }
        accepted.refused = refusals.refused;
        if accepted.own.is_none() {
            accepted.similar = similar::name(own, self.nodes.iter().map(|node| node.name.as_str()));
        }
        accepted
    }
}

/// Why a CIDR is no node's, whatever the other nodes have.
fn impossible(services: &[IpNetwork], cidr: IpNetwork) -> Option<String> {
    let first = cidr.network();
    if cidr.ip() != first {
        return Some(format!("it has host bits; did you mean {first}/{}?", cidr.prefix()));
    }
    if let Some(reason) = martian(cidr) {
        return Some(format!("{reason}; give the node another range"));
    }
    let service = services.iter().find(|service| overlap(**service, cidr))?;
    Some(format!("it overlaps the service range {service}"))
}

/// Characters that are shown as nothing, or turn the text around (RFC 5891, Unicode's Bidi_Control).
fn is_hidden(c: char) -> bool {
    let format = ['\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2060}'..='\u{206f}'];
    c.is_control() || c == '\u{feff}' || format.iter().any(|range| range.contains(&c))
}

fn fault_of_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("a node has an empty name; give it the name of its host");
    }
    if name.contains(is_hidden) {
        return Some("the name has control characters, shown here as ?; write it without");
    }
    (name.len() > 253).then_some("the name has more than 253 bytes; write the node's host name")
}

/// A name as it may be shown and logged, at most 253 bytes.
fn printable(name: &str) -> String {
    let shown = |c: char| if is_hidden(c) { '?' } else { c };
    let mut text: String = name.chars().take(253).map(shown).collect();
    while text.len() > 253 {
        text.pop();
    }
    text
}

struct Refusals<'a> {
    cluster: &'a [IpNetwork],
    services: &'a [IpNetwork],
    places: Places<'a>,
    /// Whose an address is.
    addresses: HashMap<IpAddr, &'a str>,
    /// First address of each accepted CIDR → CIDR and whose it is.
    cidrs: BTreeMap<IpAddr, (IpNetwork, &'a str)>,
    refused: Vec<Refused>,
}

impl<'a> Refusals<'a> {
    fn refuse(&mut self, node: &Node, cidr: Option<IpNetwork>, reason: String) {
        self.refused.push(Refused { node: printable(&node.name), cidr, reason });
    }

    fn valid_addresses(&mut self, node: &'a Node) -> Vec<IpAddr> {
        let mut valid = Vec::with_capacity(node.addresses.len());
        for address in &node.addresses {
            match self.fault_of_address(node, *address) {
                Some(reason) => self.refuse(node, None, reason),
                None => valid.push(*address),
            }
        }
        valid
    }

    fn valid_cidrs(&mut self, node: &'a Node) -> Vec<IpNetwork> {
        let mut valid = Vec::with_capacity(node.pod_cidrs.len());
        for cidr in &node.pod_cidrs {
            match self.fault_of_cidr(node, *cidr) {
                Some(reason) => self.refuse(node, Some(*cidr), reason),
                None => valid.push(*cidr),
            }
        }
        valid
    }

    fn fault_of_address(&mut self, node: &'a Node, address: IpAddr) -> Option<String> {
        // RFC 6890: "this network" and broadcast, link-local and IPv4-mapped ones.
        let special = match address {
            IpAddr::V4(four) => four.octets()[0] == 0 || four.is_broadcast(),
            IpAddr::V6(six) => six.is_unicast_link_local() || six.to_ipv4_mapped().is_some(),
        };
        let reached =
            !(address.is_unspecified() || address.is_loopback() || address.is_multicast());
        if special || !reached {
            return Some(format!(
                "{address} is no address that other nodes can reach; give the node one of a link"
            ));
        }
        if let Some((cidr, owner)) = self.places.intruder(address) {
            return Some(format!(
                "{address} is inside {cidr}, pods of node {owner}; give the node an address outside \
                 of all pod CIDRs"
            ));
        }
        match self.addresses.insert(address, &node.name) {
            Some(owner) if owner != node.name => {
                self.addresses.insert(address, owner);
                Some(format!("address {address} is node {owner}'s too; one node has it"))
            }
            _ => None,
        }
    }

    fn fault_of_cidr(&mut self, node: &'a Node, cidr: IpNetwork) -> Option<String> {
        let first = cidr.network();
        let fault = impossible(self.services, cidr);
        let fault = fault.or_else(|| self.places.covered(node, cidr));
        if let Some(reason) = fault.or_else(|| outside(cidr, self.cluster)) {
            return Some(reason);
        }
        // CIDRs are disjoint or nested: the neighbours in order are all that can overlap.
        let before = self.cidrs.range(..=first).next_back();
        let after = self.cidrs.range(first..).next();
        let other = [before, after].into_iter().flatten().map(|(_, found)| found);
        for (found, owner) in other {
            if *found == cidr && *owner == node.name {
                return Some("it is listed twice".to_owned());
            }
            if overlap(*found, cidr) {
                return Some(format!(
                    "it overlaps {found} of node {owner}; give each node a range of its own"
                ));
            }
        }
        self.cidrs.insert(first, (cidr, &node.name));
        None
    }
}
