use super::*;
use crate::config::{Masquerade, Source, Vxlan};
use crate::facts::Link;
use crate::guard::plan::rules;
use crate::routes::desired::*;
use crate::routes::learned::Hops;
use crate::source::nodes::NodeSet;
use crate::tunnel::device::{Tunnel, Vtep};
use net::Mac;
use node::vtep;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

mod learned;
mod prefer;

pub fn config(mode: Mode) -> Config {
    Config {
        node_name: "own".to_owned(),
        mode,
        cluster_cidrs: vec!["10.1.0.0/16".parse().unwrap()],
        service_cidrs: vec![],
        run_dir: "/run/ferrule".into(),
        state_dir: "/var/lib/ferrule".into(),
        resync_interval: None,
        source: Source::File { path: "/nodes".into() },
        bgp: None,
        vxlan: Vxlan { vni: 100, port: 4789, underlay: None, prefer_ipv6: false, mtu: None },
        masquerade: Masquerade { enabled: false, random_fully: true, exclude_cidrs: vec![] },
        probe: None,
        metrics: None,
        cni: None,
    }
}

/// `name address,address cidr,cidr` a line.
pub fn nodes(lines: &str) -> Accepted {
    fn list<T: std::str::FromStr>(text: &str) -> Vec<T> {
        text.split(',').filter_map(|item| item.parse().ok()).collect()
    }
    let node = |line: &str| {
        let [name, addresses, cidrs] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        Node { name: name.to_owned(), addresses: list(addresses), pod_cidrs: list(cidrs) }
    };
    let lines = lines.lines().filter(|line| !line.trim().is_empty());
    NodeSet { nodes: lines.map(node).collect(), ..NodeSet::default() }.accept("own", &[], &[])
}

pub fn facts() -> Facts {
    let link = |name: &str, addresses: &[&str]| Link {
        name: name.to_owned(),
        mtu: 1500,
        up: true,
        carrier: true,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        ..Link::default()
    };
    let eth0 = link("eth0", &["192.0.2.1/24", "2001:db8::1/64"]);
    let eth1 = link("eth1", &["198.51.100.1/24"]);
    Facts { links: [(2, eth0), (3, eth1)].into(), ..Facts::default() }
}

