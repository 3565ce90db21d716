//! Forwarding where new links do not inherit it, and where it is switched off.

use ferrule_tests::conf::{self, BRIDGE};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Outside, Pod};
use serde_json::json;

/// A node that forwards, but whose new links do not; and a host outside that knows the way back.
fn hardened() -> (Node, Outside) {
    let node = Node::new();
    let outside = Outside::beside(&node);
    outside.run(&format!("ip route add 10.1.0.0/24 via {NODE4}"));
    outside.run(&format!("ip route add fd00:1::/64 via {NODE6}"));
    for (family, all) in [("ipv4", "net/ipv4/ip_forward"), ("ipv6", "net/ipv6/conf/all/forwarding")]
    {
        node.set_sysctl(all, "1");
        node.set_sysctl(&format!("net/{family}/conf/default/forwarding"), "0");
    }
    (node, outside)
}

#[test]
fn pods_reach_the_outside_though_new_links_do_not_forward() {
    let (node, outside) = hardened();
    let pod = Pod::new();
    let attachment = node.attach(&conf::dual(), &pod);
    let result = attachment.add();
    for address in [OUTSIDE4, OUTSIDE6] {
        ping(&pod, address);
    }
    for address in ["10.1.0.2", "fd00:1::2"] {
        ping(&outside, address);
    }
    attachment.check(&result);
    attachment.status().ok();
    assert_eq!(node.sysctl("net/ipv4/conf/default/forwarding"), "0", "not ours to change");
}

#[test]
fn check_and_status_see_that_forwarding_is_off() {
    let (node, _outside) = hardened();
    let pod = Pod::new();
    let attachment = node.attach(&conf::dual(), &pod);
    let result = attachment.add();
    for (switch, name) in [
        ("net/ipv4/ip_forward".to_owned(), "IPv4 forwarding"),
        ("net/ipv6/conf/all/forwarding".to_owned(), "IPv6 forwarding"),
        (format!("net/ipv4/conf/{BRIDGE}/forwarding"), "ipv4/conf/cni0/forwarding"),
        (format!("net/ipv6/conf/{BRIDGE}/forwarding"), "ipv6/conf/cni0/forwarding"),
    ] {
        node.set_sysctl(&switch, "0");
        let error = attachment.try_check(&result).err();
        assert!(error.text().contains(name), "{error:?}");
        let status = attachment.status().err();
        status.expect(51, "the node does not forward what its pods send");
        assert!(status.text().contains(name), "{status:?}");
        node.set_sysctl(&switch, "1");
        for family in ["ipv4", "ipv6"] {
            node.set_sysctl(&format!("net/{family}/conf/{BRIDGE}/forwarding"), "1");
        }
        attachment.status().ok();
        attachment.check(&result);
    }
}

/// ADD switches it on: a node without pods is ready, and so is a network that needs none of it.
#[test]
fn status_asks_for_no_forwarding_that_no_pod_needs() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::dual(), &pod);
    attachment.status().ok();
    let bridged = node.attach(&conf::with(&conf::l2(), &json!({"name": "l2"})), &pod);
    bridged.add();
    bridged.status().ok();
    attachment.status().ok();
}
