//! NetworkPolicy's table in a real kernel, with the `nft` tool as the oracle. What it drops is seen by
//! the suite `policy`.

use crate::common::{in_netns, load, nft as tool, open, ruleset};
use nft::Nft;
use nft::policy::{
    AddressRange, Connection, Desired, Direction, Family, Kind, Known, Matches, Members, Pod,
    Policed, PolicyMonitor, PortRange, Profile, ProfileId, SetId, Step, Tiers, Verdict,
};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const ONE: &str = "3f9a01c2d4e53f9a01c2d4e53f9a01c2";
const OTHER: &str = "77aa01c2d4e577aa01c2d4e577aa01c2";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn set(kind: Kind, family: Family, id: u64) -> SetId {
    SetId { kind, family, id }
}

fn range(first: &str, last: &str) -> AddressRange {
    AddressRange { first: address(first), last: address(last) }
}

/// Members of every kind.
fn members(family: Family) -> [(SetId, Members); 5] {
    let [peer, other, first, last] = match family {
        Family::V4 => ["10.1.0.6", "10.1.0.7", "192.0.2.0", "192.0.2.200"],
        Family::V6 => ["fd00::6", "fd00::7", "2001:db8::", "2001:db8::ff"],
    };
    let ports = PortRange { first: 8000, last: 8080 };
    let peers = vec![address(peer), address(other)];
    [
        (set(Kind::Peers, family, 1), Members::Peers(peers)),
        (set(Kind::PeerPorts, family, 2), Members::PeerPorts(vec![(address(peer), 6, 80)])),
        (set(Kind::Ports, family, 3), Members::Ports(vec![(6, 443), (17, 53), (132, 5060)])),
        (set(Kind::Networks, family, 4), Members::Networks(vec![range(first, last)])),
        (
            set(Kind::NetworkPorts, family, 5),
            Members::NetworkPorts(vec![(range(first, last), 17, ports)]),
        ),
    ]
}

fn step(verdict: Verdict, id: SetId) -> Step {
    Step { verdict, matches: Matches::Sets(vec![id]) }
}

/// A pod of each family with every kind of set, and a profile with all tiers and a trial.
fn whole() -> Desired {
    let mut desired = Desired::default();
    for (family, pod) in [(Family::V4, "10.1.0.5"), (Family::V6, "fd00::5")] {
        let members = members(family);
        let all = members.iter().map(|(id, _)| *id).collect::<Vec<_>>();
        let ingress = ProfileId { direction: Direction::Ingress, family, id: 7 };
        let egress = ProfileId { direction: Direction::Egress, family, id: 8 };
        let tiers = Tiers { isolated: Some(Matches::Sets(all.clone())), ..Tiers::default() };
        let before = vec![step(Verdict::Deny, all[0]), step(Verdict::Pass, all[1])];
        let after = vec![Step { verdict: Verdict::Deny, matches: Matches::All }];
        let cluster = Tiers { before, isolated: None, after };
        let isolated = Tiers { isolated: Some(Matches::Sets(vec![])), ..Tiers::default() };
        let profiles = [
            (ingress, Profile { tiers, trial: None }),
            (egress, Profile { tiers: cluster, trial: Some(isolated) }),
        ];
        desired.profiles.extend(profiles.map(|(id, profile)| (id, Arc::new(profile))));
        desired.sets.extend(members.map(|(id, members)| (id, Arc::new(members))));
        let attachment = Some(ONE.to_owned());
        let pod_of = Pod { ingress: Some(ingress), egress: Some(egress), attachment };
        desired.pods.insert(address(pod), pod_of);
    }
    desired
}

/// Without the counters of what packets did.
fn listed() -> String {
    ruleset()
}

fn put(nft: &mut Nft, known: &mut Known, desired: &Desired) -> nft::policy::Put {
    nft.put_policies(known, &Arc::new(desired.clone())).unwrap()
}

