//! Who reaches a host port, and which source the pod sees.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6, with};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::{Node, Outside, Pod};
use serde_json::{Value, json};

use crate::{
    Mapped, at, bridge_netfilter, ip, port, port_on, portmap, refused, tcp, udp, unreachable,
};

/// A node with a neighbour, a pod with TCP 8080 → 80 and UDP 8053 → 53, and another pod.
struct Bench {
    node: Node,
    pod: Pod,
    other: Pod,
    outside: Outside,
}

fn ports() -> Value {
    json!([port(8080, 80, "tcp"), port(8053, 53, "udp")])
}

impl Bench {
    fn new() -> Self {
        let node = Node::new();
        let outside = Outside::beside(&node);
        Self { pod: node.pod(), other: node.pod(), outside, node }
    }

    fn mapped(&self, main: &Value, ports: &Value) -> Mapped<'_> {
        self.node.attach(main, &self.other).add();
        Mapped::add(&self.node, &self.pod, main, ports)
    }

    #[track_caller]
    fn reached(&self, from: &impl Place, address: &str, as_whom: &str) {
        let tcp = tcp(from, &at(address, 8080), &self.pod, 80);
        assert_eq!(tcp, Ok(ip(as_whom)), "TCP to {address}");
        let udp = udp(from, &at(address, 8053), &self.pod, 53);
        assert_eq!(udp, Ok(ip(as_whom)), "UDP to {address}");
    }
}

#[test]
fn the_outside_reaches_the_pod_and_is_seen() {
    let bench = Bench::new();
    bench.mapped(&conf::dual(), &portmap(&ports()));
    for (node, outside) in [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)] {
        bench.reached(&bench.outside, node, outside);
    }
}

#[test]
fn the_node_reaches_the_pod_by_each_of_its_addresses() {
    let bench = Bench::new();
    bench.mapped(&conf::dual(), &portmap(&ports()));
    for address in [NODE4, NODE6, GATEWAY4, GATEWAY6] {
        bench.reached(&bench.node, address, address);
    }
    for address in ["127.0.0.1", "127.0.0.2"] {
        bench.reached(&bench.node, address, GATEWAY4);
    }
}

#[test]
fn ipv6_loopback_is_refused_at_once() {
    let bench = Bench::new();
    bench.mapped(&conf::dual(), &portmap(&ports()));
    refused(&bench.node, "[::1]:8080");
}

#[test]
fn the_pod_reaches_its_own_host_port() {
    for (frames_pass, hairpin) in [(false, false), (false, true), (true, true)] {
        let bench = Bench::new();
        bridge_netfilter(&bench.node, frames_pass);
        let main = with(&conf::dual(), &json!({"hairpinMode": hairpin}));
        bench.mapped(&main, &portmap(&ports()));
        for (address, as_whom) in
            [(NODE4, GATEWAY4), (NODE6, GATEWAY6), (GATEWAY4, GATEWAY4), (GATEWAY6, GATEWAY6)]
        {
            bench.reached(&bench.pod, address, as_whom);
        }
    }
}

#[test]
fn a_pod_on_the_same_bridge_reaches_it_and_is_seen_where_its_answer_passes_the_node() {
    for frames_pass in [false, true] {
        let bench = Bench::new();
        bridge_netfilter(&bench.node, frames_pass);
        bench.mapped(&conf::dual(), &portmap(&ports()));
        let seen = |own, gateway| if frames_pass { own } else { gateway };
        for (address, as_whom) in [
            (NODE4, seen("10.1.0.2", GATEWAY4)),
            (GATEWAY4, seen("10.1.0.2", GATEWAY4)),
            (NODE6, seen("fd00:1::2", GATEWAY6)),
            (GATEWAY6, seen("fd00:1::2", GATEWAY6)),
        ] {
            bench.reached(&bench.other, address, as_whom);
        }
    }
}

#[test]
fn a_masqueraded_pod_reaches_it_too() {
    let bench = Bench::new();
    bridge_netfilter(&bench.node, false);
    bench.mapped(&conf::full(), &portmap(&ports()));
    for (address, gateway) in [(NODE4, GATEWAY4), (NODE6, GATEWAY6)] {
        bench.reached(&bench.other, address, gateway);
        bench.reached(&bench.pod, address, gateway);
    }
    bench.reached(&bench.outside, NODE4, OUTSIDE4);
    bench.reached(&bench.outside, NODE6, OUTSIDE6);
}

