//! What the daemon knows, and what must exist by that. Nothing here touches the kernel.

use crate::config::{Config, Mode};
use crate::convergence::Convergence;
use crate::facts::Facts;
use crate::routes::desired::{Desired, SourceAddress};
use crate::routes::diff::{Deletions, Diff};
use crate::routes::learned::Learned;
use crate::routes::plan::desired;
use crate::source::nodes::Accepted;
use ipnetwork::IpNetwork;
use net::Link;
use net::route::Route;
use node::Earlier;
use std::collections::{BTreeSet, HashSet};

/// What the daemon knows.
#[derive(Debug)]
pub struct View {
    /// The configuration.
    pub config: Config,
    /// The node set.
    pub nodes: Accepted,
    /// This node's links.
    pub facts: Facts,
    /// What BGP peers announce.
    pub learned: Learned,
    /// Routes of an earlier run that the last full pass left to BGP peers.
    pub leftovers: HashSet<IpNetwork>,
    /// Something that a peer announces is refused, which may be for a gateway of this node.
    pub refuses_imports: bool,
    /// What may be deleted yet.
    pub convergence: Convergence,
    /// The tunnel's device as it was seen last.
    pub device: Option<Link>,
    /// Earlier pod CIDRs of this node of which something is left.
    pub earlier: Vec<Earlier>,
    /// What must exist.
    pub desired: Desired,
}

impl View {
    /// Nothing is known but the configuration.
    pub fn new(config: Config) -> View {
        View {
            nodes: Accepted::default(),
            facts: Facts::default(),
            learned: Learned::new(),
            leftovers: HashSet::new(),
            refuses_imports: false,
            convergence: Convergence::new(config.bgp.is_some()),
            device: None,
            earlier: Vec::new(),
            desired: Desired::default(),
            config,
        }
    }

    /// Index of the tunnel's device.
    pub fn device_index(&self) -> Option<u32> {
        self.device.as_ref().map(|link| link.index)
    }

    /// What may be deleted.
    pub fn deletions(&self) -> Deletions<'_> {
        Deletions { convergence: &self.convergence, learned: &self.learned }
    }

    /// What must exist, to be compared with the kernel.
    pub fn diff(&self) -> Diff<'_> {
        let (desired, tunnel) = (&self.desired, self.device_index());
        Diff { desired, tunnel, deletions: self.deletions() }
    }

    /// The route to a destination, as it must be.
    pub fn wanted(&self, dst: IpNetwork) -> Option<Route> {
        self.diff().wanted(dst)
    }

    /// Decides again what must exist; returns the previous decision, without its large parts.
    pub fn decide(&mut self) -> Desired {
        // Not both in memory at once: with 5,000 nodes each takes 4 MB.
        let before = std::mem::take(&mut self.desired);
        let before = Desired {
            tunnel: before.tunnel,
            problems: before.problems,
            source: before.source,
            ..Desired::default()
        };
        self.desired = desired(&self.config, &self.nodes, &self.facts, &self.learned);
        self.convergence.node_is(self.desired.node);
        if self.nodes.own.is_none() {
            self.learn_without_own(before.source);
        }
        self.add_earlier();
        before
    }

    /// While this node is not in its set, what BGP peers announce is carried out all the same, with
    /// the source address of before. But `vxlan` means the tunnel, always.
    fn learn_without_own(&mut self, source: SourceAddress) {
        self.desired.source = source;
        let others = self.nodes.others.iter().filter(|_| self.config.mode == Mode::Vxlan);
        let tunnelled: BTreeSet<_> = others.flat_map(|node| &node.pod_cidrs).collect();
        for (prefix, hops) in self.learned.iter().filter(|(prefix, _)| !tunnelled.contains(prefix))
        {
            self.desired.learn(self.config.mode, *prefix, hops);
        }
    }

    /// What is left of earlier pod CIDRs, as problems of this node.
    fn add_earlier(&mut self) {
        for Earlier { cidr, left } in &self.earlier {
            let remedy = "no node routes to it any more: delete these pods, or what holds the \
                          address, or give the node that CIDR again";
            let problem = (format!("{cidr}, an earlier pod CIDR"), format!("{left}; {remedy}"));
            self.desired.problems.insert(problem);
        }
    }
}
