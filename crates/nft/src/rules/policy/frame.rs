//! The names of what does not depend on any policy: table, sets, maps and chains.

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::InetHookNumber;

use super::Family;
use crate::kernel::batch::{BaseChain, Table};
use crate::kernel::set::{DataType, IPV4_ADDR, IPV6_ADDR, PORT, PROTOCOL, Set, Type};

/// Of NetworkPolicy.
pub(crate) const POLICY: Table = Table {
    family: NetfilterProtoFamily::Inet,
    name: "ferrule-policy",
    title: "inet ferrule-policy",
};

/// After DNAT, so that destinations are pods and not Services, and before a NAT of the source.
pub(crate) const FORWARD: BaseChain =
    BaseChain { name: "forward", kind: "filter", hook: InetHookNumber::Forward, priority: 0 };

/// How many denied flows are remembered for each family, and for how long, in milliseconds.
const RECORDS: u32 = 4096;
const REMEMBERED: u64 = 10 * 60 * 1000;
/// How many connections that a change ended are kept from coming back, and for how long: TCP gives up
/// after 15 minutes (net.ipv4.tcp_retries2).
const CUTS: u32 = 65_535;
const CUT: u64 = 20 * 60 * 1000;

/// The sets, maps and chains of one family.
pub(crate) struct Names {
    pub(crate) ingress: Set<'static>,
    pub(crate) egress: Set<'static>,
    pub(crate) own: Set<'static>,
    pub(crate) cut: Set<'static>,
    pub(crate) drops: Set<'static>,
    pub(crate) trials: Set<'static>,
    pub(crate) new: &'static str,
    pub(crate) held: &'static str,
    pub(crate) denied: &'static str,
    pub(crate) denied_icmp: &'static str,
    pub(crate) tried: &'static str,
    pub(crate) tried_icmp: &'static str,
}

const fn verdicts(name: &'static str, address: Type) -> Set<'static> {
    Set::map(name, address, DataType::Verdict)
}

const fn pairs(name: &'static str, address: Type) -> Set<'static> {
    Set::new(name, address.then(address))
}

const fn flows(name: &'static str, address: Type) -> Set<'static> {
    Set::new(name, address.then(address).then(PROTOCOL).then(PORT)).dynamic(RECORDS, REMEMBERED)
}

const fn connections(name: &'static str, address: Type) -> Set<'static> {
    let key = address.then(address).then(PROTOCOL).then(PORT).then(PORT);
    Set::new(name, key).dynamic(CUTS, CUT)
}

pub(crate) const V4: Names = Names {
    ingress: verdicts("in4", IPV4_ADDR),
    egress: verdicts("out4", IPV4_ADDR),
    own: pairs("self4", IPV4_ADDR),
    cut: connections("cut4", IPV4_ADDR),
    drops: flows("drops4", IPV4_ADDR),
    trials: flows("trials4", IPV4_ADDR),
    new: "new4",
    held: "held4",
    denied: "denied4",
    denied_icmp: "denied-icmp4",
    tried: "tried4",
    tried_icmp: "tried-icmp4",
};

pub(crate) const V6: Names = Names {
    ingress: verdicts("in6", IPV6_ADDR),
    egress: verdicts("out6", IPV6_ADDR),
    own: pairs("self6", IPV6_ADDR),
    cut: connections("cut6", IPV6_ADDR),
    drops: flows("drops6", IPV6_ADDR),
    trials: flows("trials6", IPV6_ADDR),
    new: "new6",
    held: "held6",
    denied: "denied6",
    denied_icmp: "denied-icmp6",
    tried: "tried6",
    tried_icmp: "tried-icmp6",
};

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

pub(crate) const fn names(family: Family) -> &'static Names {
    match family {
        Family::V4 => &V4,
        Family::V6 => &V6,
    }
}
