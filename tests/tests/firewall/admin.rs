//! The administrator's chain.

use ferrule_tests::Bins;
use ferrule_tests::node::Place;
use serde_json::json;

use crate::chain::{Chain, leaves, network, node, reaches};

const FAMILIES: [&str; 2] = ["iptables-nft", "ip6tables-nft"];

#[test]
fn it_is_asked_first_and_may_drop_and_accept() {
    for bins in [Bins::ours(), Bins::reference()] {
        for (keys, chain) in [
            (json!({"backend": "iptables"}), "CNI-ADMIN"),
            (json!({"backend": "iptables", "iptablesAdminChainName": "MINE"}), "MINE"),
        ] {
            let (node, outside) = node();
            for tool in FAMILIES {
                node.run(&format!("{tool} -P FORWARD DROP"));
            }
            let pod = Chain::add_by(&node, &bins, &network("cni0", 1), &keys);
            let rule = |rule: &str| {
                for tool in FAMILIES {
                    node.run(&format!("{tool} {rule}"));
                }
            };
            assert!(leaves(&pod, &outside) && !reaches(&outside, &pod));
            rule(&format!("-A {chain} -o uplink0 -j DROP"));
            assert!(!leaves(&pod, &outside), "a drop");
            rule(&format!("-F {chain}"));
            rule(&format!("-A {chain} -i uplink0 -j ACCEPT"));
            assert!(leaves(&pod, &outside) && reaches(&outside, &pod), "an accept");
            pod.check();
            pod.del();
            let left = node.run("iptables-nft -S");
            assert!(left.contains(&format!("-A {chain} -i uplink0 -j ACCEPT")), "{left}");
            assert!(!left.contains("10.1.0."), "{left}");
        }
    }
}

#[test]
fn one_that_exists_is_used_as_it_is_and_several_are_all_asked() {
    let (node, outside) = node();
    for tool in FAMILIES {
        node.run(&format!("{tool} -P FORWARD DROP"));
        node.run(&format!("{tool} -N CNI-ADMIN"));
        node.run(&format!("{tool} -A CNI-ADMIN -o uplink0 -j DROP"));
    }
    let first = Chain::add(&node, &json!({}));
    let second = Chain::add_by(
        &node,
        &Bins::ours(),
        &network("br-two", 2),
        &json!({"iptablesAdminChainName": "MINE"}),
    );
    assert!(!leaves(&first, &outside) && !leaves(&second, &outside));
    for tool in FAMILIES {
        node.run(&format!("{tool} -F CNI-ADMIN"));
    }
    assert!(leaves(&first, &outside) && leaves(&second, &outside));
    for tool in FAMILIES {
        node.run(&format!("{tool} -A MINE -o uplink0 -j DROP"));
    }
    assert!(!leaves(&first, &outside) && !leaves(&second, &outside));
    for pod in [&first, &second] {
        pod.check();
    }
    second.del();
    first.check();
    first.del();
}