fn vtep_of(desired: &Desired) -> Option<&Vtep> {
    desired.tunnel.as_ref().map(|Tunnel::Vxlan(vtep)| vtep)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn cidr(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

pub const CLUSTER: &str = "
    own   192.0.2.1,2001:db8::1 10.1.1.0/24,fd00:1::/64
    near  192.0.2.2,2001:db8::2 10.1.2.0/24,fd00:2::/64
    far   203.0.113.3           10.1.3.0/24,10.1.33.0/24,fd00:3::/64
";

#[test]
fn auto_routes_directly_where_it_can_and_else_through_the_tunnel() {
    let desired = desired(&config(Mode::Auto), &nodes(CLUSTER), &facts(), &Learned::new());
    let mac = Mac([0x02, 0x56, 203, 0, 113, 3]);
    let local = vtep::link_local(mac.0).into();
    let source = |text| Some(ip(text));
    let expected: BTreeMap<IpNetwork, RouteTo> = [
        (cidr("10.1.1.0/24"), RouteTo::Blackhole),
        (cidr("fd00:1::/64"), RouteTo::Blackhole),
        (
            cidr("10.1.2.0/24"),
            RouteTo::Direct { gateway: ip("192.0.2.2"), link: 2, source: source("10.1.1.0") },
        ),
        (
            cidr("fd00:2::/64"),
            RouteTo::Direct { gateway: ip("2001:db8::2"), link: 2, source: source("fd00:1::") },
        ),
        (
            cidr("10.1.3.0/24"),
            RouteTo::Tunnel { gateway: ip("10.1.3.0"), source: source("10.1.1.0") },
        ),
        (
            cidr("10.1.33.0/24"),
            RouteTo::Tunnel { gateway: ip("10.1.3.0"), source: source("10.1.1.0") },
        ),
        (cidr("fd00:3::/64"), RouteTo::Tunnel { gateway: local, source: source("fd00:1::") }),
    ]
    .into();
    assert_eq!(desired.routes, expected);
    assert_eq!(desired.neighbours, [(ip("10.1.3.0"), mac), (local, mac)].into());
    assert_eq!(desired.fdb, [(mac, ip("203.0.113.3"))].into());
    // The node on this link too: it may send through the tunnel.
    let guard = rules(&config(Mode::Auto), &nodes(CLUSTER), &facts(), &desired).guard.unwrap();
    let peers = ["192.0.2.2", "2001:db8::2", "203.0.113.3"];
    assert_eq!(guard.peers, peers.map(ip).into());
    assert_eq!((desired.mtu, desired.node), (1450, ThisNode::Known));
    assert!(desired.problems.is_empty());
    let vtep = vtep_of(&desired).unwrap();
    assert_eq!(vtep.mac, Mac([0x02, 0x56, 192, 0, 2, 1]));
    assert_eq!(vtep.underlay.clone(), (2, "eth0".to_owned()));
    assert_eq!(vtep.addresses, [cidr("10.1.1.0/32"), cidr("fd00:1::/128")]);
}

#[test]
fn direct_has_no_tunnel_and_reports_nodes_on_other_links() {
    let desired = desired(&config(Mode::Direct), &nodes(CLUSTER), &facts(), &Learned::new());
    assert_eq!((desired.tunnel, desired.mtu), (None, 1500));
    assert_eq!(desired.routes.len(), 4);
    let far: Vec<_> = desired.paths.iter().filter(|path| path.node == "far").collect();
    assert_eq!(far.len(), 3);
    assert!(far.iter().all(|path| path.path == Path::None && path.refused.is_some()));
}

#[test]
fn vxlan_always_takes_the_tunnel() {
    let desired = desired(&config(Mode::Vxlan), &nodes(CLUSTER), &facts(), &Learned::new());
    assert!(!desired.routes.values().any(|way| matches!(way, RouteTo::Direct { .. })));
    assert_eq!(desired.fdb.len(), 2);
}

#[test]
fn a_tunnel_over_ipv6_costs_more_and_takes_no_ipv4() {
    let nodes = nodes(
        "own 2001:db8::1 10.1.1.0/24
         six 2001:db8:1::2 10.1.2.0/24
         four 203.0.113.3 10.1.3.0/24
         both 2001:db8:1::4,203.0.113.4 10.1.4.0/24",
    );
    let desired = desired(&config(Mode::Auto), &nodes, &facts(), &Learned::new());
    assert_eq!(desired.mtu, 1430);
    assert_eq!(desired.fdb.values().collect::<Vec<_>>(), [&ip("2001:db8:1::2")]);
    let refused: Vec<_> = desired.paths.iter().filter(|path| path.refused.is_some()).collect();
    assert_eq!(refused.iter().map(|path| &path.node).collect::<Vec<_>>(), ["both", "four"]);
    for path in refused {
        let reason = path.refused.as_ref().unwrap();
        assert!(reason.contains("ends at 203.0.113.") && reason.contains("one family"), "{reason}");
    }
}

#[test]
fn what_is_unknown_about_this_node_is_reported_and_nothing_removed() {
    let cases = [
        ("near 192.0.2.2 10.1.2.0/24", "node own", "not in the node set"),
        ("Own 192.0.2.2 10.1.2.0/24", "node own", "set node-name = \"Own\""),
        ("own.example 192.0.2.2 10.1.2.0/24", "node own", "and own.example is"),
        ("own - 10.1.1.0/24", "node own", "gives it no address"),
        ("own 192.0.2.77 10.1.1.0/24", "node own", "no link here holds 192.0.2.77"),
    ];
    for (lines, what, reason) in cases {
        let desired = desired(&config(Mode::Auto), &nodes(lines), &facts(), &Learned::new());
        assert_ne!(desired.node, ThisNode::Known, "{lines}");
        let problem = desired.problems.first().unwrap();
        assert!(problem.0 == what && problem.1.contains(reason), "{problem:?}");
    }
}

#[test]
fn the_underlay_may_be_named() {
    let own = nodes("own 198.51.100.1,192.0.2.1 10.1.1.0/24");
    let mut config = config(Mode::Auto);
    for underlay in [None, Some("eth1")] {
        config.vxlan.underlay = underlay.map(str::to_owned);
        let wanted = desired(&config, &own, &facts(), &Learned::new());
        assert_eq!(vtep_of(&wanted).unwrap().local, ip("198.51.100.1"));
    }
    config.vxlan.underlay = Some("eth7".to_owned());
    assert_eq!(desired(&config, &own, &facts(), &Learned::new()).node, ThisNode::Unplaced);
}

/// The others derive the MAC address of a node's tunnel from its first address of the family: one
/// that is made of another would get frames with a foreign one, and drop them.
#[test]
fn both_ends_of_a_tunnel_are_derived_from_the_first_address() {
    let own = |addresses: &str, underlay: Option<&str>, mode| {
        let mut config = config(mode);
        config.vxlan.underlay = underlay.map(str::to_owned);
        let nodes = nodes(&format!("own {addresses} 10.1.1.0/24"));
        desired(&config, &nodes, &facts(), &Learned::new())
    };
    let cases = [
        ("192.0.2.77,192.0.2.1", None, "no link here holds 192.0.2.77, its first IPv4 address"),
        ("192.0.2.1,198.51.100.1", Some("eth1"), "underlay \"eth1\" does not hold 192.0.2.1"),
    ];
    for (addresses, underlay, reason) in cases {
        let wanted = own(addresses, underlay, Mode::Auto);
        assert_eq!((&wanted.tunnel, wanted.node), (&None, ThisNode::Unplaced), "{addresses}");
        let problem = &wanted.problems.first().unwrap().1;
        assert!(problem.contains(reason), "{problem}");
        // Without a tunnel no node derives anything from it.
        assert_eq!(own(addresses, underlay, Mode::Direct).node, ThisNode::Known);
    }
    // 198.51.100.255 is no host's as seen from here; there it may be.
    let other = nodes(
        "own 192.0.2.1                    10.1.1.0/24
         two 198.51.100.255,203.0.113.4 10.1.4.0/24",
    );
    let wanted = desired(&config(Mode::Auto), &other, &facts(), &Learned::new());
    assert_eq!((wanted.fdb, wanted.routes.len()), (BTreeMap::new(), 1));
    let refused = wanted.paths[1].refused.as_ref().unwrap();
    assert!(refused.contains("ends at 198.51.100.255, which is not usable here"), "{refused}");
}

/// What a node holds: every address that the node set lists for it, on a link with no other node.
fn holding(addresses: &[IpAddr]) -> Facts {
    let addresses = addresses.iter().map(|held| IpNetwork::from(*held)).collect();
    let (name, leads_nowhere) = ("eth0".to_owned(), false);
    let link = Link {
        name,
        leads_nowhere,
        mtu: 1500,
        up: true,
        carrier: true,
        addresses,
        ..Link::default()
    };
    Facts { links: [(2, link)].into(), ..Facts::default() }
}

/// The desired state as each node of a set derives it.
fn views(set: &NodeSet) -> Vec<Desired> {
    let view = |node: &Node| {
        let config = Config { node_name: node.name.clone(), ..config(Mode::Vxlan) };
        let accepted = set.accept(&node.name, &[], &[]);
        desired(&config, &accepted, &holding(&node.addresses), &Learned::new())
    };
    set.nodes.iter().map(view).collect()
}

/// Both list 192.0.2.1: "a" has it, and "b" has its second address, in each one's view.
#[test]
fn a_node_that_loses_an_address_uses_it_nowhere() {
    let node = |name: &str, addresses: &[&str], cidr_: &str| Node {
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        pod_cidrs: vec![cidr(cidr_)],
    };
    let a = node("a", &["192.0.2.1"], "10.1.1.0/24");
    let b = node("b", &["192.0.2.1", "192.0.2.2"], "10.1.2.0/24");
    let c = node("c", &["192.0.2.3"], "10.1.3.0/24");
    let views = views(&NodeSet { nodes: vec![b, c, a], ..NodeSet::default() });
    let [b, c, a] = &views[..] else { panic!() };
    let mac = |last| Mac([0x02, 0x56, 192, 0, 2, last]);
    let end = |view: &Desired| vtep_of(view).map(|vtep| (vtep.local, vtep.mac));
    assert_eq!(end(a), Some((ip("192.0.2.1"), mac(1))));
    assert_eq!(end(b), Some((ip("192.0.2.2"), mac(2))));
    assert_eq!(a.fdb, [(mac(2), ip("192.0.2.2")), (mac(3), ip("192.0.2.3"))].into());
    assert_eq!(c.fdb, [(mac(1), ip("192.0.2.1")), (mac(2), ip("192.0.2.2"))].into());
    // It holds the address all the same, so that frames for "a" would come back to itself.
    assert_eq!(b.fdb, [(mac(3), ip("192.0.2.3"))].into());
    let problem = "address 192.0.2.1 is node a's too; one node has it";
    for view in &views {
        assert!(view.problems.contains(&("node b".to_owned(), problem.to_owned())));
    }
}

proptest! {
    /// Of any set, what a node takes for another's end of the tunnel is what that one takes for its
    /// own, or it says why there is none.
    #[test]
    fn both_ends_agree_on_every_address(
        lists in prop::collection::vec(prop::collection::vec((any::<bool>(), 0..8u8), 0..4), 1..6),
    ) {
        let address = |&(v4, last): &(bool, u8)| match v4 {
            true => IpAddr::from([192, 0, 2, last]),
            false => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)]),
        };
        let node = |(at, list): (usize, &Vec<(bool, u8)>)| Node {
            name: format!("n{at}"),
            addresses: list.iter().map(address).collect(),
            pod_cidrs: vec![IpNetwork::new(IpAddr::from([10, 1, at as u8, 0]), 24).unwrap()],
        };
        let set = NodeSet { nodes: lists.iter().enumerate().map(node).collect(), ..NodeSet::default() };
        let views = views(&set);
        for (here, view) in set.nodes.iter().zip(&views) {
            let Some(own) = vtep_of(view) else { continue };
            for (there, other) in set.nodes.iter().zip(&views).filter(|(node, _)| node.name != here.name) {
                let path = view.paths.iter().find(|path| path.node == there.name).unwrap();
                let end = vtep_of(other).map(|vtep| vtep.local);
                let way = end.filter(|end| {
                    end.is_ipv4() == own.local.is_ipv4() && !here.addresses.contains(end)
                });
                prop_assert_eq!(path.via, way);
                prop_assert_eq!(path.refused.is_none(), way.is_some());
                let mac = way.map(vtep::mac).map(Mac);
                prop_assert!(mac.is_none_or(|mac| view.fdb.get(&mac) == way.as_ref()));
            }
        }
    }
}

