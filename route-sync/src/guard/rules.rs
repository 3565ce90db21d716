//! The daemon's part of nftables, as it is put in force.

use nft::{Nft, NodeRules};

/// The rules in force.
pub struct Guard {
    nft: Nft,
    /// The rules that were set last.
    last: Option<NodeRules>,
    /// An unwanted device of ours could not be removed, and the wanted guard does not cover its port:
    /// the last rules are kept.
    pub device_remains: bool,
}

impl Guard {
    /// Nothing is in force.
    ///
    /// # Errors
    /// No netlink of netfilter.
    pub fn open() -> nft::Result<Guard> {
        Ok(Guard { nft: Nft::open()?, last: None, device_remains: false })
    }

    /// Puts rules in force, and returns whether that changed something. Without `wanted`, the last
    /// ones are put again, because there may be a tunnel that they guard; `None` where there are none.
    pub fn put(&mut self, wanted: Option<NodeRules>) -> Option<nft::Result<bool>> {
        let kept = wanted.is_none();
        let rules = wanted.or_else(|| self.last.take())?;
        let put = self.nft.put_node_rules(&rules);
        if put.is_ok() || kept {
            self.last = Some(rules);
        }
        Some(put)
    }

    /// Limits how many neighbours each pod can make this node remember; whether that changed
    /// something.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn limit_neighbours(&mut self) -> nft::Result<bool> {
        self.nft.limit_neighbours()
    }
}
