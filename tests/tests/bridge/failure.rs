//! An ADD that fails leaves nothing, and does no harm to what lives.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

use crate::{records, steady};

/// ADD fails; the node and the pod are as they were; once mended, ADD succeeds.
#[track_caller]
fn fails_clean(config: &Value, node: &Node, pod: &Pod, mend: impl FnOnce(), retry: &Value) {
    let (before, pod_before) = (Snapshot::of(node), pod.run("ip -o addr"));
    let error = node.attach(config, pod).try_add().err();
    let after = Snapshot::of(node);
    let difference = steady(before).difference(&steady(after));
    assert!(difference.is_empty(), "{error:?} left:\n{difference}");
    assert_eq!(pod.run("ip -o addr"), pod_before, "{error:?} changed the pod");
    mend();
    let attachment = node.attach(retry, pod);
    let result = attachment.add();
    ping(pod, GATEWAY4);
    attachment.check(&result);
}

/// A bridge of Linux has at most 1023 ports (BR_MAX_PORTS, and port 0 is none).
#[test]
fn a_bridge_without_a_free_port_is_said_in_words() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip link set cni0 up
        for i in $(seq 1023); do
            echo link add x$i type veth peer name y$i; echo link set x$i master cni0
        done | ip -batch -");
    let attachment = node.attach(&conf::v4(), &pod);
    let error = attachment.try_add().err();
    for part in ["Exchange full", "bridge cni0 has 1023 ports", "another bridge"] {
        assert!(error.text().contains(part), "{part}: {error:?}");
    }
    assert_eq!((node.veths(), node.leases(), pod.links()), (vec![], vec![], vec![]));
    node.run("ip link del x7");
    attachment.add();
    ferrule_tests::packets::ping(&pod, conf::GATEWAY4);
}

#[test]
fn an_exhausted_pool() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let ranges =
        json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/30"}], [{"subnet": "fd00:1::/64"}]]}});
    let config = conf::with(&conf::full(), &ranges);
    let first = node.attach(&config, &one);
    let result = first.add();
    fails_clean(&config, &node, &two, || first.del(Some(&result)), &config);
}

#[test]
fn an_exhausted_second_family_gives_the_first_back() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let ranges = json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}],
        [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::5", "rangeEnd": "fd00:1::5"}]]}});
    let config = conf::with(&conf::full(), &ranges);
    let first = node.attach(&config, &one);
    let result = first.add();
    fails_clean(&config, &node, &two, || first.del(Some(&result)), &config);
}

#[test]
fn a_conflicting_bridge_address() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip addr add 10.9.0.1/24 dev cni0; ip link set cni0 up");
    let mend = || drop(node.run("ip addr del 10.9.0.1/24 dev cni0"));
    fails_clean(&conf::full(), &node, &pod, mend, &conf::full());
}

#[test]
fn an_interface_that_is_there_already() {
    let (node, pod) = (Node::new(), Pod::new());
    pod.run("ip link add eth0 type veth peer name eth9");
    let error = node.attach(&conf::full(), &pod).try_add().err();
    assert!(error.text().contains("already exists"), "{error:?}");
    assert!(error.text().contains("container veth name (\"eth0\")"), "{error:?}");
    fails_clean(&conf::full(), &node, &pod, || drop(pod.run("ip link del eth0")), &conf::full());
}

#[test]
fn a_missing_ipam_plugin() {
    let (node, pod) = (Node::new(), Pod::new());
    let broken = conf::with(&conf::full(), &json!({"ipam": {"type": "no-such-ipam"}}));
    let error = node.attach(&broken, &pod).try_add().err();
    assert!(error.text().contains("no-such-ipam"), "{error:?}");
    fails_clean(&broken, &node, &pod, || (), &conf::full());
}

/// What is found out only when routes are set, after everything else.
#[test]
fn a_route_that_the_kernel_refuses() {
    let (node, pod) = (Node::new(), Pod::new());
    let routes = json!({"ipam": {"routes": [{"dst": "192.0.2.0/24", "gw": "224.0.0.9"}]}});
    fails_clean(&conf::with(&conf::full(), &routes), &node, &pod, || (), &conf::full());
}

#[test]
fn an_ipam_error_is_passed_up_as_it_is() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let config =
        conf::with(&conf::v4(), &json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/30"}]]}}));
    node.attach(&config, &one).add();
    let error = node.attach(&config, &two).try_add().err();
    let text = "failed to allocate for range 0: no IP addresses available in range set: \
        10.1.0.1-10.1.0.2";
    error.expect(102, text);
}

