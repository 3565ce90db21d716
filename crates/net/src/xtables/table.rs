//! The bytes that iptables-legacy's tables are (struct ipt_getinfo, ipt_get_entries, ipt_entry and
//! those of ip6tables).

use std::net::IpAddr;

/// XT_TABLE_MAXNAMELEN.
const NAME_LEN: usize = 32;
/// sizeof(struct ipt_getinfo): name, valid hooks, entries and policies of five hooks, number, size.
pub(super) const INFO_LEN: usize = NAME_LEN + 4 * (1 + 5 + 5 + 2);
const HOOK_ENTRIES: usize = NAME_LEN + 4;
const UNDERFLOWS: usize = HOOK_ENTRIES + 4 * 5;
const SIZE: usize = INFO_LEN - 4;
/// What comes before the entries: name and size, aligned for a counter.
pub(super) const ENTRIES_HEAD: usize = NAME_LEN + 8;
/// NF_INET_FORWARD.
const FORWARD: usize = 2;

/// struct xt_entry_target and xt_entry_match: size, name, revision.
const EXTENSION_HEAD: usize = 32;
/// A standard target's verdict: -1 - NF_DROP, -1 - NF_ACCEPT.
const DROP: i32 = -1;
const ACCEPT: i32 = -2;

/// Which family's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    V4,
    V6,
}

impl Layout {
    /// Length of an address.
    fn address(self) -> usize {
        match self {
            Layout::V4 => 4,
            Layout::V6 => 16,
        }
    }

    /// Of struct ipt_ip and ip6t_ip6: two addresses, two masks, names and masks of two links. Behind
    /// are a protocol (16 bits) and, of IPv6, the traffic class; flags; inversions.
    fn links(self) -> usize {
        4 * self.address()
    }

    fn protocol(self) -> usize {
        self.links() + 64
    }

    fn inversions(self) -> usize {
        self.protocol() + if self == Layout::V4 { 3 } else { 4 }
    }

    /// Offset of target_offset, behind nfcache; next_offset follows.
    fn offsets(self) -> usize {
        match self {
            Layout::V4 => 88,
            Layout::V6 => 140,
        }
    }

    /// Length of an entry without matches.
    fn entry(self) -> usize {
        match self {
            Layout::V4 => 112,
            Layout::V6 => 168,
        }
    }
}

/// A question about table `filter`, of that many bytes.
pub(super) fn question(length: usize, size: u32) -> Vec<u8> {
    let mut bytes = b"filter".to_vec();
    bytes.resize(NAME_LEN, 0);
    bytes.extend(size.to_ne_bytes());
    bytes.resize(length, 0);
    bytes
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

/// The size of a table's entries, of its information.
pub(super) fn size(info: &[u8]) -> Option<u32> {
    word(info, SIZE)
}

/// A table as far as FORWARD goes.
#[derive(Debug)]
pub(super) struct Table {
    layout: Layout,
    /// The chain's rules, each from its start.
    rules: Vec<Vec<u8>>,
    policy: i32,
}

impl Table {
    /// None: the bytes are no table.
    pub(super) fn read(layout: Layout, info: &[u8], entries: &[u8]) -> Option<Table> {
        let entries = entries.get(ENTRIES_HEAD..)?;
        let first = word(info, HOOK_ENTRIES + 4 * FORWARD)? as usize;
        let last = word(info, UNDERFLOWS + 4 * FORWARD)? as usize;
        let policy = verdict(layout, entries.get(last..)?)?;
        let (mut rules, mut at) = (Vec::new(), first);
        while at < last {
            let rest = entries.get(at..last)?;
            let length = half(rest, layout.offsets() + 2)?;
            rules.push(rest.get(..length)?.to_vec());
            at += length.max(layout.entry());
        }
        Some(Table { layout, rules, policy })
    }

    /// Whether the policy drops what the address sends with the mark.
    pub(super) fn forward_drops(&self, address: IpAddr, mark: u32) -> bool {
        let accepts = |rule: &Vec<u8>| accepts(self.layout, rule, address, mark).unwrap_or(false);
        self.policy == DROP && !self.rules.iter().any(accepts)
    }
}

/// The verdict of an entry's standard target.
fn verdict(layout: Layout, entry: &[u8]) -> Option<i32> {
    let target = half(entry, layout.offsets())?;
    // Its name is empty (XT_STANDARD_TARGET).
    let standard = entry.get(target + 2) == Some(&0);
    let verdict = word(entry, target + EXTENSION_HEAD)?;
    standard.then_some(i32::from_ne_bytes(verdict.to_ne_bytes()))
}

fn accepts(layout: Layout, entry: &[u8], address: IpAddr, mark: u32) -> Option<bool> {
    let matches = entry.get(layout.entry()..half(entry, layout.offsets())?)?;
    if verdict(layout, entry)? != ACCEPT || !is_of_any_link(layout, entry)? {
        return Some(false);
    }
    let of_mark = is_mark(matches, mark) && is_any(entry.get(..layout.links())?);
    Some(of_mark || matches.is_empty() && is_from(layout, entry, address)?)
}

fn is_any(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Neither links nor protocol nor inversions are asked for.
fn is_of_any_link(layout: Layout, entry: &[u8]) -> Option<bool> {
    let protocol = layout.protocol();
    let any = is_any(entry.get(layout.links()..protocol + 2)?);
    Some(any && entry.get(layout.inversions()) == Some(&0))
}

/// The source of a packet from the address matches, and any destination.
fn is_from(layout: Layout, entry: &[u8], address: IpAddr) -> Option<bool> {
    let address = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = layout.address();
    let (source, mask) = (entry.get(..length)?, entry.get(2 * length..3 * length)?);
    let any_destination = is_any(entry.get(3 * length..4 * length)?);
    let mut bytes = address.iter().zip(source).zip(mask);
    Some(any_destination && bytes.all(|((own, source), mask)| own & mask == *source))
}

/// The only match is the one of xt_mark, revision 1: struct xt_mark_mtinfo1.
fn is_mark(matches: &[u8], mark: u32) -> bool {
    let name = matches.get(2..EXTENSION_HEAD - 1).unwrap_or_default();
    let word = |at: usize| word(matches, EXTENSION_HEAD + 4 * at);
    half(matches, 0) == Some(matches.len())
        && name.starts_with(b"mark\0")
        && matches.get(EXTENSION_HEAD - 1) == Some(&1)
        && (word(0), word(1)) == (Some(mark), Some(mark))
        && matches.get(EXTENSION_HEAD + 8) == Some(&0)
}
