//! How a session begins, and how it ends.

use crate::pair::{ANNOUNCED, ANNOUNCED6, NODE, NODE6, Pair, ROUTER, ROUTER6, router};
use crate::speaker::{Speaker, counted};
use ferrule_tests::node::Place;

/// RFC 4271 section 6.8: both dial, and one session stays.
#[test]
fn both_dial_at_once_and_one_session_stays() {
    for id in ["1.1.1.1", "250.1.1.1"] {
        let mut pair = Pair::new();
        pair.start_router("");
        pair.start_node(&format!("listen = [\"0.0.0.0\", \"::\"]\nrouter-id = \"{id}\""), "");
        for _ in 0..3 {
            pair.node.is_up();
            pair.node.learns(ANNOUNCED, 1);
            let established = pair.node.peer(ROUTER)["counters"]["established"].as_u64();
            pair.router.ask("restart node");
            pair.node.until("a new session", |s| {
                s.peer(ROUTER)["counters"]["established"].as_u64() > established
            });
        }
        pair.node.is_up();
        pair.node.until("BIRD agrees", |_| {
            pair.router.ask("show protocols node").contains("Established")
        });
        let open = pair.node.run("ss -Htn state established sport = 179 or dport = 179");
        assert_eq!(open.lines().count(), 1, "{open}");
    }
}

/// Two sessions with one switch, each of one family: no problem is reported.
#[test]
fn each_family_may_have_a_session_of_its_own() {
    let mut pair = Pair::new();
    let peer = |name: &str, local: &str, neighbor: &str, channel: &str| {
        format!(
            "protocol bgp {name} {{ local {local} as 65100; neighbor {neighbor} as 65001;
               connect delay time 1; {channel} {{ import all; export all; }}; }}
             protocol static s{channel} {{ {channel}; route {} unreachable; }}\n",
            if channel == "ipv4" { ANNOUNCED } else { ANNOUNCED6 }
        )
    };
    let peers = peer("four", ROUTER, NODE, "ipv4") + &peer("six", ROUTER6, NODE6, "ipv6");
    pair.router.start("192.0.2.254", &peers);
    pair.start_node("", &format!("[[bgp.peer]]\naddress = \"{ROUTER6}\"\nasn = 65100\n"));
    pair.node.is_up();
    pair.node.learns(ANNOUNCED, 1);
    pair.node.learns(ANNOUNCED6, 1);
    for (cidr, name) in [("10.244.1.0/24", "four"), ("fd00:10:244:1::/64", "six")] {
        pair.node
            .until("announced", |_| pair.router.ask(&format!("show route {cidr}")).contains(name));
    }
    assert!(pair.node.command("status").status.success());
}

