//! From the routes that peers announce to the routes for the kernel.

use super::driver::Speaker;
use super::table::Resolver;
use crate::routes::learned::{Hops, Learned};
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;

impl Speaker {
    /// Looks where next hops lead, and returns the routes that changed: prefix → hops, `None` for what
    /// is gone.
    pub fn follow(&mut self) -> BTreeMap<IpNetwork, Option<Hops>> {
        let moved = std::mem::take(&mut self.moved);
        let mut look = self.lookup.look(moved);
        let facts = &self.facts;
        let mut toward = |address| look.toward(address, facts);
        let mut resolver = Resolver::new(&self.bgp, facts, &self.reserved, &mut toward);
        let changes = self.table.follow(&mut self.rib, &mut resolver, moved);
        self.moved = look.end();
        changes
    }

    /// What is learned and leads somewhere.
    pub fn learned(&self) -> &Learned {
        self.table.learned()
    }

    /// A peer has sent its routes: what is learned is usable.
    pub fn has_routes(&self) -> bool {
        let sent =
            self.complete || self.peers.values().any(|peer| peer.complete() || peer.is_steady());
        sent && self.rib.is_decided()
    }

    /// Every peer has sent its routes, or the time for it is over.
    pub fn is_complete(&self) -> bool {
        self.complete && self.rib.is_decided()
    }
}
