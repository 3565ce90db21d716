//! Sets and maps: what their keys and data are, and their elements.

use std::net::{IpAddr, SocketAddr};

use netlink_packet_core::DefaultNla;
use netlink_packet_netfilter::nftables::{
    DataAttribute, SetElementAttribute, SetElementFlags, Verdict as Code, VerdictAttribute,
};

/// A type of keys or data. The numbers are those of the `nft` tool, which alone reads them: they
/// make `nft list ruleset` print the values, and a saved ruleset load again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type {
    /// TYPE_IPV4ADDR …; a concatenation has 6 bits for each part, the first part highest.
    pub(super) id: u32,
    /// In bytes; the parts of a concatenation are padded to 4.
    pub(super) len: u32,
    /// BYTEORDER_HOST_ENDIAN 1, BYTEORDER_BIG_ENDIAN 2, mixed 0.
    pub(super) byte_order: u32,
    /// The lengths of a concatenation's parts in bytes, the rest 0.
    pub(super) parts: [u32; Type::PARTS],
}

impl Type {
    /// As many parts as a concatenation has here at most.
    pub(super) const PARTS: usize = 5;

    const fn new(id: u32, len: u32, byte_order: u32) -> Type {
        Type { id, len, byte_order, parts: [len, 0, 0, 0, 0] }
    }

    /// The concatenation `self . other`, where `other` has one part.
    pub(crate) const fn then(self, other: Type) -> Type {
        let mut parts = self.parts;
        let mut at = 0;
        while parts[at] != 0 {
            at += 1;
        }
        parts[at] = other.len;
        let len = self.len.next_multiple_of(4) + other.len.next_multiple_of(4);
        Type { id: self.id << 6 | other.id, len, byte_order: 0, parts }
    }

    /// Whether it has several parts.
    pub(crate) const fn is_concatenation(&self) -> bool {
        self.parts[1] != 0
    }
}

pub(crate) const IPV4_ADDR: Type = Type::new(7, 4, 2);
pub(crate) const IPV6_ADDR: Type = Type::new(8, 16, 2);
pub(crate) const ETHER_ADDR: Type = Type::new(9, 6, 2);
pub(crate) const IFNAME: Type = Type::new(41, 16, 1);
pub(crate) const PROTOCOL: Type = Type::new(12, 1, 2);
pub(crate) const PORT: Type = Type::new(13, 2, 2);

/// Types that no rule of ours uses yet.
#[cfg(test)]
pub(crate) mod unused {
    use super::Type;
    pub(crate) const MARK: Type = Type::new(19, 4, 1);
}

/// What an element of a map leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataType {
    Verdict,
    Value(Type),
}

/// NFT_SET_INTERVAL: elements are intervals (CIDRs) and not single keys.
const INTERVAL: u32 = 4;
/// NFT_SET_MAP.
pub(super) const MAP: u32 = 8;
/// NFT_SET_TIMEOUT.
const TIMEOUT: u32 = 0x10;
/// NFT_SET_EVAL: rules add elements.
const DYNAMIC: u32 = 0x20;
/// NFT_SET_CONCAT: intervals of concatenations.
pub(super) const CONCAT: u32 = 0x80;

/// A set, or with `data` a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Set<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: Type,
    pub(crate) data: Option<DataType>,
    /// NFT_SET_…, without those that follow from key and data.
    pub(super) flags: u32,
    /// How long an element lives that says nothing of it, in milliseconds.
    pub(super) timeout: Option<u64>,
    /// How many elements it may have.
    pub(super) size: Option<u32>,
}

impl<'a> Set<'a> {
    /// A set of single keys.
    pub(crate) const fn new(name: &'a str, key: Type) -> Set<'a> {
        Set { name, key, data: None, flags: 0, timeout: None, size: None }
    }

    /// A map of single keys.
    pub(crate) const fn map(name: &'a str, key: Type, data: DataType) -> Set<'a> {
        Set { data: Some(data), ..Set::new(name, key) }
    }

    /// With intervals for keys.
    pub(crate) const fn intervals(self) -> Set<'a> {
        Set { flags: self.flags | INTERVAL, ..self }
    }

    /// Elements come by rules, at most `size` of them, and go after so many milliseconds.
    pub(crate) const fn dynamic(self, size: u32, timeout: u64) -> Set<'a> {
        let flags = self.flags | DYNAMIC | TIMEOUT;
        Set { flags, timeout: Some(timeout), size: Some(size), ..self }
    }

