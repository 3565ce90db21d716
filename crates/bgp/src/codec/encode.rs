//! Messages to bytes. What is written is within [`MAX_MESSAGE`]; an UPDATE becomes as many
//! messages as that takes.

use super::attributes::{self as kind, AS_SEQUENCE, EXTENDED_LENGTH, Origin};
use super::open::{AS_TRANS, EXTENDED_NEXT_HOP, FOUR_OCTET_ASN, MULTIPROTOCOL, REFRESH, RESTART};
use super::{
    Announced, Attributes, Capabilities, Context, Family, HEADER, MAX_MESSAGE, NextHop,
    Notification, Open, SAFI_UNICAST, Update, nlri,
};
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// Attributes leave no room for a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{attributes} bytes of attributes leave no room for a prefix: announce fewer communities")]
pub struct TooLong {
    /// Their length in bytes.
    pub attributes: usize,
}

/// Bytes of an UPDATE without withdrawn routes, attributes and prefixes.
const UPDATE_FIXED: usize = HEADER + 4;
/// Bytes of the longest prefix.
const PREFIX_MAX: usize = 17;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    let mut bytes = vec![0xff; 16];
    bytes.extend(length.to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

/// `value` behind its length in one byte. What is longer is cut; our own values never are.
fn counted(value: &[u8]) -> impl Iterator<Item = u8> {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    std::iter::once(length).chain(value.iter().copied().take(usize::from(length)))
}

/// A KEEPALIVE.
pub fn keepalive() -> Vec<u8> {
    message(super::KEEPALIVE, &[])
}

/// A ROUTE-REFRESH.
pub fn route_refresh(family: Family) -> Vec<u8> {
    let [high, low] = family.afi().to_be_bytes();
    message(super::ROUTE_REFRESH, &[high, low, 0, SAFI_UNICAST])
}

/// A NOTIFICATION; data that does not fit is cut.
pub fn notification(notification: &Notification) -> Vec<u8> {
    let mut body = vec![notification.code, notification.subcode];
    body.extend(notification.data.iter().take(MAX_MESSAGE - HEADER - 2));
    message(super::NOTIFICATION, &body)
}

/// An OPEN.
pub fn open(open: &Open) -> Vec<u8> {
    let mut body = vec![4];
    body.extend(u16::try_from(open.asn).unwrap_or(AS_TRANS).to_be_bytes());
    body.extend(open.hold_time.to_be_bytes());
    body.extend(open.router_id.octets());
    let capabilities = capabilities(&open.capabilities, open.asn);
    let mut parameter = vec![];
    if !capabilities.is_empty() {
        parameter.push(2);
        parameter.extend(counted(&capabilities));
    }
    body.extend(counted(&parameter));
    message(super::OPEN, &body)
}

/// As an OPEN has them; also what a NOTIFICATION 2/7 says is missing (RFC 5492 section 5).
pub(crate) fn capabilities(offered: &Capabilities, asn: u32) -> Vec<u8> {
    let mut bytes = vec![];
    let mut add = |kind: u8, value: &[u8]| {
        bytes.push(kind);
        bytes.extend(counted(value));
    };
    for family in &offered.multiprotocol {
        let [high, low] = family.afi().to_be_bytes();
        add(MULTIPROTOCOL, &[high, low, 0, SAFI_UNICAST]);
    }
    if offered.route_refresh {
        add(REFRESH, &[]);
    }
    if offered.extended_next_hop {
        add(EXTENDED_NEXT_HOP, &[0, 1, 0, SAFI_UNICAST, 0, 2]);
    }
    if let Some(restart) = &offered.graceful_restart {
        let flags = if restart.restarting { 0x8000 } else { 0 };
        let mut value = (flags | restart.time & 0x0fff).to_be_bytes().to_vec();
        for (family, kept) in &restart.families {
            value.extend(family.afi().to_be_bytes());
            value.extend([SAFI_UNICAST, if *kept { 0x80 } else { 0 }]);
        }
        add(RESTART, &value);
    }
    if offered.four_octet_asn {
        add(FOUR_OCTET_ASN, &asn.to_be_bytes());
    }
    bytes
}

/// As many UPDATEs as it takes: withdrawn prefixes, announced ones, the End-of-RIB marker.
///
/// # Errors
/// The attributes leave no room; nothing is written.
pub fn update(update: &Update, context: &Context) -> Result<Vec<Vec<u8>>, TooLong> {
    let mut messages = vec![];
    let (v4, v6): (Vec<_>, Vec<_>) = update.withdrawn.iter().partition(|p| p.is_ipv4());
    for part in parts(&v4, MAX_MESSAGE - UPDATE_FIXED) {
        messages.push(assemble(&part, &[], &[]));
    }
    for part in parts(&v6, MAX_MESSAGE - UPDATE_FIXED - 7) {
        messages.push(assemble(&[], &unreach(Family::Ipv6, &part), &[]));
    }
    for announced in &update.announced {
        messages.extend(announce(announced, &update.attributes, context)?);
    }
    match update.end_of_rib {
        Some(Family::Ipv4) => messages.push(assemble(&[], &[], &[])),
        Some(Family::Ipv6) => messages.push(assemble(&[], &unreach(Family::Ipv6, &[]), &[])),
        None => {}
    }
    Ok(messages)
}

/// IPv4 with an IPv4 next hop goes into the body, which every peer understands; all else into
/// MP_REACH_NLRI, which RFC 7606 section 5.1 wants first.
fn announce(
    announced: &Announced,
    attributes: &Attributes,
    context: &Context,
) -> Result<Vec<Vec<u8>>, TooLong> {
    let mut common = vec![];
    encode_attributes(attributes, context, &mut common);
    let mut messages = vec![];
    let (v4, v6): (Vec<_>, Vec<_>) = announced.prefixes.iter().partition(|p| p.is_ipv4());
    for (family, prefixes) in [(Family::Ipv4, v4), (Family::Ipv6, v6)] {
        let body = match announced.next_hop.address {
            IpAddr::V4(address) if family == Family::Ipv4 => Some(address),
            _ => None,
        };
        let around = body.map_or(9 + next_hop(&announced.next_hop).len(), |_| 7);
        let room = (MAX_MESSAGE - UPDATE_FIXED).saturating_sub(common.len() + around);
        if room < PREFIX_MAX {
            return Err(TooLong { attributes: common.len() });
        }
        for part in parts(&prefixes, room) {
            let mut all = vec![];
            if let Some(address) = body {
                all.extend(&common);
                attribute(kind::NEXT_HOP, &address.octets(), &mut all);
                messages.push(assemble(&[], &all, &part));
            } else {
                all.extend(reach(family, &announced.next_hop, &part));
                all.extend(&common);
                messages.push(assemble(&[], &all, &[]));
            }
        }
    }
    Ok(messages)
}

/// Encoded prefixes, in parts of at most `room` bytes.
fn parts(prefixes: &[&IpNetwork], room: usize) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = vec![];
    for prefix in prefixes {
        let mut bytes = vec![];
        nlri::encode(prefix, &mut bytes);
        match parts.last_mut().filter(|part| part.len() + bytes.len() <= room) {
            Some(part) => part.extend(bytes),
            None => parts.push(bytes),
        }
    }
    parts
}

