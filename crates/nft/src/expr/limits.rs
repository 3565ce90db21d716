//! Expressions of the rules that limit how often something comes in by a link.

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    Bitwise, DataAttribute, Expressions, MetaKey, Operator, Register,
};

use super::{
    Expr, MASK_XOR, NF_ACCEPT, NF_DROP, Rule, TRANSPORT_HEADER, compare, equal, expr, load, meta,
    verdict,
};
use crate::raw;

// linux/if_ether.h
const ETH_P_IP: u16 = 0x0800;
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;
/// IPPROTO_ICMPV6.
const ICMPV6: u8 = 58;
/// A router solicitation is 133 and a neighbour solicitation 135 (RFC 4861 section 4): without the
/// bit that they differ in, no other type is the same.
const SOLICITATION: u8 = 133;
const EITHER_SOLICITATION: u8 = !2;

// enum nft_dynset_attributes, nft_dynset_ops
const DYNSET_SET_NAME: u16 = 1;
const DYNSET_OP: u16 = 3;
const DYNSET_SREG_KEY: u16 = 4;
const DYNSET_EXPR: u16 = 7;
const DYNSET_OP_UPDATE: u32 = 1;
/// NLA_F_NESTED.
const NESTED: u16 = 1 << 15;
/// NFT_REG_1.
const REG_1: u32 = 1;

// enum nft_limit_attributes, nft_limit_flags
const LIMIT_RATE: u16 = 1;
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_FLAGS: u16 = 5;
const LIMIT_INVERTED: u32 = 1;

/// How often: `rate` a second, and `burst` at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) rate: u64,
    pub(crate) burst: u32,
}

/// `meta protocol ip accept`: ends the chain for most packets, which pay for every rule.
pub(crate) fn accept_ipv4() -> Rule {
    let mut rule = of_ethertype(ETH_P_IP).to_vec();
    rule.push(verdict(NF_ACCEPT));
    rule
}

/// `meta protocol ip6 meta l4proto icmpv6 icmpv6 type & 253 == 133 iifname "veth*" update @set {
/// iifname limit rate over … } drop`
pub(crate) fn drop_solicitations_over(prefix: &str, set: &str, limit: Limit) -> Rule {
    let mut rule = of_ethertype(ETH_P_IPV6).to_vec();
    rule.extend([meta(MetaKey::L4Proto, Register::Reg1), equal(vec![ICMPV6])]);
    rule.extend([
        load(TRANSPORT_HEADER, 0, 1, Register::Reg1),
        expr(Expressions::Bitwise(vec![
            Bitwise::SourceRegister(Register::Reg1),
            Bitwise::DestinationRegister(Register::Reg1),
            Bitwise::Length(1),
            Bitwise::Op(MASK_XOR),
            Bitwise::Mask(DataAttribute::Value(vec![EITHER_SOLICITATION])),
            Bitwise::Xor(DataAttribute::Value(vec![0])),
        ])),
        equal(vec![SOLICITATION]),
    ]);
    rule.extend(drop_over(prefix, set, limit));
    rule
}

/// `meta protocol arp iifname "veth*" update @set { iifname limit rate over … } drop`
pub(crate) fn drop_arp_over(prefix: &str, set: &str, limit: Limit) -> Rule {
    let mut rule = of_ethertype(ETH_P_ARP).to_vec();
    rule.extend(drop_over(prefix, set, limit));
    rule
}

fn of_ethertype(of: u16) -> [Expr; 2] {
    let protocol = meta(MetaKey::EtherTypeProtocol, Register::Reg1);
    [protocol, compare(Operator::Equal, of.to_be_bytes().to_vec())]
}

/// `iifname "veth*" update @set { iifname limit rate over … } drop`. A set that is full limits
/// nothing.
fn drop_over(prefix: &str, set: &str, limit: Limit) -> [Expr; 4] {
    let number = |kind, value: u32| DefaultNla::new(kind, value.to_be_bytes().to_vec());
    let mut name = set.as_bytes().to_vec();
    name.push(0);
    let update = expr(Expressions::Other {
        expression_type: "dynset".to_owned(),
        attributes: vec![
            number(DYNSET_SREG_KEY, REG_1),
            number(DYNSET_OP, DYNSET_OP_UPDATE),
            DefaultNla::new(DYNSET_SET_NAME, name),
            DefaultNla::new(DYNSET_EXPR | NESTED, inner(over(limit))),
        ],
    });
    let link = meta(MetaKey::Iifname, Register::Reg1);
    [link, equal(prefix.as_bytes().to_vec()), update, verdict(NF_DROP)]
}

/// `limit rate over …`
fn over(limit: Limit) -> Expr {
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

/// An expression without the head of the list's entry that it is otherwise sent as.
fn inner(one: Expr) -> Vec<u8> {
    const HEAD: usize = 4;
    raw::bytes(&vec![one]).split_off(HEAD)
}
