//! What route-sync keeps in the table of the masqueraded pods, for the node as a whole.
//!
//! ```text
//! table inet ferrule {
//!     set cluster4 { type ipv4_addr; flags interval; }        never masqueraded to
//!     set overlay-peers4 { type ipv4_addr; }                  the nodes' addresses
//!     set pods4 { type ipv4_addr; flags interval; }           this node's pod CIDRs
//!     …and the same with 6
//!     chain overlay {
//!         type filter hook input priority raw; policy accept;
//!         udp dport 4789 iifname "eth0" ip daddr 192.0.2.1 ip saddr @overlay-peers4 accept
//!         udp dport 4789 drop
//!     }
//!     chain overlay-transit {
//!         type filter hook prerouting priority -50; policy accept;
//!         meta l4proto != udp accept
//!         udp dport 4789 fib daddr type local accept
//!         udp dport 4789 ip daddr @overlay-peers4 ip saddr != @overlay-peers4 drop
//!         udp dport 4789 ip saddr @overlay-peers4 fib saddr . iif oif missing drop
//!         udp dport 4789 ip6 daddr @overlay-peers6 ip6 saddr != @overlay-peers6 drop
//!         udp dport 4789 ip6 saddr @overlay-peers6 fib saddr . iif oif missing drop
//!     }
//!     chain cluster-masq {
//!         type nat hook postrouting priority srcnat + 2; policy accept;
//!         ip daddr @cluster4 return
//!         ip daddr 224.0.0.0/4 return
//!         ip saddr @pods4 masquerade
//!         ip6 daddr @cluster6 return
//!         ip6 daddr ff00::/8 return
//!         ip6 saddr @pods6 masquerade
//!     }
//!     chain cluster-invalid {
//!         type filter hook forward priority filter; policy accept;
//!         ct state != invalid accept
//!         ip daddr @cluster4 return
//!         ip daddr 224.0.0.0/4 return
//!         ip daddr @pods4 return
//!         ip saddr @pods4 drop
//!         …and the same with 6
//!     }
//! }
//! ```
//!
//! Where the tunnel's packets come in by whatever leads to their sender, `overlay` asks for no name,
//! and in `overlay-transit` the rule that asks for the way back comes before the one that accepts
//! what is for the node.
//!
//! What comes in is of one family, the tunnel's; what is passed on may be of another node's tunnel,
//! over the other family. Each packet of the tunnel goes through the guard two times, once as the
//! tunnel's and once as what is in it, and through few expressions each time: what is in it ends at
//! its first rule unless it is UDP too, and what is the tunnel's ends at its first one too.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use crate::Nft;
use crate::kernel::batch::{BaseChain, Batch};
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::{Ip, Rule};
use crate::kernel::query::WantedChain;
use crate::kernel::set::{NAME_LEN, Set, Span};
use crate::rules::rule;
use crate::rules::spans::{read, spans};
use crate::rules::tables::{
    CLUSTER_INVALID, CLUSTER_MASQ, CLUSTER4, CLUSTER6, INET, MASQ_SETS, OVERLAY, OVERLAY_OUTPUT,
    PEERS4, PEERS6, POD_SOURCES, PODS4, PODS6, TRANSIT,
};
pub use guard::Guard;
use sources::PodSources;

mod guard;
pub(crate) mod source_rules;
pub(crate) mod sources;

/// How often what is there is looked at again because the ruleset changed meanwhile, while pods
/// come and go; and then how often the batch may fail because what it deletes or adds did.
const GUARDED: u32 = 8;
const ATTEMPTS: u32 = 16;

/// What is kept for the node; the default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRules {
    /// Who may send to the tunnel's port.
    pub guard: Option<Guard>,
    /// Never masqueraded to, neither for [`crate::Masquerade`]. They may overlap.
    pub cluster: BTreeSet<IpNetwork>,
    /// Masquerade of all the node's pods.
    pub masquerade: Option<NodeMasquerade>,
    /// Which sources packets to pods may have.
    pub sources: Option<PodSources>,
}

/// What these pods send out of the cluster carries the node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMasquerade {
    /// The node's own pod CIDRs. They may overlap.
    pub sources: Vec<IpNetwork>,
    /// Whether source ports are drawn at random always (NF_NAT_RANGE_PROTO_RANDOM_FULLY).
    pub random_fully: bool,
}

