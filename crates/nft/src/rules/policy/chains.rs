//! The rules of the chains, each with its text as `nft` prints it.

use netlink_packet_netfilter::nftables::{MetaKey, Operator, Register};

use super::frame::{Names, names};
use super::{Direction, Family, Kind, Matches, Profile, ProfileId, SetId, Step, Tiers, Verdict};
use crate::kernel::expr::nat::counter;
use crate::kernel::expr::{
    Expr, Ip, NETWORK_HEADER, NF_ACCEPT, NF_DROP, Rule, TRANSPORT_HEADER, compare, ct_state, equal,
    go, guard, load, lookup, lookup_data, masked, meta, update, verdict,
};
use crate::kernel::set;

/// NF_CT_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED (linux/netfilter/nf_conntrack_common.h).
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
// Protocol numbers (RFC 5237).
const ICMP: u8 = 1;
const IGMP: u8 = 2;
const ICMPV6: u8 = 58;
/// Multicast listener queries, reports and dones (130 to 132), and neighbour discovery (133 to 137).
const NEIGHBOURS: [u8; 2] = [130, 137];
/// Multicast listener report, version 2.
const LISTENER_REPORT: u8 = 143;

/// How the names of further chains of a profile end.
const NAMESPACED: &str = "-np";
const TRIAL: &str = "-trial";

fn goto(chain: &str) -> Expr {
    go(&set::Verdict::Goto(chain.to_owned()))
}

fn jump(chain: &str) -> Expr {
    go(&set::Verdict::Jump(chain.to_owned()))
}

fn returns() -> Expr {
    go(&set::Verdict::Return)
}

fn source(ip: Ip, to: Register) -> Expr {
    load(NETWORK_HEADER, ip.saddr(), ip.len(), to)
}

fn destination(ip: Ip, to: Register) -> Expr {
    load(NETWORK_HEADER, ip.daddr(), ip.len(), to)
}

fn l4proto(to: Register) -> Expr {
    meta(MetaKey::L4Proto, to)
}

fn source_port(to: Register) -> Expr {
    load(TRANSPORT_HEADER, 0, 2, to)
}

fn destination_port(to: Register) -> Expr {
    load(TRANSPORT_HEADER, 2, 2, to)
}

/// The registers of a concatenation that begins with two addresses: the second address, and the three
/// words behind it. A register that begins one of 16 bytes is named by that one, as in a dump.
fn behind(ip: Ip) -> [Register; 4] {
    match ip {
        Ip::V4 => [Register::Reg32_01, Register::Reg32_02, Register::Reg32_03, Register::Reg2],
        Ip::V6 => [Register::Reg2, Register::Reg3, Register::Reg32_09, Register::Reg32_10],
    }
}

/// `ip saddr . ip daddr`
fn ends(ip: Ip) -> [Expr; 2] {
    [source(ip, Register::Reg1), destination(ip, behind(ip)[0])]
}

/// Chain `forward`.
pub(crate) fn forward() -> Vec<Rule> {
    let established = vec![
        ct_state(),
        masked(ESTABLISHED_OR_RELATED.to_ne_bytes().to_vec(), vec![0; 4]),
        compare(Operator::NotEqual, vec![0; 4]),
        verdict(NF_ACCEPT),
    ];
    let mut ipv4 = guard(Ip::V4).to_vec();
    ipv4.push(goto(names(Family::V4).new));
    vec![established, ipv4, vec![goto(names(Family::V6).new)]]
}

/// Chain `new4` or `new6`: the first packet of a connection.
pub(crate) fn new(family: Family) -> Vec<Rule> {
    let (ip, names) = (family.ip(), names(family));
    let [_, protocol, from, to] = behind(ip);
    let mut cut = guard(ip).to_vec();
    cut.extend(ends(ip));
    cut.extend([l4proto(protocol), source_port(from), destination_port(to)]);
    cut.extend([lookup(names.cut.name, Register::Reg1, false), goto(names.denied)]);
    let by = |address: Expr, map: &str| {
        let mut rule = guard(ip).to_vec();
        rule.extend([address, lookup_data(map, Register::Reg1, Register::Verdict)]);
        rule
    };
    vec![
        cut,
        by(source(ip, Register::Reg1), names.egress.name),
        by(destination(ip, Register::Reg1), names.ingress.name),
    ]
}

/// Chain `held4` or `held6`.
pub(crate) fn held(family: Family) -> Vec<Rule> {
    vec![vec![goto(names(family).denied)]]
}

/// Chain `denied4` or `denied6`.
pub(crate) fn denied(family: Family) -> Vec<Rule> {
    let names = names(family);
    let mut rules = exempt(family, names);
    rules.push(of_icmp(family, names.denied_icmp));
    rules.push(recorded(family, names.drops.name, destination_port));
    rules.push(vec![verdict(NF_DROP)]);
    rules
}

/// Chain `denied-icmp4` or `denied-icmp6`.
pub(crate) fn denied_icmp(family: Family) -> Vec<Rule> {
    let record = recorded(family, names(family).drops.name, source_port);
    vec![record, vec![verdict(NF_DROP)]]
}

/// Chain `tried4` or `tried6`: what a policy in dry run would drop.
pub(crate) fn tried(family: Family) -> Vec<Rule> {
    let names = names(family);
    let mut rules = exempt(family, names);
    // What is exempt goes back too.
    for rule in &mut rules {
        rule.pop();
        rule.push(returns());
    }
    rules.push(of_icmp(family, names.tried_icmp));
    rules.push(recorded(family, names.trials.name, destination_port));
    rules
}

