//! Pods that are not decided on yet: their packets are dropped until the daemon puts its own element in
//! the place of the held one, or removes it.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_netfilter::nftables::{DataAttribute, NfTablesMessage, SetElementAttribute};

use super::Family;
use super::chains;
use super::frame::{FAMILIES, FORWARD, POLICY, names};
use super::keys;
use super::make;
use super::maps::{attachment_of, element};
use crate::Nft;
use crate::kernel::answer::{Answer, ElementState};
use crate::kernel::batch::{Batch, elements};
use crate::kernel::error::Result;
use crate::kernel::query::Marked;
use crate::kernel::set::{Element, Set};

/// A pod's address that nothing may send to or from through the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policed {
    /// The address.
    pub address: IpAddr,
    /// Whose it is; cut to [`crate::COMMENT_MAX`] bytes by [`crate::fit`]. Its second word is the
    /// attachment's key.
    pub comment: String,
}

impl Policed {
    fn elements(&self) -> [Element; 2] {
        let names = names(Family::of(self.address));
        [names.ingress, names.egress]
            .map(|map| element(map, self.address, names.held, &self.comment))
    }
}

fn of_both(address: IpAddr) -> [Set<'static>; 2] {
    let names = names(Family::of(address));
    [names.ingress, names.egress]
}

impl Nft {
    /// Holds an address back, in one batch; what was decided on an earlier pod with the address ends.
    /// Makes the table where it is missing.
    ///
    /// # Errors
    /// [`crate::Error::is_unsupported`] on a kernel without nf_tables or one of the expressions; as the
    /// kernel reports them.
    pub fn hold(&mut self, held: &Policed) -> Result<()> {
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(POLICY);
            let whole = nft.has_policy_frame()?;
            if !whole {
                if nft.table(POLICY)?.is_some_and(|state| state.dormant) {
                    batch.wake_table();
                }
                make::add(&mut batch);
            }
            for wanted in held.elements() {
                let found = match whole {
                    true => nft.element(POLICY, &wanted.set, &wanted.key)?,
                    // What is left of the table may have it.
                    false => nft.element_if_any(&wanted)?,
                };
                match found {
                    Some(found) if found.is(&wanted) => continue,
                    Some(_) => batch.del_element(&wanted.set, &wanted.key),
                    None => {}
                }
                batch.add_element(&wanted);
            }
            if batch.steps().is_empty() {
                return Ok(());
            }
            nft.socket.commit(&batch, generation)
        })
    }

    fn element_if_any(&mut self, wanted: &Element) -> Result<Option<ElementState>> {
        match self.set(POLICY, &wanted.set)? {
            Some(_) => self.element(POLICY, &wanted.set, &wanted.key),
            None => Ok(None),
        }
    }

    /// Whether a packet of a held address would be dropped: the chains on its way have as many rules as
    /// they should. A chain's users are its rules and what leads to it, which of `held4` are elements.
    fn has_policy_frame(&mut self) -> Result<bool> {
        if self.table(POLICY)?.is_none_or(|state| state.dormant) {
            return Ok(false);
        }
        let forward = (FORWARD.name, chains::forward().len());
        let ways = FAMILIES.into_iter().flat_map(|family| {
            let names = names(family);
            let led_to = 1;
            [
                (names.new, chains::new(family).len() + led_to),
                (names.denied, chains::denied(family).len() + led_to),
            ]
        });
        for (name, users) in [forward].into_iter().chain(ways) {
            let state = self.chain(POLICY, name)?;
            if state.is_none_or(|state| (state.uses as usize) < users) {
                return Ok(false);
            }
        }
        for family in FAMILIES {
            if self.rules(POLICY, names(family).held)?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until the daemon decided on all of these addresses, woken by the kernel's notifications;
    /// whether it did within `patience`.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn wait_decided(&mut self, held: &[Policed], patience: Duration) -> Result<bool> {
        let what = "see what policies say of the pod";
        let elements_of = |held: &Policed| held.elements();
        let questions: Vec<_> = held
            .iter()
            .flat_map(elements_of)
            .map(|wanted| {
                let key = SetElementAttribute::Key(DataAttribute::Value(wanted.key));
                let question = elements(POLICY, wanted.set.name, vec![key]);
                NfTablesMessage::GetSetElement(question)
            })
            .collect();
        let chains = [names(Family::V4).held, names(Family::V6).held];
        let waits = |answer: &Answer| match answer {
            Answer::Elements(found) => {
                found.iter().any(|found| found.chain().is_some_and(|chain| chains.contains(&chain)))
            }
            _ => false,
        };
        self.socket.wait_until_none(what, POLICY.family, &questions, patience, waits)
    }

    /// Removes what is decided on an address, if it carries the attachment's key, held or not. Whether
    /// something was there.
    ///
    /// # Errors
    /// As the kernel reports them, but for "gone".
    pub fn release(&mut self, address: IpAddr, mark: &str) -> Result<bool> {
        let key = keys::address(address);
        self.at_generation(|nft, generation| {
            let mut batch = Batch::new(POLICY);
            for map in of_both(address) {
                let found = nft.element(POLICY, &map, &key)?.and_then(|found| found.comment);
                let owner = found.as_deref().and_then(attachment_of);
                if owner.is_some() && owner == attachment_of(mark) {
                    batch.del_element(&map, &key);
                }
            }
            if batch.steps().is_empty() {
                return Ok(false);
            }
            let (own, pair) = (names(Family::of(address)).own, keys::pair(address, address));
            if nft.element(POLICY, &own, &pair)?.is_some() {
                batch.del_element(&own, &pair);
            }
            nft.commit_removal(&batch, generation)
        })
    }

    /// Every address with an element, and its comment.
    ///
    /// # Errors
    /// As the kernel reports them.
    pub fn policed(&mut self) -> Result<Marked<IpAddr>> {
        let maps = FAMILIES.map(|family| [names(family).ingress, names(family).egress]).concat();
        self.marked_elements(POLICY, &maps, keys::read_address)
    }
}