impl NodeMasquerade {
    fn rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (ip, cluster, pods) in [(Ip::V4, CLUSTER4, PODS4), (Ip::V6, CLUSTER6, PODS6)] {
            rules.push(rule::return_to_set(ip, cluster.name));
            rules.extend(rule::return_to_multicast(ip));
            rules.push(rule::masquerade_from(ip, pods.name, self.random_fully));
        }
        rules
    }
}

/// What conntrack calls invalid is not translated, so it would leave with the pod's address.
fn invalid_rules() -> Vec<Rule> {
    let mut rules = vec![rule::accept_unless_invalid()];
    for (ip, cluster, pods) in [(Ip::V4, CLUSTER4, PODS4), (Ip::V6, CLUSTER6, PODS6)] {
        rules.push(rule::return_to_set(ip, cluster.name));
        rules.extend(rule::return_to_multicast(ip));
        rules.push(rule::return_to_set(ip, pods.name));
        rules.push(rule::drop_from(ip, pods.name));
    }
    rules
}

impl NodeRules {
    fn check(&self) -> Result<()> {
        self.sources.as_ref().map_or(Ok(()), PodSources::check)?;
        let Some(guard) = &self.guard else { return Ok(()) };
        let wrong =
            |name: &&String| name.is_empty() || name.len() >= NAME_LEN || name.contains('\0');
        if let Some(name) = guard.underlay.as_ref().filter(wrong) {
            return Err(Error::Invalid(format!("overlay guard: {name:?} is no interface name")));
        }
        if guard.port == 0 {
            return Err(Error::Invalid("overlay guard: 0 is no UDP port".to_owned()));
        }
        Ok(())
    }

    fn chains(&self) -> [(BaseChain, Option<Vec<Rule>>); 6] {
        let sources = self.sources.as_ref();
        let output = |guard| sources::output_rules(guard, sources.is_some());
        [
            (OVERLAY, self.guard.as_ref().map(Guard::rules)),
            (TRANSIT, self.guard.as_ref().map(Guard::transit_rules)),
            (CLUSTER_MASQ, self.masquerade.as_ref().map(NodeMasquerade::rules)),
            (CLUSTER_INVALID, self.masquerade.as_ref().map(|_| invalid_rules())),
            (POD_SOURCES, sources.map(PodSources::rules)),
            (OVERLAY_OUTPUT, self.guard.as_ref().map(output)),
        ]
    }

    /// What each set holds; None: it is not needed.
    fn sets(&self) -> [(Set<'static>, Option<BTreeSet<Span>>); 6] {
        let guard = self.guard.as_ref();
        let masquerade = self.masquerade.as_ref();
        let cluster = |ip| {
            let needed = masquerade.is_some() || !self.cluster.is_empty();
            needed.then(|| spans(ip, self.cluster.iter()))
        };
        let pods = |ip| masquerade.map(|of| spans(ip, of.sources.iter()));
        [
            (CLUSTER4, cluster(Ip::V4)),
            (CLUSTER6, cluster(Ip::V6)),
            (PEERS4, guard.map(|of| of.peers(Ip::V4))),
            (PEERS6, guard.map(|of| of.peers(Ip::V6))),
            (PODS4, pods(Ip::V4)),
            (PODS6, pods(Ip::V6)),
        ]
    }
}

impl Nft {
    /// Makes table `inet ferrule` hold exactly this for the node, in one batch; what the pods
    /// have in it stays. Whether anything had to be changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an interface name or a port that cannot be;
    /// [`Error::is_unsupported`] on a kernel without nf_tables or masquerading; EEXIST, EINVAL or
    /// EOPNOTSUPP when the table holds something of our names that is not like ours.
    pub fn put_node_rules(&mut self, rules: &NodeRules) -> Result<bool> {
        rules.check()?;
        self.undisturbed(|nft, generation| nft.put_node_rules_once(rules, generation))
    }