/// Chain `tried-icmp4` or `tried-icmp6`.
pub(crate) fn tried_icmp(family: Family) -> Vec<Rule> {
    vec![recorded(family, names(family).trials.name, source_port)]
}

/// Accepts what no policy is about.
fn exempt(family: Family, names: &Names) -> Vec<Rule> {
    let ip = family.ip();
    let protocol = |number| [l4proto(Register::Reg1), equal(vec![number])];
    let mut rules = match family {
        Family::V4 => {
            let [proto, is] = protocol(IGMP);
            vec![vec![proto, is, verdict(NF_ACCEPT)]]
        }
        Family::V6 => {
            let kind = || load(TRANSPORT_HEADER, 0, 1, Register::Reg1);
            let mut neighbours = protocol(ICMPV6).to_vec();
            neighbours.extend([
                kind(),
                compare(Operator::GreatherThanEqual, vec![NEIGHBOURS[0]]),
                compare(Operator::LessThanEqual, vec![NEIGHBOURS[1]]),
                verdict(NF_ACCEPT),
            ]);
            let mut report = protocol(ICMPV6).to_vec();
            report.extend([kind(), equal(vec![LISTENER_REPORT]), verdict(NF_ACCEPT)]);
            vec![neighbours, report]
        }
    };
    let mut own = guard(ip).to_vec();
    own.extend(ends(ip));
    own.extend([lookup(names.own.name, Register::Reg1, false), verdict(NF_ACCEPT)]);
    rules.push(own);
    rules
}

/// `meta l4proto icmp goto …`: a chain of its own, since `nft` leaves the condition out of a rule that
/// goes on with a port.
fn of_icmp(family: Family, chain: &str) -> Rule {
    let icmp = match family {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    };
    vec![l4proto(Register::Reg1), equal(vec![icmp]), goto(chain)]
}

/// Counts who sent what to whom: the destination port, or of ICMP type and code, which stand where
/// others have the source port. Where the set is full the rule ends without a verdict (nft_dynset_eval),
/// so the verdict is another rule's.
fn recorded(family: Family, set: &str, port: fn(Register) -> Expr) -> Rule {
    let ip = family.ip();
    let [_, protocol, last, _] = behind(ip);
    let mut rule = guard(ip).to_vec();
    rule.extend(ends(ip));
    rule.extend([l4proto(protocol), port(last), update(set, counter())]);
    rule
}

/// The chains of a profile, each with its rules. A chain is named after those that lead to it.
pub(crate) fn of_profile(id: ProfileId, profile: &Profile) -> Vec<(String, Vec<Rule>)> {
    let (name, names) = (id.chain(), names(id.family));
    let mut chains = of_tiers(id, &name, &profile.tiers, names.denied);
    if let Some(trial) = &profile.trial {
        let trial_name = format!("{name}{TRIAL}");
        if let Some((_, rules)) = chains.first_mut() {
            rules.insert(0, vec![jump(&trial_name)]);
        }
        chains.extend(of_tiers(id, &trial_name, trial, names.tried));
    }
    chains
}

/// What is accepted returns; what is denied goes to the chain `denied`.
fn of_tiers(id: ProfileId, name: &str, tiers: &Tiers, denied: &str) -> Vec<(String, Vec<Rule>)> {
    let mut last = Vec::new();
    match &tiers.isolated {
        Some(admitted) => {
            last.extend(matching(id, admitted, &returns()));
            last.push(vec![goto(denied)]);
        }
        None => {
            for Step { verdict, matches } in &tiers.after {
                let then = if *verdict == Verdict::Deny { goto(denied) } else { returns() };
                last.extend(matching(id, matches, &then));
            }
        }
    }
    let passes = tiers.before.iter().any(|step| step.verdict == Verdict::Pass);
    let next = format!("{name}{NAMESPACED}");
    let mut first = Vec::new();
    for Step { verdict, matches } in &tiers.before {
        let then = match verdict {
            Verdict::Accept => returns(),
            Verdict::Deny => goto(denied),
            Verdict::Pass => goto(&next),
        };
        first.extend(matching(id, matches, &then));
    }
    if passes {
        first.push(vec![goto(&next)]);
        vec![(name.to_owned(), first), (next, last)]
    } else {
        first.extend(last);
        vec![(name.to_owned(), first)]
    }
}

/// One rule for each set that may match.
fn matching(id: ProfileId, matches: &Matches, then: &Expr) -> Vec<Rule> {
    match matches {
        Matches::All => vec![vec![then.clone()]],
        Matches::Sets(sets) => sets.iter().map(|set| in_set(id, *set, then)).collect(),
    }
}

fn in_set(id: ProfileId, set: SetId, then: &Expr) -> Rule {
    let ip = id.family.ip();
    let offset = match id.direction {
        Direction::Ingress => ip.saddr(),
        Direction::Egress => ip.daddr(),
    };
    let peer = load(NETWORK_HEADER, offset, ip.len(), Register::Reg1);
    let mut rule = Rule::new();
    match set.kind {
        Kind::Peers | Kind::Networks => {
            rule.extend(guard(ip));
            rule.push(peer);
        }
        Kind::Ports => {
            rule.extend([l4proto(Register::Reg1), destination_port(Register::Reg32_01)]);
        }
        Kind::PeerPorts | Kind::NetworkPorts => {
            let [protocol, port] = match ip {
                Ip::V4 => [Register::Reg32_01, Register::Reg32_02],
                Ip::V6 => [Register::Reg2, Register::Reg32_05],
            };
            rule.extend(guard(ip));
            rule.extend([peer, l4proto(protocol), destination_port(port)]);
        }
    }
    rule.extend([lookup(&set.name(), Register::Reg1, false), then.clone()]);
    rule
}
