//! Expressions: the small machine code that a rule is made of.
//!
//! Each function gives what the `nft` tool would generate for the same text, attribute by
//! attribute in the order in which the kernel dumps it, so that [`super::raw::same`] can compare a
//! rule with what the kernel holds, even after a ruleset was saved and loaded with `nft`.

pub(crate) mod nat;

use super::set;
use ipnetwork::IpNetwork;
use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute,
    Lookup, Meta, MetaKey, Operator, Payload, Register, Verdict, VerdictAttribute,
};

/// One expression, as the kernel takes and gives it.
pub(crate) type Expr = ListAttribute<ExpressionAttribute>;

/// A rule: expressions that run in order until one does not match.
pub(crate) type Rule = Vec<Expr>;

/// NF_DROP and NF_ACCEPT (linux/netfilter.h); the crate names only the verdicts below zero.
pub(crate) const NF_DROP: Verdict = Verdict::Other(0);
pub(crate) const NF_ACCEPT: Verdict = Verdict::Other(1);

// enum nft_payload_bases
pub(crate) const LINK_HEADER: u32 = 0;
pub(crate) const NETWORK_HEADER: u32 = 1;
pub(crate) const TRANSPORT_HEADER: u32 = 2;

/// IPPROTO_UDP.
pub(crate) const UDP: u8 = 17;

/// NFTA_MASQ_FLAGS and NF_NAT_RANGE_PROTO_RANDOM_FULLY.
const MASQ_FLAGS: u16 = 1;
const RANDOM_FULLY: u32 = 1 << 4;

// enum nft_fib_attributes, nft_fib_result and nft_fib_flags
const FIB_DREG: u16 = 1;
const FIB_RESULT: u16 = 2;
const FIB_FLAGS: u16 = 3;
const FIB_RESULT_OIF: u32 = 1;
const FIB_RESULT_ADDRTYPE: u32 = 3;
const FIB_SADDR: u32 = 1 << 0;
const FIB_DADDR: u32 = 1 << 1;
const FIB_IIF: u32 = 1 << 3;
const FIB_PRESENT: u32 = 1 << 5;

// enum nft_dynset_attributes, nft_dynset_ops
const DYNSET_SET_NAME: u16 = 1;
const DYNSET_OP: u16 = 3;
const DYNSET_SREG_KEY: u16 = 4;
const DYNSET_EXPR: u16 = 7;
const DYNSET_OP_UPDATE: u32 = 1;

// enum nft_limit_attributes, nft_limit_flags
const LIMIT_RATE: u16 = 1;
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_FLAGS: u16 = 5;
const LIMIT_INVERTED: u32 = 1;

/// NFT_LOOKUP_F_INV: match what is *not* in the set.
const LOOKUP_INVERTED: u32 = 1;

/// NFT_BITWISE_MASK_XOR: `(value & mask) ^ xor`.
const MASK_XOR: u32 = 0;

// enum nft_ct_attributes and nft_ct_keys
const CT_DREG: u16 = 1;
const CT_KEY: u16 = 2;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
/// IPS_DST_NAT.
const DST_NAT: u32 = 1 << 5;
/// RTN_LOCAL (include/uapi/linux/rtnetlink.h).
const LOCAL: u32 = 2;
/// NF_CT_STATE_INVALID_BIT (linux/netfilter/nf_conntrack_common.h).
pub(crate) const INVALID: u32 = 1;

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
    pub(crate) fn saddr(self) -> u32 {
        match self {
            Self::V4 => 12,
            Self::V6 => 8,
        }
    }

    /// Offset of the destination address in the network header, in bytes.
    pub(crate) fn daddr(self) -> u32 {
        match self {
            Self::V4 => 16,
            Self::V6 => 24,
        }
    }
}

/// `masquerade`, or `masquerade fully-random`
pub(crate) fn masquerade(random_fully: bool) -> Expr {
    if random_fully { other("masq", &[(MASQ_FLAGS, RANDOM_FULLY)]) } else { other("masq", &[]) }
}

/// `fib saddr . iif oif missing drop`
pub(crate) fn drop_not_routed_back() -> [Expr; 3] {
    let numbers = [
        (FIB_DREG, 1),
        (FIB_RESULT, FIB_RESULT_OIF),
        (FIB_FLAGS, FIB_SADDR | FIB_IIF | FIB_PRESENT),
    ];
    let fib = other("fib", &numbers);
    [fib, equal(vec![0; 4]), verdict(NF_DROP)]
}

/// `fib daddr type != local`
pub(crate) fn is_not_local() -> [Expr; 2] {
    daddr_is_local(Operator::NotEqual)
}

/// `fib daddr type local`
pub(crate) fn is_local() -> [Expr; 2] {
    daddr_is_local(Operator::Equal)
}

fn daddr_is_local(is: Operator) -> [Expr; 2] {
    let numbers = [(FIB_DREG, 1), (FIB_RESULT, FIB_RESULT_ADDRTYPE), (FIB_FLAGS, FIB_DADDR)];
    [other("fib", &numbers), compare(is, LOCAL.to_ne_bytes().to_vec())]
}

