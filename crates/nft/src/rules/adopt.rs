//! Pods of releases without the maps of [`super::invalid`] get their elements in them.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use crate::Nft;
use crate::kernel::answer::ElementState;
use crate::kernel::batch::Batch;
use crate::kernel::error::Result;
use crate::kernel::set::{Data, Element, Set, Verdict};
use crate::rules::invalid::chain_name;
use crate::rules::masquerade::{Shared, address};
use crate::rules::rule;
use crate::rules::tables::{INET, INVALID_PREFIX, INVALID4, INVALID6, MASQ_PREFIX, MASQ4, MASQ6};

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
