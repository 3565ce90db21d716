//! What is written reads back the same; what is arbitrary is answered.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation fails the test")]

use bgp_speaker::codec::{
    self, Announced, Attributes, Capabilities, Community, Context, Family, GracefulRestart,
    LargeCommunity, MAX_MESSAGE, Message, NextHop, Notification, Open, Origin, Update, decode,
    frame,
};
use ipnetwork::IpNetwork;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn context(four_octet_asn: bool, internal: bool) -> Context {
    let families = BTreeSet::from([Family::Ipv4, Family::Ipv6]);
    Context { families, four_octet_asn, extended_next_hop: true, internal }
}

fn network(address: IpAddr, length: u8) -> IpNetwork {
    let network = IpNetwork::new(address, length).unwrap();
    IpNetwork::new(network.network(), length).unwrap()
}

fn v4() -> impl Strategy<Value = IpNetwork> {
    (any::<u32>(), 0..=32u8).prop_map(|(bits, length)| network(Ipv4Addr::from(bits).into(), length))
}

fn v6() -> impl Strategy<Value = IpNetwork> {
    (any::<u128>(), 0..=128u8)
        .prop_map(|(bits, length)| network(Ipv6Addr::from(bits).into(), length))
}

fn next_hop(v6_only: bool) -> impl Strategy<Value = NextHop> {
    let v4 = (1u8..127, any::<u8>(), 1u8..255).prop_map(|(a, b, c)| NextHop {
        address: Ipv4Addr::new(a, b, 0, c).into(),
        link_local: None,
    });
    let v6 = (1u16.., proptest::option::of(any::<u16>())).prop_map(|(host, link)| NextHop {
        address: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into(),
        link_local: link.map(|host| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host)),
    });
    prop_oneof![v4, v6].prop_filter("a family", move |n| !v6_only || n.address.is_ipv6())
}

prop_compose! {
    fn attributes()(origin in 0..3u8, as_path in prop::collection::vec(1u32.., 0..300),
                    med: Option<u32>, local_pref: Option<u32>,
                    communities in prop::collection::vec(any::<u32>(), 0..100),
                    large in prop::collection::btree_set(any::<[u32; 3]>(), 0..20),
                    originator: Option<u32>, clusters in prop::collection::vec(any::<u32>(), 0..4))
                    -> Attributes {
        Attributes {
            origin: [Origin::Igp, Origin::Egp, Origin::Incomplete][usize::from(origin)],
            as_path,
            med,
            local_pref,
            communities: communities.into_iter().map(Community).collect(),
            large_communities: large.into_iter().map(LargeCommunity).collect(),
            originator_id: originator.map(Ipv4Addr::from),
            cluster_list: clusters.into_iter().map(Ipv4Addr::from).collect(),
        }
    }
}

/// Reads what was written, message by message, and puts it together.
fn read(messages: &[Vec<u8>], context: &Context) -> Vec<Update> {
    let read = |bytes: &Vec<u8>| {
        assert!(bytes.len() <= MAX_MESSAGE);
        assert_eq!(frame(bytes), Ok(Some(bytes.len())));
        match decode(bytes, context).unwrap() {
            Message::Update(update) => update,
            other => panic!("{other:?}"),
        }
    };
    messages.iter().map(read).collect()
}

fn withdrawn(updates: &[Update]) -> Vec<IpNetwork> {
    updates.iter().flat_map(|update| update.withdrawn.clone()).collect()
}

