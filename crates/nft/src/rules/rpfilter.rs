//! Reverse path filter: what comes in by a pod's link has a source that the way back to leads out
//! by that same link (RFC 3704 section 2.2), both families. IPv6 has no sysctl for it, and IPv4's
//! has no effect where that of `all` is 2.
//!
//! ```text
//! table inet ferrule {
//!     set rpfilter-links { type ifname; }                     "veth0" comment "…"
//!     chain rpfilter {
//!         type filter hook prerouting priority raw; policy accept;
//!         iifname @rpfilter-links fib saddr . iif oif missing drop
//!     }
//! }
//! ```

use netlink_packet_netfilter::nftables::{MetaKey, Register};

use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::change::Chain;
use crate::kernel::comment;
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::{self, Rule};
use crate::kernel::query::{Marked, WantedChain};
use crate::kernel::set::{Element, key_name, name_key};
use crate::rules::tables::{INET, RPFILTER, RPFILTER_LINKS};

/// One link by which only sources come in that are routed to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rpfilter {
    /// The name of the link on the host's side, 1 to 15 bytes.
    pub link: String,
    /// Whose it is; cut to [`crate::COMMENT_MAX`] bytes by [`crate::fit`].
    pub comment: String,
}

fn element(link: &str, comment: &str) -> Result<Element> {
    let Some(key) = name_key(link) else {
        return Err(Error::Invalid(format!("rpfilter: {link:?} is no interface name")));
    };
    let (title, comment) = (link.to_owned(), comment::fit(comment));
    Ok(Element { set: RPFILTER_LINKS, key, title, data: None, comment })
}

/// `iifname @rpfilter-links fib saddr . iif oif missing drop`
fn drop_of_links_not_routed_back() -> Rule {
    let mut rule = vec![
        expr::meta(MetaKey::Iifname, Register::Reg1),
        expr::lookup(RPFILTER_LINKS.name, Register::Reg1, false),
    ];
    rule.extend(expr::drop_not_routed_back());
    rule
}

fn base_rules() -> Vec<Rule> {
    vec![drop_of_links_not_routed_back()]
}

fn frame(batch: &mut Batch) {
    batch.add_table();
    batch.add_base_chain(&RPFILTER);
    batch.add_set(&RPFILTER_LINKS);
}

impl Nft {
    /// Drops what comes in by the link from a source that is not routed to it. Idempotent, as
    /// [`Self::add_masquerade`] is. Says whether the rule had to be made: where there are other such
    /// links, another program removed their elements with it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a link that is no interface name; [`Error::is_unsupported`] on a
    /// kernel without nf_tables or its fib expression (CONFIG_NFT_FIB_INET); EEXIST or EOPNOTSUPP
    /// when table `inet ferrule` holds something of our names that is not like ours.
    pub fn add_rpfilter(&mut self, r: &Rpfilter) -> Result<bool> {
        let element = element(&r.link, &r.comment)?;
        let base = Chain { name: RPFILTER.name, rules: base_rules(), add: &frame };
        Ok(!self.put(INET, &[element], &[base])?.is_empty())
    }

    /// What is not as [`Self::add_rpfilter`] would make it, in words; empty: nothing.
    ///
    /// # Errors
    /// As the kernel reports them; a missing object is a difference and no error.
    pub fn check_rpfilter(&mut self, r: &Rpfilter) -> Result<Vec<String>> {
        let element = element(&r.link, &r.comment)?;
        let mut differences = match self.table(INET)? {
            None => return Ok(vec![format!("table {} is missing", INET.title)]),
            Some(state) if state.dormant => vec![format!("table {} is dormant", INET.title)],
            Some(_) => Vec::new(),
        };
        let rules = base_rules();
        let base = [WantedChain::Base(&RPFILTER, &rules)];
        differences.extend(self.chain_differences(INET, &base)?.concat());
        differences.extend(self.element_differences(INET, &element)?);
        Ok(differences)
    }

    /// Every element: its link, and its comment.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn rpfilters(&mut self) -> Result<Marked<String>> {
        self.marked_elements(INET, &[RPFILTER_LINKS], |key| Some(key_name(key)))
    }

    /// Ends what [`Self::add_rpfilter`] began, if the element carries this comment; another's is
    /// left alone, and gone is success. The last one takes chain and set, and the last of all the
    /// table.
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone" and "still in use".
    pub fn del_rpfilter(&mut self, link: &str, comment: &str) -> Result<()> {
        let wanted = element(link, comment)?;
        self.at_generation(|nft, generation| {
            let found = nft.element(INET, &RPFILTER_LINKS, &wanted.key)?;
            if !found.is_some_and(|found| found.is(&wanted)) {
                return Ok(false);
            }
            let mut batch = Batch::new(INET);
            batch.del_element(&RPFILTER_LINKS, &wanted.key);
            nft.commit_removal(&batch, generation)
        })?;
        self.del_unused_rpfilter()
    }

    /// Removes chain and set if the set is empty, and then the table if nothing else is in it,
    /// also where an earlier call was ended before. The kernel decides: a set with elements is
    /// EBUSY.
    pub(crate) fn del_unused_rpfilter(&mut self) -> Result<()> {
        let unused = self.at_generation(|nft, generation| {
            let set = nft.has_elements(INET, &RPFILTER_LINKS)?;
            if set == Some(true) {
                return Ok(false);
            }
            let chain = nft.chain(INET, RPFILTER.name)?;
            if set.is_none() && chain.is_none() {
                return Ok(true);
            }
            let mut batch = Batch::new(INET);
            if chain.is_some() {
                batch.del_chain(RPFILTER.name);
            }
            if set.is_some() {
                batch.del_empty_set(&RPFILTER_LINKS);
            }
            nft.commit_removal(&batch, generation)
        })?;
        if unused { self.del_unused_frame() } else { Ok(()) }
    }
}
