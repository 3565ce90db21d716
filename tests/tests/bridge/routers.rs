//! A pod takes no addresses and no routes from what its neighbours send.

use std::net::Ipv4Addr;
use std::time::Duration;

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::routers::{self, ROUTER6, mac_of, taken};
use ferrule_tests::{Node, Pod, raw, within};
use serde_json::{Value, json};

/// The address of the attacker, which is the first pod.
const ATTACKER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

fn attack(attacker: &Pod, pod: &Pod, link: &str, host: Ipv4Addr) {
    let (from, to) = (mac_of(attacker, "eth0"), mac_of(pod, link));
    let gateway = GATEWAY4.parse().unwrap();
    let all = [
        routers::advertisement(from, [0x33, 0x33, 0, 0, 0, 1]),
        routers::advertisement(from, to),
        routers::redirect6(from, to),
        routers::redirect4(from, to, gateway, ATTACKER, host),
    ];
    // The first redirects have the kernel ask where the sender is.
    for _ in 0..3 {
        raw::send_all(attacker, "eth0", &all);
    }
}

/// Three pods: one that attacks, one that must take nothing, and one with acceptRa, to
/// show that the attack works.
fn takes_nothing(config: &Value) {
    let (node, attacker, pod, open) = (Node::new(), Pod::new(), Pod::new(), Pod::new());
    node.attach(config, &attacker).add();
    let attachment = node.attach(config, &pod);
    let result = attachment.add();
    let accepting = node.attach(config, &open).with(&json!({"acceptRa": true}));
    let accepted = accepting.add();
    for pod in [&attacker, &pod, &open] {
        pod.settle();
        ping(pod, GATEWAY4);
    }
    for pod in [&pod, &open] {
        ping(pod, &ATTACKER.to_string());
        let known = format!("ip -6 route add {}/64 via {ROUTER6} dev eth0", "2001:db8:9::");
        pod.sh(&format!(
            "{known}; ip -6 neigh replace {ROUTER6} lladdr 02:00:00:00:00:99 dev eth0"
        ));
    }
    let took = within(Duration::from_secs(20), || {
        attack(&attacker, &pod, "eth0", Ipv4Addr::new(10, 1, 0, 3));
        attack(&attacker, &open, "eth0", Ipv4Addr::new(10, 1, 0, 4));
        // An address, routes, and the ways to both hosts that redirects are about.
        let all = taken(&open, ATTACKER);
        let whole = ["proto ra", "2001:db8:bad:", "198.51.100.9 via", "2001:db8:9::9"];
        whole.iter().all(|part| all.iter().any(|line| line.contains(part))).then_some(())
    });
    assert!(took.is_some(), "a pod with acceptRa takes all of it: {:?}", taken(&open, ATTACKER));
    assert_eq!(taken(&pod, ATTACKER), [""; 0], "a pod took what a neighbour sent");
    assert_eq!(taken(&node, ATTACKER), [""; 0], "the node took what a pod sent");
    attachment.check(&result);
    accepting.check(&accepted);
}

#[test]
fn a_pod_takes_no_router_advertisement_and_no_redirect() {
    takes_nothing(&conf::dual());
}

/// It has a link-local address all the same, and with it would take a default route.
#[test]
fn a_pod_of_ipv4_alone_takes_none_either() {
    takes_nothing(&conf::v4());
}

/// Of IPv4 what `all` says counts too, which the first network set.
#[test]
fn the_second_network_of_a_pod_takes_none_either() {
    let (node, attacker, pod) = (Node::new(), Pod::new(), Pod::new());
    let other = json!({"name": "other", "bridge": "cni1", "acceptRa": true,
        "ipam": {"ranges": [[{"subnet": "10.2.0.0/24"}]], "routes": null}});
    let first = node.attach(&conf::v4(), &pod).with(&other);
    let made = first.add();
    node.attach(&conf::dual(), &attacker).add();
    let attachment = node.attach(&conf::dual(), &pod).ifname("eth1");
    let result = attachment.add();
    attacker.settle();
    ping(&pod, &ATTACKER.to_string());
    let witness = Pod::new();
    node.attach(&conf::dual(), &witness).with(&json!({"acceptRa": true})).add();
    witness.settle();
    let took = within(Duration::from_secs(20), || {
        attack(&attacker, &pod, "eth1", Ipv4Addr::new(10, 1, 0, 3));
        attack(&attacker, &witness, "eth0", Ipv4Addr::new(10, 1, 0, 4));
        let all = taken(&witness, ATTACKER);
        all.iter().any(|line| line.contains("198.51.100.9 via")).then_some(())
    });
    assert!(took.is_some(), "a pod with acceptRa takes it");
    assert_eq!(taken(&pod, ATTACKER), [""; 0]);
    attachment.check(&result);
    first.check(&made);
}

/// What a plugin behind this one sets stays.
#[test]
fn what_tuning_sets_behind_it_stays() {
    let (node, pod) = (Node::new(), Pod::new());
    let old = json!({"cniVersion": "1.0.0", "acceptRa": true});
    let attachment = node.attach(&conf::dual(), &pod).with(&old);
    let made = attachment.add();
    let sysctls = json!({"net.ipv6.conf.eth0.accept_ra": "2",
        "net.ipv4.conf.eth0.accept_redirects": "0"});
    let tuning =
        json!({"cniVersion": "1.0.0", "name": "pods", "type": "tuning", "sysctl": sysctls});
    let tuning = node.attach(&tuning, &pod).by(&ferrule_tests::Bins::reference());
    let tuned = tuning.call("ADD", Some(&made)).run(&node).ok();
    assert_eq!(pod.sysctl("net/ipv6/conf/eth0/accept_ra"), "2");
    attachment.check(&tuned);
    tuning.check(&tuned);
    attachment.del(Some(&tuned));
}
