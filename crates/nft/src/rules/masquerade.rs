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
//!         ip daddr @exclude-0123456789abcdef return           where the network has exceptions
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

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use sha2::{Digest, Sha256};

use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::change::Chain;
use crate::kernel::comment;
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::{Ip, Rule};
use crate::kernel::query::{GENERATIONS, Marked, WantedChain};
use crate::kernel::set::{Data, Element, IPV4_ADDR, IPV6_ADDR, Set, Verdict};
use crate::rules::spans::{read, spans};
use crate::rules::tables::{
    CLUSTER4, CLUSTER6, DROP_INVALID, EXCLUDE_PREFIX, INET, INVALID_PREFIX, INVALID4, INVALID6,
    MASQ, MASQ_BASES, MASQ_PREFIX, MASQ_SETS, MASQ4, MASQ6,
};
use crate::rules::{invalid, rule};

/// The sets that the base chain looks into.
const FRAME: [Set<'static>; 4] = [CLUSTER4, CLUSTER6, MASQ4, MASQ6];

/// Stands in the comments of chains with exceptions; no network's name has an `@`.
const EXCEPT: &str = " except-@exclude";

/// How many rules each subnet's chains have, without the one for its exceptions.
const CHAIN_RULES: u32 = 3;

/// One pod address whose traffic to the world outside is masqueraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    /// The network's name in the configuration.
    pub network: String,
    /// The pod's address; its packets are the ones that are translated.
    pub address: IpAddr,
    /// The pod's own subnet, never translated to; host bits do not matter.
    pub subnet: IpNetwork,
    /// Further destinations that are never translated to; those of the other family do not
    /// matter, nor do host bits, and they may overlap.
    pub exclude: Vec<IpNetwork>,
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

    /// What it shares with the other pods of its subnet.
    fn shared(&self) -> Shared {
        let mut exclude: Vec<IpNetwork> = self.exclude.iter().map(|net| canonical(*net)).collect();
        exclude.retain(|net| net.is_ipv4() == self.subnet.is_ipv4());
        exclude.sort_unstable();
        exclude.dedup();
        Shared { network: self.network.clone(), subnet: canonical(self.subnet), exclude }
    }

    /// Its two elements, which lead to the chains of that ID.
    fn elements(&self, id: &str) -> [Element; 2] {
        let element = |set, chain| Element {
            set,
            key: key(self.address),
            title: self.address.to_string(),
            data: Some(Data::Verdict(Verdict::Jump(chain))),
            comment: comment::fit(&self.comment),
        };
        let [masquerade, invalid] = maps(self.address);
        [element(masquerade, chain_name(id)), element(invalid, invalid::chain_name(id))]
    }
}

/// What the pods of a network and subnet have in common: their chains, and the set of what is not
/// masqueraded to.
pub(crate) struct Shared {
    pub(crate) network: String,
    pub(crate) subnet: IpNetwork,
    /// Of the subnet's family, sorted.
    pub(crate) exclude: Vec<IpNetwork>,
}

impl Shared {
    /// What its names end with: 64 bits of a hash of all of it. Networks with different lists of
    /// exceptions share nothing, nor do pods from before and after a change of the list.
    pub(crate) fn id(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.network.as_bytes());
        hash.update([0]);
        hash.update(self.subnet.to_string().as_bytes());
        for net in &self.exclude {
            hash.update([0]);
            hash.update(net.to_string().as_bytes());
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whose the chains are. It tells of a set of exceptions too, which DEL need not look for then.
    pub(crate) fn comment(&self) -> String {
        let except = if self.exclude.is_empty() { "" } else { EXCEPT };
        format!("{}{except} {}", self.subnet, self.network)
    }

    /// Where its exceptions are, if it has any.
    fn exclude_set<'a>(&self, name: &'a str) -> Option<Set<'a>> {
        (!self.exclude.is_empty()).then(|| exclude_set(name, self.subnet.is_ipv4()))
    }

    /// What packets leave the chain unaltered, then the end of the others.
    pub(crate) fn rules(&self, end: Rule) -> Vec<Rule> {
        let ip = Ip::of(self.subnet);
        let mut rules = vec![rule::return_to(self.subnet)];
        rules.extend(rule::return_to_multicast(ip));
        let name = exclude_name(&self.id());
        rules.extend(self.exclude_set(&name).map(|set| rule::return_to_set(ip, set.name)));
        rules.push(end);
        rules
    }

    /// Adds to the batch a chain with the set that its rules look into.
    pub(crate) fn add(&self, batch: &mut Batch, chain: &str) {
        let name = exclude_name(&self.id());
        if let Some(set) = self.exclude_set(&name) {
            let spans = spans(Ip::of(self.subnet), self.exclude.iter());
            batch.add_set(&set);
            // It may be there, with whatever elements.
            batch.flush_set(&set);
            batch.add_spans(&set, &spans.iter().collect::<Vec<_>>());
        }
        batch.add_chain(chain, &self.comment());
    }
}

