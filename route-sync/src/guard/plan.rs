//! What nftables must hold.

use super::sources::pod_sources;
use crate::config::{Config, Mode};
use crate::facts::Facts;
use crate::routes::desired::Desired;
use crate::source::nodes::Accepted;
use ipnetwork::IpNetwork;
use nft::{Guard, NodeMasquerade, NodeRules};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What nftables must hold for the node.
pub fn rules(config: &Config, nodes: &Accepted, facts: &Facts, desired: &Desired) -> NodeRules {
    let all = || nodes.others.iter().chain(&nodes.own);
    let mut cluster: BTreeSet<IpNetwork> = config.cluster_cidrs.iter().copied().collect();
    cluster.extend(&config.masquerade.exclude_cidrs);
    cluster.extend(all().flat_map(|node| &node.pod_cidrs));
    // A node that is not on the link answers a pod through the tunnel, but would receive the pod's
    // packets on its underlay: a strict reverse-path filter drops them, and so do networks that know
    // only nodes' addresses. So packets to such a node carry this node's address.
    let plainly = |address: &IpAddr| match config.mode {
        Mode::Direct => true,
        Mode::Auto => facts.shared_both_ways(*address, &desired.addresses).is_some(),
        Mode::Vxlan => false,
    };
    let others = nodes.others.iter().flat_map(|node| &node.addresses).copied();
    let own = nodes.own.iter().flat_map(|node| &node.addresses).copied();
    cluster.extend(others.filter(plainly).chain(own).map(IpNetwork::from));
    // Whether two nodes are on one link they may see differently, so every node may send. What is
    // passed on may be of a tunnel of the other family than this node's.
    let peers = || nodes.others.iter().flat_map(|node| &node.addresses).copied().collect();
    NodeRules {
        guard: desired.tunnel.as_ref().map(|tunnel| Guard {
            port: tunnel.port(),
            underlay: tunnel.underlay().map(str::to_owned),
            local: tunnel.local(),
            peers: peers(),
        }),
        cluster,
        masquerade: config.masquerade.enabled.then(|| NodeMasquerade {
            sources: desired.own.clone(),
            random_fully: config.masquerade.random_fully,
        }),
        sources: pod_sources(nodes, facts, desired),
    }
}

#[cfg(test)]
mod tests;
