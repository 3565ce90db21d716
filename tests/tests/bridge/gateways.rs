//! Gateways that are not inside the pods' subnet: link-local ones, and routed single addresses.

use ferrule_tests::conf::{self, BRIDGE};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{first_ping, ping};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Outside, Pod, Snapshot, within};
use std::time::Duration;

use serde_json::{Value, json};

use crate::delegation::{add, node_with_ipam, on_path, scripted};
use crate::{address, steady};

/// A network of one range whose gateway is this one, on the bridge and the pods' default.
fn network(name: &str, subnet: &str, gateway: &str) -> Value {
    let range = json!({"subnet": subnet, "gateway": gateway});
    conf::with(
        &conf::l2(),
        &json!({"name": name, "isDefaultGateway": true,
            "ipam": {"type": "host-local", "ranges": [[range]]}}),
    )
}

/// A host outside that knows the way to pods.
fn outside(node: &Node, subnets: &[&str]) -> Outside {
    let outside = Outside::beside(node);
    for subnet in subnets {
        let node = if subnet.contains(':') { NODE6 } else { NODE4 };
        outside.run(&format!("ip route add {subnet} via {node}"));
    }
    outside
}

#[test]
fn a_link_local_gateway_leads_out_and_back() {
    let (node, one, two, three) = (Node::new(), Pod::new(), Pod::new(), Pod::new());
    let outside = outside(&node, &["fd00:9::/64", "fd00:8::/64"]);
    let nine = network("nine", "fd00:9::/64", "fe80::1");
    let first = node.attach(&nine, &one);
    let result = first.add();
    ping(&one, OUTSIDE6);
    ping(&one, "fe80::1%eth0");
    ping(&outside, &address(&result, 0));
    // A second pod, and a second network on the same bridge with the same gateway.
    let second = node.attach(&nine, &two).add();
    let other = node.attach(&network("eight", "fd00:8::/64", "fe80::1"), &three).add();
    for (pod, other) in [(&one, &second), (&two, &other), (&three, &result)] {
        ping(pod, OUTSIDE6);
        ping(pod, &address(other, 0));
        ping(&node, &address(other, 0));
    }
    assert!(node.run(&format!("ip -6 addr show {BRIDGE}")).contains("inet6 fe80::1/64"));
    first.check(&result);
    first.del(Some(&result));
    ping(&outside, &address(&second, 0));
}

#[test]
fn check_sees_that_the_bridges_route_to_the_pods_is_gone() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&network("nine", "fd00:9::/64", "fe80::1"), &pod);
    let result = attachment.add();
    attachment.check(&result);
    node.run("ip route del fd00:9::/64 dev cni0");
    let error = attachment.try_check(&result).err();
    assert!(error.text().contains("route to fd00:9::/64 of cni0"), "{error:?}");
}

#[test]
fn a_gateway_outside_the_subnet_is_served_by_the_bridge() {
    for (subnet, gateway, held, beyond) in [
        ("10.9.0.0/24", "10.8.0.1", "10.8.0.1/32", OUTSIDE4),
        ("2001:db8:5:333::/64", "2001:db8:5::1", "2001:db8:5::1/128", OUTSIDE6),
    ] {
        let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
        let outside = outside(&node, &[subnet]);
        let attachment = node.attach(&network("pods", subnet, gateway), &one);
        let result = attachment.add();
        let second = node.attach(&network("pods", subnet, gateway), &two).add();
        ping(&one, beyond);
        ping(&one, gateway);
        ping(&one, &address(&second, 0));
        ping(&node, &address(&second, 0));
        ping(&outside, &address(&second, 0));
        assert_eq!(node.addresses(BRIDGE), [held]);
        attachment.check(&result);
        attachment.del(Some(&result));
        ping(&two, beyond);
    }
}

