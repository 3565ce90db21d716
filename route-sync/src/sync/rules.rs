//! The daemon's part of the nftables table.

use super::Sync;
use crate::desired;
use tracing::info;

impl Sync {
    /// Somebody changed the table `inet ferrule`.
    pub fn ruleset_changed(&mut self) {
        if self.told {
            self.rules("somebody changed nftables");
        }
    }

    /// Brings the guard of the tunnel's port, the cluster's CIDRs and the masquerade in step; gives
    /// whether they are.
    pub(super) fn rules(&mut self, why: &'static str) -> bool {
        if self.desired.incomplete {
            return false;
        }
        let rules = desired::rules(&self.config, &self.nodes, &self.facts, &self.desired);
        match self.nft.put_node_rules(&rules) {
            Ok(changed) => {
                if changed {
                    info!(why, "nftables rules put in step");
                    self.figures.changes += 1;
                }
                self.well("nftables");
                true
            }
            Err(error) => {
                self.trouble("nftables", &error);
                false
            }
        }
    }
}
