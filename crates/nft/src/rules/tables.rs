//! Our tables: every base chain and set in them, and whose each is.
//!
//! | of | objects |
//! |---|---|
//! | attachments | `masq`, `drop-invalid`, `rpfilter`, `macspoof`, `firewall`, `firewall-end`, `hostports-…` with their maps and sets, and for each network and subnet `masq-…`, `invalid-…`, `exclude-…` |
//! | route-sync | all others; `cluster4` and `cluster6` are made with the first masqueraded pod too |

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::InetHookNumber;

use crate::kernel::batch::{BaseChain, Table};
use crate::kernel::set::{
    DataType, ETHER_ADDR, IFNAME, IPV4_ADDR, IPV6_ADDR, PORT, PROTOCOL, Set, Type,
};

/// Of IP packets.
pub(crate) const INET: Table =
    Table { family: NetfilterProtoFamily::Inet, name: "ferrule", title: "inet ferrule" };
/// Of frames.
pub(crate) const BRIDGE: Table =
    Table { family: NetfilterProtoFamily::Bridge, name: "ferrule", title: "bridge ferrule" };

/// raw: before connection tracking, which has nothing to remember of what is dropped.
const RAW: i32 = -300;
/// srcnat is 100, where iptables-nft, kube-proxy and administrators' rulesets are. Chains of one
/// priority run in the order of their creation, so whose NAT comes first would depend on who
/// started first. A source that an earlier chain translated is translated already, and the kernel
/// does not ask a later one about that connection (nf_nat_inet_fn).
const SRCNAT: i32 = 100;
/// dstnat is -100, where kube-proxy and administrators' rulesets are.
const DSTNAT: i32 = -100;

const fn filter(name: &'static str, hook: InetHookNumber, priority: i32) -> BaseChain {
    BaseChain { name, kind: "filter", hook, priority }
}

const fn postrouting(name: &'static str, priority: i32) -> BaseChain {
    nat(name, InetHookNumber::PostRouting, priority)
}

const fn nat(name: &'static str, hook: InetHookNumber, priority: i32) -> BaseChain {
    BaseChain { name, kind: "nat", hook, priority }
}

