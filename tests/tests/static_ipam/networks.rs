//! Below the main plugins: two pods whose packets arrive.

use ferrule_tests::node::Place;
use ferrule_tests::packets::{ping, tcp_source};
use ferrule_tests::{Node, Pod, Snapshot, conf, snapshot::assert_same};
use serde_json::{Value, json};

use crate::ipam;

/// Two pods reach their gateways and each other; CHECK holds, and DEL leaves nothing.
fn two_pods(node: &Node, config: &Value, gateways: [&str; 2]) {
    let (one, two) = (Pod::new(), Pod::new());
    let of = |host| conf::with(config, &json!({"ipam": ipam(host)}));
    let first = node.attach(&of(5), &one);
    let second = node.attach(&of(6), &two);
    let result = first.add();
    let before = Snapshot::of(node);
    let other = second.add();
    for gateway in gateways {
        ping(&one, gateway);
    }
    for (to, from) in [("10.1.0.6", "10.1.0.5"), ("fd00:1::6", "fd00:1::5")] {
        ping(&one, to);
        assert_eq!(tcp_source(&one, &two, to), Ok(from.parse().unwrap()));
    }
    first.check(&result);
    second.check(&other);
    second.del(Some(&other));
    assert!(two.links().is_empty());
    assert_same(&before, &Snapshot::of(node));
    ping(&one, gateways[0]);
    first.del(None);
    assert!(node.veths().is_empty());
}

fn bridged() -> Value {
    conf::with(&conf::l2(), &json!({"isGateway": true, "ipMasq": true, "macspoofchk": true}))
}

#[test]
fn bridge_with_static_carries_packets() {
    two_pods(&Node::new(), &bridged(), ["10.1.0.1", "fd00:1::1"]);
}

#[test]
fn vxlan_with_static_carries_packets() {
    let node = Node::new();
    node.sh("ip link add uplink up type veth peer name wire; ip link set wire up
        ip addr add 192.0.2.1/24 dev uplink");
    let keys = json!({"type": "vxlan", "vni": 100, "port": 4789, "underlay": "uplink"});
    two_pods(&node, &conf::with(&bridged(), &keys), ["10.1.0.1", "fd00:1::1"]);
}

#[test]
fn bgp_with_static_carries_packets() {
    let config = json!({"cniVersion": conf::version(), "name": "pods", "type": "bgp"});
    two_pods(&Node::new(), &config, ["169.254.1.1", "fe80::1%eth0"]);
}

/// The pod's MAC address follows from the address, as with host-local.
#[test]
fn the_runtime_names_the_address_of_a_pod() {
    let (node, pod) = (Node::new(), Pod::new());
    let runtime = json!({"ipam": {"type": "static"}, "runtimeConfig": {"ips": ["10.1.0.9/24"]}});
    let attachment = node.attach(&conf::with(&bridged(), &runtime), &pod);
    let result = attachment.add();
    assert_eq!(pod.addresses("eth0"), ["10.1.0.9/24"]);
    assert_eq!(result["interfaces"][2]["mac"], "0a:58:0a:01:00:09");
    ping(&pod, "10.1.0.1");
    attachment.check(&result);
}
