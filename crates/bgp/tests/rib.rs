//! The decision, the policy, and what is announced to which peer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed expectation fails the test")]

use bgp_speaker::codec::{
    Announced, Attributes, Communities, Community, Context, Family, GRACEFUL_SHUTDOWN,
    LargeCommunity, NextHop, Origin, Update,
};
use bgp_speaker::rib::{
    AS_PATH_MAX, AdjRibOut, CLUSTERS_MAX, COMMUNITIES_MAX, LocalAddresses, Path, Policy, Rejected,
    Rib, Source, Unannounced, Via, exports, select,
};
use ipnetwork::IpNetwork;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

fn source(n: u8, internal: bool) -> Source {
    let address = Ipv4Addr::new(192, 0, 2, n);
    Source { address: address.into(), router_id: address, internal, own_as: 0 }
}

fn path(n: u8, as_path: &[u32]) -> Path {
    let source = source(n, false);
    let via = Via { address: source.address, peer: None };
    Path {
        source,
        via,
        attributes: Attributes { as_path: as_path.to_vec(), ..Attributes::default() },
    }
}

/// Peers of the best path and of all that share the load.
fn chosen(paths: &[(&Path, u32)]) -> (u8, Vec<u8>) {
    let last = |path: &Path| match path.source.address {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(_) => 0,
    };
    let selection = select(paths).unwrap();
    (last(selection.best), selection.multipath.into_iter().map(last).collect())
}

#[test]
fn each_step_decides() {
    let one = path(1, &[65001, 65009]);
    // What the second path is better by, each at the cost of all later steps.
    type Change = fn(&mut Path, &mut Path);
    let steps: &[(&str, Change)] = &[
        ("LOCAL_PREF", |_, b| {
            (b.attributes.local_pref, b.attributes.as_path) = (Some(101), vec![1; 9]);
        }),
        ("AS_PATH", |_, b| {
            (b.attributes.as_path, b.attributes.origin) = (vec![65002], Origin::Egp);
        }),
        ("ORIGIN", |a, b| {
            a.attributes.origin = Origin::Incomplete;
            b.attributes.med = Some(7);
        }),
        ("MULTI_EXIT_DISC", |a, b| {
            a.attributes.med = Some(1);
            b.source.internal = true;
        }),
        ("external", |a, _| a.source.internal = true),
        ("cost", |_, _| {}),
    ];
    for (name, change) in steps {
        let (mut a, mut b) = (one.clone(), path(2, &one.attributes.as_path));
        change(&mut a, &mut b);
        // Later steps speak for the first path.
        let costs = if *name == "cost" { (5, 4) } else { (1, 9) };
        assert_eq!(chosen(&[(&a, costs.0), (&b, costs.1)]), (2, vec![2]), "{name}");
    }
    // Equal up to step e: both carry, the lower identifier is best.
    let (mut a, b) = (one.clone(), path(2, &[65002, 65009]));
    assert_eq!(chosen(&[(&b, 0), (&a, 0)]), (1, vec![1, 2]));
    a.attributes.originator_id = Some(Ipv4Addr::new(192, 0, 2, 3));
    assert_eq!(chosen(&[(&a, 0), (&b, 0)]), (2, vec![2, 1]));
}

/// MULTI_EXIT_DISC counts among paths of one AS only.
#[test]
fn metrics_of_other_ases_are_not_compared() {
    let mut paths = [path(1, &[65001]), path(2, &[65001]), path(3, &[65003])];
    for (path, med) in paths.iter_mut().zip([20, 10, 30]) {
        path.attributes.med = Some(med);
    }
    let [a, b, c] = &paths;
    assert_eq!(chosen(&[(a, 0), (b, 0), (c, 0)]), (2, vec![2, 3]));
}

