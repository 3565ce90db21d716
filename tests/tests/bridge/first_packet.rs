//! What arrives at once, and what announces a pod to those that knew its address before.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ferrule_tests::conf::{self, BRIDGE, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, ping};
use ferrule_tests::raw::{self, Sniffer};
use ferrule_tests::threads::Ended;
use ferrule_tests::{Bins, Node, Pod, within};
use serde_json::json;

/// The very first ADD of a node, which also makes the bridge and its addresses.
#[test]
fn the_first_packet_of_the_first_pod_reaches_the_gateway() {
    for gateway in [GATEWAY4, GATEWAY6] {
        let (node, pod) = (Node::new(), Pod::new());
        node.attach(&conf::dual(), &pod).add();
        ping(&pod, gateway);
    }
}

#[test]
fn the_first_packet_of_the_node_reaches_a_new_pod() {
    for address in ["10.1.0.2", "fd00:1::2"] {
        let (node, pod) = (Node::new(), Pod::new());
        node.attach(&conf::dual(), &pod).add();
        ping(&node, address);
    }
}

/// The kernel has an address listen for its neighbours in a work of its own, which waits its turn
/// where namespaces come and go: ADD is not done before that.
#[test]
fn the_first_ipv6_packet_arrives_on_a_busy_machine() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(Pod::new());
                }
            });
        }
        let ended = Ended(&done);
        let lost = (0..30).filter(|nth| {
            let (node, pod) = (Node::new(), Pod::new());
            node.attach(&conf::v6(), &pod).add();
            if nth % 2 == 0 { !first_ping(&pod, GATEWAY6) } else { !first_ping(&node, "fd00:1::2") }
        });
        let lost = lost.count();
        drop(ended);
        assert_eq!(lost, 0, "of 30 first packets");
    });
}

#[test]
fn the_first_packet_between_new_pods_arrives() {
    let (node, one) = (Node::new(), Pod::new());
    node.attach(&conf::dual(), &one).add();
    for nth in 3..6 {
        let next = Pod::new();
        node.attach(&conf::dual(), &next).add();
        ping(&one, &format!("10.1.0.{nth}"));
        ping(&one, &format!("fd00:1::{nth}"));
        ping(&next, "fd00:1::2");
        ping(&next, "10.1.0.2");
    }
}

#[test]
fn a_new_pod_announces_its_addresses() {
    let (node, observer, pod) = (Node::new(), Pod::new(), Pod::new());
    node.attach(&conf::dual(), &observer).add();
    let addresses: [IpAddr; 2] = ["10.1.0.3".parse().unwrap(), "fd00:1::3".parse().unwrap()];
    let sniffers = addresses.map(|address| (Sniffer::on(&observer, "eth0"), address));
    node.attach(&conf::dual(), &pod).add();
    let own = pod.link("eth0").unwrap()["address"].as_str().map(raw::mac).unwrap();
    for (sniffer, address) in sniffers {
        let frame = sniffer.wait(Duration::from_secs(1), |frame| raw::announces(frame, address));
        let frame =
            frame.unwrap_or_else(|| panic!("{address} was not announced to its neighbours"));
        assert_eq!(frame[6..12], own, "announced with the pod's MAC");
    }
}

/// Neighbours and the node hold the old pod's MAC; the new pod's first answer still arrives.
#[test]
fn a_reused_address_works_at_once() {
    let (node, observer) = (Node::new(), Pod::new());
    node.attach(&conf::dual(), &observer).add();
    let wanted = json!({"runtimeConfig": {"ips": ["10.1.0.9", "fd00:1::9"]}});
    let config = conf::with(&conf::dual(), &wanted);
    for _ in 0..3 {
        let pod = Pod::new();
        let attachment = node.attach(&config, &pod);
        let result = attachment.add();
        for address in ["10.1.0.9", "fd00:1::9"] {
            ping(&observer, address);
            ping(&node, address);
        }
        attachment.del(Some(&result));
    }
    let known = observer.run("ip neigh") + &node.run(&format!("ip neigh show dev {BRIDGE}"));
    assert!(known.contains("10.1.0.9"), "the caches that this is about: {known}");
}

/// The same with IPv4 alone, where the MAC address comes back with the address; and where it does
/// not, since the old pod was the reference's or had a MAC address of its own.
#[test]
fn a_reused_ipv4_address_works_at_once() {
    let wanted = json!({"cniVersion": "1.0.0", "runtimeConfig": {"ips": ["10.1.0.9"]}});
    let config = conf::with(&conf::v4(), &wanted);
    let other = json!({"runtimeConfig": {"mac": "0a:00:00:00:00:09"}});
    let other = conf::with(&config, &other);
    let before = [(Bins::ours(), &config), (Bins::ours(), &other), (Bins::reference(), &config)];
    for (by, config_before) in before {
        let (node, observer, old, pod) = (Node::new(), Pod::new(), Pod::new(), Pod::new());
        node.attach(&conf::v4(), &observer).add();
        let attachment = node.attach(config_before, &old).by(&by);
        let result = attachment.add();
        let talks = |pod: &Pod| {
            ping(pod, GATEWAY4);
            ping(&observer, "10.1.0.9");
            ping(&node, "10.1.0.9");
        };
        talks(&old);
        attachment.del(Some(&result));
        node.attach(&config, &pod).add();
        ping(&observer, "10.1.0.9");
        ping(&node, "10.1.0.9");
        let mac = pod.link("eth0").unwrap()["address"].clone();
        assert_eq!(mac, "0a:58:0a:01:00:09", "the address's own");
    }
}

/// What a new pod sends to all is sent to every pod of the bridge, by a kernel that holds RTNL. So the
/// link-local address of one without IPv6 addresses begins as the kernel has it, after a random
/// delay, also where its port sends back what it sends; and its port has none.
#[test]
fn a_pod_without_ipv6_addresses_gets_its_link_local_one_after_add() {
    for (off, hairpin) in [("0", false), ("0", true), ("1", false)] {
        let (node, pod) = (Node::new(), Pod::new());
        pod.set_sysctl("net/ipv6/conf/default/disable_ipv6", off);
        let config = conf::with(&conf::v4(), &json!({"hairpinMode": hairpin}));
        node.attach(&config, &pod).add();
        assert_eq!(pod.sysctl("net/ipv6/conf/eth0/disable_ipv6"), off);
        assert_eq!(pod.sysctl("net/ipv6/conf/eth0/accept_dad"), "0");
        let of_port = node.run(&format!("ip -6 address show dev {}", node.veths()[0]));
        assert_eq!(of_port, "");
        let show = || pod.run("ip -6 address show dev eth0 scope link");
        assert_eq!(show().contains("fe80::858:aff:fe01:2/64"), off == "0", "{}", show());
        let settled = || Some(show()).filter(|shown| !shown.contains(" tentative"));
        let settled = within(Duration::from_secs(20), settled);
        assert!(settled.is_some_and(|shown| !shown.contains("dadfailed")), "{}", show());
    }
}
