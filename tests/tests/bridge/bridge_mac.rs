//! What went wrong once: rules that another emptied, and surroundings that another made.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{Flow, ping, tcp_source};
use ferrule_tests::{Bins, Node, Outside, Pod};
use serde_json::{Value, json};

/// The rules' words in every chain whose name begins so.
fn chains(node: &Node, prefix: &str) -> Vec<(String, String)> {
    let listed: Value = node.json("nft -j list chains");
    let all = listed["nftables"].as_array().cloned().unwrap_or_default();
    let found = all.iter().map(|entry| &entry["chain"]).filter(|chain| {
        chain["family"] == "inet" && chain["name"].as_str().is_some_and(|n| n.starts_with(prefix))
    });
    let named = found.map(|chain| {
        let word = |key: &str| chain[key].as_str().unwrap_or_default().to_owned();
        (word("table"), word("name"))
    });
    named.collect()
}

#[test]
fn an_add_mends_a_chain_that_was_flushed() {
    let node = Node::new();
    let outside = Outside::beside(&node);
    let pods: Vec<Pod> = (0..4).map(|_| Pod::new()).collect();
    let results: Vec<Value> =
        pods[..3].iter().map(|pod| node.attach(&conf::full(), pod).add()).collect();
    let whole = |(table, name): &(String, String)| {
        node.run(&format!("nft -s list chain inet {table} {name}"))
    };
    let masquerading = chains(&node, "masq");
    assert!(!masquerading.is_empty(), "{}", node.run("nft list ruleset"));
    let before: Vec<String> = masquerading.iter().map(whole).collect();
    for (table, name) in &masquerading {
        node.run(&format!("nft flush chain inet {table} {name}"));
    }
    assert!(tcp_source(&pods[0], &outside, OUTSIDE4).is_err(), "nothing masquerades now");
    node.attach(&conf::full(), &pods[3]).add();
    assert_eq!(masquerading.iter().map(whole).collect::<Vec<_>>(), before);
    for pod in &pods {
        assert_eq!(tcp_source(pod, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
        assert_eq!(tcp_source(pod, &outside, OUTSIDE6), Ok(NODE6.parse().unwrap()));
    }
    // Fewer rules than there should be: a chain that elements still lead to is not taken away.
    for (table, name) in &masquerading {
        node.run(&format!("nft flush chain inet {table} {name}"));
    }
    node.attach(&conf::full(), &pods[0]).del(Some(&results[0]));
    assert_eq!(chains(&node, "masq"), masquerading);
}

/// The chain's next plugin changes the pod's link; before 1.1.0 results do not tell the MTU.
#[test]
fn check_bears_what_tuning_changed() {
    let (node, pod) = (Node::new(), Pod::new());
    let old = json!({"cniVersion": "1.0.0", "mtu": 1500});
    let attachment = node.attach(&conf::full(), &pod).with(&old);
    let made = attachment.add();
    let tuning = json!({"cniVersion": "1.0.0", "name": "pods", "type": "tuning", "mtu": 1400});
    let tuning = node.attach(&tuning, &pod).by(&Bins::reference());
    let tuned = tuning.call("ADD", Some(&made)).run(&node).ok();
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
    attachment.check(&tuned);
    tuning.check(&tuned);
    ping(&pod, GATEWAY4);
    attachment.del(Some(&tuned));
}

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

/// ADD and DEL where /proc/sys cannot be written: of the node nothing has to change for IPv4.
fn attach_without_writing_sysctls(pod: impl Fn() -> Pod) {
    let none = json!({"isGateway": false, "ipam": {"routes": null}});
    for config in [conf::l2(), conf::with(&conf::v4(), &none), conf::v4()] {
        let (node, one, two) = (Node::new(), pod(), pod());
        node.set_sysctl("net/ipv4/ip_forward", "1");
        node.sh("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys");
        let tried = node.try_run("sysctl -w net.ipv4.ip_forward=1");
        assert!(!tried.status.success(), "/proc/sys is read-only");
        let attachment = node.attach(&config, &one);
        let result = attachment.add();
        node.attach(&config, &two).add();
        if config["ipam"].is_object() {
            ping(&one, "10.1.0.3");
        }
        if config["isGateway"] == true {
            ping(&one, GATEWAY4);
        }
        attachment.del(Some(&result));
        assert!(one.links().is_empty());
    }
}

#[test]
fn read_only_sysctls_do_not_matter_where_nothing_has_to_change() {
    attach_without_writing_sysctls(|| {
        let pod = Pod::new();
        pod.set_sysctl("net/ipv4/conf/default/arp_notify", "1");
        pod
    });
}

/// The pod is as the kernel makes it: its later announcements are not worth a failure.
#[test]
fn read_only_sysctls_do_not_matter_in_a_fresh_pod() {
    attach_without_writing_sysctls(Pod::new);
}
