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
fn a_conflicting_bridge_address() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip addr add 10.9.0.1/24 dev cni0; ip link set cni0 up");
    let mend = || drop(node.run("ip addr del 10.9.0.1/24 dev cni0"));
    fails_clean(&conf::full(), &node, &pod, mend, &conf::full());
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
fn an_ipam_plugin_that_cannot_run_is_reported_before_anything_is_made() {
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
