//! Bridge's keys of VLANs, as packets show them.

use std::time::Duration;

use ferrule_tests::conf::{self, BRIDGE, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, no_ping, ping};
use ferrule_tests::raw::{self, Sniffer};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

/// A pod without IPAM on a bridge of these keys, with an address of its own.
fn pod(node: &Node, keys: &Value, address: &str) -> Pod {
    let pod = Pod::new();
    node.attach(&conf::with(&conf::l2(), keys), &pod).add();
    pod.run(&format!("ip address add {address}/24 dev eth0"));
    pod
}

/// Gives a place an address in a VLAN that its link carries tagged.
fn tagged(place: &impl Place, vlan: u16, address: &str) {
    place.sh(&format!(
        "ip link add link eth0 name eth0.{vlan} type vlan id {vlan}
         ip link set eth0.{vlan} up; ip address add {address}/24 dev eth0.{vlan}"
    ));
}

/// A switch's port at the bridge of a node, which carries these VLANs tagged.
fn trunk(node: &Node, vlans: &[u16]) -> Pod {
    let wire = Pod::new();
    node.sh(&format!(
        "ip link add trunk0 type veth peer name eth0 netns {}
         ip link set trunk0 master {BRIDGE} up; bridge vlan del dev trunk0 vid 1",
        wire.netns()
    ));
    for vlan in vlans {
        node.run(&format!("bridge vlan add dev trunk0 vid {vlan}"));
    }
    wire.run("ip link set eth0 up");
    wire
}

#[test]
fn pods_reach_those_of_their_vlan_alone() {
    let node = Node::new();
    let [one, two, other] = [(100, 1), (100, 2), (200, 3)]
        .map(|(vlan, at)| pod(&node, &json!({"vlan": vlan}), &format!("192.0.2.{at}")));
    ping(&one, "192.0.2.2");
    no_ping(&one, "192.0.2.3");
    let wire = trunk(&node, &[100, 200]);
    tagged(&wire, 100, "192.0.2.100");
    ping(&one, "192.0.2.100");
    no_ping(&other, "192.0.2.100");
    wire.run("ip link del eth0.100");
    tagged(&wire, 200, "192.0.2.200");
    ping(&other, "192.0.2.200");
    no_ping(&two, "192.0.2.200");
}

/// The node routes between the VLANs, by a device of its own in each.
#[test]
fn the_gateway_of_a_vlan_answers_its_pods_and_forwards() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let first = conf::with(&conf::dual(), &json!({"vlan": 100}));
    let ranges = json!([[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]);
    let keys = json!({"name": "others", "vlan": 200, "ipam": {"ranges": ranges}});
    let second = conf::with(&conf::dual(), &keys);
    let attachment = node.attach(&first, &one);
    let result = attachment.add();
    node.attach(&second, &two).add();
    for (pod, gateways) in [(&one, [GATEWAY4, GATEWAY6]), (&two, ["10.2.0.1", "fd00:2::1"])] {
        gateways.iter().for_each(|gateway| ping(pod, gateway));
    }
    ping(&one, "10.2.0.2");
    ping(&two, "fd00:1::2");
    attachment.check(&result);
    attachment.del(Some(&result));
    ping(&two, "10.2.0.1");
}

#[test]
fn a_trunk_carries_its_vlans_tagged_into_the_pod() {
    let node = Node::new();
    let vlans = json!({"vlanTrunk": [{"id": 100}, {"minID": 200, "maxID": 202}]});
    let of_trunk = pod(&node, &vlans, "192.0.2.1");
    for (vlan, net, carried) in
        [(100, "198.51.100", true), (201, "203.0.113", true), (203, "192.168.3", false)]
    {
        let access = pod(&node, &json!({"vlan": vlan}), &format!("{net}.2"));
        tagged(&of_trunk, vlan, &format!("{net}.1"));
        assert_eq!(first_ping(&of_trunk, &format!("{net}.2")), carried, "VLAN {vlan}");
        assert_eq!(first_ping(&access, &format!("{net}.1")), carried, "back from VLAN {vlan}");
    }
}

