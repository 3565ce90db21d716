//! ipMasq as packets show it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{
    Flow, multicast_source, multicast_source6, ping, tcp_source, udp_source,
};
use ferrule_tests::reset;
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

/// NAT does not see what conntrack calls invalid: it would leave with the pod's address.
#[test]
fn what_conntrack_calls_invalid_does_not_leave_with_the_pods_address() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    let result = node.attach(&masquerading(), &pod).add();
    for (own, address) in addresses(&result).iter().zip([OUTSIDE4, OUTSIDE6]) {
        ping(&pod, address);
        assert!(!reset::arrives(&pod, own, (&outside, "eth0"), address), "{own} to {address}");
    }
}

/// Frames from pod to pod pass the same hook on a node with br_netfilter.
#[test]
fn what_conntrack_calls_invalid_reaches_the_own_subnet() {
    let (node, one, two) = (node_with_br_netfilter(), Pod::new(), Pod::new());
    let from = addresses(&node.attach(&masquerading(), &one).add());
    let to = addresses(&node.attach(&masquerading(), &two).add());
    for (own, address) in from.iter().zip(&to) {
        ping(&one, address);
        assert!(reset::arrives(&one, own, (&two, "eth0"), address), "{own} to {address}");
    }
}

#[test]
fn invalid_packets_of_pods_that_are_not_masqueraded_pass() {
    let (node, masqueraded, plain) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&masquerading(), &masqueraded).add();
    let own = addresses(&node.attach(&conf::dual(), &plain).add());
    outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    outside.run(&format!("ip route add fd00:1::/64 via {NODE6}"));
    for (own, address) in own.iter().zip([OUTSIDE4, OUTSIDE6]) {
        ping(&plain, address);
        assert!(reset::arrives(&plain, own, (&outside, "eth0"), address), "{own} to {address}");
    }
}

/// A neighbour that knows the way to the pods and sees their own addresses, and a second address
/// of it in another network, which does not.
#[test]
fn excluded_networks_see_the_pods_own_address() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    outside.sh(&format!(
        "ip addr add 203.0.113.2/24 dev eth0; ip -6 addr add 2001:db8:eeee::2/64 dev eth0 nodad
         ip route add 10.1.0.0/24 via {NODE4}; ip route add fd00:1::/64 via {NODE6}"
    ));
    node.sh(&format!(
        "ip route add 203.0.113.0/24 via {OUTSIDE4}; ip route add 2001:db8:eeee::/64 via {OUTSIDE6}"
    ));
    let exclude =
        json!({"ipMasqExclude": ["203.0.113.0/24", "2001:db8:eeee::/64", "192.0.2.0/24"]});
    let attachment = node.attach(&masquerading(), &pod).with(&exclude);
    let result = attachment.add();
    let excluded = ["203.0.113.2", "2001:db8:eeee::2"];
    let own = addresses(&result);
    for ((own, to), node) in own.iter().zip(excluded).zip([(OUTSIDE4, NODE4), (OUTSIDE6, NODE6)]) {
        assert_eq!(tcp_source(&pod, &outside, to), ip(own));
        assert_eq!(udp_source(&pod, &outside, to), ip(own));
        assert!(reset::arrives(&pod, own, (&outside, "eth0"), to), "invalid to {to}");
        let (masqueraded_to, node) = node;
        assert_eq!(tcp_source(&pod, &outside, masqueraded_to), ip(node));
        assert!(!reset::arrives(&pod, own, (&outside, "eth0"), masqueraded_to), "{masqueraded_to}");
    }
    attachment.check(&result);
    attachment.del(Some(&result));
    assert_eq!(node.run("nft list ruleset"), "");
}

/// Two networks of one subnet and one node, each with a list of its own.
#[test]
fn excluded_networks_are_those_of_the_pods_own_network() {
    let (node, with, without) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    let of = |name: &str, first: &str, last: &str, keys: Value| {
        let ranges = json!([[{"subnet": "10.1.0.0/24", "rangeStart": first, "rangeEnd": last}]]);
        let ipam = json!({"ipam": {"type": "host-local", "ranges": ranges,
                                   "routes": [{"dst": "0.0.0.0/0"}]}, "name": name});
        conf::with(&conf::with(&masquerading(), &ipam), &keys)
    };
    let excluding =
        of("one", "10.1.0.10", "10.1.0.19", json!({"ipMasqExclude": ["198.51.100.0/24"]}));
    let plain = of("two", "10.1.0.20", "10.1.0.29", json!({}));
    let (first, second) = (node.attach(&excluding, &with), node.attach(&plain, &without));
    let (of_first, of_second) = (first.add(), second.add());
    assert_eq!(tcp_source(&with, &outside, OUTSIDE4), ip("10.1.0.10"));
    assert_eq!(tcp_source(&without, &outside, OUTSIDE4), ip(NODE4));
    first.del(Some(&of_first));
    assert_eq!(tcp_source(&without, &outside, OUTSIDE4), ip(NODE4));
    second.check(&of_second);
    second.del(Some(&of_second));
    assert_eq!(node.run("nft list ruleset"), "");
}

#[test]
fn check_sees_what_is_done_to_the_exceptions_and_to_the_drop() {
    let (node, pod) = (Node::new(), Pod::new());
    let keys = json!({"ipMasqExclude": ["198.51.100.0/24"]});
    let attachment = node.attach(&masquerading(), &pod).with(&keys);
    let result = attachment.add();
    attachment.check(&result);
    let saved = node.run("nft list ruleset");
    let exclude = "set=$(nft list table inet ferrule | grep -o -m1 'exclude-[0-9a-f]*')";
    let changes = [
        format!("{exclude}; nft add element inet ferrule $set '{{ 192.0.2.0/24 }}'"),
        format!("{exclude}; nft flush set inet ferrule $set"),
        "nft flush map inet ferrule invalid6".to_owned(),
        "nft flush chain inet ferrule drop-invalid".to_owned(),
        "nft delete chain inet ferrule drop-invalid".to_owned(),
        "nft insert rule inet ferrule drop-invalid accept".to_owned(),
    ];
    for change in changes {
        node.sh(&change);
        attachment.try_check(&result).err().expect(101, "table inet ferrule");
        node.sh(&format!("nft flush ruleset; nft -f - <<'E'\n{saved}\nE"));
        attachment.check(&result);
    }
}

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
