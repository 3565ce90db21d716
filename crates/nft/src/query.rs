//! Questions to the kernel about one object of a table of ours, always by name or key.

use netlink_packet_netfilter::NetfilterProtoFamily;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, GenAttribute, GenMessage, Hook, ListAttribute,
    NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetElementAttribute, SetElementList,
    SetElementMessage, SetMessage, TableAttribute, TableFlags, TableMessage, VerdictAttribute,
};

use crate::Nft;
use crate::batch::{BaseChain, Element, POLICY_ACCEPT, Set, Table, elements};
use crate::comment;
use crate::error::{Error, Result};
use crate::expr::{Rule, same};

/// How often a decision is made again because the ruleset changed while it was made.
pub(crate) const GENERATIONS: u32 = 64;

/// A table as the kernel has it.
#[derive(Debug)]
pub(crate) struct TableState {
    /// Chains, sets and other objects in it.
    pub(crate) objects: u32,
    /// Somebody switched it off (NFT_TABLE_F_DORMANT): its chains are not entered.
    pub(crate) dormant: bool,
}

/// A chain as the kernel has it.
#[derive(Debug)]
pub(crate) struct ChainState {
    /// Its rules, and the jumps to it from rules and map elements.
    pub(crate) uses: u32,
    comment: Option<String>,
    hook: Vec<Hook>,
    kind: Option<String>,
    policy: Option<u32>,
}

/// A rule as the kernel has it.
#[derive(Debug)]
pub(crate) struct FoundRule {
    pub(crate) handle: u64,
    pub(crate) comment: Option<String>,
    pub(crate) expressions: Rule,
}

/// An element as the kernel has it.
#[derive(Debug)]
pub(crate) struct ElementState {
    pub(crate) comment: Option<String>,
    /// The chain that its verdict names.
    pub(crate) chain: Option<String>,
}

impl ElementState {
    /// Whether it is that element.
    pub(crate) fn is(&self, wanted: &Element) -> bool {
        self.chain == wanted.jump && self.comment.as_deref() == Some(&wanted.comment)
    }
}

