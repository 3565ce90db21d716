//! The codec against another one, `rustbgpd-wire`: of every UPDATE, however broken, both
//! say whether the session goes on, which prefixes are withdrawn and announced, and with what.
//!
//! Where they differ on purpose, [`theirs`] and [`attributes`] make up for it:
//! - it takes iBGP routes without NEXT_HOP; RFC 4271 section 5.1.3 makes it mandatory;
//! - it ends the session where MP_REACH_NLRI or MP_UNREACH_NLRI has wrong flags, is cut off or cannot be read;
//!   here that withdraws, or disables the family (RFC 7606 sections 3 c and 3 j);
//! - it leaves RFC 7606 section 5.2 (errors where nothing is announced) to its user;
//! - it looks at the Partial bit of attributes that must not have it; RFC 7606 section 3 c names
//!   Optional and Transitive only;
//! - it looks for AS 0 and sets in a second AS_PATH too; RFC 7606 section 3 g discards that;
//! - it takes an empty segment beside AS4_PATH without a word;
//! - it withdraws for a set in AS4_PATH; here that is discarded (RFC 6793 section 6), and the set
//!   that goes with it in AS_PATH withdraws;
//! - it judges a NEXT_HOP that no prefix of the message has.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation fails the test")]

use bgp_speaker::codec::{self, Context, Family, Message, decode};
use proptest::prelude::*;
use rustbgpd_wire::attribute::{AsPathSegment, MalformedAttribute, PathAttribute};
use rustbgpd_wire::nlri::Prefix;
use rustbgpd_wire::validate::{ErrorDisposition, validate_update_attributes};
use rustbgpd_wire::{Afi, DecodeError, Message as Theirs, ParsedUpdate, Safi, decode_message};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// AS_PATH, MULTI_EXIT_DISC, LOCAL_PREF, COMMUNITIES.
type Judged = (Vec<u32>, Option<u32>, Option<u32>, Vec<u32>);

/// What an UPDATE comes to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Reset,
    Read {
        withdrawn: BTreeSet<String>,
        announced: BTreeSet<(String, IpAddr)>,
        /// Of no account without prefixes.
        attributes: Option<Judged>,
    },
}

fn ours(message: &[u8], context: &Context) -> Outcome {
    let Ok(Message::Update(update)) = decode(message, context) else { return Outcome::Reset };
    if update.faults.iter().any(|fault| fault.starts_with("MP_")) {
        return Outcome::Reset;
    }
    let announced = update.announced.iter();
    let announced: BTreeSet<_> = announced
        .flat_map(|a| a.prefixes.iter().map(|prefix| (prefix.to_string(), a.next_hop.address)))
        .collect();
    let a = update.attributes;
    let communities = a.communities.iter().map(|community| community.0).collect();
    Outcome::Read {
        withdrawn: update.withdrawn.iter().map(ToString::to_string).collect(),
        attributes: (!announced.is_empty()).then_some((
            a.as_path,
            a.med,
            a.local_pref,
            communities,
        )),
        announced,
    }
}

/// Attributes that we know. It knows more, and finds fault with these.
const KNOWN: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32];

/// `None` when it found fault with an attribute that is none of ours, or with a set in AS4_PATH.
fn theirs(message: &[u8], context: &Context) -> Option<Outcome> {
    let mut bytes = message.to_vec().into();
    let Ok(Theirs::Update(update)) = decode_message(&mut bytes, 4096) else {
        return Some(Outcome::Reset);
    };
    let internal = context.internal;
    let Ok(parsed) = update.parse_revised(context.four_octet_asn, internal, false, &[]) else {
        return Some(Outcome::Reset);
    };
    let (update, malformed) = (parsed.update, parsed.malformed);
    let set = |m: &MalformedAttribute| matches!(m.error, DecodeError::ProhibitedAsSet { .. });
    let passed =
        |m: &MalformedAttribute| !KNOWN.contains(&m.type_code) || m.type_code == 17 && set(m);
    if malformed.iter().any(passed) {
        return None;
    }
    let mut withdrawn: BTreeSet<String> = update.withdrawn.iter().map(|e| v4(&e.prefix)).collect();
    let mut body: BTreeSet<String> = update.announced.iter().map(|e| v4(&e.prefix)).collect();
    let (mut announced, mut other) = (BTreeSet::new(), false);
    let mut attributes = (vec![], None, None, vec![]);
    let mut next_hop = None;
    for attribute in &update.attributes {
        match attribute {
            PathAttribute::NextHop(address) => next_hop = Some(IpAddr::V4(*address)),
            PathAttribute::MpReachNlri(reach) if reach.safi == Safi::Unicast => {
                let all = reach.announced.iter().map(|entry| text(&entry.prefix));
                announced.extend(all.map(|prefix| (prefix, reach.next_hop)));
            }
            PathAttribute::MpReachNlri(_) => other = true,
            PathAttribute::MpUnreachNlri(unreach) if unreach.safi == Safi::Unicast => {
                withdrawn.extend(unreach.withdrawn.iter().map(|entry| text(&entry.prefix)));
            }
            PathAttribute::AsPath(path) => {
                attributes.0 = path.segments.iter().flat_map(members).collect();
            }
            PathAttribute::Med(med) => attributes.1 = Some(*med),
            PathAttribute::LocalPref(preference) if internal => attributes.2 = Some(*preference),
            PathAttribute::Communities(list) | PathAttribute::CommunitiesPartial(list) => {
                attributes.3 = list.clone();
            }
            _ => {}
        }
    }
    let reaches = other || !announced.is_empty() || !body.is_empty();
    match cost(&update, &malformed, reaches, internal) {
        ErrorDisposition::SessionReset => return Some(Outcome::Reset),
        ErrorDisposition::TreatAsWithdraw => {
            withdrawn.append(&mut body);
            withdrawn.extend(std::mem::take(&mut announced).into_iter().map(|(prefix, _)| prefix));
        }
        ErrorDisposition::AttributeDiscard => {
            announced.extend(body.into_iter().map(|prefix| (prefix, next_hop.unwrap())));
        }
    }
    let attributes = (!announced.is_empty()).then_some(attributes);
    Some(Outcome::Read { withdrawn, announced, attributes })
}

