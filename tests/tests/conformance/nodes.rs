//! Nodes that are not as the plugins' authors have them: IPv6 alone, IPv6 switched off by default,
//! br_netfilter, and a FORWARD chain that drops, as Docker's does.

use std::fs;

use ferrule_tests::bins::workspace;
use ferrule_tests::conf::{self, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{first_ping, ping, tcp_source, udp_source};
use ferrule_tests::{Node, Outside, Pod};
use serde_json::{Value, json};

fn masquerading(base: &Value) -> Value {
    conf::with(base, &json!({"ipMasq": true, "macspoofchk": true}))
}

/// Sets the switch by which frames between ports pass the IP hooks; false where there is none.
fn br_netfilter(node: &Node, on: bool) -> bool {
    let switches = ["iptables", "ip6tables"].map(|f| format!("net/bridge/bridge-nf-call-{f}"));
    let there = switches.iter().all(|switch| node.exists(&format!("/proc/sys/{switch}")));
    for switch in switches.iter().filter(|_| there) {
        node.set_sysctl(switch, if on { "1" } else { "0" });
    }
    there || !on
}

#[test]
fn ipv6_alone() {
    for on in [false, true] {
        let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
        let outside = Outside::beside(&node);
        for place in [&node as &dyn AnyPlace, &outside] {
            place.without_v4();
        }
        if !br_netfilter(&node, on) {
            continue;
        }
        let config = masquerading(&conf::v6());
        let attachment = node.attach(&config, &one);
        let result = attachment.add();
        node.attach(&config, &two).add();
        ping(&one, GATEWAY6);
        ping(&one, "fd00:1::3");
        assert_eq!(tcp_source(&one, &two, "fd00:1::3"), Ok("fd00:1::2".parse().unwrap()));
        let seen = udp_source(&one, &outside, OUTSIDE6);
        assert_eq!(seen, Ok(NODE6.parse().unwrap()), "br_netfilter {on}");
        assert_eq!(node.sysctl("net/ipv4/ip_forward"), "0", "IPv4 is none of this network's");
        assert!(one.run("ip -4 addr show dev eth0").is_empty());
        attachment.check(&result);
        attachment.del(Some(&result));
    }
}

/// A place that can lose its IPv4 addresses.
trait AnyPlace {
    fn without_v4(&self);
}

impl<P: Place> AnyPlace for P {
    fn without_v4(&self) {
        self.sh("for link in $(ls /sys/class/net); do ip -4 addr flush dev $link; done");
    }
}

#[test]
fn ipv6_that_is_off_by_default() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    for place in ["default", "all"] {
        pod.set_sysctl(&format!("net/ipv6/conf/{place}/disable_ipv6"), "1");
    }
    node.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    let config = masquerading(&conf::v6());
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    ping(&pod, GATEWAY6);
    assert_eq!(tcp_source(&pod, &outside, OUTSIDE6), Ok(NODE6.parse().unwrap()));
    attachment.check(&result);
    attachment.del(Some(&result));
    // What is IPv4 alone touches none of it.
    let other = Pod::new();
    other.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    let plain = conf::with(&conf::v4(), &json!({"name": "four", "bridge": "four0"}));
    node.attach(&plain, &other).add();
    assert_eq!(other.sysctl("net/ipv6/conf/eth0/disable_ipv6"), "1");
    assert_eq!(node.sysctl("net/ipv6/conf/four0/disable_ipv6"), "1");
}

#[test]
fn frames_between_pods_with_and_without_br_netfilter() {
    for on in [false, true] {
        let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
        if !br_netfilter(&node, on) {
            continue;
        }
        let config = masquerading(&conf::dual());
        node.attach(&config, &one).add();
        node.attach(&config, &two).add();
        for (target, own) in [("10.1.0.3", "10.1.0.2"), ("fd00:1::3", "fd00:1::2")] {
            let seen = tcp_source(&one, &two, target);
            assert_eq!(seen, Ok(own.parse().unwrap()), "br_netfilter {on}");
        }
    }
}

const DROP: &str = "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP";
/// The remedy of docs/errors.md.
const ACCEPT: &str = "for tables in iptables ip6tables; do
    $tables -I FORWARD -i cni0 -j ACCEPT
    $tables -I FORWARD -o cni0 -j ACCEPT
done";

/// An accept of ours cannot overrule another's drop: what does not pass is named, with its remedy.
#[test]
fn a_forward_chain_that_drops() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    br_netfilter(&node, false);
    node.sh(DROP);
    node.attach(&masquerading(&conf::dual()), &one).add();
    node.attach(&masquerading(&conf::dual()), &two).add();
    ping(&one, "10.1.0.1");
    ping(&one, "10.1.0.3");
    ping(&one, "fd00:1::3");
    for target in [OUTSIDE4, OUTSIDE6] {
        assert!(!first_ping(&one, target), "{target}: nothing of ours overrules the chain");
    }
    let page = fs::read_to_string(workspace().join("docs/errors.md")).unwrap();
    assert!(page.contains("the policy of FORWARD is DROP"), "docs/errors.md says why");
    node.sh(ACCEPT);
    assert_eq!(tcp_source(&one, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
    assert_eq!(tcp_source(&one, &outside, OUTSIDE6), Ok(NODE6.parse().unwrap()));
}

/// With br_netfilter the chain drops between pods too.
#[test]
fn a_forward_chain_that_drops_between_pods() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    if !br_netfilter(&node, true) {
        return;
    }
    node.sh(DROP);
    node.attach(&conf::dual(), &one).add();
    node.attach(&conf::dual(), &two).add();
    ping(&one, "10.1.0.1");
    for target in ["10.1.0.3", "fd00:1::3"] {
        assert!(!first_ping(&one, target), "{target}: nothing of ours overrules the chain");
    }
    node.sh(ACCEPT);
    // It would ask for the neighbour that it did not find again only a second later.
    one.run("ip neigh flush dev eth0");
    ping(&one, "10.1.0.3");
    ping(&one, "fd00:1::3");
}