#[test]
fn the_ruleset_is_as_documented_and_loads_again() {
    in_netns(|| {
        let (mut nft, mut known) = (open(), Known::default());
        let desired = Arc::new(whole());
        assert!(nft.put_policies(&mut known, &desired).unwrap().changed > 0);
        assert_eq!(listed(), include_str!("policy.nft"));
        let again = nft.put_policies(&mut known, &desired).unwrap();
        assert_eq!((again.changed, again.repaired), (0, false));
        let mut fresh = Known::default();
        assert_eq!(put(&mut nft, &mut fresh, &desired).changed, 0, "read from the kernel");
        let saved = listed();
        tool(&["flush", "ruleset"]);
        load(&saved);
        // The tool writes one rule with a `byteorder` that does nothing.
        put(&mut nft, &mut Known::default(), &desired);
        assert_eq!(sorted(&listed()), sorted(&saved));
        assert_eq!(put(&mut nft, &mut Known::default(), &desired).changed, 0);
        nft.del_policies().unwrap();
        assert_eq!(listed(), "");
        nft.del_policies().unwrap();
    });
}

/// Every step from one state to another ends as if that one had been put into an empty kernel.
#[test]
fn any_change_ends_as_if_made_at_once() {
    in_netns(|| {
        let (mut nft, mut known) = (open(), Known::default());
        let mut states = vec![whole(), Desired::default(), whole()];
        for (id, members) in members(Family::V4) {
            let mut without = whole();
            without.sets.remove(&id);
            for profile in without.profiles.values_mut() {
                let kept = |matches: &mut Matches| {
                    if let Matches::Sets(sets) = matches {
                        sets.retain(|set| *set != id);
                    }
                };
                let mut changed = Profile::clone(profile);
                changed.tiers.isolated.iter_mut().for_each(kept);
                changed.tiers.before.iter_mut().map(|step| &mut step.matches).for_each(kept);
                *profile = Arc::new(changed);
            }
            states.push(without);
            let mut other = whole();
            other.sets.insert(id, Arc::new(changed(members)));
            states.push(other);
        }
        let mut no_trial = whole();
        for profile in no_trial.profiles.values_mut() {
            *profile = Arc::new(Profile { trial: None, ..Profile::clone(profile) });
        }
        states.extend([no_trial, whole()]);
        let wanted: Vec<_> = states
            .iter()
            .map(|state| {
                put(&mut nft, &mut Known::default(), state);
                let listed = listed();
                nft.del_policies().unwrap();
                sorted(&listed)
            })
            .collect();
        for (state, wanted) in states.iter().zip(&wanted) {
            put(&mut nft, &mut known, state);
            assert_same(&sorted(&listed()), wanted, "by what was put before");
        }
        for (state, wanted) in states.iter().zip(&wanted) {
            put(&mut nft, &mut Known::default(), state);
            assert_same(&sorted(&listed()), wanted, "by what the kernel holds");
        }
    });
}

/// The order of sets and chains is that of their making, and that of hashed elements any.
fn sorted(ruleset: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block = String::new();
    for line in ruleset.lines() {
        block.push_str(line);
        if line == "\t}" {
            let mut words: Vec<_> = block.split([',', ' ', '\t', '{', '}']).collect();
            if block.contains("elements = ") {
                words.sort_unstable();
            }
            blocks.push(words.join(" "));
            block.clear();
        }
    }
    blocks.sort_unstable();
    blocks
}

#[track_caller]
fn assert_same(found: &[String], wanted: &[String], why: &str) {
    let lacks = wanted.iter().filter(|block| !found.contains(block)).collect::<Vec<_>>();
    let more = found.iter().filter(|block| !wanted.contains(block)).collect::<Vec<_>>();
    assert!(lacks.is_empty() && more.is_empty(), "{why}: lacks {lacks:#?}, has {more:#?}");
}

fn changed(members: Members) -> Members {
    match members {
        Members::Peers(_) => Members::Peers(vec![address("10.1.0.7"), address("10.1.0.8")]),
        Members::PeerPorts(_) => Members::PeerPorts(vec![(address("10.1.0.6"), 6, 81)]),
        Members::Ports(_) => Members::Ports(vec![(6, 443)]),
        Members::Networks(_) => Members::Networks(vec![range("192.0.2.0", "192.0.2.255")]),
        Members::NetworkPorts(_) => {
            let ports = |first, last| PortRange { first, last };
            Members::NetworkPorts(vec![
                (range("192.0.2.0", "192.0.2.100"), 17, ports(8000, 8080)),
                (range("192.0.2.101", "192.0.2.200"), 17, ports(8000, 8081)),
            ])
        }
    }
}

