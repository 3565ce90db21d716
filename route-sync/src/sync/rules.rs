//! The daemon's part of the nftables table.

use super::Sync;
use nft::{Guard, NodeMasquerade, NodeRules};
use tracing::info;

impl Sync {
    /// Somebody changed the table `inet ferrule`.
    pub fn ruleset_changed(&mut self) {
        if self.told {
            self.rules("somebody changed nftables");
        }
    }

    /// Brings the guard of the tunnel's port, the cluster's CIDRs and the masquerade in step.
    pub(super) fn rules(&mut self, why: &'static str) {
        let desired = &self.desired;
        if desired.incomplete {
            return;
        }
        let masquerade = self.config.masquerade;
        let rules = NodeRules {
            guard: desired.vtep.as_ref().map(|vtep| Guard {
                port: vtep.port,
                underlay: vtep.underlay.1.clone(),
                peers: desired.peers.clone(),
            }),
            cluster: desired.cluster.clone(),
            masquerade: masquerade.enabled.then(|| NodeMasquerade {
                sources: desired.own.clone(),
                random_fully: masquerade.random_fully,
            }),
        };
        match self.nft.put_node_rules(&rules) {
            Ok(changed) => {
                if changed {
                    info!(why, "nftables rules put in step");
                    self.figures.changes += 1;
                }
                self.well("nftables");
            }
            Err(error) => self.trouble("nftables", &error),
        }
    }
}
