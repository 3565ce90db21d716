//! `ferrule trace`: the way of a packet, and the first hop that fails.

use crate::bench::{Bench, ferrule, write_conflist};
use ferrule_tests::cluster::{self, Cluster};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, conf};

/// The picture, and the exit code.
fn trace(node: &Node, from: &str, to: &str) -> (i32, String) {
    let done = ferrule(node, &format!("trace {from} {to}"));
    (done.status.code().unwrap(), done.stdout + &done.stderr)
}

#[track_caller]
fn passes(node: &Node, from: &str, to: &str, hops: &[&str]) {
    let (code, picture) = trace(node, from, to);
    assert_eq!(code, 0, "{picture}");
    hops.iter().for_each(|hop| assert!(picture.contains(hop), "no {hop}: {picture}"));
}

#[track_caller]
fn fails(node: &Node, from: &str, to: &str, place: &str, why: &str) {
    let (code, picture) = trace(node, from, to);
    assert_eq!(code, 1, "{picture}");
    let hop = picture.lines().find(|line| line.contains('✗')).unwrap();
    assert!(hop.contains(place), "not at {place}: {picture}");
    assert!(picture.contains(why), "no {why}: {picture}");
}

#[test]
fn from_a_pod_to_the_outside() {
    let bench = Bench::new();
    ping(&bench.pod, "198.51.100.2");
    let hops = [
        "pod pod-",
        "port of cni0",
        "via",
        "masquerade: the source becomes 198.51.100.1",
        "uplink0",
        "packets of up to 1500 bytes",
    ];
    passes(&bench.node, &bench.address(), "198.51.100.2", &hops);
    passes(&bench.node, bench.pod.id(), "198.51.100.2", &["uplink0"]);
}

#[test]
fn between_pods_of_one_bridge() {
    let bench = Bench::new();
    let other = bench.node.pod();
    let result = bench.node.attach(&bench.config, &other).add();
    let address = &ferrule_tests::invoke::addresses(&result)[0];
    ping(&bench.pod, address);
    passes(
        &bench.node,
        &bench.address(),
        address,
        &["cni0 (out)", "is behind port veth", &format!("has {address}")],
    );
    bench.node.attach(&bench.config, &other).del(Some(&result));
    fails(&bench.node, &bench.address(), address, "cni0 (out)", "no pod of this node has");
}

#[test]
fn what_the_node_does_not_forward_ends_at_the_node() {
    let bench = Bench::new();
    bench.node.set_sysctl("net/ipv4/ip_forward", "0");
    fails(&bench.node, &bench.address(), "198.51.100.2", "node", "");
    bench.node.set_sysctl("net/ipv4/ip_forward", "1");
    bench.node.sh("nft add table ip filter
        nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'");
    fails(
        &bench.node,
        &bench.address(),
        "198.51.100.2",
        "node",
        "chain FORWARD of table ip filter",
    );
}

#[test]
fn without_a_route_it_ends_in_the_pod_or_at_the_node() {
    let bench = Bench::new();
    bench.node.run("ip route del default");
    fails(&bench.node, &bench.address(), "203.0.113.9", "node", "no route to 203.0.113.9");
    bench.pod.run("ip route del default");
    fails(
        &bench.node,
        &bench.address(),
        "203.0.113.9",
        "pod ",
        "the pod has no route to 203.0.113.9",
    );
}

#[test]
fn a_strict_reverse_path_filter_is_named() {
    let bench = Bench::new();
    bench.node.set_sysctl("net/ipv4/conf/cni0/rp_filter", "1");
    bench.node.run("ip route add 10.1.0.0/25 dev uplink0");
    fails(&bench.node, &bench.address(), "198.51.100.2", "node", "rp_filter of cni0 drops it");
}

#[test]
fn a_link_that_is_down_is_named() {
    let bench = Bench::new();
    let veth = bench.veth();
    bench.node.run(&format!("ip link set {veth} down"));
    fails(&bench.node, &bench.address(), "198.51.100.2", &veth, "it is down");
}

#[test]
fn an_address_of_the_node_is_reached() {
    let bench = Bench::new();
    passes(
        &bench.node,
        &bench.address(),
        "198.51.100.1",
        &["is an address of this node: delivered here"],
    );
    passes(&bench.node, "198.51.100.1", "198.51.100.2", &["uplink0"]);
}

#[test]
fn what_is_not_known_is_refused() {
    let bench = Bench::of(&conf::full());
    let (code, said) = trace(&bench.node, "nobody", "198.51.100.2");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("no pod or container of this node: see `ferrule ls`"), "{said}");
    let (code, said) = trace(&bench.node, "203.0.113.5", "198.51.100.2");
    assert_eq!(code, 2, "{said}");
}

#[test]
fn through_the_tunnel_to_another_nodes_pod() {
    let mut cluster = Cluster::new();
    let pods: Vec<_> = cluster.members.iter().map(cluster::Member::pod).collect();
    let (from, to) = (pods[0].1[0].clone(), pods[2].1[0].clone());
    ping(&pods[0].0, &to);
    let one = &mut cluster.members[0];
    write_conflist(&one.node, "10-cluster.conflist", &cluster::network());
    one.node.sh(&format!("mkdir -p /run/netns; ln -s {} /run/netns/pod", pods[0].0.netns()));
    let hops = [
        "fvxlan.100",
        "to 198.51.100.3, node three",
        "underlay, MTU 1500, 1500 needed",
        "inside of the cluster",
    ];
    passes(&one.node, &from, &to, &hops);
    one.kill();
    one.node.sh("bridge fdb show dev fvxlan.100 | while read mac rest; do bridge fdb del $mac dev fvxlan.100; done");
    fails(&one.node, &from, &to, "fvxlan.100", "no FDB entry");
}
