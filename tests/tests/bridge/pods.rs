//! Pods of each address family: what they get, and that it carries packets.

use ferrule_tests::conf::{self, BRIDGE, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{no_ping, ping, tcp_source, udp_source};
use ferrule_tests::{Node, Pod};
use serde_json::json;

use crate::{address, veth};

#[test]
fn an_ipv4_pod_reaches_its_node_and_its_neighbour() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let first = node.attach(&conf::v4(), &one).add();
    let second = node.attach(&conf::v4(), &two).add();
    assert_eq!((address(&first, 0), address(&second, 0)), ("10.1.0.2".into(), "10.1.0.3".into()));
    assert_eq!(one.addresses("eth0"), ["10.1.0.2/24"]);
    assert_eq!(node.addresses(BRIDGE), ["10.1.0.1/24"]);
    ping(&one, GATEWAY4);
    ping(&one, "10.1.0.3");
    ping(&node, "10.1.0.3");
    assert_eq!(tcp_source(&two, &one, "10.1.0.2"), Ok("10.1.0.3".parse().unwrap()));
    assert_eq!(udp_source(&one, &node, GATEWAY4), Ok("10.1.0.2".parse().unwrap()));
}

#[test]
fn an_ipv6_pod_reaches_its_node_and_its_neighbour() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let first = node.attach(&conf::v6(), &one).add();
    node.attach(&conf::v6(), &two).add();
    assert_eq!(address(&first, 0), "fd00:1::2");
    assert_eq!(one.addresses("eth0"), ["fd00:1::2/64"]);
    ping(&one, GATEWAY6);
    ping(&one, "fd00:1::3");
    ping(&node, "fd00:1::3");
    assert_eq!(tcp_source(&two, &one, "fd00:1::2"), Ok("fd00:1::3".parse().unwrap()));
}

#[test]
fn a_dual_stack_pod_has_both_families() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let result = node.attach(&conf::dual(), &one).add();
    node.attach(&conf::dual(), &two).add();
    assert_eq!((address(&result, 0), address(&result, 1)), ("10.1.0.2".into(), "fd00:1::2".into()));
    for target in [GATEWAY4, GATEWAY6, "10.1.0.3", "fd00:1::3"] {
        ping(&one, target);
    }
}

#[test]
fn the_result_lists_bridge_veth_and_container_interface() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&conf::dual(), &pod).add();
    let links = &result["interfaces"];
    assert_eq!(links.as_array().map(Vec::len), Some(3), "{result:#}");
    assert_eq!(links[0]["name"], BRIDGE);
    assert_eq!(
        links[2],
        json!({"name": "eth0", "sandbox": pod.netns(), "mac": links[2]["mac"],
        "mtu": links[2]["mtu"]})
    );
    for (place, nth) in [(&node as &dyn Mac, 0), (&node, 1), (&pod, 2)] {
        let name = links[nth]["name"].as_str().unwrap();
        assert_eq!(links[nth]["mac"], place.mac(name), "interface {nth} of {result:#}");
    }
    for ip in result["ips"].as_array().unwrap() {
        assert_eq!(ip["interface"], 2);
    }
    assert_eq!(result["ips"][0]["gateway"], GATEWAY4);
    assert_eq!(result["ips"][1]["gateway"], GATEWAY6);
    let (host, pod_end) = (node.link(veth(&result)).unwrap(), pod.link("eth0").unwrap());
    assert_eq!(host["master"], BRIDGE);
    assert_eq!(host["link_index"], pod_end["ifindex"], "the two ends of one veth");
    assert_eq!(host["operstate"], "UP");
}

trait Mac {
    fn mac(&self, link: &str) -> String;
}

impl<P: Place> Mac for P {
    fn mac(&self, link: &str) -> String {
        self.link(link).expect("the link")["address"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_network_without_ipam_carries_frames() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let attachment = node.attach(&conf::l2(), &one);
    let result = attachment.add();
    node.attach(&conf::l2(), &two).add();
    assert!(result["ips"].as_array().is_none_or(Vec::is_empty), "{result:#}");
    assert_eq!(one.addresses("eth0"), Vec::<String>::new());
    one.run("ip addr add 192.0.2.1/24 dev eth0");
    two.run("ip addr add 192.0.2.2/24 dev eth0");
    ping(&one, "192.0.2.2");
    attachment.check(&result);
    attachment.del(Some(&result));
    assert!(one.links().is_empty());
}

#[test]
fn a_network_that_is_no_gateway_gives_the_bridge_no_address() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let config = conf::with(&conf::v4(), &json!({"isGateway": false, "ipam": {"routes": null}}));
    node.attach(&config, &one).add();
    node.attach(&config, &two).add();
    assert_eq!(node.addresses(BRIDGE), Vec::<String>::new());
    assert_eq!(node.sysctl("net/ipv4/ip_forward"), "0", "no gateway has no cause to forward");
    ping(&one, "10.1.0.3");
}

#[test]
fn a_gateway_forwards_between_its_networks() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let other = json!({"name": "others", "bridge": "cni1", "ipam": {"ranges":
        [[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]}});
    node.attach(&conf::dual(), &one).add();
    node.attach(&conf::with(&conf::dual(), &other), &two).add();
    ping(&one, "10.2.0.2");
    ping(&one, "fd00:2::2");
    assert_eq!(tcp_source(&one, &two, "10.2.0.2"), Ok("10.1.0.2".parse().unwrap()));
    assert_eq!(tcp_source(&one, &two, "fd00:2::2"), Ok("fd00:1::2".parse().unwrap()));
}

#[test]
fn isolated_pods_reach_the_gateway_and_not_each_other() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let config = conf::with(&conf::dual(), &json!({"portIsolation": true}));
    let attachment = node.attach(&config, &one);
    let result = attachment.add();
    node.attach(&config, &two).add();
    ping(&one, GATEWAY4);
    ping(&one, GATEWAY6);
    no_ping(&one, "10.1.0.3");
    no_ping(&one, "fd00:1::3");
    attachment.check(&result);
}

#[test]
fn a_pod_may_have_two_interfaces_on_one_network() {
    let (node, pod) = (Node::new(), Pod::new());
    let first = node.attach(&conf::v4(), &pod);
    let second = node.attach(&conf::with(&conf::v4(), &json!({"ipam": {"routes": null}})), &pod);
    let second = second.ifname("net1");
    let (one, two) = (first.add(), second.add());
    assert_eq!((address(&one, 0), address(&two, 0)), ("10.1.0.2".into(), "10.1.0.3".into()));
    second.del(Some(&two));
    assert_eq!(pod.links(), ["eth0"]);
    ping(&pod, GATEWAY4);
    first.check(&one);
}
