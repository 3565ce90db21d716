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

use crate::kernel::batch::Batch;
use crate::kernel::expr::{Ip, Rule};
use crate::rules::rule;
use crate::rules::tables::{CLUSTER4, CLUSTER6, DROP_INVALID, INVALID_PREFIX, INVALID4, INVALID6};

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
