//! ingressPolicy: bridges that do not talk to each other, or not even within themselves.
//!
//! A bridge is closed while it has an address with a policy: the chains `closed-…` (isolated) and
//! `same-…` (same-bridge) of the bridge exist, and the kernel counts the addresses that lead to them.
//! A drop needs no rule in other programs' chains: it counts whatever they accept.

use crate::Nft;
use crate::kernel::batch::Batch;
use crate::kernel::comment;
use crate::kernel::error::{Error, Result};
use crate::kernel::set::{Element, Set, name_key};
use crate::rules::tables::{CLOSED_BRIDGES, INET, SAME_BRIDGE};

/// How the names of the chains begin.
pub(super) const CLOSED: &str = "closed-";
pub(super) const SAME: &str = "same-";

/// Which packets between bridges are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// The bridge's name, 1 to 15 bytes.
    pub bridge: String,
    /// Nothing passes from the bridge to itself either.
    pub isolated: bool,
}

impl Isolation {
    pub(super) fn chain(&self) -> String {
        chain(self.isolated, &self.bridge)
    }
}

/// A chain's name may hold more than an interface's, and no `/`: its bytes in hexadecimal.
fn chain(isolated: bool, bridge: &str) -> String {
    let hex: String = bridge.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{}{hex}", if isolated { CLOSED } else { SAME })
}

/// A bridge's elements: that it has a policy, and that its own may talk.
fn elements(bridge: &str) -> Result<[Element; 2]> {
    let Some(key) = name_key(bridge) else {
        return Err(Error::Invalid(format!("{bridge:?} is no name of a bridge")));
    };
    let both = [&key[..], &key].concat();
    let element = |set, key, title: String| Element {
        set,
        key,
        title,
        data: None,
        comment: comment::fit(bridge),
    };
    Ok([
        element(CLOSED_BRIDGES, key, bridge.to_owned()),
        element(SAME_BRIDGE, both, format!("{bridge} . {bridge}")),
    ])
}

impl Nft {
    /// Adds to the batch that a bridge has this policy.
    pub(super) fn isolate(&mut self, batch: &mut Batch, isolation: &Isolation) -> Result<()> {
        let isolated =
            isolation.isolated || self.chain(INET, &chain(true, &isolation.bridge))?.is_some();
        self.set_policy(batch, &isolation.bridge, true, !isolated)
    }

    /// Adds to the batch what follows from the end of one of a bridge's chains.
    pub(super) fn reopen(&mut self, batch: &mut Batch, ended: &str, bridge: &str) -> Result<()> {
        let mut remains = |isolated| {
            let name = chain(isolated, bridge);
            Ok::<_, Error>(name != ended && self.chain(INET, &name)?.is_some())
        };
        let (isolated, same) = (remains(true)?, remains(false)?);
        self.set_policy(batch, bridge, isolated || same, same && !isolated)
    }

    fn set_policy(
        &mut self,
        batch: &mut Batch,
        bridge: &str,
        closed: bool,
        same: bool,
    ) -> Result<()> {
        let [of_closed, of_same] = elements(bridge)?;
        for (element, wanted) in [(of_closed, closed), (of_same, same)] {
            match (self.element(INET, &element.set, &element.key)?, wanted) {
                (None, true) => batch.add_element(&element),
                (Some(_), false) => batch.del_element(&element.set, &element.key),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn isolation_differences(
        &mut self,
        isolation: Option<&Isolation>,
    ) -> Result<Vec<String>> {
        let Some(isolation) = isolation else { return Ok(Vec::new()) };
        let [closed, same] = elements(&isolation.bridge)?;
        let mut differences = self.element_differences(INET, &closed)?;
        let isolated =
            isolation.isolated || self.chain(INET, &chain(true, &isolation.bridge))?.is_some();
        let found = self.element(INET, &SAME_BRIDGE, &same.key)?;
        match found {
            Some(_) if isolated => {
                let set: Set<'_> = SAME_BRIDGE;
                let title = &same.title;
                let (name, table) = (set.name, INET.title);
                differences.push(format!(
                    "element {title} of {name} in table {table} lets the isolated talk"
                ));
            }
            None if !isolated => differences.extend(self.element_differences(INET, &same)?),
            _ => {}
        }
        Ok(differences)
    }
}
