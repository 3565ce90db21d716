//! How much one peer may announce.

use super::config::Peer;
use super::driver::Speaker;
use bgp_speaker::codec::Family;
use bgp_speaker::fsm::Event;
use std::net::IpAddr;
use tracing::warn;

/// Whether `count` prefixes are close to `most`, a peer's `max-prefixes`: more than three quarters.
pub fn is_near(count: u64, most: u32) -> bool {
    count * 4 > u64::from(most) * 3
}

impl Speaker {
    /// Ends the session with a peer that has announced more than it may, and warns before.
    pub(super) fn hold_to_limit(&mut self, address: IpAddr) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let most = peer.config.max_prefixes;
        for family in [Family::Ipv4, Family::Ipv6] {
            let count = self.rib.count_of(address, family) as u64;
            if count > u64::from(most) {
                return self.event(address, Event::TooManyPrefixes { family, most });
            }
            if !is_near(count, most) {
                peer.warned.remove(&family);
            } else if peer.warned.insert(family)
                && let Some(end) = peer.lines.line()
            {
                warn!(
                    peer = %address,
                    "{count} {family} prefixes are close to max-prefixes, {most}: above it the \
                     session ends{end}"
                );
            }
        }
    }

    /// Whether a session may go on with another configuration: that differs by `max-prefixes`
    /// alone, and the session did not end for it.
    pub(super) fn differs_by_limit(&self, old: &Peer, new: &Peer) -> bool {
        let up =
            self.peers.get(&old.address).is_some_and(|peer| peer.session.established().is_some());
        let same = Peer { max_prefixes: old.max_prefixes, ..new.clone() } == *old;
        up && same && old != new
    }

    /// Another `max-prefixes` is in force at once.
    pub(super) fn limit(&mut self, address: IpAddr, most: u32) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        peer.config.max_prefixes = most;
        self.hold_to_limit(address);
    }
}
