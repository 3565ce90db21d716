//! An IPAM plugin that needs the pod's link, as the reference's `dhcp`, finds it up.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Attachment, Bins, Call, Node, Outcome, Pod};
use serde_json::{Value, json};

/// An IPAM plugin that asks through the pod's link before it answers, and notes what it saw.
const SCRIPT: &str = r#"#!/bin/sh
if [ "$CNI_COMMAND" = DEL ]; then
    [ -n "$CNI_NETNS" ] || exit 0
    nsenter --net="$CNI_NETNS" sh -c "ip link show $CNI_IFNAME
        ping -n -c1 -W2 10.1.0.1" >/run/seen.DEL 2>&1
    exit 0
fi
[ "$CNI_COMMAND" = ADD ] || exit 0
nsenter --net="$CNI_NETNS" sh -ec "
    ip link show $CNI_IFNAME
    ip addr add 10.1.0.200/24 dev $CNI_IFNAME
    ping -n -c1 -W2 10.1.0.1
    ip addr del 10.1.0.200/24 dev $CNI_IFNAME" >/run/seen 2>&1 || exit 1
cat /run/answer
exit "$(cat /run/code)"
"#;

fn node_with_ipam(bridge: &str) -> Node {
    let node = Node::new();
    node.sh(&format!(
        "ip link add cni0 type bridge {bridge}; ip link set cni0 up
        ip addr add {GATEWAY4}/24 dev cni0"
    ));
    node.write("/run/bin/asking", SCRIPT);
    node.run("chmod +x /run/bin/asking");
    let answer = json!({"cniVersion": conf::version(),
        "ips": [{"address": "10.1.0.9/24", "gateway": GATEWAY4}]});
    node.write("/run/answer", &answer.to_string());
    node.write("/run/code", "0");
    node
}

fn asking() -> Value {
    let keys = json!({"macspoofchk": true, "isGateway": true, "ipMasq": true,
        "ipam": {"type": "asking"}});
    conf::with(&conf::l2(), &keys)
}

fn on_path(call: Call) -> Call {
    call.env("CNI_PATH", &format!("{}:/run/bin", Bins::ours().dir().display()))
}

fn add(node: &Node, attachment: &Attachment) -> Outcome {
    on_path(attachment.call("ADD", None)).run(node)
}

/// With the spanning tree too, packets pass before IPAM is asked.
#[test]
fn it_finds_the_link_up_with_the_mac_address_that_stays() {
    for bridge in ["", "stp_state 1 forward_delay 200"] {
        let (node, pod) = (node_with_ipam(bridge), Pod::new());
        let attachment = node.attach(&asking(), &pod);
        let result = add(&node, &attachment).ok();
        let mac = pod.link("eth0").unwrap()["address"].as_str().unwrap().to_owned();
        let seen = node.read("/run/seen");
        assert!(seen.contains(&format!("link/ether {mac} ")), "{seen}\nbut it is {mac}");
        assert_eq!(result["interfaces"][2]["mac"], mac.as_str());
        assert_eq!(pod.addresses("eth0"), ["10.1.0.9/24"]);
        ping(&pod, GATEWAY4);
        on_path(attachment.call("CHECK", Some(&result))).run(&node).ok();
        on_path(attachment.call("DEL", Some(&result))).run(&node).ok();
        assert!(pod.links().is_empty());
    }
}

/// It gives the lease back by the link.
#[test]
fn it_is_asked_to_release_while_the_link_still_carries_packets() {
    let (node, pod) = (node_with_ipam(""), Pod::new());
    let attachment = node.attach(&asking(), &pod);
    let result = add(&node, &attachment).ok();
    on_path(attachment.call("DEL", Some(&result))).run(&node).ok();
    assert!(
        node.read("/run/seen.DEL").contains(" 0% packet loss"),
        "{}",
        node.read("/run/seen.DEL")
    );
    assert!(pod.links().is_empty());
}

/// The pod's MAC address does not follow from the address: a neighbour remembers the last holder's.
#[test]
fn an_address_that_is_leased_again_is_announced() {
    let (node, one, two) = (node_with_ipam(""), Pod::new(), Pod::new());
    let other = Pod::new();
    let keys = json!({"ipam": {"type": "static", "addresses": [{"address": "10.1.0.50/24"}]}});
    node.attach(&conf::with(&conf::l2(), &keys), &other).add();
    let first = node.attach(&asking(), &one);
    let result = add(&node, &first).ok();
    ping(&other, "10.1.0.9");
    on_path(first.call("DEL", Some(&result))).run(&node).ok();
    // The node itself has forgotten the first pod.
    node.run("ip neigh flush dev cni0");
    add(&node, &node.attach(&asking(), &two)).ok();
    let mac = two.link("eth0").unwrap()["address"].as_str().unwrap().to_owned();
    let known = other.run("ip neigh show 10.1.0.9");
    assert!(known.contains(&mac), "{known}");
    ping(&other, "10.1.0.9");
}

#[test]
fn its_failure_leaves_nothing() {
    let (node, pod) = (node_with_ipam(""), Pod::new());
    let attachment = node.attach(&asking(), &pod);
    node.write("/run/code", "1");
    let failed = add(&node, &attachment);
    assert_ne!(failed.code, Some(0));
    let released = node.read("/run/seen.DEL");
    assert!(released.contains("LOWER_UP"), "it was asked to release by the link: {released}");
    assert!(node.read("/run/seen").contains(" 0% packet loss"), "it was asked by the link");
    assert!(pod.links().is_empty());
    assert_eq!(node.veths(), [""; 0]);
    assert_eq!(node.run("nft list ruleset").trim(), "");
    assert_eq!(node.run("ls /run/ferrule/attachments").trim(), "");
    node.write("/run/code", "0");
    add(&node, &attachment).ok();
    ping(&pod, GATEWAY4);
}
