//! Path attributes (RFC 4271 section 5), and what a broken one costs (RFC 7606 section 7).

use super::Context;
use super::community::{Communities, Community, LargeCommunity};
use super::open::AS_TRANS;
use super::reader::{Reader, words};
use std::net::Ipv4Addr;

pub(super) const ORIGIN: u8 = 1;
pub(super) const AS_PATH: u8 = 2;
pub(super) const NEXT_HOP: u8 = 3;
pub(super) const MED: u8 = 4;
pub(super) const LOCAL_PREF: u8 = 5;
pub(super) const ATOMIC_AGGREGATE: u8 = 6;
pub(super) const AGGREGATOR: u8 = 7;
pub(super) const COMMUNITIES: u8 = 8;
pub(super) const ORIGINATOR_ID: u8 = 9;
pub(super) const CLUSTER_LIST: u8 = 10;
pub(super) const MP_REACH: u8 = 14;
pub(super) const MP_UNREACH: u8 = 15;
pub(super) const EXTENDED_COMMUNITIES: u8 = 16;
pub(super) const AS4_PATH: u8 = 17;
pub(super) const AS4_AGGREGATOR: u8 = 18;
pub(super) const LARGE_COMMUNITIES: u8 = 32;

pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
pub(super) const EXTENDED_LENGTH: u8 = 0x10;

pub(super) const AS_SEQUENCE: u8 = 2;

/// The flags that an attribute must have, without Partial and Extended Length; `None` is unknown.
pub(super) fn flags(kind: u8) -> Option<u8> {
    Some(match kind {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => TRANSITIVE,
        MED | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH | MP_UNREACH => OPTIONAL,
        AGGREGATOR | COMMUNITIES | EXTENDED_COMMUNITIES | AS4_PATH | AS4_AGGREGATOR
        | LARGE_COMMUNITIES => OPTIONAL | TRANSITIVE,
        _ => return None,
    })
}

/// ORIGIN; a lower one is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// 0.
    #[default]
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

/// What a path is judged by. Attributes that no decision here needs are checked and dropped: an
/// end node passes nothing on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, nearest AS first. It has no sets: RFC 9774 withdraws such routes.
    pub as_path: Vec<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF, from inside of the AS only.
    pub local_pref: Option<u32>,
    /// COMMUNITIES.
    pub communities: Vec<Community>,
    /// LARGE_COMMUNITY (RFC 8092).
    pub large_communities: Vec<LargeCommunity>,
    /// ORIGINATOR_ID, set by route reflectors (RFC 4456).
    pub originator_id: Option<Ipv4Addr>,
    /// CLUSTER_LIST, set by route reflectors.
    pub cluster_list: Vec<Ipv4Addr>,
}

impl Attributes {
    /// Communities of both kinds.
    pub fn all_communities(&self) -> Communities {
        Communities { standard: self.communities.clone(), large: self.large_communities.clone() }
    }
}

/// What an error costs (RFC 7606 section 2), the cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Approach {
    AttributeDiscard,
    TreatAsWithdraw,
    SessionReset,
}

/// An error in an attribute: its cost, the NOTIFICATION's subcode if it comes to that, and why.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) approach: Approach,
    pub(super) subcode: u8,
    pub(super) why: String,
}

pub(super) fn fault(approach: Approach, subcode: u8, why: impl Into<String>) -> Fault {
    Fault { approach, subcode, why: why.into() }
}

/// Attributes, as far as read.
#[derive(Default)]
pub(super) struct Read {
    pub(super) attributes: Attributes,
    pub(super) next_hop: Option<Ipv4Addr>,
    as4_path: Option<Vec<u32>>,
    /// The AS number of a 2-octet AGGREGATOR.
    aggregator: Option<u16>,
}

