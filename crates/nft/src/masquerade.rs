//! Masquerade: what leaves the cluster from a pod carries the node's address.
//!
//! ```text
//! table inet ferrule {
//!     set cluster4 { type ipv4_addr; flags interval; }        kept by route-sync
//!     set cluster6 { type ipv6_addr; flags interval; }        kept by route-sync
//!     map masq4 { type ipv4_addr : verdict; }                 10.1.0.5 comment "…" : jump masq-…
//!     map masq6 { type ipv6_addr : verdict; }
//!     chain masq-0123456789abcdef {                           one per network and subnet
//!         comment "10.1.0.0/24 network"
//!         ip daddr 10.1.0.0/24 return
//!         ip daddr 224.0.0.0/4 return
//!         masquerade
//!     }
//!     chain masq {
//!         type nat hook postrouting priority srcnat + 1; policy accept;
//!         ip daddr @cluster4 return
//!         ip6 daddr @cluster6 return
//!         ip saddr vmap @masq4
//!         ip6 saddr vmap @masq6
//!     }
//! }
//! ```
//! The base chain is not called `masquerade`: that is a keyword of `nft`, which would print the
//! ruleset and then refuse to load it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::InetHookNumber;
use sha2::{Digest, Sha256};

use crate::Nft;
use crate::batch::{BaseChain, Batch, Element, IPV4_ADDR, IPV6_ADDR, Set, Table};
use crate::change::Chain;
use crate::comment;
use crate::error::{Error, Result};
use crate::expr::{self, Ip, Rule};

pub(crate) const TABLE: Table =
    Table { family: NetfilterProtoFamily::Inet, name: "ferrule", title: "inet ferrule" };

/// Chains of one priority run in the order of their creation, so whose NAT comes first would
/// depend on who started first. 101 is right after srcnat (100), where iptables-nft, kube-proxy
/// and administrators' rulesets are: a source that they translated is translated already, and
/// the kernel does not ask us about that connection (nf_nat_inet_fn).
pub(crate) const BASE: BaseChain =
    BaseChain { name: "masq", kind: "nat", hook: InetHookNumber::PostRouting, priority: 101 };

pub(crate) const CLUSTER4: Set =
    Set { name: "cluster4", key: IPV4_ADDR, intervals: true, verdicts: false };
pub(crate) const CLUSTER6: Set =
    Set { name: "cluster6", key: IPV6_ADDR, intervals: true, verdicts: false };
pub(crate) const MASQ4: Set =
    Set { name: "masq4", key: IPV4_ADDR, intervals: false, verdicts: true };
const MASQ6: Set = Set { name: "masq6", key: IPV6_ADDR, intervals: false, verdicts: true };
pub(crate) const SETS: [Set; 4] = [CLUSTER4, CLUSTER6, MASQ4, MASQ6];

/// How many rules each subnet's chain has.
const CHAIN_RULES: u32 = 3;

/// How the names of the per-subnet chains begin.
const CHAIN_PREFIX: &str = "masq-";

/// One pod address whose traffic to the world outside is masqueraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    /// The network's name in the configuration.
    pub network: String,
    /// The pod's address; its packets are the ones that are translated.
    pub address: IpAddr,
    /// The pod's own subnet, never translated to; host bits do not matter.
    pub subnet: IpNetwork,
    /// Whose it is; cut to [`crate::COMMENT_MAX`] bytes by [`crate::fit`].
    pub comment: String,
}

impl Masquerade {
    fn check(&self) -> Result<()> {
        if self.address.is_ipv4() == self.subnet.is_ipv4() {
            return Ok(());
        }
        let (address, subnet) = (self.address, self.subnet);
        Err(Error::Invalid(format!("masquerade: {address} and {subnet} are of different families")))
    }

    fn canonical_subnet(&self) -> IpNetwork {
        IpNetwork::new(self.subnet.network(), self.subnet.prefix()).unwrap_or(self.subnet)
    }

