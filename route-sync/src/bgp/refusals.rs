//! The prefixes that peers announce and that are not used for where they lead to.

use crate::routes::reserved::Reserved;
use ipnetwork::IpNetwork;
use std::collections::BTreeSet;
use tracing::warn;

/// Refused prefixes that are logged at most until the reserved addresses change: a peer may withdraw
/// and announce them without end.
const LOGGED: usize = 100;

/// The refused prefixes. The reason is derived from the addresses that are reserved now.
#[derive(Debug, Default)]
pub struct Refusals {
    pub(super) prefixes: BTreeSet<IpNetwork>,
    /// Those that were logged.
    pub(super) logged: BTreeSet<IpNetwork>,
}

impl Refusals {
    /// Whether a prefix that has next hops is refused; logs it, once.
    pub fn refuse(&mut self, prefix: IpNetwork, reserved: &Reserved) -> bool {
        let Some(why) = reserved.fault_of_import(prefix) else { return false };
        let new = self.prefixes.insert(prefix) && self.logged.len() < LOGGED;
        if new && self.logged.insert(prefix) {
            warn!("the route to {prefix} that a BGP peer announces is refused: {why}");
            if self.logged.len() == LOGGED {
                warn!(
                    "more refused routes of BGP are not logged; `route-sync status bgp` has them"
                );
            }
        }
        true
    }

    /// Whether a prefix is refused.
    #[cfg(test)]
    pub fn has(&self, prefix: &IpNetwork) -> bool {
        self.prefixes.contains(prefix)
    }

    /// A prefix is announced no more, or is not refused.
    pub fn forget(&mut self, prefix: &IpNetwork) {
        self.prefixes.remove(prefix);
    }
}