/// A reload ends no session that it does not concern, and what it concerns it does.
#[test]
fn a_reload_touches_what_it_concerns() {
    let mut pair = Pair::new();
    let other = format!(
        "protocol bgp second {{ local {ROUTER6} as 65100; neighbor {NODE6} as 65001; connect delay time 1;
           ipv4 {{ import all; export none; }}; ipv6 {{ import all; export all; next hop self; }}; }}"
    );
    pair.router.start("192.0.2.254", &(router("") + &other));
    let second = |more: &str| format!("[[bgp.peer]]\naddress = \"{ROUTER6}\"\nasn = 65100\n{more}");
    pair.start_node("", &second(""));
    pair.node.is_up();
    let sessions = |node: &crate::speaker::Speaker| {
        let of = |address| node.peer(address)["counters"]["established"].as_u64();
        (of(ROUTER), of(ROUTER6))
    };
    let since = pair.node.peer(ROUTER)["since"].clone();
    // One peer's key: its session alone begins anew.
    pair.configure("", &second("multihop = 3\n"));
    pair.node.until("anew", |s| s.log().contains("the session ends: its configuration changed"));
    pair.node.is_up();
    assert_eq!(pair.node.peer(ROUTER)["since"], since);
    assert_eq!(sessions(&pair.node), (Some(1), Some(1)));
    // The router ID that is in force already, and a timer that no OPEN says.
    let read = || pair.node.log().matches("the configuration was read anew").count();
    let before = read();
    let of_router = format!("[[bgp.peer]]\naddress = \"{ROUTER}\"\nasn = 65100\n");
    let bgp = "[bgp]\nasn = 65001\nconnect-retry = 2\nrouter-id = \"192.0.2.1\"\n";
    pair.node.configure(&format!("{bgp}{of_router}{}", second("multihop = 3\n")));
    pair.node.until("it is read", |_| read() > before);
    assert_eq!(pair.node.peer(ROUTER)["since"], since);
    assert_eq!(sessions(&pair.node), (Some(1), Some(1)));
    // What is announced, and its communities: changed in the existing sessions.
    pair.configure(
        "announce = [\"10.244.1.0/25\"]\ncommunities = [\"65001:42\"]",
        &second("multihop = 3\n"),
    );
    let shown = |cidr: &str| pair.router.ask(&format!("show route {cidr} all"));
    pair.node.until("announced", |_| shown("10.244.1.0/25").contains("(65001,42)"));
    pair.node.until("withdrawn", |_| !shown("10.244.1.0/24").contains("BGP.origin"));
    pair.node
        .until("a blackhole", |s| s.run("ip route show type blackhole").contains("10.244.1.0/25"));
    // What counts: narrower at once, wider by a route refresh (RFC 2918).
    pair.configure("import-cidrs = [\"10.244.9.0/24\"]", &second("multihop = 3\n"));
    pair.node.until("narrower", |s| s.hops(ANNOUNCED6) == 0 && s.hops(ANNOUNCED) == 1);
    pair.configure("", &second("multihop = 3\n"));
    pair.node.learns(ANNOUNCED6, 1);
    // A peer less: its session ends.
    pair.configure("", "");
    pair.node.until("gone", |s| s.bgp()["peers"].as_array().map(Vec::len) == Some(1));
    pair.node.until("BIRD has it", |_| {
        pair.router.ask("show protocols all second").contains("Peer de-configured")
    });
    assert_eq!(pair.node.peer(ROUTER)["since"], since);
    // A broken one changes nothing; one without [bgp] ends it all.
    pair.configure("hold-time = 1", "");
    pair.node.until("refused", |s| s.log().contains("bgp.hold-time is 1"));
    assert_eq!(pair.node.peer(ROUTER)["since"], since);
    pair.node.configure_whole("[source]\ntype = \"file\"\npath = \"/run/nodes.toml\"\n");
    pair.node.write(
        "/run/nodes.toml",
        "[[node]]\nname = \"node-1\"\naddresses = [\"172.16.0.1\"]\npod-cidrs = [\"10.244.1.0/24\"]\n",
    );
    pair.node.until("no speaker", |s| s.bgp().is_null() && s.learned().is_empty());
    assert!(!pair.node.run("cat /run/ferrule/node.json").contains("bgp"));
}

/// Passwords are set while no socket listens: sessions whose password is unchanged continue.
#[test]
fn another_password_touches_its_peer_alone() {
    let mut pair = Pair::new();
    let peer = |name: &str, local: &str, neighbor: &str, password: &str, channel: &str| {
        format!(
            "protocol bgp {name} {{ local {local} as 65100; neighbor {neighbor} as 65001;
               password \"{password}\"; connect delay time 1; connect retry time 1;
               error wait time 1, 2; {channel} {{ import all; export all; }}; }}\n"
        )
    };
    let second = |password| peer("six", ROUTER6, NODE6, password, "ipv6");
    let first = peer("four", ROUTER, NODE, "one", "ipv4");
    pair.router.start("192.0.2.254", &(first.clone() + &second("two")));
    for (file, password) in [("/run/one", "one"), ("/run/two", "two")] {
        pair.node.write(file, password);
    }
    pair.start_node(
        "listen = [\"0.0.0.0\", \"::\"]",
        &format!(
            "password-file = \"/run/one\"\npassive = true\n[[bgp.peer]]\naddress = \"{ROUTER6}\"\n\
             asn = 65100\npassword-file = \"/run/two\"\npassive = true\n"
        ),
    );
    pair.node.is_up();
    let since = pair.node.peer(ROUTER)["since"].clone();
    pair.node.write("/run/two", "other");
    let pid = pair.node.daemon.as_ref().unwrap().pid();
    pair.node.run(&format!("kill -HUP {pid}"));
    pair.node.until("it ends", |s| s.peer(ROUTER6)["state"] != "Established");
    let dropped = || counted(&pair.node.node, "netstat", "TCPMD5Failure");
    let before = dropped();
    pair.node.until("it is asked for the other", |_| dropped() > before);
    assert_ne!(pair.node.peer(ROUTER6)["state"], "Established");
    pair.router.configure("192.0.2.254", &(first + &second("other")));
    pair.router.ask("configure");
    pair.node.is_up();
    let of_first = pair.node.peer(ROUTER);
    assert_eq!((&of_first["since"], &of_first["counters"]["established"]), (&since, &1.into()));
}