prop_compose! {
    fn any_path()(n in 1..9u8, as_path in prop::collection::vec(1..4u32, 0..3), origin in 0..2u8,
                  med in proptest::option::of(0..3u32), local_pref in proptest::option::of(99..102u32),
                  internal: bool, originator in proptest::option::of(1..4u32), cost in 0..2u32)
                  -> (Path, u32) {
        let mut path = path(n, &as_path);
        path.source.internal = internal;
        path.attributes.origin = if origin == 0 { Origin::Igp } else { Origin::Egp };
        path.attributes.med = med;
        path.attributes.local_pref = local_pref;
        path.attributes.originator_id = originator.map(Ipv4Addr::from);
        (path, cost)
    }
}

proptest! {
    /// One path for each peer, in any order.
    #[test]
    fn the_decision_does_not_depend_on_the_order(
        paths in prop::collection::btree_map(1..9u8, any_path(), 1..7), seed: u64,
    ) {
        let paths: Vec<_> = paths.into_iter().map(|(n, (mut path, cost))| {
            path.source = source(n, path.source.internal);
            (path, cost)
        }).collect();
        let paths: Vec<(&Path, u32)> = paths.iter().map(|(path, cost)| (path, *cost)).collect();
        let selection = select(&paths).unwrap();
        prop_assert_eq!(selection.multipath[0], selection.best);
        let mut other = paths.clone();
        let length = other.len();
        for index in 0..length {
            other.swap(index, (seed.rotate_left(index as u32 * 7) % length as u64) as usize);
        }
        prop_assert_eq!(select(&other).unwrap(), selection.clone());
    }

    /// Whatever peers send, in whatever order, the routes are those of what they last said.
    #[test]
    fn the_rib_forgets_nothing_and_keeps_nothing(
        steps in prop::collection::vec((1..4u8, 0..6u8, 0..10u8), 0..60),
    ) {
        let mut rib = Rib::new(policy());
        let mut held: BTreeSet<(u8, u8)> = BTreeSet::new();
        let mut up = BTreeSet::new();
        let mut kernel = BTreeMap::new();
        for (n, third, what) in steps {
            let peer = source(n, false).address;
            let prefix = format!("10.244.{third}.0/24");
            match what {
                0 => { rib.up(source(n, false)); up.insert(n); held.retain(|(m, _)| *m != n); }
                1 => { rib.down(peer); up.remove(&n); held.retain(|(m, _)| *m != n); }
                2..4 => {
                    let withdrawn = vec![prefix.parse().unwrap()];
                    rib.update(peer, &Update { withdrawn, ..Update::default() });
                    held.remove(&(n, third));
                }
                _ => {
                    rib.update(peer, &announcement(n, &prefix, &[65000 + u32::from(n)]));
                    if up.contains(&n) && third != 0 { held.insert((n, third)); }
                }
            }
            for (prefix, vias) in rib.changes(|_, _| Some(0)) {
                if vias.is_empty() { prop_assert!(kernel.remove(&prefix).is_some()); }
                else { prop_assert_ne!(kernel.insert(prefix, vias.clone()), Some(vias)); }
            }
            let mut expected: BTreeMap<IpNetwork, Vec<Via>> = BTreeMap::new();
            for (n, third) in &held {
                let prefix = format!("10.244.{third}.0/24").parse().unwrap();
                expected.entry(prefix).or_default().push(Via { address: source(*n, false).address, peer: None });
            }
            prop_assert_eq!(&kernel, &expected);
            prop_assert_eq!(rib.routes(), &expected);
        }
    }
}