/// `ct status & dnat != dnat`
pub(crate) fn is_not_dnated() -> [Expr; 3] {
    let bit = DST_NAT.to_ne_bytes().to_vec();
    [
        other("ct", &[(CT_DREG, 1), (CT_KEY, CT_STATUS)]),
        masked(bit.clone(), vec![0; bit.len()]),
        compare(Operator::NotEqual, bit),
    ]
}

/// `ct state` in register 1: one bit.
pub(crate) fn ct_state() -> Expr {
    other("ct", &[(CT_DREG, 1), (CT_KEY, CT_STATE)])
}

/// An expression of numbers alone.
pub(crate) fn other(name: &str, numbers: &[(u16, u32)]) -> Expr {
    let number = |(kind, value): &(u16, u32)| DefaultNla::new(*kind, value.to_be_bytes().to_vec());
    let attributes = numbers.iter().map(number).collect();
    expr(Expressions::Other { expression_type: name.to_owned(), attributes })
}

/// The address at `offset` is in the set, or is not.
pub(crate) fn address_in(ip: Ip, offset: u32, set: &str, is: bool) -> [Expr; 2] {
    [load(NETWORK_HEADER, offset, ip.len(), Register::Reg1), lookup(set, Register::Reg1, !is)]
}

/// How often: `rate` a second, and `burst` at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) rate: u64,
    pub(crate) burst: u32,
}

/// `limit rate over …`
pub(crate) fn limit_over(limit: Limit) -> Expr {
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let long = |kind, value: u64| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    expr(Expressions::Other {
        expression_type: "limit".to_owned(),
        attributes: vec![
            long(LIMIT_RATE, limit.rate),
            long(LIMIT_UNIT, 1),
            number(LIMIT_BURST, limit.burst),
            number(LIMIT_FLAGS, LIMIT_INVERTED),
        ],
    })
}

/// `update @set { … }`: the key in register 1 becomes an element, or lives on, and has an expression
/// of its own.
pub(crate) fn update(set: &str, each: Expr) -> Expr {
    // An expression without the head of the list's entry that it is otherwise sent as.
    const HEAD: usize = 4;
    let each = bytes(&vec![each]).split_off(HEAD);
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let name = [set.as_bytes(), &[0]].concat();
    expr(Expressions::Other {
        expression_type: "dynset".to_owned(),
        attributes: vec![
            number(DYNSET_SREG_KEY, 1),
            number(DYNSET_OP, DYNSET_OP_UPDATE),
            DefaultNla::new(DYNSET_SET_NAME, name),
            DefaultNla::new(DYNSET_EXPR | NLA_F_NESTED, each),
        ],
    })
}

/// `udp dport 4789`
pub(crate) fn udp_to(port: u16) -> [Expr; 4] {
    [
        meta(MetaKey::L4Proto, Register::Reg1),
        equal(vec![UDP]),
        load(TRANSPORT_HEADER, 2, 2, Register::Reg1),
        equal(port.to_be_bytes().to_vec()),
    ]
}

pub(crate) fn expr(data: Expressions) -> Expr {
    data.into()
}

/// `meta nfproto ipv4`
pub(crate) fn guard(ip: Ip) -> [Expr; 2] {
    [meta(MetaKey::Nfproto, Register::Reg1), equal(vec![ip.nfproto()])]
}

/// Whether the address at `offset` lies in the network. As `nft` does it: whole bytes of prefix
/// are loaded and compared, any other prefix length needs a mask.
pub(crate) fn in_network(ip: Ip, offset: u32, network: IpNetwork) -> Rule {
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
    vec![load(NETWORK_HEADER, offset, ip.len(), Register::Reg1), masked(mask, zero), equal(address)]
}

pub(crate) fn meta(key: MetaKey, to: Register) -> Expr {
    expr(Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(to)]))
}

pub(crate) fn load(base: u32, offset: u32, len: u32, to: Register) -> Expr {
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

pub(crate) fn compare(operator: Operator, bytes: Vec<u8>) -> Expr {
    expr(Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(bytes)),
    ]))
}

/// Register 1 becomes `(value & mask) ^ xor`.
pub(crate) fn masked(mask: Vec<u8>, xor: Vec<u8>) -> Expr {
    expr(Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(u32::try_from(mask.len()).unwrap_or_default()),
        Bitwise::Op(MASK_XOR),
        Bitwise::Mask(DataAttribute::Value(mask)),
        Bitwise::Xor(DataAttribute::Value(xor)),
    ]))
}

/// What the map says of the key in one register goes to another: a value, or with
/// `Register::Verdict` what becomes of the packet.
pub(crate) fn lookup_data(map: &str, from: Register, to: Register) -> Expr {
    expr(Expressions::Lookup(vec![
        Lookup::Set(map.to_owned()),
        Lookup::SourceRegister(from),
        Lookup::DestinationRegister(to),
        Lookup::Flags(0),
    ]))
}

/// The register's key is in the set, or with `inverted` is not.
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

/// `jump …`, `goto …`, `return`, `accept` or `drop`
pub(crate) fn go(to: &set::Verdict) -> Expr {
    expr(Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(to.attributes())),
    ]))
}

/// A rule's expressions as they are sent.
pub(crate) fn bytes(rule: &Rule) -> Vec<u8> {
    let mut bytes = vec![0; rule.as_slice().buffer_len()];
    rule.as_slice().emit(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