#[test]
fn what_others_change_is_mended() {
    in_netns(|| {
        let (mut nft, mut known) = (open(), Known::default());
        let desired = whole();
        put(&mut nft, &mut known, &desired);
        let whole = sorted(&listed());
        let damages = [
            "flush ruleset",
            "flush chain inet ferrule-policy forward",
            "flush chain inet ferrule-policy denied4",
            "flush chain inet ferrule-policy in4-0000000000000007",
            "flush set inet ferrule-policy peers4-0000000000000001",
            "flush set inet ferrule-policy self6",
            "flush map inet ferrule-policy in4",
            "delete element inet ferrule-policy out6 { fd00::5 }",
            "add element inet ferrule-policy peers4-0000000000000001 { 10.9.9.9 }",
            "add element inet ferrule-policy in4 { 10.9.9.9 : jump denied4 }",
            "add chain inet ferrule-policy other; add set inet ferrule-policy one { type mark; }",
            "add table inet ferrule-policy { flags dormant; }",
            "delete chain inet ferrule-policy forward; add chain inet ferrule-policy forward { type \
             filter hook forward priority 5; policy drop; }",
            "flush map inet ferrule-policy in4; flush chain inet ferrule-policy in4-0000000000000007; \
             delete set inet ferrule-policy networks4-0000000000000004; add set inet ferrule-policy \
             networks4-0000000000000004 { type inet_service; }",
        ];
        for damage in damages {
            let mut monitor = PolicyMonitor::open(&nft).unwrap();
            load(damage);
            let seen = monitor.read().unwrap();
            assert!(seen.any(), "{damage}");
            if seen.table {
                known.forget();
            }
            let mended = nft.put_policies(&mut known, &Arc::new(desired.clone())).unwrap();
            assert!(mended.changed > 0, "{damage}");
            assert_same(&sorted(&listed()), &whole, damage);
            let own = monitor.read().unwrap();
            assert!(!own.any(), "our own change after {damage}: {own:?} {mended:?}");
        }
    });
}

fn held(text: &str, key: &str) -> Policed {
    Policed { address: address(text), comment: format!("ferrule {key} pods c0ffee eth0") }
}

fn decided(text: &str, key: Option<&str>, selected: bool) -> Desired {
    let mut desired = whole();
    let family = Family::of(address(text));
    let ingress = ProfileId { direction: Direction::Ingress, family, id: 7 };
    let attachment = key.map(str::to_owned);
    let pod = Pod { ingress: selected.then_some(ingress), egress: None, attachment };
    desired.pods.insert(address(text), pod);
    desired
}

#[test]
fn a_held_pod_stays_held_until_its_own_decision() {
    in_netns(|| {
        let mut nft = open();
        for (text, map) in [("10.1.0.9", "in4"), ("fd00::9", "in6")] {
            let mut known = Known::default();
            let map_of = || tool(&["list", "map", "inet", "ferrule-policy", map]);
            let one = held(text, ONE);
            nft.hold(&one).unwrap();
            nft.hold(&one).unwrap();
            assert!(map_of().contains(&format!("{text} comment \"{}\" : jump held", one.comment)));
            let short = Duration::from_millis(1);
            assert!(!nft.wait_decided(std::slice::from_ref(&one), short).unwrap());
            assert_eq!(put(&mut nft, &mut known, &whole()).held, 1);
            assert_eq!(put(&mut nft, &mut known, &decided(text, Some(OTHER), true)).held, 1);
            assert_eq!(put(&mut nft, &mut known, &decided(text, None, true)).held, 1);
            assert!(map_of().contains(&format!("{text} comment \"{}\" : jump held", one.comment)));
            assert_eq!(put(&mut nft, &mut known, &decided(text, Some(ONE), true)).held, 0);
            assert!(map_of().contains(&format!("{text} comment \"{}\" : jump in", one.comment)));
            assert!(nft.wait_decided(std::slice::from_ref(&one), short).unwrap());
            // A later pod with the address.
            nft.hold(&held(text, OTHER)).unwrap();
            assert_eq!(put(&mut nft, &mut known, &decided(text, Some(ONE), true)).held, 1);
            assert!(!nft.release(address(text), &one.comment).unwrap(), "another's");
            assert_eq!(put(&mut nft, &mut known, &decided(text, Some(OTHER), false)).held, 0);
            assert!(!map_of().contains(text), "nothing selects it");
        }
        nft.del_policies().unwrap();
    });
}

