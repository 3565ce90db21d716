//! Decides what must exist: a pure function of the configuration, the node set, this node's links and
//! what BGP peers announce.

use super::desired::{Desired, RouteTo, SourceAddress};
use super::learned::Learned;
use super::reserved::Reserved;
use crate::config::{Config, Mode};
use crate::convergence::ThisNode;
use crate::facts::Facts;
use crate::report::Path;
use crate::source::nodes::{Accepted, Node, Refused};
use crate::tunnel::plan as tunnel;
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// What must exist.
pub fn desired(config: &Config, nodes: &Accepted, facts: &Facts, learned: &Learned) -> Desired {
    let mut desired = Desired::default();
    let Some(own) = &nodes.own else {
        desired.problems.insert((format!("node {}", config.node_name), unknown(config, nodes)));
        return desired;
    };
    desired.node = ThisNode::Known;
    desired.own.clone_from(&own.pod_cidrs);
    desired.addresses.clone_from(&own.addresses);
    for cidr in &own.pod_cidrs {
        desired.routes.insert(*cidr, RouteTo::Blackhole);
        desired.path(own, *cidr, Path::Local, None);
    }
    desired.prefer(config, nodes);
    match tunnel::underlay(config, own, facts, desired.over_ipv6) {
        Ok((index, local)) => desired.tunnel_by(config, own, facts, index, local),
        Err(reason) => {
            desired.problems.insert((format!("node {}", own.name), reason));
            desired.node = ThisNode::Unplaced;
        }
    }
    let source = SourceAddress::of(own, desired.tunnel.is_some(), facts);
    let reserved = Reserved::of(facts);
    for other in &nodes.others {
        let valid = desired.valid(other, facts);
        let valid = valid.as_ref().unwrap_or(other);
        for cidr in &other.pod_cidrs {
            match reserved.fault(*cidr) {
                Some(refusal) => desired.conflict(&other.name, *cidr, refusal),
                None => desired.serve(config, other, valid, facts, *cidr, source.to(*cidr)),
            }
        }
    }
    desired.refusals(&nodes.refused);
    desired.announced(config, own);
    desired.source = source.or(own, facts);
    let places = desired.paths.iter().enumerate().rev().map(|(at, path)| (path.cidr, at));
    desired.places = places.collect();
    desired.learned(config, learned);
    desired
}

/// Why this node is not known, and what to do.
fn unknown(config: &Config, nodes: &Accepted) -> String {
    match &nodes.similar {
        _ if nodes.unassigned => {
            "its pod CIDR is not assigned yet: spec.podCIDRs of its Node object \
                                  is empty. kube-controller-manager assigns one where it has \
                                  --allocate-node-cidrs and --cluster-cidr; else write the \
                                  annotation ferrule.io/pod-cidrs"
                .to_owned()
        }
        None => {
            "it is not in the node set: give it an entry, or set node-name to the name that it \
                 has there"
                .to_owned()
        }
        Some(similar) => format!(
            "it is not in the node set, and {similar} is: set node-name = \"{similar}\", or name \
             the entry {}",
            config.node_name
        ),
    }
}

impl Desired {
    /// Another node without those of its addresses that are invalid; `None`: all are valid.
    fn valid(&mut self, other: &Node, facts: &Facts) -> Option<Node> {
        let fault = |address: &IpAddr| Some((*address, facts.fault(*address)?));
        let faults: Vec<_> = other.addresses.iter().filter_map(fault).collect();
        if faults.is_empty() {
            return None;
        }
        let mut valid = other.clone();
        for (address, reason) in faults {
            valid.addresses.retain(|held| *held != address);
            self.problems.insert((format!("node {}", other.name), reason));
        }
        Some(valid)
    }

    /// The route to another node's CIDR; `valid`: the node with only its valid addresses.
    fn serve(
        &mut self,
        config: &Config,
        other: &Node,
        valid: &Node,
        facts: &Facts,
        cidr: IpNetwork,
        source: Option<IpAddr>,
    ) {
        match self.direct(config, valid, facts, cidr) {
            Some((gateway, link)) => {
                self.routes.insert(cidr, RouteTo::Direct { gateway, link, source });
                self.path(other, cidr, Path::Direct, Some(gateway));
            }
            None if config.mode == Mode::Direct => self.unreachable(other, cidr),
            None => self.through_tunnel(other, valid, cidr, source),
        }
    }

    fn direct(
        &self,
        config: &Config,
        other: &Node,
        facts: &Facts,
        cidr: IpNetwork,
    ) -> Option<(IpAddr, u32)> {
        if config.mode == Mode::Vxlan {
            return None;
        }
        let mut same = other.addresses.iter().filter(|a| a.is_ipv4() == cidr.is_ipv4());
        let on_link = |address| match config.mode {
            Mode::Direct => facts.on_link(address),
            Mode::Auto | Mode::Vxlan => facts.shared_both_ways(address, &self.addresses),
        };
        same.find_map(|address| Some((*address, on_link(*address)?)))
    }

    fn unreachable(&mut self, other: &Node, cidr: IpNetwork) {
        let family = if cidr.is_ipv4() { "IPv4" } else { "IPv6" };
        let reason = format!(
            "no {family} address of the node is on a link of this one, which mode \"direct\" \
             needs; use mode \"auto\""
        );
        self.refuse(&other.name, cidr, reason);
    }

    /// What BGP announces beside this node's pod CIDRs leads nowhere from here on, or packets to it
    /// would loop between this node and the peers that route it here.
    fn announced(&mut self, config: &Config, own: &Node) {
        let announced = config.bgp.iter().flat_map(|bgp| bgp.announce.iter().flatten());
        for cidr in announced {
            if !self.routes.contains_key(cidr) {
                self.routes.insert(*cidr, RouteTo::Blackhole);
                self.path(own, *cidr, Path::Local, None);
            }
        }
    }

    /// A route learned by BGP wins over the node set, whose nodes may be down; but mode `vxlan`
    /// always means the tunnel.
    fn learned(&mut self, config: &Config, learned: &Learned) {
        for (cidr, hops) in learned {
            self.learn(config.mode, *cidr, hops);
        }
    }

    fn refusals(&mut self, refused: &[Refused]) {
        for Refused { node, cidr, reason } in refused {
            match cidr {
                Some(cidr) => self.refuse(node, *cidr, reason.clone()),
                None => {
                    self.problems.insert((format!("node {node}"), reason.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
