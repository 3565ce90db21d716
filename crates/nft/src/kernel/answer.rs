//! What the kernel answers, of which a few attributes are looked at.

use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, Cmp, DataAttribute, ExpressionAttribute, Expressions, GenAttribute, Hook,
    Immediate, ListAttribute, NfTablesMessage, RuleAttribute, SetAttribute, SetElementAttribute,
    SetElementFlags, SetElementList, SetElementMessage, TableAttribute, TableFlags,
    VerdictAttribute,
};

use crate::kernel::comment;
use crate::kernel::expr::Rule;
use crate::kernel::set::{Data, Element};

/// One object of nf_tables, as the kernel has it.
#[derive(Debug)]
pub enum Answer {
    /// The number that each change of any table of this network namespace increases.
    Generation(u32),
    /// A table.
    Table(TableState),
    /// A chain.
    Chain(ChainState),
    /// A rule.
    Rule(FoundRule),
    /// A set.
    Set {
        /// Its name.
        name: String,
        /// Its elements, where the kernel counts them (NFTA_SET_COUNT).
        count: Option<u32>,
    },
    /// Elements of a set.
    Elements(Vec<ElementState>),
    /// Nothing that is asked for here.
    Other,
}

/// A table as the kernel has it.
#[derive(Debug, Default)]
pub struct TableState {
    /// Chains, sets and other objects in it.
    pub objects: u32,
    /// It is switched off (NFT_TABLE_F_DORMANT): its chains are not entered.
    pub dormant: bool,
    /// The netlink port of the process that alone may change it (NFT_TABLE_F_OWNER), mostly its PID.
    pub owner: Option<u32>,
}

/// A chain as the kernel has it.
#[derive(Debug, Default)]
pub struct ChainState {
    /// Its name.
    pub name: Option<String>,
    /// Its table.
    pub table: String,
    /// Its rules, and the jumps to it from rules and map elements.
    pub uses: u32,
    /// Its comment.
    pub comment: Option<String>,
    pub(crate) hook: Vec<Hook>,
    pub(crate) kind: Option<String>,
    pub(crate) policy: Option<u32>,
}

/// A rule as the kernel has it.
#[derive(Debug, Default)]
pub struct FoundRule {
    /// What deletes it.
    pub handle: u64,
    /// Its comment.
    pub comment: Option<String>,
    pub(crate) expressions: Rule,
}

/// An element as the kernel has it.
#[derive(Debug, Default)]
pub struct ElementState {
    /// Its key, in the bytes of the set's type.
    pub key: Option<Vec<u8>>,
    /// Its comment.
    pub comment: Option<String>,
    /// What it leads to, in a map.
    pub(crate) data: Option<Data>,
    /// It is no element but the end of an interval, the first key that is not in it.
    pub(crate) ends: bool,
    /// The last key of an interval of a concatenation.
    pub(crate) last: Option<Vec<u8>>,
}

impl Answer {
    pub(crate) fn of(message: NfTablesMessage) -> Answer {
        match message {
            NfTablesMessage::NewGen(answer) => {
                let id = answer.attributes.into_iter().find_map(|attribute| match attribute {
                    GenAttribute::Id(id) => Some(id),
                    _ => None,
                });
                id.map_or(Answer::Other, Answer::Generation)
            }
            NfTablesMessage::NewTable(answer) => Answer::Table(table(answer.attributes)),
            NfTablesMessage::NewChain(answer) => Answer::Chain(chain(answer.attributes)),
            NfTablesMessage::NewRule(answer) => Answer::Rule(rule(answer.attributes)),
            NfTablesMessage::NewSet(answer) => set(answer.attributes),
            NfTablesMessage::NewSetElement(answer) => {
                Answer::Elements(element_lists(answer).into_iter().map(element).collect())
            }
            _ => Answer::Other,
        }
    }
}

fn set(attributes: Vec<SetAttribute>) -> Answer {
    let (mut name, mut count) = (String::new(), None);
    for attribute in attributes {
        match attribute {
            SetAttribute::Name(found) => name = found,
            SetAttribute::Count(found) => count = Some(found),
            _ => {}
        }
    }
    Answer::Set { name, count }
}

fn table(attributes: Vec<TableAttribute>) -> TableState {
    let mut state = TableState::default();
    for attribute in attributes {
        match attribute {
            TableAttribute::Use(objects) => state.objects = objects,
            TableAttribute::Flags(flags) => state.dormant = flags.contains(TableFlags::Dormant),
            TableAttribute::Owner(owner) => state.owner = Some(owner),
            _ => {}
        }
    }
    state
}