    /// The chain of (network, subnet): 64 bits of a hash of both.
    fn chain(&self) -> String {
        let subnet = self.canonical_subnet().to_string();
        let mut hash = Sha256::new();
        hash.update(self.network.as_bytes());
        hash.update([0]);
        hash.update(subnet.as_bytes());
        let mut name = CHAIN_PREFIX.to_owned();
        name.extend(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")));
        name
    }

    fn chain_comment(&self) -> String {
        format!("{} {}", self.canonical_subnet(), self.network)
    }

    fn chain_rules(&self) -> Vec<Rule> {
        let mut rules = vec![expr::return_to(self.canonical_subnet())];
        rules.extend(expr::return_to_multicast(Ip::of(self.subnet)));
        rules.push(expr::masquerade());
        rules
    }

    fn element(&self) -> Element {
        let (set, key) = key(self.address);
        let title = self.address.to_string();
        let jump = Some(self.chain());
        Element { set, key, title, jump, comment: comment::fit(&self.comment) }
    }
}

/// Table, base chain and sets.
fn frame(batch: &mut Batch) {
    batch.add_table();
    batch.add_base_chain(&BASE);
    for set in &SETS {
        batch.add_set(set);
    }
}

fn base_rules() -> Vec<Rule> {
    vec![
        expr::return_to_set(Ip::V4, CLUSTER4.name),
        expr::return_to_set(Ip::V6, CLUSTER6.name),
        expr::vmap_source(Ip::V4, MASQ4.name),
        expr::vmap_source(Ip::V6, MASQ6.name),
    ]
}

fn key(address: IpAddr) -> (Set, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (MASQ4, address.octets().to_vec()),
        IpAddr::V6(address) => (MASQ6, address.octets().to_vec()),
    }
}

/// Every element, by address and comment.
pub(crate) fn owned(nft: &mut Nft) -> Result<Vec<(IpAddr, String)>> {
    let mut owned = Vec::new();
    for set in [MASQ4, MASQ6] {
        for (key, comment) in nft.list_elements(TABLE, &set)? {
            let address = <[u8; 4]>::try_from(key.as_slice()).map(IpAddr::from);
            let address =
                address.or_else(|_| <[u8; 16]>::try_from(key.as_slice()).map(IpAddr::from));
            owned.extend(address.ok().zip(comment));
        }
    }
    Ok(owned)
}

impl Nft {
    /// Masquerades what the address sends outside its subnet and the cluster, and says whose
    /// address it is. Idempotent: it makes what is missing (table, sets, chains, emptied rules),
    /// and an element that is already there becomes this one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when address and subnet are of different families;
    /// [`Error::is_unsupported`] on a kernel without nf_tables or masquerading; EEXIST or
    /// EOPNOTSUPP when table `inet ferrule` holds something of our names that is not like ours.
    pub fn add_masquerade(&mut self, m: &Masquerade) -> Result<()> {
        m.check()?;
        // Measured: the element alone takes 0.013 ms (and 0.036 ms more for each 1000 elements,
        // since nf_tables validates every jump of the map again); with table, sets and chains
        // in the batch it is 0.09 ms, so those are sent only when a look finds them wanting.
        let chain = m.chain();
        let chains = [
            Chain { name: BASE.name, rules: base_rules(), add: &frame },
            Chain {
                name: &chain,
                rules: m.chain_rules(),
                add: &|batch| batch.add_chain(&chain, &m.chain_comment()),
            },
        ];
        self.put(TABLE, &[m.element()], &chains).map(drop)
    }

    /// What is not as [`Self::add_masquerade`] would make it, in words; empty: nothing.
    ///
    /// # Errors
    /// As the kernel reports them; a missing object is a difference and no error.
    pub fn check_masquerade(&mut self, m: &Masquerade) -> Result<Vec<String>> {
        m.check()?;
        let mut differences = match self.table(TABLE)? {
            None => return Ok(vec![format!("table {} is missing", TABLE.title)]),
            Some(state) if state.dormant => vec![format!("table {} is dormant", TABLE.title)],
            Some(_) => Vec::new(),
        };
        differences.extend(self.base_differences(TABLE, &BASE, &base_rules())?);
        let chain = m.chain();
        let comment = m.chain_comment();
        differences.extend(self.chain_differences(TABLE, &chain, &comment, &m.chain_rules())?);
        differences.extend(self.element_differences(TABLE, &m.element())?);
        Ok(differences)
    }

