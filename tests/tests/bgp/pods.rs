//! What pods get, and that it carries packets: from the first on, on a node with no bridge.

use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{no_ping, ping, tcp_source, udp_source};
use ferrule_tests::{Node, Outside, Pod};
use serde_json::{Value, json};

use crate::{GATEWAY4, GATEWAY6, address, dual, full, veth};

fn v4() -> Value {
    ferrule_tests::conf::with(&dual(), &json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}]]}}))
}

fn v6() -> Value {
    ferrule_tests::conf::with(&dual(), &json!({"ipam": {"ranges": [[{"subnet": "fd00:1::/64"}]]}}))
}

#[test]
fn pods_reach_node_and_neighbours_with_their_first_packet() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let first = node.attach(&dual(), &one).add();
    let second = node.attach(&dual(), &two).add();
    assert_eq!((address(&first, 0), address(&second, 0)), ("10.1.0.2".into(), "10.1.0.3".into()));
    assert_eq!((address(&first, 1), address(&second, 1)), ("fd00:1::2".into(), "fd00:1::3".into()));
    for to in ["10.1.0.3", "fd00:1::3"] {
        ping(&one, to);
        ping(&node, to);
    }
    ping(&two, GATEWAY4);
    ping(&two, &format!("{GATEWAY6}%eth0"));
    for (to, from) in [("10.1.0.2", "10.1.0.3"), ("fd00:1::2", "fd00:1::3")] {
        assert_eq!(tcp_source(&two, &one, to), Ok(from.parse().unwrap()));
        assert_eq!(udp_source(&two, &one, to), Ok(from.parse().unwrap()));
    }
    assert_eq!(udp_source(&one, &node, GATEWAY4), Ok("10.1.0.2".parse().unwrap()));
}

/// A node without addresses of its own: nothing but the pods' is needed.
#[test]
fn one_family_needs_nothing_of_the_other() {
    for (config, to) in [(v4(), "10.1.0.3"), (v6(), "fd00:1::3")] {
        let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
        let attachment = node.attach(&config, &one);
        let result = attachment.add();
        node.attach(&config, &two).add();
        ping(&one, to);
        ping(&node, to);
        attachment.check(&result);
        let switch =
            if to.contains(':') { "net/ipv4/ip_forward" } else { "net/ipv6/conf/all/forwarding" };
        assert_eq!(node.sysctl(switch), "0", "no pod needs it");
    }
}

#[test]
fn a_pod_has_addresses_alone_and_a_gateway_that_is_its_own() {
    let (node, pod) = (Node::new(), Pod::new());
    let result = node.attach(&dual(), &pod).add();
    assert_eq!(pod.addresses("eth0"), ["10.1.0.2/32", "fd00:1::2/128"]);
    assert_eq!(pod.run("ip -4 route").trim(), format!("default via {GATEWAY4} dev eth0 onlink"));
    let six = pod.run("ip -6 route show default");
    assert!(six.starts_with(&format!("default via {GATEWAY6} dev eth0 ")), "{six}");
    let mac = result["interfaces"][0]["mac"].as_str().unwrap();
    let known = pod.run("ip neigh");
    for gateway in [GATEWAY4, GATEWAY6] {
        assert!(known.contains(&format!("{gateway} dev eth0 lladdr {mac} PERMANENT")), "{known}");
    }
    assert!(node.links().iter().all(|link| link == veth(&result)), "no bridge: {:?}", node.links());
    let routes = node.run("ip route show proto 117") + &node.run("ip -6 route show proto 117");
    let wanted = [format!("10.1.0.2 dev {} scope link", veth(&result)), "fd00:1::2 dev".to_owned()];
    assert!(wanted.iter().all(|part| routes.contains(part)), "{routes}");
    assert_eq!(routes.lines().count(), 2, "{routes}");
}

/// ARP and neighbour discovery work too, for those who flush what was set.
#[test]
fn a_pod_that_forgot_its_gateway_finds_it_again() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    node.attach(&dual(), &one).add();
    node.attach(&dual(), &two).add();
    for strict in ["0", "1"] {
        // As kube-proxy sets it with IPVS.
        node.set_sysctl("net/ipv4/conf/all/arp_ignore", strict);
        one.sh("ip neigh flush dev eth0 nud permanent; ip -6 neigh flush dev eth0 nud permanent");
        node.sh(
            "ip neigh flush nud stale nud reachable; ip -6 neigh flush nud stale nud reachable",
        );
        for to in ["10.1.0.3", "fd00:1::3", GATEWAY4] {
            ping(&one, to);
        }
    }
}

#[test]
fn egress_is_masqueraded_where_that_is_asked_for() {
    let (node, pod, plain) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&full(), &pod).add();
    node.attach(&dual(), &plain).add();
    for (to, seen) in [(OUTSIDE4, NODE4), (OUTSIDE6, NODE6)] {
        assert_eq!(tcp_source(&pod, &outside, to), Ok(seen.parse().unwrap()));
        assert_eq!(udp_source(&pod, &outside, to), Ok(seen.parse().unwrap()));
        no_ping(&plain, to);
    }
    for (to, seen) in [("10.1.0.3", "10.1.0.2"), ("fd00:1::3", "fd00:1::2")] {
        assert_eq!(tcp_source(&pod, &plain, to), Ok(seen.parse().unwrap()), "pods see each other");
    }
    outside
        .sh(&format!("ip route add 10.1.0.0/24 via {NODE4}; ip route add fd00:1::/64 via {NODE6}"));
    for (to, seen) in [(OUTSIDE4, "10.1.0.3"), (OUTSIDE6, "fd00:1::3")] {
        assert_eq!(tcp_source(&plain, &outside, to), Ok(seen.parse().unwrap()));
        ping(&outside, seen);
    }
}

