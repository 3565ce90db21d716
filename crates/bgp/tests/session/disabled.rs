//! Families whose routes cannot be read.

use super::{Bench, good, update};
use bgp_speaker::codec::Family;
use bgp_speaker::fsm::{Action, State};
use std::collections::BTreeSet;

/// MP_REACH_NLRI or MP_UNREACH_NLRI of IPv6, whose value goes on with `rest`.
fn multiprotocol(kind: u8, rest: &[u8]) -> Vec<u8> {
    let value = [&[0, 2, 1], rest].concat();
    [&[0x80, kind, value.len() as u8], &value[..]].concat()
}

/// 2001:db8:9::/48 by 2001:db8::2.
fn reach_v6() -> Vec<u8> {
    let next_hop = "2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let prefix = [48, 0x20, 1, 0xd, 0xb8, 0, 9];
    multiprotocol(14, &[&[16], &next_hop[..], &[0], &prefix].concat())
}

/// RFC 7606 section 3 j, RFC 4760 section 7: IPv6 that cannot be read costs IPv6; IPv4 goes on, in
/// the same UPDATE too, and the next session takes IPv6 again.
#[test]
fn a_family_that_cannot_be_read_is_disabled_alone() {
    let v6 = BTreeSet::from([Family::Ipv6]);
    let mut flipped = reach_v6();
    flipped[0] = 0xc0;
    let mut cut = reach_v6();
    cut[2] += 9;
    let cases = [
        ("a next hop of 4 bytes", multiprotocol(14, &[4, 192, 0, 2, 2, 0, 8, 0x20])),
        ("a next hop of 24 bytes", multiprotocol(14, &[&[24][..], &[0; 25]].concat())),
        ("a next hop that is cut off", multiprotocol(14, &[16, 0x20, 1])),
        ("no next hop", multiprotocol(14, &[])),
        ("a prefix of 129 bits", multiprotocol(15, &[&[129][..], &[0; 17]].concat())),
        ("half a prefix", multiprotocol(15, &[48, 0x20])),
    ];
    for (name, broken) in cases {
        let mut bench = Bench::in_state(State::Established);
        assert!(bench.session.disabled().is_empty());
        let actions = bench.receive(&update(&good(&broken)));
        let [Action::Update(taken)] = &actions[..] else { panic!("{name}: {actions:?}") };
        assert_eq!((&taken.disabled, taken.treated_as_withdraw), (&v6, false), "{name}");
        assert_eq!(taken.announced.len(), 1, "{name}: {taken:?}");
        assert_eq!(taken.announced[0].prefixes, ["10.9.0.0/16".parse().unwrap()], "{name}");
        let why = &bench.session.disabled()[&Family::Ipv6];
        assert!(why.starts_with("MP_"), "{name}: {why}");
        // What comes later of IPv6 is ignored, and of IPv4 taken.
        let actions = bench.receive(&update(&good(&reach_v6())));
        let [Action::Update(taken)] = &actions[..] else { panic!("{name}: {actions:?}") };
        assert_eq!(taken.announced.len(), 1, "{name}: {taken:?}");
        assert_eq!(bench.session.state(), State::Established, "{name}");
    }
    // Attributes may follow what is cut off: RFC 7606 section 4.
    let mut bench = Bench::in_state(State::Established);
    let actions = bench.receive(&update(&good(&cut)));
    let [Action::Update(taken)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((&taken.disabled, taken.withdrawn.len()), (&v6, 1), "{taken:?}");
    // With wrong flags the prefixes can be read: RFC 7606 section 3 c.
    let mut bench = Bench::in_state(State::Established);
    let actions = bench.receive(&update(&good(&flipped)));
    let [Action::Update(taken)] = &actions[..] else { panic!("{actions:?}") };
    assert!(taken.disabled.is_empty() && taken.announced.is_empty(), "{taken:?}");
    assert_eq!(taken.withdrawn.len(), 2, "{taken:?}");
    // A family that the session does not carry is of no account.
    let other = [0x80, 14, 5, 0, 25, 70, 0, 0];
    let actions = bench.receive(&update(&good(&other)));
    let [Action::Update(taken)] = &actions[..] else { panic!("{actions:?}") };
    assert!(taken.disabled.is_empty() && taken.faults.is_empty(), "{taken:?}");
}
