//! What BGP tells, and what BGP needs to know.

use super::Sync;
use crate::config::Mode;
use crate::facts::Facts;
use crate::routes::desired::SourceAddress;
use crate::routes::diff::{Change, Deletions, Diff, Object, RouteKey};
use crate::routes::learned::Hops;
use crate::source::nodes::Node;
use ipnetwork::IpNetwork;
use net::route::Route;
use std::collections::{BTreeMap, BTreeSet};

impl Sync {
    /// What changed of the routes that are heard by BGP: prefix → hops, `None` for what is gone;
    /// `of_use`: a peer has sent all its routes, `complete`: every peer.
    pub fn learn(
        &mut self,
        changes: BTreeMap<IpNetwork, Option<Hops>>,
        of_use: bool,
        complete: bool,
    ) {
        if of_use && self.convergence.has_routes() {
            self.pending = Some("a BGP peer has sent its routes");
        }
        // Until then there may be routes of an earlier run, which only a full pass sees.
        if complete && self.convergence.peers_complete() {
            self.pending = Some("every BGP peer has sent its routes");
        }
        if !self.convergence.allows_single_changes() && !changes.is_empty() {
            self.pending = Some("BGP");
        }
        let mut turned = false;
        let mut single = Vec::with_capacity(changes.len());
        for (prefix, hops) in changes {
            self.convergence.prefix_received(prefix);
            match &hops {
                Some(hops) => drop(self.learned.insert(prefix, Hops::clone(hops))),
                None => drop(self.learned.remove(&prefix)),
            }
            if self.pending.is_none() {
                let before = self.desired.goes_by_node_set(prefix);
                single.extend(self.single(prefix, hops.as_ref()));
                turned |= before != self.desired.goes_by_node_set(prefix);
            }
        }
        // Packets from CIDRs that go as the node set says are held against that.
        if turned {
            self.rules("BGP");
        }
        self.change(&single, "BGP");
    }

    /// The one change that it takes.
    fn single(&mut self, prefix: IpNetwork, hops: Option<&Hops>) -> Option<Change> {
        let failed = self.failure_to(prefix).is_some();
        let before = self.wanted(prefix);
        let left = self.left.remove(&prefix);
        let there = left || (before.is_some() && !failed);
        let place = self.place(prefix);
        match hops {
            Some(hops) => self.desired.learn(self.config.mode, prefix, hops),
            None => self.desired.unlearn(prefix),
        }
        if self.place(prefix) != place {
            self.forget_condition(place);
        }
        let wanted = self.wanted(prefix);
        // That it could not be made is no matter any more.
        let object = |route: &Route| Object::Route(RouteKey::of(route));
        if let Some(gone) = before.as_ref().map(object)
            && wanted.as_ref().map(object) != Some(gone)
        {
            self.failures.remove(&(gone, false));
        }
        match wanted {
            wanted if wanted == before && !failed => {
                self.note_condition(prefix);
                None
            }
            Some(wanted) if there => Some(Change::Replace(wanted)),
            Some(wanted) => Some(Change::Create(wanted)),
            // Whatever hops the kernel has left of it.
            None => before.map(|route| Change::Delete(Route { hops: vec![], ..route })),
        }
    }

    /// While this node is not in its set, what BGP tells is carried out all the same, with the
    /// source of before. But `vxlan` means the tunnel, always.
    pub(super) fn learn_without_own(&mut self, source: SourceAddress) {
        self.desired.source = source;
        let others = self.nodes.others.iter().filter(|_| self.config.mode == Mode::Vxlan);
        let tunnelled: BTreeSet<_> = others.flat_map(|node| &node.pod_cidrs).collect();
        for (prefix, hops) in self.learned.iter().filter(|(prefix, _)| !tunnelled.contains(prefix))
        {
            self.desired.learn(self.config.mode, *prefix, hops);
        }
    }

    /// BGP is not configured any more: nothing is heard.
    pub fn forget_learned(&mut self) {
        self.learned.clear();
        self.refuses_imports = false;
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

    /// What may be deleted.
    pub(super) fn deletions(&self) -> Deletions<'_> {
        Deletions { convergence: &self.convergence, learned: &self.learned }
    }

    /// The route to a destination, as it shall be.
    pub(super) fn wanted(&self, dst: IpNetwork) -> Option<Route> {
        let tunnel = self.tunnel.as_ref().map(|link| link.index);
        Diff { desired: &self.desired, tunnel, deletions: self.deletions() }.wanted(dst)
    }
}
