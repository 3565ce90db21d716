//! How often a pod may have the node remember a neighbour: the kernel makes an entry for the source
//! of each ARP request and of each neighbour or router solicitation (`arp_process`, `ndisc_recv_ns`,
//! `ndisc_recv_rs`), and once there are `gc_thresh3` of them, 1,024, none for anyone.
//!
//! ```text
//! table bridge ferrule-neighbours {
//!     set asks { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
//!     chain asks {
//!         type filter hook input priority raw; policy accept;
//!         meta protocol ip accept
//!         icmpv6 type & 253 == nd-router-solicit iifname "veth*" update @asks { iifname limit rate over 10/second burst 50 packets } drop
//!         meta protocol arp iifname "veth*" update @asks { … } drop
//!     }
//! }
//! ```
//!
//! A bridge hands up what pods send to all, with the port as the link that it came in by: a key that
//! a pod cannot forge, as it can its MAC address. What goes on to other pods does not pass here. For
//! pods on links of their own the same is in the tables of `inet` (IPv6) and `arp`.

use crate::Nft;
use crate::kernel::batch::{BaseChain, Batch, Table};
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::{Limit, Rule};
use crate::kernel::query::WantedChain;
use crate::rules::tables::{
    ASKS, ASKS_ARP, ASKS_BRIDGE, ASKS_INET, NEIGHBOURS_ARP, NEIGHBOURS_BRIDGE, NEIGHBOURS_INET,
};

mod limits;

/// What the host's ends of pods' links are called.
const LINKS: &str = "veth";
/// In the five seconds for which the kernel drops no new entry (`neigh_forced_gc`) one pod makes at
/// most 100 of the 1,024; a pod that uses its gateway asks for it two times a minute.
const LIMIT: Limit = Limit { rate: 10, burst: 50 };

/// The tables, each with its chain and rules.
fn tables() -> [(Table, BaseChain, Vec<Rule>); 3] {
    let solicitations = || limits::drop_solicitations_over(LINKS, &ASKS, LIMIT);
    let arp = || limits::drop_arp_over(LINKS, &ASKS, LIMIT);
    let bridge = vec![limits::accept_ipv4(), solicitations(), arp()];
    [
        (NEIGHBOURS_BRIDGE, ASKS_BRIDGE, bridge),
        (NEIGHBOURS_INET, ASKS_INET, vec![solicitations()]),
        (NEIGHBOURS_ARP, ASKS_ARP, vec![arp()]),
    ]
}

impl Nft {
    /// Limits how often each pod may have the node remember a neighbour, to 10 times a second and 50
    /// at once. Says whether anything had to be changed.
    ///
    /// # Errors
    /// The first of a table's; the other tables are put all the same. [`Error::is_unsupported`] on a
    /// kernel without nf_tables of that family, or without dynamic sets or limits.
    pub fn limit_neighbours(&mut self) -> Result<bool> {
        let put = tables().map(|(table, chain, rules)| self.put_limit(table, &chain, &rules));
        put.into_iter().try_fold(false, |changed, put| Ok(changed | put?))
    }

    fn put_limit(&mut self, table: Table, chain: &BaseChain, rules: &[Rule]) -> Result<bool> {
        self.at_generation(|nft, generation| {
            let there = nft.table(table)?;
            let wanted = [WantedChain::Base(chain, rules)];
            if there.as_ref().is_some_and(|state| !state.dormant)
                && nft.chain_differences(table, &wanted)?.concat().is_empty()
            {
                return Ok(false);
            }
            let mut batch = Batch::new(table);
            if there.is_some() {
                batch.del_table();
            }
            batch.add_table();
            batch.add_set(&ASKS);
            batch.add_base_chain(chain);
            batch.add_rules(chain.name, rules);
            match nft.socket.commit(&batch, generation) {
                // All is made before it is used: what is not found is a part of the kernel.
                Err(Error::Kernel { what, errno: errno @ nix::errno::Errno::ENOENT, .. })
                    if generation.is_some() =>
                {
                    Err(Error::Unsupported { what, errno })
                }
                put => put.map(|()| true),
            }
        })
    }

    /// Removes what [`Self::limit_neighbours`] made.
    ///
    /// # Errors
    /// The first of a table's; that there is none is success.
    pub fn del_neighbour_limits(&mut self) -> Result<()> {
        let removed = tables().map(|(table, ..)| {
            self.at_generation(|nft, generation| {
                if nft.table(table)?.is_none() {
                    return Ok(());
                }
                let mut batch = Batch::new(table);
                batch.del_table();
                nft.commit_removal(&batch, generation).map(drop)
            })
        });
        removed.into_iter().collect()
    }
}