/// RFC 2918: a peer that asks is sent all of it again, in the session that is there.
#[test]
fn a_peer_that_asks_is_sent_the_routes_again() {
    let mut pair = Pair::new();
    let importing_nothing = router("").replace("import all", "import none");
    pair.router.start("192.0.2.254", &importing_nothing);
    pair.start_node("", "");
    pair.node.is_up();
    // The updates of each family.
    let received = || -> Vec<u64> {
        let shown = pair.router.ask("show protocols all node");
        let of_channels = shown.lines().filter(|line| line.contains("Import updates:"));
        of_channels.filter_map(|line| line.split_whitespace().nth(2)?.parse().ok()).collect()
    };
    // In how many families it is more than it was.
    let more_than = |before: &[u64]| received().iter().zip(before).filter(|(a, b)| a > b).count();
    pair.node.until("BIRD has it", |_| more_than(&[0, 0]) == 2);
    // Soft: nothing is asked for by that.
    pair.router.configure("192.0.2.254", &router(""));
    pair.router.ask("configure soft");
    let cidrs = ["10.244.1.0/24", "fd00:10:244:1::/64"];
    let known = |cidr: &&str| pair.router.ask(&format!("show route {cidr}")).contains("[node ");
    assert!(!cidrs.iter().any(known), "BIRD has thrown them away");
    let before = received();
    pair.router.ask("reload in node");
    pair.node.until("announced again", |_| cidrs.iter().all(known));
    assert_eq!(more_than(&before), 2, "{:?} after {before:?}", received());
    assert_eq!(pair.node.peer(ROUTER)["counters"]["established"], 1);
    assert!(pair.node.log().contains("it asks for the IPv6 routes again"));
}

/// RFC 4271 section 5.1.3: a next hop is an address of the node as it is now.
#[test]
fn next_hops_follow_the_addresses_of_the_link() {
    let pair = Pair::up();
    let shown = || pair.router.ask("show route fd00:10:244:1::/64 all");
    pair.node.until("announced", |_| shown().contains(NODE6));
    let since = pair.node.peer(ROUTER)["since"].clone();
    pair.node.run("ip address add 2001:db8:f::77/64 dev up0");
    pair.node.run(&format!("ip address del {NODE6}/64 dev up0"));
    pair.node.until("announced again", |_| shown().contains("2001:db8:f::77"));
    assert_eq!(pair.node.peer(ROUTER)["since"], since, "in the same session");
}

/// CAP_NET_BIND_SERVICE is kept where it listens, and not where it does not.
#[test]
fn privileges_are_kept_as_far_as_they_are_needed() {
    for (bgp, expected) in [("", 1_u64 << 12), ("listen = [\"0.0.0.0\"]", 1 << 12 | 1 << 10)] {
        let mut pair = Pair::new();
        pair.start_node(bgp, "");
        pair.node.until("it runs", |s| !s.bgp().is_null());
        let pid = pair.node.daemon.as_ref().unwrap().pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for set in ["CapPrm", "CapEff"] {
            assert!(status.contains(&format!("{set}:\t{expected:016x}\n")), "{bgp}: {status}");
        }
        assert!(status.contains("CapBnd:\t0000000000000000\n"), "{status}");
        let node: serde_json::Value =
            serde_json::from_str(&pair.node.run("cat /run/ferrule/node.json")).unwrap();
        assert_eq!(node["bgp"]["asn"], 65001, "{node}");
        assert_eq!(node["mtu"], 1500, "{node}");
        assert_eq!(node["synced"], false, "no peer has announced anything yet");
    }
}

/// The daemon has more to do than BGP: neither its start nor the rest of it waits.
#[test]
fn an_address_that_comes_later_is_listened_on_then() {
    let mut pair = Pair::new();
    pair.start_router("");
    pair.node.run(&format!("ip address del {NODE}/24 dev up0"));
    pair.start_node(&format!("listen = [\"{NODE}\"]"), "passive = true");
    let reason = format!("cannot listen on {NODE}:179: ");
    let problem = |s: &Speaker| s.command("status").stdout.contains(&reason);
    pair.node.until("it says so", problem);
    pair.node.run(&format!("ip address add {NODE}/24 dev up0"));
    pair.node.is_up();
    assert!(!problem(&pair.node));
}