fn assemble(withdrawn: &[u8], attributes: &[u8], body: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut bytes = length(withdrawn).to_vec();
    bytes.extend(withdrawn);
    bytes.extend(length(attributes));
    bytes.extend(attributes);
    bytes.extend(body);
    message(super::UPDATE, &bytes)
}

fn attribute(kind: u8, value: &[u8], into: &mut Vec<u8>) {
    let flags = kind::flags(kind).unwrap_or(kind::OPTIONAL);
    match u8::try_from(value.len()) {
        Ok(length) => into.extend([flags, kind, length]),
        Err(_) => {
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
            into.extend([flags | EXTENDED_LENGTH, kind]);
            into.extend(length);
        }
    }
    into.extend(value);
}

fn reach(family: Family, to: &NextHop, prefixes: &[u8]) -> Vec<u8> {
    let mut value = family.afi().to_be_bytes().to_vec();
    value.push(SAFI_UNICAST);
    value.extend(counted(&next_hop(to)));
    value.push(0);
    value.extend(prefixes);
    let mut bytes = vec![];
    attribute(kind::MP_REACH, &value, &mut bytes);
    bytes
}

fn next_hop(next_hop: &NextHop) -> Vec<u8> {
    match next_hop.address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => {
            let link_local = next_hop.link_local.iter().flat_map(|v6| v6.octets());
            v6.octets().into_iter().chain(link_local).collect()
        }
    }
}

fn unreach(family: Family, prefixes: &[u8]) -> Vec<u8> {
    let mut value = family.afi().to_be_bytes().to_vec();
    value.push(SAFI_UNICAST);
    value.extend(prefixes);
    let mut bytes = vec![];
    attribute(kind::MP_UNREACH, &value, &mut bytes);
    bytes
}

/// All but the next hop and the prefixes, in ascending order (RFC 4271 section 5).
fn encode_attributes(attributes: &Attributes, context: &Context, into: &mut Vec<u8>) {
    let origin = match attributes.origin {
        Origin::Igp => 0,
        Origin::Egp => 1,
        Origin::Incomplete => 2,
    };
    attribute(kind::ORIGIN, &[origin], into);
    attribute(kind::AS_PATH, &as_path(&attributes.as_path, context.four_octet_asn), into);
    if let Some(med) = attributes.med {
        attribute(kind::MED, &med.to_be_bytes(), into);
    }
    if let Some(preference) = attributes.local_pref.filter(|_| context.internal) {
        attribute(kind::LOCAL_PREF, &preference.to_be_bytes(), into);
    }
    let flat = |words: Vec<u32>| words.into_iter().flat_map(u32::to_be_bytes).collect::<Vec<u8>>();
    let communities = flat(attributes.communities.iter().map(|community| community.0).collect());
    if !communities.is_empty() {
        attribute(kind::COMMUNITIES, &communities, into);
    }
    if let Some(originator) = attributes.originator_id.filter(|_| context.internal) {
        attribute(kind::ORIGINATOR_ID, &originator.octets(), into);
    }
    let clusters = flat(attributes.cluster_list.iter().map(|id| u32::from(*id)).collect());
    if !clusters.is_empty() && context.internal {
        attribute(kind::CLUSTER_LIST, &clusters, into);
    }
    let large = attributes.large_communities.iter().flat_map(|community| community.0);
    let large = flat(large.collect());
    let wide = attributes.as_path.iter().any(|asn| u16::try_from(*asn).is_err());
    if wide && !context.four_octet_asn {
        attribute(kind::AS4_PATH, &as_path(&attributes.as_path, true), into);
    }
    if !large.is_empty() {
        attribute(kind::LARGE_COMMUNITIES, &large, into);
    }
}

fn as_path(path: &[u32], four_octets: bool) -> Vec<u8> {
    let mut bytes = vec![];
    for segment in path.chunks(usize::from(u8::MAX)) {
        bytes.push(AS_SEQUENCE);
        bytes.push(u8::try_from(segment.len()).unwrap_or(u8::MAX));
        for asn in segment {
            if four_octets {
                bytes.extend(asn.to_be_bytes());
            } else {
                bytes.extend(u16::try_from(*asn).unwrap_or(AS_TRANS).to_be_bytes());
            }
        }
    }
    bytes
}
