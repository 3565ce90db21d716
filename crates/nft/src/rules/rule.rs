//! Whole rules, each with its text as `nft` prints it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_netfilter::nftables::{MetaKey, Operator, Register, Verdict};

use crate::kernel::expr::{
    self, INVALID, Ip, LINK_HEADER, NETWORK_HEADER, NF_ACCEPT, NF_DROP, Rule, UDP, address_in,
    compare, drop_not_routed_back, equal, guard, in_network, load, lookup, meta, udp_to, verdict,
};

/// `ip daddr @set return`
pub(crate) fn return_to_set(ip: Ip, set: &str) -> Rule {
    let mut rule = guard(ip).to_vec();
    rule.extend(address_in(ip, ip.daddr(), set, true));
    rule.push(verdict(Verdict::Return));
    rule
}

/// `ip daddr 10.1.0.0/24 return`
pub(crate) fn return_to(network: IpNetwork) -> Rule {
    let ip = Ip::of(network);
    let mut rule = guard(ip).to_vec();
    rule.extend(in_network(ip, ip.daddr(), network));
    rule.push(verdict(Verdict::Return));
    rule
}

/// `ip daddr 224.0.0.0/4 return`; always one.
pub(crate) fn return_to_multicast(ip: Ip) -> Option<Rule> {
    let multicast = match ip {
        Ip::V4 => IpNetwork::new(IpAddr::from([224, 0, 0, 0]), 4),
        Ip::V6 => IpNetwork::new(IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0]), 8),
    };
    multicast.ok().map(return_to)
}

/// `ip saddr vmap @map`
pub(crate) fn vmap_source(ip: Ip, map: &str) -> Rule {
    let mut rule = guard(ip).to_vec();
    rule.push(load(NETWORK_HEADER, ip.saddr(), ip.len(), Register::Reg1));
    rule.push(expr::lookup_data(map, Register::Reg1, Register::Verdict));
    rule
}

/// `masquerade`
pub(crate) fn masquerade() -> Rule {
    vec![expr::masquerade(false)]
}

/// `ip saddr @set masquerade`, or `masquerade fully-random`
pub(crate) fn masquerade_from(ip: Ip, set: &str, random_fully: bool) -> Rule {
    let mut rule = guard(ip).to_vec();
    rule.extend(address_in(ip, ip.saddr(), set, true));
    rule.push(expr::masquerade(random_fully));
    rule
}

/// `meta l4proto != udp accept`: ends the chain for most packets, which pay for every rule.
pub(crate) fn accept_what_is_not_udp() -> Rule {
    vec![
        meta(MetaKey::L4Proto, Register::Reg1),
        compare(Operator::NotEqual, vec![UDP]),
        verdict(NF_ACCEPT),
    ]
}

/// `udp dport 4789 iifname "eth0" ip daddr 192.0.2.1 ip saddr @set accept`; the interface's name in
/// 16 bytes, if one is asked for, and the address in network byte order.
pub(crate) fn accept_udp_of(
    ip: Ip,
    set: &str,
    interface: Option<Vec<u8>>,
    address: Vec<u8>,
    port: u16,
) -> Rule {
    let mut rule = udp_to(port).to_vec();
    if let Some(name) = interface {
        rule.extend([meta(MetaKey::Iifname, Register::Reg1), equal(name)]);
    }
    rule.extend(guard(ip));
    rule.push(load(NETWORK_HEADER, ip.daddr(), ip.len(), Register::Reg1));
    rule.push(equal(address));
    rule.extend(address_in(ip, ip.saddr(), set, true));
    rule.push(verdict(NF_ACCEPT));
    rule
}

/// `udp dport 4789 drop`
pub(crate) fn drop_udp(port: u16) -> Rule {
    let mut rule = udp_to(port).to_vec();
    rule.push(verdict(NF_DROP));
    rule
}

/// `udp dport 4789 ip daddr @set ip saddr != @set drop`
pub(crate) fn drop_udp_of_strangers_to(ip: Ip, set: &str, port: u16) -> Rule {
    let mut rule = udp_to(port).to_vec();
    rule.extend(guard(ip));
    rule.extend(address_in(ip, ip.daddr(), set, true));
    rule.extend(address_in(ip, ip.saddr(), set, false));
    rule.push(verdict(NF_DROP));
    rule
}

/// `udp dport 4789 fib daddr type local accept`
pub(crate) fn accept_udp_to_the_node(port: u16) -> Rule {
    let mut rule = udp_to(port).to_vec();
    rule.extend(expr::is_local());
    rule.push(verdict(NF_ACCEPT));
    rule
}

/// `udp dport 4789 ip saddr @set fib saddr . iif oif missing drop`
pub(crate) fn drop_udp_from_elsewhere(ip: Ip, set: &str, port: u16) -> Rule {
    let mut rule = udp_to(port).to_vec();
    rule.extend(guard(ip));
    rule.extend(address_in(ip, ip.saddr(), set, true));
    rule.extend(drop_not_routed_back());
    rule
}

/// `ct state != invalid accept`: ends the chain for most packets.
pub(crate) fn accept_unless_invalid() -> Rule {
    vec![
        expr::ct_state(),
        compare(Operator::NotEqual, INVALID.to_ne_bytes().to_vec()),
        verdict(NF_ACCEPT),
    ]
}

/// `drop`
pub(crate) fn drop_all() -> Rule {
    vec![verdict(NF_DROP)]
}

/// `ip saddr @set drop`
pub(crate) fn drop_from(ip: Ip, set: &str) -> Rule {
    let mut rule = guard(ip).to_vec();
    rule.extend(address_in(ip, ip.saddr(), set, true));
    rule.push(verdict(NF_DROP));
    rule
}

/// `iifname @ports iifname . ether saddr != @macs drop`
pub(crate) fn drop_foreign_source(ports: &str, macs: &str) -> Rule {
    vec![
        meta(MetaKey::Iifname, Register::Reg1),
        lookup(ports, Register::Reg1, false),
        meta(MetaKey::Iifname, Register::Reg1),
        // Registers 1 and 2 are 16 bytes each and adjacent: together one concatenated key.
        load(LINK_HEADER, 6, 6, Register::Reg2),
        lookup(macs, Register::Reg1, true),
        verdict(NF_DROP),
    ]
}