/// The gateway is a router on the segment, not the node.
#[test]
fn a_gateway_outside_the_subnet_is_asked_for_on_the_link() {
    for (subnet, gateway, long) in [
        ("10.9.0.0/24", "10.8.0.1", "32"),
        ("2001:db8:5:333::/64", "2001:db8:5::1", "128"),
        ("2001:db8:5:444::/64", "fe80::5", "64"),
    ] {
        let (node, pod, router) = (Node::new(), Pod::new(), Pod::new());
        let far = if gateway.contains('.') { "203.0.113.9" } else { "2001:db8:9::9" };
        let any = if gateway.contains('.') { "0.0.0.0/0" } else { "::/0" };
        let nodad = if gateway.contains(':') { "nodad" } else { "" };
        // `far` is reached by a gw of its own, which no subnet holds either.
        let range = json!({"subnet": subnet, "gateway": gateway});
        let routes = json!([{"dst": any}, {"dst": far_net(far), "gw": gateway}]);
        let config = conf::with(
            &conf::l2(),
            &json!({"ipam": {"type": "host-local", "ranges": [[range]], "routes": routes}}),
        );
        let attachment = node.attach(&config, &pod);
        let result = attachment.add();
        node.attach(&conf::with(&conf::l2(), &json!({"name": "routers"})), &router).add();
        router.sh(&format!(
            "ip addr add {gateway}/{long} dev eth0 {nodad}; ip addr add {far} dev lo {nodad}
             ip route add {subnet} dev eth0"
        ));
        // The router's kernel joins the groups of its IPv6 addresses in its own time.
        let reached = within(Duration::from_secs(5), || first_ping(&pod, far).then_some(()));
        reached.unwrap_or_else(|| ping(&pod, far));
        attachment.check(&result);
        attachment.del(Some(&result));
    }
}

fn far_net(far: &str) -> String {
    format!("{far}/{}", if far.contains('.') { 32 } else { 128 })
}

/// What routed hosts of one address each get from their IPAM: nothing stays of them.
#[test]
fn the_route_to_a_single_address_goes_with_its_pod() {
    for (pod_address, gateway, beyond) in
        [("203.0.113.5/32", "169.254.7.1", OUTSIDE4), ("2001:db8:7::5/128", "fe80::1", OUTSIDE6)]
    {
        let any = if gateway.contains('.') { "0.0.0.0/0" } else { "::/0" };
        let answer = json!({"cniVersion": conf::version(), "routes": [{"dst": any}],
            "ips": [{"address": pod_address, "gateway": gateway}]});
        let node = node_with_ipam(&answer.to_string(), 0);
        let outside = outside(&node, &[pod_address]);
        let before = Snapshot::of(&node);
        for repeated in [false, true] {
            let pod = Pod::new();
            let attachment = node.attach(&scripted(), &pod);
            let result = add(&node, &attachment).ok();
            ping(&pod, beyond);
            ping(&outside, &address(&result, 0));
            on_path(attachment.call("CHECK", Some(&result))).run(&node).ok();
            if repeated {
                let list = json!({"cni.dev/valid-attachments": []});
                on_path(attachment.with(&list).call("GC", None)).run(&node).ok();
            } else {
                on_path(attachment.call("DEL", None).without("CNI_NETNS")).run(&node).ok();
            }
            let routes = node.sh("ip route; ip -6 route");
            assert!(!routes.contains(&address(&result, 0)), "{routes}");
        }
        node.sh("rm -f /run/ipam.calls /run/ipam.stdin.* /run/ipam.env.*");
        assert_same(&steady(before), &steady(Snapshot::of(&node)));
    }
}

#[test]
fn a_pods_subnet_that_another_link_holds_is_a_conflict() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add other type bridge; ip link set other up
             ip route add fd00:9::/64 dev other");
    let attachment = node.attach(&network("nine", "fd00:9::/64", "fe80::1"), &pod);
    let error = attachment.try_add().err();
    error.expect(103, "fd00:9::/64");
    assert!(error.text().contains("other"), "{error:?}");
    assert!(pod.links().is_empty() && node.leases_of("nine").is_empty());
}
