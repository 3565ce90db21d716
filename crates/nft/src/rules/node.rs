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
//!         type filter hook forward priority raw; policy accept;
//!         meta l4proto != udp accept
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
//! Where the tunnel's packets come in by whatever leads to their sender, `overlay` asks for that in
//! the place of a name, by a first rule as those of `overlay-transit`.
//!
//! What comes in is of one family, the tunnel's; what is passed on may be of another node's tunnel,
//! over the other family. Each packet of the tunnel goes through the guard two times, once as the
//! tunnel's and once as what is in it, and through few expressions each time: what is in it ends at
//! its first rule unless it is UDP too, and what is the tunnel's ends at its first one too.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use crate::Nft;
use crate::kernel::answer::ElementState;
use crate::kernel::batch::{BaseChain, Batch};
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::{Ip, Rule};
use crate::kernel::query::WantedChain;
use crate::kernel::set::{NAME_LEN, Set, Span};
use crate::rules::rule;
use crate::rules::tables::{
    CLUSTER_INVALID, CLUSTER_MASQ, CLUSTER4, CLUSTER6, INET, MASQ_SETS, OVERLAY, OVERLAY_OUTPUT,
    PEERS4, PEERS6, POD_SOURCES, PODS4, PODS6, TRANSIT,
};
use sources::PodSources;

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

/// UDP to the port is dropped unless it comes from a peer over the underlay, or from where the way
/// to that peer leads, to the tunnel's own address. What is passed on is dropped if it goes to a peer
/// and does not come from one, or if it names a peer as its source and does not come from where the
/// way to that peer leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The tunnel's UDP port.
    pub port: u16,
    /// The name of the interface that peers send through, 1 to 15 bytes; None: whatever the way
    /// back to the peer leads through.
    pub underlay: Option<String>,
    /// The tunnel's own address. VXLAN listens on all that the node has, and those that no node
    /// set names are not known to the nodes on the way.
    pub local: IpAddr,
    /// The nodes' addresses. Those of the other family than the tunnel's count for what is passed
    /// on alone: the device has no socket of that family.
    pub peers: BTreeSet<IpAddr>,
}

/// What these pods send out of the cluster carries the node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMasquerade {
    /// The node's own pod CIDRs. They may overlap.
    pub sources: Vec<IpNetwork>,
    /// Whether source ports are drawn at random always (NF_NAT_RANGE_PROTO_RANDOM_FULLY).
    pub random_fully: bool,
}

impl Guard {
    fn rules(&self) -> Vec<Rule> {
        let name = self.underlay.as_ref().map(|name| {
            let mut name = name.clone().into_bytes();
            name.resize(NAME_LEN, 0);
            name
        });
        let (ip, peers) = if self.local.is_ipv4() { (Ip::V4, PEERS4) } else { (Ip::V6, PEERS6) };
        let local = bytes(ip, bits(self.local));
        // A pod sends with any source address, and comes in by no link that leads to a peer.
        let anywhere = self.underlay.is_none();
        let elsewhere = anywhere.then(|| rule::drop_udp_from_elsewhere(ip, peers.name, self.port));
        let mut rules: Vec<Rule> = elsewhere.into_iter().collect();
        rules.push(rule::accept_udp_of(ip, peers.name, name, local, self.port));
        rules.push(rule::drop_udp(self.port));
        rules
    }

    fn transit_rules(&self) -> Vec<Rule> {
        let mut rules = vec![rule::accept_what_is_not_udp()];
        for (ip, peers) in [(Ip::V4, PEERS4), (Ip::V6, PEERS6)] {
            rules.push(rule::drop_udp_of_strangers_to(ip, peers.name, self.port));
            rules.push(rule::drop_udp_from_elsewhere(ip, peers.name, self.port));
        }
        rules
    }

    /// The peers of one family.
    fn peers(&self, ip: Ip) -> BTreeSet<Span> {
        let of_family = self.peers.iter().filter(|peer| peer.is_ipv4() == (ip == Ip::V4));
        of_family.map(|peer| Span { first: bytes(ip, bits(*peer)), end: None }).collect()
    }
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

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The lowest bytes, as many as an address has.
fn bytes(ip: Ip, bits: u128) -> Vec<u8> {
    bits.to_be_bytes().into_iter().skip(16 - ip.len() as usize).collect()
}

/// The networks of one family as intervals that neither overlap nor touch: the kernel refuses
/// those that overlap.
pub(crate) fn spans<'a>(ip: Ip, networks: impl Iterator<Item = &'a IpNetwork>) -> BTreeSet<Span> {
    let highest = if ip == Ip::V4 { u32::MAX.into() } else { u128::MAX };
    let of_family = networks.filter(|network| Ip::of(**network) == ip);
    let range = |network: &IpNetwork| (bits(network.network()), bits(network.broadcast()));
    let mut ranges: Vec<_> = of_family.map(range).collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    let span = |(first, last): (u128, u128)| {
        let end = (last < highest).then(|| bytes(ip, last + 1));
        Span { first: bytes(ip, first), end }
    };
    merged.into_iter().map(span).collect()
}

/// Elements of a dump as spans; None when they are no such thing, as with a catch-all element,
/// which has no key.
pub(crate) fn read(set: &Set<'_>, elements: Vec<ElementState>) -> Option<BTreeSet<Span>> {
    let mut keys = Vec::with_capacity(elements.len());
    for element in elements {
        keys.push((element.key?, !element.ends));
    }
    if !set.has_intervals() {
        return Some(keys.into_iter().map(|(first, _)| Span { first, end: None }).collect());
    }
    // Where two touch, the end of the one comes before the beginning of the other.
    keys.sort_unstable();
    let mut spans = BTreeSet::new();
    let mut open: Option<Vec<u8>> = None;
    for (key, begins) in keys {
        match (open.take(), begins) {
            (None, true) => open = Some(key),
            (Some(first), false) => {
                spans.insert(Span { first, end: Some(key) });
            }
            // `nft` begins a set with the end of nothing.
            (None, false) if key.iter().all(|byte| *byte == 0) => {}
            _ => return None,
        }
    }
    spans.extend(open.map(|first| Span { first, end: None }));
    Some(spans)
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
