//! ipMasq as packets show it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{
    Flow, multicast_source, multicast_source6, ping, tcp_source, udp_source,
};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Outside, Pod, Snapshot};
use serde_json::{Value, json};

fn masquerading() -> Value {
    conf::with(&conf::dual(), &json!({"ipMasq": true}))
}

fn ip(text: &str) -> Result<IpAddr, String> {
    Ok(text.parse().unwrap())
}

/// Frames between ports pass the IP hooks too, as on every Kubernetes node.
fn node_with_br_netfilter() -> Node {
    let node = Node::new();
    for family in ["iptables", "ip6tables"] {
        let switch = format!("net/bridge/bridge-nf-call-{family}");
        if node.exists(&format!("/proc/sys/{switch}")) {
            node.set_sysctl(&switch, "1");
        }
    }
    node
}

#[test]
fn what_leaves_the_node_carries_its_address() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&masquerading(), &pod).add();
    ping(&pod, OUTSIDE4);
    ping(&pod, OUTSIDE6);
    assert_eq!(tcp_source(&pod, &outside, OUTSIDE4), ip(NODE4));
    assert_eq!(udp_source(&pod, &outside, OUTSIDE4), ip(NODE4));
    assert_eq!(tcp_source(&pod, &outside, OUTSIDE6), ip(NODE6));
    assert_eq!(udp_source(&pod, &outside, OUTSIDE6), ip(NODE6));
}

#[test]
fn without_it_pods_keep_their_address() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&conf::dual(), &pod).add();
    assert!(tcp_source(&pod, &outside, OUTSIDE4).is_err(), "the outside knows no way back");
    outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    outside.run(&format!("ip route add fd00:1::/64 via {NODE6}"));
    assert_eq!(tcp_source(&pod, &outside, OUTSIDE4), ip("10.1.0.2"));
    assert_eq!(tcp_source(&pod, &outside, OUTSIDE6), ip("fd00:1::2"));
}

#[test]
fn the_own_subnet_is_never_masqueraded() {
    let (node, one, two) = (node_with_br_netfilter(), Pod::new(), Pod::new());
    node.attach(&masquerading(), &one).add();
    node.attach(&masquerading(), &two).add();
    assert_eq!(tcp_source(&one, &two, "10.1.0.3"), ip("10.1.0.2"));
    assert_eq!(udp_source(&one, &two, "10.1.0.3"), ip("10.1.0.2"));
    assert_eq!(tcp_source(&two, &one, "fd00:1::2"), ip("fd00:1::3"));
    assert_eq!(tcp_source(&one, &node, GATEWAY4), ip("10.1.0.2"));
}

#[test]
fn multicast_is_never_masqueraded() {
    let (node, one, two) = (node_with_br_netfilter(), Pod::new(), Pod::new());
    node.attach(&masquerading(), &one).add();
    node.attach(&masquerading(), &two).add();
    let (first, second) = (Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 1, 0, 3));
    let seen = multicast_source((&one, first), (&two, second), Ipv4Addr::new(239, 1, 2, 3));
    assert_eq!(seen, ip("10.1.0.2"));
    let index =
        |pod: &Pod| u32::try_from(pod.link("eth0").unwrap()["ifindex"].as_u64().unwrap()).unwrap();
    let group: Ipv6Addr = "ff08::1234".parse().unwrap();
    let seen = multicast_source6((&one, index(&one)), (&two, index(&two)), group);
    assert_eq!(seen, ip("fd00:1::2"));
}

#[test]
fn it_goes_with_its_pod_and_with_no_other() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    let before = Snapshot::of(&node);
    let (leaving, staying) =
        (node.attach(&masquerading(), &one), node.attach(&masquerading(), &two));
    let (gone, kept) = (leaving.add(), staying.add());
    let mut flow = Flow::open(&two, &outside, OUTSIDE4).unwrap();
    leaving.del(Some(&gone));
    flow.turn().expect("a neighbour's flow survives DEL");
    assert_eq!(tcp_source(&two, &outside, OUTSIDE4), ip(NODE4));
    assert_eq!(tcp_source(&two, &outside, OUTSIDE6), ip(NODE6));
    staying.check(&kept);
    staying.del(Some(&kept));
    let bare = |snapshot: Snapshot| snapshot.without_first_use("cni0");
    assert_same(&bare(before), &bare(Snapshot::of(&node)));
}

/// An address leased again by a network that does not masquerade is not masqueraded.
#[test]
fn it_does_not_stick_to_an_address() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    let attachment = node.attach(&masquerading(), &one);
    let result = attachment.add();
    attachment.del(Some(&result));
    let plain = json!({"runtimeConfig": {"ips": ["10.1.0.2"]}});
    node.attach(&conf::with(&conf::dual(), &plain), &two).add();
    assert_eq!(tcp_source(&two, &outside, OUTSIDE4), ip("10.1.0.2"));
}

#[test]
fn every_backend_name_is_accepted() {
    for backend in ["", "auto", "nftables", "iptables"] {
        let (node, pod) = (Node::new(), Pod::new());
        let outside = Outside::beside(&node);
        let keys = json!({"ipMasqBackend": backend});
        let attachment = node.attach(&masquerading(), &pod).with(&keys);
        let outcome = attachment.try_add();
        let result = outcome.ok();
        assert_eq!(tcp_source(&pod, &outside, OUTSIDE4), ip(NODE4), "backend `{backend}`");
        if backend == "iptables" {
            assert!(outcome.stderr.contains("nftables"), "a warning: {:?}", outcome.stderr);
        }
        attachment.check(&result);
        attachment.del(Some(&result));
    }
}

/// However many pods, the ruleset stays as long as with one; only elements come.
#[test]
fn rules_do_not_grow_with_pods() {
    let node = Node::new();
    let rules = || {
        let listed = node.run("nft -j list ruleset");
        listed.matches("{\"rule\":").count()
    };
    let pods: Vec<Pod> = (0..6).map(|_| Pod::new()).collect();
    let mut counts = vec![];
    for pod in &pods {
        node.attach(&masquerading(), pod).add();
        counts.push(rules());
    }
    assert!(counts.iter().all(|count| *count == counts[0] && *count > 0), "{counts:?}");
}

/// What an administrator wrote stays, before, while and after.
#[test]
fn foreign_rules_stay() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("nft add table inet mine; nft add chain inet mine c
        nft add rule inet mine c ip saddr 10.1.0.2 counter accept
        nft add table ip nat; nft add chain ip nat POSTROUTING '{ type nat hook postrouting priority 100; }'
        nft add rule ip nat POSTROUTING ip saddr 10.1.0.2 accept");
    let mine = || node.run("nft -s list table inet mine") + &node.run("nft -s list table ip nat");
    let before = mine();
    let attachment = node.attach(&masquerading(), &pod);
    let result = attachment.add();
    assert_eq!(mine(), before);
    attachment.del(Some(&result));
    assert_eq!(mine(), before);
}
