//! Firewall: forwarded packets of a pod pass although another program's base chain drops what it
//! does not accept.
//!
//! nf_tables sends a packet through every base chain of the hook, whatever another one accepted. So
//! a rule in each chain that denies by default must accept it; see [`forward`]. That is one rule for
//! all pods: it asks for a bit of the packet's mark, which is set here and taken away again once all
//! others have decided. Whose address is an element has the bit: as the source, and as the
//! destination of an answer or of what a host port or Service led to it.
//!
//! ```text
//! table inet ferrule {
//!     map firewall4 { type ipv4_addr : verdict; }             10.1.0.5 comment "…" : jump firewall-open
//!     map firewall6 { type ipv6_addr : verdict; }
//!     set closed-bridges { type ifname; }                     see isolation.rs
//!     set same-bridge { type ifname . ifname; }
//!     chain firewall-open { meta mark set meta mark | 0x00001000 }
//!     chain firewall {
//!         type filter hook forward priority -10000; policy accept;
//!         iifname @closed-bridges oifname @closed-bridges iifname . oifname != @same-bridge drop
//!         ip saddr vmap @firewall4
//!         ip6 saddr vmap @firewall6
//!         ct state established,related ip daddr vmap @firewall4
//!         ct state established,related ip6 daddr vmap @firewall6
//!         ct status dnat ip daddr vmap @firewall4
//!         ct status dnat ip6 daddr vmap @firewall6
//!     }
//!     chain firewall-end {
//!         type filter hook forward priority 10000; policy accept;
//!         meta mark set meta mark & 0xffffefff
//!     }
//! }
//! ```

mod forward;
mod isolation;
mod marks;
mod reference;

use std::net::IpAddr;

use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::change::Chain;
use crate::kernel::comment;
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::Ip;
use crate::kernel::query::{Marked, WantedChain};
use crate::kernel::set::{Data, Element, Set, Verdict};
use crate::rules::masquerade::{address, key};
use crate::rules::tables::{FIREWALL, FIREWALL_END, FIREWALL_SETS, FIREWALL4, FIREWALL6, INET};
use forward::Form;
pub use isolation::Isolation;
pub use marks::ACCEPT as ACCEPT_MARK;

/// A pod's address whose forwarded packets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The address.
    pub address: IpAddr,
    /// Which bridges its own may not talk to, if any.
    pub isolation: Option<Isolation>,
    /// The name of the chain in iptables' table `filter` that is asked first, 1 to 28 bytes.
    pub admin: String,
    /// Whose it is; cut to [`crate::COMMENT_MAX`] bytes by [`crate::fit`].
    pub comment: String,
}

/// The chain of addresses without isolation.
const OPEN: &str = "firewall-open";

/// A chain of addresses has one rule, which counts among its uses.
const CHAIN_RULES: u32 = 1;

impl Forwarded {
    fn chain(&self) -> String {
        self.isolation.as_ref().map_or_else(|| OPEN.to_owned(), Isolation::chain)
    }

    /// The comment of that chain.
    fn chain_comment(&self) -> &str {
        self.isolation.as_ref().map_or("no ingressPolicy", |isolation| &isolation.bridge)
    }

    fn element(&self) -> Element {
        Element {
            set: map(self.address),
            key: key(self.address),
            title: self.address.to_string(),
            data: Some(Data::Verdict(Verdict::Jump(self.chain()))),
            comment: comment::fit(&self.comment),
        }
    }

    fn ip(&self) -> Ip {
        Ip::of(self.address.into())
    }
}

fn map(address: IpAddr) -> Set<'static> {
    match address {
        IpAddr::V4(_) => FIREWALL4,
        IpAddr::V6(_) => FIREWALL6,
    }
}

fn frame(batch: &mut Batch) {
    batch.add_table();
    batch.add_base_chain(&FIREWALL);
    batch.add_base_chain(&FIREWALL_END);
    for set in &FIREWALL_SETS {
        batch.add_set(set);
    }
}

impl Nft {
    /// Lets the forwarded packets of an address pass, in this table and in the chains of others that
    /// deny by default. Idempotent, as [`Self::add_masquerade`] is; one batch.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no name of a bridge, and where a chain denies by default that
    /// only its owner may change; else as [`Self::add_masquerade`].
    pub fn add_forwarded(&mut self, f: &Forwarded) -> Result<()> {
        match self.add_forwarded_as(f, Form::Iptables) {
            // A kernel without iptables' extensions (CONFIG_NFT_COMPAT) has no iptables-nft either.
            Err(error) if error.is_gone() || error.is_unsupported() => {
                self.add_forwarded_as(f, Form::Native)
            }
            done => done,
        }
    }

