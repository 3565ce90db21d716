//! Rules as elements of sets.

use super::context::Context;
use super::items::{Entry, PolicyId};
use super::ports::{Named, resolved};
use crate::model::{
    AddressRange, Block, Direction, Family, Peer, Port, PortRange, Rule, family, ranges,
};
use nft::policy::{Kind, Members};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// What rules match, of both families.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    /// Every packet.
    pub everything: bool,
    /// Sets that there are, even if they have no elements now.
    declared: BTreeSet<(Kind, Family)>,
    peers: Vec<IpAddr>,
    peer_ports: Vec<(IpAddr, u8, u16)>,
    ports: Vec<(u8, u16)>,
    networks: Vec<AddressRange>,
    boxes: Vec<(AddressRange, u8, PortRange)>,
}

/// The peers of a rule, in one form.
enum Peers<'a> {
    Anybody,
    Pods(Vec<&'a Entry>),
    Block(&'a Block),
}

impl Elements {
    /// Adds a rule of a policy.
    pub fn add(
        &mut self,
        rule: &Rule,
        (policy, at): (PolicyId, usize),
        direction: Direction,
        named: &Named,
        context: &Context,
    ) {
        for peers in peers(rule, (policy, at), direction, context) {
            match &rule.ports {
                None => self.at_any_port(&peers),
                Some(ports) => {
                    for port in ports {
                        self.at_port(&peers, port, policy, direction, named, context);
                    }
                }
            }
        }
    }

    fn at_any_port(&mut self, peers: &Peers) {
        match peers {
            Peers::Anybody => self.everything = true,
            Peers::Pods(pods) => {
                self.declare(Kind::Peers);
                self.peers.extend(pods.iter().flat_map(|entry| &entry.addresses));
            }
            Peers::Block(block) => {
                self.declare_of(Kind::Networks, &block.ranges);
                self.networks.extend(&block.ranges);
            }
        }
    }

    fn at_port(
        &mut self,
        peers: &Peers,
        port: &Port,
        policy: PolicyId,
        direction: Direction,
        named: &Named,
        context: &Context,
    ) {
        match (port, direction) {
            (Port::Numbers { protocol, range }, _) => self.at_numbers(peers, *protocol, *range),
            (Port::Named { name, protocol }, Direction::Ingress) => {
                let key = (name.clone(), *protocol);
                let numbers = named.iter().filter(|(of, _)| *of == key).flat_map(|(_, it)| it);
                for (protocol, port) in numbers {
                    let range = PortRange { first: *port, last: *port };
                    self.at_numbers(peers, *protocol, range);
                }
            }
            (Port::Named { name, protocol }, Direction::Egress) => {
                self.declare(Kind::PeerPorts);
                let everyone = || context.everyone(policy);
                let pods: Vec<&Entry> = match peers {
                    Peers::Pods(pods) => pods.clone(),
                    Peers::Anybody | Peers::Block(_) => everyone(),
                };
                for entry in pods {
                    let numbers: Vec<_> = resolved(&entry.pod.ports, name, *protocol).collect();
                    let addresses = entry.addresses.iter().filter(|address| match peers {
                        Peers::Block(block) => {
                            block.ranges.iter().any(|it| ranges::has(it, **address))
                        }
                        Peers::Anybody | Peers::Pods(_) => true,
                    });
                    for address in addresses {
                        let elements =
                            numbers.iter().map(|(proto, port)| (*address, *proto, *port));
                        self.peer_ports.extend(elements);
                    }
                }
            }
        }
    }

    fn at_numbers(&mut self, peers: &Peers, protocol: u8, range: PortRange) {
        let single = range.first == range.last;
        match peers {
            Peers::Anybody if single => {
                self.declare(Kind::Ports);
                self.ports.push((protocol, range.first));
            }
            Peers::Anybody => {
                self.declare(Kind::NetworkPorts);
                self.boxes.extend(FAMILIES.map(|it| (ranges::every(it), protocol, range)));
            }
            Peers::Pods(pods) => {
                self.declare(if single { Kind::PeerPorts } else { Kind::NetworkPorts });
                for address in pods.iter().flat_map(|entry| &entry.addresses) {
                    match single {
                        true => self.peer_ports.push((*address, protocol, range.first)),
                        false => self.boxes.push((ranges::one(*address), protocol, range)),
                    }
                }
            }
            Peers::Block(block) => {
                self.declare_of(Kind::NetworkPorts, &block.ranges);
                self.boxes.extend(block.ranges.iter().map(|it| (*it, protocol, range)));
            }
        }
    }

    fn declare(&mut self, kind: Kind) {
        self.declared.extend(FAMILIES.map(|family| (kind, family)));
    }

    fn declare_of(&mut self, kind: Kind, ranges: &[AddressRange]) {
        self.declared.extend(ranges.iter().map(|range| (kind, family(range.first))));
    }

    /// The sets that these are.
    pub fn finish(self) -> BTreeMap<(Kind, Family), Members> {
        let Elements { declared, peers, peer_ports, ports, networks, boxes, .. } = self;
        let peers = by_family(peers, |it| *it);
        let peer_ports = by_family(peer_ports, |it| it.0);
        let networks = by_family(networks, |it| it.first);
        let boxes = by_family(boxes, |it| it.0.first);
        let ports = sorted(ports);
        let members = |(kind, family): (Kind, Family)| {
            let at = usize::from(family == Family::V6);
            let members = match kind {
                Kind::Peers => Members::Peers(sorted(of(&peers, at))),
                Kind::PeerPorts => Members::PeerPorts(sorted(of(&peer_ports, at))),
                Kind::Ports => Members::Ports(ports.clone()),
                Kind::Networks => Members::Networks(ranges::merged(of(&networks, at))),
                Kind::NetworkPorts => Members::NetworkPorts(disjoint(family, &of(&boxes, at))),
            };
            ((kind, family), members)
        };
        declared.into_iter().map(members).collect()
    }
}

fn of<T: Clone>(lists: &[Vec<T>; 2], at: usize) -> Vec<T> {
    lists.get(at).cloned().unwrap_or_default()
}

fn by_family<T>(all: Vec<T>, address: impl Fn(&T) -> IpAddr) -> [Vec<T>; 2] {
    let (v4, v6) = all.into_iter().partition(|it| address(it).is_ipv4());
    [v4, v6]
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort_unstable();
    all.dedup();
    all
}

fn peers<'a>(
    rule: &'a Rule,
    (policy, at): (PolicyId, usize),
    direction: Direction,
    context: &Context<'a>,
) -> Vec<Peers<'a>> {
    let Some(peers) = &rule.peers else { return vec![Peers::Anybody] };
    let mut terms = context.terms_of(policy, direction, at).iter();
    let peer = |peer: &'a Peer| match peer {
        Peer::Block(block) => Peers::Block(block),
        Peer::Pods(_) => {
            let members = terms.next().map(|term| context.entries(*term)).unwrap_or_default();
            Peers::Pods(members)
        }
    };
    peers.iter().map(peer).collect()
}

