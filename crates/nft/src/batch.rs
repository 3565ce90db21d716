//! A batch: changes to one table of ours that the kernel applies together or not at all.

use std::borrow::Cow;

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_NONREC};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, Hook, HookNumber, InetHookNumber, ListAttribute,
    NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetDescription, SetElementAttribute,
    SetElementFlags, SetElementList, SetElementMessage, SetFlags, SetMessage, TableAttribute,
    TableFlags, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterProtoFamily};

use crate::comment;
use crate::expr::Rule;
use crate::socket::message;

/// NF_ACCEPT, as the policy of a base chain.
pub(crate) const POLICY_ACCEPT: u32 = 1;

/// NFT_DATA_VERDICT: the data type of a verdict map.
const DATA_VERDICT: u32 = 0xffff_ff00;

/// NFTNL_UDATA_SET_KEYBYTEORDER.
const KEY_BYTE_ORDER: u8 = 0;

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

/// What a set's keys are. The numbers are those of the `nft` tool, which alone reads them: they
/// make `nft list ruleset` print the keys, and a saved ruleset load again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyType {
    /// TYPE_IPV4ADDR …; a concatenation is 6 bits for each part, the first part highest.
    id: u32,
    /// In bytes; the parts of a concatenation are padded to 4.
    len: u32,
    /// BYTEORDER_HOST_ENDIAN 1, BYTEORDER_BIG_ENDIAN 2, mixed 0.
    byte_order: u32,
}

pub(crate) const IPV4_ADDR: KeyType = KeyType { id: 7, len: 4, byte_order: 2 };
pub(crate) const IPV6_ADDR: KeyType = KeyType { id: 8, len: 16, byte_order: 2 };
pub(crate) const IFNAME: KeyType = KeyType { id: 41, len: 16, byte_order: 1 };
pub(crate) const IFNAME_ETHER_ADDR: KeyType = KeyType { id: 41 << 6 | 9, len: 24, byte_order: 0 };

/// IFNAMSIZ, the NUL included.
pub(crate) const NAME_LEN: usize = 16;

/// An interface's name as a key; None when it is none: it has 1 to 15 bytes.
pub(crate) fn name_key(name: &str) -> Option<Vec<u8>> {
    let mut key = name.as_bytes().to_vec();
    key.resize(NAME_LEN, 0);
    (!name.is_empty() && name.len() < NAME_LEN).then_some(key)
}

/// A set, or with `verdicts` a map to verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: KeyType,
    /// Elements are intervals (CIDRs) and not single keys.
    pub(crate) intervals: bool,
    pub(crate) verdicts: bool,
}

/// An element as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) set: Set<'static>,
    pub(crate) key: Vec<u8>,
    /// The key as a person writes it.
    pub(crate) title: String,
    /// The chain that the element of a map leads to.
    pub(crate) jump: Option<String>,
    /// Already fit for a comment.
    pub(crate) comment: String,
}

/// One entry of a set without comment: a single key or, in a set of intervals, all keys from
/// `first` to the one before `end` (to the last there is when that is None).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) first: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

impl Span {
    /// As the kernel takes it: two elements, of which the second says that it is an end.
    fn elements(&self) -> impl Iterator<Item = Vec<SetElementAttribute>> {
        let key = |key: &Vec<u8>| SetElementAttribute::Key(DataAttribute::Value(key.clone()));
        let end = SetElementAttribute::Flags(SetElementFlags::IntervalEnd);
        let end = self.end.as_ref().map(|last| vec![key(last), end]);
        [Some(vec![key(&self.first)]), end].into_iter().flatten()
    }
}

/// How many spans go in one message. Their list is one attribute of at most 65,535 bytes, and the
/// two elements of an interval of IPv6 take 28 and 36.
const SPANS: usize = 1000;

/// One change of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// For the error: "add chain masq-…".
    pub(crate) what: Cow<'static, str>,
    flags: u16,
    message: NfTablesMessage,
}

/// Changes to one table, in order.
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
            (message(self.table.family, step.message.clone()), step.flags | acknowledge)
        })
    }

    fn push(&mut self, what: impl Into<Cow<'static, str>>, flags: u16, message: NfTablesMessage) {
        self.steps.push(Step { what: what.into(), flags, message });
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

    /// Adds a chain; it may exist, and keeps its comment then.
    pub(crate) fn add_chain(&mut self, name: &str, comment: &str) {
        let attributes = vec![
            ChainAttribute::Table(self.table_name()),
            ChainAttribute::Name(name.to_owned()),
            ChainAttribute::UserData(comment::to_userdata(comment)),
        ];
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
        let mut flags = SetFlags::empty();
        flags.set(SetFlags::Interval, set.intervals);
        flags.set(SetFlags::Map, set.verdicts);
        self.add_set_with(set, flags, Vec::new());
    }

    /// Adds a set whose elements packets make, and which are forgotten a minute after the last.
    pub(crate) fn add_meters(&mut self, set: &Set) {
        const MOST: u32 = 65_535;
        const MILLISECONDS: u64 = 60_000;
        let more = vec![
            SetAttribute::Description(vec![SetDescription::Size(MOST)]),
            SetAttribute::Timeout(MILLISECONDS),
        ];
        self.add_set_with(set, SetFlags::Eval | SetFlags::Timeout, more);
    }

    fn add_set_with(&mut self, set: &Set, flags: SetFlags, more: Vec<SetAttribute>) {
        let mut attributes = vec![
            SetAttribute::Table(self.table_name()),
            SetAttribute::Name(set.name.to_owned()),
            SetAttribute::Flags(flags),
            SetAttribute::KeyType(set.key.id),
            SetAttribute::KeyLen(set.key.len),
        ];
        attributes.extend(more);
        if set.verdicts {
            attributes.push(SetAttribute::DataType(DATA_VERDICT));
            attributes.push(SetAttribute::DataLen(0));
        }
        // The kernel demands an ID for lookups by ID within the batch; ours go by name.
        attributes.push(SetAttribute::Id(u32::try_from(self.steps.len()).unwrap_or(0) + 1));
        let mut userdata = vec![KEY_BYTE_ORDER, 4];
        userdata.extend(set.key.byte_order.to_ne_bytes());
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
        for list in self.spans(set, spans) {
            let what = format!("add elements to {}", set.name);
            self.push(what, NLM_F_CREATE | NLM_F_EXCL, NfTablesMessage::NewSetElement(list));
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
            let elements = spans.iter().flat_map(|span| span.elements());
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
        if let Some(chain) = &element.jump {
            attributes.push(SetElementAttribute::Data(DataAttribute::Verdict(vec![
                VerdictAttribute::Code(Verdict::Jump),
                VerdictAttribute::Chain(chain.clone()),
            ])));
        }
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
