//! The rules of the base chains, and what makes chains and sets.

use netlink_packet_netfilter::nftables::{MetaKey, Register};

use crate::kernel::batch::Batch;
use crate::kernel::expr::{
    self, Expr, Ip, NETWORK_HEADER, NF_ACCEPT, NF_DROP, Rule, TRANSPORT_HEADER, equal, guard, load,
    lookup, meta, verdict,
};
use crate::kernel::set::Set;
use crate::rules::tables::{HOSTPORT_LINKS, HOSTPORT_NOT_LO, HOSTPORTS_BASES, HOSTPORTS_OWNED};

use super::sets::{Sets, V4, V6};

/// NFT_REG32_01 and following: the words behind the first one of register 1, of which register 2 is
/// the fifth.
const SECOND: Register = Register::Reg32_01;
const THIRD: Register = Register::Reg32_02;
const SIXTH: Register = Register::Reg32_05;

const LOOPBACK4: u8 = 127;
const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn source(ip: Ip, to: Register) -> Expr {
    load(NETWORK_HEADER, ip.saddr(), ip.len(), to)
}

fn destination(ip: Ip, to: Register) -> Expr {
    load(NETWORK_HEADER, ip.daddr(), ip.len(), to)
}

fn port(to: Register) -> Expr {
    load(TRANSPORT_HEADER, 2, 2, to)
}

/// `meta l4proto . ip daddr . th dport` in register 1 and the words behind it
fn protocol_destination_port(ip: Ip) -> [Expr; 3] {
    let behind = if ip == Ip::V4 { THIRD } else { SIXTH };
    [meta(MetaKey::L4Proto, Register::Reg1), destination(ip, SECOND), port(behind)]
}

/// `meta l4proto . th dport`
fn protocol_port() -> [Expr; 2] {
    [meta(MetaKey::L4Proto, Register::Reg1), port(SECOND)]
}

/// `ip saddr 127.0.0.0/8` or `ip daddr 127.0.0.0/8`, by the offset of the address.
fn in_loopback4(offset: u32) -> Rule {
    let mut rule = guard(Ip::V4).to_vec();
    rule.extend([load(NETWORK_HEADER, offset, 1, Register::Reg1), equal(vec![LOOPBACK4])]);
    rule
}

/// `fib daddr type != local accept`
fn accept_what_is_not_for_the_node() -> Rule {
    let mut rule = expr::is_not_local().to_vec();
    rule.push(verdict(NF_ACCEPT));
    rule
}

/// Of each family, the port on one address, then that on any.
fn translations() -> Vec<Rule> {
    let of_family = |(ip, sets): (Ip, &Sets)| {
        let mut one = guard(ip).to_vec();
        one.extend(protocol_destination_port(ip));
        one.extend(expr::nat::dnat_by(ip, sets.ips.name));
        let mut any = guard(ip).to_vec();
        any.extend(protocol_port());
        any.extend(expr::nat::dnat_by(ip, sets.ports.name));
        [one, any]
    };
    [(Ip::V4, &V4), (Ip::V6, &V6)].into_iter().flat_map(of_family).collect()
}

/// `iifname @hostport-links ip daddr 127.0.0.0/8 drop`
fn guard_rules() -> Vec<Rule> {
    let mut rule = vec![
        meta(MetaKey::Iifname, Register::Reg1),
        lookup(HOSTPORT_LINKS.name, Register::Reg1, false),
    ];
    rule.extend(in_loopback4(Ip::V4.daddr()));
    rule.push(verdict(NF_DROP));
    vec![rule]
}

fn in_rules() -> Vec<Rule> {
    [vec![accept_what_is_not_for_the_node()], translations()].concat()
}

fn out_rules() -> Vec<Rule> {
    let mut loopback6 = guard(Ip::V6).to_vec();
    loopback6.extend([destination(Ip::V6, Register::Reg1), equal(LOOPBACK6.to_vec())]);
    loopback6.push(verdict(NF_ACCEPT));
    let mut loopback4 = in_loopback4(Ip::V4.daddr());
    loopback4.extend(protocol_port());
    loopback4.push(lookup(HOSTPORT_NOT_LO.name, Register::Reg1, false));
    loopback4.push(verdict(NF_ACCEPT));
    [vec![accept_what_is_not_for_the_node(), loopback6, loopback4], translations()].concat()
}

fn masquerade_in(set: &Set<'_>, mut rule: Rule, key: &[Expr]) -> Rule {
    rule.extend_from_slice(key);
    rule.extend([lookup(set.name, Register::Reg1, false), expr::masquerade(false)]);
    rule
}

fn masq_rules() -> Vec<Rule> {
    let mut not_ours = expr::is_not_dnated().to_vec();
    not_ours.push(verdict(NF_ACCEPT));
    let mut rules = vec![not_ours];
    for (ip, sets, behind) in [(Ip::V4, &V4, SECOND), (Ip::V6, &V6, Register::Reg2)] {
        let first = Register::Reg1;
        let family = || guard(ip).to_vec();
        rules.push(masquerade_in(
            &sets.own,
            family(),
            &[source(ip, first), destination(ip, behind)],
        ));
        if ip == Ip::V4 {
            let key = [destination(ip, first), destination(ip, behind)];
            rules.push(masquerade_in(&sets.own, in_loopback4(ip.saddr()), &key));
        }
        let key = [destination(ip, first), meta(MetaKey::Iifname, behind)];
        rules.push(masquerade_in(&sets.near, family(), &key));
        rules.push(masquerade_in(&sets.all, family(), &protocol_destination_port(ip)));
    }
    rules
}

/// The rules of each base chain, in the order of [`HOSTPORTS_BASES`].
pub(super) fn rules() -> [Vec<Rule>; 4] {
    [guard_rules(), in_rules(), out_rules(), masq_rules()]
}

/// Table, chains and sets; each once: a second one in a batch would count as one that is there, and
/// leave work that the close of the socket waits for.
pub(super) fn frame(batch: &mut Batch) {
    batch.add_table();
    for base in &HOSTPORTS_BASES {
        batch.add_base_chain(base);
    }
    for set in HOSTPORTS_OWNED.iter().chain([&HOSTPORT_LINKS]) {
        batch.add_set(set);
    }
}
