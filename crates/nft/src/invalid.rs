//! Packets that conntrack calls invalid: NAT does not see them, so from a masqueraded pod they would
//! leave with the pod's address. They are dropped, but for what goes where nothing is masqueraded.
//!
//! ```text
//! table inet ferrule {
//!     map invalid4 { type ipv4_addr : verdict; }              10.1.0.5 comment "…" : jump invalid-…
//!     map invalid6 { type ipv6_addr : verdict; }
//!     chain invalid-0123456789abcdef {                        beside masq-0123456789abcdef
//!         comment "10.1.0.0/24 network"
//!         ip daddr 10.1.0.0/24 return
//!         ip daddr 224.0.0.0/4 return
//!         drop
//!     }
//!     chain drop-invalid {
//!         type filter hook forward priority filter; policy accept;
//!         ct state != invalid accept
//!         ip daddr @cluster4 return
//!         ip6 daddr @cluster6 return
//!         ip saddr vmap @invalid4
//!         ip6 saddr vmap @invalid6
//!     }
//! }
//! ```
//!
//! The maps of the masquerade cannot serve here: nf_tables refuses a filter chain that leads to
//! the expression `masq` (nft_masq_validate), and in a map a lookup that is no jump
//! (nft_lookup_init). In `forward` destinations are those after DNAT, and what the node itself
//! sends is not seen. With br_netfilter, frames from pod to pod on one bridge pass it too, which is
//! why each network's own subnet is spared, as in the masquerade.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use netlink_packet_netfilter::nftables::InetHookNumber;

use crate::Nft;
use crate::answer::ElementState;
use crate::batch::{BaseChain, Batch, Element, IPV4_ADDR, IPV6_ADDR, Set};
use crate::error::Result;
use crate::expr::{self, Ip, Rule};
use crate::masquerade::{CHAIN_PREFIX as MASQUERADE_PREFIX, CLUSTER4, CLUSTER6, MASQ4, MASQ6};
use crate::masquerade::{Shared, TABLE, address};

pub(crate) const INVALID: BaseChain =
    BaseChain { name: "drop-invalid", kind: "filter", hook: InetHookNumber::Forward, priority: 0 };
pub(crate) const INVALID4: Set<'static> =
    Set { name: "invalid4", key: IPV4_ADDR, intervals: false, verdicts: true };
pub(crate) const INVALID6: Set<'static> =
    Set { name: "invalid6", key: IPV6_ADDR, intervals: false, verdicts: true };

/// How the names of the per-subnet chains begin.
pub(crate) const CHAIN_PREFIX: &str = "invalid-";

pub(crate) fn chain_name(id: &str) -> String {
    format!("{CHAIN_PREFIX}{id}")
}

/// Table, base chain and sets.
pub(crate) fn frame(batch: &mut Batch) {
    batch.add_table();
    batch.add_base_chain(&INVALID);
    for set in [CLUSTER4, CLUSTER6, INVALID4, INVALID6] {
        batch.add_set(&set);
    }
}

pub(crate) fn base_rules() -> Vec<Rule> {
    vec![
        expr::accept_unless_invalid(),
        expr::return_to_set(Ip::V4, CLUSTER4.name),
        expr::return_to_set(Ip::V6, CLUSTER6.name),
        expr::vmap_source(Ip::V4, INVALID4.name),
        expr::vmap_source(Ip::V6, INVALID6.name),
    ]
}

impl Nft {
    /// Gives pods of releases that had no such map their elements in it. Their chains' comments
    /// tell their subnets.
    pub(crate) fn adopt_older(&mut self) -> Result<()> {
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(TABLE);
            let mut chains = BTreeMap::new();
            for (from, to) in [(MASQ4, INVALID4), (MASQ6, INVALID6)] {
                let older = nft.all_elements(TABLE, &from)?;
                for element in older.into_iter().filter_map(|found| adopted(found, to)) {
                    if nft.element(TABLE, &to, &element.key)?.is_some() {
                        continue;
                    }
                    let chain = element.jump.clone().unwrap_or_default();
                    if !chains.contains_key(&chain) {
                        let made = nft.adopt_chain(&mut batch, &chain)?;
                        chains.insert(chain.clone(), made);
                    }
                    if chains.get(&chain) == Some(&true) {
                        batch.add_element(&element);
                    }
                }
            }
            if batch.steps().is_empty() {
                return Ok(());
            }
            nft.socket.commit(&batch, generation)
        })
    }

    /// Adds the chain to the batch, if it is not there; whether it will be.
    fn adopt_chain(&mut self, batch: &mut Batch, name: &str) -> Result<bool> {
        if self.chain(TABLE, name)?.is_some() {
            return Ok(true);
        }
        let id = name.strip_prefix(CHAIN_PREFIX).unwrap_or(name);
        let older = self.chain(TABLE, &format!("{MASQUERADE_PREFIX}{id}"))?;
        let comment = older.and_then(|state| state.comment).unwrap_or_default();
        let Some((subnet, network)) = comment.split_once(' ') else { return Ok(false) };
        let Ok(subnet) = subnet.parse::<IpNetwork>() else { return Ok(false) };
        let shared = Shared { network: network.to_owned(), subnet, exclude: Vec::new() };
        batch.add_chain(name, &comment);
        batch.add_rules(name, &shared.rules(expr::drop_all()));
        Ok(true)
    }
}

/// The element beside one of the masquerade; none for what leads elsewhere.
fn adopted(found: ElementState, set: Set<'static>) -> Option<Element> {
    let (key, comment) = (found.key?, found.comment?);
    let id = found.chain?.strip_prefix(MASQUERADE_PREFIX)?.to_owned();
    let title = address(&key)?.to_string();
    Some(Element { set, key, title, jump: Some(chain_name(&id)), comment })
}
