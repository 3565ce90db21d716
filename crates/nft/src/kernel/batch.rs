//! A batch: changes to one table of ours, and to those of others, that the kernel applies together or
//! not at all.

use std::borrow::Cow;

use netlink_packet_core::{
    DefaultNla, NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_NONREC,
};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, Hook, HookNumber, InetHookNumber, ListAttribute,
    NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetDescription, SetElementAttribute,
    SetElementList, SetElementMessage, SetFlags, SetMessage, TableAttribute, TableFlags,
    TableMessage,
};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};

use super::set::{CONCAT, DataType, Element, MAP, Set, Span};
use crate::kernel::comment;
use crate::kernel::expr::Rule;

/// NF_ACCEPT, as the policy of a base chain.
pub(crate) const POLICY_ACCEPT: u32 = 1;

/// NFT_DATA_VERDICT: the data type of a verdict map.
const DATA_VERDICT: u32 = 0xffff_ff00;

/// NFTNL_UDATA_SET_KEYBYTEORDER.
const KEY_BYTE_ORDER: u8 = 0;
/// NFTNL_UDATA_SET_DATABYTEORDER.
const DATA_BYTE_ORDER: u8 = 1;
/// NFTA_LIST_ELEM and NFTA_SET_FIELD_LEN.
const LIST_ELEM: u16 = 1;
const FIELD_LEN: u16 = 1;

/// A table of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table {
    pub(crate) family: NetfilterProtoFamily,
    pub(crate) name: &'static str,
    /// "inet ferrule", for people.
    pub(crate) title: &'static str,
}

/// A base chain: where the kernel enters our table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BaseChain {
    pub(crate) name: &'static str,
    /// "nat" or "filter".
    pub(crate) kind: &'static str,
    pub(crate) hook: InetHookNumber,
    /// Lower is earlier.
    pub(crate) priority: i32,
}

impl BaseChain {
    /// The hook as the kernel takes it; a negative priority travels as its two's complement.
    pub(crate) fn hook(&self) -> Vec<Hook> {
        vec![
            Hook::Number(HookNumber::Inet(self.hook)),
            Hook::Priority(self.priority.cast_unsigned()),
        ]
    }
}

/// How many spans go in one message. Their list is one attribute of at most 65,535 bytes, the two
/// elements of an interval of IPv6 take 28 and 36, and one of IPv6 addresses, protocols and ports 68.
const SPANS: usize = 900;

/// One change of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// For the error: "add chain masq-…".
    pub(crate) what: Cow<'static, str>,
    /// The table, where it is not the batch's: its family, and its title for the error.
    pub(super) elsewhere: Option<(NetfilterProtoFamily, String)>,
    pub(super) flags: u16,
    pub(super) message: NfTablesMessage,
}

/// Changes to one table, and in between to others', in order.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) table: Table,
    steps: Vec<Step>,
}

