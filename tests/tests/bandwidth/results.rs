//! Results in every version, and a repeated ADD.

use ferrule_tests::conf::{self, with};
use ferrule_tests::{Bins, Node, Pod};
use serde_json::{Value, json};

use crate::{Chain, both, ifbs, limits};

/// The result with the names that a run draws anew put out of the way.
fn plain(result: &Value) -> Value {
    let mut result = result.clone();
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        interface["mac"] = Value::Null;
        let drawn = |name: &str| name.starts_with("veth") || name.starts_with("bwp");
        if interface["name"].as_str().is_some_and(drawn) {
            let kind: String = interface["name"].as_str().unwrap().chars().take(3).collect();
            interface["name"] = kind.into();
        }
        interface.as_object_mut().unwrap().remove("sandbox");
    }
    result
}

#[test]
fn the_device_joins_the_result_in_every_version_as_in_the_references() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let version = json!({"cniVersion": version});
        for keys in [json!({}), json!({"ingressRate": 8000, "ingressBurst": 80_000}), both()] {
            let (node, pod) = (Node::new(), Pod::new());
            let first = node.attach(&with(&conf::dual(), &version), &pod).add();
            let add = |bins: &Bins| {
                let config = with(&limits(&keys), &version);
                let bandwidth = node.attach(&config, &pod).by(bins);
                let result = bandwidth.call("ADD", Some(&first)).run(&node).ok();
                bandwidth.del(Some(&result));
                plain(&result)
            };
            let ours = add(&Bins::ours());
            // The reference leaves its qdiscs to the veth pair.
            assert_eq!(ours, add(&Bins::reference()), "{version} {keys}");
        }
    }
}

#[test]
fn the_device_has_the_name_and_the_mac_address_of_the_result() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = Chain::new(&node, &conf::v4(), &both(), &pod).add(&node);
    let listed = result["interfaces"].as_array().unwrap().last().unwrap();
    assert_eq!(ifbs(&node), [listed["name"].as_str().unwrap()]);
    use ferrule_tests::node::Place;
    let link = node.link(&ifbs(&node)[0]).unwrap();
    assert_eq!((&link["address"], &link["linkinfo"]["info_kind"]), (&listed["mac"], &json!("ifb")));
    let alias = link["ifalias"].as_str().unwrap();
    assert!(alias.starts_with("ferrule.bandwidth ") && alias.ends_with(" eth0"), "{alias}");
    // It has no addresses, which would cost others time.
    assert!(
        node.json(&format!("ip -j -6 addr show dev {}", ifbs(&node)[0]))
            .as_array()
            .unwrap()
            .iter()
            .all(|link| link["addr_info"].as_array().is_none_or(Vec::is_empty))
    );
}

#[test]
fn a_repeated_add_changes_the_limits_and_makes_nothing_twice() {
    use ferrule_tests::node::Place;
    let (node, pod) = (Node::new(), Pod::new());
    let chain = Chain::new(&node, &conf::v4(), &both(), &pod);
    let first = chain.main.add();
    let add = |keys: &Value| {
        let bandwidth = node.attach(&limits(keys), &pod);
        let result = bandwidth.call("ADD", Some(&first)).run(&node).ok();
        bandwidth.check(&result);
        result
    };
    let once = add(&both());
    let state = |node: &Node| {
        // The kernel counts the actions that it ever made.
        let shown = crate::shaping(node, &crate::host_end(&once)).replace("index 2", "index 1");
        shown + &node.run("ip -br link")
    };
    let before = state(&node);
    assert_eq!(add(&both()), once);
    assert_eq!(state(&node), before);
    let faster = add(&json!({"egressRate": 16_000_000, "egressBurst": 800_000}));
    assert_eq!(faster, once);
    let shown = crate::shaping(&node, &crate::host_end(&once));
    assert!(!shown.contains("tbf") && shown.contains("mirred"), "{shown}");
    assert!(node.run(&format!("tc qdisc show dev {}", ifbs(&node)[0])).contains("rate 16Mbit"));
    // And without limits nothing is left of them.
    assert_eq!(add(&json!({})), first);
    assert!(ifbs(&node).is_empty());
    assert!(!crate::shaping(&node, &crate::host_end(&once)).contains("ingress"));
}