#[test]
fn a_pod_of_another_network_reaches_it_and_is_seen() {
    let bench = Bench::new();
    bench.mapped(&conf::dual(), &portmap(&ports()));
    let stranger = bench.node.pod();
    let network = json!({"name": "others", "bridge": "cni1", "ipam": {
        "ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]}});
    bench.node.attach(&with(&conf::dual(), &network), &stranger).add();
    for (address, own) in [(NODE4, "10.2.0.2"), (NODE6, "fd00:2::2")] {
        bench.reached(&stranger, address, own);
    }
}

#[test]
fn without_snat_every_client_is_seen_and_127_0_0_1_is_refused_at_once() {
    let bench = Bench::new();
    bridge_netfilter(&bench.node, true);
    bench.mapped(&conf::dual(), &with(&portmap(&ports()), &json!({"snat": false})));
    bench.reached(&bench.outside, NODE4, OUTSIDE4);
    bench.reached(&bench.node, NODE4, NODE4);
    bench.reached(&bench.other, NODE6, "fd00:1::2");
    refused(&bench.node, "127.0.0.1:8080");
    refused(&bench.node, "[::1]:8080");
    let key = format!("net/ipv4/conf/{}/route_localnet", conf::BRIDGE);
    assert_eq!(bench.node.sysctl(&key), "0");
}

#[test]
fn masq_all_hides_every_client_of_the_host_port_and_no_other() {
    let bench = Bench::new();
    bridge_netfilter(&bench.node, false);
    bench.mapped(&conf::dual(), &with(&portmap(&ports()), &json!({"masqAll": true})));
    for (address, gateway) in [(NODE4, GATEWAY4), (NODE6, GATEWAY6)] {
        bench.reached(&bench.outside, address, gateway);
        bench.reached(&bench.other, address, gateway);
        bench.reached(&bench.pod, address, gateway);
        bench.reached(&bench.node, address, gateway);
    }
    bench.reached(&bench.node, "127.0.0.1", GATEWAY4);
    for (to, seen) in [("10.1.0.3", "10.1.0.2"), ("fd00:1::3", "fd00:1::2")] {
        assert_eq!(tcp(&bench.other, &at(to, 80), &bench.pod, 80), Ok(ip(seen)), "no host port");
    }
    bench.outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    let direct = tcp(&bench.outside, "10.1.0.3:80", &bench.pod, 80);
    assert_eq!(direct, Ok(ip(OUTSIDE4)), "no host port");
}

#[test]
fn a_host_ip_is_served_alone_and_before_the_wildcard() {
    let bench = Bench::new();
    bench.node.run("ip addr add 198.51.100.77/32 dev lo");
    let ports = json!([port_on("198.51.100.77", 8080, 80, "tcp"), port_on(NODE6, 8080, 80, "tcp")]);
    bench.mapped(&conf::dual(), &portmap(&ports));
    bench.outside.run(&format!("ip route add 198.51.100.77 via {NODE4}"));
    for (to, seen) in [("198.51.100.77", OUTSIDE4), (NODE6, OUTSIDE6)] {
        assert_eq!(tcp(&bench.outside, &at(to, 8080), &bench.pod, 80), Ok(ip(seen)));
    }
    for to in [NODE4, GATEWAY6] {
        refused(&bench.node, &at(to, 8080));
    }
    refused(&bench.outside, &at(NODE4, 8080));
    // Another pod on every address: the one address is still the first's.
    let third = bench.node.pod();
    let wild = portmap(&json!([port(8080, 80, "tcp")]));
    Mapped::add(&bench.node, &third, &conf::dual(), &wild);
    assert_eq!(tcp(&bench.outside, "198.51.100.77:8080", &bench.pod, 80), Ok(ip(OUTSIDE4)));
    assert_eq!(tcp(&bench.outside, &at(NODE4, 8080), &third, 80), Ok(ip(OUTSIDE4)));
}

#[test]
fn a_wildcard_of_one_family_leaves_the_other_alone() {
    let bench = Bench::new();
    let ports = json!([port_on("0.0.0.0", 8080, 80, "tcp"), port_on("::", 8081, 80, "tcp")]);
    bench.mapped(&conf::dual(), &portmap(&ports));
    assert_eq!(tcp(&bench.outside, &at(NODE4, 8080), &bench.pod, 80), Ok(ip(OUTSIDE4)));
    assert_eq!(tcp(&bench.outside, &at(NODE6, 8081), &bench.pod, 80), Ok(ip(OUTSIDE6)));
    refused(&bench.outside, &at(NODE6, 8080));
    refused(&bench.outside, &at(NODE4, 8081));
}

#[test]
fn loopback_alone_is_served_to_the_node_alone() {
    let bench = Bench::new();
    bench.mapped(&conf::v4(), &portmap(&json!([port_on("127.0.0.1", 8080, 80, "tcp")])));
    assert_eq!(tcp(&bench.node, "127.0.0.1:8080", &bench.pod, 80), Ok(ip(GATEWAY4)));
    refused(&bench.node, &at(NODE4, 8080));
    refused(&bench.outside, &at(NODE4, 8080));
    refused(&bench.other, &at(GATEWAY4, 8080));
}

/// `route_localnet` opens the node's own services on 127.0.0.1 to all that send there (CVE-2020-8558).
#[test]
fn no_pod_reaches_the_nodes_loopback() {
    let bench = Bench::new();
    bench.mapped(&conf::v4(), &portmap(&ports()));
    let key = format!("net/ipv4/conf/{}/route_localnet", conf::BRIDGE);
    assert_eq!(bench.node.sysctl(&key), "1");
    let service = bench.node.ns().enter(|| std::net::TcpListener::bind("127.0.0.1:9000")).unwrap();
    for pod in [&bench.pod, &bench.other] {
        pod.sh(&format!(
            "ip addr flush dev lo; ip route del table local local 127.0.0.0/8 2>/dev/null || true
             ip route add 127.0.0.1 via {GATEWAY4}
             echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet
             echo 0 >/proc/sys/net/ipv4/conf/eth0/rp_filter"
        ));
        unreachable(pod, "127.0.0.1:9000");
    }
    // The guard is what holds them off.
    bench.node.run("nft flush chain inet ferrule hostports-guard");
    let open = |pod: &Pod| {
        let to = "127.0.0.1:9000".parse().unwrap();
        pod.ns().enter(|| std::net::TcpStream::connect_timeout(&to, crate::LIMIT)).is_ok()
    };
    assert!(open(&bench.other), "the bench shows nothing");
    drop(service);
}

/// CVE-2025-67499: a host port is one of the node's addresses, and of no other destination.
#[test]
fn a_destination_that_is_not_the_nodes_is_left_alone() {
    let bench = Bench::new();
    bench.mapped(&conf::dual(), &portmap(&ports()));
    // Pods to another host's port of that number.
    bench.outside.sh(&format!(
        "ip route add 10.1.0.0/24 via {NODE4}; ip -6 route add fd00:1::/64 via {NODE6}"
    ));
    for (to, seen) in [(OUTSIDE4, "10.1.0.2"), (OUTSIDE6, "fd00:1::2")] {
        assert_eq!(tcp(&bench.other, &at(to, 8080), &bench.outside, 8080), Ok(ip(seen)));
        assert_eq!(udp(&bench.other, &at(to, 8053), &bench.outside, 8053), Ok(ip(seen)));
    }
    // The outside to a pod's own port of that number, through the node.
    for (to, seen) in [("10.1.0.2", OUTSIDE4), ("fd00:1::2", OUTSIDE6)] {
        assert_eq!(tcp(&bench.outside, &at(to, 8080), &bench.other, 8080), Ok(ip(seen)));
    }
    // The node itself to another host.
    assert_eq!(tcp(&bench.node, &at(OUTSIDE4, 8080), &bench.outside, 8080), Ok(ip(NODE4)));
}

/// kube-proxy's DNAT leads to the same port of the same pod: there the client is seen as before.
#[test]
fn what_another_table_translated_keeps_its_source() {
    let bench = Bench::new();
    bridge_netfilter(&bench.node, true);
    bench.mapped(&conf::dual(), &portmap(&json!([port(8080, 80, "tcp")])));
    bench.node.sh("nft 'table ip services { chain pre { type nat hook prerouting priority dstnat;
            ip daddr 10.96.0.1 tcp dport 8080 dnat to 10.1.0.3:80; }; }'");
    assert_eq!(tcp(&bench.other, "10.96.0.1:8080", &bench.pod, 80), Ok(ip("10.1.0.2")));
    bench.outside.run(&format!("ip route add 10.96.0.1 via {NODE4}"));
    assert_eq!(tcp(&bench.outside, "10.96.0.1:8080", &bench.pod, 80), Ok(ip(OUTSIDE4)));
}

/// An administrator's or kube-proxy's own translation of a host port comes first.
#[test]
fn another_tables_translation_of_the_port_comes_first() {
    let bench = Bench::new();
    bench.mapped(&conf::v4(), &portmap(&ports()));
    bench.node.sh("nft 'table ip theirs { chain pre { type nat hook prerouting priority dstnat;
            tcp dport 8080 dnat to 10.1.0.2:80; }; }'");
    assert_eq!(tcp(&bench.outside, &at(NODE4, 8080), &bench.other, 80), Ok(ip(OUTSIDE4)));
}

#[test]
fn many_ports_lead_to_one_and_one_port_serves_both_protocols() {
    let bench = Bench::new();
    let ports = json!([port(8080, 80, "TCP"), port(8081, 80, "tcp"), port(8080, 53, "Udp")]);
    bench.mapped(&conf::v4(), &portmap(&ports));
    for host in [8080, 8081] {
        assert_eq!(tcp(&bench.outside, &at(NODE4, host), &bench.pod, 80), Ok(ip(OUTSIDE4)));
    }
    assert_eq!(udp(&bench.outside, &at(NODE4, 8080), &bench.pod, 53), Ok(ip(OUTSIDE4)));
}
