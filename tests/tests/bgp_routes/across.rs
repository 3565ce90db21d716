//! Next hops that are on no link of the node.

use crate::bird::Bird;
use crate::pair::{ANNOUNCED, Pair, router};
use crate::stream::Stream;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;

/// A peer of another AS two hops away wants `multihop`; the next hops that it names are reached as
/// other programs' routes say, and follow them.
#[test]
fn a_peer_across_a_router_wants_multihop() {
    let pair = Pair::new();
    let mut far = Bird::new();
    let path = far.ns().net_path();
    pair.router.sh(&format!(
        "ip link add far type veth peer name eth0 netns {}
         ip address add 172.17.0.1/24 dev far
         ip address add 172.16.0.22/24 dev node1
         ip link set far up",
        path.display()
    ));
    far.sh("ip address add 172.17.0.2/24 dev eth0
         ip link set eth0 up
         ip route add default via 172.17.0.1");
    far.start(
        "192.0.2.253",
        "protocol static s4 { ipv4; route 10.244.9.0/24 unreachable; }
         protocol bgp node { local 172.17.0.2 as 65100; neighbor 172.16.0.1 as 65001; multihop 3;
           connect delay time 1; ipv4 { import all; export all; }; }",
    );
    let (mut node, cidr) = (pair.node, "10.244.9.0/24");
    node.run("ip route add default via 172.16.0.2");
    let configure = |node: &crate::speaker::Speaker, more: &str| {
        node.configure(&format!(
            "[bgp]\nasn = 65001\nconnect-retry = 1\nannounce = [\"10.244.1.0/24\"]\n\
             [[bgp.peer]]\naddress = \"172.17.0.2\"\nasn = 65100\n{more}\n"
        ));
    };
    configure(&node, "");
    node.start();
    node.until("it says so", |s| {
        let error = s.peer("172.17.0.2")["lastError"].as_str().unwrap_or_default().to_owned();
        error.contains("is on no link of this node") && error.contains("multihop")
    });
    configure(&node, "multihop = 3");
    node.is_up();
    node.learns(cidr, 1);
    let shown = || node.run(&format!("ip route show {cidr} proto 119"));
    assert!(shown().contains("via 172.16.0.2 dev up0"), "{}", shown());
    node.run("ip route replace default via 172.16.0.22");
    node.until("the other gateway", |_| shown().contains("via 172.16.0.22 dev up0"));
    node.run("ip route del default");
    node.learns(cidr, 0);
    node.run("ip route add default via 172.16.0.2");
    node.until("back", |_| shown().contains("via 172.16.0.2 dev up0"));
}

/// A router that announces its prefix with this next hop, for which it answers ARP.
fn telling(next_hop: &str) -> Pair {
    let mut pair = Pair::new();
    pair.router.run(&format!("ip address add {next_hop}/32 dev lo"));
    pair.router.run("ip address add 10.244.9.2/32 dev lo");
    pair.router.run("ip route add 192.0.2.1 via 172.16.0.1");
    let announced = format!("ipv4 {{ import all; next hop address {next_hop};");
    pair.router.start("192.0.2.254", &router("").replace("ipv4 { import all;", &announced));
    pair
}

/// RFC 4271 section 9.1.2.1: learned routes resolve no next hop. A next hop inside of the prefix
/// announced with it is reached by other routes, and stays whatever changes.
#[test]
fn a_next_hop_inside_a_learned_prefix_stays() {
    let mut pair = telling("10.244.9.1");
    pair.router.run("ip address add 172.16.0.22/24 dev node1");
    pair.node.run("ip route add default via 172.16.0.2");
    pair.start_node("", "multihop = 2");
    pair.node.is_up();
    pair.node.learns(ANNOUNCED, 1);
    for gateway in ["172.16.0.22", "172.16.0.2"] {
        pair.node.run(&format!("ip route replace default via {gateway}"));
        pair.node.until("the other gateway", |s| {
            s.run(&format!("ip route show {ANNOUNCED} proto 119"))
                .contains(&format!("via {gateway} "))
        });
        ping(&pair.node, "10.244.9.2");
    }
    let log = pair.node.log();
    assert!(!log.contains("delete route"), "{log}");
}

/// A route without a gateway leads to a next hop too: it is on that link.
#[test]
fn a_next_hop_may_be_on_a_link_by_a_route() {
    let mut pair = telling("203.0.113.7");
    pair.start_node("", "multihop = 2");
    pair.node.learns("fd00:10:244:9::/64", 1);
    assert_eq!(pair.node.hops(ANNOUNCED), 0);
    pair.node.run("ip route add 203.0.113.7 dev up0");
    pair.node.until("on the link", |s| {
        s.run(&format!("ip route show {ANNOUNCED} proto 119")).contains("via 203.0.113.7 dev up0")
    });
    ping(&pair.node, "10.244.9.2");
    // What forbids the way is no way.
    for kind in ["unreachable", "prohibit", "blackhole"] {
        pair.node.run(&format!("ip route replace {kind} 203.0.113.7"));
        pair.node.learns(ANNOUNCED, 0);
        pair.node.run("ip route replace 203.0.113.7 dev up0");
        pair.node.learns(ANNOUNCED, 1);
    }
    pair.node.run("ip route del 203.0.113.7 dev up0");
    pair.node.learns(ANNOUNCED, 0);
}

/// Such a link needs no address; cut, it carries nothing, and the other one does.
#[test]
fn a_link_without_an_address_is_left_when_it_is_cut() {
    let mut pair = telling("203.0.113.7");
    pair.node.wire("bare0", &pair.router, "bare1", [&[], &[]]);
    pair.node.run("ip route add 203.0.113.7 scope link nexthop dev up0 nexthop dev bare0");
    pair.start_node("", "multihop = 2");
    pair.node.is_up();
    pair.node.learns(ANNOUNCED, 2);
    let pod = pair.node.pod();
    let flow = Stream::start(&pod, &pod.v4, "10.244.9.2");
    for (state, hops) in [("down", 1), ("up", 2)] {
        pair.router.run(&format!("ip link set bare1 {state}"));
        pair.node.learns(ANNOUNCED, hops);
        ping(&pair.node, "10.244.9.2");
    }
    let lost = flow.lost();
    assert!(lost <= 50, "{lost} packets, one in 20 ms, are lost");
    pair.node.run("ip route replace 203.0.113.7 dev bare0");
    pair.node.learns(ANNOUNCED, 1);
    pair.router.run("ip link set bare1 down");
    pair.node.learns(ANNOUNCED, 0);
    pair.node.run("ip link del bare0");
    pair.node.run("ip route add 203.0.113.7 dev up0");
    pair.node.learns(ANNOUNCED, 1);
}
