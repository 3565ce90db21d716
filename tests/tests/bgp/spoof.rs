//! A pod sends from its own addresses alone, shown by packets.

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::outside::{OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{ping, udp_source};
use ferrule_tests::{Node, Outside, Pod};

use crate::{address, dual, veth};

/// Whether a packet from an address that `from` gave itself comes to a server at `to`.
fn arrives(from: &Pod, source: &str, at: &impl Place, to: &str) -> bool {
    let length = if source.contains(':') { 128 } else { 32 };
    let nodad = if source.contains(':') { "nodad" } else { "" };
    from.sh(&format!("ip addr add {source}/{length} dev lo {nodad}"));
    let bind = |address: &str| (address.parse::<IpAddr>().expect("an address"), 0);
    let server = at.ns().enter(|| UdpSocket::bind(bind(to))).expect("a server");
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let sender = from.ns().enter(|| UdpSocket::bind(bind(source))).expect("a sender");
    sender.send_to(b"x", server.local_addr().unwrap()).expect("a packet is sent");
    let arrived = server.recv_from(&mut [0; 8]).is_ok();
    from.sh(&format!("ip addr del {source}/{length} dev lo"));
    arrived
}

/// Sources that are another pod's, the node's, the outside's, and unused.
fn sources(node: &Node) -> Vec<(&'static str, &'static str)> {
    node.sh("ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo");
    vec![
        ("10.1.0.3", "fd00:1::3"),
        ("192.0.2.1", "2001:db8::1"),
        (OUTSIDE4, OUTSIDE6),
        ("203.0.113.9", "2001:db8:9::9"),
    ]
}

#[track_caller]
fn nothing_arrives(node: &Node, one: &Pod, two: &Pod, outside: &Outside) {
    for (four, six) in sources(node) {
        for (source, others, ours, far) in
            [(four, "10.1.0.4", "10.1.0.2", OUTSIDE4), (six, "fd00:1::4", "fd00:1::2", OUTSIDE6)]
        {
            assert!(!arrives(one, source, two, others), "{source} at another pod");
            let gateway = if source == six { "2001:db8::1" } else { "192.0.2.1" };
            if source != gateway {
                assert!(!arrives(one, source, node, gateway), "{source} at the node");
            }
            if source != far {
                assert!(!arrives(one, source, outside, far), "{source} outside");
            }
            // The same packets with the pod's own source.
            assert_eq!(udp_source(one, two, others), Ok(ours.parse().unwrap()));
        }
    }
}

struct Scene {
    node: Node,
    outside: Outside,
    pods: Vec<Pod>,
    /// The host ends of the pods' links.
    hosts: Vec<String>,
}

/// Three pods; the second and the third are at other addresses than the first borrows.
fn scene() -> Scene {
    let node = Node::new();
    let outside = Outside::beside(&node);
    let pods: Vec<Pod> = (0..3).map(|_| Pod::new()).collect();
    let results: Vec<_> = pods.iter().map(|pod| node.attach(&dual(), pod).add()).collect();
    assert_eq!(address(&results[2], 1), "fd00:1::4");
    node.sh("ip route add default via 198.51.100.2; ip -6 route add default via 2001:db8:ffff::2");
    let hosts = results.iter().map(|result| veth(result).to_owned()).collect();
    Scene { node, outside, pods, hosts }
}

#[test]
fn no_foreign_source_passes() {
    let Scene { node, outside, pods, .. } = scene();
    nothing_arrives(&node, &pods[0], &pods[2], &outside);
}

/// Somebody's `all` makes the kernel's own filter of IPv4 loose: ours is not.
#[test]
fn a_loose_rp_filter_of_all_does_not_matter() {
    let Scene { node, outside, pods, .. } = scene();
    node.set_sysctl("net/ipv4/conf/all/rp_filter", "2");
    nothing_arrives(&node, &pods[0], &pods[2], &outside);
}

/// That the test sees what it looks for: without filters these packets arrive.
#[test]
fn without_the_filters_they_would() {
    let Scene { node, pods, hosts, .. } = scene();
    node.run("nft flush chain inet ferrule rpfilter");
    assert!(arrives(&pods[0], "fd00:1::3", &pods[2], "fd00:1::4"), "IPv6");
    assert!(!arrives(&pods[0], "10.1.0.3", &pods[2], "10.1.0.4"), "the kernel's own filter");
    node.set_sysctl(&format!("net/ipv4/conf/{}/rp_filter", hosts[0]), "0");
    assert!(arrives(&pods[0], "10.1.0.3", &pods[2], "10.1.0.4"), "IPv4");
}

/// A flush takes the filter of IPv6 along, and the next ADD brings that of all pods back. A record
/// whose link is gone gets none.
#[test]
fn a_flush_lasts_until_the_next_add() {
    let Scene { node, pods, hosts, .. } = scene();
    node.run("nft flush ruleset");
    assert!(arrives(&pods[0], "fd00:1::3", &pods[2], "fd00:1::4"), "the known limit");
    assert!(!arrives(&pods[0], "10.1.0.3", &pods[2], "10.1.0.4"), "the kernel's own filter");
    node.run(&format!("ip link del {}", hosts[1]));
    let newcomer = node.pod();
    node.attach(&dual(), &newcomer).add();
    for pod in [&pods[0], &newcomer] {
        assert!(!arrives(pod, "fd00:1::99", &pods[2], "fd00:1::4"), "IPv6");
    }
    let links = node.run("nft list set inet ferrule rpfilter-links");
    assert_eq!(links.matches("comment").count(), 3, "{links}");
}

/// The filter is one rule, and an element for each pod's link.
#[test]
fn the_filter_does_not_grow_by_rules() {
    let Scene { node, .. } = scene();
    let rules = node.run("nft list chain inet ferrule rpfilter");
    assert_eq!(rules.matches(" drop").count(), 1, "{rules}");
}

/// A pod's router advertisements do not reach the node.
#[test]
fn the_node_takes_no_router_advertisements_from_pods() {
    let Scene { node, hosts, pods, .. } = scene();
    assert_eq!(node.sysctl(&format!("net/ipv6/conf/{}/accept_ra", hosts[0])), "0");
    ping(&pods[0], "fd00:1::4");
}
