//! Expressions: the small machine code that a rule is made of.
//!
//! Each function gives what the `nft` tool would generate for the same text, attribute by
//! attribute in the order in which the kernel dumps it, so that [`crate::raw::same`] can compare a
//! rule with what the kernel holds, even after a ruleset was saved and loaded with `nft`.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute,
    Lookup, Meta, MetaKey, Operator, Payload, Register, Verdict, VerdictAttribute,
};

mod limits;
mod sources;

pub(crate) use limits::{Limit, accept_ipv4, drop_arp_over, drop_solicitations_over};
pub(crate) use sources::{
    accept_unless_to, drop_foreign_of_links, drop_from_elsewhere, drop_unmarked_udp_of_users,
    mark_of_users_to, unmark_udp_of_users,
};

/// One expression, as the kernel takes and gives it.
pub(crate) type Expr = ListAttribute<ExpressionAttribute>;

/// A rule: expressions that run in order until one does not match.
pub(crate) type Rule = Vec<Expr>;

/// NF_DROP and NF_ACCEPT (linux/netfilter.h); the crate names only the verdicts below zero.
pub(crate) const NF_DROP: Verdict = Verdict::Other(0);
const NF_ACCEPT: Verdict = Verdict::Other(1);

// enum nft_payload_bases
const LINK_HEADER: u32 = 0;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

/// IPPROTO_UDP.
const UDP: u8 = 17;

/// NFTA_MASQ_FLAGS and NF_NAT_RANGE_PROTO_RANDOM_FULLY.
const MASQ_FLAGS: u16 = 1;
const RANDOM_FULLY: u32 = 1 << 4;

// enum nft_fib_attributes, nft_fib_result and nft_fib_flags
const FIB_DREG: u16 = 1;
const FIB_RESULT: u16 = 2;
const FIB_FLAGS: u16 = 3;
const FIB_RESULT_OIF: u32 = 1;
const FIB_SADDR: u32 = 1 << 0;
const FIB_IIF: u32 = 1 << 3;
const FIB_PRESENT: u32 = 1 << 5;

/// NFT_LOOKUP_F_INV: match what is *not* in the set.
const LOOKUP_INVERTED: u32 = 1;

/// NFT_BITWISE_MASK_XOR: `(value & mask) ^ xor`.
const MASK_XOR: u32 = 0;

// enum nft_ct_attributes and nft_ct_keys
const CT_DREG: u16 = 1;
const CT_KEY: u16 = 2;
const CT_STATE: u32 = 0;
/// NF_CT_STATE_INVALID_BIT (linux/netfilter/nf_conntrack_common.h).
const INVALID: u32 = 1;

/// The two families of addresses, as rules see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ip {
    V4,
    V6,
}

impl Ip {
    pub(crate) fn of(network: IpNetwork) -> Self {
        if network.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// NFPROTO_IPV4 or NFPROTO_IPV6, the guard that a table of family inet needs.
    fn nfproto(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Length of an address in bytes.
    pub(crate) fn len(self) -> u32 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// Offset of the source address in the network header, in bytes.
    fn saddr(self) -> u32 {
        match self {
            Self::V4 => 12,
            Self::V6 => 8,
        }
    }

    /// Offset of the destination address in the network header, in bytes.
    fn daddr(self) -> u32 {
        match self {
            Self::V4 => 16,
            Self::V6 => 24,
        }
    }
}

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
    rule.push(expr(Expressions::Lookup(vec![
        Lookup::Set(map.to_owned()),
        Lookup::SourceRegister(Register::Reg1),
        Lookup::DestinationRegister(Register::Verdict),
        Lookup::Flags(0),
    ])));
    rule
}

/// `masquerade`
pub(crate) fn masquerade() -> Rule {
    vec![expr(Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() })]
}

