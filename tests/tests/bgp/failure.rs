//! An ADD that fails leaves nothing, and does no harm to what lives.

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::{address, dual, full, steady, veth};

/// ADD fails with this; the node and the pod are as they were; once mended, ADD succeeds.
#[track_caller]
fn fails_clean(config: &Value, node: &Node, mend: impl FnOnce(&Pod), wanted: (u64, &str)) {
    let pod = Pod::new();
    fails_clean_in(&pod, config, node, || mend(&pod), wanted);
}

#[track_caller]
fn fails_clean_in(
    pod: &Pod,
    config: &Value,
    node: &Node,
    mend: impl FnOnce(),
    (code, text): (u64, &str),
) {
    let (before, pod_before) = (steady(node), pod.run("ip -o addr"));
    let error = node.attach(config, pod).try_add().err();
    error.expect(code, text);
    let difference = before.difference(&steady(node));
    assert!(difference.is_empty(), "{error:?} left:\n{difference}");
    assert_eq!(pod.run("ip -o addr"), pod_before, "{error:?} changed the pod");
    mend();
    let attachment = node.attach(&full(), pod);
    let result = attachment.add();
    ping(node, &address(&result, 0));
    ping(node, &address(&result, 1));
    attachment.check(&result);
}

#[test]
fn an_exhausted_second_family_gives_the_first_back() {
    let (node, one) = (Node::new(), Pod::new());
    let ranges = json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}],
        [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::5", "rangeEnd": "fd00:1::5"}]]}});
    let config = with(&full(), &ranges);
    let first = node.attach(&config, &one);
    let result = first.add();
    fails_clean(&config, &node, |_| first.del(Some(&result)), (102, "no IP addresses available"));
}

#[test]
fn an_interface_that_is_there_already() {
    let (node, pod) = (Node::new(), Pod::new());
    pod.run("ip link add eth0 type veth peer name eth9");
    let mend = || drop(pod.run("ip link del eth0"));
    fails_clean_in(&pod, &full(), &node, mend, (103, "container veth name (\"eth0\")"));
}

/// Found out after everything but the rules.
#[test]
fn a_route_of_the_hosts_own_to_the_pods_address() {
    for (command, text) in [
        ("ip route add 10.1.0.2 dev lo", "the host has a route to 10.1.0.2 already by lo"),
        ("ip -6 route add fd00:1::2 dev lo", "the host has a route to fd00:1::2 already by lo"),
    ] {
        let node = Node::new();
        node.run(command);
        let mend = |_: &Pod| drop(node.run(&command.replace(" add ", " del ")));
        fails_clean(&full(), &node, mend, (103, text));
    }
}

#[test]
fn a_route_that_the_kernel_refuses() {
    let node = Node::new();
    let routes = json!({"ipam": {"routes": [{"dst": "192.0.2.0/24", "scope": 255}]}});
    fails_clean(&with(&full(), &routes), &node, |_| (), (100, "route 192.0.2.0/24"));
}

#[test]
fn what_the_configuration_gets_wrong() {
    for (keys, code, text) in [
        (json!({"ipam": null}), 7, "ipam is missing"),
        (json!({"ipam": {"ranges": null}}), 7, "ipam has no ranges"),
        (json!({"ipam": {"type": "no-such-ipam"}}), 104, "no-such-ipam"),
        (json!({"mtu": 1000}), 7, "MTU 1000 is too small for the address fd00:1::2"),
        (json!({"mtu": 70000}), 7, "invalid MTU 70000"),
        (json!({"ipam": {"routes": [{"dst": "::/0", "gw": "fd00:1::2"}]}}), 7, "leave gw out"),
    ] {
        fails_clean(&with(&full(), &keys), &Node::new(), |_| (), (code, text));
    }
}

#[test]
fn a_repeated_add_leaves_the_live_attachment_alone() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&dual(), &pod);
    let result = attachment.add();
    let before = steady(&node);
    let error = attachment.try_add().err();
    error.expect(103, "already exists");
    ferrule_tests::snapshot::assert_same(&before, &steady(&node));
    ping(&node, "10.1.0.2");
    attachment.check(&result);
    attachment.del(Some(&result));
}

/// An ADD that was killed: its lease is there, its veth is not.
#[test]
fn a_lease_without_a_veth_does_not_block_its_own_attachment() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&full(), &pod);
    let first = attachment.add();
    node.run(&format!("ip link del {}", veth(&first)));
    let result = attachment.add();
    ping(&node, &address(&result, 0));
    attachment.check(&result);
    let leases = node.sh("grep -l . /var/lib/cni/networks/pods/[0-9f]*");
    assert_eq!(leases.lines().count(), 2, "one lease of each family: {leases}");
}
