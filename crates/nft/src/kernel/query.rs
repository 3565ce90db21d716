//! Questions to the kernel about one object of a table of ours, always by name or key.

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, GenMessage, NfTablesMessage, RuleAttribute,
    RuleMessage, SetAttribute, SetElementAttribute, SetElementList, SetElementMessage, SetMessage,
    TableAttribute, TableMessage,
};

use std::collections::BTreeMap;

use crate::Nft;
use crate::kernel::answer::{Answer, ChainState, ElementState, FoundRule, TableState};
use crate::kernel::batch::{BaseChain, POLICY_ACCEPT, Table, elements};
use crate::kernel::comment;
use crate::kernel::error::{Error, Result};
use crate::kernel::expr::Rule;
use crate::kernel::raw::same;
use crate::kernel::set::{Data, Element, Set};

/// The expressions of each rule, by the name of its chain.
#[derive(Debug, Default)]
pub(crate) struct TableRules(BTreeMap<String, Vec<Vec<u8>>>);

impl TableRules {
    /// The rules of a chain; none when it does not exist.
    pub(crate) fn of(&self, chain: &str) -> &[Vec<u8>] {
        self.0.get(chain).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A chain as it should be.
pub(crate) enum WantedChain<'a> {
    Base(&'a BaseChain, &'a [Rule]),
    /// Its name, its comment and its rules.
    Regular(&'a str, &'a str, &'a [Rule]),
}

impl WantedChain<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Base(base, _) => base.name,
            Self::Regular(name, ..) => name,
        }
    }

    fn title(&self, table: Table) -> String {
        let kind = if matches!(self, Self::Base(..)) { "base chain" } else { "chain" };
        format!("{kind} {} of table {}", self.name(), table.title)
    }

    /// How the chain itself differs.
    fn head(&self, table: Table, state: &ChainState) -> Vec<String> {
        let name = self.title(table);
        let mut differences = Vec::new();
        match self {
            Self::Regular(_, comment, _) => {
                let wanted = comment::fit(comment);
                let found = state.comment.as_deref().unwrap_or_default();
                if found != wanted {
                    differences
                        .push(format!("{name} has the comment {found:?} and not {wanted:?}"));
                }
            }
            Self::Base(chain, _) => {
                if !chain.hook().iter().all(|wanted| state.hook.contains(wanted)) {
                    differences.push(format!("{name} has another hook or priority"));
                }
                if state.kind.as_deref() != Some(chain.kind) {
                    differences.push(format!("{name} is not of type {}", chain.kind));
                }
                if state.policy != Some(POLICY_ACCEPT) {
                    differences.push(format!("{name} does not accept by default"));
                }
            }
        }
        differences
    }

    /// How its rules differ.
    fn rules(&self, table: Table, found: &TableRules) -> Vec<String> {
        let (Self::Base(_, wanted) | Self::Regular(_, _, wanted)) = self;
        let found = found.of(self.name());
        let name = format!("chain {} of table {}", self.name(), table.title);
        let mut differences = Vec::new();
        if found.len() != wanted.len() {
            let (found, wanted) = (found.len(), wanted.len());
            differences.push(format!("{name} has {found} rules and not {wanted}"));
        }
        for (i, (found, wanted)) in found.iter().zip(*wanted).enumerate() {
            if !same(wanted, found) {
                differences.push(format!("rule {} of {name} is not ours", i + 1));
            }
        }
        differences
    }
}

/// What the keys of elements say, each with the comment: whose it is.
pub type Marked<K> = Vec<(K, String)>;

/// How often a decision is made again because the ruleset changed while it was made.
pub(crate) const GENERATIONS: u32 = 64;

/// How often after that without naming a generation.
const UNGUARDED: u32 = 64;

impl Nft {
    /// Decides something by what the kernel says now and acts on it in a batch that names the
    /// generation of the ruleset, so that the kernel refuses it if anything changed in between;
    /// then the decision is made again. After [`GENERATIONS`] such changes (other writers never
    /// pause) the batch names none and relies on what each message itself demands, up to
    /// [`UNGUARDED`] times: then only a change of the same object is in the way.
    pub(crate) fn at_generation<T>(
        &mut self,
        mut decide: impl FnMut(&mut Self, Option<u32>) -> Result<T>,
    ) -> Result<T> {
        for _ in 0..GENERATIONS {
            let generation = self.generation()?;
            match decide(self, Some(generation)) {
                Err(outdated) if outdated.is_outdated() => {}
                result => return result,
            }
        }
        for _ in 1..UNGUARDED {
            match decide(self, None) {
                Err(raced) if raced.is_exists() || raced.is_gone() => {}
                result => return result,
            }
        }
        decide(self, None)
    }

