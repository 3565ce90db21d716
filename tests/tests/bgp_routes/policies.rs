//! What configurations of fabrics ask for beside sessions: paths that are about to go, nodes of one
//! AS number, communities, TTL security, and the address by which a node is known.

use crate::bird::Bird;
use crate::pair::{ANNOUNCED, ANNOUNCED6, NODE, NODE6, Pair, ROUTER, ROUTER6, router};
use crate::speaker::Speaker;
use ferrule_tests::node::Place;
use ferrule_tests::within;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A node of two switches that announce one prefix; `export` is the filter of the first one.
fn switches(export: &str) -> (Speaker, [Bird; 2]) {
    let (mut node, mut switches) = (Speaker::new(1), [Bird::new(), Bird::new()]);
    let mut bgp = "[bgp]\nasn = 65001\nconnect-retry = 1\n".to_owned();
    for (t, switch) in (1..).zip(&mut switches) {
        let (near, far) = (format!("172.16.{t}.1/31"), format!("172.16.{t}.0/31"));
        node.wire(&format!("up{t}"), switch, "node1", [&[&near], &[&far]]);
        bgp +=
            &format!("[[bgp.peer]]\naddress = \"172.16.{t}.0\"\nasn = {}\n", 65100 + u32::from(t));
        switch.start(&format!("192.0.2.10{t}"), &switch_of(t, if t == 1 { export } else { "all" }));
    }
    node.configure(&bgp);
    node.start();
    (node, switches)
}

fn switch_of(t: u8, export: &str) -> String {
    format!(
        "protocol static s4 {{ ipv4; route {ANNOUNCED} unreachable; }}
         protocol bgp node {{ local as {}; neighbor 172.16.{t}.1 as 65001; connect delay time 1;
           ipv4 {{ import all; export {export}; next hop self; }}; }}",
        65100 + u32::from(t)
    )
}

/// RFC 8326, and what the node itself says when it is about to go.
#[test]
fn flows_leave_a_switch_that_says_graceful_shutdown() {
    let (node, switches) = switches("all");
    node.learns(ANNOUNCED, 2);
    let going = "filter { bgp_community.add((65535,0)); accept; }";
    switches[0].configure("192.0.2.101", &switch_of(1, going));
    switches[0].ask("configure");
    node.until("the other switch alone", |s| {
        s.hops(ANNOUNCED) == 1 && s.learned().contains("172.16.2.0")
    });
    let shown = node.command("status bgp").stdout;
    assert!(shown.contains("graceful-shutdown"), "{shown}");
    // It is used where there is no other.
    switches[1].ask("disable node");
    node.until("the switch that goes", |s| s.learned().contains("via 172.16.1.0"));
}

/// All nodes have one AS number: the switch sends a path with it.
#[test]
fn nodes_of_one_as_take_each_others_prefixes_with_allowas_in() {
    let mut pair = Pair::new();
    let export = "export filter { bgp_path.prepend(65001); accept; };";
    pair.router.start("192.0.2.254", &router("").replace("export all;", export));
    pair.start_node("", "");
    let why = "our AS is in its path";
    pair.node.until("a loop is seen", |s| s.peer(ROUTER)["rejected"][why].is_u64());
    assert_eq!(pair.node.hops(ANNOUNCED), 0);
    let remedy = pair.node.peer(ROUTER)["remedies"][why].to_string();
    assert!(remedy.contains("allowas-in = 1") && remedy.contains("as-override"), "{remedy}");
    assert!(pair.node.command("status bgp").stdout.contains("write allowas-in = 1"));
    pair.configure("", "allowas-in = 1");
    pair.node.learns(ANNOUNCED, 1);
    pair.node.learns(ANNOUNCED6, 1);
    assert_eq!(pair.node.peer(ROUTER)["rejected"], serde_json::json!({}));
}

