use super::*;
use crate::facts::Link;
use bgp_speaker::codec::{Announced, Attributes, NextHop, Update};
use bgp_speaker::rib::Policy;
use proptest::prelude::*;

/// Peers 192.0.2.2 and 2001:db8::2 on link 2, 198.51.100.2 on link 3.
const PEERS: [&str; 3] = ["192.0.2.2", "2001:db8::2", "198.51.100.2"];
/// Next hops: on the links, this node's own, on no link.
const NEXT_HOPS: [&str; 6] =
    ["192.0.2.2", "2001:db8::2", "198.51.100.2", "192.0.2.9", "192.0.2.1", "203.0.113.7"];
const PREFIXES: [&str; 3] = ["10.244.2.0/24", "10.244.3.0/24", "fd00::/64"];

fn bgp() -> Bgp {
    let text = "[bgp]\nasn = 65000\n[[bgp.peer]]\naddress = \"192.0.2.2\"\nasn = 65000\n\
                [node]\naddresses = [\"192.0.2.1\"]\npod-cidrs = [\"10.244.1.0/24\"]";
    crate::config::read::parse(text, Some("host")).unwrap().bgp.unwrap()
}

fn facts(live: [bool; 2]) -> Facts {
    let link = |name: &str, carrier, addresses: &[&str]| Link {
        name: name.to_owned(),
        mtu: 1500,
        up: true,
        carrier,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ..Link::default()
    };
    let near_link = link("eth0", live[0], &["192.0.2.1/24", "2001:db8::1/64"]);
    let far = link("eth1", live[1], &["198.51.100.1/24"]);
    Facts { links: [(2, near_link), (3, far)].into(), ..Facts::default() }
}

fn rib() -> Rib {
    let mut rib = Rib::new(Policy {
        import_cidrs: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()],
        max_length: (32, 128),
        own_cidrs: vec![],
        announced: vec![],
        local_asn: 65000,
        router_id: [192, 0, 2, 1].into(),
    });
    for (n, peer) in (2..).zip(PEERS) {
        let (address, router_id) = (peer.parse().unwrap(), [192, 0, 2, n].into());
        rib.up(Source { address, router_id, internal: false, own_as: 0 });
    }
    rib
}

fn update(prefix: usize, next_hop: Option<usize>) -> Update {
    let prefixes = vec![PREFIXES[prefix].parse().unwrap()];
    let Some(next_hop) = next_hop else {
        return Update { withdrawn: prefixes, ..Update::default() };
    };
    let next_hop = NextHop { address: NEXT_HOPS[next_hop].parse().unwrap(), link_local: None };
    Update {
        announced: vec![Announced { next_hop, prefixes }],
        attributes: Attributes { as_path: vec![65001], ..Attributes::default() },
        ..Update::default()
    }
}

/// The link of a next hop that packets of a prefix get through, and its gateway.
fn expected(prefix: usize, next_hop: usize, live: [bool; 2]) -> Option<Hop> {
    let (gateway, link) = match next_hop {
        0 | 1 | 3 if live[0] => (next_hop, 2),
        2 if live[1] => (next_hop, 3),
        _ => return None,
    };
    let gateway: IpAddr = NEXT_HOPS[gateway].parse().unwrap();
    let carries = PREFIXES[prefix].contains('.') || gateway.is_ipv6();
    carries.then_some(Hop { gateway: Some(gateway), link, onlink: false })
}

#[derive(Clone, Debug)]
enum Step {
    /// A peer announces a prefix by a next hop, or withdraws it.
    Announce(usize, usize, Option<usize>),
    /// A session is over.
    Down(usize),
    /// Which links have a carrier.
    Links([bool; 2]),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, 0..3_usize, proptest::option::weighted(0.8, 0..6_usize))
            .prop_map(|(peer, prefix, via)| Step::Announce(peer, prefix, via)),
        1 => (0..3_usize).prop_map(Step::Down),
        2 => any::<[bool; 2]>().prop_map(Step::Links),
    ]
}

/// A next hop that is on no link is reached by another program's route, for peers that may be
/// across a router.
#[test]
fn next_hops_across_a_router_take_another_programs_route() {
    let mut bgp = bgp();
    let facts = facts([true, false]);
    let gateway = |link| Hop { gateway: Some("192.0.2.9".parse().unwrap()), link, onlink: false };
    let to = |protocol, hops: Vec<Hop>| {
        let dst = "203.0.113.0/24".parse().unwrap();
        Route { hops, protocol, priority: 20, ..Route::new(dst, None, 0) }
    };
    let hops = |bgp: &Bgp, route: Option<Route>| {
        let (mut rib, mut table) = (rib(), Table::default());
        let reserved = Reserved::default();
        rib.update(PEERS[0].parse().unwrap(), &update(0, Some(5)));
        let mut lookup = |_| route.clone();
        let mut resolver = Resolver::new(bgp, &facts, &reserved, &mut lookup);
        let changes = table.follow(&mut rib, &mut resolver, false);
        changes.into_values().next().flatten().map(|hops| hops.to_vec())
    };
    let bird = to(12, vec![gateway(2), gateway(3)]);
    assert_eq!(hops(&bgp, Some(bird.clone())), None, "its peer has to be on a link");
    bgp.peers[0].multihop = Some(3);
    assert_eq!(hops(&bgp, Some(bird)), Some(vec![gateway(2)]), "the other link is cut");
    for protocol in [protocols::POD, protocols::PROTOCOL, protocols::LEARNED] {
        assert_eq!(hops(&bgp, Some(to(protocol, vec![gateway(2)]))), None, "a route of ours");
    }
    let on_link = |link| Hop { gateway: None, link, onlink: false };
    assert_eq!(hops(&bgp, Some(to(KERNEL, vec![on_link(2)]))), None, "no address says so");
    let itself = Hop { gateway: Some(NEXT_HOPS[5].parse().unwrap()), ..on_link(2) };
    assert_eq!(hops(&bgp, Some(to(4, vec![on_link(2), on_link(3)]))), Some(vec![itself]));
    assert_eq!(hops(&bgp, None), None);
}

