//! Whether a peer's routes have stopped changing. A peer without RFC 4724 sends no End-of-RIB; its
//! first KEEPALIVE marks the end, but comes after a third of the hold time. A node need not wait so long.

use super::driver::Speaker;
use super::neighbor::Neighbor;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tracing::warn;

/// How long a peer's routes must be unchanged before they count as all that it has.
const STEADY: Duration = Duration::from_secs(2);

impl Neighbor {
    /// It has had routes for a while. Whether those are all is not known.
    pub(super) fn is_steady(&self) -> bool {
        self.routes_since.is_some_and(|since| since.elapsed() >= STEADY)
    }
}

impl Speaker {
    /// Notes since when a peer has routes.
    pub(super) fn note_routes(&mut self, address: IpAddr) {
        let some = self.rib.paths(address).next().is_some();
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let since = peer.routes_since.filter(|_| some);
        peer.routes_since = since.or_else(|| some.then(Instant::now));
    }

    /// When the next peer's routes have stood long enough, as long as none have.
    pub(super) fn next_steady(&self) -> Option<Instant> {
        let since = self.peers.values().filter_map(|peer| peer.routes_since);
        since.min().map(|since| since + STEADY).filter(|at| *at > Instant::now())
    }

    /// Logs what the configuration can hardly mean.
    pub(super) fn warn(&self) {
        if let Some(warning) = self.bgp.warning() {
            warn!("{warning}");
        }
    }
}
