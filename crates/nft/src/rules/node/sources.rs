//! Which sources packets to pods may have, and which processes may send to another node's tunnel.
//!
//! ```text
//! table inet ferrule {
//!     set cluster-pods4 { type ipv4_addr; flags interval; }   the pod CIDRs of all nodes
//!     set remote-pods4 { type ipv4_addr; flags interval; }    those of other nodes
//!     set pod-sources4 { type ipv4_addr; flags interval; }    what this node's pods may send from
//!     …and the same with 6
//!     set pod-links { type ifname; }                          where this node's pods come in
//!     chain pod-sources {
//!         type filter hook prerouting priority raw; policy accept;
//!         ip daddr != @cluster-pods4 accept
//!         ip6 daddr != @cluster-pods6 accept
//!         ip saddr @remote-pods4 fib saddr . iif oif missing drop
//!         iifname @pod-links ip daddr @remote-pods4 ip saddr != @pod-sources4 drop
//!         …and the same with 6
//!     }
//!     chain overlay-output {
//!         type filter hook output priority 300; policy accept;
//!         meta skuid != 0 udp dport 4789 ip daddr @overlay-peers4 meta mark & 0x10000000 == 0 drop
//!         …and the same with 6
//!         meta skuid != 0 udp dport 4789 meta mark & 0x10000000 == 0x10000000 meta mark set meta mark & 0xefffffff
//!         meta skuid != 0 ip daddr @remote-pods4 meta mark set meta mark | 0x10000000
//!         …and the same with 6
//!     }
//! }
//! ```
//!
//! `pod-sources` sees destinations before DNAT: a pod's packet to another node's own address, a
//! NodePort for one, takes the underlay where nothing is masqueraded, and is for no pod yet.
//!
//! A packet that the tunnel encapsulates keeps the socket of its sender (iptunnel_xmit scrubs no
//! socket within one network namespace), so in `output` a tunnel packet of an unprivileged process
//! looks like a datagram that the process made itself. The bit of the mark tells them apart: it is
//! set on what goes to another node's pods, is kept by the encapsulation, and is cleared from the
//! outer packet. Setting a mark takes CAP_NET_ADMIN or CAP_NET_RAW (socket(7), SO_MARK).

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use super::guard::Guard;
use super::source_rules;
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::{Ip, Rule};
use crate::kernel::set::{Set, Span, name_key};
use crate::rules::spans::spans;
use crate::rules::tables::{
    CLUSTER_PODS4, CLUSTER_PODS6, PEERS4, PEERS6, POD_LINKS, REMOTE_PODS4, REMOTE_PODS6, SOURCES4,
    SOURCES6,
};

/// What comes in for a pod of the cluster is dropped if its source is another node's pod and the
/// way back to that one leads elsewhere, or if it comes in by a link of this node's pods, goes to
/// another node's pod, and its source is not of this node's pods. The networks may overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSources {
    /// This node's pod CIDRs.
    pub own: BTreeSet<IpNetwork>,
    /// Other nodes' pod CIDRs, without those whose way BGP tells: it may differ in each direction.
    pub remote: BTreeSet<IpNetwork>,
    /// What this node's pods may send from, beside [`PodSources::own`].
    pub allowed: BTreeSet<IpNetwork>,
    /// The links that this node's pods come in by, each a name of 1 to 15 bytes.
    pub links: BTreeSet<String>,
}

impl PodSources {
    pub(super) fn check(&self) -> Result<()> {
        match self.links.iter().find(|name| name_key(name).is_none()) {
            Some(name) => Err(Error::Invalid(format!("pod links: {name:?} is no interface name"))),
            None => Ok(()),
        }
    }

    pub(super) fn rules(&self) -> Vec<Rule> {
        let families = [
            (Ip::V4, CLUSTER_PODS4, REMOTE_PODS4, SOURCES4),
            (Ip::V6, CLUSTER_PODS6, REMOTE_PODS6, SOURCES6),
        ];
        let mut rules =
            families.map(|(ip, all, ..)| source_rules::accept_unless_to(ip, all.name)).to_vec();
        for (ip, _, remote, allowed) in families {
            rules.push(source_rules::drop_from_elsewhere(ip, remote.name));
            rules.push(source_rules::drop_foreign_of_links(
                ip,
                POD_LINKS.name,
                remote.name,
                allowed.name,
            ));
        }
        rules
    }

    fn all(&self) -> impl Iterator<Item = &IpNetwork> {
        self.own.iter().chain(&self.remote)
    }

    fn allowed(&self) -> impl Iterator<Item = &IpNetwork> {
        self.own.iter().chain(&self.allowed)
    }

    fn links(&self) -> BTreeSet<Span> {
        let keys = self.links.iter().filter_map(|name| name_key(name));
        keys.map(|first| Span { first, end: None }).collect()
    }
}

/// Who may send to the tunnel of another node; `sources`: [`PodSources`] are kept too.
pub(super) fn output_rules(guard: &Guard, sources: bool) -> Vec<Rule> {
    let peers = [(Ip::V4, PEERS4), (Ip::V6, PEERS6)];
    let mut rules = peers
        .map(|(ip, peers)| source_rules::drop_unmarked_udp_of_users(ip, peers.name, guard.port))
        .to_vec();
    if sources {
        rules.push(source_rules::unmark_udp_of_users(guard.port));
        let remote = [(Ip::V4, REMOTE_PODS4), (Ip::V6, REMOTE_PODS6)];
        rules.extend(remote.map(|(ip, remote)| source_rules::mark_of_users_to(ip, remote.name)));
    }
    rules
}

/// What each set holds; None: it is not needed.
pub(super) fn sets(sources: Option<&PodSources>) -> [(Set<'static>, Option<BTreeSet<Span>>); 7] {
    let all = |ip| sources.map(|of| spans(ip, of.all()));
    let remote = |ip| sources.map(|of| spans(ip, of.remote.iter()));
    let allowed = |ip| sources.map(|of| spans(ip, of.allowed()));
    [
        (CLUSTER_PODS4, all(Ip::V4)),
        (CLUSTER_PODS6, all(Ip::V6)),
        (REMOTE_PODS4, remote(Ip::V4)),
        (REMOTE_PODS6, remote(Ip::V6)),
        (SOURCES4, allowed(Ip::V4)),
        (SOURCES6, allowed(Ip::V6)),
        (POD_LINKS, sources.map(PodSources::links)),
    ]
}