proptest! {
    #[test]
    fn an_update_reads_back(
        withdrawn4 in prop::collection::vec(v4(), 0..1500),
        withdrawn6 in prop::collection::vec(v6(), 0..500),
        announced4 in prop::collection::vec(v4(), 0..1500), to4 in next_hop(false),
        announced6 in prop::collection::vec(v6(), 0..500), to6 in next_hop(true),
        attributes in attributes(), four: bool, internal: bool,
    ) {
        let context = context(four, internal);
        let all = |next_hop, prefixes: &[IpNetwork]| Announced { next_hop, prefixes: prefixes.to_vec() };
        let update = Update {
            withdrawn: [withdrawn4, withdrawn6].concat(),
            announced: vec![all(to4, &announced4), all(to6, &announced6)],
            attributes: attributes.clone(),
            ..Update::default()
        };
        let read = read(&codec::update(&update, &context).unwrap(), &context);
        prop_assert_eq!(withdrawn(&read), update.withdrawn);
        let mut expected = attributes;
        if !internal {
            (expected.local_pref, expected.originator_id) = (None, None);
            expected.cluster_list.clear();
        }
        let mut announced = vec![];
        for update in read {
            prop_assert!(update.faults.is_empty(), "{:?}", update.faults);
            for Announced { next_hop, prefixes } in update.announced {
                prop_assert_eq!(&update.attributes, &expected);
                announced.extend(prefixes.into_iter().map(|prefix| (next_hop, prefix)));
            }
        }
        let sent4 = announced4.into_iter().map(|prefix| (to4, prefix));
        let sent6 = announced6.into_iter().map(|prefix| (to6, prefix));
        prop_assert_eq!(announced, sent4.chain(sent6).collect::<Vec<_>>());
    }

    #[test]
    fn an_open_reads_back(
        asn in 1u32.., hold_time: u16, id: u32, v4: bool, v6: bool, flags: [bool; 3],
        restart in proptest::option::of((any::<bool>(), 0..4096u16, any::<bool>())),
    ) {
        let families = [(v4, Family::Ipv4), (v6, Family::Ipv6)];
        let four_octet_asn = flags[0] || asn > 65535;
        let open = Open {
            asn, hold_time, router_id: id.into(),
            capabilities: Capabilities {
                multiprotocol: families.into_iter().filter_map(|(on, f)| on.then_some(f)).collect(),
                other_families: false,
                extended_next_hop: flags[1],
                route_refresh: flags[2],
                four_octet_asn,
                graceful_restart: restart.map(|(restarting, time, kept)| GracefulRestart {
                    restarting, time, families: vec![(Family::Ipv4, kept), (Family::Ipv6, !kept)],
                }),
            },
        };
        let bytes = codec::open(&open);
        prop_assert_eq!(decode(&bytes, &context(true, false)), Ok(Message::Open(open)));
    }

    #[test]
    fn a_notification_reads_back(code: u8, subcode: u8, data in prop::collection::vec(any::<u8>(), 0..64)) {
        let notification = Notification { code, subcode, data };
        let bytes = codec::notification(&notification);
        let _ = notification.to_string();
        let read = decode(&bytes, &context(true, false));
        prop_assert_eq!(read, Ok(Message::Notification(notification)));
    }

    #[test]
    fn arbitrary_bytes_are_answered(
        kind in 0..7u8, body in prop::collection::vec(any::<u8>(), 0..200),
        whole: bool, four: bool, internal: bool,
    ) {
        let mut bytes = vec![0xff; 16];
        let length = if whole { 19 + body.len() } else { body.len() * 7 };
        bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        bytes.push(kind);
        bytes.extend(body);
        let _ = frame(&bytes);
        let _ = decode(&bytes, &context(four, internal));
    }
}

#[test]
fn small_messages_read_back() {
    let context = context(true, false);
    assert_eq!(decode(&codec::keepalive(), &context), Ok(Message::Keepalive));
    for family in [Family::Ipv4, Family::Ipv6] {
        let bytes = codec::route_refresh(family);
        assert_eq!(decode(&bytes, &context), Ok(Message::RouteRefresh(Some(family))));
        let end = Update { end_of_rib: Some(family), ..Update::default() };
        assert_eq!(read(&codec::update(&end, &context).unwrap(), &context), [end]);
    }
}

#[test]
fn attributes_without_room_for_a_prefix_are_refused() {
    let prefixes = vec!["10.0.0.0/8".parse().unwrap()];
    let next_hop = NextHop { address: Ipv4Addr::new(192, 0, 2, 1).into(), link_local: None };
    let mut update = Update {
        announced: vec![Announced { next_hop, prefixes }],
        attributes: Attributes { as_path: vec![1], ..Attributes::default() },
        ..Update::default()
    };
    for (count, fits) in [(1000, true), (1100, false)] {
        update.attributes.communities = vec![Community(7); count];
        assert_eq!(codec::update(&update, &context(true, false)).is_ok(), fits);
    }
}

/// A path through speakers of 2 octets, put together from both attributes.
#[test]
fn a_two_octet_peers_path_is_whole() {
    let context = context(false, false);
    let next_hop = NextHop { address: Ipv4Addr::new(192, 0, 2, 1).into(), link_local: None };
    let path = vec![65001, 4_200_000_001, 65003];
    let update = Update {
        announced: vec![Announced { next_hop, prefixes: vec!["10.0.0.0/8".parse().unwrap()] }],
        attributes: Attributes { as_path: path.clone(), ..Attributes::default() },
        ..Update::default()
    };
    let mut message = codec::update(&update, &context).unwrap().remove(0);
    let wire: Vec<u8> = [65001u16, 23456, 65003].into_iter().flat_map(u16::to_be_bytes).collect();
    let at = message.windows(wire.len()).position(|window| window == wire).unwrap();
    assert_eq!(read(&[message.clone()], &context)[0].attributes.as_path, path);
    // A speaker of 2 octets put itself in front of the path and left AS4_PATH alone.
    message.splice(at..at, 64999u16.to_be_bytes());
    message[at - 1] += 1;
    message[at - 2 - 1] += 2;
    message[22] += 2;
    message[17] += 2;
    let read = read(&[message], &context);
    assert_eq!(read[0].attributes.as_path, [vec![64999], path].concat());
}