#[test]
fn a_pod_has_one_vlan_untagged_and_others_tagged() {
    let node = Node::new();
    let both = pod(&node, &json!({"vlan": 100, "vlanTrunk": [{"id": 200}]}), "192.0.2.1");
    tagged(&both, 200, "198.51.100.1");
    let untagged = pod(&node, &json!({"vlan": 100}), "192.0.2.2");
    let other = pod(&node, &json!({"vlan": 200}), "198.51.100.2");
    ping(&both, "192.0.2.2");
    ping(&both, "198.51.100.2");
    no_ping(&untagged, "198.51.100.1");
    no_ping(&other, "192.0.2.1");
}

/// What is sent in VLAN 1, that of pods without the key, reaches the port that stayed in it too.
#[test]
fn preserve_default_vlan_keeps_the_port_in_vlan_1() {
    for keep in [false, true] {
        let node = Node::new();
        let keys = json!({"vlan": 100, "preserveDefaultVlan": keep});
        let in_vlan = pod(&node, &keys, "192.0.2.1");
        let plain = pod(&node, &json!({}), "192.0.2.2");
        let sniffer = Sniffer::on(&in_vlan, "eth0");
        let frame = raw::frame([0xff; 6], [2, 0, 0, 0, 0, 9], b"of VLAN 1");
        raw::send(&plain, "eth0", &frame);
        let seen = sniffer.wait(Duration::from_secs(1), |seen| seen[..40] == frame[..40]);
        assert_eq!(seen.is_some(), keep, "preserveDefaultVlan {keep}");
        // Its own VLAN is 100 in both cases.
        let neighbour = pod(&node, &json!({"vlan": 100}), "192.0.2.3");
        ping(&in_vlan, "192.0.2.3");
        ping(&neighbour, "192.0.2.1");
    }
}

/// DEV stands for the device of the pods' VLAN, which has the gateway's addresses.
#[test]
fn check_names_each_alteration_of_a_vlan_device() {
    for (script, wanted) in [
        ("ip link set DEV down", "it is down"),
        ("ip link del DEV", "VLAN device DEV: missing"),
        (
            "ip link del DEV; ip link add link cni0 name DEV up type vlan id 101",
            "VLAN device DEV: VLAN is 101, not 100",
        ),
        (
            "ip link add other up type bridge; ip link del DEV
             ip link add link other name DEV up type vlan id 100",
            "VLAN device DEV: link index below",
        ),
        (
            "bridge vlan del dev cni0 vid 100 self",
            "VLAN device DEV: cni0 itself is not in VLAN 100",
        ),
        ("ip address del 10.1.0.1/24 dev DEV", "10.1.0.1/24"),
        ("ip address del fd00:1::1/64 dev DEV", "fd00:1::1/64"),
    ] {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&conf::with(&conf::dual(), &json!({"vlan": 100})), &pod);
        let result = attachment.add();
        attachment.check(&result);
        let devices = node.run("ip -br link show type vlan");
        let device = devices.split('@').next().unwrap();
        node.sh(&script.replace("DEV", device));
        attachment.try_check(&result).err().expect(101, &wanted.replace("DEV", device));
        // A repeated ADD of another pod mends it, but for a device that is another.
        if !script.contains("link add") {
            let other = Pod::new();
            node.attach(&conf::with(&conf::dual(), &json!({"vlan": 100})), &other).add();
            ping(&other, GATEWAY4);
            ping(&pod, GATEWAY4);
        }
    }
}

#[test]
fn check_sees_a_port_that_left_its_vlan_and_del_leaves_nothing() {
    let (node, first, pod) = (Node::new(), Pod::new(), Pod::new());
    let keys = json!({"vlan": 100, "vlanTrunk": [{"minID": 200, "maxID": 202}]});
    let config = conf::with(&conf::dual(), &keys);
    node.attach(&config, &first).add();
    let before = Snapshot::of(&node).without_lease_history();
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    attachment.check(&result);
    let port = result["interfaces"][1]["name"].as_str().unwrap();
    for (gone, back) in [("100", "100 pvid untagged"), ("201", "201")] {
        node.run(&format!("bridge vlan del dev {port} vid {gone}"));
        let error = attachment.try_check(&result).err();
        assert!(error.text().contains(gone), "{error:?}");
        node.run(&format!("bridge vlan add dev {port} vid {back}"));
        attachment.check(&result);
    }
    attachment.del(Some(&result));
    assert_same(&before, &Snapshot::of(&node).without_lease_history());
}
