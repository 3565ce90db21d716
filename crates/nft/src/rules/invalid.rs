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

use crate::Nft;
use crate::kernel::answer::ElementState;
use crate::kernel::batch::Batch;
use crate::kernel::error::Result;
use crate::kernel::expr::{Ip, Rule};
use crate::kernel::set::{Data, Element, Set, Verdict};
use crate::rules::masquerade::{Shared, address};
use crate::rules::rule;
use crate::rules::tables::{
    CLUSTER4, CLUSTER6, DROP_INVALID, INET, INVALID_PREFIX, INVALID4, INVALID6, MASQ_PREFIX, MASQ4,
    MASQ6,
};

pub(crate) fn chain_name(id: &str) -> String {
    format!("{INVALID_PREFIX}{id}")
}

/// Table, base chain and sets.
pub(crate) fn frame(batch: &mut Batch) {
    batch.add_table();
    batch.add_base_chain(&DROP_INVALID);
    for set in [CLUSTER4, CLUSTER6, INVALID4, INVALID6] {
        batch.add_set(&set);
    }
}

pub(crate) fn base_rules() -> Vec<Rule> {
    vec![
        rule::accept_unless_invalid(),
        rule::return_to_set(Ip::V4, CLUSTER4.name),
        rule::return_to_set(Ip::V6, CLUSTER6.name),
        rule::vmap_source(Ip::V4, INVALID4.name),
        rule::vmap_source(Ip::V6, INVALID6.name),
    ]
}

impl Nft {
    /// Gives pods of releases that had no such map their elements in it. Their chains' comments
    /// tell their subnets.
    pub(crate) fn adopt_older(&mut self) -> Result<()> {
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(INET);
            let mut chains = BTreeMap::new();
            for (from, to) in [(MASQ4, INVALID4), (MASQ6, INVALID6)] {
                let older = nft.all_elements(INET, &from)?;
                for element in older.into_iter().filter_map(|found| adopted(found, to)) {
                    if nft.element(INET, &to, &element.key)?.is_some() {
                        continue;
                    }
                    let chain =
                        element.data.as_ref().and_then(Data::chain).unwrap_or_default().to_owned();
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
        if self.chain(INET, name)?.is_some() {
            return Ok(true);
        }
        let id = name.strip_prefix(INVALID_PREFIX).unwrap_or(name);
        let older = self.chain(INET, &format!("{MASQ_PREFIX}{id}"))?;
        let comment = older.and_then(|state| state.comment).unwrap_or_default();
        let Some((subnet, network)) = comment.split_once(' ') else { return Ok(false) };
        let Ok(subnet) = subnet.parse::<IpNetwork>() else { return Ok(false) };
        let shared = Shared { network: network.to_owned(), subnet, exclude: Vec::new() };
        batch.add_chain(name, &comment);
        batch.add_rules(name, &shared.rules(rule::drop_all()));
        Ok(true)
    }
}

/// The element beside one of the masquerade; none for what leads elsewhere.
fn adopted(found: ElementState, set: Set<'static>) -> Option<Element> {
    let id = found.chain()?.strip_prefix(MASQ_PREFIX)?.to_owned();
    let (key, comment) = (found.key?, found.comment?);
    let title = address(&key)?.to_string();
    Some(Element {
        set,
        key,
        title,
        data: Some(Data::Verdict(Verdict::Jump(chain_name(&id)))),
        comment,
    })
}