/// `ip saddr @set masquerade`, or `masquerade fully-random`
pub(crate) fn masquerade_from(ip: Ip, set: &str, random_fully: bool) -> Rule {
    let mut rule = guard(ip).to_vec();
    rule.extend(address_in(ip, ip.saddr(), set, true));
    let flags = || DefaultNla::new(MASQ_FLAGS, RANDOM_FULLY.to_be_bytes().to_vec());
    rule.push(expr(Expressions::Other {
        expression_type: "masq".to_owned(),
        attributes: random_fully.then(flags).into_iter().collect(),
    }));
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

/// `udp dport 4789 ip saddr @set fib saddr . iif oif missing drop`
pub(crate) fn drop_udp_from_elsewhere(ip: Ip, set: &str, port: u16) -> Rule {
    let mut rule = udp_to(port).to_vec();
    rule.extend(guard(ip));
    rule.extend(address_in(ip, ip.saddr(), set, true));
    rule.extend(drop_not_routed_back());
    rule
}

/// `fib saddr . iif oif missing drop`
pub(crate) fn drop_not_routed_back() -> [Expr; 3] {
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let fib = expr(Expressions::Other {
        expression_type: "fib".to_owned(),
        attributes: vec![
            number(FIB_DREG, 1),
            number(FIB_RESULT, FIB_RESULT_OIF),
            number(FIB_FLAGS, FIB_SADDR | FIB_IIF | FIB_PRESENT),
        ],
    });
    [fib, equal(vec![0; 4]), verdict(NF_DROP)]
}

/// `ct state != invalid accept`: ends the chain for most packets.
pub(crate) fn accept_unless_invalid() -> Rule {
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    vec![
        expr(Expressions::Other {
            expression_type: "ct".to_owned(),
            attributes: vec![number(CT_DREG, 1), number(CT_KEY, CT_STATE)],
        }),
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

/// The address at `offset` is in the set, or is not.
fn address_in(ip: Ip, offset: u32, set: &str, is: bool) -> [Expr; 2] {
    [load(NETWORK_HEADER, offset, ip.len(), Register::Reg1), lookup(set, Register::Reg1, !is)]
}

/// `udp dport 4789`
fn udp_to(port: u16) -> [Expr; 4] {
    [
        meta(MetaKey::L4Proto, Register::Reg1),
        equal(vec![UDP]),
        load(TRANSPORT_HEADER, 2, 2, Register::Reg1),
        equal(port.to_be_bytes().to_vec()),
    ]
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

pub(crate) fn expr(data: Expressions) -> Expr {
    data.into()
}

/// `meta nfproto ipv4`
fn guard(ip: Ip) -> [Expr; 2] {
    [meta(MetaKey::Nfproto, Register::Reg1), equal(vec![ip.nfproto()])]
}

/// Whether the address at `offset` lies in the network. As `nft` does it: whole bytes of prefix
/// are loaded and compared, any other prefix length needs a mask.
fn in_network(ip: Ip, offset: u32, network: IpNetwork) -> Rule {
    let (address, mask) = match network {
        IpNetwork::V4(n) => (n.network().octets().to_vec(), n.mask().octets().to_vec()),
        IpNetwork::V6(n) => (n.network().octets().to_vec(), n.mask().octets().to_vec()),
    };
    let prefix = network.prefix();
    if prefix > 0 && prefix.is_multiple_of(8) {
        let bytes = usize::from(prefix / 8);
        let load = load(NETWORK_HEADER, offset, u32::from(prefix / 8), Register::Reg1);
        return vec![load, equal(address.into_iter().take(bytes).collect())];
    }
    let zero = vec![0; mask.len()];
    vec![
        load(NETWORK_HEADER, offset, ip.len(), Register::Reg1),
        expr(Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(ip.len()),
            Bitwise::Op(MASK_XOR),
            Bitwise::Mask(DataAttribute::Value(mask)),
            Bitwise::Xor(DataAttribute::Value(zero)),
        ])),
        equal(address),
    ]
}

pub(crate) fn meta(key: MetaKey, to: Register) -> Expr {
    expr(Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(to)]))
}

fn load(base: u32, offset: u32, len: u32, to: Register) -> Expr {
    expr(Expressions::Payload(vec![
        Payload::DestinationRegister(to),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(len),
    ]))
}

/// Register 1 equals the bytes.
pub(crate) fn equal(bytes: Vec<u8>) -> Expr {
    compare(Operator::Equal, bytes)
}

fn compare(operator: Operator, bytes: Vec<u8>) -> Expr {
    expr(Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(bytes)),
    ]))
}

pub(crate) fn lookup(set: &str, from: Register, inverted: bool) -> Expr {
    expr(Expressions::Lookup(vec![
        Lookup::Set(set.to_owned()),
        Lookup::SourceRegister(from),
        Lookup::Flags(if inverted { LOOKUP_INVERTED } else { 0 }),
    ]))
}

pub(crate) fn verdict(verdict: Verdict) -> Expr {
    expr(Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![VerdictAttribute::Code(verdict)])),
    ]))
}

#[cfg(test)]
mod tests;