    /// The number that each change of any table of this network namespace increases.
    pub(crate) fn generation(&mut self) -> Result<u32> {
        let what = "ask for the generation of the nf_tables ruleset";
        let question = NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() });
        let answer = self.socket.get(what, NetfilterProtoFamily::Unspec, question)?;
        if let Some(Answer::Generation(id)) = answer {
            return Ok(id);
        }
        let detail = "no generation in it".to_owned();
        Err(Error::Protocol { what: what.to_owned(), detail })
    }

    pub(crate) fn table(&mut self, table: Table) -> Result<Option<TableState>> {
        let what = format!("look up table {}", table.title);
        let attributes = vec![TableAttribute::Name(table.name.to_owned())];
        let question = NfTablesMessage::GetTable(TableMessage { attributes });
        let answer = self.socket.get(&what, table.family, question)?;
        Ok(match answer {
            Some(Answer::Table(state)) => Some(state),
            _ => None,
        })
    }

    pub(crate) fn chain(&mut self, table: Table, name: &str) -> Result<Option<ChainState>> {
        let what = format!("look up chain {name} of table {}", table.title);
        let attributes = vec![
            ChainAttribute::Table(table.name.to_owned()),
            ChainAttribute::Name(name.to_owned()),
        ];
        let question = NfTablesMessage::GetChain(ChainMessage { attributes });
        let answer = self.socket.get(&what, table.family, question)?;
        Ok(match answer {
            Some(Answer::Chain(state)) => Some(state),
            _ => None,
        })
    }

    /// The names of all chains of a table's family that begin with `prefix`: the kernel dumps
    /// those of other tables too (nf_tables_dump_chains). A dump: a chain may be missed.
    pub(crate) fn chains(&mut self, table: Table, prefix: &str) -> Result<Vec<String>> {
        let what = format!("list the chains of table {}", table.title);
        let question = NfTablesMessage::GetChain(ChainMessage { attributes: Vec::new() });
        let dump = self.socket.dump(&what, table.family, question)?;
        let names = dump.into_iter().filter_map(|answer| match answer {
            Answer::Chain(state) => state.name.filter(|name| name.starts_with(prefix)),
            _ => None,
        });
        Ok(names.collect())
    }

    /// The rules of a chain; none when it does not exist. A dump: it counts only if the
    /// generation is the same afterwards.
    pub(crate) fn rules(&mut self, table: Table, chain: &str) -> Result<Vec<FoundRule>> {
        let (what, question) = rules_of(table, chain);
        let dump = self.socket.dump(&what, table.family, question)?;
        let rules = dump.into_iter().filter_map(|answer| match answer {
            Answer::Rule(rule) => Some(rule),
            _ => None,
        });
        Ok(rules.collect())
    }

    /// The rules of all chains of a table, by chain. A dump, as [`Self::rules`].
    pub(crate) fn table_rules(&mut self, table: Table) -> Result<TableRules> {
        let what = format!("list the rules of table {}", table.title);
        let attributes = vec![RuleAttribute::Table(table.name.to_owned())];
        let question = NfTablesMessage::GetRule(RuleMessage { attributes });
        let mut chains = BTreeMap::<String, Vec<Vec<u8>>>::new();
        for (chain, expressions) in self.socket.rules(&what, table.family, question)? {
            chains.entry(chain).or_default().push(expressions);
        }
        Ok(TableRules(chains))
    }

    pub(crate) fn element(
        &mut self,
        table: Table,
        set: &Set<'_>,
        key: &[u8],
    ) -> Result<Option<ElementState>> {
        let what = format!("look up an element of {} in table {}", set.name, table.title);
        let wanted = vec![SetElementAttribute::Key(DataAttribute::Value(key.to_vec()))];
        let question = NfTablesMessage::GetSetElement(elements(table, set.name, wanted));
        let answer = self.socket.get(&what, table.family, question)?;
        Ok(match answer {
            // A question by key has one element in its answer.
            Some(Answer::Elements(elements)) => elements.into_iter().next(),
            _ => None,
        })
    }

    /// Whether a set has elements; None when it is missing. A hint: without a generation around
    /// it, it can be wrong under concurrent changes, and only the kernel's EBUSY counts.
    pub(crate) fn has_elements(&mut self, table: Table, set: &Set<'_>) -> Result<Option<bool>> {
        match self.set(table, set)? {
            Some(Answer::Set { count: Some(count), .. }) => Ok(Some(count > 0)),
            Some(Answer::Set { count: None, .. }) => self.lists_elements(table, set).map(Some),
            _ => Ok(None),
        }
    }

    pub(crate) fn set(&mut self, table: Table, set: &Set<'_>) -> Result<Option<Answer>> {
        let what = format!("look up {} of table {}", set.name, table.title);
        let attributes = vec![
            SetAttribute::Table(table.name.to_owned()),
            SetAttribute::Name(set.name.to_owned()),
        ];
        let question = NfTablesMessage::GetSet(SetMessage { attributes });
        self.socket.get(&what, table.family, question)
    }

    /// The same by the beginning of their list: Linux 6.12 and older do not count them.
    pub(crate) fn lists_elements(&mut self, table: Table, set: &Set<'_>) -> Result<bool> {
        let what = format!("list {} of table {}", set.name, table.title);
        let question = NfTablesMessage::GetSetElement(elements(table, set.name, Vec::new()));
        self.socket.has_elements(&what, table.family, question)
    }

    /// What `list` finds while no other process changes the ruleset, since dumps may miss what is
    /// there. Where others never pause, what it found last.
    ///
    /// # Errors
    /// Those of `list`.
    pub fn consistent<T>(&mut self, list: impl Fn(&mut Self) -> Result<T>) -> Result<T> {
        for _ in 1..GENERATIONS {
            let before = self.generation()?;
            let found = list(self)?;
            if self.generation()? == before {
                return Ok(found);
            }
        }
        list(self)
    }

    /// What `read` makes of the keys of sets, with the comments; each once. Dumps, as
    /// [`Self::all_elements`]: see [`Self::consistent`].
    pub(crate) fn marked_elements<K: Ord>(
        &mut self,
        table: Table,
        sets: &[Set<'_>],
        read: impl Fn(&[u8]) -> Option<K>,
    ) -> Result<Marked<K>> {
        let mut found = Vec::new();
        for set in sets {
            let elements = self.all_elements(table, set)?.into_iter();
            found.extend(elements.filter_map(|e| Some((read(&e.key?)?, e.comment?))));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// A set's elements; none when it does not exist. A dump: it counts only if the generation
    /// is the same afterwards.
    pub(crate) fn all_elements(
        &mut self,
        table: Table,
        set: &Set<'_>,
    ) -> Result<Vec<ElementState>> {
        let what = format!("list {} of table {}", set.name, table.title);
        let question = NfTablesMessage::GetSetElement(SetElementMessage {
            attributes: vec![
                SetElementList::Table(table.name.to_owned()),
                SetElementList::Set(set.name.to_owned()),
            ],
        });
        let mut found = Vec::new();
        for answer in self.socket.dump(&what, table.family, question)? {
            if let Answer::Elements(elements) = answer {
                found.extend(elements);
            }
        }
        Ok(found)
    }

    /// How chains differ from what they should be, rules included: for each of them in words. Rules
    /// are only to be had as a dump: a difference counts if the generation was the same before and
    /// after.
    pub(crate) fn chain_differences(
        &mut self,
        table: Table,
        wanted: &[WantedChain<'_>],
    ) -> Result<Vec<Vec<String>>> {
        let mut heads = Vec::with_capacity(wanted.len());
        for chain in wanted {
            heads.push(self.chain(table, chain.name())?.map(|state| chain.head(table, &state)));
        }
        let mut rules = Vec::new();
        for _ in 0..GENERATIONS {
            let before = self.generation()?;
            let found = self.table_rules(table)?;
            rules = wanted.iter().map(|chain| chain.rules(table, &found)).collect();
            if rules.iter().all(Vec::is_empty) || self.generation()? == before {
                break;
            }
        }
        let all = heads.into_iter().zip(rules).zip(wanted);
        let differences = all.map(|((head, rules), chain)| match head {
            None => vec![format!("{} is missing", chain.title(table))],
            Some(head) => [head, rules].concat(),
        });
        Ok(differences.collect())
    }

    /// How an element differs from what it should be.
    pub(crate) fn element_differences(
        &mut self,
        table: Table,
        wanted: &Element,
    ) -> Result<Vec<String>> {
        let name =
            format!("element {} of {} in table {}", wanted.title, wanted.set.name, table.title);
        let Some(found) = self.element(table, &wanted.set, &wanted.key)? else {
            return Ok(vec![format!("{name} is missing")]);
        };
        let mut differences = Vec::new();
        if found.data != wanted.data {
            let text = |data: &Option<Data>| match data {
                Some(data) => data.to_string(),
                None => "nothing".to_owned(),
            };
            let (found, wanted) = (text(&found.data), text(&wanted.data));
            differences.push(format!("{name} leads to {found} and not {wanted}"));
        }
        if found.comment.as_deref() != Some(&wanted.comment) {
            let found = found.comment.unwrap_or_default();
            let wanted = &wanted.comment;
            differences.push(format!("{name} has the comment {found:?} and not {wanted:?}"));
        }
        Ok(differences)
    }
}

fn rules_of(table: Table, chain: &str) -> (String, NfTablesMessage) {
    let attributes =
        vec![RuleAttribute::Table(table.name.to_owned()), RuleAttribute::Chain(chain.to_owned())];
    let what = format!("list chain {chain} of table {}", table.title);
    (what, NfTablesMessage::GetRule(RuleMessage { attributes }))
}
