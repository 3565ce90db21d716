//! Results: of every version, and shaped as those of the reference's ptp plugin.

use ferrule_tests::conf::with;
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::{Value, json};

use crate::{GATEWAY4, GATEWAY6, dual, veth};

#[test]
fn host_end_then_pod_end_and_addresses_on_the_second() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&dual(), &pod).add();
    let links = result["interfaces"].as_array().unwrap();
    assert_eq!(links.len(), 2, "{result:#}");
    assert!(links[0].get("sandbox").is_none(), "{result:#}");
    let host = node.link(veth(&result)).unwrap();
    let own = pod.link("eth0").unwrap();
    assert_eq!((&links[0]["mac"], &links[1]["mac"]), (&host["address"], &own["address"]));
    assert_eq!(host["link_index"], own["ifindex"], "the two ends of one veth");
    assert_eq!((&links[1]["name"], &links[1]["sandbox"]), (&json!("eth0"), &json!(pod.netns())));
    let ip = |address, gateway| json!({"interface": 1, "address": address, "gateway": gateway});
    let ips = json!([ip("10.1.0.2/32", GATEWAY4), ip("fd00:1::2/128", GATEWAY6)]);
    assert_eq!(result["ips"], ips);
    let routes = json!([{"dst": "0.0.0.0/0", "gw": GATEWAY4}, {"dst": "::/0", "gw": GATEWAY6}]);
    assert_eq!(result["routes"], routes);
}

/// The names of all keys, at every depth.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        Value::Array(list) => list.iter().map(shape).collect(),
        _ => Value::Null,
    }
}

#[test]
fn the_shape_is_that_of_ptp() {
    for version in ["0.2.0", "0.3.1", "0.4.0", "1.0.0"] {
        let node = Node::new();
        let (one, two) = (Pod::new(), Pod::new());
        let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        let keys = json!({"cniVersion": version, "ipam": {"routes": routes}});
        let ours = node.attach(&dual(), &one).with(&keys).add();
        let ptp = node.attach(&dual(), &two).with(&keys).with(&json!({"type": "ptp"}));
        let theirs = ptp.by(&Bins::reference()).add();
        assert_eq!(shape(&ours), shape(&theirs), "{version}: {ours:#} {theirs:#}");
    }
}

#[test]
fn every_version() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&with(&dual(), &json!({"cniVersion": version})), &pod);
        let result = attachment.add();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(addresses(&result), ["10.1.0.2", "fd00:1::2"]);
        ping(&node, "10.1.0.2");
        ping(&node, "fd00:1::2");
        if !["0.1.0", "0.2.0", "0.3.0", "0.3.1"].contains(&version) {
            attachment.check(&result);
        }
        attachment.del((version >= "0.4.0").then_some(&result));
        assert!(node.links().is_empty(), "{version}: {:?}", node.links());
        assert!(pod.links().is_empty());
    }
}

/// Routes that IPAM brings are by the gateway, and one that names another is refused.
#[test]
fn routes_of_ipam_are_by_the_gateway() {
    let (node, pod) = (Node::new(), Pod::new());
    let routes = |routes: Value| json!({"ipam": {"routes": routes}});
    let fine = json!([{"dst": "192.0.2.0/24"}, {"dst": "2001:db8::/32"},
        {"dst": "198.51.100.0/24", "gw": GATEWAY4, "mtu": 1300, "priority": 7}]);
    let attachment = node.attach(&dual(), &pod).with(&routes(fine));
    let result = attachment.add();
    let four = pod.run("ip -4 route");
    for route in [
        format!("192.0.2.0/24 via {GATEWAY4} dev eth0 onlink"),
        format!("198.51.100.0/24 via {GATEWAY4} dev eth0 metric 7 onlink mtu 1300"),
    ] {
        let words = |text: &str| {
            let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        assert!(four.lines().any(|line| words(line) == words(&route)), "{route}\n{four}");
    }
    assert!(!four.contains("default"), "{four}");
    assert!(pod.run("ip -6 route").contains(&format!("2001:db8::/32 via {GATEWAY6} dev eth0")));
    attachment.check(&result);
    let wrong = routes(json!([{"dst": "192.0.2.0/24", "gw": "10.1.0.2"}]));
    let error = node.attach(&dual(), &Pod::new()).with(&wrong).try_add().err();
    error.expect(7, "the route to 192.0.2.0/24 is by the gateway 10.1.0.2");
}
