//! What the kernel holds of the table, as far as a comparison needs it.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_netfilter::nftables::{ChainMessage, NfTablesMessage, SetAttribute, SetMessage};

use super::SetId;
use super::chains;
use super::frame::{FORWARD, POLICY};
use super::make;
use crate::Nft;
use crate::kernel::answer::{Answer, ElementState};
use crate::kernel::error::Result;
use crate::kernel::expr::Rule;
use crate::kernel::query::{TableRules, WantedChain};
use crate::kernel::raw::same;
use crate::kernel::set::{Set, Span};
use crate::rules::spans;

/// The table as the kernel has it; the default is that it is not there.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) present: bool,
    pub(crate) dormant: bool,
    /// Whether all that does not depend on policies is as it should be.
    pub(crate) framed: bool,
    chains: BTreeSet<String>,
    rules: TableRules,
    sets: BTreeSet<String>,
}

/// How a chain differs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Differs {
    No,
    Missing,
    Rules,
}

impl Found {
    pub(crate) fn has_set(&self, name: &str) -> bool {
        self.sets.contains(name)
    }

    pub(crate) fn chain(&self, name: &str, wanted: &[Rule]) -> Differs {
        let found = self.rules.of(name);
        let same = || found.iter().zip(wanted).all(|(found, wanted)| same(wanted, found));
        match self.chains.contains(name) {
            false => Differs::Missing,
            true if found.len() == wanted.len() && same() => Differs::No,
            true => Differs::Rules,
        }
    }

    /// The chains that are neither of the frame nor wanted.
    pub(crate) fn other_chains(&self, wanted: &BTreeMap<String, Vec<Rule>>) -> Vec<String> {
        let regular = make::regular();
        let of_frame =
            |name: &str| name == FORWARD.name || regular.iter().any(|(known, _)| *known == name);
        let other = |name: &&String| !of_frame(name) && !wanted.contains_key(*name);
        self.chains.iter().filter(other).cloned().collect()
    }

    /// The sets that are neither of the frame nor wanted.
    pub(crate) fn other_sets(&self, wanted: &BTreeSet<String>) -> Vec<String> {
        let of_frame = |name: &str| make::sets().any(|set| set.name == name);
        let other = |name: &&String| !of_frame(name) && !wanted.contains(*name);
        self.sets.iter().filter(other).cloned().collect()
    }
}

impl Nft {
    /// Looks at the table. Dumps: they count only if the generation is the same afterwards.
    pub(crate) fn find_policies(&mut self) -> Result<Found> {
        let Some(state) = self.table(POLICY)? else { return Ok(Found::default()) };
        let mut found = Found {
            present: true,
            dormant: state.dormant,
            chains: self.policy_chains()?,
            rules: self.table_rules(POLICY)?,
            sets: self.policy_sets()?,
            framed: false,
        };
        let forward = chains::forward();
        let base = [WantedChain::Base(&FORWARD, &forward)];
        found.framed = make::sets().all(|set| found.has_set(set.name))
            && make::regular().iter().all(|(name, rules)| found.chain(name, rules) == Differs::No)
            && self.chain_differences(POLICY, &base)?.concat().is_empty();
        Ok(found)
    }

    fn policy_chains(&mut self) -> Result<BTreeSet<String>> {
        let what = format!("list the chains of table {}", POLICY.title);
        let question = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
        let dump = self.socket.dump(&what, POLICY.family, question)?.into_iter();
        let name = |answer| match answer {
            // The kernel dumps those of other tables too (nf_tables_dump_chains).
            Answer::Chain(state) if state.table == POLICY.name => state.name,
            _ => None,
        };
        Ok(dump.filter_map(name).collect())
    }

    fn policy_sets(&mut self) -> Result<BTreeSet<String>> {
        let what = format!("list the sets of table {}", POLICY.title);
        let attributes = vec![SetAttribute::Table(POLICY.name.to_owned())];
        let question = NfTablesMessage::GetSet(SetMessage { attributes });
        let dump = self.socket.dump(&what, POLICY.family, question)?.into_iter();
        let name = |answer| match answer {
            Answer::Set { name, .. } => Some(name),
            _ => None,
        };
        Ok(dump.filter_map(name).collect())
    }

    /// The members of a set; `None` where they are no such thing as ours are.
    pub(crate) fn members(&mut self, set: &Set<'_>) -> Result<Option<BTreeSet<Span>>> {
        let found = self.all_elements(POLICY, set)?;
        if !set.has_intervals() || !set.key.is_concatenation() {
            return Ok(spans::read(set, found));
        }
        let box_of = |found: ElementState| Some(Span { first: found.key?, end: Some(found.last?) });
        Ok(found.into_iter().map(box_of).collect())
    }

    /// As [`Self::members`], of one of the sets that profiles refer to.
    pub(crate) fn members_of(&mut self, id: SetId) -> Result<Option<BTreeSet<Span>>> {
        let name = id.name();
        self.members(&id.set(&name))
    }
}