proptest! {
    /// Those that overlap a range are decided on anew, and no others.
    #[test]
    fn a_range_concerns_what_overlaps_it(
        prefixes in prop::collection::btree_set((0..16u32, 14..=32u8), 0..40),
        range in (0..16u32, 12..=32u8), of_v6: bool,
    ) {
        // The bits 13 to 16, and the last four.
        let cidr = |(bits, prefix): (u32, u8)| {
            let (high, low) = (bits << 16, bits);
            let (address, prefix) = match of_v6 {
                false => (IpAddr::from(Ipv4Addr::from(0x0af0_0000 | high | low)), prefix),
                true => {
                    let address = (0xfd00_u128 << 112) | (u128::from(high) << 60) | u128::from(low);
                    (IpAddr::from(std::net::Ipv6Addr::from(address)), prefix + 96)
                }
            };
            let network = IpNetwork::new(address, prefix).unwrap();
            IpNetwork::new(network.network(), prefix).unwrap()
        };
        let all = vec!["10.240.0.0/12".parse().unwrap(), "fd00::/16".parse().unwrap()];
        let mut rib = Rib::new(Policy { import_cidrs: all, own_cidrs: vec![], ..policy() });
        rib.up(source(1, false));
        let prefixes: BTreeSet<IpNetwork> = prefixes.into_iter().map(cidr).collect();
        for prefix in &prefixes {
            rib.update(source(1, false).address, &announcement(1, &prefix.to_string(), &[65001]));
        }
        rib.changes(|_, _| Some(0));
        let range = cidr(range);
        rib.recheck_range(range);
        let decided = rib.decide(usize::MAX, |_, _| Some(0));
        let decided: BTreeSet<IpNetwork> = decided.into_iter().map(|d| d.prefix).collect();
        let overlaps = |prefix: &&IpNetwork| {
            prefix.contains(range.network()) || range.contains(prefix.network())
        };
        prop_assert_eq!(decided, prefixes.iter().filter(overlaps).copied().collect());
    }
}

fn policy() -> Policy {
    Policy {
        import_cidrs: vec!["10.244.0.0/16".parse().unwrap(), "fd00::/48".parse().unwrap()],
        max_length: (32, 128),
        own_cidrs: vec!["10.244.0.0/24".parse().unwrap()],
        announced: vec!["10.244.128.0/17".parse().unwrap()],
        local_asn: 65000,
        router_id: Ipv4Addr::new(192, 0, 2, 100),
    }
}

fn announcement(n: u8, prefix: &str, as_path: &[u32]) -> Update {
    let next_hop = NextHop { address: source(n, false).address, link_local: None };
    Update {
        announced: vec![Announced { next_hop, prefixes: vec![prefix.parse().unwrap()] }],
        attributes: Attributes { as_path: as_path.to_vec(), ..Attributes::default() },
        ..Update::default()
    }
}

#[test]
fn only_what_the_policy_admits_is_taken() {
    let cases = [
        ("10.244.1.0/24", &[65001][..], Ok(())),
        ("10.244.0.0/16", &[65001], Ok(())),
        ("10.244.1.5/32", &[65001], Ok(())),
        ("fd00:0:0:1::/64", &[65001], Ok(())),
        ("10.244.0.0/24", &[65001], Err(Rejected::Own)),
        ("10.244.0.7/32", &[65001], Err(Rejected::Own)),
        ("10.244.128.0/17", &[65001], Err(Rejected::Own)),
        ("10.244.129.0/24", &[65001], Ok(())),
        ("10.0.0.0/8", &[65001], Err(Rejected::Outside)),
        ("10.245.0.0/24", &[65001], Err(Rejected::Outside)),
        ("fd00:1::/64", &[65001], Err(Rejected::Outside)),
        ("0.0.0.0/0", &[65001], Err(Rejected::Default)),
        ("::/0", &[65001], Err(Rejected::Default)),
        ("10.244.1.0/24", &[65001, 65000], Err(Rejected::AsLoop)),
    ];
    for (prefix, as_path, expected) in cases {
        let path = path(1, as_path);
        assert_eq!(policy().admits(&prefix.parse().unwrap(), &path), expected, "{prefix}");
    }
    let mut path = path(1, &[]);
    path.attributes.originator_id = Some(Ipv4Addr::new(192, 0, 2, 100));
    let refused = policy().admits(&"10.244.1.0/24".parse().unwrap(), &path);
    assert_eq!(refused, Err(Rejected::OriginatorLoop));
}

/// Bytes of the lists that the RIB keeps of a peer, each path once.
fn kept(rib: &Rib, peer: IpAddr) -> usize {
    let paths: BTreeMap<*const Path, &Path> =
        rib.paths(peer).map(|(_, path)| (std::ptr::from_ref(path), path)).collect();
    let size = |path: &Path| {
        let Attributes { as_path, communities, large_communities, cluster_list, .. } =
            &path.attributes;
        let words = as_path.capacity() + communities.capacity() + cluster_list.capacity();
        size_of::<Path>() + 4 * words + 12 * large_communities.capacity()
    };
    paths.into_values().map(size).sum()
}

