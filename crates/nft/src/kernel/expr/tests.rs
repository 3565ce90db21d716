use super::*;
use crate::rules::rule::{drop_foreign_source, return_to, vmap_source};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    assert_eq!(bytes(&vec![masquerade(false)]), expression(b"masq\0", &[]));
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