/// What the worst of an UPDATE's faults costs; `reaches` where it announces anything.
fn cost(
    update: &ParsedUpdate,
    malformed: &[MalformedAttribute],
    reaches: bool,
    internal: bool,
) -> ErrorDisposition {
    let body = !update.announced.is_empty();
    let is_next_hop = |a: &PathAttribute| matches!(a, PathAttribute::NextHop(_));
    let mut judged = update.attributes.clone();
    judged.retain(|attribute| body || !is_next_hop(attribute));
    let checked = validate_update_attributes(&judged, reaches, body, !internal);
    let costs = malformed.iter().map(|malformed| malformed.disposition);
    let costs = costs.chain(checked.err().map(|error| error.disposition));
    let mut cost = costs.max().unwrap_or(ErrorDisposition::AttributeDiscard);
    if body && !judged.iter().any(is_next_hop) {
        cost = cost.max(ErrorDisposition::TreatAsWithdraw);
    }
    if cost == ErrorDisposition::TreatAsWithdraw && !reaches {
        cost = ErrorDisposition::SessionReset;
    }
    cost
}

fn members(segment: &AsPathSegment) -> Vec<u32> {
    match segment {
        AsPathSegment::AsSet(list) | AsPathSegment::AsSequence(list) => list.clone(),
    }
}

fn v4(prefix: &rustbgpd_wire::nlri::Ipv4Prefix) -> String {
    text(&Prefix::V4(*prefix))
}

fn text(prefix: &Prefix) -> String {
    format!("{}/{}", prefix.addr_string(), prefix.prefix_len())
}

/// The body of property and fuzz target.
fn agree(message: &[u8], context: &Context) {
    let ours = ours(message, context);
    if let Some(theirs) = theirs(message, context) {
        assert_eq!(ours, theirs, "{message:02x?} {context:?}");
    }
}

/// Kinds and their flags: 0x40 well-known, 0x80 optional, 0xc0 and transitive.
const KINDS: [(u8, u8); 19] = [
    (1, 0x40),
    (2, 0x40),
    (3, 0x40),
    (4, 0x80),
    (5, 0x40),
    (6, 0x40),
    (7, 0xc0),
    (8, 0xc0),
    (9, 0x80),
    (10, 0x80),
    (14, 0x80),
    (15, 0x80),
    (16, 0xc0),
    (17, 0xc0),
    (18, 0xc0),
    (32, 0xc0),
    (200, 0xc0),
    (201, 0x80),
    (202, 0x40),
];

/// The value of an attribute, of roughly the right form.
fn value(kind: u8) -> BoxedStrategy<Vec<u8>> {
    let bytes = |range: std::ops::Range<usize>| prop::collection::vec(any::<u8>(), range);
    let prefixes = prop_oneof![
        Just(vec![24, 10, 0, 1]),
        Just(vec![16, 172, 16, 8, 10]),
        Just(vec![]),
        bytes(0..6),
    ];
    match kind {
        1 => prop_oneof![4 => (0..4u8).prop_map(|o| vec![o]), 1 => bytes(0..3)].boxed(),
        2 | 17 => prop_oneof![
            prop::collection::vec(0..3u8, 4..5).prop_map(|asn| [vec![2, 1], asn].concat()),
            prop::collection::vec(1..3u8, 8..9).prop_map(|asn| [vec![2, 2], asn].concat()),
            bytes(0..12),
            Just(vec![]),
        ]
        .prop_filter("an empty segment", |path| {
            !path.windows(2).any(|pair| matches!(pair, [1 | 2, 0]))
        })
        .boxed(),
        3 => prop_oneof![4 => Just(vec![192, 0, 2, 1]), 1 => bytes(0..6)].boxed(),
        4 | 5 | 9 => prop_oneof![4 => bytes(4..5), 1 => bytes(0..6)].boxed(),
        8 | 10 => prop_oneof![4 => bytes(8..9), 1 => bytes(0..9)].boxed(),
        7 | 16 | 18 => prop_oneof![3 => bytes(8..9), 1 => bytes(0..9)].boxed(),
        14 => (1..3u8, prop_oneof![Just(4u8), Just(16), Just(32), any::<u8>()], prefixes)
            .prop_map(|(afi, length, prefixes)| {
                let global = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
                let local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
                let next_hop = match length {
                    4 => vec![192, 0, 2, 1],
                    16 => global.to_vec(),
                    _ => [global, local].concat(),
                };
                [vec![0, afi, 1, length], next_hop, vec![0], prefixes].concat()
            })
            .boxed(),
        15 => (1..3u8, prefixes).prop_map(|(afi, p)| [vec![0, afi, 1], p].concat()).boxed(),
        _ => bytes(0..13).boxed(),
    }
}