/// A runtime that repeats ADD, and that cleans up after the failure as the specification says it
/// may not: the first ADD's pod goes on.
#[test]
fn a_repeated_add_leaves_the_live_attachment_alone() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::full(), &pod);
    let result = attachment.add();
    let before = Snapshot::of(&node);
    let error = attachment.try_add().err();
    assert!(error.text().contains("already exists"), "{error:?}");
    assert_same(&before, &Snapshot::of(&node));
    ping(&pod, GATEWAY4);
    attachment.check(&result);
    // Its lease is still its own.
    let other = Pod::new();
    let next = node.attach(&conf::full(), &other).add();
    assert_ne!(crate::address(&next, 0), crate::address(&result, 0));
}

/// The same, where the second ADD names another netns: the veth alone tells.
#[test]
fn a_repeated_add_from_another_netns_leaves_the_live_attachment_alone() {
    let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
    let attachment = node.attach(&conf::full(), &pod);
    let result = attachment.add();
    let before = Snapshot::of(&node);
    attachment.clone().netns(Some(&other.netns())).try_add().err();
    assert_same(&before, &Snapshot::of(&node));
    assert!(other.links().is_empty());
    attachment.check(&result);
}

#[test]
fn a_bad_netns_touches_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    let own = node.ns().net_path();
    for netns in [Some("/run/netns/none"), Some("/etc/passwd"), Some(""), None, own.to_str()] {
        let before = Snapshot::of(&node);
        let error = node.attach(&conf::full(), &pod).netns(netns).try_add().err();
        assert_eq!(error.code, 4, "CNI_NETNS={netns:?}: {error:?}");
        assert_same(&before, &Snapshot::of(&node));
    }
}

#[test]
fn the_own_netns_is_allowed_where_it_is_asked_for() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = Snapshot::of(&node);
    let own = node.ns().net_path();
    let attachment = node.attach(&conf::v4(), &pod).with(&json!({"ipam": {"routes": null}}));
    let attachment = attachment.netns(own.to_str());
    attachment.call("ADD", None).env("CNI_NETNS_OVERRIDE", "1").run(&node).ok();
    assert!(node.links().contains(&"eth0".to_owned()));
    attachment.call("DEL", None).env("CNI_NETNS_OVERRIDE", "true").run(&node).ok();
    assert_same(&steady(before), &steady(Snapshot::of(&node)));
}

#[test]
fn an_ipam_plugin_that_cannot_run_is_told_before_anything_is_made() {
    let types =
        [(None, "CNI_PATH"), (Some("no-such-ipam"), "no-such-ipam"), (Some("../x"), "../x")];
    for (kind, named) in types {
        let (node, pod) = (Node::new(), Pod::new());
        let mut call = node.attach(&conf::full(), &pod).call("ADD", None).without("CNI_PATH");
        if let Some(kind) = kind {
            let other = json!({"ipam": {"type": kind}});
            call = node.attach(&conf::full(), &pod).with(&other).call("ADD", None);
        }
        let before = Snapshot::of(&node);
        let error = call.run(&node).err();
        assert!(error.text().contains(named), "expected `{named}` in {error:?}");
        assert_same(&before, &Snapshot::of(&node));
        assert!(pod.links().is_empty());
    }
}

/// A route that the kernel refuses is found out last: what ADD set up to there is taken back.
#[test]
fn a_failed_add_leaves_neither_gateway_address_nor_forwarding() {
    let (node, pod) = (Node::new(), Pod::new());
    for switch in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        node.set_sysctl(switch, "0");
    }
    node.sh("ip link add cni0 address 02:00:00:00:00:01 type bridge; ip link set cni0 up");
    node.settle();
    let (addresses, before) = (node.run("ip -o addr show cni0"), Snapshot::of(&node));
    let routes = json!({"ipam": {"routes": [{"dst": "192.0.2.0/24", "gw": "224.0.0.9"}]}});
    node.attach(&conf::full(), &pod).with(&routes).try_add().err();
    let after = Snapshot::of(&node);
    assert_eq!(node.addresses("cni0"), Vec::<String>::new(), "before: {addresses}");
    assert_eq!(before.lines("forwarding"), after.lines("forwarding"));
    assert_eq!(records(&node), "");
    assert_same(&steady(before), &steady(after));
    node.attach(&conf::full(), &pod).add();
    ping(&pod, GATEWAY4);
}