    fn add_forwarded_as(&mut self, f: &Forwarded, form: Form) -> Result<()> {
        let name = f.chain();
        let chains = [
            Chain { name: FIREWALL.name, rules: marks::base_rules(), add: &frame },
            Chain { name: FIREWALL_END.name, rules: marks::end_rules(), add: &frame },
            Chain {
                name: &name,
                rules: marks::of_pods(),
                add: &|batch| batch.add_chain(&name, f.chain_comment()),
            },
        ];
        let mut more = |nft: &mut Nft, batch: &mut Batch| {
            if let Some(isolation) = &f.isolation {
                nft.isolate(batch, isolation)?;
            }
            let wrong = nft.forward_differences(batch, f.ip(), &f.admin, form)?;
            wrong.refused.map_or(Ok(()), |refused| Err(Error::Invalid(refused)))
        };
        self.put_with(INET, &[f.element()], &chains, &mut more).map(drop)
    }

    /// What is not as [`Self::add_forwarded`] would make it, in words; empty: nothing.
    ///
    /// # Errors
    /// As the kernel reports them; a missing object is a difference and no error.
    pub fn check_forwarded(&mut self, f: &Forwarded) -> Result<Vec<String>> {
        let mut differences = match self.table(INET)? {
            None => vec![format!("table {} is missing", INET.title)],
            Some(state) if state.dormant => vec![format!("table {} is dormant", INET.title)],
            Some(_) => Vec::new(),
        };
        if differences.is_empty() {
            let (base, end, of_pods) = (marks::base_rules(), marks::end_rules(), marks::of_pods());
            let name = f.chain();
            let wanted = [
                WantedChain::Base(&FIREWALL, &base),
                WantedChain::Base(&FIREWALL_END, &end),
                WantedChain::Regular(&name, f.chain_comment(), &of_pods),
            ];
            differences.extend(self.chain_differences(INET, &wanted)?.concat());
            differences.extend(self.element_differences(INET, &f.element())?);
            differences.extend(self.isolation_differences(f.isolation.as_ref())?);
        }
        let forward = self.consistent(|nft| {
            let mut unsent = Batch::new(INET);
            nft.forward_differences(&mut unsent, f.ip(), &f.admin, Form::Iptables)
        })?;
        differences.extend(forward.differences);
        differences.extend(forward.refused);
        Ok(differences)
    }

    /// Every element: its address, and its comment.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn forwarded(&mut self) -> Result<Marked<IpAddr>> {
        self.marked_elements(INET, &[FIREWALL4, FIREWALL6], address)
    }

    /// Ends what [`Self::add_forwarded`] began, if the element of that address carries this comment;
    /// another's is left alone, and one that is gone is success. The last one takes all of it, the
    /// rules in other programs' chains too; the administrator's chain stays. Says whether the
    /// element was there.
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone" and "still in use".
    pub fn del_forwarded(&mut self, address: IpAddr, comment: &str) -> Result<bool> {
        let comment = comment::fit(comment);
        let (map, key) = (map(address), key(address));
        let chain = self.at_generation(|nft, generation| {
            let found = nft.element(INET, &map, &key)?;
            let Some(found) = found.filter(|e| e.comment.as_deref() == Some(&comment)) else {
                return Ok(None);
            };
            let mut batch = Batch::new(INET);
            batch.del_element(&map, &key);
            nft.commit_removal(&batch, generation)?;
            Ok(Some(found.chain().unwrap_or_default().to_owned()))
        })?;
        let Some(chain) = chain else { return Ok(false) };
        if self.del_unused_firewall_chain(&chain)? {
            self.del_unused_firewall_frame()?;
        }
        Ok(true)
    }

    /// Removes a chain of addresses that none leads to; whether it is gone.
    fn del_unused_firewall_chain(&mut self, chain: &str) -> Result<bool> {
        self.at_generation(|nft, generation| {
            let Some(state) = nft.chain(INET, chain)? else { return Ok(true) };
            if state.uses > CHAIN_RULES {
                return Ok(false);
            }
            let mut batch = Batch::new(INET);
            batch.del_chain(chain);
            if chain != OPEN {
                nft.reopen(&mut batch, chain, &state.comment.unwrap_or_default())?;
            }
            nft.commit_removal(&batch, generation)
        })
    }

    /// Removes what has no element any more, in our table and in others'.
    pub(crate) fn del_unused_firewall(&mut self) -> Result<()> {
        let mut chains = vec![OPEN.to_owned()];
        chains.extend(self.chains(INET, isolation::CLOSED)?);
        chains.extend(self.chains(INET, isolation::SAME)?);
        for chain in chains {
            self.del_unused_firewall_chain(&chain)?;
        }
        self.del_unused_firewall_frame()
    }

    /// Removes base chains, sets and the rules in other programs' chains if no address is left. The
    /// kernel decides: a map with elements is EBUSY.
    fn del_unused_firewall_frame(&mut self) -> Result<()> {
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(INET);
            for base in [FIREWALL, FIREWALL_END] {
                if nft.chain(INET, base.name)?.is_some() {
                    batch.del_chain(base.name);
                }
            }
            for set in &FIREWALL_SETS {
                match nft.has_elements(INET, set)? {
                    Some(true) => return Ok(false),
                    Some(false) => batch.del_empty_set(set),
                    None => {}
                }
            }
            nft.del_forward_rules(&mut batch)?;
            if batch.steps().is_empty() {
                return Ok(false);
            }
            nft.commit_removal(&batch, generation)
        })?;
        self.del_unused_frame()
    }
}