/// The `n`th of UPDATEs that differ, each with as many attributes as a message holds.
fn heavy(n: u32, as_path: usize, clusters: usize) -> Update {
    let mut update = announcement(1, &format!("10.244.{}.{}/32", 1 + n / 256, n % 256), &[]);
    let attributes = &mut update.attributes;
    attributes.as_path = vec![65001; as_path];
    attributes.cluster_list = vec![Ipv4Addr::from(n); clusters];
    attributes.communities = (0..400).map(|i| Community(n << 12 | i)).collect();
    attributes.communities.push(GRACEFUL_SHUTDOWN);
    attributes.large_communities = (0..130).map(|i| LargeCommunity([n, i, 0])).collect();
    update
}

/// 4 KB of attributes with each prefix do not become 4 KB of memory for each.
#[test]
fn a_path_keeps_a_bounded_part_of_its_attributes() {
    let (mut rib, peer) = (Rib::new(policy()), source(1, true));
    rib.up(peer);
    for n in 0..1000 {
        rib.update(peer.address, &heavy(n, AS_PATH_MAX, CLUSTERS_MAX));
    }
    assert_eq!((rib.count(peer.address), rib.shortened(peer.address)), (1000, 1000));
    let each = kept(&rib, peer.address) / 1000;
    assert!(each <= 1024, "{each} bytes");
    for (_, path) in rib.paths(peer.address) {
        let communities = &path.attributes.communities;
        assert_eq!(communities.len(), COMMUNITIES_MAX);
        assert!(communities.contains(&GRACEFUL_SHUTDOWN), "what decides is kept");
    }
}

#[test]
fn a_path_of_excessive_length_is_not_taken() {
    let (mut rib, peer) = (Rib::new(policy()), source(1, true));
    rib.up(peer);
    rib.update(peer.address, &heavy(0, AS_PATH_MAX, CLUSTERS_MAX));
    rib.update(peer.address, &heavy(0, AS_PATH_MAX + 1, 0));
    rib.update(peer.address, &heavy(1, 1, CLUSTERS_MAX + 1));
    assert_eq!(rib.count(peer.address), 0, "it withdraws what it replaces");
    let rejected = [(Rejected::LongAsPath, 1), (Rejected::LongClusterList, 1)];
    assert_eq!(rib.rejected(peer.address), BTreeMap::from(rejected));
}

/// A peer that sends one prefix in each UPDATE.
#[test]
fn prefixes_share_equal_attributes() {
    let (mut rib, peer) = (Rib::new(policy()), source(1, false));
    rib.up(peer);
    for third in 1..100 {
        rib.update(peer.address, &announcement(1, &format!("10.244.{third}.0/24"), &[65001; 100]));
    }
    assert_eq!(rib.count(peer.address), 99);
    assert_eq!(kept(&rib, peer.address), size_of::<Path>() + 400);
}

/// "allowas-in": a fabric whose nodes have one AS number.
#[test]
fn a_peer_may_have_our_as_in_its_paths() {
    let prefix = "10.244.1.0/24".parse().unwrap();
    for (allowed, taken) in [(0, 1), (1, 2), (2, 3)] {
        for times in 0..4 {
            let mut path = path(1, &[vec![65001], vec![65000; times]].concat());
            path.source.own_as = allowed;
            let expected = if times < taken { Ok(()) } else { Err(Rejected::AsLoop) };
            assert_eq!(policy().admits(&prefix, &path), expected, "{allowed} {times}");
        }
    }
}