fn canonical(net: IpNetwork) -> IpNetwork {
    IpNetwork::new(net.network(), net.prefix()).unwrap_or(net)
}

fn chain_name(id: &str) -> String {
    format!("{MASQ_PREFIX}{id}")
}

fn exclude_name(id: &str) -> String {
    format!("{EXCLUDE_PREFIX}{id}")
}

fn exclude_set(name: &str, v4: bool) -> Set<'_> {
    let key = if v4 { IPV4_ADDR } else { IPV6_ADDR };
    Set::new(name, key).intervals()
}

/// The map of masqueraded addresses, and the one of those whose invalid packets are dropped.
fn maps(address: IpAddr) -> [Set<'static>; 2] {
    match address {
        IpAddr::V4(_) => [MASQ4, INVALID4],
        IpAddr::V6(_) => [MASQ6, INVALID6],
    }
}

pub(crate) fn key(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address that is an element's key.
pub(crate) fn address(key: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(key).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(key).map(IpAddr::from)).ok()
}

/// Table, base chain and sets.
fn frame(batch: &mut Batch) {
    batch.add_table();
    batch.add_base_chain(&MASQ);
    for set in &FRAME {
        batch.add_set(set);
    }
}

fn base_rules() -> Vec<Rule> {
    vec![
        rule::return_to_set(Ip::V4, CLUSTER4.name),
        rule::return_to_set(Ip::V6, CLUSTER6.name),
        rule::vmap_source(Ip::V4, MASQ4.name),
        rule::vmap_source(Ip::V6, MASQ6.name),
    ]
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
        let shared = m.shared();
        let id = shared.id();
        let (chain, invalid) = (chain_name(&id), invalid::chain_name(&id));
        let chains = [
            Chain { name: MASQ.name, rules: base_rules(), add: &frame },
            Chain { name: DROP_INVALID.name, rules: invalid::base_rules(), add: &invalid::frame },
            Chain {
                name: &chain,
                rules: shared.rules(rule::masquerade()),
                add: &|batch| shared.add(batch, &chain),
            },
            Chain {
                name: &invalid,
                rules: shared.rules(rule::drop_all()),
                add: &|batch| shared.add(batch, &invalid),
            },
        ];
        let made = self.put(INET, &m.elements(&id), &chains)?;
        // Where both base chains were missing there are no pods of an older release.
        let older = made.contains(&DROP_INVALID.name) && !made.contains(&MASQ.name);
        if older { self.adopt_older() } else { Ok(()) }
    }

    /// What is not as [`Self::add_masquerade`] would make it, in words; empty: nothing.
    ///
    /// # Errors
    /// As the kernel reports them; a missing object is a difference and no error.
    pub fn check_masquerade(&mut self, m: &Masquerade) -> Result<Vec<String>> {
        m.check()?;
        let mut differences = match self.table(INET)? {
            None => return Ok(vec![format!("table {} is missing", INET.title)]),
            Some(state) if state.dormant => vec![format!("table {} is dormant", INET.title)],
            Some(_) => Vec::new(),
        };
        let shared = m.shared();
        let (id, comment) = (shared.id(), shared.comment());
        let (chain, invalid) = (chain_name(&id), invalid::chain_name(&id));
        let rules = [
            base_rules(),
            shared.rules(rule::masquerade()),
            invalid::base_rules(),
            shared.rules(rule::drop_all()),
        ];
        let [base, masquerade, invalid_base, drop] = &rules;
        let wanted = [
            WantedChain::Base(&MASQ, base),
            WantedChain::Regular(&chain, &comment, masquerade),
            WantedChain::Base(&DROP_INVALID, invalid_base),
            WantedChain::Regular(&invalid, &comment, drop),
        ];
        let [element, invalid_element] = m.elements(&id);
        let mut chains = self.chain_differences(INET, &wanted)?;
        let of_invalid = chains.split_off(2).concat();
        differences.extend(chains.concat());
        differences.extend(self.exclude_differences(&shared, &exclude_name(&id))?);
        differences.extend(self.element_differences(INET, &element)?);
        // Before this release there was nothing of the kind, until the first ADD.
        if of_invalid.len() < 2 || self.set(INET, &invalid_element.set)?.is_some() {
            differences.extend(of_invalid);
            differences.extend(self.element_differences(INET, &invalid_element)?);
        }
        Ok(differences)
    }

    fn exclude_differences(&mut self, shared: &Shared, name: &str) -> Result<Vec<String>> {
        let Some(set) = shared.exclude_set(name) else { return Ok(Vec::new()) };
        let title = format!("set {name} of table {}", INET.title);
        let wanted = spans(Ip::of(shared.subnet), shared.exclude.iter());
        let mut found = None;
        for _ in 0..GENERATIONS {
            let before = self.generation()?;
            if self.set(INET, &set)?.is_none() {
                return Ok(vec![format!("{title} is missing")]);
            }
            found = read(&set, self.all_elements(INET, &set)?);
            if found.as_ref() == Some(&wanted) || self.generation()? == before {
                break;
            }
        }
        let list: Vec<String> = shared.exclude.iter().map(IpNetwork::to_string).collect();
        let same = found == Some(wanted);
        Ok(if same { Vec::new() } else { vec![format!("{title} is not {}", list.join(", "))] })
    }

    /// Every masqueraded address, and its comment. An address may be there with two comments, as
    /// another release's DEL leaves what it does not know.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn masquerades(&mut self) -> Result<Marked<IpAddr>> {
        self.marked_elements(INET, &[MASQ4, MASQ6, INVALID4, INVALID6], address)
    }

    /// Ends what [`Self::add_masquerade`] began, if the elements of that address carry this
    /// comment; another's are left alone, and ones that are gone are success. The last one takes
    /// its subnet's chains, and the last of all takes the table, unless route-sync keeps
    /// cluster CIDRs in it. Says whether an element was there: if not, an earlier call may have
    /// been ended after it, and [`Self::del_unused`] removes the rest.
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone" and "still in use".
    pub fn del_masquerade(&mut self, address: IpAddr, comment: &str) -> Result<bool> {
        let comment = comment::fit(comment);
        let [map, invalid] = maps(address);
        let key = key(address);
        let mut together = true;
        let chain = self.at_generation(|nft, generation| {
            let mut ours = |set| {
                let found = nft.element(INET, set, &key)?;
                Ok::<_, Error>(found.filter(|e| e.comment.as_deref() == Some(&comment)))
            };
            let element = ours(&map)?;
            // Both were added in one batch; but a release before this one knows the first alone.
            let assumed = std::mem::take(&mut together) && element.is_some();
            let other = if assumed { None } else { ours(&invalid)? };
            let mut batch = Batch::new(INET);
            if element.is_some() {
                batch.del_element(&map, &key);
            }
            if assumed || other.is_some() {
                batch.del_element(&invalid, &key);
            }
            let Some(found) = element.or(other) else { return Ok(None) };
            match nft.socket.commit(&batch, generation) {
                Err(e) if assumed && e.is_gone() => return Err(e.outdated()),
                Err(e) if !(e.is_busy() || e.is_gone()) => return Err(e),
                _ => {}
            }
            Ok(found.chain().map(str::to_owned))
        })?;
        let Some(chain) = chain else { return Ok(false) };
        if let Some(id) = shared_id(&chain)
            && self.del_unused_chains(id, address.is_ipv4())?
        {
            self.del_unused_frame()?;
        }
        Ok(true)
    }

    /// Removes chains that nothing jumps to, and the table if nothing else is in it.
    pub(crate) fn del_unused_masquerade(&mut self) -> Result<()> {
        if self.table(INET)?.is_none() {
            return Ok(());
        }
        let mut chains = self.chains(INET, MASQ_PREFIX)?;
        chains.extend(self.chains(INET, INVALID_PREFIX)?);
        let ids: BTreeSet<&str> = chains.iter().filter_map(|chain| shared_id(chain)).collect();
        for id in ids {
            // The set's keys make no difference to its name.
            self.del_unused_chains(id, true)?;
        }
        self.del_unused_frame()
    }

    /// Removes the table with what every masquerade needs, if nothing else is in it.
    pub(crate) fn del_unused_frame(&mut self) -> Result<()> {
        self.del_empty_frame(INET, &MASQ_BASES, &MASQ_SETS)
    }

    /// Deletes the chains of a subnet and their set unless something jumps to one; whether they
    /// are gone.
    fn del_unused_chains(&mut self, id: &str, v4: bool) -> Result<bool> {
        let (chain, invalid, name) = (chain_name(id), invalid::chain_name(id), exclude_name(id));
        let exclude = exclude_set(&name, v4);
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(INET);
            let mut has_set = false;
            for chain in [&chain, &invalid] {
                let Some(state) = nft.chain(INET, chain)? else { continue };
                let comment = state.comment.unwrap_or_default();
                let excepts = comment.split(' ').nth(1) == Some(EXCEPT.trim_start());
                if state.uses > CHAIN_RULES + u32::from(excepts) {
                    return Ok(false);
                }
                batch.del_chain(chain);
                has_set |= excepts;
            }
            if has_set {
                batch.del_set(&exclude);
            }
            if batch.steps().is_empty() {
                return Ok(true);
            }
            nft.commit_removal(&batch, generation)
        })
    }
}

/// The ID in the name of one of a subnet's chains.
fn shared_id(chain: &str) -> Option<&str> {
    chain.strip_prefix(MASQ_PREFIX).or_else(|| chain.strip_prefix(INVALID_PREFIX))
}

#[cfg(test)]
mod tests;