/// What this node needs is refused while it needs that, and for nothing else: an aggregate that
/// covers this node's own pods is taken.
#[test]
fn a_prefix_is_refused_while_this_node_needs_what_it_covers() {
    let (bgp, mut rib, mut table) = (bgp(), rib(), Table::default());
    let prefixes = ["10.244.2.0/24", "10.244.0.0/16", "10.0.0.0/8", "10.244.3.128/25"];
    let cidrs: Vec<IpNetwork> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    let next_hop = NextHop { address: NEXT_HOPS[0].parse().unwrap(), link_local: None };
    let announced = vec![Announced { next_hop, prefixes: cidrs }];
    rib.update(PEERS[0].parse().unwrap(), &Update { announced, ..update(0, None) });
    let own = ["10.244.1.0/24".parse().unwrap()];
    let peers = |peer: Option<&str>| peer.map(|peer| peer.parse().unwrap()).into_iter();
    let mut before = Reserved::default();
    let mut used = |held: &[&str], peer: Option<&str>| {
        let mut facts = facts([true; 2]);
        let link = facts.links.get_mut(&3).unwrap();
        link.addresses.extend(held.iter().map(|held| held.parse::<IpNetwork>().unwrap()));
        let reserved = Reserved::of_imports(&facts, &own, peers(peer));
        for range in before.ranges().symmetric_difference(&reserved.ranges()) {
            rib.recheck_range(*range);
        }
        before = reserved.clone();
        let mut none = |_| None;
        table.follow(&mut rib, &mut Resolver::new(&bgp, &facts, &reserved, &mut none), false);
        let used =
            prefixes.iter().map(|prefix| table.learned().contains_key(&prefix.parse().unwrap()));
        let used: Vec<bool> = used.collect();
        let refused: Vec<bool> =
            prefixes.iter().map(|p| table.refusals.has(&p.parse().unwrap())).collect();
        assert!(used.iter().zip(refused).all(|(used, refused)| *used != refused));
        [used[0], used[1], used[2], used[3]]
    };
    assert_eq!(used(&[], None), [true; 4]);
    assert_eq!(used(&["10.244.1.1/24"], None), [true; 4], "this node's own pods");
    assert_eq!(used(&["10.244.2.9/32"], None), [false, false, false, true]);
    assert_eq!(used(&["10.244.3.1/24"], None), [true, false, false, false], "a part of a network");
    assert_eq!(used(&["10.9.0.1/32"], None), [true, true, false, true]);
    assert_eq!(used(&[], Some("10.244.2.1")), [false, false, false, true]);
    assert_eq!(used(&[], Some("10.244.1.7")), [true; 4], "a peer among this node's own pods");
}

proptest! {
    /// The reported changes add up to what is learned, and that is what the peers announce,
    /// over the links that carry packets.
    #[test]
    fn it_follows_peers_and_links(steps in prop::collection::vec(step(), 1..40)) {
        let bgp = bgp();
        let (mut rib, mut table, mut live) = (rib(), Table::default(), [true; 2]);
        let mut announced: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut up = [true; 3];
        let mut kernel = Learned::new();
        for step in steps {
            let all = matches!(step, Step::Links(_));
            match step {
                Step::Announce(peer, prefix, via) => {
                    rib.update(PEERS[peer].parse().unwrap(), &update(prefix, via));
                    match via.filter(|_| up[peer]) {
                        Some(via) => drop(announced.insert((prefix, peer), via)),
                        None => drop(announced.remove(&(prefix, peer))),
                    }
                }
                Step::Down(peer) => {
                    rib.down(PEERS[peer].parse().unwrap());
                    up[peer] = false;
                    announced.retain(|(_, of), _| *of != peer);
                }
                Step::Links(now) => live = now,
            }
            let (facts, reserved) = (facts(live), Reserved::default());
            let mut none = |_| None;
            let mut resolver = Resolver::new(&bgp, &facts, &reserved, &mut none);
            for (prefix, hops) in table.follow(&mut rib, &mut resolver, all) {
                match hops {
                    Some(hops) => prop_assert_ne!(kernel.insert(prefix, Hops::clone(&hops)), Some(hops)),
                    None => prop_assert!(kernel.remove(&prefix).is_some()),
                }
            }
            prop_assert_eq!(table.learned(), &kernel);
            for (at, prefix) in PREFIXES.iter().enumerate() {
                let of_it = announced.iter().filter(|((prefix, _), _)| *prefix == at);
                let mut wanted: Vec<Hop> = of_it.filter_map(|(_, via)| expected(at, *via, live)).collect();
                wanted.sort_by_key(|hop| (hop.gateway, hop.link));
                wanted.dedup();
                let found = kernel.get(&prefix.parse().unwrap()).map(|hops| hops.to_vec());
                prop_assert_eq!(found.unwrap_or_default(), wanted, "{}", prefix);
            }
        }
    }
}
