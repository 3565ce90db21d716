//! The bridge, its ports and the pod's interface as links: MTU, MAC, flags, existing bridges.

use std::time::Duration;

use ferrule_tests::conf::{self, BRIDGE, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::raw::{self, Sniffer};
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::veth;

fn mac(place: &impl Place, link: &str) -> Value {
    place.link(link).unwrap_or_else(|| panic!("no link {link}"))["address"].clone()
}

#[test]
fn mtu_is_set_everywhere_and_reported() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::v4(), &pod).with(&json!({"mtu": 1400}));
    let result = attachment.add();
    assert_eq!(node.link(BRIDGE).unwrap()["mtu"], 1400);
    assert_eq!(node.link(veth(&result)).unwrap()["mtu"], 1400);
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
    for interface in result["interfaces"].as_array().unwrap() {
        assert_eq!(interface["mtu"], 1400, "{result:#}");
    }
    // 1372 bytes of data and 28 of headers fit, one more does not.
    pod.run(&format!("ping -n -c1 -W1 -M do -s 1372 {GATEWAY4}"));
    assert!(!pod.try_run(&format!("ping -n -c1 -W1 -M do -s 1373 {GATEWAY4}")).status.success());
    attachment.check(&result);
}

#[test]
fn an_existing_bridge_keeps_its_mtu() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 mtu 1450 type bridge; ip link set cni0 up");
    let result = node.attach(&conf::v4(), &pod).with(&json!({"mtu": 1400})).add();
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
    assert_eq!(result["interfaces"][2]["mtu"], 1400);
    ping(&pod, GATEWAY4);
}

/// How many copies of a broadcast frame a pod sees on its own link: the one that it sent, and the
/// one that a hairpin port gives back.
fn copies(pod: &Pod) -> usize {
    let sniffer = Sniffer::on(pod, "eth0");
    let own = raw::mac(mac(pod, "eth0").as_str().unwrap());
    let frame = raw::frame([0xff; 6], own, b"hairpin");
    raw::send(pod, "eth0", &frame);
    let next = || sniffer.wait(Duration::from_millis(300), |seen| seen[..40] == frame[..40]);
    std::iter::from_fn(next).count()
}

#[test]
fn hairpin_mode_gives_a_pod_its_own_frames_back() {
    let (node, plain, hairpin) = (Node::new(), Pod::new(), Pod::new());
    node.attach(&conf::v4(), &plain).add();
    let attachment = node.attach(&conf::v4(), &hairpin).with(&json!({"hairpinMode": true}));
    let result = attachment.add();
    assert_eq!((copies(&plain), copies(&hairpin)), (1, 2));
    attachment.check(&result);
}

#[test]
fn promiscuous_mode_is_set_on_the_bridge() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::v4(), &pod).with(&json!({"promiscMode": true}));
    let result = attachment.add();
    let flags = node.link(BRIDGE).unwrap()["flags"].clone();
    assert!(flags.as_array().unwrap().contains(&json!("PROMISC")), "{flags}");
    ping(&pod, GATEWAY4);
    attachment.check(&result);
}

#[test]
fn the_mac_comes_from_the_nearest_source() {
    let by_env = "IgnoreUnknown=1;MAC=02:00:00:00:00:01";
    let by_args = json!({"args": {"cni": {"mac": "02:00:00:00:00:02"}}});
    let by_runtime = json!({"runtimeConfig": {"mac": "02:00:00:00:00:03"}});
    let all = ferrule_tests::invoke::merged(&by_args, &by_runtime);
    let cases = [
        (Some(by_env), json!({}), "02:00:00:00:00:01"),
        (None, by_args.clone(), "02:00:00:00:00:02"),
        (Some(by_env), by_args, "02:00:00:00:00:02"),
        (None, by_runtime, "02:00:00:00:00:03"),
        (Some(by_env), all, "02:00:00:00:00:03"),
    ];
    let node = Node::new();
    for (args, keys, expected) in cases {
        let pod = Pod::new();
        let mut attachment = node.attach(&conf::v4(), &pod).with(&keys);
        attachment.args = args.map(str::to_owned);
        let result = attachment.add();
        assert_eq!(mac(&pod, "eth0"), expected, "{keys}");
        assert_eq!(result["interfaces"][2]["mac"], expected);
        ping(&pod, GATEWAY4);
        attachment.check(&result);
        attachment.del(Some(&result));
    }
}

#[test]
fn an_existing_bridge_is_used_as_it_is() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 address 02:00:00:00:00:aa type bridge
        ip link set cni0 up; ip addr add 10.1.0.1/24 dev cni0");
    let result = node.attach(&conf::v4(), &pod).add();
    assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:aa");
    assert_eq!(node.addresses(BRIDGE), ["10.1.0.1/24"]);
    ping(&pod, GATEWAY4);
}

#[test]
fn a_bridge_that_is_down_is_brought_up() {
    let (node, pod) = (Node::new(), Pod::new());
    node.run("ip link add cni0 type bridge");
    node.attach(&conf::v4(), &pod).add();
    ping(&pod, GATEWAY4);
}

#[test]
fn a_link_that_is_no_bridge_is_refused_and_stays() {
    let (node, pod) = (Node::new(), Pod::new());
    node.run("ip link add cni0 type veth peer name other0");
    let error = node.attach(&conf::v4(), &pod).try_add().err();
    assert!(error.text().contains("\"cni0\" already exists but is not a bridge"), "{error:?}");
    assert_eq!(node.links(), ["other0", "cni0"]);
}

#[test]
fn the_bridges_mac_stays_as_pods_come_and_go() {
    let node = Node::new();
    let first = Pod::new();
    let attachment = node.attach(&conf::dual(), &first);
    let result = attachment.add();
    let original = mac(&node, BRIDGE);
    // A bridge without a MAC of its own takes the lowest of its ports'.
    for low in ["02:00:00:00:00:01", "00:00:00:00:00:01"] {
        let pod = Pod::new();
        let keys = json!({"runtimeConfig": {"mac": low}});
        let passing = node.attach(&conf::dual(), &pod).with(&keys);
        let result = passing.add();
        node.run(&format!("ip link set {} address 00:00:00:00:01:01", veth(&result)));
        assert_eq!(mac(&node, BRIDGE), original);
        passing.del(Some(&result));
        assert_eq!(mac(&node, BRIDGE), original);
    }
    attachment.del(Some(&result));
    assert_eq!(mac(&node, BRIDGE), original, "after the last pod");
}

#[test]
fn macs_are_set_by_us_and_not_picked_by_the_kernel() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&conf::v4(), &pod).add();
    for link in [BRIDGE, veth(&result)] {
        // 3 is NET_ADDR_SET; 1 invites udev to choose another.
        let kind = node.read(&format!("/sys/class/net/{link}/addr_assign_type"));
        assert_eq!(kind, "3", "{link}");
    }
}
