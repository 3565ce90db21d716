//! Expressions of the rules about the sources of pods' packets and about local senders.

use netlink_packet_netfilter::nftables::{MetaKey, Operator, Register};

use crate::kernel::expr::{
    Expr, Ip, NF_ACCEPT, NF_DROP, Rule, address_in, compare, drop_not_routed_back, equal, guard,
    lookup, masked, meta, other, udp_to, verdict,
};

/// The bit of a packet's mark that says that the tunnel may carry it. It is none of those of
/// kube-proxy (0xc000), the portmap plugin (0x2000), the firewall plugin (0x1000) or Tailscale
/// (0xff0000).
const CARRIED: u32 = 0x1000_0000;

/// NFTA_META_KEY, NFTA_META_SREG and NFT_META_MARK (linux/netfilter/nf_tables.h): the crate's
/// `Meta` has no source register.
const META_KEY: u16 = 2;
const META_SREG: u16 = 3;
const META_MARK: u32 = 3;
/// NFT_REG_1.
const REG_1: u32 = 1;

/// `ip daddr != @set accept`
pub(crate) fn accept_unless_to(ip: Ip, set: &str) -> Rule {
    let mut rule = guard(ip).to_vec();
    rule.extend(address_in(ip, ip.daddr(), set, false));
    rule.push(verdict(NF_ACCEPT));
    rule
}

/// `ip saddr @set fib saddr . iif oif missing drop`
pub(crate) fn drop_from_elsewhere(ip: Ip, set: &str) -> Rule {
    let mut rule = guard(ip).to_vec();
    rule.extend(address_in(ip, ip.saddr(), set, true));
    rule.extend(drop_not_routed_back());
    rule
}

/// `iifname @links ip daddr @to ip saddr != @from drop`
pub(crate) fn drop_foreign_of_links(ip: Ip, links: &str, to: &str, from: &str) -> Rule {
    let mut rule =
        vec![meta(MetaKey::Iifname, Register::Reg1), lookup(links, Register::Reg1, false)];
    rule.extend(guard(ip));
    rule.extend(address_in(ip, ip.daddr(), to, true));
    rule.extend(address_in(ip, ip.saddr(), from, false));
    rule.push(verdict(NF_DROP));
    rule
}

/// `meta skuid != 0 udp dport 4789 ip daddr @set meta mark & 0x10000000 == 0 drop`
pub(crate) fn drop_unmarked_udp_of_users(ip: Ip, set: &str, port: u16) -> Rule {
    let mut rule = of_users().to_vec();
    rule.extend(udp_to(port));
    rule.extend(guard(ip));
    rule.extend(address_in(ip, ip.daddr(), set, true));
    rule.extend([mark(), mark_masked(CARRIED, 0), equal(0_u32.to_ne_bytes().to_vec())]);
    rule.push(verdict(NF_DROP));
    rule
}

/// `meta skuid != 0 udp dport 4789 meta mark & 0x10000000 == 0x10000000 meta mark set meta mark &
/// 0xefffffff`
pub(crate) fn unmark_udp_of_users(port: u16) -> Rule {
    let mut rule = of_users().to_vec();
    rule.extend(udp_to(port));
    rule.extend([mark(), mark_masked(CARRIED, 0), equal(CARRIED.to_ne_bytes().to_vec())]);
    rule.extend([mark(), mark_masked(!CARRIED, 0), set_mark()]);
    rule
}

/// `meta skuid != 0 ip daddr @set meta mark set meta mark | 0x10000000`
pub(crate) fn mark_of_users_to(ip: Ip, set: &str) -> Rule {
    let mut rule = of_users().to_vec();
    rule.extend(guard(ip));
    rule.extend(address_in(ip, ip.daddr(), set, true));
    rule.extend([mark(), mark_masked(!CARRIED, CARRIED), set_mark()]);
    rule
}

/// `meta skuid != 0`: a packet without a socket does not match either.
fn of_users() -> [Expr; 2] {
    let root = 0_u32.to_ne_bytes().to_vec();
    [meta(MetaKey::SocketUserId, Register::Reg1), compare(Operator::NotEqual, root)]
}

pub(crate) fn mark() -> Expr {
    meta(MetaKey::Mark, Register::Reg1)
}

/// Register 1 becomes `(value & mask) ^ xor`; a mark has the host's byte order.
pub(crate) fn mark_masked(mask: u32, xor: u32) -> Expr {
    masked(mask.to_ne_bytes().to_vec(), xor.to_ne_bytes().to_vec())
}

/// The mark becomes register 1.
pub(crate) fn set_mark() -> Expr {
    other("meta", &[(META_KEY, META_MARK), (META_SREG, REG_1)])
}
