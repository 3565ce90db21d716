//! What BGP tells, and what BGP needs to know.

use super::Sync;
use crate::bgp::Hops;
use crate::config::Mode;
use crate::desired::{PathTo, Source};
use crate::diff::{Change, Diff, Sweep};
use crate::facts::Facts;
use crate::nodes::Node;
use ipnetwork::IpNetwork;
use net::route::Route;
use std::collections::{BTreeMap, BTreeSet};

/// Of more changes at once a full pass takes no longer.
const FEW: usize = 64;

impl Sync {
    /// What changed of the routes that are heard by BGP: prefix → hops, `None` for what is gone;
    /// `of_use`: a peer has sent all its routes, `complete`: every peer.
    pub fn learn(
        &mut self,
        changes: BTreeMap<IpNetwork, Option<Hops>>,
        of_use: bool,
        complete: bool,
    ) {
        if of_use && !std::mem::replace(&mut self.of_use, true) {
            self.pending = Some("a BGP peer has sent its routes");
        }
        // Until then there may be routes of an earlier run, which only a full pass sees, as it does
        // what is not desired because too little of this node is known.
        let all_known = self.heard.is_none() && !self.desired.incomplete;
        let few = all_known && changes.len() <= FEW && self.pending.is_none();
        if complete && self.heard.take().is_some() {
            self.pending = Some("every BGP peer has sent its routes");
        } else if !few && !changes.is_empty() {
            self.pending = Some("BGP");
        }
        let mut single = Vec::new();
        for (prefix, hops) in changes {
            if let Some(heard) = &mut self.heard {
                heard.insert(prefix);
            }
            match &hops {
                Some(hops) => drop(self.learned.insert(prefix, Hops::clone(hops))),
                None => drop(self.learned.remove(&prefix)),
            }
            if self.pending.is_none() {
                match self.alone(prefix) {
                    true => single.extend(self.single(prefix, hops.as_ref())),
                    false => self.pending = Some("BGP"),
                }
            }
        }
        if self.pending.is_none() && !single.is_empty() {
            if let Err(error) = self.apply(&single, "BGP", false) {
                self.trouble("netlink", &error);
            }
            self.conditions();
        }
    }

    /// BGP alone tells of a prefix, and its route is not in anybody's way.
    fn alone(&self, prefix: IpNetwork) -> bool {
        let known = |path: &PathTo| path.cidr == prefix && !path.node.is_empty();
        self.failure_to(prefix).is_none() && !self.desired.paths.iter().any(known)
    }

    /// The one change that it takes.
    fn single(&mut self, prefix: IpNetwork, hops: Option<&Hops>) -> Option<Change> {
        let Some(hops) = hops else {
            // Whatever hops the kernel has left of it.
            let gone = self.wanted(prefix).map(|route| Route { hops: vec![], ..route });
            self.desired.unlearn(prefix);
            return gone.map(Change::Delete);
        };
        let before = self.desired.learn(prefix, hops);
        let wanted = self.wanted(prefix)?;
        Some(if before.is_some() { Change::Replace(wanted) } else { Change::Create(wanted) })
    }

    /// While this node is not in its set, what BGP tells is carried out all the same, with the
    /// source of before. But `vxlan` means the tunnel, always.
    pub(super) fn learn_without_own(&mut self, source: Source) {
        self.desired.source = source;
        let others = self.nodes.others.iter().filter(|_| self.config.mode == Mode::Vxlan);
        let tunnelled: BTreeSet<_> = others.flat_map(|node| &node.pod_cidrs).collect();
        for (prefix, hops) in self.learned.iter().filter(|(prefix, _)| !tunnelled.contains(prefix))
        {
            self.desired.learn(*prefix, hops);
        }
    }

    /// BGP is not configured any more: nothing is heard.
    pub fn forget_learned(&mut self) {
        self.learned.clear();
        self.pending = Some("BGP is not configured any more");
    }

    /// The links as they were seen last.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// This node as the node set has it.
    pub fn own(&self) -> Option<&Node> {
        self.nodes.own.as_ref()
    }

    /// What may be removed.
    pub(super) fn sweep(&self) -> Sweep<'_> {
        let nodes = self.sweep && !self.desired.incomplete;
        let heard = self.heard.as_ref().filter(|_| self.config.bgp.is_some());
        Sweep { nodes, heard, learned: &self.learned }
    }

    /// The route to a destination, as it shall be.
    pub(super) fn wanted(&self, dst: IpNetwork) -> Option<Route> {
        let tunnel = self.tunnel.as_ref().map(|link| link.index);
        Diff { desired: &self.desired, tunnel, sweep: self.sweep() }.wanted(dst)
    }
}