/// The same packets as boxes that do not overlap, which the kernel would refuse.
fn disjoint(
    family: Family,
    boxes: &[(AddressRange, u8, PortRange)],
) -> Vec<(AddressRange, u8, PortRange)> {
    let mut by_protocol: BTreeMap<u8, Vec<(AddressRange, PortRange)>> = BTreeMap::new();
    for (range, protocol, ports) in boxes {
        by_protocol.entry(*protocol).or_default().push((*range, *ports));
    }
    let mut disjoint = Vec::new();
    for (protocol, boxes) in by_protocol {
        for (range, ports) in strips(family, boxes) {
            disjoint.extend(ports.into_iter().map(|ports| (range, protocol, ports)));
        }
    }
    disjoint.sort_unstable();
    disjoint
}

/// Ranges of addresses that do not overlap, with the ports of all boxes that have them.
fn strips(
    family: Family,
    boxes: Vec<(AddressRange, PortRange)>,
) -> Vec<(AddressRange, Vec<PortRange>)> {
    // Where a box begins, and after which address it ends; none does after the last address of all.
    let mut edges: BTreeMap<u128, (Vec<PortRange>, Vec<PortRange>)> = BTreeMap::new();
    let mut last = 0;
    for (range, ports) in boxes {
        edges.entry(ranges::bits(range.first)).or_default().0.push(ports);
        last = ranges::bits(range.last).max(last);
        if let Some(end) = ranges::bits(range.last).checked_add(1) {
            edges.entry(end).or_default().1.push(ports);
        }
    }
    let mut strips: Vec<(AddressRange, Vec<PortRange>)> = Vec::new();
    let mut open: BTreeMap<PortRange, usize> = BTreeMap::new();
    let mut ahead = edges.into_iter().peekable();
    while let Some((from, (begin, end))) = ahead.next() {
        for ports in end {
            if let Some(count) = open.get_mut(&ports) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&ports);
                }
            }
        }
        let goes_on = !open.is_empty();
        begin.into_iter().for_each(|ports| *open.entry(ports).or_default() += 1);
        if open.is_empty() {
            continue;
        }
        let to = ahead.peek().map_or(last, |(next, _)| next - 1);
        let united = united(open.keys().copied());
        let to = ranges::address(family, to);
        match strips.last_mut() {
            // A box begins or ends that changes nothing.
            Some((strip, ports)) if goes_on && *ports == united => strip.last = to,
            _ => {
                let first = ranges::address(family, from);
                strips.push((AddressRange { first, last: to }, united));
            }
        }
    }
    strips
}

