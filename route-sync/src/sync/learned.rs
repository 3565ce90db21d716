//! What BGP tells, and what BGP needs to know.

use super::Sync;
use crate::bgp::Hops;
use crate::diff::Sweep;
use crate::facts::Facts;
use crate::nodes::Node;
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;

impl Sync {
    /// What changed of the routes that are heard by BGP: prefix → hops, `None` for what is gone;
    /// `complete`: every peer has sent its routes.
    pub fn learn(&mut self, changes: BTreeMap<IpNetwork, Option<Hops>>, complete: bool) {
        if !changes.is_empty() {
            self.pending = Some("BGP");
        }
        if complete && self.heard.take().is_some() {
            self.pending = Some("every BGP peer has sent its routes");
        }
        for (prefix, hops) in changes {
            if let Some(heard) = &mut self.heard {
                heard.insert(prefix);
            }
            match hops {
                Some(hops) => drop(self.learned.insert(prefix, hops)),
                None => drop(self.learned.remove(&prefix)),
            }
        }
    }

    /// BGP is not configured any more: nothing is heard.
    pub fn forget_learned(&mut self) {
        self.learned.clear();
        self.pending = Some("BGP is not configured any more");
    }

    /// The links as they were seen last.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// This node as the node set has it.
    pub fn own(&self) -> Option<&Node> {
        self.nodes.own.as_ref()
    }

    /// What may be removed.
    pub(super) fn sweep(&self) -> Sweep<'_> {
        let nodes = self.sweep && !self.desired.incomplete;
        Sweep { nodes, heard: self.heard.as_ref().filter(|_| self.config.bgp.is_some()) }
    }
}