/// RFC 8326: a path that is about to go is used where there is no other.
#[test]
fn a_path_that_says_graceful_shutdown_counts_least() {
    let (mut going, stays) = (path(1, &[65001]), path(2, &[65002, 65009]));
    going.attributes.communities = vec![GRACEFUL_SHUTDOWN];
    going.attributes.local_pref = Some(900);
    assert_eq!(chosen(&[(&going, 0), (&stays, 0)]), (2, vec![2]));
    assert_eq!(chosen(&[(&going, 0)]), (1, vec![1]));
}

#[test]
fn only_a_wider_policy_is_asked_for_more() {
    type Alter = fn(&mut Policy);
    let cidr = |text: &str| text.parse().unwrap();
    let cases: [(Alter, bool); 6] = [
        (|policy| policy.import_cidrs.truncate(1), true),
        (|policy| policy.max_length = (24, 64), true),
        (|policy| policy.own_cidrs.push("10.244.1.0/24".parse().unwrap()), true),
        (|policy| policy.announced.push("10.244.1.0/24".parse().unwrap()), true),
        (|policy| policy.router_id = Ipv4Addr::UNSPECIFIED, false),
        (|policy| policy.local_asn += 1, false),
    ];
    for (alter, narrows) in cases {
        let mut altered = policy();
        alter(&mut altered);
        assert_eq!(altered.is_wider_than(&policy()), !narrows, "{altered:?}");
        assert!(policy().is_wider_than(&altered), "{altered:?}");
    }
    assert!(!policy().is_wider_than(&policy()));
    let inside = Policy { import_cidrs: vec![cidr("10.244.3.0/24")], ..policy() };
    assert!(!inside.is_wider_than(&policy()));
    let beside = Policy { import_cidrs: vec![cidr("10.245.0.0/24")], ..policy() };
    assert!(beside.is_wider_than(&policy()));
}

#[test]
fn a_next_hop_that_fails_moves_the_flows() {
    let mut rib = Rib::new(policy());
    for n in [1, 2] {
        rib.up(source(n, false));
        rib.update(
            source(n, false).address,
            &announcement(n, "10.244.1.0/24", &[65000 + u32::from(n)]),
        );
    }
    let prefix = "10.244.1.0/24".parse().unwrap();
    let vias = |ns: &[u8]| -> Vec<Via> {
        ns.iter().map(|n| Via { address: source(*n, false).address, peer: None }).collect()
    };
    assert_eq!(rib.changes(|_, _| Some(0)), BTreeMap::from([(prefix, vias(&[1, 2]))]));
    rib.recheck(&vias(&[1])[0]);
    let dead = |via: &Via| (*via != vias(&[1])[0]).then_some(0);
    assert_eq!(rib.changes(|via, _| dead(via)), BTreeMap::from([(prefix, vias(&[2]))]));
    rib.next_hops().iter().for_each(|via| rib.recheck(via));
    assert_eq!(rib.changes(|_, _| None), BTreeMap::from([(prefix, vec![])]));
    assert!(rib.routes().is_empty());
    // A path that became a loop replaces, and so withdraws, the one before.
    rib.update(source(1, false).address, &announcement(1, "10.244.1.0/24", &[65001, 65000]));
    assert_eq!(rib.changes(|_, _| Some(0)), BTreeMap::from([(prefix, vias(&[2]))]));
    assert_eq!(rib.rejected(source(1, false).address), BTreeMap::from([(Rejected::AsLoop, 1)]));
    rib.set_policy(Policy { import_cidrs: vec![], ..policy() });
    assert_eq!(rib.changes(|_, _| Some(0)), BTreeMap::from([(prefix, vec![])]));
}