impl Batch {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, steps: Vec::new() }
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The messages of the steps with their flags beside NLM_F_REQUEST; the last asks for an
    /// acknowledgement.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (NetfilterMessage, u16)> {
        let last = self.steps.len().saturating_sub(1);
        self.steps.iter().enumerate().map(move |(i, step)| {
            let acknowledge = if i == last { NLM_F_ACK } else { 0 };
            let family = step.elsewhere.as_ref().map_or(self.table.family, |(family, _)| *family);
            (message(family, step.message.clone()), step.flags | acknowledge)
        })
    }

    fn push(&mut self, what: impl Into<Cow<'static, str>>, flags: u16, message: NfTablesMessage) {
        self.push_step(Step { what: what.into(), elsewhere: None, flags, message });
    }

    pub(super) fn push_step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Adds the steps of another batch for the same table.
    pub(crate) fn append(&mut self, other: Batch) {
        self.steps.extend(other.steps);
    }

    fn table_name(&self) -> String {
        self.table.name.to_owned()
    }

    /// Adds the table; it may exist.
    pub(crate) fn add_table(&mut self) {
        let attributes = vec![TableAttribute::Name(self.table_name())];
        self.push(
            "add table",
            NLM_F_CREATE,
            NfTablesMessage::NewTable(TableMessage { attributes }),
        );
    }

    /// Switches a table that is dormant on again.
    pub(crate) fn wake_table(&mut self) {
        let flags = TableAttribute::Flags(TableFlags::empty());
        let attributes = vec![TableAttribute::Name(self.table_name()), flags];
        self.push("wake table", 0, NfTablesMessage::NewTable(TableMessage { attributes }));
    }

    /// Deletes the table; EBUSY when anything is left in it.
    pub(crate) fn del_empty_table(&mut self) {
        let attributes = vec![TableAttribute::Name(self.table_name())];
        let message = NfTablesMessage::DeleteTable(TableMessage { attributes });
        self.push("delete table", NLM_F_NONREC, message);
    }

    /// Deletes the table with all that is in it.
    pub(crate) fn del_table(&mut self) {
        let attributes = vec![TableAttribute::Name(self.table_name())];
        self.push("delete table", 0, NfTablesMessage::DeleteTable(TableMessage { attributes }));
    }

    /// Adds a base chain with policy accept; it may exist, with the same hook (else EEXIST).
    pub(crate) fn add_base_chain(&mut self, chain: &BaseChain) {
        let attributes = vec![
            ChainAttribute::Table(self.table_name()),
            ChainAttribute::Name(chain.name.to_owned()),
            ChainAttribute::Hook(chain.hook()),
            ChainAttribute::Policy(POLICY_ACCEPT),
            ChainAttribute::Type(chain.kind.to_owned()),
        ];
        let message = NfTablesMessage::NewChain(ChainMessage { attributes });
        self.push(format!("add base chain {}", chain.name), NLM_F_CREATE, message);
    }

    /// Adds a chain; it may exist, and keeps its comment then. An empty comment is none.
    pub(crate) fn add_chain(&mut self, name: &str, comment: &str) {
        let mut attributes =
            vec![ChainAttribute::Table(self.table_name()), ChainAttribute::Name(name.to_owned())];
        if !comment.is_empty() {
            attributes.push(ChainAttribute::UserData(comment::to_userdata(comment)));
        }
        let message = NfTablesMessage::NewChain(ChainMessage { attributes });
        self.push(format!("add chain {name}"), NLM_F_CREATE, message);
    }

    /// Deletes a chain with its rules; EBUSY when something jumps to it.
    pub(crate) fn del_chain(&mut self, name: &str) {
        let attributes =
            vec![ChainAttribute::Table(self.table_name()), ChainAttribute::Name(name.to_owned())];
        let message = NfTablesMessage::DeleteChain(ChainMessage { attributes });
        self.push(format!("delete chain {name}"), 0, message);
    }

    fn in_chain(&self, chain: &str) -> Vec<RuleAttribute> {
        vec![RuleAttribute::Table(self.table_name()), RuleAttribute::Chain(chain.to_owned())]
    }

    /// Removes one rule of a chain.
    pub(crate) fn del_rule(&mut self, chain: &str, handle: u64) {
        let mut attributes = self.in_chain(chain);
        attributes.push(RuleAttribute::Handle(handle));
        let message = NfTablesMessage::DeleteRule(RuleMessage { attributes });
        self.push(format!("delete rule {handle} of chain {chain}"), 0, message);
    }

    /// Removes every rule of a chain.
    pub(crate) fn flush_chain(&mut self, chain: &str) {
        let message = NfTablesMessage::DeleteRule(RuleMessage { attributes: self.in_chain(chain) });
        self.push(format!("flush chain {chain}"), 0, message);
    }

    /// Appends rules to a chain.
    pub(crate) fn add_rules(&mut self, chain: &str, rules: &[Rule]) {
        for rule in rules {
            let mut attributes = self.in_chain(chain);
            attributes.push(RuleAttribute::Expressions(rule.clone()));
            let message = NfTablesMessage::NewRule(RuleMessage { attributes });
            self.push(format!("add rule to chain {chain}"), NLM_F_CREATE | NLM_F_APPEND, message);
        }
    }

    /// Adds a set or map; it may exist, with the same keys and flags (else EEXIST).
    pub(crate) fn add_set(&mut self, set: &Set<'_>) {
        let mut attributes = vec![
            SetAttribute::Table(self.table_name()),
            SetAttribute::Name(set.name.to_owned()),
            SetAttribute::Flags(SetFlags::from_bits_retain(set_flags(set))),
            SetAttribute::KeyType(set.key.id),
            SetAttribute::KeyLen(set.key.len),
        ];
        attributes.extend(set_data(set.data));
        attributes.extend(set.timeout.map(SetAttribute::Timeout));
        let description = set_description(set);
        if !description.is_empty() {
            attributes.push(SetAttribute::Description(description));
        }
        // The kernel demands an ID for lookups by ID within the batch; ours go by name.
        attributes.push(SetAttribute::Id(u32::try_from(self.steps.len()).unwrap_or(0) + 1));
        let mut userdata = vec![KEY_BYTE_ORDER, 4];
        userdata.extend(set.key.byte_order.to_ne_bytes());
        if let Some(DataType::Value(of)) = set.data {
            userdata.extend([DATA_BYTE_ORDER, 4]);
            userdata.extend(of.byte_order.to_ne_bytes());
        }
        attributes.push(SetAttribute::UserData(userdata));
        let message = NfTablesMessage::NewSet(SetMessage { attributes });
        self.push(format!("add set {}", set.name), NLM_F_CREATE, message);
    }

    /// Deletes a set or map; EBUSY when it has elements or a rule that stays uses it.
    pub(crate) fn del_empty_set(&mut self, set: &Set<'_>) {
        self.remove_set(set, NLM_F_NONREC);
    }

    /// Deletes a set or map with its elements; EBUSY when a rule that stays uses it.
    pub(crate) fn del_set(&mut self, set: &Set<'_>) {
        self.remove_set(set, 0);
    }

    fn remove_set(&mut self, set: &Set<'_>, flags: u16) {
        let attributes =
            vec![SetAttribute::Table(self.table_name()), SetAttribute::Name(set.name.to_owned())];
        let message = NfTablesMessage::DeleteSet(SetMessage { attributes });
        self.push(format!("delete set {}", set.name), flags, message);
    }

    /// Removes every element of a set.
    pub(crate) fn flush_set(&mut self, set: &Set<'_>) {
        let message = NfTablesMessage::DeleteSetElement(SetElementMessage {
            attributes: vec![
                SetElementList::Table(self.table_name()),
                SetElementList::Set(set.name.to_owned()),
            ],
        });
        self.push(format!("flush set {}", set.name), 0, message);
    }

    /// Adds spans; EEXIST when one is there, ENOTEMPTY when one overlaps another.
    pub(crate) fn add_spans(&mut self, set: &Set<'_>, spans: &[&Span]) {
        self.new_spans(set, spans, NLM_F_CREATE | NLM_F_EXCL);
    }

    /// Adds spans of single keys; they may be there.
    pub(crate) fn put_spans(&mut self, set: &Set<'_>, spans: &[&Span]) {
        self.new_spans(set, spans, NLM_F_CREATE);
    }

    fn new_spans(&mut self, set: &Set<'_>, spans: &[&Span], flags: u16) {
        for list in self.spans(set, spans) {
            let what = format!("add elements to {}", set.name);
            self.push(what, flags, NfTablesMessage::NewSetElement(list));
        }
    }

    /// Deletes spans; ENOENT when one is not there.
    pub(crate) fn del_spans(&mut self, set: &Set<'_>, spans: &[&Span]) {
        for list in self.spans(set, spans) {
            let what = format!("delete elements of {}", set.name);
            self.push(what, 0, NfTablesMessage::DeleteSetElement(list));
        }
    }

    fn spans(&self, set: &Set<'_>, spans: &[&Span]) -> Vec<SetElementMessage> {
        let list = |spans: &[&Span]| {
            let elements = spans.iter().flat_map(|span| span.elements(set));
            SetElementMessage {
                attributes: vec![
                    SetElementList::Table(self.table_name()),
                    SetElementList::Set(set.name.to_owned()),
                    SetElementList::Elements(elements.map(ListAttribute::Element).collect()),
                ],
            }
        };
        spans.chunks(SPANS).map(list).collect()
    }

    /// Adds an element; EEXIST when its key is there, with whatever data. (Without NLM_F_EXCL an
    /// element with equal data would succeed and keep its old comment.)
    pub(crate) fn add_element(&mut self, element: &Element) {
        let set = element.set.name;
        let key = DataAttribute::Value(element.key.clone());
        let mut attributes = vec![SetElementAttribute::Key(key)];
        let data = element.data.as_ref();
        attributes.extend(data.map(|data| SetElementAttribute::Data(data.attribute())));
        let comment = comment::to_userdata(&element.comment);
        attributes.push(SetElementAttribute::UserData(comment));
        let message = NfTablesMessage::NewSetElement(elements(self.table, set, attributes));
        self.push(format!("add element to {set}"), NLM_F_CREATE | NLM_F_EXCL, message);
    }

    /// Deletes an element; ENOENT when it is not there.
    pub(crate) fn del_element(&mut self, set: &Set<'_>, key: &[u8]) {
        let element = vec![SetElementAttribute::Key(DataAttribute::Value(key.to_vec()))];
        let message = NfTablesMessage::DeleteSetElement(elements(self.table, set.name, element));
        self.push(format!("delete element of {}", set.name), 0, message);
    }
}

