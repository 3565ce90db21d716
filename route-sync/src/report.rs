//! The state of the daemon, as `route-sync status` shows it.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The state of everything that the daemon keeps. Its JSON is `route-sync status --json`, and
/// its fields are frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The daemon's version.
    pub version: String,
    /// This node.
    pub node: String,
    /// `auto`, `direct` or `vxlan`.
    pub mode: String,
    /// A complete node set, this run's or the kept one, was carried out once since the daemon's
    /// start: the tunnel's device and its guard are there, and every entry was tried. One that is
    /// refused is shown, and retried, and does not delay the others.
    pub synced: bool,
    /// What the node set comes from.
    pub source: SourceReport,
    /// The pod CIDRs, this node's first, then by node and CIDR; those refused among them.
    pub cidrs: Vec<Entry>,
    /// What fails or is refused and is no CIDR's: the VXLAN device, nftables, a node without
    /// address.
    pub problems: Vec<Problem>,
    /// Settings that are probably not intended.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// `[probe]`; absent where it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<ProbeReport>,
    /// The runtime's conflist; absent without `[cni]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflist: Option<ConflistReport>,
}

/// The conflist that the runtime reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflistReport {
    /// Where it is.
    pub path: String,
    /// Why this run has not written it yet, nor found it as it must be; absent once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// What `[probe]` has found. What is silent is among the problems too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReport {
    /// Seconds between two rounds.
    pub interval: u64,
    /// Nodes that are asked in one round at most.
    pub peers: usize,
    /// Rounds since the daemon's start.
    pub rounds: u64,
    /// Answers of pod networks since then.
    pub answered: u64,
    /// Pod networks, one for each node and family, that do not answer although their nodes do.
    pub silent: usize,
    /// Nobody is asked, since this node has no address of its pod CIDRs.
    pub waits: bool,
}

/// The state of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReport {
    /// Its kind and place: `file /etc/ferrule/nodes.toml`.
    pub name: String,
    /// Nodes in the set in force.
    pub nodes: usize,
    /// When that set came, seconds since 1970; absent when there is none.
    pub since: Option<u64>,
    /// The set is an earlier run's: the source has sent none yet.
    pub kept: bool,
    /// Why the source has no newer set.
    pub error: Option<String>,
}

/// How packets get to a CIDR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// It is this node's own.
    Local,
    /// The other node is on the link.
    Direct,
    /// Through the tunnel.
    Vxlan,
    /// As a BGP peer says.
    Bgp,
    /// Not at all: refused.
    None,
}

/// Whether the kernel is as desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    Synced,
    /// The kernel refuses; tried again with growing pauses.
    Failing,
    /// Somebody else's route has its place, and is left alone.
    Conflict,
    /// The node set contradicts itself here; nothing is installed.
    Refused,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Path::Local => "local",
            Path::Direct => "direct",
            Path::Vxlan => "vxlan",
            Path::Bgp => "bgp",
            Path::None => "none",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            State::Synced => "synced",
            State::Failing => "failing",
            State::Conflict => "conflict",
            State::Refused => "refused",
        })
    }
}

/// One pod CIDR.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its node; empty if only BGP announces it.
    pub node: String,
    /// The CIDR.
    pub cidr: IpNetwork,
    /// How packets get there.
    pub path: Path,
    /// The other node's address; absent for local ones.
    pub via: Option<IpAddr>,
    /// Whether the kernel is as desired.
    pub state: State,
    /// Since when state and path are so, seconds since 1970.
    pub since: u64,
    /// The last error, or why it is refused.
    pub error: Option<String>,
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What it is about: `vxlan fvxlan.100`, `nftables`, `node worker-7`.
    pub what: String,
    /// What is wrong and what to do.
    pub error: String,
    /// Since when, seconds since 1970.
    pub since: u64,
}
