//! Policies and pods as they decide on packets: types that cannot be wrong. [`read`] makes them from the objects.

pub mod ranges;
pub mod read;
pub mod selector;

pub use nft::policy::{AddressRange, Direction, Family, PortRange, Verdict};
pub use selector::{Labels, Selector};

use kube_source::objects;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The protocols that have ports, by their numbers in IP headers.
pub const PROTOCOLS: [(u8, &str); 3] = [(6, "TCP"), (17, "UDP"), (132, "SCTP")];

/// A protocol's name, or its number.
pub fn protocol_name(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("protocol {number}"), |(_, name)| (*name).to_owned())
}

/// An object of a namespace. Its text is `namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The namespace.
    pub namespace: String,
    /// The name there.
    pub name: String,
}

impl Name {
    /// From its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Name {
        Name { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pod with an address of its own: one in the node's network is no pod here, and neither is one that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: Name,
    /// UIDs that an attachment may name it by.
    pub uids: Vec<String>,
    /// The object, for its labels.
    pub object: Arc<objects::Pod>,
    /// Ports of its containers that have a name.
    pub ports: Vec<NamedPort>,
    /// The addresses that its status names.
    pub addresses: Vec<IpAddr>,
    /// The node that it runs on; `None`: this one.
    pub node: Option<String>,
    /// When it was made, in RFC 3339: of two with one address the newer one has it.
    pub created: String,
    /// How the container's ID begins that it is, where an annotation names it.
    pub container: Option<String>,
}

impl Pod {
    /// Its labels.
    pub fn labels(&self) -> &Labels {
        &self.object.metadata.labels
    }
}

/// A port of a container that policies may name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPort {
    /// Its name.
    pub name: String,
    /// Its protocol's number.
    pub protocol: u8,
    /// Its number.
    pub port: u16,
}

/// When a policy is asked, the first one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// ClusterNetworkPolicy of the tier Admin, of this priority.
    Admin(u32),
    /// NetworkPolicy.
    Namespaced,
    /// ClusterNetworkPolicy of the tier Baseline, of this priority.
    Baseline(u32),
}

/// A policy's name and kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyName {
    /// A NetworkPolicy.
    Namespaced(Name),
    /// A ClusterNetworkPolicy.
    Cluster(String),
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            PolicyName::Namespaced(name) => write!(f, "NetworkPolicy {name}"),
            PolicyName::Cluster(name) => write!(f, "ClusterNetworkPolicy {name}"),
        }
    }
}

/// A policy of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// When it is asked.
    pub rank: Rank,
    /// It is not enforced: what it would drop is counted.
    pub dry_run: bool,
    /// The pods that it selects.
    pub subject: Pods,
    /// Its rules on packets to these pods; `None`: it says nothing about them.
    pub ingress: Option<Vec<Rule>>,
    /// Its rules on packets from these pods; `None`: it says nothing about them.
    pub egress: Option<Vec<Rule>>,
}

impl Policy {
    /// Its rules of a direction.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// Pods by their labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pods {
    /// Their namespaces.
    pub namespaces: Namespaces,
    /// Which pods of these.
    pub pods: Selector,
}

impl Pods {
    /// Every pod of the cluster.
    pub fn all() -> Pods {
        Pods { namespaces: Namespaces::Matching(Selector::all()), pods: Selector::all() }
    }
}

/// Namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Namespaces {
    /// The one of this name.
    One(String),
    /// Those with labels that match.
    Matching(Selector),
}

/// What is done with packets that come from any of the peers (or go there) at any of the ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What is done.
    pub verdict: Verdict,
    /// `None`: every peer.
    pub peers: Option<Vec<Peer>>,
    /// `None`: every protocol and port.
    pub ports: Option<Vec<Port>>,
}

/// Where packets come from or go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Pods.
    Pods(Pods),
    /// Addresses, whoever has them.
    Block(Block),
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// As it was written: `10.0.0.0/8 except 10.1.0.0/16`.
    pub text: String,
    /// The addresses.
    pub ranges: Vec<AddressRange>,
}

/// Destination ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// These of a protocol.
    Numbers {
        /// The protocol's number.
        protocol: u8,
        /// The ports.
        range: PortRange,
    },
    /// Those of this name in the destination's containers.
    Named {
        /// The name.
        name: String,
        /// The protocol's number; `None`: any.
        protocol: Option<u8>,
    },
}

/// Every port.
pub const ALL_PORTS: PortRange = PortRange { first: 0, last: u16::MAX };

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Port::Numbers { protocol, range } => {
                f.write_str(&protocol_name(*protocol))?;
                match (range.first, range.last) {
                    (0, u16::MAX) => Ok(()),
                    (first, last) if first == last => write!(f, " {first}"),
                    (first, last) => write!(f, " {first}-{last}"),
                }
            }
            Port::Named { name, protocol } => {
                let protocol = protocol.map(|it| protocol_name(it) + " ").unwrap_or_default();
                write!(f, "{protocol}{name:?}")
            }
        }
    }
}

/// The family of an address.
pub fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}
