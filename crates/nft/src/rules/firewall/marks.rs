//! The rules of our own chains, each with its text as `nft` prints it.

use netlink_packet_netfilter::nftables::{MetaKey, Operator, Register};

use crate::kernel::expr::{
    self, Expr, Ip, NETWORK_HEADER, NF_DROP, Rule, compare, equal, guard, load, lookup,
    lookup_data, masked, meta, other, verdict,
};
use crate::rules::node::source_rules::{mark, mark_masked, set_mark};
use crate::rules::tables::{CLOSED_BRIDGES, FIREWALL4, FIREWALL6, SAME_BRIDGE};

/// The bit of a packet's mark that says: accept. No program that is known sets it while a packet is
/// forwarded: kube-proxy has 0xc000, host ports 0x2000, Calico 0xffff0000, Cilium 0xffff0f00,
/// Tailscale 0xff0000.
pub const ACCEPT: u32 = 0x1000;

// enum nft_ct_attributes, nft_ct_keys
const CT_DREG: u16 = 1;
const CT_KEY: u16 = 2;
const CT_STATUS: u32 = 2;
/// NF_CT_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED.
const ESTABLISHED_OR_RELATED: u32 = 0b110;
/// IPS_DST_NAT.
const DNAT: u32 = 1 << 5;

/// `meta mark & 0x00001000 == 0x00001000`
pub(super) fn is_marked() -> Rule {
    vec![mark(), mark_masked(ACCEPT, 0), equal(ACCEPT.to_ne_bytes().to_vec())]
}

/// One of the bits in register 1.
fn any_of(bits: u32) -> [Expr; 2] {
    let none = 0_u32.to_ne_bytes().to_vec();
    [masked(bits.to_ne_bytes().to_vec(), none.clone()), compare(Operator::NotEqual, none)]
}

/// `ip daddr vmap @firewall4`, or of the source.
fn vmap(ip: Ip, offset: u32) -> Rule {
    let map = match ip {
        Ip::V4 => FIREWALL4.name,
        Ip::V6 => FIREWALL6.name,
    };
    let mut rule = guard(ip).to_vec();
    rule.push(load(NETWORK_HEADER, offset, ip.len(), Register::Reg1));
    rule.push(lookup_data(map, Register::Reg1, Register::Verdict));
    rule
}

/// `iifname @closed-bridges oifname @closed-bridges iifname . oifname != @same-bridge drop`
fn drop_between_bridges() -> Rule {
    vec![
        meta(MetaKey::Iifname, Register::Reg1),
        lookup(CLOSED_BRIDGES.name, Register::Reg1, false),
        meta(MetaKey::Oifname, Register::Reg1),
        lookup(CLOSED_BRIDGES.name, Register::Reg1, false),
        meta(MetaKey::Iifname, Register::Reg1),
        meta(MetaKey::Oifname, Register::Reg2),
        lookup(SAME_BRIDGE.name, Register::Reg1, true),
        verdict(NF_DROP),
    ]
}

fn with(first: Vec<Expr>, then: Rule) -> Rule {
    [first, then].concat()
}

pub(super) fn base_rules() -> Vec<Rule> {
    let answers = || with(vec![expr::ct_state()], any_of(ESTABLISHED_OR_RELATED).to_vec());
    let status = || other("ct", &[(CT_DREG, 1), (CT_KEY, CT_STATUS)]);
    let mapped = || with(vec![status()], any_of(DNAT).to_vec());
    let families = [Ip::V4, Ip::V6];
    let mut rules = vec![drop_between_bridges()];
    rules.extend(families.map(|ip| vmap(ip, ip.saddr())));
    rules.extend(families.map(|ip| with(answers(), vmap(ip, ip.daddr()))));
    rules.extend(families.map(|ip| with(mapped(), vmap(ip, ip.daddr()))));
    rules
}

/// `meta mark set meta mark & 0xffffefff`
pub(super) fn end_rules() -> Vec<Rule> {
    vec![vec![mark(), mark_masked(!ACCEPT, 0), set_mark()]]
}

/// `meta mark set meta mark | 0x00001000`
pub(super) fn of_pods() -> Vec<Rule> {
    vec![vec![mark(), mark_masked(!ACCEPT, ACCEPT), set_mark()]]
}
