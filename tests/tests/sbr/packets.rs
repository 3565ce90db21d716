//! By which network packets leave a pod.

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::Two;

const FAR: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

/// A node that takes packets from a network's addresses only by that network's bridge.
fn strict() -> Node {
    let node = Node::new();
    node.sh(&format!(
        "ip addr add {}/32 dev lo; ip addr add {}/128 dev lo nodad
        nft add table inet strict
        nft 'add chain inet strict first {{ type filter hook prerouting priority -400; }}'
        for rule in 'br1 ip saddr 10.2.0.0/24' 'br1 ip6 saddr fd00:2::/64' \\
            'br2 ip saddr 10.1.0.0/24' 'br2 ip6 saddr fd00:1::/64'; do
            nft add rule inet strict first iifname $rule drop
        done",
        FAR[0], FAR[1]
    ));
    node
}

/// Whether an answer comes back to packets from an address of an interface.
fn answers(pod: &Pod, from: &str, to: &str) -> bool {
    pod.try_run(&format!("ping -c1 -W2 -I {from} {to}")).status.success()
}

/// The addresses of an interface, IPv4 first.
fn addresses(pod: &Pod, link: &str) -> Vec<String> {
    let all = pod.addresses(link).into_iter();
    all.map(|address| address.split('/').next().unwrap().to_owned()).collect()
}

fn each_source_goes_by_its_network(keys: &Value) {
    let (node, pod) = (strict(), Pod::new());
    let two = Two::new(&node, &pod, keys);
    let first = two.main.add();
    pod.settle();
    for (from, to) in addresses(&pod, "net1").iter().zip(FAR) {
        assert!(!answers(&pod, from, to), "without sbr {from} goes by the first network");
    }
    let result = two.sbr.call("ADD", Some(&first)).run(&node).ok();
    assert_eq!(result, first);
    pod.settle();
    for link in ["eth0", "net1"] {
        for (from, to) in addresses(&pod, link).iter().zip(FAR) {
            assert!(answers(&pod, from, to), "from {from} to {to}: {:#?}", crate::routing(&pod));
        }
    }
    // Neighbours in the second network.
    for (from, to) in addresses(&pod, "net1").iter().zip(["10.2.0.1", "fd00:2::1"]) {
        assert!(answers(&pod, from, to), "from {from} to {to}: {:#?}", crate::routing(&pod));
    }
    two.sbr.check(&result);
}

#[test]
fn packets_leave_by_the_network_of_their_source() {
    each_source_goes_by_its_network(&json!({}));
}

#[test]
fn with_source_hints_too() {
    each_source_goes_by_its_network(&json!({"addSourceHints": true}));
}

#[test]
fn with_gateways_of_the_configuration() {
    each_source_goes_by_its_network(&json!({"gateways": ["10.2.0.1", "fd00:2::1"]}));
}

#[test]
fn source_hints_let_neighbours_be_reached_by_destination() {
    let (node, pod) = (strict(), Pod::new());
    Two::new(&node, &pod, &json!({"addSourceHints": true})).add();
    pod.settle();
    for to in ["10.2.0.1", "fd00:2::1"] {
        assert!(pod.run(&format!("ip route get {to}")).contains("dev net1"));
        assert!(pod.try_run(&format!("ping -c1 -W2 {to}")).status.success(), "{to}");
    }
}

#[test]
fn an_existing_table_gets_rules_alone() {
    let (node, pod) = (strict(), Pod::new());
    let two = Two::new(&node, &pod, &json!({"table": 77}));
    let first = two.main.add();
    pod.settle();
    pod.sh("ip route add default via 10.2.0.1 table 77; ip -6 route add default via fd00:2::1 table 77");
    two.sbr.call("ADD", Some(&first)).run(&node).ok();
    for (from, to) in addresses(&pod, "net1").iter().zip(FAR) {
        assert!(answers(&pod, from, to), "from {from}: {:#?}", crate::routing(&pod));
    }
    two.sbr.del(Some(&first));
    assert!(!pod.run("ip rule").contains("lookup 77"));
    assert!(pod.run("ip route show table 77").contains("default"), "the table is not ours");
}