    /// Ends what [`Self::add_masquerade`] began, if the element of that address carries this
    /// comment; another's is left alone, and one that is gone is success. The last one takes
    /// its subnet's chain, and the last of all takes the table, unless route-sync keeps
    /// cluster CIDRs in it. Says whether the element was there: if not, an earlier call may have
    /// been ended after it, and [`Self::del_unused`] removes the rest.
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone" and "still in use".
    pub fn del_masquerade(&mut self, address: IpAddr, comment: &str) -> Result<bool> {
        let comment = comment::fit(comment);
        let (map, key) = key(address);
        let chain = self.at_generation(|nft, generation| {
            let element = nft.element(TABLE, &map, &key)?;
            let ours = element.filter(|found| found.comment.as_deref() == Some(&comment));
            let Some(element) = ours else { return Ok(None) };
            let mut batch = Batch::new(TABLE);
            batch.del_element(&map, &key);
            nft.commit_removal(&batch, generation)?;
            Ok(element.chain)
        })?;
        let Some(chain) = chain else { return Ok(false) };
        if chain.starts_with(CHAIN_PREFIX) && self.del_unused_chain(&chain)? {
            self.del_unused_frame()?;
        }
        Ok(true)
    }

    /// Removes chains that nothing jumps to, and the table if nothing else is in it.
    pub(crate) fn del_unused_masquerade(&mut self) -> Result<()> {
        if self.table(TABLE)?.is_none() {
            return Ok(());
        }
        for chain in self.chains(TABLE, CHAIN_PREFIX)? {
            self.del_unused_chain(&chain)?;
        }
        self.del_unused_frame()
    }

    /// Removes the table with what every masquerade needs, if nothing else is in it.
    pub(crate) fn del_unused_frame(&mut self) -> Result<()> {
        self.del_empty_frame(TABLE, &BASE, &SETS)
    }

    /// Deletes the chain of a subnet unless something jumps to it; whether it is gone.
    fn del_unused_chain(&mut self, chain: &str) -> Result<bool> {
        self.at_generation(|nft, generation| match nft.chain(TABLE, chain)? {
            None => Ok(true),
            Some(state) if state.uses > CHAIN_RULES => Ok(false),
            Some(_) => {
                let mut batch = Batch::new(TABLE);
                batch.del_chain(chain);
                nft.commit_removal(&batch, generation)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masquerade(subnet: &str) -> Masquerade {
        let subnet: IpNetwork = subnet.parse().unwrap();
        let address = subnet.ip();
        Masquerade { network: "pods".to_owned(), address, subnet, comment: "x".to_owned() }
    }

    #[test]
    fn the_chain_is_one_for_a_network_and_subnet() {
        let chain = masquerade("10.1.0.5/24").chain();
        // The name is on disk in saved rulesets: it must not change between versions.
        assert_eq!(chain, "masq-55d575a951ea7196");
        assert_eq!(chain, masquerade("10.1.0.9/24").chain());
        assert_ne!(chain, masquerade("10.1.0.5/25").chain());
        let other = Masquerade { network: "pod".to_owned(), ..masquerade("10.1.0.5/24") };
        assert_ne!(chain, other.chain());
    }

    #[test]
    fn the_rule_count_that_decides_is_that_of_the_rules() {
        assert_eq!(masquerade("10.1.0.5/24").chain_rules().len(), CHAIN_RULES as usize);
        assert_eq!(masquerade("fd00::5/64").chain_rules().len(), CHAIN_RULES as usize);
    }

    #[test]
    fn an_address_of_the_other_family_is_refused() {
        let mixed = Masquerade { address: "fd00::1".parse().unwrap(), ..masquerade("10.1.0.5/24") };
        assert!(matches!(mixed.check(), Err(Error::Invalid(_))));
    }
}