/// An attribute of a kind that we know, mostly.
fn attribute() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(&KINDS[..]);
    let flags = prop_oneof![9 => Just(None), 1 => prop::sample::select(vec![Some(0x40u8), Some(0x80), Some(0xc0), Some(0)])];
    let length = prop_oneof![30 => Just(0i8), 1 => -2..3i8];
    (kinds, flags, length, any::<bool>()).prop_flat_map(move |((kind, right), flags, off, wide)| {
        value(kind).prop_map(move |value| {
            let length = (value.len() as i64 + i64::from(off)).max(0) as u8;
            let flags = flags.unwrap_or(right);
            let head =
                if wide { vec![flags | 0x10, kind, 0, length] } else { vec![flags, kind, length] };
            [head, value].concat()
        })
    })
}

/// The attributes that every announcement needs, mostly.
fn attributes() -> impl Strategy<Value = Vec<u8>> {
    let base = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9, 0x40, 3, 4, 192, 0, 2, 1];
    let base = prop_oneof![3 => Just(base), 1 => Just(vec![])];
    (base, prop::collection::vec(attribute(), 0..5)).prop_map(|(base, mut more)| {
        let mut seen = BTreeSet::from_iter((!base.is_empty()).then_some(2));
        more.retain(|attribute| !matches!(attribute[1], 2 | 17) || seen.insert(attribute[1]));
        [base, more.concat()].concat()
    })
}

fn update(withdrawn: &[u8], attributes: &[u8], body: &[u8], off: (i8, i8)) -> Vec<u8> {
    let length = |part: &[u8], off: i8| (part.len() as i64 + i64::from(off)).max(0) as u16;
    let mut bytes = vec![0xff; 16];
    let whole = 23 + withdrawn.len() + attributes.len() + body.len();
    bytes.extend((whole as u16).to_be_bytes());
    bytes.push(2);
    bytes.extend(length(withdrawn, off.0).to_be_bytes());
    bytes.extend(withdrawn);
    bytes.extend(length(attributes, off.1).to_be_bytes());
    bytes.extend([attributes, body].concat());
    bytes
}

fn nlri() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(vec![24, 10, 0, 0]), 2 => Just(vec![]), 1 => Just(vec![20, 10, 9, 0xff, 32, 1, 2, 3, 4]),
        1 => prop::collection::vec(any::<u8>(), 0..6),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_codecs_read_the_same(
        withdrawn in nlri(), attributes in attributes(), body in nlri(),
        off in prop_oneof![20 => Just((0, 0)), 1 => (-2..3i8, -2..3i8)],
        four in prop::bool::weighted(0.8), internal: bool,
    ) {
        let families = BTreeSet::from([Family::Ipv4, Family::Ipv6]);
        let context = Context { families, four_octet_asn: four, extended_next_hop: true, internal };
        agree(&update(&withdrawn, &attributes, &body, off), &context);
    }
}

/// OPENs: what one writes the other reads.
#[test]
fn opens_are_understood() {
    let offered = codec::Capabilities {
        multiprotocol: BTreeSet::from([Family::Ipv4, Family::Ipv6]),
        other_families: false,
        extended_next_hop: true,
        route_refresh: true,
        four_octet_asn: true,
        graceful_restart: Some(codec::GracefulRestart::default()),
    };
    let asn = 4_200_000_000;
    let router_id = "192.0.2.1".parse().unwrap();
    let open = codec::Open { asn, hold_time: 90, router_id, capabilities: offered };
    let bytes = codec::open(&open);
    let Theirs::Open(read) = decode_message(&mut bytes.clone().into(), 4096).unwrap() else {
        panic!("no OPEN");
    };
    assert_eq!((read.four_byte_as(), read.my_as, read.hold_time), (asn, 23456, 90));
    let has = |capability| read.capabilities.contains(&capability);
    assert!(has(rustbgpd_wire::Capability::RouteRefresh));
    assert!(has(rustbgpd_wire::Capability::MultiProtocol { afi: Afi::Ipv6, safi: Safi::Unicast }));
    let written = rustbgpd_wire::encode_message(&Theirs::Open(read)).unwrap();
    let families = BTreeSet::from([Family::Ipv4, Family::Ipv6]);
    let context =
        Context { families, four_octet_asn: true, extended_next_hop: true, internal: false };
    assert_eq!(decode(&written, &context), Ok(Message::Open(open)));
}