/// A chain for each subnet, not for each pod, although each pod's address stands alone.
#[test]
fn masquerading_costs_no_chain_for_each_pod() {
    let node = Node::new();
    let pods: Vec<Pod> = (0..4).map(|_| Pod::new()).collect();
    for pod in &pods {
        node.attach(&full(), pod).add();
    }
    let chains = node.sh("nft list chains inet | grep -c 'chain masq-'");
    assert_eq!(chains.trim(), "2", "one of each family");
}

/// The second names its routes, and so leaves the first the rest: what a pod sends by one link from
/// the address of another is not let in.
#[test]
fn a_pod_may_be_on_two_networks() {
    let (node, pod, other, third) = (Node::new(), Pod::new(), Pod::new(), Pod::new());
    let second = json!({"name": "second", "ipam": {
        "ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]],
        "routes": [{"dst": "10.2.0.0/16"}, {"dst": "fd00:2::/32"}]}});
    let first = node.attach(&dual(), &pod);
    let net1 = node.attach(&dual(), &pod).with(&second).ifname("net1");
    let (one, two) = (first.add(), net1.add());
    node.attach(&dual(), &other).add();
    node.attach(&dual(), &third).with(&second).add();
    for to in ["10.1.0.3", "fd00:1::3", "10.2.0.3", "fd00:2::3"] {
        ping(&pod, to);
    }
    for (from, to) in [(&other, ["10.1.0.2", "fd00:1::2"]), (&third, ["10.2.0.2", "fd00:2::2"])] {
        to.iter().for_each(|to| ping(from, to));
    }
    first.check(&one);
    net1.check(&two);
    net1.del(Some(&two));
    assert_eq!(pod.links(), ["eth0"]);
    ping(&pod, "10.1.0.3");
    first.check(&one);
}

/// Beside pods of a bridge.
#[test]
fn pods_of_a_bridge_on_the_same_node_are_reached() {
    let (node, routed, bridged) = (Node::new(), Pod::new(), Pod::new());
    let other = ferrule_tests::conf::dual();
    let other = ferrule_tests::conf::with(
        &other,
        &json!({"name": "bridged", "ipam": {"ranges":
        [[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]}}),
    );
    node.attach(&dual(), &routed).add();
    node.attach(&other, &bridged).add();
    for to in ["10.2.0.2", "fd00:2::2"] {
        ping(&routed, to);
    }
    assert_eq!(tcp_source(&bridged, &routed, "10.1.0.2"), Ok("10.2.0.2".parse().unwrap()));
}

#[test]
fn a_mac_address_may_be_asked_for() {
    let (node, pod) = (Node::new(), Pod::new());
    let mac = json!({"runtimeConfig": {"mac": "02:00:00:00:00:07"}});
    let attachment = node.attach(&dual(), &pod).with(&mac);
    let result = attachment.add();
    assert_eq!(result["interfaces"][1]["mac"], "02:00:00:00:00:07");
    ping(&node, "10.1.0.2");
    ping(&node, "fd00:1::2");
    attachment.check(&result);
}

/// Nodes whose distribution switches IPv6 off for new devices, or makes them forward only by name.
#[test]
fn what_new_devices_inherit_does_not_matter() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    for key in ["disable_ipv6", "addr_gen_mode"] {
        node.set_sysctl(&format!("net/ipv6/conf/default/{key}"), "1");
    }
    node.set_sysctl("net/ipv4/conf/default/rp_filter", "2");
    one.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
    let attachment = node.attach(&dual(), &one);
    let result = attachment.add();
    node.attach(&dual(), &two).add();
    ping(&one, "10.1.0.3");
    ping(&one, "fd00:1::3");
    attachment.check(&result);
}

/// The MTU of the link that the default route is by, where no daemon says another.
#[test]
fn the_mtu_is_the_underlays() {
    let node = Node::new();
    let outside = Outside::beside(&node);
    node.sh(&format!("ip link set uplink0 mtu 1400; ip route add default via {OUTSIDE4}"));
    for (keys, wanted) in [(json!({}), 1400), (json!({"mtu": 1300}), 1300)] {
        let pod = Pod::new();
        let attachment = node.attach(&dual(), &pod).with(&keys);
        let result = attachment.add();
        assert_eq!(pod.link("eth0").unwrap()["mtu"], wanted);
        assert_eq!(node.link(veth(&result)).unwrap()["mtu"], wanted);
        attachment.check(&result);
        // A pod that was there before keeps what it has.
        node.sh("ip link set uplink0 mtu 1450");
        attachment.check(&result);
        node.sh("ip link set uplink0 mtu 1400");
    }
    drop(outside);
}
