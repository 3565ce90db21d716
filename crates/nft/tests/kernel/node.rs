//! What route-sync keeps, in a real kernel, with the `nft` tool as the oracle.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::common::{in_netns, load, nft, open, pod, remove, ruleset};
use nft::{Error, Guard, Monitor, NodeMasquerade, NodeRules, PodSources, Rpfilter};

fn rules() -> NodeRules {
    let peers = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
    let cluster = ["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "172.16.0.0/12", "fd00::/8"];
    let sources = ["10.1.0.0/24", "fd00:1::/64"];
    NodeRules {
        guard: Some(Guard {
            port: 4789,
            underlay: Some("eth0".to_owned()),
            local: [192, 0, 2, 9].into(),
            peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
        }),
        cluster: cluster.iter().map(|cidr| cidr.parse().unwrap()).collect(),
        masquerade: Some(NodeMasquerade {
            sources: sources.iter().map(|cidr| cidr.parse().unwrap()).collect(),
            random_fully: false,
        }),
        sources: Some(PodSources {
            own: sources.iter().map(|cidr| cidr.parse().unwrap()).collect(),
            remote: ["10.1.2.0/24", "fd00:2::/64"].map(|cidr| cidr.parse().unwrap()).into(),
            allowed: ["10.9.0.0/24"].map(|cidr| cidr.parse().unwrap()).into(),
            links: ["cni0".to_owned()].into(),
        }),
    }
}

#[test]
fn the_ruleset_is_as_documented_and_loads_again() {
    in_netns(|| {
        let mut ours = open();
        assert!(ours.put_node_rules(&rules()).unwrap());
        let saved = ruleset();
        assert_eq!(saved, include_str!("node.nft"));
        assert!(!ours.put_node_rules(&rules()).unwrap());

        nft(&["flush", "ruleset"]);
        load(&saved);
        assert!(!ours.put_node_rules(&rules()).unwrap(), "{}", ruleset());
        assert_eq!(ruleset(), saved);
        ours.del_node_rules().unwrap();
        assert_eq!(ruleset(), "");
        ours.del_node_rules().unwrap();
    });
}

#[test]
fn whatever_others_do_to_it_is_told_and_mended() {
    in_netns(|| {
        let mut ours = open();
        let mut monitor = Monitor::open().unwrap();
        ours.put_node_rules(&rules()).unwrap();
        assert!(monitor.read().unwrap());
        let whole = ruleset();
        let second_rule = nft(&["-a", "list", "chain", "inet", "ferrule", "overlay"]);
        let handle = second_rule.lines().find(|line| line.contains("ip saddr")).unwrap();
        let handle = handle.rsplit(' ').next().unwrap();
        let changes = [
            format!("delete rule inet ferrule overlay handle {handle}"),
            "flush chain inet ferrule cluster-masq".to_owned(),
            "delete chain inet ferrule overlay".to_owned(),
            "delete chain inet ferrule overlay-transit".to_owned(),
            "flush chain inet ferrule overlay-transit".to_owned(),
            "insert rule inet ferrule overlay accept".to_owned(),
            "chain inet ferrule overlay { policy drop; }".to_owned(),
            "delete element inet ferrule overlay-peers4 { 192.0.2.1 }".to_owned(),
            "add element inet ferrule overlay-peers4 { 198.51.100.1 }".to_owned(),
            "flush set inet ferrule overlay-peers4".to_owned(),
            "delete element inet ferrule cluster4 { 10.0.0.0/8 }".to_owned(),
            "delete element inet ferrule cluster4 { 10.0.0.0/8 }\n\
             add element inet ferrule cluster4 { 10.0.0.0/12 }"
                .to_owned(),
            "add element inet ferrule cluster4 { 192.168.0.0/16, 9.0.0.0/8 }".to_owned(),
            "add element inet ferrule cluster6 { ff00::/8 }".to_owned(),
            "add element inet ferrule pods4 { 10.1.1.0/24 }".to_owned(),
            "flush set inet ferrule pods6".to_owned(),
            "delete chain inet ferrule cluster-masq\ndelete chain inet ferrule cluster-invalid\n\
             delete set inet ferrule pods4"
                .to_owned(),
            "delete chain inet ferrule overlay\n\
             add chain inet ferrule overlay { type filter hook input priority 7; }"
                .to_owned(),
            "flush chain inet ferrule pod-sources".to_owned(),
            "delete chain inet ferrule overlay-output".to_owned(),
            "flush set inet ferrule pod-links".to_owned(),
            "delete element inet ferrule remote-pods4 { 10.1.2.0/24 }".to_owned(),
            "add table inet ferrule { flags dormant; }".to_owned(),
            "delete table inet ferrule".to_owned(),
            "flush ruleset".to_owned(),
        ];
        for change in changes {
            assert!(!ours.put_node_rules(&rules()).unwrap());
            assert!(!monitor.read().unwrap(), "before {change}");
            load(&change);
            assert!(monitor.read().unwrap(), "{change}");
            assert!(ours.put_node_rules(&rules()).unwrap(), "{change}");
            assert_eq!(sorted(&ruleset()), sorted(&whole), "{change}");
            assert!(monitor.read().unwrap());
        }
    });
}

/// Lines in an order that does not tell in which one chains and sets were made.
fn sorted(ruleset: &str) -> Vec<&str> {
    let mut lines: Vec<_> = ruleset.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_catch_all_element_does_not_open_the_guard() {
    in_netns(|| {
        let mut ours = open();
        ours.put_node_rules(&rules()).unwrap();
        let whole = ruleset();
        load("add element inet ferrule overlay-peers4 { * }");
        assert!(ours.put_node_rules(&rules()).unwrap());
        assert_eq!(ruleset(), whole);
    });
}

#[test]
fn other_rules_become_exactly_those() {
    in_netns(|| {
        let mut ours = open();
        let mut other = rules();
        ours.put_node_rules(&other).unwrap();
        other.cluster =
            ["10.0.0.0/9", "10.200.0.0/16"].iter().map(|c| c.parse().unwrap()).collect();
        let guard = other.guard.as_mut().unwrap();
        guard.port = 8472;
        guard.underlay = Some("fifteen-bytes-x".to_owned());
        guard.local = "2001:db8::9".parse().unwrap();
        guard.peers.remove(&"2001:db8::2".parse().unwrap());
        other.masquerade.as_mut().unwrap().random_fully = true;
        assert!(ours.put_node_rules(&other).unwrap());
        assert!(!ours.put_node_rules(&other).unwrap());
        let shown = ruleset();
        for part in [
            "elements = { 10.0.0.0/9, 10.200.0.0/16 }",
            "elements = { 2001:db8::1 }",
            "udp dport 8472 iifname \"fifteen-bytes-x\" ip6 daddr 2001:db8::9 \
             ip6 saddr @overlay-peers6 accept",
            "udp dport 8472 drop",
            "udp dport 8472 ip daddr @overlay-peers4 ip saddr != @overlay-peers4 drop",
            "udp dport 8472 ip6 daddr @overlay-peers6 ip6 saddr != @overlay-peers6 drop",
            "udp dport 8472 ip6 saddr @overlay-peers6 fib saddr . iif oif missing drop",
            "ip saddr @pods4 masquerade fully-random",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        for part in ["4789", "fd00::/8", "ip saddr @overlay-peers4 accept"] {
            assert!(!shown.contains(part), "{part}: {shown}");
        }

        other.guard = None;
        assert!(ours.put_node_rules(&other).unwrap());
        assert!(!ruleset().contains("overlay"), "{}", ruleset());
        other.sources = None;
        assert!(ours.put_node_rules(&other).unwrap());
        for gone in ["pod-links", "-pods", "pod-sources"] {
            assert!(!ruleset().contains(gone), "{gone}: {}", ruleset());
        }
        other.masquerade = None;
        assert!(ours.put_node_rules(&other).unwrap());
        let shown = ruleset();
        assert!(!shown.contains("pods4") && shown.contains("10.200.0.0/16"), "{shown}");
        assert!(!shown.contains("chain"), "{shown}");
        ours.del_node_rules().unwrap();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn the_pods_and_the_node_leave_each_others_things() {
    in_netns(|| {
        let foreign = "table inet other {\n\tchain c {\n\t\tip daddr 10.0.0.0/8 accept\n\t}\n}\n";
        load(foreign);
        let (mut ours, mut plugin) = (open(), open());
        let m = pod("pods", "10.1.0.5", "10.1.0.0/24", "c0ffee eth0");
        ours.put_node_rules(&rules()).unwrap();
        plugin.add_masquerade(&m).unwrap();
        assert_eq!(plugin.check_masquerade(&m).unwrap(), Vec::<String>::new());
        assert!(!ours.put_node_rules(&rules()).unwrap());

        let rpfilter =
            |link: &str| Rpfilter { link: link.to_owned(), comment: "c eth0".to_owned() };
        let [veth0, veth1] = ["veth0", "veth1"].map(rpfilter);
        plugin.add_rpfilter(&veth0).unwrap();

        let mut monitor = Monitor::open().unwrap();
        let more = pod("pods", "fd00:1::5", "fd00:1::/64", "c0ffee eth0");
        plugin.add_masquerade(&more).unwrap();
        remove(&mut plugin, &more);
        plugin.add_rpfilter(&veth1).unwrap();
        plugin.del_rpfilter(&veth1.link, &veth1.comment).unwrap();
        load("add rule inet other c ip daddr 10.1.0.0/16 accept");
        load("add table ip ferrule\ndelete table ip ferrule");
        load("delete table inet other");
        assert!(!monitor.read().unwrap());
        load(foreign);

        plugin.del_rpfilter(&veth0.link, &veth0.comment).unwrap();
        remove(&mut plugin, &m);
        assert!(!ours.put_node_rules(&rules()).unwrap());
        plugin.add_masquerade(&m).unwrap();
        ours.del_node_rules().unwrap();
        assert_eq!(plugin.check_masquerade(&m).unwrap(), Vec::<String>::new());
        let shown = ruleset();
        assert!(!shown.contains("overlay") && !shown.contains("pods4"), "{shown}");
        remove(&mut plugin, &m);
        assert_eq!(ruleset(), foreign);

        // The pods' frame that stayed for the node goes with the node.
        ours.put_node_rules(&rules()).unwrap();
        plugin.add_masquerade(&m).unwrap();
        remove(&mut plugin, &m);
        ours.del_node_rules().unwrap();
        assert_eq!(ruleset(), foreign);
    });
}

#[test]
fn pods_come_and_go_while_the_node_changes() {
    in_netns(|| {
        std::thread::scope(|scope| {
            for i in 0..4_u8 {
                scope.spawn(move || {
                    let mut nft = open();
                    for round in 0..100 {
                        let m =
                            pod("pods", &format!("10.1.{i}.5"), "10.1.0.0/16", &format!("{round}"));
                        nft.add_masquerade(&m).unwrap();
                        assert_eq!(nft.check_masquerade(&m).unwrap(), Vec::<String>::new());
                        remove(&mut nft, &m);
                    }
                });
            }
            let mut ours = open();
            for round in 0..40_u8 {
                let mut now = rules();
                now.guard.as_mut().unwrap().peers.insert([192, 0, 2, 100 + round].into());
                assert!(ours.put_node_rules(&now).unwrap());
                if round % 4 == 3 {
                    ours.del_node_rules().unwrap();
                }
            }
        });
        open().del_node_rules().unwrap();
        assert_eq!(ruleset(), "");
    });
}

/// Five thousand nodes with two addresses and two CIDRs each, no two of them adjacent.
fn many() -> NodeRules {
    let mut many = rules();
    let guard = many.guard.as_mut().unwrap();
    for i in 0..5000_u32 {
        let v4 = Ipv4Addr::from_bits(0x0a00_0000 + (i << 9));
        let v6 = Ipv6Addr::from_bits((0xfd00_u128 << 112) + (u128::from(i) << 65));
        let (v4, v6) = (IpAddr::from(v4), IpAddr::from(v6));
        guard.peers.extend([v4, v6]);
        many.cluster.insert(ipnetwork::IpNetwork::new(v4, 24).unwrap());
        many.cluster.insert(ipnetwork::IpNetwork::new(v6, 64).unwrap());
    }
    many.cluster.retain(|cidr| cidr.prefix() >= 24);
    many
}

#[test]
fn five_thousand_nodes_are_one_batch() {
    in_netns(|| {
        let (mut ours, mut many) = (open(), many());
        let mut monitor = Monitor::open().unwrap();
        let start = std::time::Instant::now();
        assert!(ours.put_node_rules(&many).unwrap());
        let first = start.elapsed();
        assert!(!ours.put_node_rules(&many).unwrap());
        println!("first {first:?}, again {:?}", start.elapsed() - first);
        assert!(monitor.read().unwrap());
        let shown = ruleset();
        assert!(shown.contains("10.39.14.0/24") && shown.contains("10.0.0.0/24"));
        nft(&["flush", "set", "inet", "ferrule", "cluster6"]);
        many.guard.as_mut().unwrap().peers.pop_first();
        many.cluster.pop_last();
        assert!(ours.put_node_rules(&many).unwrap());
        assert!(!ours.put_node_rules(&many).unwrap());
        ours.del_node_rules().unwrap();
        assert_eq!(ruleset(), "");
    });
}

/// By whatever leads to a peer, and not from elsewhere: a pod sends with any source address.
#[test]
fn a_guard_without_an_interface_asks_for_the_way_back() {
    in_netns(|| {
        let mut rules = rules();
        for (local, ip) in [("192.0.2.9", "ip"), ("2001:db8::9", "ip6")] {
            let guard = rules.guard.as_mut().unwrap();
            (guard.underlay, guard.local) = (None, local.parse().unwrap());
            assert!(open().put_node_rules(&rules).unwrap());
            assert!(!open().put_node_rules(&rules).unwrap());
            let peers = if ip == "ip" { "@overlay-peers4" } else { "@overlay-peers6" };
            let udp = |chain| -> Vec<String> {
                let shown = nft(&["list", "chain", "inet", "ferrule", chain]);
                let lines = shown.lines().map(str::trim).filter(|line| line.starts_with("udp"));
                lines.map(str::to_owned).collect()
            };
            let accepted = format!("udp dport 4789 {ip} daddr {local} {ip} saddr {peers} accept");
            assert_eq!(udp("overlay"), [accepted.as_str(), "udp dport 4789 drop"]);
            let first =
                format!("udp dport 4789 {ip} saddr {peers} fib saddr . iif oif missing drop");
            let transit = udp("overlay-transit");
            let then = "udp dport 4789 fib daddr type local accept";
            assert_eq!(transit[..2], [first.as_str(), then], "{transit:?}");
            assert_eq!(transit.len(), 5, "{transit:?}");
        }
    });
}

#[test]
fn what_cannot_be_is_refused() {
    in_netns(|| {
        for (port, underlay) in [(0, "eth0"), (4789, ""), (4789, "sixteen-bytes-xx")] {
            let mut rules = rules();
            let guard = rules.guard.as_mut().unwrap();
            (guard.port, guard.underlay) = (port, Some(underlay.to_owned()));
            assert!(matches!(open().put_node_rules(&rules), Err(Error::Invalid(_))));
        }
        assert_eq!(ruleset(), "");
    });
}