#[test]
fn a_tunnels_mtu_is_never_more_than_fits() {
    let mut config = config(Mode::Auto);
    for (asked, used, problems) in [(1400, 1400, 0), (1450, 1450, 0), (1451, 1450, 1)] {
        config.vxlan.mtu = Some(asked);
        let desired = desired(&config, &nodes(CLUSTER), &facts(), &Learned::new());
        assert_eq!((desired.mtu, desired.problems.len()), (used, problems));
    }
}

/// The kernel would refuse such a gateway again and again.
#[test]
fn an_invalid_address_of_another_node_is_refused_once_and_the_next_one_used() {
    let nodes = nodes(
        "own  192.0.2.1,2001:db8::1 10.1.1.0/24
         all  192.0.2.255           10.1.2.0/24
         twin 198.51.100.1          10.1.3.0/24
         two  198.51.100.255,192.0.2.4 10.1.4.0/24",
    );
    let desired = desired(&config(Mode::Auto), &nodes, &facts(), &Learned::new());
    assert_eq!(
        desired.routes.keys().copied().collect::<Vec<_>>(),
        [cidr("10.1.1.0/24"), cidr("10.1.4.0/24")]
    );
    let states: Vec<_> = desired.paths.iter().map(|p| (p.node.as_str(), p.path, p.via)).collect();
    assert_eq!(states[1..3], [("all", Path::None, None), ("twin", Path::None, None)]);
    assert_eq!(states[3], ("two", Path::Direct, Some(ip("192.0.2.4"))));
    let problem = |node: &str| {
        let found = desired.problems.iter().find(|(what, _)| *what == format!("node {node}"));
        found.unwrap().1.clone()
    };
    assert!(
        problem("all").contains("192.0.2.255 is the broadcast address of 192.0.2.1/24 on eth0")
    );
    assert!(problem("twin").contains("198.51.100.1 is an address of this node too, on eth1"));
    assert!(problem("two").contains("broadcast address"));
}

