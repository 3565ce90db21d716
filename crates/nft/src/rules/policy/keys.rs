//! Elements as the bytes of their keys.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{AddressRange, Members, PortRange};
use crate::kernel::expr::Ip;
use crate::kernel::set::Span;
use crate::rules::spans::{bits, bytes};

/// The parts of a concatenation are padded to four bytes.
fn protocol(number: u8) -> [u8; 4] {
    [number, 0, 0, 0]
}

fn port(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 0]
}

pub(crate) fn address(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(crate) fn pair(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    [address(source), address(destination)].concat()
}

/// Source, destination, protocol, source port, destination port.
pub(crate) fn connection(ends: [IpAddr; 2], number: u8, ports: [u16; 2]) -> Vec<u8> {
    let [source, destination] = ports;
    let ends = pair(ends[0], ends[1]);
    [&ends[..], &protocol(number), &port(source), &port(destination)].concat()
}

/// What [`pair`] and a flow's protocol and port say: source, destination, protocol, port.
pub(crate) fn read_flow(key: &[u8]) -> Option<(IpAddr, IpAddr, u8, u16)> {
    let (ends, rest) = key.split_at_checked(key.len().checked_sub(8)?)?;
    let (source, destination) = ends.split_at_checked(ends.len() / 2)?;
    let [number, _, _, _, high, low, _, _] = *rest else { return None };
    let port = u16::from_be_bytes([high, low]);
    Some((read_address(source)?, read_address(destination)?, number, port))
}

pub(crate) fn read_address(key: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(key).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(key).map(IpAddr::from)).ok()
}

fn single(first: Vec<u8>) -> Span {
    Span { first, end: None }
}

fn peer_port((peer, number, of): &(IpAddr, u8, u16)) -> Span {
    single([&address(*peer)[..], &protocol(*number), &port(*of)].concat())
}

fn protocol_port((number, of): &(u8, u16)) -> Span {
    single([protocol(*number), port(*of)].concat())
}

/// The end of an interval is the first address behind it.
fn network(range: &AddressRange) -> Span {
    let ip = if range.first.is_ipv4() { Ip::V4 } else { Ip::V6 };
    let highest = if ip == Ip::V4 { u32::MAX.into() } else { u128::MAX };
    let last = bits(range.last);
    Span { first: address(range.first), end: (last < highest).then(|| bytes(ip, last + 1)) }
}

/// The end of an interval of a concatenation is its last key.
fn network_ports((range, number, ports): &(AddressRange, u8, PortRange)) -> Span {
    let key = |of: IpAddr, at: u16| [&address(of)[..], &protocol(*number), &port(at)].concat();
    Span { first: key(range.first, ports.first), end: Some(key(range.last, ports.last)) }
}

impl Members {
    /// All of them as the kernel has them.
    pub(crate) fn spans(&self) -> BTreeSet<Span> {
        match self {
            Members::Peers(all) => all.iter().map(|peer| single(address(*peer))).collect(),
            Members::PeerPorts(all) => all.iter().map(peer_port).collect(),
            Members::Ports(all) => all.iter().map(protocol_port).collect(),
            Members::Networks(all) => all.iter().map(network).collect(),
            Members::NetworkPorts(all) => all.iter().map(network_ports).collect(),
        }
    }

    /// What these lack of `old`, and what `old` lacks of these.
    pub(crate) fn difference(&self, old: &Members) -> [Vec<Span>; 2] {
        match (old, self) {
            (Members::Peers(old), Members::Peers(new)) => {
                differing(old, new, |peer| single(address(*peer)))
            }
            (Members::PeerPorts(old), Members::PeerPorts(new)) => differing(old, new, peer_port),
            (Members::Ports(old), Members::Ports(new)) => differing(old, new, protocol_port),
            (Members::Networks(old), Members::Networks(new)) => differing(old, new, network),
            (Members::NetworkPorts(old), Members::NetworkPorts(new)) => {
                differing(old, new, network_ports)
            }
            _ => [old.spans().into_iter().collect(), self.spans().into_iter().collect()],
        }
    }
}

/// Of two sorted lists what is in the first alone, and what is in the second alone.
fn differing<T: Ord>(old: &[T], new: &[T], span: impl Fn(&T) -> Span) -> [Vec<Span>; 2] {
    let (mut gone, mut made) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(one), Some(other)) if one == other => {
                old.next();
                new.next();
            }
            (Some(one), other) if other.is_none_or(|other| one < other) => {
                gone.push(span(one));
                old.next();
            }
            (_, Some(other)) => {
                made.push(span(other));
                new.next();
            }
            _ => return [gone, made],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_are_as_nft_writes_them() {
        let peer = "10.1.0.5".parse().unwrap();
        let ports = Members::PeerPorts(vec![(peer, 6, 80)]);
        assert_eq!(ports.spans().first().unwrap().first, [10, 1, 0, 5, 6, 0, 0, 0, 0, 80, 0, 0]);
        let range = AddressRange { first: peer, last: "10.1.0.7".parse().unwrap() };
        let networks = Members::Networks(vec![range]);
        let span = Span { first: vec![10, 1, 0, 5], end: Some(vec![10, 1, 0, 8]) };
        assert_eq!(networks.spans(), BTreeSet::from([span]));
        let all = AddressRange { first: peer, last: "255.255.255.255".parse().unwrap() };
        assert_eq!(Members::Networks(vec![all]).spans().first().unwrap().end, None);
    }

    #[test]
    fn a_flow_is_read_again() {
        for (source, destination) in [("10.1.0.5", "10.1.0.6"), ("fd00::5", "fd00::6")] {
            let ends = [source.parse().unwrap(), destination.parse().unwrap()];
            let key = [&pair(ends[0], ends[1])[..], &protocol(17), &port(53)].concat();
            assert_eq!(read_flow(&key), Some((ends[0], ends[1], 17, 53)));
        }
        assert_eq!(read_flow(&[1, 2, 3]), None);
    }

    proptest! {
        #[test]
        fn what_differs_is_what_is_added_and_taken(
            old in prop::collection::btree_set(any::<(u8, u16)>(), 0..20),
            new in prop::collection::btree_set(any::<(u8, u16)>(), 0..20),
        ) {
            let members = |of: &BTreeSet<(u8, u16)>| Members::Ports(of.iter().copied().collect());
            let [gone, made] = members(&new).difference(&members(&old));
            let mut spans = members(&old).spans();
            for span in gone {
                prop_assert!(spans.remove(&span));
            }
            for span in made {
                prop_assert!(spans.insert(span));
            }
            prop_assert_eq!(spans, members(&new).spans());
        }
    }
}