/// RFC 1997, RFC 8092, and names in the place of numbers.
#[test]
fn communities_of_both_kinds_go_both_ways() {
    let mut pair = Pair::new();
    let export = "export filter { bgp_large_community.add((65100,7,8)); \
                  bgp_community.add((65535,666)); bgp_community.add((65100,9)); accept; };";
    pair.router.start("192.0.2.254", &router("").replace("export all;", export));
    pair.start_node("communities = [\"4200000000:1:2\", \"65001:7\", \"no-advertise\"]", "");
    pair.node.learns(ANNOUNCED, 1);
    let announced = || {
        let route = pair.router.ask("show route all 10.244.1.0/24");
        let all = ["(4200000000, 1, 2)", "(65001,7)", "(65535,65282)"];
        all.iter().all(|text| route.contains(text)).then_some(())
    };
    let route = pair.router.ask("show route all 10.244.1.0/24");
    within(Duration::from_secs(10), announced).unwrap_or_else(|| panic!("{route}"));
    let bgp = pair.node.bgp();
    let own = serde_json::json!(["65001:7", "no-advertise", "4200000000:1:2"]);
    assert_eq!(bgp["communities"], own);
    let received = serde_json::json!(["65100:7:8", "65100:9", "blackhole"]);
    assert_eq!(bgp["routes"][0]["communities"], received, "{bgp:#}");
}

/// RFC 5082, whichever side connects: also the answer of a listening socket has a TTL of 255. What comes with
/// less is not answered at all.
#[test]
fn ttl_security_is_kept_both_ways() {
    for (words, here) in [("passive on;", ""), ("", "passive = true")] {
        let mut pair = Pair::new();
        pair.start_router(&format!("ttl security on; {words}"));
        pair.start_node("listen = [\"0.0.0.0\"]", &format!("ttl-security = true\n{here}"));
        pair.node.is_up();
        pair.node.learns(ANNOUNCED, 1);
        let node: SocketAddr = format!("{NODE}:179").parse().unwrap();
        let patience = Duration::from_millis(500);
        let far = pair.router.ns().enter(|| TcpStream::connect_timeout(&node, patience));
        assert_eq!(far.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        // Without it the peer receives nothing from this node, which does receive its packets.
        pair.configure("listen = [\"0.0.0.0\"]", here);
        pair.node.learns(ANNOUNCED, 0);
        let far = pair.router.ns().enter(|| TcpStream::connect_timeout(&node, patience));
        far.unwrap();
    }
}

/// The node set's addresses are 172.16.0.9 and 2001:db8:f::9, and each link holds others too.
fn known_as(pair: &mut Pair, bgp: &str) {
    pair.node.configure_whole(&format!(
        "[bgp]\nasn = 65001\nconnect-retry = 1\n{bgp}\n[node]\n\
         addresses = [\"172.16.0.9\", \"2001:db8:f::9\"]\n\
         pod-cidrs = [\"10.244.1.0/24\", \"fd00:10:244:1::/64\"]\n"
    ));
    pair.node.start();
}

/// A peer knows a node by one address: the kernel would take the link's first one of IPv4, and of
/// IPv6 a temporary one.
#[test]
fn sessions_come_from_the_node_sets_address() {
    for (peer, node, family) in [(ROUTER, "172.16.0.9", "4"), (ROUTER6, "2001:db8:f::9", "6")] {
        let mut pair = Pair::new();
        pair.node.node.run("sysctl -qw net.ipv6.conf.up0.use_tempaddr=2");
        pair.node.node.run("ip address add 172.16.0.9/24 dev up0");
        pair.node.node.run("ip address add 2001:db8:f::9/64 dev up0");
        // What router advertisements would bring.
        pair.node.node.run("ip address add 2001:db8:f::abcd/64 dev up0 mngtmpaddr");
        let temporary = || {
            let shown = pair.node.node.run("ip -6 address show dev up0 temporary");
            shown.contains("2001:db8:f:").then_some(())
        };
        within(Duration::from_secs(10), temporary).expect("a temporary address");
        pair.router.start(
            "192.0.2.254",
            &format!(
                "protocol bgp node {{ local {peer} as 65100; neighbor {node} as 65001; passive on;
                   ipv{family} {{ import all; export all; }}; }}"
            ),
        );
        known_as(&mut pair, &format!("[[bgp.peer]]\naddress = \"{peer}\"\nasn = 65100"));
        pair.node.until("it is up", |s| s.peer(peer)["state"] == "Established");
        assert_eq!(pair.node.peer(peer)["session"]["localAddress"], node);
    }
}

