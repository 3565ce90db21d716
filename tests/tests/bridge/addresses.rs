//! Gateway addresses on the bridge, and the pod's routes.

use ferrule_tests::conf::{self, BRIDGE, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Outside, Pod, outside};
use serde_json::{Value, json};

/// The default routes of a pod, as `[gateway, ...]`.
fn defaults(pod: &Pod, family: &str) -> Vec<Value> {
    let routes = pod.json(&format!("ip -{family} -j route show default"));
    routes.as_array().unwrap().iter().map(|route| route["gateway"].clone()).collect()
}

#[test]
fn is_default_gateway_gives_default_routes_of_both_families() {
    let (node, pod) = (Node::new(), Pod::new());
    let keys = json!({"isGateway": null, "isDefaultGateway": true, "ipam": {"routes": null}});
    let attachment = node.attach(&conf::with(&conf::dual(), &keys), &pod);
    let result = attachment.add();
    assert_eq!(defaults(&pod, "4"), [GATEWAY4]);
    assert_eq!(defaults(&pod, "6"), [GATEWAY6]);
    assert_eq!(node.addresses(BRIDGE), ["10.1.0.1/24", "fd00:1::1/64"], "it implies isGateway");
    let listed: Vec<_> = result["routes"].as_array().unwrap().iter().map(|r| &r["dst"]).collect();
    assert_eq!(listed, ["0.0.0.0/0", "::/0"]);
    attachment.check(&result);
}

#[test]
fn is_default_gateway_stands_beside_a_default_route_of_ipam_without_gateway() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::dual(), &pod).with(&json!({"isDefaultGateway": true}));
    let result = attachment.add();
    assert_eq!(defaults(&pod, "4"), [GATEWAY4]);
    assert_eq!(defaults(&pod, "6"), [GATEWAY6]);
    ping(&pod, GATEWAY4);
    attachment.check(&result);
    attachment.del(Some(&result));
}

#[test]
fn a_default_route_leads_to_the_outside() {
    let (node, pod) = (Node::new(), Pod::new());
    let beyond = Outside::beside(&node);
    node.attach(&conf::dual(), &pod).add();
    beyond.run(&format!("ip route add 10.1.0.0/24 via {}", outside::NODE4));
    beyond.run(&format!("ip route add fd00:1::/64 via {}", outside::NODE6));
    ping(&pod, outside::OUTSIDE4);
    ping(&pod, outside::OUTSIDE6);
}

#[test]
fn routes_of_ipam_keep_their_gateway_or_take_the_networks() {
    let (node, pod) = (Node::new(), Pod::new());
    let routes = json!([{"dst": "192.0.2.0/24"}, {"dst": "203.0.113.0/24", "gw": "10.1.0.77"}]);
    let attachment = node.attach(&conf::v4(), &pod).with(&json!({"ipam": {"routes": routes}}));
    let result = attachment.add();
    let gateway = |dst: &str| pod.json(&format!("ip -j route show {dst}"))[0]["gateway"].clone();
    assert_eq!(gateway("192.0.2.0/24"), GATEWAY4);
    assert_eq!(gateway("203.0.113.0/24"), "10.1.0.77");
    attachment.check(&result);
}

#[test]
fn route_attributes_are_applied() {
    let (node, pod) = (Node::new(), Pod::new());
    let routes = json!([{"dst": "192.0.2.0/24", "mtu": 1300, "advmss": 1200, "priority": 77},
        {"dst": "203.0.113.0/24", "table": 123}]);
    let attachment = node.attach(&conf::v4(), &pod).with(&json!({"ipam": {"routes": routes}}));
    let result = attachment.add();
    let shown = pod.run("ip route show 192.0.2.0/24");
    for part in ["mtu 1300", "advmss 1200", "metric 77", "via 10.1.0.1"] {
        assert!(shown.contains(part), "`{part}` in {shown}");
    }
    assert!(pod.run("ip route show table 123").contains("203.0.113.0/24"));
    attachment.check(&result);
}

#[test]
fn a_bridge_with_another_address_is_a_conflict() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip addr add 10.9.0.1/24 dev cni0; ip link set cni0 up");
    let error = node.attach(&conf::v4(), &pod).try_add().err();
    let text = error.text();
    assert!(text.contains("already has an IP address different from"), "{error:?}");
    assert!(text.contains("10.1.0.1"), "{error:?}");
    assert_eq!(node.addresses(BRIDGE), ["10.9.0.1/24"]);
}

#[test]
fn force_address_replaces_a_conflicting_address() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip addr add 10.9.0.1/24 dev cni0; ip link set cni0 up");
    let attachment = node.attach(&conf::v4(), &pod).with(&json!({"forceAddress": true}));
    let result = attachment.add();
    assert_eq!(node.addresses(BRIDGE), ["10.1.0.1/24"]);
    ping(&pod, GATEWAY4);
    attachment.check(&result);
}

#[test]
fn disjoint_ipv6_addresses_coexist_on_a_bridge() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip link set cni0 up
        ip addr add fd00:9::1/64 dev cni0 nodad");
    node.attach(&conf::v6(), &pod).add();
    let mut addresses = node.addresses(BRIDGE);
    addresses.sort();
    assert_eq!(addresses, ["fd00:1::1/64", "fd00:9::1/64"]);
    ping(&pod, GATEWAY6);
}

#[test]
fn overlapping_ipv6_addresses_conflict() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip link set cni0 up
        ip addr add fd00:1::99/64 dev cni0 nodad");
    let error = node.attach(&conf::v6(), &pod).try_add().err();
    assert!(error.text().contains("already has an IP address different from"), "{error:?}");
    let forced = node.attach(&conf::v6(), &pod).with(&json!({"forceAddress": true}));
    forced.add();
    assert_eq!(node.addresses(BRIDGE), ["fd00:1::1/64"]);
    ping(&pod, GATEWAY6);
}

#[test]
fn the_networks_own_dns_replaces_that_of_ipam() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    node.write("/run/resolv.conf", "nameserver 192.0.2.53\nsearch one.test two.test\n");
    let config = conf::with(&conf::v4(), &json!({"ipam": {"resolvConf": "/run/resolv.conf"}}));
    let inherited = node.attach(&config, &one).add();
    assert_eq!(inherited["dns"]["nameservers"], json!(["192.0.2.53"]));
    assert_eq!(inherited["dns"]["search"], json!(["one.test", "two.test"]));
    let own = json!({"dns": {"nameservers": ["192.0.2.99"]}});
    let replaced = node.attach(&conf::with(&config, &own), &two).add();
    assert_eq!(replaced["dns"]["nameservers"], json!(["192.0.2.99"]));
    assert!(replaced["dns"]["search"].is_null(), "{replaced:#}");
}

#[test]
fn one_ipv4_and_two_ipv6_ranges_give_three_addresses() {
    let (node, pod) = (Node::new(), Pod::new());
    let ranges = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}],
        [{"subnet": "fd00:2::/64"}]]);
    let attachment = node.attach(&conf::dual(), &pod).with(&json!({"ipam": {"ranges": ranges}}));
    let result = attachment.add();
    for target in [GATEWAY4, GATEWAY6, "fd00:2::1"] {
        ping(&pod, target);
    }
    attachment.check(&result);
    attachment.del(Some(&result));
}
