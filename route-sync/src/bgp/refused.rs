//! Routes that peers announce and that are not used for where they lead to: to what this node itself
//! needs to reach, or to no pods.

use super::driver::Speaker;
use crate::routes::reserved::Reserved;
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Refused prefixes of a peer that are reported one by one.
const SHOWN: usize = 1000;

impl Speaker {
    /// Notes what no route may take. Only prefixes that overlap what changed of it are decided on
    /// again.
    pub(super) fn reserve(&mut self) {
        let own = self.identity.as_ref().map_or(&[][..], |identity| &identity.own);
        let peers = self.bgp.peers.iter().map(|peer| peer.address);
        let reserved = Reserved::of_imports(&self.facts, own, peers);
        if reserved == self.reserved {
            return;
        }
        let before = std::mem::replace(&mut self.reserved, reserved).ranges();
        for range in before.symmetric_difference(&self.reserved.ranges()) {
            self.rib.recheck_range(*range);
        }
        self.table.refusals.logged.clear();
    }

    /// Whether a prefix is refused, which may be for a gateway.
    pub fn refuses(&self) -> bool {
        !self.table.refusals.prefixes.is_empty()
    }

    /// How many prefixes of a peer are refused, and of the first [`SHOWN`] why.
    pub(super) fn refused(&self, peer: IpAddr) -> (usize, BTreeMap<IpNetwork, String>) {
        let prefixes = self.table.refusals.prefixes.iter().copied();
        let refused: Vec<IpNetwork> =
            prefixes.filter(|prefix| self.rib.has(peer, prefix)).collect();
        let why = |prefix: &IpNetwork| Some((*prefix, self.reserved.fault_of_import(*prefix)?));
        (refused.len(), refused.iter().take(SHOWN).filter_map(why).collect())
    }
}