/// The flags of a set, those included that follow from its types.
fn set_flags(set: &Set<'_>) -> u32 {
    let map = if set.data.is_some() { MAP } else { 0 };
    let concat = set.has_intervals() && set.key.is_concatenation();
    set.flags | map | if concat { CONCAT } else { 0 }
}

fn set_data(data: Option<DataType>) -> Vec<SetAttribute> {
    let (kind, len) = match data {
        None => return Vec::new(),
        Some(DataType::Verdict) => (DATA_VERDICT, 0),
        Some(DataType::Value(of)) => (of.id, of.len),
    };
    vec![SetAttribute::DataType(kind), SetAttribute::DataLen(len)]
}

/// Its size, and the parts of a concatenation of intervals.
fn set_description(set: &Set<'_>) -> Vec<SetDescription> {
    let mut description: Vec<_> = set.size.map(SetDescription::Size).into_iter().collect();
    if set.has_intervals() && set.key.is_concatenation() {
        let part = |len: &u32| {
            let field = [&[8, 0][..], &FIELD_LEN.to_ne_bytes(), &len.to_be_bytes()].concat();
            DefaultNla::new(LIST_ELEM | NLA_F_NESTED, field)
        };
        let parts = set.key.parts.iter().filter(|len| **len > 0);
        description.push(SetDescription::Concat(parts.map(part).collect()));
    }
    description
}

/// The message body that names one element of a set.
pub(crate) fn elements(
    table: Table,
    set: &str,
    element: Vec<SetElementAttribute>,
) -> SetElementMessage {
    SetElementMessage {
        attributes: vec![
            SetElementList::Table(table.name.to_owned()),
            SetElementList::Set(set.to_owned()),
            SetElementList::Elements(vec![ListAttribute::Element(element)]),
        ],
    }
}

/// A message of nf_tables with its netfilter header.
pub(crate) fn message(family: NetfilterProtoFamily, message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message)
}
