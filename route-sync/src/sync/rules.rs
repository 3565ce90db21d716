//! The daemon's part of the nftables table.

use super::Sync;
use crate::guard::plan::rules;
use tracing::info;

/// What fails, as `status` names it.
const NFTABLES: &str = "nftables";
const NEIGHBOURS: &str = "neighbour limits";

impl Sync {
    /// Somebody changed the table `inet ferrule`.
    pub fn ruleset_changed(&mut self) {
        if !self.convergence.has_set() {
            return;
        }
        let failed = self.troubles.contains_key(NFTABLES);
        let guarded = self.rules("somebody changed nftables");
        self.limit_neighbours("somebody changed nftables");
        // Without it no tunnel was made, nor one that was there mended.
        if failed && guarded {
            self.pending = Some("the guard can be put now");
        }
    }

    /// Limits how many neighbours each pod may have this node remember.
    pub(super) fn limit_neighbours(&mut self, why: &'static str) {
        match self.nft.limit_neighbours() {
            Ok(changed) => {
                if changed {
                    info!(why, "limits of neighbours put in step");
                    self.figures.changes += 1;
                }
                self.well(NEIGHBOURS);
            }
            Err(error) => self.trouble(NEIGHBOURS, &error),
        }
    }

    /// Brings the guard of the tunnel's port, the cluster's CIDRs and the masquerade in step; gives
    /// whether they are. While this node is not known, or a device stays that the guard would
    /// leave, those that went in last are kept: there may be a tunnel.
    pub(super) fn rules(&mut self, why: &'static str) -> bool {
        let known = self.convergence.knows_node() && !self.stray;
        let rules = match known {
            true => rules(&self.config, &self.nodes, &self.facts, &self.desired),
            false => match self.rules.take() {
                Some(rules) => rules,
                None => return false,
            },
        };
        let put = self.nft.put_node_rules(&rules);
        if put.is_ok() || !known {
            self.rules = Some(rules);
        }
        match put {
            Ok(changed) => {
                if changed {
                    info!(why, "nftables rules put in step");
                    self.figures.changes += 1;
                }
                self.well(NFTABLES);
                known
            }
            Err(error) => {
                self.trouble(NFTABLES, &error);
                false
            }
        }
    }
}
