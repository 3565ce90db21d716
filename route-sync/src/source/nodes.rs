//! The node set as a source gives it.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

mod accept;
mod places;
mod similar;

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
    /// What the source has refused of its own form, such as an annotation; it is not kept.
    #[serde(skip)]
    pub refused: Vec<Refused>,
}

/// The node set as far as it does not contradict itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// This node; `None` when it is not in the set, or is `unassigned`.
    pub own: Option<Node>,
    /// This node is in the set, and its source has not assigned it a pod CIDR yet.
    pub unassigned: bool,
    /// Where it is not: a node of the set whose name differs by case or domain alone.
    pub similar: Option<String>,
    /// The others, by name.
    pub others: Vec<Node>,
    /// The first node by name that has an address and none of IPv6.
    pub without_ipv6: Option<String>,
    /// What is not served, and why.
    pub refused: Vec<Refused>,
}

/// A pod CIDR, or with `None` something else of a node, that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The node.
    pub node: String,
    /// The CIDR.
    pub cidr: Option<IpNetwork>,
    /// Why, and what to do.
    pub reason: String,
}

impl Accepted {
    /// A node without a pod CIDR, in a source that assigns them late, counts as one that is not in
    /// the set: what it has in the kernel stays until its CIDR is known. One whose CIDRs are refused
    /// has had them assigned.
    pub fn withhold_unassigned(&mut self) {
        let refused = |own: &Node| {
            self.refused.iter().any(|refused| refused.node == own.name && refused.cidr.is_some())
        };
        self.unassigned =
            self.own.as_ref().is_some_and(|own| own.pod_cidrs.is_empty() && !refused(own));
        if self.unassigned {
            self.own = None;
        }
    }
}

impl Node {
    /// The address that both ends of its tunnel are made of: the first one, of IPv4 if it has one,
    /// or where all tunnels go `over_ipv6` the first of IPv6. The node itself and every other know
    /// it by this alone.
    pub fn tunnel_end(&self, over_ipv6: bool) -> Option<IpAddr> {
        let first = |v4: bool| self.addresses.iter().find(|address| address.is_ipv4() == v4);
        first(!over_ipv6).or_else(|| first(false)).copied()
    }
}

#[cfg(test)]
mod tests;
