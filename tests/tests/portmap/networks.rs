//! Behind the other main plugins, and with firewalls.

use ferrule_tests::bins::workspace;
use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::{Node, Outside, Pod, conf};
use serde_json::{Value, json};

use crate::{Mapped, at, ip, port, portmap, refused, rules, tcp, unreachable};

fn bgp() -> Value {
    json!({"cniVersion": conf::version(), "name": "pods", "type": "bgp", "ipMasq": true,
        "ipam": {"type": "host-local",
            "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]}})
}

#[test]
fn a_routed_pod_has_host_ports() {
    let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&bgp(), &other).add();
    let mapped = Mapped::add(&node, &pod, &bgp(), &portmap(&json!([port(8080, 80, "tcp")])));
    let own = |v4| mapped.address(v4);
    for (to, from) in [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)] {
        assert_eq!(tcp(&outside, &at(to, 8080), &pod, 80), Ok(ip(from)));
        assert_eq!(tcp(&node, &at(to, 8080), &pod, 80), Ok(ip(to)));
    }
    assert_eq!(tcp(&node, "127.0.0.1:8080", &pod, 80), Ok(ip(NODE4)));
    refused(&node, "[::1]:8080");
    for to in [NODE4, NODE6] {
        let hairpin = tcp(&pod, &at(to, 8080), &pod, 80);
        assert!(hairpin.is_ok(), "{to}: {hairpin:?}");
        let neighbour = tcp(&other, &at(to, 8080), &pod, 80);
        assert!(neighbour.is_ok(), "{to}: {neighbour:?}");
    }
    assert_ne!(own(true), own(false));
    let listed = rules(&node);
    mapped.try_ports("CHECK").ok();
    mapped.try_ports("DEL").ok();
    assert!(!listed.is_empty());
    assert_eq!(rules(&node), "");
}

/// The link of a routed pod is its own: what guards it goes with it, while others have host ports.
#[test]
fn what_guards_a_routed_pods_link_goes_with_it() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let add =
        |pod, host| Mapped::add(&node, pod, &bgp(), &portmap(&json!([port(host, 80, "tcp")])));
    let (first, second) = (add(&one, 8080), add(&two, 8081));
    let links = || node.run("nft list set inet ferrule hostport-links").matches("veth").count();
    assert_eq!(links(), 2);
    first.try_ports("DEL").ok();
    assert_eq!(links(), 1);
    // Without its record, and after its link went.
    second.main.del(None);
    node.sh("rm -f /run/ferrule/attachments/portmap-*");
    first.add_ports();
    assert_eq!(links(), 2);
    second.ports.del(None);
    assert_eq!(links(), 1);
    first.try_ports("CHECK").ok();
}

/// The configuration to copy, as a runtime runs it.
#[test]
fn the_example_works() {
    let list = workspace().join("conf/10-bridge-hostports.conflist");
    let list: Value = serde_json::from_str(&std::fs::read_to_string(list).unwrap()).unwrap();
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    let of = |nth: usize| {
        with(&list["plugins"][nth], &json!({"cniVersion": "1.1.0", "name": list["name"]}))
    };
    let ports = json!({"runtimeConfig": {"portMappings": [port(8080, 80, "tcp")]}});
    let mapped = Mapped::add(&node, &pod, &of(0), &with(&of(1), &ports));
    for (to, from) in [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)] {
        assert_eq!(tcp(&outside, &at(to, 8080), &pod, 80), Ok(ip(from)));
        assert!(tcp(&pod, &at(to, 8080), &pod, 80).is_ok(), "with br_netfilter on");
    }
    mapped.try_ports("DEL").ok();
    assert_eq!(rules(&node), "");
}

/// A pod where nothing listens refuses by itself; a firewall in `forward` drops.
#[test]
fn a_firewall_in_forward_decides_about_what_was_translated() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    Mapped::add(&node, &pod, &conf::v4(), &portmap(&json!([port(8080, 80, "tcp")])));
    refused(&outside, &at(NODE4, 8080));
    node.run("iptables -P FORWARD DROP");
    unreachable(&outside, &at(NODE4, 8080));
    node.run("iptables -A FORWARD -m conntrack --ctstate DNAT -j ACCEPT");
    node.run("iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    assert_eq!(tcp(&outside, &at(NODE4, 8080), &pod, 80), Ok(ip(OUTSIDE4)));
}
