//! Pods whose firewall rules the reference made, and ours under the reference.

use ferrule_tests::Bins;
use ferrule_tests::node::Place;
use serde_json::{Value, json};

use crate::chain::{Chain, leaves, network, node};

fn keys() -> Value {
    json!({"backend": "iptables"})
}

#[test]
fn del_removes_the_rules_that_the_reference_made_and_its_chain_with_the_last() {
    let (node, outside) = node();
    for tool in ["iptables-nft", "ip6tables-nft"] {
        node.run(&format!("{tool} -P FORWARD DROP"));
    }
    let reference = Bins::reference();
    let theirs = [1, 1].map(|n| Chain::add_by(&node, &reference, &network("cni0", n), &keys()));
    let ours = Chain::add(&node, &keys());
    let taken_over = |pod: &Chain<'_>| {
        pod.firewall.clone().by(&Bins::ours()).del(Some(&pod.result));
    };
    taken_over(&theirs[0]);
    assert!(!leaves(&theirs[0], &outside));
    assert!(leaves(&theirs[1], &outside) && leaves(&ours, &outside));
    ours.check();
    ours.del();
    assert!(leaves(&theirs[1], &outside), "their pod needs the jump still");
    taken_over(&theirs[1]);
    for tool in ["iptables-nft", "ip6tables-nft"] {
        let left = node.run(&format!("{tool} -S"));
        assert!(!left.contains("CNI-FORWARD") && left.contains("-N CNI-ADMIN"), "{left}");
    }
}

/// Their rules name an address alone, which may be another pod's by now.
#[test]
fn gc_leaves_the_rules_that_the_reference_made() {
    let (node, outside) = node();
    node.run("iptables-nft -P FORWARD DROP");
    let theirs = Chain::add_by(&node, &Bins::reference(), &network("cni0", 1), &keys());
    let ours = theirs.firewall.clone().by(&Bins::ours());
    ours.clone().with(&json!({"cniVersion": "1.1.0"})).gc(&[]).ok();
    assert!(leaves(&theirs, &outside));
    ours.del(Some(&theirs.result));
    assert!(!node.run("iptables-nft -S").contains("CNI-FORWARD"));
}

/// The README names what stays: the element of our table, and the rule in CNI-FORWARD.
#[test]
fn the_references_del_leaves_our_element_which_gc_removes() {
    let (node, _outside) = node();
    let pod = Chain::add(&node, &keys());
    pod.firewall.clone().by(&Bins::reference()).del(Some(&pod.result));
    assert!(node.run("nft list ruleset").contains("firewall4"));
    pod.firewall.clone().with(&json!({"cniVersion": "1.1.0"})).gc(&[]).ok();
    let left = node.run("nft list ruleset");
    assert!(!left.contains("ferrule") && !left.contains("CNI-FORWARD"), "{left}");
}
