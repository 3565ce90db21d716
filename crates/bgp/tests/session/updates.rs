//! UPDATEs that are broken, and what each costs.

use super::{AS_PATH, Bench, NEXT_HOP, ORIGIN, config, context, good, refusal, update, whole};
use bgp_speaker::codec::{self, Announced, Attributes, NextHop, Update};
use bgp_speaker::fsm::{Action, Config, State};
use std::net::Ipv4Addr;

#[test]
fn broken_attributes_withdraw_and_the_session_stays() {
    let mut cases = vec![
        ("no ORIGIN", [&AS_PATH[..], &NEXT_HOP].concat()),
        ("no AS_PATH", [&ORIGIN[..], &NEXT_HOP].concat()),
        ("no NEXT_HOP", [&ORIGIN[..], &AS_PATH].concat()),
        ("ORIGIN 3", [&[0x40, 1, 1, 3], &AS_PATH[..], &NEXT_HOP].concat()),
        ("AS_SET", [&ORIGIN[..], &[0x40, 2, 6, 1, 1, 0, 0, 0, 1], &NEXT_HOP].concat()),
        ("NEXT_HOP 0.0.0.0", [&ORIGIN[..], &AS_PATH, &[0x40, 3, 4, 0, 0, 0, 0]].concat()),
        ("cut off", good(&[0xc0, 8, 9, 1])),
    ];
    let more: [(&str, &[u8]); 5] = [
        ("MED of 3 bytes", &[0x80, 4, 3, 0, 0, 0]),
        ("communities of 5 bytes", &[0xc0, 8, 5, 0, 0, 0, 0, 0]),
        ("no communities", &[0xc0, 8, 0]),
        ("large communities of 4 bytes", &[0xc0, 32, 4, 0, 0, 0, 0]),
        ("a flag", &[0x40, 4, 4, 0, 0, 0, 1]),
    ];
    cases.extend(more.map(|(name, attribute)| (name, good(attribute))));
    for (name, attributes) in cases {
        let mut bench = Bench::in_state(State::Established);
        let actions = bench.receive(&update(&attributes));
        let [Action::Update(update)] = &actions[..] else { panic!("{name}: {actions:?}") };
        assert_eq!(update.withdrawn, ["10.9.0.0/16".parse().unwrap()], "{name}");
        assert!(update.announced.is_empty() && update.treated_as_withdraw, "{name}");
        assert_eq!(update.faults.len(), 1, "{name}: {:?}", update.faults);
        assert_eq!(bench.session.state(), State::Established);
        assert_eq!(bench.session.counters().treated_as_withdraw, 1);
    }
}

/// RFC 4271 section 6.3: the path that a peer of another AS announces begins with its own AS, unless it
/// is a route server (RFC 7947).
#[test]
fn a_path_begins_with_the_peers_as() {
    let lax = Config { enforce_first_as: false, ..config() };
    let internal = Config::new(65001, Ipv4Addr::new(192, 0, 2, 1), 65001);
    let next_hop = NextHop { address: Ipv4Addr::new(192, 0, 2, 2).into(), link_local: None };
    let prefixes = vec!["10.9.0.0/16".parse().unwrap()];
    for (as_path, strict) in [
        (vec![], false),
        (vec![65009], false),
        (vec![65009, 65002], false),
        (vec![65002], true),
        (vec![65002, 65009], true),
    ] {
        for (config, taken) in [(config(), strict), (lax.clone(), true), (internal.clone(), true)] {
            let announced = vec![Announced { next_hop, prefixes: prefixes.clone() }];
            let attributes = Attributes { as_path: as_path.clone(), ..Attributes::default() };
            let sent = Update { announced, attributes, ..Update::default() };
            let bytes = codec::update(&sent, &context()).unwrap().concat();
            let mut bench = Bench::of(config, State::Established);
            let actions = bench.receive(&bytes);
            let [Action::Update(update)] = &actions[..] else { panic!("{as_path:?}: {actions:?}") };
            let counted = bench.session.counters().treated_as_withdraw;
            if taken {
                assert_eq!((&**update, counted), (&sent, 0));
                continue;
            }
            assert_eq!((&update.withdrawn, counted), (&prefixes, 1), "{as_path:?}");
            assert!(update.announced.is_empty() && update.treated_as_withdraw, "{as_path:?}");
            assert!(update.faults[0].starts_with("AS_PATH "), "{:?}", update.faults);
        }
    }
    // A withdrawal has no path.
    let sent = Update { withdrawn: prefixes, ..Update::default() };
    let bytes = codec::update(&sent, &context()).unwrap().concat();
    let actions = Bench::in_state(State::Established).receive(&bytes);
    assert_eq!(actions, [Action::Update(Box::new(sent))]);
}

#[test]
fn attributes_that_decide_nothing_are_discarded() {
    let cases: [(&str, &[u8], usize); 5] = [
        ("LOCAL_PREF from another AS", &[0x40, 5, 4, 0, 0, 0, 9], 1),
        ("ATOMIC_AGGREGATE of a byte", &[0x40, 6, 1, 0], 1),
        ("AGGREGATOR of 6 bytes", &[0xc0, 7, 6, 0, 1, 1, 1, 1, 1], 1),
        ("a second ORIGIN", &[0x40, 1, 1, 2], 1),
        ("an unknown one", &[0xc0, 99, 2, 1, 2], 0),
    ];
    for (name, attribute, faults) in cases {
        let mut bench = Bench::in_state(State::Established);
        let actions = bench.receive(&update(&good(attribute)));
        let [Action::Update(update)] = &actions[..] else { panic!("{name}: {actions:?}") };
        assert!(update.withdrawn.is_empty() && !update.treated_as_withdraw, "{name}");
        assert_eq!(update.announced[0].prefixes, ["10.9.0.0/16".parse().unwrap()], "{name}");
        assert_eq!(update.attributes, Attributes { as_path: vec![65002], ..Attributes::default() });
        assert_eq!(update.faults.len(), faults, "{name}: {:?}", update.faults);
    }
}

#[test]
fn updates_whose_prefixes_cannot_be_read_end_the_session() {
    let prefix = |bytes: &[u8]| {
        let attributes = good(&[]);
        let length = (attributes.len() as u16).to_be_bytes();
        whole(2, &[&[0, 0], &length[..], &attributes, bytes].concat())
    };
    let reach = [0x80, 14, 2, 0, 2];
    let cases = [
        ("withdrawn routes too long", whole(2, &[0, 9, 0, 0]), (3, 1)),
        ("attributes too long", whole(2, &[0, 0, 0, 9]), (3, 1)),
        ("a prefix of 33 bits", prefix(&[33, 1, 2, 3, 4, 5]), (3, 10)),
        ("half a prefix", prefix(&[24, 10, 9]), (3, 10)),
        ("MP_REACH_NLRI without a family", update(&good(&reach)), (3, 9)),
        ("MP_UNREACH_NLRI without a family", update(&good(&[0x80, 15, 9, 0])), (3, 9)),
        (
            "two MP_UNREACH_NLRI",
            update(&good(&[0x80, 15, 3, 0, 2, 1, 0x80, 15, 3, 0, 2, 1])),
            (3, 1),
        ),
        ("an error, nothing announced", whole(2, &[0, 0, 0, 6, 0x80, 4, 3, 0, 0, 0]), (3, 5)),
    ];
    for (name, bytes, expected) in cases {
        let mut bench = Bench::in_state(State::Established);
        assert_eq!(refusal(&bench.receive(&bytes)), expected, "{name}");
    }
}
