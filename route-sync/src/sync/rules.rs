//! The daemon's part of the nftables table.

use super::Sync;
use crate::desired;
use tracing::info;

/// What fails, as `status` names it.
const NFTABLES: &str = "nftables";

impl Sync {
    /// Somebody changed the table `inet ferrule`.
    pub fn ruleset_changed(&mut self) {
        if !self.told {
            return;
        }
        let failed = self.troubles.contains_key(NFTABLES);
        let guarded = self.rules("somebody changed nftables");
        if failed && guarded && self.tunnel.is_none() {
            self.pending = Some("the guard can be put now");
        }
    }

    /// Brings the guard of the tunnel's port, the cluster's CIDRs and the masquerade in step; gives
    /// whether they are.
    pub(super) fn rules(&mut self, why: &'static str) -> bool {
        if self.desired.incomplete || self.stray {
            return false;
        }
        let rules = desired::rules(&self.config, &self.nodes, &self.facts, &self.desired);
        match self.nft.put_node_rules(&rules) {
            Ok(changed) => {
                if changed {
                    info!(why, "nftables rules put in step");
                    self.figures.changes += 1;
                }
                self.well(NFTABLES);
                true
            }
            Err(error) => {
                self.trouble(NFTABLES, &error);
                false
            }
        }
    }
}
