//! Expressions: the small machine code that a rule is made of.
//!
//! Each function gives what the `nft` tool would generate for the same text, attribute by
//! attribute in the order in which the kernel dumps it, so that [`same`] can compare a rule
//! with what the kernel holds, even after a ruleset was saved and loaded with `nft`.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute,
    Lookup, Meta, MetaKey, Operator, Payload, Register, Verdict, VerdictAttribute,
};

/// One expression, as the kernel takes and gives it.
pub(crate) type Expr = ListAttribute<ExpressionAttribute>;

/// A rule: expressions that run in order until one does not match.
pub(crate) type Rule = Vec<Expr>;

/// NF_DROP (linux/netfilter.h); the crate names only the verdicts below zero.
pub(crate) const NF_DROP: Verdict = Verdict::Other(0);

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

/// `udp dport 4789 iifname != "eth0" drop`; the name in 16 bytes.
pub(crate) fn drop_udp_not_from(interface: Vec<u8>, port: u16) -> Rule {
    let mut rule = udp_to(port).to_vec();
    rule.push(meta(MetaKey::Iifname, Register::Reg1));
    rule.push(compare(Operator::NotEqual, interface));
    rule.push(verdict(NF_DROP));
    rule
}

/// `udp dport 4789 ip saddr != @set drop`
pub(crate) fn drop_udp_of_strangers(ip: Ip, set: &str, port: u16) -> Rule {
    let mut rule = udp_to(port).to_vec();
    rule.extend(guard(ip));
    rule.extend(address_in(ip, ip.saddr(), set, false));
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

/// `udp dport 4789 ip daddr @set fib saddr . iif oif missing drop`
pub(crate) fn drop_udp_from_elsewhere_to(ip: Ip, set: &str, port: u16) -> Rule {
    let mut rule = udp_to(port).to_vec();
    rule.extend(guard(ip));
    rule.extend(address_in(ip, ip.daddr(), set, true));
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    rule.push(expr(Expressions::Other {
        expression_type: "fib".to_owned(),
        attributes: vec![
            number(FIB_DREG, 1),
            number(FIB_RESULT, FIB_RESULT_OIF),
            number(FIB_FLAGS, FIB_SADDR | FIB_IIF | FIB_PRESENT),
        ],
    }));
    rule.push(equal(vec![0; 4]));
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

/// Whether two rules do the same: equal but for attributes that only some kernels dump and
/// that say the default.
pub(crate) fn same(a: &[Expr], b: &[Expr]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| normal(a) == normal(b))
}

fn normal(expr: &Expr) -> Expr {
    let mut expr = expr.clone();
    if let ListAttribute::Element(attributes) = &mut expr {
        for attribute in attributes {
            match attribute {
                ExpressionAttribute::Data(Expressions::Lookup(of)) => {
                    of.retain(|a| *a != Lookup::Flags(0));
                }
                ExpressionAttribute::Data(Expressions::Bitwise(of)) => {
                    of.retain(|a| *a != Bitwise::Op(MASK_XOR));
                }
                _ => {}
            }
        }
    }
    expr
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
mod tests {
    use super::*;
    use netlink_packet_core::Emitable;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn bytes(rule: &Rule) -> Vec<u8> {
        let mut bytes = vec![0; rule.as_slice().buffer_len()];
        rule.as_slice().emit(&mut bytes);
        bytes
    }

    /// An attribute: its value is text (NUL-terminated), a number (big endian) or nested.
    fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn number(kind: u16, value: u32) -> Vec<u8> {
        nla(kind, &value.to_be_bytes())
    }

    fn nest(kind: u16, parts: &[Vec<u8>]) -> Vec<u8> {
        nla(kind | 0x8000, &parts.concat())
    }

    fn expression(name: &[u8], data: &[Vec<u8>]) -> Vec<u8> {
        nest(1, &[nla(1, name), nest(2, data)])
    }

    /// `immediate reg 0` with a verdict's code.
    fn immediate(code: u32) -> Vec<u8> {
        expression(b"immediate\0", &[number(1, 0), nest(2, &[nest(2, &[number(1, code)])])])
    }

    fn nfproto_ipv4() -> [Vec<u8>; 2] {
        [
            expression(b"meta\0", &[number(2, 15), number(1, 1)]),
            expression(b"cmp\0", &[number(1, 1), number(2, 0), nest(3, &[nla(1, &[2])])]),
        ]
    }

    // What `nft --debug=netlink` shows for the same text, in the order of the kernel's dumps.
    #[test]
    fn whole_bytes_of_prefix_are_loaded_and_compared() {
        let [meta, cmp] = nfproto_ipv4();
        let load = [number(1, 1), number(2, 1), number(3, 16), number(4, 3)];
        let address = [number(1, 1), number(2, 0), nest(3, &[nla(1, &[10, 1, 0])])];
        let wanted = [
            meta,
            cmp,
            expression(b"payload\0", &load),
            expression(b"cmp\0", &address),
            immediate(0xffff_fffb),
        ];
        assert_eq!(bytes(&return_to("10.1.0.0/24".parse().unwrap())), wanted.concat());
    }

    #[test]
    fn a_vmap_looks_up_the_verdict_register() {
        let [meta, cmp] = nfproto_ipv4();
        let load = [number(1, 1), number(2, 1), number(3, 12), number(4, 4)];
        let lookup = [nla(1, b"masq4\0"), number(2, 1), number(3, 0), number(5, 0)];
        let wanted = [meta, cmp, expression(b"payload\0", &load), expression(b"lookup\0", &lookup)];
        assert_eq!(bytes(&vmap_source(Ip::V4, "masq4")), wanted.concat());
    }

    #[test]
    fn macspoof_is_an_inverted_lookup_of_a_concatenation() {
        let iifname = || expression(b"meta\0", &[number(2, 6), number(1, 1)]);
        let load = [number(1, 2), number(2, 0), number(3, 6), number(4, 6)];
        let ports = [nla(1, b"p\0"), number(2, 1), number(5, 0)];
        let macs = [nla(1, b"m\0"), number(2, 1), number(5, 1)];
        let wanted = [
            iifname(),
            expression(b"lookup\0", &ports),
            iifname(),
            expression(b"payload\0", &load),
            expression(b"lookup\0", &macs),
            immediate(0),
        ];
        assert_eq!(bytes(&drop_foreign_source("p", "m")), wanted.concat());
    }

    #[test]
    fn masquerade_has_an_empty_body() {
        assert_eq!(bytes(&masquerade()), expression(b"masq\0", &[]));
    }

    #[test]
    fn defaults_that_only_some_kernels_dump_make_no_difference() {
        let rule = vmap_source(Ip::V4, "masq4");
        let mut other = rule.clone();
        other[3] = expr(Expressions::Lookup(vec![
            Lookup::Set("masq4".to_owned()),
            Lookup::SourceRegister(Register::Reg1),
            Lookup::DestinationRegister(Register::Verdict),
        ]));
        assert!(same(&rule, &other));
        assert!(!same(&rule, &vmap_source(Ip::V4, "masq6")));
        assert!(!same(&rule, &rule[1..]));
        assert!(!same(&drop_foreign_source("a", "b"), &drop_foreign_source("b", "a")));
    }

    /// Runs load, optional mask and comparison on an address, as the kernel would.
    fn matches(rule: &[Expr], base: u32, address: &[u8]) -> bool {
        let mut register = Vec::new();
        for expr in rule {
            let ListAttribute::Element(of) = expr else { panic!("{expr:?}") };
            let ExpressionAttribute::Data(data) = &of[1] else { panic!("{of:?}") };
            match data {
                Expressions::Payload(p) => {
                    let [_, _, Payload::Offset(offset), Payload::Len(len)] = p[..] else {
                        panic!("{p:?}")
                    };
                    let from = (offset - base) as usize;
                    register = address[from..from + len as usize].to_vec();
                }
                Expressions::Bitwise(b) => {
                    let Bitwise::Mask(DataAttribute::Value(mask)) = &b[4] else { panic!("{b:?}") };
                    register.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
                }
                Expressions::Cmp(c) => {
                    let Cmp::Data(DataAttribute::Value(value)) = &c[2] else { panic!("{c:?}") };
                    return register == *value;
                }
                other => panic!("{other:?}"),
            }
        }
        false
    }

    fn agrees(network: IpNetwork, address: IpAddr) -> bool {
        let ip = Ip::of(network);
        let octets = match address {
            IpAddr::V4(a) => a.octets().to_vec(),
            IpAddr::V6(a) => a.octets().to_vec(),
        };
        let rule = in_network(ip, ip.daddr(), network);
        matches(&rule, ip.daddr(), &octets) == network.contains(address)
    }

    proptest! {
        #[test]
        fn a_v4_network_matches_what_it_contains(net: u32, prefix in 0_u8..=32, host: u32) {
            let network = IpNetwork::new(Ipv4Addr::from(net).into(), prefix).unwrap();
            let mask = !0_u32.checked_shr(u32::from(prefix)).unwrap_or(0);
            let inside = (net & mask) | (host & !mask);
            prop_assert!(agrees(network, Ipv4Addr::from(inside).into()));
            prop_assert!(agrees(network, Ipv4Addr::from(host).into()));
            // One bit off, at the end of the prefix.
            let off = inside ^ 1_u32.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            prop_assert!(agrees(network, Ipv4Addr::from(off).into()));
        }

        #[test]
        fn a_v6_network_matches_what_it_contains(net: u128, prefix in 0_u8..=128, host: u128) {
            let network = IpNetwork::new(Ipv6Addr::from(net).into(), prefix).unwrap();
            let mask = !0_u128.checked_shr(u32::from(prefix)).unwrap_or(0);
            let inside = (net & mask) | (host & !mask);
            prop_assert!(agrees(network, Ipv6Addr::from(inside).into()));
            prop_assert!(agrees(network, Ipv6Addr::from(host).into()));
            let off = inside ^ 1_u128.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            prop_assert!(agrees(network, Ipv6Addr::from(off).into()));
        }
    }
}