#[test]
fn what_is_decided_goes_with_its_attachment() {
    in_netns(|| {
        let (mut nft, mut known) = (open(), Known::default());
        put(&mut nft, &mut known, &whole());
        let marks = nft.policed().unwrap();
        assert_eq!(marks.len(), 2, "{marks:?}");
        for text in ["10.1.0.5", "fd00::5"] {
            assert!(!nft.release(address(text), &format!("ferrule {OTHER} pods c eth0")).unwrap());
            assert!(nft.release(address(text), &format!("ferrule {ONE} pods c eth0")).unwrap());
            assert!(!nft.release(address(text), &format!("ferrule {ONE} pods c eth0")).unwrap());
            assert!(!listed().contains(&format!("{text} ")));
        }
        assert_eq!(nft.policed().unwrap(), []);
        nft.del_policies().unwrap();
        assert!(!nft.release(address("10.1.0.5"), &format!("ferrule {ONE} pods c eth0")).unwrap());
    });
}

#[test]
fn a_hold_makes_what_it_needs() {
    in_netns(|| {
        let mut nft = open();
        let damages = [
            "flush ruleset",
            "flush chain inet ferrule-policy forward",
            "flush chain inet ferrule-policy new6",
            "flush chain inet ferrule-policy held4",
            "add table inet ferrule-policy { flags dormant; }",
        ];
        nft.hold(&held("10.1.0.9", ONE)).unwrap();
        put(&mut nft, &mut Known::default(), &Desired::default());
        let frame = |text: String| sorted(&text.replace("flags dormant", ""));
        let whole = frame(listed());
        for damage in damages {
            load(damage);
            nft.hold(&held("10.1.0.9", ONE)).unwrap();
            assert_same(&frame(listed()), &whole, damage);
        }
    });
}

#[test]
fn waiting_ends_with_the_decision() {
    in_netns(|| {
        let mut nft = open();
        let one = held("10.1.0.9", ONE);
        nft.hold(&one).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let mut nft = open();
                nft.wait_decided(std::slice::from_ref(&one), Duration::from_secs(60)).unwrap()
            });
            let mut known = Known::default();
            put(&mut nft, &mut known, &decided("10.1.0.9", Some(ONE), true));
            assert!(waits.join().unwrap());
        });
    });
}

#[test]
fn connections_are_cut_in_both_directions() {
    in_netns(|| {
        let mut nft = open();
        put(&mut nft, &mut Known::default(), &Desired::default());
        let of = |source: &str, destination: &str| Connection {
            source: address(source),
            destination: address(destination),
            protocol: 6,
            source_port: 4000,
            destination_port: 80,
        };
        let both = [of("10.1.0.5", "10.1.0.6"), of("fd00::5", "fd00::6")];
        nft.cut(&both).unwrap();
        nft.cut(&both).unwrap();
        let listed = tool(&["list", "ruleset"]);
        for element in [
            "10.1.0.5 . 10.1.0.6 . tcp . 4000 . 80",
            "10.1.0.6 . 10.1.0.5 . tcp . 80 . 4000",
            "fd00::6 . fd00::5 . tcp . 80 . 4000",
        ] {
            assert!(listed.contains(element), "{listed}");
        }
        nft.uncut(&both).unwrap();
        nft.uncut(&both).unwrap();
        assert!(!tool(&["list", "ruleset"]).contains("10.1.0.5"));
        assert_eq!(nft.policy_drops().unwrap(), []);
        nft.cut(&[]).unwrap();
    });
}
