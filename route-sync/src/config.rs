//! `route-sync.toml`: types that cannot be wrong.

pub mod cni;
pub(crate) mod read;
mod source;
#[cfg(test)]
mod tests;

pub use read::read;

use crate::bgp::config::Bgp;
use cni::Cni;
use ipnetwork::IpNetwork;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Where the configuration is unless `--config` names another place.
pub const PATH: &str = "/etc/ferrule/route-sync.toml";
/// `state-dir` unless configured.
pub const STATE_DIR: &str = "/var/lib/ferrule";

/// How packets get to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Plainly where the other node is on the link, else through VXLAN.
    Auto,
    /// Plainly; a node that is not on the link is reported.
    Direct,
    /// Through VXLAN, always.
    Vxlan,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Mode::Auto => "auto",
            Mode::Direct => "direct",
            Mode::Vxlan => "vxlan",
        })
    }
}

/// A kind of tunnel to nodes that are on no link of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelKind {
    /// `[vxlan]`.
    Vxlan,
}

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `node-name`; by default the host's name, with the source `kubernetes` first NODE_NAME of the
    /// environment.
    pub node_name: String,
    /// `mode`.
    pub mode: Mode,
    /// `cluster-cidrs`: the pods of the whole cluster.
    pub cluster_cidrs: Vec<IpNetwork>,
    /// `service-cidrs`: virtual addresses that no pod CIDR may overlap.
    pub service_cidrs: Vec<IpNetwork>,
    /// `run-dir`.
    pub run_dir: PathBuf,
    /// `state-dir`.
    pub state_dir: PathBuf,
    /// `resync-interval`: seconds between full passes that nothing asked for; 0 for none.
    pub resync_interval: Option<Duration>,
    /// `[source]`, or `[node]`.
    pub source: Source,
    /// `[bgp]`.
    pub bgp: Option<Bgp>,
    /// `[vxlan]`.
    pub vxlan: Vxlan,
    /// `[masquerade]`.
    pub masquerade: Masquerade,
    /// `[probe]`, if it is enabled.
    pub probe: Option<Probe>,
    /// `[metrics] listen`.
    pub metrics: Option<SocketAddr>,
    /// `[cni]`.
    pub cni: Option<Cni>,
}

impl Config {
    /// The tunnel that there is. Without other nodes in the node set it would have no other end.
    pub fn tunnel(&self) -> Option<TunnelKind> {
        match self.mode {
            Mode::Direct => None,
            Mode::Auto | Mode::Vxlan => {
                self.source.lists_other_nodes().then_some(TunnelKind::Vxlan)
            }
        }
    }
}

/// Where the node set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `type = "file"`: a TOML file of `[[node]]` tables.
    File {
        /// `path`.
        path: PathBuf,
    },
    /// `type = "kubernetes"`: the Node objects of a cluster.
    #[cfg(feature = "kubernetes")]
    Kubernetes {
        /// `kubeconfig`; without it the pod's service account.
        kubeconfig: Option<PathBuf>,
    },
    /// `[node]`: this node alone, written in the configuration itself; BGP peers announce the
    /// others' CIDRs.
    Node {
        /// `addresses`.
        addresses: Vec<IpAddr>,
        /// `pod-cidrs`.
        pod_cidrs: Vec<IpNetwork>,
    },
}

impl Source {
    /// Whether its node sets have other nodes than this one.
    pub fn lists_other_nodes(&self) -> bool {
        match self {
            Source::File { .. } => true,
            #[cfg(feature = "kubernetes")]
            Source::Kubernetes { .. } => true,
            Source::Node { .. } => false,
        }
    }

    /// Whether a node without pod CIDRs will get some.
    pub fn assigns_late(&self) -> bool {
        match self {
            #[cfg(feature = "kubernetes")]
            Source::Kubernetes { .. } => true,
            Source::File { .. } | Source::Node { .. } => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Source::File { path } => write!(f, "file {}", path.display()),
            #[cfg(feature = "kubernetes")]
            Source::Kubernetes { kubeconfig: None } => f.write_str("kubernetes"),
            #[cfg(feature = "kubernetes")]
            Source::Kubernetes { kubeconfig: Some(path) } => {
                write!(f, "kubernetes {}", path.display())
            }
            Source::Node { .. } => f.write_str("node"),
        }
    }
}

/// The tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// `vni`, 1 to 16777215.
    pub vni: u32,
    /// `port`.
    pub port: u16,
    /// `underlay`: the link that carries the tunnel; by default the one that has the node's
    /// address.
    pub underlay: Option<String>,
    /// `prefer = "ipv6"`: it goes over IPv6 where every node has such an address.
    pub prefer_ipv6: bool,
    /// `mtu` of the device in bytes; by default the underlay's less what the tunnel costs.
    pub mtu: Option<u32>,
}

/// Masquerade of what leaves the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masquerade {
    /// `enabled`.
    pub enabled: bool,
    /// `random-fully`: source ports are chosen at random.
    pub random_fully: bool,
    /// `exclude-cidrs`: never masqueraded to, neither by the pods' own `ipMasq`.
    pub exclude_cidrs: Vec<IpNetwork>,
}

/// Whether pod networks of other nodes are asked for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// `interval`: between two rounds.
    pub interval: Duration,
    /// `peers`: nodes that are asked in one round at most.
    pub peers: usize,
}