impl Read {
    /// Takes the value of an attribute whose flags are right; not of MP_REACH and MP_UNREACH.
    pub(super) fn take(&mut self, kind: u8, value: &[u8], context: &Context) -> Result<(), Fault> {
        use Approach::{AttributeDiscard, TreatAsWithdraw};
        let internal = context.internal;
        if !internal && matches!(kind, LOCAL_PREF | ORIGINATOR_ID | CLUSTER_LIST) {
            let why = format!("{} from another AS", name(kind));
            return Err(fault(AttributeDiscard, 4, why));
        }
        let length = |approach| {
            move || fault(approach, 5, format!("{} of {} bytes", name(kind), value.len()))
        };
        let withdraw = length(TreatAsWithdraw);
        let into = &mut self.attributes;
        match kind {
            ORIGIN => into.origin = origin(value)?,
            AS_PATH => into.as_path = as_path(value, context.four_octet_asn)?,
            NEXT_HOP => self.next_hop = Some(address(value).ok_or_else(withdraw)?),
            MED => into.med = Some(number(value).ok_or_else(withdraw)?),
            LOCAL_PREF => into.local_pref = Some(number(value).ok_or_else(withdraw)?),
            ORIGINATOR_ID => into.originator_id = Some(address(value).ok_or_else(withdraw)?),
            CLUSTER_LIST => {
                let list = list(value).ok_or_else(withdraw)?;
                into.cluster_list = list.into_iter().map(Ipv4Addr::from).collect();
            }
            COMMUNITIES => {
                let list = list(value).ok_or_else(withdraw)?;
                into.communities = list.into_iter().map(Community).collect();
            }
            EXTENDED_COMMUNITIES => whole(value, 8).ok_or_else(withdraw)?,
            LARGE_COMMUNITIES => into.large_communities = large(value).ok_or_else(withdraw)?,
            ATOMIC_AGGREGATE if !value.is_empty() => return Err(length(AttributeDiscard)()),
            AGGREGATOR => self.aggregator(value, context).ok_or_else(length(AttributeDiscard))?,
            AS4_AGGREGATOR if value.len() != 8 => return Err(length(AttributeDiscard)()),
            // RFC 6793 section 6: discarded when broken, and between speakers of 4 octets always.
            AS4_PATH if !context.four_octet_asn => {
                let path = as_path(value, true);
                let discard = |broken: Fault| fault(AttributeDiscard, broken.subcode, broken.why);
                self.as4_path = Some(path.map_err(discard)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn aggregator(&mut self, value: &[u8], context: &Context) -> Option<()> {
        let mut reader = Reader(value);
        if context.four_octet_asn {
            reader.u32()?;
        } else {
            self.aggregator = Some(reader.u16()?);
        }
        reader.u32()?;
        reader.0.is_empty().then_some(())
    }

    /// The attributes; from a speaker of 2 octets, with the AS path put together (RFC 6793
    /// section 4.2.3).
    pub(super) fn finish(mut self) -> Attributes {
        let path = &mut self.attributes.as_path;
        let aggregated = self.aggregator.is_some_and(|asn| asn != AS_TRANS);
        if let Some(as4) = self.as4_path.filter(|_| !aggregated)
            && let Some(leading) = path.len().checked_sub(as4.len())
        {
            path.truncate(leading);
            path.extend(as4);
        }
        self.attributes
    }
}

/// A segment's members; the first member of the result is the nearest AS.
fn as_path(value: &[u8], four_octets: bool) -> Result<Vec<u32>, Fault> {
    let broken = |why: &str| fault(Approach::TreatAsWithdraw, 11, format!("AS_PATH with {why}"));
    let (mut reader, mut path) = (Reader(value), vec![]);
    while let Some(kind) = reader.u8() {
        let count = reader.u8().ok_or_else(|| broken("half a segment"))?;
        if kind != AS_SEQUENCE {
            return Err(broken(&segment(kind)));
        }
        if count == 0 {
            return Err(broken("an empty segment"));
        }
        for _ in 0..count {
            let asn = if four_octets { reader.u32() } else { reader.u16().map(u32::from) };
            match asn {
                None => return Err(broken("a segment that is cut off")),
                Some(0) => return Err(broken("AS 0")), // RFC 7607
                Some(asn) => path.push(asn),
            }
        }
    }
    Ok(path)
}

/// A segment that there must not be, and what to do.
fn segment(kind: u8) -> String {
    match kind {
        1 => "an AS_SET, which RFC 9774 forbids; aggregate without as-set at the peer".to_owned(),
        // RFC 5065 section 5: we are in none.
        3 | 4 => "a segment of a confederation; the peer takes this node for a member".to_owned(),
        _ => format!("a segment of type {kind}"),
    }
}

fn origin(value: &[u8]) -> Result<Origin, Fault> {
    match value {
        [0] => Ok(Origin::Igp),
        [1] => Ok(Origin::Egp),
        [2] => Ok(Origin::Incomplete),
        [other] => Err(fault(Approach::TreatAsWithdraw, 6, format!("ORIGIN {other}"))),
        _ => {
            let why = format!("ORIGIN of {} bytes", value.len());
            Err(fault(Approach::TreatAsWithdraw, 5, why))
        }
    }
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    number(value).map(Ipv4Addr::from)
}

fn list(value: &[u8]) -> Option<Vec<u32>> {
    words(value).filter(|list| !list.is_empty())
}

/// Each once (RFC 8092 section 3).
fn large(value: &[u8]) -> Option<Vec<LargeCommunity>> {
    whole(value, 12)?;
    let mut list = vec![];
    for triple in words(value)?.as_chunks::<3>().0 {
        let community = LargeCommunity(*triple);
        if !list.contains(&community) {
            list.push(community);
        }
    }
    Some(list)
}

fn whole(value: &[u8], unit: usize) -> Option<()> {
    (!value.is_empty() && value.len().is_multiple_of(unit)).then_some(())
}

/// An attribute as the RFCs call it.
pub(super) fn name(kind: u8) -> String {
    match kind {
        ORIGIN => "ORIGIN",
        AS_PATH => "AS_PATH",
        NEXT_HOP => "NEXT_HOP",
        MED => "MULTI_EXIT_DISC",
        LOCAL_PREF => "LOCAL_PREF",
        ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
        AGGREGATOR => "AGGREGATOR",
        COMMUNITIES => "COMMUNITIES",
        ORIGINATOR_ID => "ORIGINATOR_ID",
        CLUSTER_LIST => "CLUSTER_LIST",
        MP_REACH => "MP_REACH_NLRI",
        MP_UNREACH => "MP_UNREACH_NLRI",
        EXTENDED_COMMUNITIES => "EXTENDED_COMMUNITIES",
        AS4_PATH => "AS4_PATH",
        AS4_AGGREGATOR => "AS4_AGGREGATOR",
        LARGE_COMMUNITIES => "LARGE_COMMUNITY",
        other => return format!("attribute {other}"),
    }
    .to_owned()
}