/// Of a second prefix that is lower, of a floating address and of temporary ones no next hop is made;
/// once the link has lost the node set's address, of one that stays.
#[test]
fn next_hops_are_the_node_sets_address_while_the_link_holds_it() {
    let mut pair = Pair::new();
    pair.node.node.run("ip address add 2001:db8:f::9/64 dev up0");
    pair.node.node.run(&format!("ip address del {NODE6}/64 dev up0"));
    // It takes next hops of its own networks alone.
    pair.router.run("ip address add 2001:db8:2::2/64 dev node1");
    pair.start_router("");
    known_as(&mut pair, &format!("[[bgp.peer]]\naddress = \"{ROUTER}\"\nasn = 65100"));
    let by = |pair: &Pair, next_hop: &str| {
        let wanted = format!("BGP.next_hop: {next_hop}\n");
        let announced = || pair.router.ask("show route all fd00:10:244:1::/64").contains(&wanted);
        within(Duration::from_secs(10), || announced().then_some(())).is_some()
    };
    assert!(by(&pair, "2001:db8:f::9"), "{}", pair.router.ask("show route all"));
    pair.node.node.run("ip address add 2001:db8:1::1/128 dev up0");
    pair.node.node.run("ip address add 2001:db8:2::1/64 dev up0");
    pair.node.node.run("ip address add 2001:db8:0:1::1/64 dev up0 preferred_lft 0");
    // A change that follows shows that those before it were seen.
    pair.configure_known(&["65001:5"]);
    let seen = || pair.router.ask("show route all fd00:10:244:1::/64").contains("(65001,5)");
    within(Duration::from_secs(10), || seen().then_some(())).expect("communities");
    assert!(by(&pair, "2001:db8:f::9"), "{}", pair.router.ask("show route all"));
    pair.node.node.run("ip address del 2001:db8:f::9/64 dev up0");
    assert!(by(&pair, "2001:db8:2::1"), "{}", pair.router.ask("show route all"));
}

impl Pair {
    /// [`known_as`] again, with communities.
    fn configure_known(&self, communities: &[&str]) {
        self.node.configure_whole(&format!(
            "[bgp]\nasn = 65001\nconnect-retry = 1\ncommunities = {communities:?}\n\
             [[bgp.peer]]\naddress = \"{ROUTER}\"\nasn = 65100\n[node]\n\
             addresses = [\"172.16.0.9\", \"2001:db8:f::9\"]\n\
             pod-cidrs = [\"10.244.1.0/24\", \"fd00:10:244:1::/64\"]\n"
        ));
    }
}

/// The cause stays in sight between attempts, of either side's NOTIFICATION, and goes with a session.
#[test]
fn the_last_error_is_the_cause_until_a_session_stands() {
    for (here, there, cause) in [
        (65101, 65001, "the peer says that it is AS 65100, configured is 65101"),
        (65100, 65002, "the peer says OPEN Message Error: Bad Peer AS (2/2)"),
    ] {
        let mut pair = Pair::new();
        let words = router("").replace("as 65001", &format!("as {there}"));
        pair.router.start("192.0.2.254", &words);
        pair.configure("", "");
        let text = pair.node.node.read("/run/route-sync.toml");
        pair.node
            .node
            .write("/run/route-sync.toml", &text.replace("asn = 65100", &format!("asn = {here}")));
        pair.node.start();
        let error =
            |s: &Speaker| s.peer(ROUTER)["lastError"].as_str().unwrap_or_default().to_owned();
        pair.node.until("the cause", |s| error(s).starts_with(cause));
        // Five attempts and what comes of them; the counter is of OPENs.
        let before = pair.node.peer(ROUTER)["counters"]["messagesOut"].as_u64().unwrap();
        pair.node.until("more attempts", |s| {
            let peer = s.peer(ROUTER);
            assert!(error(s).starts_with(cause), "{peer:#}");
            peer["counters"]["messagesOut"].as_u64() > Some(before + 6)
        });
        pair.router.configure("192.0.2.254", &router(""));
        pair.router.ask("configure");
        pair.configure("", "");
        pair.node.is_up();
        assert_eq!(pair.node.peer(ROUTER)["lastError"], serde_json::Value::Null);
    }
}