/// Without a tunnel there may be a bridge of pods that has one.
#[test]
fn the_source_is_inside_this_nodes_pod_cidr_where_it_has_such_an_address() {
    let source = |facts: &Facts| {
        let desired = desired(&config(Mode::Direct), &nodes(CLUSTER), facts, &Learned::new());
        match &desired.routes[&cidr("10.1.2.0/24")] {
            RouteTo::Direct { source, .. } => *source,
            way => panic!("{way:?}"),
        }
    };
    let mut facts = facts();
    assert_eq!(source(&facts), None);
    let addresses = vec![cidr("10.1.1.1/24"), cidr("fd00:1::1/64")];
    let (name, leads_nowhere) = ("cni0".to_owned(), false);
    let bridge = Link {
        name,
        leads_nowhere,
        mtu: 1500,
        up: true,
        carrier: true,
        addresses,
        ..Link::default()
    };
    facts.links.insert(9, bridge);
    assert_eq!(source(&facts), Some(ip("10.1.1.1")));
}

#[test]
fn a_learned_route_wins_over_the_node_set_but_not_over_mode_vxlan() {
    let hops: Hops =
        vec![net::route::Hop { gateway: Some(ip("192.0.2.254")), link: 2, onlink: false }].into();
    let announced = ["10.1.1.0/24", "10.1.3.0/24", "10.9.0.0/16", "fd00:3::/64"];
    let learned: Learned = announced.iter().map(|c| (cidr(c), Hops::clone(&hops))).collect();
    let way = |desired: &Desired, c: &str| desired.routes.get(&cidr(c)).cloned();
    let by_bgp = |source: &str| {
        Some(RouteTo::Learned { hops: Hops::clone(&hops), source: Some(ip(source)) })
    };

    let auto = desired(&config(Mode::Auto), &nodes(CLUSTER), &facts(), &learned);
    assert_eq!(way(&auto, "10.1.1.0/24"), Some(RouteTo::Blackhole));
    assert_eq!(way(&auto, "10.1.3.0/24"), by_bgp("10.1.1.0"));
    assert_eq!(way(&auto, "fd00:3::/64"), by_bgp("fd00:1::"));
    assert_eq!(way(&auto, "10.9.0.0/16"), by_bgp("10.1.1.0"));
    let path = |c: &str| auto.path_to(cidr(c)).unwrap();
    assert_eq!((path("10.1.3.0/24").path, path("10.1.3.0/24").node.as_str()), (Path::Bgp, "far"));
    assert_eq!((path("10.9.0.0/16").path, path("10.9.0.0/16").node.as_str()), (Path::Bgp, ""));
    // The way back is there at once: neighbours and FDB entries stay.
    let without = desired(&config(Mode::Auto), &nodes(CLUSTER), &facts(), &Learned::new());
    assert_eq!((&auto.neighbours, &auto.fdb), (&without.neighbours, &without.fdb));

    let vxlan = desired(&config(Mode::Vxlan), &nodes(CLUSTER), &facts(), &learned);
    assert!(matches!(way(&vxlan, "10.1.3.0/24"), Some(RouteTo::Tunnel { .. })));
    assert_eq!(way(&vxlan, "10.9.0.0/16"), by_bgp("10.1.1.0"));
    let direct = desired(&config(Mode::Direct), &nodes(CLUSTER), &facts(), &learned);
    assert_eq!(way(&direct, "10.1.3.0/24"), by_bgp("192.0.2.1"));
    let far = direct.paths.iter().find(|path| path.cidr == cidr("10.1.3.0/24")).unwrap();
    assert_eq!(far.refused, None);
}

