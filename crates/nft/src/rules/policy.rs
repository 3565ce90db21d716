//! NetworkPolicy: which of the node's pods are selected, and what they admit.
//!
//! ```text
//! table inet ferrule-policy {
//!     map in4, in6, out4, out6            address of a selected pod → jump to its profile's chain, or to held4
//!     set self4, self6                    a pod's address, twice: it always reaches itself
//!     set cut4, cut6                      connections that a change ended, for 20 minutes
//!     set drops4, drops6, trials4, trials6    who was denied what, and how often
//!     set peers4-<16 hex>, …              what profiles admit; shared between them
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         ct state established,related accept
//!         meta nfproto ipv4 goto new4
//!         goto new6
//!     }
//!     chain new4 {
//!         ip saddr . ip daddr . meta l4proto . th sport . th dport @cut4 goto denied4
//!         ip saddr vmap @out4
//!         ip daddr vmap @in4
//!     }
//!     chain in4-<16 hex> {                one for each profile, direction and family; in general
//!         ip saddr @peers4-… return
//!         ip saddr . meta l4proto . th dport @peer-ports4-… return
//!         meta l4proto . th dport @ports4-… return
//!         ip saddr @networks4-… return
//!         ip saddr . meta l4proto . th dport @network-ports4-… return
//!         goto denied4
//!     }
//!     chain denied4 {
//!         meta l4proto igmp accept
//!         ip saddr . ip daddr @self4 accept
//!         meta l4proto icmp goto denied-icmp4
//!         update @drops4 { ip saddr . ip daddr . meta l4proto . th dport counter }
//!         drop
//!     }
//!     chain denied-icmp4                  the same for type and code
//!     chain tried4, tried-icmp4           record as these do, and return
//!     chain held4 { goto denied4 }        of pods that no daemon has decided on yet
//!     …and the same with 6, where denied6 accepts neighbour discovery and multicast listener reports
//! }
//! ```
//!
//! A packet passes one lookup for each direction and at most five for its profile, however many
//! policies and pods there are; an established connection passes one rule. Hook `forward` alone: a
//! node reaches its own pods. The table is one of its own because the kernel validates the verdict
//! maps of a table at each commit to that table.
//!
//! What is exempt from every policy (a pod's traffic with itself, neighbour discovery) is in `denied4`
//! and `denied6`, where it costs only packets that no rule admits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

mod chains;
mod cut;
mod drops;
mod found;
mod frame;
mod held;
mod keys;
mod make;
mod maps;
mod monitor;
mod names;
mod put;

pub use cut::Connection;
pub use drops::Dropped;
pub use held::Policed;
pub use monitor::{Changes, PolicyMonitor};
pub use put::{Known, Put};

/// Seen from the selected pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Packets to the pod: its peer is the source.
    Ingress,
    /// Packets from the pod: its peer is the destination.
    Egress,
}

/// The family of the addresses of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// What the elements of a set are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Peer address, any protocol and port. Hash set.
    Peers,
    /// Peer address . protocol . destination port. Hash set.
    PeerPorts,
    /// Protocol . destination port, any peer. Hash set.
    Ports,
    /// Range of peer addresses, any protocol and port. Interval set. Disjoint, not touching.
    Networks,
    /// Range of peer addresses . protocol . range of destination ports. Pipapo. Disjoint boxes.
    NetworkPorts,
}

/// The name of a set: in the kernel for example `peers4-<16 hex>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId {
    /// What its elements are.
    pub kind: Kind,
    /// The family of their addresses.
    pub family: Family,
    /// Stable as long as the policies that make the set are the same by name.
    pub id: u64,
}

/// Elements, sorted, without duplicates; all addresses are of the set's family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// Of [`Kind::Peers`].
    Peers(Vec<IpAddr>),
    /// Of [`Kind::PeerPorts`]: address, protocol number, port.
    PeerPorts(Vec<(IpAddr, u8, u16)>),
    /// Of [`Kind::Ports`]: protocol number, port.
    Ports(Vec<(u8, u16)>),
    /// Of [`Kind::Networks`].
    Networks(Vec<AddressRange>),
    /// Of [`Kind::NetworkPorts`]: addresses, protocol number, ports.
    NetworkPorts(Vec<(AddressRange, u8, PortRange)>),
}

/// Addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// The first.
    pub first: IpAddr,
    /// The last, included.
    pub last: IpAddr,
}

/// Ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last, included.
    pub last: u16,
}

/// Which packets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Matches {
    /// All.
    All,
    /// Those in any of the sets, of which there is at most one of each kind; in none without a set.
    Sets(Vec<SetId>),
}

/// What a step of a tier decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The packet passes in this direction.
    Accept,
    /// It is dropped.
    Deny,
    /// The namespaced policies decide.
    Pass,
}

/// Consecutive rules of a tier of ClusterNetworkPolicy with the same verdict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// What it decides.
    pub verdict: Verdict,
    /// On which packets.
    pub matches: Matches,
}

/// What decides on a packet, in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tiers {
    /// Admin tier. The first step that matches decides: Accept and Deny at once, Pass goes to
    /// `isolated`.
    pub before: Vec<Step>,
    /// NetworkPolicy. `None`: none selects the pod, `after` decides. `Some`: what matches is accepted,
    /// the rest dropped, and `after` is empty.
    pub isolated: Option<Matches>,
    /// Baseline tier. Pass is like Accept here. A packet that no step matches is accepted.
    pub after: Vec<Step>,
}

/// What pods admit that decide alike in one direction and family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What decides.
    pub tiers: Tiers,
    /// With the policies in dry run enforced as well: a packet that these deny is recorded among the
    /// trial's drops, and then `tiers` decides. `None`, nearly always: there is no such policy.
    pub trial: Option<Tiers>,
}

/// The name of a profile: its chain is `in4-<16 hex>`, `out6-<16 hex>` and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileId {
    /// Which packets it decides on.
    pub direction: Direction,
    /// Their family.
    pub family: Family,
    /// Stable as long as the policies that select its pods are the same by name.
    pub id: u64,
}

/// What is decided on a local pod's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The profile of what comes in; `None`: nothing restricts it.
    pub ingress: Option<ProfileId>,
    /// The profile of what goes out; `None`: nothing restricts it.
    pub egress: Option<ProfileId>,
    /// The attachment's key as in the comments of elements (32 hex), where it is known. A held element of
    /// the address is replaced only if its comment has this key, so that a later pod with the same
    /// address stays held.
    pub attachment: Option<String>,
}

/// The whole desired state. An [`Arc`] that is the same as in the state applied before is taken to be
/// unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// What profiles refer to.
    pub sets: BTreeMap<SetId, Arc<Members>>,
    /// What pods refer to.
    pub profiles: BTreeMap<ProfileId, Arc<Profile>>,
    /// Every local pod's address that is decided, selected or not. A held address that is not here stays
    /// held.
    pub pods: BTreeMap<IpAddr, Pod>,
}