    pub(crate) const fn has_intervals(&self) -> bool {
        self.flags & INTERVAL != 0
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

impl Verdict {
    pub(super) fn attributes(&self) -> Vec<VerdictAttribute> {
        let (code, chain) = match self {
            // NF_DROP and NF_ACCEPT (linux/netfilter.h).
            Self::Drop => (Code::Other(0), None),
            Self::Accept => (Code::Other(1), None),
            Self::Return => (Code::Return, None),
            Self::Jump(chain) => (Code::Jump, Some(chain)),
            Self::Goto(chain) => (Code::Goto, Some(chain)),
        };
        let chain = chain.cloned().map(VerdictAttribute::Chain);
        [VerdictAttribute::Code(code)].into_iter().chain(chain).collect()
    }

    /// None: one of nf_tables' own, which no element has.
    pub(super) fn read(attributes: Vec<VerdictAttribute>) -> Option<Self> {
        let (mut code, mut chain) = (None, String::new());
        for attribute in attributes {
            match attribute {
                VerdictAttribute::Code(found) => code = Some(found),
                VerdictAttribute::Chain(found) => chain = found,
                _ => {}
            }
        }
        match code? {
            Code::Other(0) => Some(Self::Drop),
            Code::Other(1) => Some(Self::Accept),
            Code::Return => Some(Self::Return),
            Code::Jump => Some(Self::Jump(chain)),
            Code::Goto => Some(Self::Goto(chain)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

/// What one element of a map leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Data {
    Verdict(Verdict),
    /// In the bytes of the map's data type.
    Value(Vec<u8>),
}

impl Data {
    /// The chain that it leads to.
    pub(crate) fn chain(&self) -> Option<&str> {
        match self {
            Self::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => Some(chain),
            Self::Verdict(_) | Self::Value(_) => None,
        }
    }

    /// The address and the port that it consists of.
    pub(crate) fn socket_address(&self) -> Option<SocketAddr> {
        let Self::Value(bytes) = self else { return None };
        let (address, port) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        let [high, low, 0, 0] = *port else { return None };
        let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
        let address = v4.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from)).ok()?;
        Some(SocketAddr::new(address, u16::from_be_bytes([high, low])))
    }

    pub(super) fn attribute(&self) -> DataAttribute {
        match self {
            Self::Verdict(verdict) => DataAttribute::Verdict(verdict.attributes()),
            Self::Value(bytes) => DataAttribute::Value(bytes.clone()),
        }
    }

    pub(super) fn read(data: DataAttribute) -> Option<Self> {
        match data {
            DataAttribute::Verdict(verdict) => Verdict::read(verdict).map(Self::Verdict),
            DataAttribute::Value(bytes) => Some(Self::Value(bytes)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::Value(bytes) => match self.socket_address() {
                Some(address) => address.fmt(f),
                None => write!(f, "{bytes:02x?}"),
            },
        }
    }
}

/// An element as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) set: Set<'static>,
    pub(crate) key: Vec<u8>,
    /// The key as a person writes it.
    pub(crate) title: String,
    /// What the element of a map leads to.
    pub(crate) data: Option<Data>,
    /// Already fit for a comment.
    pub(crate) comment: String,
}

/// One entry of a set without comment: a single key or, in a set of intervals, all keys from
/// `first` to the one before `end` (to the last there is when that is None). Of a concatenation
/// `end` is the last key itself: each part is an interval of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) first: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

/// NFTA_DATA_VALUE.
const DATA_VALUE: u16 = 1;

impl Span {
    /// As the kernel takes it in that set: of a concatenation one element with two keys, else two
    /// elements, of which the second says that it is an end.
    pub(super) fn elements(&self, set: &Set<'_>) -> Vec<Vec<SetElementAttribute>> {
        let key = |key: &Vec<u8>| SetElementAttribute::Key(DataAttribute::Value(key.clone()));
        let first = key(&self.first);
        match &self.end {
            None => vec![vec![first]],
            Some(end) if set.key.is_concatenation() => {
                let end = vec![DefaultNla::new(DATA_VALUE, end.clone())];
                vec![vec![first, SetElementAttribute::KeyEnd(end)]]
            }
            Some(end) => {
                let flags = SetElementAttribute::Flags(SetElementFlags::IntervalEnd);
                vec![vec![first], vec![key(end), flags]]
            }
        }
    }
}

/// IFNAMSIZ, the NUL included.
pub(crate) const NAME_LEN: usize = 16;

/// An interface's name as a key; None when it is none: it has 1 to 15 bytes.
pub(crate) fn name_key(name: &str) -> Option<Vec<u8>> {
    let mut key = name.as_bytes().to_vec();
    key.resize(NAME_LEN, 0);
    (!name.is_empty() && name.len() < NAME_LEN).then_some(key)
}

/// The interface's name that a key is.
pub(crate) fn key_name(key: &[u8]) -> String {
    String::from_utf8_lossy(key).trim_end_matches('\0').to_owned()
}