/// The node whose it is goes where BGP says, and the other one is still refused.
#[test]
fn a_learned_route_belongs_to_the_first_of_two_nodes_that_list_its_cidr() {
    let hops: Hops =
        vec![net::route::Hop { gateway: Some(ip("192.0.2.254")), link: 2, onlink: false }].into();
    let learned = ["10.1.1.0/24", "10.1.3.0/24"].map(|c| (cidr(c), Hops::clone(&hops)));
    let nodes = nodes(&format!("{CLUSTER}twin 203.0.113.4 10.1.1.0/24,10.1.3.0/24"));
    let desired = desired(&config(Mode::Auto), &nodes, &facts(), &learned.into());
    assert_eq!(desired.routes.get(&cidr("10.1.1.0/24")), Some(&RouteTo::Blackhole));
    let of = |c: &str| -> Vec<(&str, Path, bool)> {
        let same = desired.paths.iter().filter(|path| path.cidr == cidr(c));
        same.map(|path| (path.node.as_str(), path.path, path.refused.is_some())).collect()
    };
    assert_eq!(of("10.1.1.0/24"), [("own", Path::Local, false), ("twin", Path::None, true)]);
    assert_eq!(of("10.1.3.0/24"), [("far", Path::Bgp, false), ("twin", Path::None, true)]);
}

