//! Addresses of links: RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR.

use ipnetwork::IpNetwork;
use netlink::Verb;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const RTM_NEWADDR: u16 = 20;
pub(crate) const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_GETMULTICAST: u16 = 58;
/// include/uapi/linux/if_addr.h
const IFA_TARGET_NETNSID: u16 = 10;

/// An address that the kernel reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The index of its link.
    pub link: u32,
    /// Address and prefix length.
    pub address: IpNetwork,
    /// Duplicate address detection is not through with it.
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    pub dad_failed: bool,
    /// The kernel will take it away by itself: of IPv6 a temporary one (RFC 8981), or one that is
    /// deprecated, of either family.
    pub passing: bool,
    /// Its scope is global.
    pub global: bool,
    /// Who added it (IFA_PROTO, since 5.18); 0 where nothing says so.
    pub protocol: u8,
}

fn message(link: u32, address: IpNetwork) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.ip());
    message.header.prefix_len = address.prefix();
    message.header.index = link;
    // Both, as iproute2 sends them; for IPv4 the kernel takes Address for the far end.
    message.attributes.push(AddressAttribute::Local(address.ip()));
    message.attributes.push(AddressAttribute::Address(address.ip()));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Adds an address. `dad`: whether IPv6 waits for duplicate address detection before it may be
/// used, a second or more.
pub fn add(link: u32, address: IpNetwork, dad: bool) -> Verb<()> {
    add_of(link, address, dad, 0)
}

/// As [`add`], marked as `protocol`'s where that is not 0. A kernel before 5.18 ignores the mark.
pub fn add_of(link: u32, address: IpNetwork, dad: bool, protocol: u8) -> Verb<()> {
    let mut message = message(link, address);
    if protocol > 0 {
        message.attributes.push(AddressAttribute::Protocol(protocol.into()));
    }
    if address.ip().is_loopback() {
        message.header.scope = AddressScope::Host;
    }
    match address {
        IpNetwork::V4(net) if net.prefix() < 31 => {
            let broadcast = Ipv4Addr::from(u32::from(net.ip()) | !u32::from(net.mask()));
            message.attributes.push(AddressAttribute::Broadcast(broadcast));
        }
        IpNetwork::V6(_) if !dad => {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        _ => {}
    }
    let what = format!("add address {address}");
    Verb::change(RTM_NEWADDR, &message, NLM_F_CREATE | NLM_F_EXCL, what)
}

/// Adds an address alone, as /32 or /128: usable at once, and without a route to it in the main
/// table, which IPv6 would otherwise make.
pub fn add_host(link: u32, address: IpAddr) -> Verb<()> {
    let mut message = message(link, IpNetwork::from(address));
    if address.is_ipv6() {
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    let what = format!("add address {address}");
    Verb::change(RTM_NEWADDR, &message, NLM_F_CREATE | NLM_F_EXCL, what)
}

/// Adds the address of a gateway that is one for each of many links, and known to the neighbours on
/// each alone. Of IPv4 it has the scope of the host: what the node sends has another source.
pub fn add_gateway(link: u32, address: IpNetwork) -> Verb<()> {
    let mut message = message(link, address);
    if address.is_ipv4() {
        message.header.scope = AddressScope::Host;
    } else {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    let what = format!("add gateway address {address}");
    Verb::change(RTM_NEWADDR, &message, NLM_F_CREATE | NLM_F_EXCL, what)
}

/// Removes an address.
pub fn del(link: u32, address: IpNetwork) -> Verb<()> {
    let what = format!("remove address {address}");
    Verb::change(RTM_DELADDR, &message(link, address), 0, what)
}

/// The addresses of a link, both families.
pub fn of_link(link: u32) -> Verb<Address> {
    let mut message = AddressMessage::default();
    message.header.index = link;
    Verb::new(RTM_GETADDR, &message, NLM_F_DUMP, parse, "list addresses".to_owned())
}

/// The addresses of all links, both families.
pub fn list() -> Verb<Address> {
    let message = AddressMessage::default();
    Verb::new(RTM_GETADDR, &message, NLM_F_DUMP, parse, "list addresses".to_owned())
}

/// The addresses of a link of another network namespace, by the ID that it goes by in this one.
pub fn of_link_elsewhere(netns: i32, link: u32) -> Verb<Address> {
    let mut message = AddressMessage::default();
    message.header.index = link;
    let id = DefaultNla::new(IFA_TARGET_NETNSID, netns.to_ne_bytes().to_vec());
    message.attributes.push(AddressAttribute::Other(id));
    let what = format!("list addresses in network namespace {netns}");
    Verb::new(RTM_GETADDR, &message, NLM_F_DUMP, parse, what)
}

/// The IPv6 multicast groups that a link has joined.
pub fn groups_of_link(link: u32) -> Verb<Ipv6Addr> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.index = link;
    let what = "list multicast groups".to_owned();
    Verb::new(RTM_GETMULTICAST, &message, NLM_F_DUMP, parse_group, what)
}

fn parse_group(kind: u16, body: &[u8]) -> Option<Ipv6Addr> {
    // Sic: a dump's replies are of the request's type (net/ipv6/addrconf.c, inet6_dump_addr).
    if kind != RTM_GETMULTICAST {
        return None;
    }
    let message = AddressMessage::parse(body).ok()?;
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Multicast(group) => Some(*group),
        _ => None,
    })
}

/// The group that neighbour solicitations for an address go to (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    let tail = u16::from_be_bytes([b, c]);
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), tail)
}

pub(crate) fn parse(kind: u16, body: &[u8]) -> Option<Address> {
    if kind != RTM_NEWADDR {
        return None;
    }
    let message = AddressMessage::parse(body).ok()?;
    let mut local = None;
    let mut far = None;
    let mut flags = AddressFlags::empty();
    let mut protocol = 0;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => far = Some(*address),
            AddressAttribute::Flags(present) => flags = *present,
            AddressAttribute::Protocol(present) => protocol = u8::from(*present),
            _ => {}
        }
    }
    Some(Address {
        link: message.header.index,
        address: IpNetwork::new(local.or(far)?, message.header.prefix_len).ok()?,
        tentative: flags.contains(AddressFlags::Tentative),
        // IFA_F_TEMPORARY is IFA_F_SECONDARY, which of IPv4 passes nothing.
        passing: flags.contains(AddressFlags::Deprecated)
            || flags.contains(AddressFlags::Secondary)
                && message.header.family == AddressFamily::Inet6,
        dad_failed: flags.contains(AddressFlags::Dadfailed),
        global: message.header.scope == AddressScope::Universe,
        protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solicited_node_groups_are_those_of_the_rfc() {
        let group = solicited_node("4037::01:800:200e:8c6c".parse().unwrap());
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
    }
}