const fn targets(name: &'static str, key: Type, address: Type) -> Set<'static> {
    Set::map(name, key, DataType::Value(address.then(PORT)))
}

const fn verdicts4(name: &'static str) -> Set<'static> {
    Set::map(name, IPV4_ADDR, DataType::Verdict)
}

const fn verdicts6(name: &'static str) -> Set<'static> {
    Set::map(name, IPV6_ADDR, DataType::Verdict)
}

const fn networks4(name: &'static str) -> Set<'static> {
    Set::new(name, IPV4_ADDR).intervals()
}

const fn networks6(name: &'static str) -> Set<'static> {
    Set::new(name, IPV6_ADDR).intervals()
}

// What the pods' attachments have in `inet ferrule`.

pub(crate) const MASQ: BaseChain = postrouting("masq", SRCNAT + 1);
pub(crate) const DROP_INVALID: BaseChain = filter("drop-invalid", InetHookNumber::Forward, 0);
pub(crate) const RPFILTER: BaseChain = filter("rpfilter", InetHookNumber::PreRouting, RAW);
pub(crate) const MASQ4: Set<'static> = verdicts4("masq4");
pub(crate) const MASQ6: Set<'static> = verdicts6("masq6");
pub(crate) const INVALID4: Set<'static> = verdicts4("invalid4");
pub(crate) const INVALID6: Set<'static> = verdicts6("invalid6");
pub(crate) const RPFILTER_LINKS: Set<'static> = Set::new("rpfilter-links", IFNAME);
/// How the names of the chains and sets of each network and subnet begin.
pub(crate) const MASQ_PREFIX: &str = "masq-";
pub(crate) const INVALID_PREFIX: &str = "invalid-";
pub(crate) const EXCLUDE_PREFIX: &str = "exclude-";

/// All that is there with the first masqueraded pod, and goes with the last.
pub(crate) const MASQ_SETS: [Set<'static>; 6] =
    [CLUSTER4, CLUSTER6, MASQ4, MASQ6, INVALID4, INVALID6];
pub(crate) const MASQ_BASES: [BaseChain; 2] = [MASQ, DROP_INVALID];
/// The sets whose elements come and go with pods.
pub(crate) const SETS_OF_PODS: [Set<'static>; 5] =
    [MASQ4, MASQ6, INVALID4, INVALID6, RPFILTER_LINKS];
/// How the names of the chains begin that come and go with pods.
pub(crate) const PREFIXES_OF_PODS: [&str; 3] = [MASQ_PREFIX, INVALID_PREFIX, HOSTPORT_PREFIX];

// What portmap has in `inet ferrule`: see `rules::hostports`.

/// How the names of all of it begin.
pub(crate) const HOSTPORT_PREFIX: &str = "hostport";
pub(crate) const HOSTPORTS_GUARD: BaseChain =
    filter("hostports-guard", InetHookNumber::PreRouting, RAW);
pub(crate) const HOSTPORTS_IN: BaseChain =
    nat("hostports-in", InetHookNumber::PreRouting, DSTNAT + 1);
pub(crate) const HOSTPORTS_OUT: BaseChain =
    nat("hostports-out", InetHookNumber::LocalOut, DSTNAT + 1);
/// After the pods' own chain and the cluster's.
pub(crate) const HOSTPORTS_MASQ: BaseChain = postrouting("hostports-masq", SRCNAT + 3);
pub(crate) const HOSTPORTS_BASES: [BaseChain; 4] =
    [HOSTPORTS_GUARD, HOSTPORTS_IN, HOSTPORTS_OUT, HOSTPORTS_MASQ];
pub(crate) const HOSTPORTS4: Set<'static> = targets("hostports4", PROTOCOL.then(PORT), IPV4_ADDR);
pub(crate) const HOSTPORTS6: Set<'static> = targets("hostports6", PROTOCOL.then(PORT), IPV6_ADDR);
pub(crate) const HOSTPORT_IPS4: Set<'static> =
    targets("hostport-ips4", PROTOCOL.then(IPV4_ADDR).then(PORT), IPV4_ADDR);
pub(crate) const HOSTPORT_IPS6: Set<'static> =
    targets("hostport-ips6", PROTOCOL.then(IPV6_ADDR).then(PORT), IPV6_ADDR);
pub(crate) const HOSTPORT_SELF4: Set<'static> =
    Set::new("hostport-self4", IPV4_ADDR.then(IPV4_ADDR));
pub(crate) const HOSTPORT_SELF6: Set<'static> =
    Set::new("hostport-self6", IPV6_ADDR.then(IPV6_ADDR));
pub(crate) const HOSTPORT_NEAR4: Set<'static> = Set::new("hostport-near4", IPV4_ADDR.then(IFNAME));
pub(crate) const HOSTPORT_NEAR6: Set<'static> = Set::new("hostport-near6", IPV6_ADDR.then(IFNAME));
pub(crate) const HOSTPORT_ALL4: Set<'static> =
    Set::new("hostport-all4", PROTOCOL.then(IPV4_ADDR).then(PORT));
pub(crate) const HOSTPORT_ALL6: Set<'static> =
    Set::new("hostport-all6", PROTOCOL.then(IPV6_ADDR).then(PORT));
pub(crate) const HOSTPORT_NOT_LO: Set<'static> = Set::new("hostport-not-lo", PROTOCOL.then(PORT));
pub(crate) const HOSTPORT_LINKS: Set<'static> = Set::new("hostport-links", IFNAME);
/// The maps, of which each mapping has one element.
pub(crate) const HOSTPORTS_MAPS: [Set<'static>; 4] =
    [HOSTPORTS4, HOSTPORTS6, HOSTPORT_IPS4, HOSTPORT_IPS6];
/// The sets and maps whose elements attachments own.
pub(crate) const HOSTPORTS_OWNED: [Set<'static>; 11] = [
    HOSTPORTS4,
    HOSTPORTS6,
    HOSTPORT_IPS4,
    HOSTPORT_IPS6,
    HOSTPORT_SELF4,
    HOSTPORT_SELF6,
    HOSTPORT_NEAR4,
    HOSTPORT_NEAR6,
    HOSTPORT_ALL4,
    HOSTPORT_ALL6,
    HOSTPORT_NOT_LO,
];

/// What the firewall plugin accepts is marked before all that others filter in hook forward, and no
/// longer marked after it.
pub(crate) const FIREWALL: BaseChain = filter("firewall", InetHookNumber::Forward, -10_000);
pub(crate) const FIREWALL_END: BaseChain = filter("firewall-end", InetHookNumber::Forward, 10_000);
pub(crate) const FIREWALL4: Set<'static> = verdicts4("firewall4");
pub(crate) const FIREWALL6: Set<'static> = verdicts6("firewall6");
/// Bridges with an ingressPolicy, and the pairs of one bridge with itself that may talk.
pub(crate) const CLOSED_BRIDGES: Set<'static> = Set::new("closed-bridges", IFNAME);
pub(crate) const SAME_BRIDGE: Set<'static> = Set::new("same-bridge", IFNAME.then(IFNAME));
pub(crate) const FIREWALL_SETS: [Set<'static>; 4] =
    [FIREWALL4, FIREWALL6, CLOSED_BRIDGES, SAME_BRIDGE];

// In `bridge ferrule`.

/// -300 is dstnat of the bridge family (NF_BR_PRI_NAT_DST_BRIDGED), where the reference's rule
/// is too. The bridge learns only after prerouting, so a false address never enters its FDB; but
/// frames to link-local group addresses skip this hook, see `net::link::set_no_linklocal_learn`.
pub(crate) const MACSPOOF: BaseChain = filter("macspoof", InetHookNumber::PreRouting, -300);
pub(crate) const SPOOF_PORTS: Set<'static> = Set::new("spoof-ports", IFNAME);
pub(crate) const SPOOF_MACS: Set<'static> = Set::new("spoof-macs", IFNAME.then(ETHER_ADDR));
pub(crate) const SPOOF_SETS: [Set<'static>; 2] = [SPOOF_PORTS, SPOOF_MACS];

// What route-sync has in `inet ferrule`.

pub(crate) const OVERLAY: BaseChain = filter("overlay", InetHookNumber::LocalIn, RAW);
/// A pod may send with any source address, or a NAT of this node's may give it the node's: then
/// the other node cannot tell it from a node. After DNAT and before a NAT of the source, as in the
/// hook forward; but there Linux 5.10 takes no `fib saddr . iif oif`
/// (net/netfilter/nft_fib.c, nft_fib_validate).
pub(crate) const TRANSIT: BaseChain = filter("overlay-transit", InetHookNumber::PreRouting, -50);
/// Before DNAT too.
pub(crate) const POD_SOURCES: BaseChain = filter("pod-sources", InetHookNumber::PreRouting, RAW);
/// Last in output: after DNAT of what goes to a Service, and after whatever sets marks.
pub(crate) const OVERLAY_OUTPUT: BaseChain =
    filter("overlay-output", InetHookNumber::LocalOut, 300);
/// After the pods' own chain.
pub(crate) const CLUSTER_MASQ: BaseChain = postrouting("cluster-masq", SRCNAT + 2);
pub(crate) const CLUSTER_INVALID: BaseChain = filter("cluster-invalid", InetHookNumber::Forward, 0);
pub(crate) const CLUSTER4: Set<'static> = networks4("cluster4");
pub(crate) const CLUSTER6: Set<'static> = networks6("cluster6");
pub(crate) const PEERS4: Set<'static> = Set::new("overlay-peers4", IPV4_ADDR);
pub(crate) const PEERS6: Set<'static> = Set::new("overlay-peers6", IPV6_ADDR);
pub(crate) const PODS4: Set<'static> = networks4("pods4");
pub(crate) const PODS6: Set<'static> = networks6("pods6");
pub(crate) const CLUSTER_PODS4: Set<'static> = networks4("cluster-pods4");
pub(crate) const CLUSTER_PODS6: Set<'static> = networks6("cluster-pods6");
pub(crate) const REMOTE_PODS4: Set<'static> = networks4("remote-pods4");
pub(crate) const REMOTE_PODS6: Set<'static> = networks6("remote-pods6");
pub(crate) const SOURCES4: Set<'static> = networks4("pod-sources4");
pub(crate) const SOURCES6: Set<'static> = networks6("pod-sources6");
pub(crate) const POD_LINKS: Set<'static> = Set::new("pod-links", IFNAME);

// What route-sync has in tables of its own, one in each of three families: how often a pod may have
// the node remember a neighbour.

pub(crate) const NEIGHBOURS: &str = "ferrule-neighbours";
pub(crate) const NEIGHBOURS_BRIDGE: Table = Table {
    family: NetfilterProtoFamily::Bridge,
    name: NEIGHBOURS,
    title: "bridge ferrule-neighbours",
};
pub(crate) const NEIGHBOURS_INET: Table = Table {
    family: NetfilterProtoFamily::Inet,
    name: NEIGHBOURS,
    title: "inet ferrule-neighbours",
};
pub(crate) const NEIGHBOURS_ARP: Table =
    Table { family: NetfilterProtoFamily::ARP, name: NEIGHBOURS, title: "arp ferrule-neighbours" };
/// -300 is before all that others filter.
pub(crate) const ASKS_BRIDGE: BaseChain = filter("asks", InetHookNumber::LocalIn, -300);
pub(crate) const ASKS_INET: BaseChain = filter("asks", InetHookNumber::LocalIn, RAW);
/// NF_ARP_IN is 0, which inet calls prerouting.
pub(crate) const ASKS_ARP: BaseChain = filter("asks", InetHookNumber::PreRouting, -300);
/// Packets make the elements, which are forgotten a minute after the last.
pub(crate) const ASKS: Set<'static> = Set::new("asks", IFNAME).dynamic(65_535, 60_000);
