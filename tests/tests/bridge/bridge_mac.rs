//! The MAC address of a bridge, above all of one that another program made.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{Flow, ping};
use ferrule_tests::{Node, Pod};

/// A bridge takes the lowest MAC address of its ports unless it is pinned: an administrator's own
/// would change with every pod, and his neighbours lose it.
#[test]
fn a_bridge_made_by_hand_keeps_its_mac_address() {
    let (node, first) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip link set cni0 up
        ip addr add 10.1.0.1/24 dev cni0");
    let mac = || node.read("/sys/class/net/cni0/address");
    let before = mac();
    let attachment = node.attach(&conf::v4(), &first);
    let result = attachment.add();
    assert_eq!(mac(), before, "with one pod");
    let mut flow = Flow::open(&first, &node, GATEWAY4).unwrap();
    for _ in 0..6 {
        let pod = Pod::new();
        let other = node.attach(&conf::v4(), &pod);
        let added = other.add();
        assert_eq!(mac(), before, "with another");
        flow.turn().expect("a flow survives");
        other.del(Some(&added));
        assert_eq!(mac(), before, "without the other");
        flow.turn().expect("a flow survives");
    }
    attachment.del(Some(&result));
    assert_eq!(mac(), before, "without any");
    assert_eq!(node.addresses("cni0"), ["10.1.0.1/24"]);
}

/// /sys may be of another network namespace: agents in containers enter the node's alone.
#[test]
fn a_bridge_made_by_hand_keeps_its_mac_address_whatever_sysfs_shows() {
    for (config, sysfs) in
        [conf::v4(), conf::l2()].iter().flat_map(|config| [(config, true), (config, false)])
    {
        for before in [
            "",
            "ip link add port0 type veth peer name peer0
            ip link set port0 master cni0; ip link set port0 up; ip link set peer0 up",
        ] {
            let node = Node::new();
            node.sh(&format!("ip link add cni0 type bridge; ip link set cni0 up; {before}"));
            let mac = || node.link("cni0").unwrap()["address"].clone();
            let made = mac();
            if !sysfs {
                node.run("mount -t tmpfs tmpfs /sys/class");
            }
            let pods = [Pod::new(), Pod::new()];
            for pod in &pods {
                let result = node.attach(config, pod).add();
                assert_eq!(mac(), made);
                assert_eq!(result["interfaces"][0]["mac"], made);
            }
            node.try_run("ip link del port0");
            assert_eq!(mac(), made, "without the port that was there");
        }
    }
}

/// The kernel gives a bridge whose last port left the MAC address 0.
#[test]
fn a_bridge_that_lost_its_mac_address_gets_one() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip link set cni0 up
        ip link add port0 type veth peer name peer0; ip link set port0 master cni0
        ip link del port0");
    let attachment = node.attach(&conf::v4(), &pod);
    let result = attachment.add();
    let mac = node.link("cni0").unwrap()["address"].clone();
    assert_ne!(mac, "00:00:00:00:00:00");
    ping(&pod, GATEWAY4);
    attachment.del(Some(&result));
    assert_eq!(node.link("cni0").unwrap()["address"], mac);
}

/// An address that is pinned is not set again: the kernel would forget the node's neighbours.
#[test]
fn the_nodes_neighbours_stay_as_pods_come() {
    let node = Node::new();
    node.attach(&conf::v4(), &Pod::new()).add();
    node.run("ip neigh add 10.1.0.99 lladdr 02:00:00:00:00:99 nud permanent dev cni0");
    node.attach(&conf::v4(), &Pod::new()).add();
    let known = node.run("ip neigh show 10.1.0.99");
    assert!(known.contains("02:00:00:00:00:99"), "{known}");
}
