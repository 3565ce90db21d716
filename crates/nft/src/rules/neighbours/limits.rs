//! The rules that limit how often something comes in by a link.

use netlink_packet_netfilter::nftables::{MetaKey, Register};

use crate::kernel::expr::{
    Expr, Limit, NF_ACCEPT, NF_DROP, Rule, TRANSPORT_HEADER, equal, limit_over, load, masked, meta,
    update, verdict,
};
use crate::kernel::set::Set;

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

/// `meta protocol ip accept`: ends the chain for most packets, which pay for every rule.
pub(crate) fn accept_ipv4() -> Rule {
    let mut rule = of_ethertype(ETH_P_IP).to_vec();
    rule.push(verdict(NF_ACCEPT));
    rule
}

/// `meta protocol ip6 meta l4proto icmpv6 icmpv6 type & 253 == 133 iifname "veth*" update @set {
/// iifname limit rate over … } drop`
pub(crate) fn drop_solicitations_over(prefix: &str, set: &Set<'_>, limit: Limit) -> Rule {
    let mut rule = of_ethertype(ETH_P_IPV6).to_vec();
    rule.extend([meta(MetaKey::L4Proto, Register::Reg1), equal(vec![ICMPV6])]);
    rule.extend([
        load(TRANSPORT_HEADER, 0, 1, Register::Reg1),
        masked(vec![EITHER_SOLICITATION], vec![0]),
        equal(vec![SOLICITATION]),
    ]);
    rule.extend(drop_over(prefix, set, limit));
    rule
}

/// `meta protocol arp iifname "veth*" update @set { iifname limit rate over … } drop`
pub(crate) fn drop_arp_over(prefix: &str, set: &Set<'_>, limit: Limit) -> Rule {
    let mut rule = of_ethertype(ETH_P_ARP).to_vec();
    rule.extend(drop_over(prefix, set, limit));
    rule
}

fn of_ethertype(of: u16) -> [Expr; 2] {
    [meta(MetaKey::EtherTypeProtocol, Register::Reg1), equal(of.to_be_bytes().to_vec())]
}

/// `iifname "veth*" update @set { iifname limit rate over … } drop`. A set that is full limits
/// nothing.
fn drop_over(prefix: &str, set: &Set<'_>, limit: Limit) -> [Expr; 4] {
    let link = meta(MetaKey::Iifname, Register::Reg1);
    let update = update(set.name, limit_over(limit));
    [link, equal(prefix.as_bytes().to_vec()), update, verdict(NF_DROP)]
}
