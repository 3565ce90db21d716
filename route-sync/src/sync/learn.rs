//! Carries out what BGP peers announce and withdraw, without a full pass where possible.

use super::Sync;
use crate::routes::conditions::place_of;
use crate::routes::diff::{Change, Object, RouteKey};
use crate::routes::learned::Hops;
use ipnetwork::IpNetwork;
use net::route::Route;
use std::collections::BTreeMap;

/// What BGP peers have sent since the last call.
#[derive(Debug, Default)]
pub struct Announced {
    /// Prefix → hops, `None` for what is withdrawn.
    pub changes: BTreeMap<IpNetwork, Option<Hops>>,
    /// A peer has sent all its routes, or has had some for a while.
    pub has_routes: bool,
    /// Every peer has sent its routes, or the time for it is over.
    pub complete: bool,
    /// A prefix is refused, which may be for a gateway of this node.
    pub refuses: bool,
}

impl Sync {
    /// Carries out what BGP peers have sent.
    pub fn learn(&mut self, announced: Announced) {
        let Announced { changes, has_routes, complete, refuses } = announced;
        self.view.refuses_imports = refuses;
        if has_routes && self.view.convergence.has_routes() {
            self.work.full("a BGP peer has sent its routes");
        }
        // Until then there may be routes of an earlier run, which only a full pass sees.
        if complete && self.view.convergence.peers_complete() {
            self.work.full("every BGP peer has sent its routes");
        }
        if !self.view.convergence.allows_single_changes() && !changes.is_empty() {
            self.work.full("BGP");
        }
        let mut turned = false;
        let mut single = Vec::with_capacity(changes.len());
        for (prefix, hops) in changes {
            self.view.convergence.prefix_received(prefix);
            match &hops {
                Some(hops) => drop(self.view.learned.insert(prefix, Hops::clone(hops))),
                None => drop(self.view.learned.remove(&prefix)),
            }
            if !self.work.is_full() {
                let before = self.view.desired.goes_by_node_set(prefix);
                single.extend(self.single(prefix, hops.as_ref()));
                turned |= before != self.view.desired.goes_by_node_set(prefix);
            }
        }
        // Packets from CIDRs whose routes follow from the node set are held against these routes.
        if turned {
            self.rules("BGP");
        }
        self.change(&single, "BGP");
    }

    /// The one change that a prefix takes.
    fn single(&mut self, prefix: IpNetwork, hops: Option<&Hops>) -> Option<Change> {
        let failed = self.failures.to(prefix).is_some();
        let before = self.view.wanted(prefix);
        let left = self.view.leftovers.remove(&prefix);
        let there = left || (before.is_some() && !failed);
        let place = place_of(&self.view, prefix);
        match hops {
            Some(hops) => self.view.desired.learn(self.view.config.mode, prefix, hops),
            None => self.view.desired.unlearn(prefix),
        }
        if place_of(&self.view, prefix) != place {
            self.conditions.forget(place);
        }
        let wanted = self.view.wanted(prefix);
        // That the route of before could not be made does not matter any more.
        let object = |route: &Route| Object::Route(RouteKey::of(route));
        if let Some(gone) = before.as_ref().map(object)
            && wanted.as_ref().map(object) != Some(gone)
        {
            self.failures.remove(&(gone, false));
        }
        match wanted {
            wanted if wanted == before && !failed => {
                self.conditions.note(prefix, &self.view, &self.failures);
                None
            }
            Some(wanted) if there => Some(Change::Replace(wanted)),
            Some(wanted) => Some(Change::Create(wanted)),
            // Whatever hops the kernel has left of it.
            None => before.map(|route| Change::Delete(Route { hops: vec![], ..route })),
        }
    }

    /// BGP is not configured any more.
    pub fn forget_learned(&mut self) {
        self.view.learned.clear();
        self.view.refuses_imports = false;
        self.work.full("BGP is not configured any more");
    }
}