impl Nft {
    /// Decides something by what the kernel says now and acts on it in a batch that names the
    /// generation of the ruleset, so that the kernel refuses it if anything changed in between;
    /// then the decision is made again. After [`GENERATIONS`] such changes (other writers never
    /// pause) the last attempt names none, and relies on what each message itself demands.
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
        decide(self, None)
    }

    /// The number that each change of any table of this network namespace increases.
    pub(crate) fn generation(&mut self) -> Result<u32> {
        let what = "ask for the generation of the nf_tables ruleset";
        let question = NfTablesMessage::GetGen(GenMessage { attributes: Vec::new() });
        let answer = self.socket.get(what, NetfilterProtoFamily::Unspec, &question)?;
        if let Some(NfTablesMessage::NewGen(answer)) = answer {
            for attribute in answer.attributes {
                if let GenAttribute::Id(id) = attribute {
                    return Ok(id);
                }
            }
        }
        let detail = "no generation in it".to_owned();
        Err(Error::Protocol { what: what.to_owned(), detail })
    }

    pub(crate) fn table(&mut self, table: Table) -> Result<Option<TableState>> {
        let what = format!("look up table {}", table.title);
        let attributes = vec![TableAttribute::Name(table.name.to_owned())];
        let question = NfTablesMessage::GetTable(TableMessage { attributes });
        let answer = self.socket.get(&what, table.family, &question)?;
        let Some(NfTablesMessage::NewTable(answer)) = answer else { return Ok(None) };
        let mut state = TableState { objects: 0, dormant: false };
        for attribute in answer.attributes {
            match attribute {
                TableAttribute::Use(objects) => state.objects = objects,
                TableAttribute::Flags(flags) => state.dormant = flags.contains(TableFlags::Dormant),
                _ => {}
            }
        }
        Ok(Some(state))
    }

    pub(crate) fn chain(&mut self, table: Table, name: &str) -> Result<Option<ChainState>> {
        let what = format!("look up chain {name} of table {}", table.title);
        let attributes = vec![
            ChainAttribute::Table(table.name.to_owned()),
            ChainAttribute::Name(name.to_owned()),
        ];
        let question = NfTablesMessage::GetChain(ChainMessage { attributes });
        let answer = self.socket.get(&what, table.family, &question)?;
        let Some(NfTablesMessage::NewChain(answer)) = answer else { return Ok(None) };
        let mut state =
            ChainState { uses: 0, comment: None, hook: Vec::new(), kind: None, policy: None };
        for attribute in answer.attributes {
            match attribute {
                ChainAttribute::Use(uses) => state.uses = uses,
                ChainAttribute::UserData(data) => state.comment = comment::from_userdata(&data),
                ChainAttribute::Hook(hook) => state.hook = hook,
                ChainAttribute::Type(kind) => state.kind = Some(kind),
                ChainAttribute::Policy(policy) => state.policy = Some(policy),
                _ => {}
            }
        }
        Ok(Some(state))
    }

    /// The rules of a chain; none when it does not exist. A dump: it counts only if the
    /// generation is the same afterwards.
    pub(crate) fn rules(&mut self, table: Table, chain: &str) -> Result<Vec<FoundRule>> {
        let what = format!("list chain {chain} of table {}", table.title);
        let attributes = vec![
            RuleAttribute::Table(table.name.to_owned()),
            RuleAttribute::Chain(chain.to_owned()),
        ];
        let question = NfTablesMessage::GetRule(RuleMessage { attributes });
        let dump = self.socket.dump(&what, table.family, question)?;
        let mut rules = Vec::new();
        for message in dump {
            let NfTablesMessage::NewRule(answer) = message else { continue };
            let mut rule = FoundRule { handle: 0, comment: None, expressions: Vec::new() };
            for attribute in answer.attributes {
                match attribute {
                    RuleAttribute::Handle(handle) => rule.handle = handle,
                    RuleAttribute::Expressions(expressions) => rule.expressions = expressions,
                    RuleAttribute::UserData(data) => rule.comment = comment::from_userdata(&data),
                    _ => {}
                }
            }
            rules.push(rule);
        }
        Ok(rules)
    }

    pub(crate) fn element(
        &mut self,
        table: Table,
        set: &Set,
        key: &[u8],
    ) -> Result<Option<ElementState>> {
        let what = format!("look up an element of {} in table {}", set.name, table.title);
        let wanted = vec![SetElementAttribute::Key(DataAttribute::Value(key.to_vec()))];
        let question = NfTablesMessage::GetSetElement(elements(table, set.name, wanted));
        let answer = self.socket.get(&what, table.family, &question)?;
        let Some(NfTablesMessage::NewSetElement(answer)) = answer else { return Ok(None) };
        let mut state = ElementState { comment: None, chain: None };
        for attribute in element_attributes(answer) {
            match attribute {
                SetElementAttribute::UserData(data) => {
                    state.comment = comment::from_userdata(&data);
                }
                SetElementAttribute::Data(DataAttribute::Verdict(verdict)) => {
                    state.chain = verdict.into_iter().find_map(|attribute| match attribute {
                        VerdictAttribute::Chain(chain) => Some(chain),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        Ok(Some(state))
    }

    /// Whether a set has elements; a missing one has none. A hint: without a generation around
    /// it, it can be wrong under concurrent changes, and only the kernel's EBUSY counts.
    pub(crate) fn has_elements(&mut self, table: Table, set: &Set) -> Result<bool> {
        let what = format!("look up {} of table {}", set.name, table.title);
        let attributes = vec![
            SetAttribute::Table(table.name.to_owned()),
            SetAttribute::Name(set.name.to_owned()),
        ];
        let question = NfTablesMessage::GetSet(SetMessage { attributes });
        let answer = self.socket.get(&what, table.family, &question)?;
        let Some(NfTablesMessage::NewSet(answer)) = answer else { return Ok(false) };
        for attribute in answer.attributes {
            // Newer kernels count (NFTA_SET_COUNT); older ones must list.
            if let SetAttribute::Count(count) = attribute {
                return Ok(count > 0);
            }
        }
        self.lists_elements(table, set)
    }

    /// The same by listing them all.
    pub(crate) fn lists_elements(&mut self, table: Table, set: &Set) -> Result<bool> {
        Ok(!self.list_elements(table, set)?.is_empty())
    }

    /// The keys and comments of a set's elements; none when it does not exist. A dump: it counts
    /// only if the generation is the same afterwards.
    pub(crate) fn list_elements(
        &mut self,
        table: Table,
        set: &Set,
    ) -> Result<Vec<(Vec<u8>, Option<String>)>> {
        let what = format!("list {} of table {}", set.name, table.title);
        let question = NfTablesMessage::GetSetElement(SetElementMessage {
            attributes: vec![
                SetElementList::Table(table.name.to_owned()),
                SetElementList::Set(set.name.to_owned()),
            ],
        });
        let mut found = Vec::new();
        for message in self.socket.dump(&what, table.family, question)? {
            let NfTablesMessage::NewSetElement(message) = message else { continue };
            for attributes in element_lists(message) {
                let mut key = None;
                let mut comment = None;
                for attribute in attributes {
                    match attribute {
                        SetElementAttribute::Key(DataAttribute::Value(value)) => key = Some(value),
                        SetElementAttribute::UserData(data) => {
                            comment = comment::from_userdata(&data);
                        }
                        _ => {}
                    }
                }
                found.extend(key.map(|key| (key, comment)));
            }
        }
        Ok(found)
    }

    /// How a base chain differs from what it should be, rules included.
    pub(crate) fn base_differences(
        &mut self,
        table: Table,
        chain: &BaseChain,
        rules: &[Rule],
    ) -> Result<Vec<String>> {
        let name = format!("base chain {} of table {}", chain.name, table.title);
        let Some(state) = self.chain(table, chain.name)? else {
            return Ok(vec![format!("{name} is missing")]);
        };
        let mut differences = Vec::new();
        if !chain.hook().iter().all(|wanted| state.hook.contains(wanted)) {
            differences.push(format!("{name} has another hook or priority"));
        }
        if state.kind.as_deref() != Some(chain.kind) {
            differences.push(format!("{name} is not of type {}", chain.kind));
        }
        if state.policy != Some(POLICY_ACCEPT) {
            differences.push(format!("{name} does not accept by default"));
        }
        differences.extend(self.rule_differences(table, chain.name, rules)?);
        Ok(differences)
    }

    /// How a regular chain differs from what it should be, rules included.
    pub(crate) fn chain_differences(
        &mut self,
        table: Table,
        chain: &str,
        comment: &str,
        rules: &[Rule],
    ) -> Result<Vec<String>> {
        let name = format!("chain {chain} of table {}", table.title);
        let Some(state) = self.chain(table, chain)? else {
            return Ok(vec![format!("{name} is missing")]);
        };
        let mut differences = Vec::new();
        let wanted = comment::fit(comment);
        if state.comment.as_deref() != Some(&wanted) {
            let found = state.comment.unwrap_or_default();
            differences.push(format!("{name} has the comment {found:?} and not {wanted:?}"));
        }
        differences.extend(self.rule_differences(table, chain, rules)?);
        Ok(differences)
    }

    /// How the rules of a chain differ. Rules are only to be had as a dump: a difference counts
    /// if the generation was the same before and after.
    fn rule_differences(
        &mut self,
        table: Table,
        chain: &str,
        wanted: &[Rule],
    ) -> Result<Vec<String>> {
        let name = format!("chain {chain} of table {}", table.title);
        let mut differences = Vec::new();
        for _ in 0..GENERATIONS {
            let before = self.generation()?;
            let found = self.rules(table, chain)?;
            differences.clear();
            if found.len() != wanted.len() {
                let (found, wanted) = (found.len(), wanted.len());
                differences.push(format!("{name} has {found} rules and not {wanted}"));
            }
            for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                if !same(&found.expressions, wanted) {
                    differences.push(format!("rule {} of {name} is not ours", i + 1));
                }
            }
            if differences.is_empty() || self.generation()? == before {
                break;
            }
        }
        Ok(differences)
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
        if found.chain != wanted.jump {
            let found = found.chain.unwrap_or_default();
            let wanted = wanted.jump.as_deref().unwrap_or_default();
            differences.push(format!("{name} leads to chain {found:?} and not {wanted:?}"));
        }
        if found.comment.as_deref() != Some(&wanted.comment) {
            let found = found.comment.unwrap_or_default();
            let wanted = &wanted.comment;
            differences.push(format!("{name} has the comment {found:?} and not {wanted:?}"));
        }
        Ok(differences)
    }
}

/// The attributes of the elements in an answer; a question by key has one element in it.
fn element_attributes(message: SetElementMessage) -> Vec<SetElementAttribute> {
    element_lists(message).into_iter().flatten().collect()
}

/// The attributes of each element in an answer.
fn element_lists(message: SetElementMessage) -> Vec<Vec<SetElementAttribute>> {
    let lists = message.attributes.into_iter().filter_map(|list| match list {
        SetElementList::Elements(elements) => Some(elements),
        _ => None,
    });
    let elements = lists.flatten().filter_map(|element| match element {
        ListAttribute::Element(of) => Some(of),
        _ => None,
    });
    elements.collect()
}
