//! The node set as a source tells it.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Node {
    /// Its name, not empty.
    pub name: String,
    /// Its addresses on the underlay, the preferred one of each family first.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Its pod CIDRs.
    #[serde(default)]
    pub pod_cidrs: Vec<IpNetwork>,
}

/// Every node of the cluster, this one among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSet {
    /// The nodes, in the source's order. Nothing but their syntax is checked.
    #[serde(default, rename = "node")]
    pub nodes: Vec<Node>,
}
