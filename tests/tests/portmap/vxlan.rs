//! Host ports of a pod in the overlay.

use std::net::IpAddr;

use ferrule_tests::Pod;
use ferrule_tests::chain::Chain;
use ferrule_tests::cluster::{Cluster, network};
use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use serde_json::json;

use crate::{at, bridge_netfilter, ip, port, tcp, udp};

/// As whom the pod sees one that reaches its host ports by TCP and UDP.
#[track_caller]
fn seen(who: &str, from: &impl Place, node: &str, pod: &Pod) -> IpAddr {
    let tcp = tcp(from, &at(node, 8080), pod, 80);
    assert!(tcp.is_ok(), "TCP from {who} to {node}: {tcp:?}");
    assert_eq!(udp(from, &at(node, 8053), pod, 53), tcp, "UDP from {who} to {node}");
    tcp.unwrap()
}

#[test]
fn a_pod_behind_vxlan_has_host_ports_for_nodes_pods_and_the_outside() {
    let cluster = Cluster::with("", &["one", "two"]);
    let [one, two] = [0, 1].map(|at| &cluster.members[at]);
    bridge_netfilter(&one.node, true);
    let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true},
        "runtimeConfig": {"portMappings": [port(8080, 80, "tcp"), port(8053, 53, "udp")]}});
    let main = with(&network(), &json!({"hairpinMode": true}));
    let pod = one.node.pod();
    let chain = Chain::new(&one.node, &pod, &main, &[portmap]);
    let result = chain.add();
    let (near, near_addresses) = one.pod_on(&main);
    let (far, far_addresses) = two.pod();
    let families = [
        ("192.0.2.1", "192.0.2.2", "192.0.2.254", "10.244.1.1"),
        ("2001:db8:a::1", "2001:db8:a::2", "2001:db8:a::fe", "fd00:10:244:1::1"),
    ];
    for (at, (node, other, router, gateway)) in families.into_iter().enumerate() {
        assert_eq!(seen("its node", &one.node, node, &pod), ip(node));
        assert_eq!(seen("the other node", &two.node, node, &pod), ip(other));
        assert_eq!(seen("the router", &cluster.router, node, &pod), ip(router));
        assert_eq!(seen("the pod", &pod, node, &pod), ip(gateway));
        assert_eq!(seen("a pod of the node", &near, node, &pod), ip(&near_addresses[at]));
        assert_eq!(seen("a pod of the other node", &far, node, &pod), ip(&far_addresses[at]));
    }
    assert!(tcp(&one.node, "127.0.0.1:8080", &pod, 80).is_ok());
    chain.check(&result);
    chain.del(Some(&result));
}