/// A next hop that fails costs its own prefixes, in parts, whatever else is there; a prefix that
/// changes all the time holds up no other.
#[test]
fn only_what_changed_is_decided_on() {
    let mut rib = Rib::new(policy());
    let cidr = |n: u8, third: u8| format!("10.244.{}.0/24", n * 50 + third);
    for n in [1, 2] {
        rib.up(source(n, false));
        for third in 0..50 {
            let prefix = cidr(n, third);
            let announced = announcement(n, &prefix, &[65000 + u32::from(n)]);
            rib.update(source(n, false).address, &announced);
        }
    }
    assert_eq!(rib.decide(usize::MAX, |_, _| Some(0)).len(), 100);
    assert_eq!((rib.count(source(1, false).address), rib.is_decided()), (50, true));
    let via = Via { address: source(2, false).address, peer: None };
    let mut asked = 0;
    rib.recheck(&via);
    let mut seen = std::collections::BTreeSet::new();
    while !rib.is_decided() {
        let first = announcement(1, &cidr(1, 0), &[65001, 65000 + asked % 7]);
        rib.update(source(1, false).address, &first);
        let decided = rib.decide(10, |_, _| {
            asked += 1;
            Some(0)
        });
        assert!(decided.len() <= 10);
        seen.extend(decided.iter().map(|decided| decided.prefix));
        if seen.len() == 51 {
            break;
        }
    }
    assert!(asked <= 61, "{asked} paths were looked at");
    rib.down(source(2, false).address);
    assert_eq!(rib.next_hops().len(), 1);
    assert_eq!(rib.changes(|_, _| Some(0)).len(), 50);
}

#[test]
fn we_announce_ourselves() {
    let own =
        ["10.244.0.0/24", "fd00::/64"].map(|cidr| (cidr.parse().unwrap(), Communities::default()));
    let own = BTreeMap::from(own);
    let mut context = Context {
        families: BTreeSet::from([Family::Ipv4, Family::Ipv6]),
        four_octet_asn: true,
        extended_next_hop: true,
        internal: false,
    };
    let local = LocalAddresses {
        session: "2001:db8::1".parse().unwrap(),
        ipv4: Some(Ipv4Addr::new(192, 0, 2, 1)),
        ipv6: None,
        link_local: None,
    };
    let (wanted, none) = exports(&own, 65000, &local, &context);
    assert!(none.is_empty());
    assert!(wanted.values().all(|export| export.next_hop.address == local.session));
    assert!(wanted.values().all(|export| export.attributes.as_path == [65000]));
    let mut out = AdjRibOut::new();
    assert_eq!(out.sync(wanted.clone()).len(), 1, "one set of attributes and one next hop");
    assert_eq!(out.sync(wanted.clone()), []);
    // RFC 2918: that family, and no other.
    out.forget(Family::Ipv6);
    let again = out.sync(wanted);
    let prefixes: Vec<_> =
        again.iter().flat_map(|u| &u.announced).flat_map(|a| &a.prefixes).collect();
    assert!(matches!(prefixes[..], [IpNetwork::V6(_)]), "{prefixes:?}");

    (context.extended_next_hop, context.internal) = (false, true);
    let (wanted, _) = exports(&own, 65000, &local, &context);
    let v4 = &wanted[&"10.244.0.0/24".parse().unwrap()];
    assert_eq!(v4.next_hop.address, Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!((v4.attributes.as_path.as_slice(), v4.attributes.local_pref), (&[][..], Some(100)));
    let going = Communities { standard: vec![GRACEFUL_SHUTDOWN], large: vec![] };
    let going = own.keys().map(|cidr| (*cidr, going.clone())).collect();
    let (going, _) = exports(&going, 65000, &local, &context);
    assert!(going.values().all(|export| export.attributes.local_pref == Some(0)), "{going:?}");
    let changed = out.sync(wanted);
    assert_eq!(changed.iter().flat_map(|update| &update.announced).count(), 2);
    assert_eq!(out.sync(BTreeMap::new())[0].withdrawn.len(), 2);

    let local = LocalAddresses { session: Ipv4Addr::new(192, 0, 2, 1).into(), ipv4: None, ..local };
    let (_, none) = exports(&own, 65000, &local, &context);
    assert_eq!(none[&"fd00::/64".parse().unwrap()], Unannounced::NextHop(Family::Ipv6));
    context.families.remove(&Family::Ipv6);
    let local = LocalAddresses { ipv6: Some("2001:db8::1".parse().unwrap()), ..local };
    let (_, none) = exports(&own, 65000, &local, &context);
    assert_eq!(none[&"fd00::/64".parse().unwrap()], Unannounced::Family(Family::Ipv6));
}
