//! iptables-legacy, whose rules nf_tables does not see.

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node};
use serde_json::json;

use crate::chain::{Chain, leaves, network, node};

const FAMILIES: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];

fn legacy(node: &Node, rule: &str) {
    FAMILIES.iter().for_each(|tool| drop(node.run(&format!("{tool} {rule}"))));
}

#[test]
fn a_chain_that_drops_is_named_with_the_rule_that_lets_all_pods_through() {
    let (node, outside) = node();
    legacy(&node, "-P FORWARD DROP");
    let mut pod = Chain::bridged(&node, &Bins::ours(), &network("cni0", 1), &json!({}));
    let before = node.run("nft list ruleset");
    let failure = pod.firewall.call("ADD", Some(&pod.result)).run(&node).err();
    assert_eq!(failure.code, 103);
    assert!(failure.msg.contains("the policy of its chain FORWARD is DROP"), "{}", failure.msg);
    assert_eq!(node.run("nft list ruleset"), before);
    // What it says for IPv4, it says for IPv6 next.
    for tool in FAMILIES {
        let failure = pod.firewall.call("ADD", Some(&pod.result)).run(&node).err();
        let (_, remedy) = failure.msg.split_once("run once, for all pods: ").unwrap();
        assert!(remedy.starts_with(&format!("{tool} ")), "{remedy}");
        node.run(remedy);
    }
    pod.result = pod.firewall.call("ADD", Some(&pod.result)).run(&node).ok();
    assert!(leaves(&pod, &outside));
    pod.check();
    // It is gone with the next reload.
    node.run("iptables-legacy -F FORWARD");
    let named = pod.differences();
    assert!(named.contains("iptables-legacy drops what 10.1.0.2 sends"), "{named}");
    pod.del();
}

#[test]
fn one_that_accepts_the_subnet_or_everything_is_no_hindrance() {
    let (node, outside) = node();
    legacy(&node, "-P FORWARD ACCEPT");
    let pod = Chain::add(&node, &json!({}));
    assert!(leaves(&pod, &outside));
    legacy(&node, "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    node.run("iptables-legacy -A FORWARD -s 10.1.0.0/16 -j ACCEPT");
    node.run("ip6tables-legacy -A FORWARD -s fd00:1::/64 -j ACCEPT");
    legacy(&node, "-P FORWARD DROP");
    pod.check();
    assert!(leaves(&pod, &outside));
    let second = Chain::add(&node, &json!({}));
    assert!(leaves(&second, &outside));
}