    /// What `once` gives when no other process changed the ruleset between its look and its batch; with
    /// no generation that it could name, whatever it gives.
    fn undisturbed(
        &mut self,
        mut once: impl FnMut(&mut Self, Option<u32>) -> Result<bool>,
    ) -> Result<bool> {
        for attempt in 0..ATTEMPTS {
            let guarded = attempt < GUARDED;
            let generation = if guarded { Some(self.generation()?) } else { None };
            match once(self, generation) {
                Err(e) if e.is_outdated() => {}
                // A dump beside another's change may miss an object that must go.
                Ok(false) if guarded && generation != Some(self.generation()?) => {}
                Err(e) if !guarded && (e.is_exists() || e.is_gone() || e.is_busy()) => {}
                result => return result,
            }
        }
        once(self, None)
    }

    /// Removes what [`Self::put_node_rules`] made, and the table if nothing else is in it.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn del_node_rules(&mut self) -> Result<()> {
        self.put_node_rules(&NodeRules::default())?;
        self.del_unused_frame()
    }

    /// What differs becomes a batch for that generation; false: nothing did.
    fn put_node_rules_once(&mut self, rules: &NodeRules, generation: Option<u32>) -> Result<bool> {
        let mut batch = Batch::new(INET);
        batch.add_table();
        if self.table(INET)?.is_some_and(|state| state.dormant) {
            batch.wake_table();
        }
        let bare = 1;
        // Chains go before the sets that they look into, and come after them.
        let made = self.replace_chains(&mut batch, rules.chains())?;
        for (set, wanted) in rules.sets().into_iter().chain(sources::sets(rules.sources.as_ref())) {
            self.put_set(&mut batch, &set, wanted.as_ref())?;
        }
        for (chain, wanted) in &made {
            batch.add_base_chain(chain);
            batch.add_rules(chain.name, wanted);
        }
        if batch.steps().len() == bare {
            return Ok(false);
        }
        match self.socket.commit(&batch, generation) {
            Ok(()) => Ok(true),
            // Everything is made before it is used, and what is deleted was there at this
            // generation: what the kernel does not find is a part of itself.
            Err(Error::Kernel { what, errno: errno @ Errno::ENOENT, .. })
                if generation.is_some() && !made.is_empty() =>
            {
                Err(Error::Unsupported { what, errno })
            }
            Err(e) => Err(e),
        }
    }

    /// Adds to the batch the deletion of each chain that is not as wanted; those that are to be made.
    fn replace_chains<const N: usize>(
        &mut self,
        batch: &mut Batch,
        chains: [(BaseChain, Option<Vec<Rule>>); N],
    ) -> Result<Vec<(BaseChain, Vec<Rule>)>> {
        let wanted = chains.iter().filter_map(|(chain, rules)| {
            rules.as_deref().map(|rules| WantedChain::Base(chain, rules))
        });
        let wanted: Vec<_> = wanted.collect();
        let mut differences = self.chain_differences(INET, &wanted)?.into_iter();
        let mut made = Vec::new();
        for (chain, rules) in chains {
            if rules.is_some() && differences.next().is_some_and(|of| of.is_empty()) {
                continue;
            }
            if self.chain(INET, chain.name)?.is_some() {
                batch.del_chain(chain.name);
            }
            made.extend(rules.map(|rules| (chain, rules)));
        }
        Ok(made)
    }

    /// Adds to the batch what makes a set hold these and no more.
    fn put_set(
        &mut self,
        batch: &mut Batch,
        set: &Set<'_>,
        wanted: Option<&BTreeSet<Span>>,
    ) -> Result<()> {
        let exists = self.set(INET, set)?.is_some();
        let Some(wanted) = wanted else {
            let shared = MASQ_SETS.contains(set);
            if exists && !shared {
                batch.del_set(set);
            } else if exists && self.has_elements(INET, set)? == Some(true) {
                batch.flush_set(set);
            }
            return Ok(());
        };
        let found = if exists {
            read(set, self.all_elements(INET, set)?)
        } else {
            batch.add_set(set);
            Some(BTreeSet::new())
        };
        let found = found.unwrap_or_else(|| {
            batch.flush_set(set);
            BTreeSet::new()
        });
        let stale: Vec<_> = found.difference(wanted).collect();
        let missing: Vec<_> = wanted.difference(&found).collect();
        batch.del_spans(set, &stale);
        batch.add_spans(set, &missing);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