#[test]
fn a_node_alone_has_no_tunnel_and_announces_into_a_blackhole() {
    let text = "
        cluster-cidrs = [\"10.1.0.0/16\"]
        [bgp]
        asn = 65001
        announce = [\"10.1.1.0/24\", \"198.51.100.0/28\"]
        [[bgp.peer]]
        address = \"192.0.2.254\"
        asn = 65000
        [node]
        addresses = [\"192.0.2.1\"]
        pod-cidrs = [\"10.1.1.0/24\"]";
    let config = crate::config::read::parse(text, Some("own")).unwrap();
    let own = nodes("own 192.0.2.1 10.1.1.0/24");
    let alone = desired(&config, &own, &facts(), &Learned::new());
    assert_eq!((&alone.tunnel, alone.mtu, alone.node), (&None, 1500, ThisNode::Known));
    let blackholes = ["10.1.1.0/24", "198.51.100.0/28"].map(|c| (cidr(c), RouteTo::Blackhole));
    assert_eq!(alone.routes, blackholes.into());
    // Where the address is on the loopback device, the other links say how long a packet may be.
    let mut lo = facts();
    let addresses = vec!["192.0.2.1/32".parse().unwrap()];
    lo.links.get_mut(&2).unwrap().addresses.clear();
    let (name, leads_nowhere, up, carrier) = ("lo".to_owned(), true, true, true);
    lo.links.insert(
        1,
        Link { name, leads_nowhere, mtu: 65_536, up, carrier, addresses, ..Link::default() },
    );
    assert_eq!(desired(&config, &own, &lo, &Learned::new()).mtu, 1500);
}

/// The routes choose the link, so the tunnel is bound to none, and fits all that it may be; the
/// pods' bridge, whose MTU follows from the tunnel's, counts for nothing.
#[test]
fn a_tunnel_from_the_loopback_device_goes_where_the_routes_say() {
    let mut facts = facts();
    let link = |name: &str, mtu, up, addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| cidr(address)).collect();
        let leads_nowhere = name == "lo";
        Link {
            name: name.to_owned(),
            leads_nowhere,
            mtu,
            up,
            carrier: up,
            addresses,
            ..Link::default()
        }
    };
    facts.links.insert(1, link("lo", 65_536, true, &["10.255.0.1/32"]));
    facts.links.insert(4, link("cni0", 1350, true, &["10.1.1.1/24"]));
    facts.links.insert(5, link("bare0", 1400, true, &[]));
    facts.links.insert(6, link("off0", 1300, false, &["198.51.100.9/31"]));
    let nodes = nodes(&CLUSTER.replacen("192.0.2.1,2001:db8::1", "10.255.0.1", 1));
    for (asked, used) in [(None, 1350), (Some(1340), 1340), (Some(8950), 8950)] {
        let mut config = config(Mode::Auto);
        config.vxlan.mtu = asked;
        let desired = desired(&config, &nodes, &facts, &Learned::new());
        assert_eq!((desired.mtu, &desired.problems), (used, &BTreeSet::new()));
        let guard = rules(&config, &nodes, &facts, &desired).guard.unwrap();
        assert_eq!((guard.underlay, guard.local), (None, ip("10.255.0.1")));
        let vtep = vtep_of(&desired).unwrap();
        assert_eq!((vtep.underlay.clone(), vtep.mtu), ((0, "lo".to_owned()), used));
    }
}