fn chain(attributes: Vec<ChainAttribute>) -> ChainState {
    let mut state = ChainState::default();
    for attribute in attributes {
        match attribute {
            ChainAttribute::Name(name) => state.name = Some(name),
            ChainAttribute::Table(table) => state.table = table,
            ChainAttribute::Use(uses) => state.uses = uses,
            ChainAttribute::UserData(data) => state.comment = comment::from_userdata(&data),
            ChainAttribute::Hook(hook) => state.hook = hook,
            ChainAttribute::Type(kind) => state.kind = Some(kind),
            ChainAttribute::Policy(policy) => state.policy = Some(policy),
            _ => {}
        }
    }
    state
}

fn rule(attributes: Vec<RuleAttribute>) -> FoundRule {
    let mut rule = FoundRule::default();
    for attribute in attributes {
        match attribute {
            RuleAttribute::Handle(handle) => rule.handle = handle,
            RuleAttribute::Expressions(expressions) => rule.expressions = expressions,
            RuleAttribute::UserData(data) => rule.comment = comment::from_userdata(&data),
            _ => {}
        }
    }
    rule
}

fn element(attributes: Vec<SetElementAttribute>) -> ElementState {
    let mut state = ElementState::default();
    for attribute in attributes {
        match attribute {
            SetElementAttribute::Key(DataAttribute::Value(key)) => state.key = Some(key),
            SetElementAttribute::Flags(flags) => {
                state.ends = flags.contains(SetElementFlags::IntervalEnd);
            }
            SetElementAttribute::UserData(data) => state.comment = comment::from_userdata(&data),
            SetElementAttribute::Data(data) => state.data = Data::read(data),
            SetElementAttribute::KeyEnd(data) => state.last = data.first().map(value),
            _ => {}
        }
    }
    state
}

fn value(attribute: &DefaultNla) -> Vec<u8> {
    let mut bytes = vec![0; attribute.value_len()];
    attribute.emit_value(&mut bytes);
    bytes
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

impl ElementState {
    /// The chain that it leads to.
    pub fn chain(&self) -> Option<&str> {
        self.data.as_ref().and_then(Data::chain)
    }

    /// Whether it is that element.
    pub(crate) fn is(&self, wanted: &Element) -> bool {
        self.data == wanted.data && self.comment.as_deref() == Some(&wanted.comment)
    }
}

impl FoundRule {
    fn parts(&self) -> impl Iterator<Item = &Expressions> {
        let attributes = self.expressions.iter().filter_map(|expression| match expression {
            ListAttribute::Element(attributes) => Some(attributes),
            _ => None,
        });
        attributes.flatten().filter_map(|attribute| match attribute {
            ExpressionAttribute::Data(data) => Some(data),
            _ => None,
        })
    }

    /// The chain that it jumps to.
    pub fn jump(&self) -> Option<&str> {
        self.parts().find_map(|expression| {
            let Expressions::Immediate(immediate) = expression else { return None };
            immediate.iter().find_map(|attribute| {
                let Immediate::Data(DataAttribute::Verdict(verdict)) = attribute else {
                    return None;
                };
                verdict.iter().find_map(|attribute| match attribute {
                    VerdictAttribute::Chain(chain) => Some(chain.as_str()),
                    _ => None,
                })
            })
        })
    }

    /// The text that it compares something with: the interface's name of `iifname`, in 16 bytes.
    pub(crate) fn compared_name(&self) -> Option<String> {
        self.parts().find_map(|expression| {
            let Expressions::Cmp(compared) = expression else { return None };
            compared.iter().find_map(|attribute| match attribute {
                Cmp::Data(DataAttribute::Value(bytes)) => {
                    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                    String::from_utf8(name.to_vec()).ok()
                }
                _ => None,
            })
        })
    }

    /// The comment of a rule of iptables-nft: of the rule itself, or where it is an extension of
    /// iptables (struct xt_comment_info, 256 bytes).
    pub fn iptables_comment(&self) -> Option<String> {
        const NFTA_MATCH_INFO: u16 = 3;
        let extension = || {
            self.parts().find_map(|expression| {
                let Expressions::Other { expression_type, attributes } = expression else {
                    return None;
                };
                let info = attributes.iter().find(|a| a.kind() == NFTA_MATCH_INFO)?;
                let mut bytes = vec![0; info.value_len()];
                info.emit_value(&mut bytes);
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let names = ["name: ", "dnat name: "].iter().any(|begin| text.starts_with(begin));
                (expression_type == "match" && names).then_some(text)
            })
        };
        self.comment.clone().or_else(extension)
    }
}