/// Port ranges in order, merged.
fn united(ports: impl Iterator<Item = PortRange>) -> Vec<PortRange> {
    let mut united: Vec<PortRange> = Vec::new();
    for range in ports {
        match united.last_mut() {
            Some(open) if range.first <= open.last.saturating_add(1) => {
                open.last = open.last.max(range.last);
            }
            _ => united.push(range),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part(first: u8, last: u8, from: u16, to: u16) -> (AddressRange, u8, PortRange) {
        let of = |last| IpAddr::from([10, 0, 0, last]);
        let range = AddressRange { first: of(first.min(last)), last: of(first.max(last)) };
        (range, 6, PortRange { first: from.min(to), last: from.max(to) })
    }

    fn has(boxes: &[(AddressRange, u8, PortRange)], address: u8, port: u16) -> usize {
        let address = IpAddr::from([10, 0, 0, address]);
        let has = |it: &&(AddressRange, u8, PortRange)| {
            ranges::has(&it.0, address) && (it.2.first..=it.2.last).contains(&port)
        };
        boxes.iter().filter(has).count()
    }

    proptest! {
        #[test]
        fn boxes_become_disjoint_and_stay_the_same_packets(
            boxes in prop::collection::vec((0..12u8, 0..12u8, 0..8u16, 0..8u16), 0..8),
        ) {
            let boxes: Vec<_> = boxes.into_iter().map(|(a, b, c, d)| part(a, b, c, d)).collect();
            let disjoint = disjoint(Family::V4, &boxes);
            for address in 0..13 {
                for port in 0..9 {
                    let expected = usize::from(has(&boxes, address, port) > 0);
                    prop_assert_eq!(has(&disjoint, address, port), expected, "{} {}", address, port);
                }
            }
        }
    }

    #[test]
    fn every_address_of_both_families_can_be_in_a_box() {
        for family in FAMILIES {
            let every = (ranges::every(family), 6, PortRange { first: 1, last: 9 });
            assert_eq!(disjoint(family, &[every, every]), [every]);
        }
        // Neighbours remain two elements: one that goes leaves the other alone.
        let two = [part(1, 1, 5, 9), part(2, 2, 5, 9)];
        assert_eq!(disjoint(Family::V4, &two), two);
    }
}
