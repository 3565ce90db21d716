//! An ADD that fails leaves nothing, and does no harm to what lives.

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

use crate::networks::{Network, address, veth};

on_each_network! {
    an_exhausted_second_family_gives_the_first_back, an_interface_that_is_there_already,
    a_route_that_the_kernel_refuses, a_missing_ipam_plugin, an_ipam_error_is_passed_up_as_it_is,
    a_repeated_add_leaves_the_live_attachment_alone,
    a_repeated_add_from_another_netns_leaves_the_live_attachment_alone,
    a_lease_without_a_veth_does_not_block_its_own_attachment, a_bad_netns_touches_nothing,
}

/// ADD with these keys fails; the node and the pod are as they were; once mended, ADD succeeds.
#[track_caller]
fn fails_clean(
    (network, node, pod): (&Network, &Node, &Pod),
    keys: &Value,
    mend: impl FnOnce(),
    (code, text): (u64, &str),
) {
    let (before, pod_before) = (network.steady(node), pod.run("ip -o addr"));
    let error = network.attach(node, pod).with(keys).try_add().err();
    error.expect(code, text);
    // What the first ADD of a tunnel makes is shared.
    let left = before.difference(&network.steady(node));
    let of_the_tunnel = |line: &&str| !line.contains("fvxlan.100");
    assert_eq!(left.lines().find(of_the_tunnel), None, "{error:?} left:\n{left}");
    assert_eq!(pod.run("ip -o addr"), pod_before, "{error:?} changed the pod");
    mend();
    let attachment = network.attach(node, pod);
    let result = attachment.add();
    network.answers(node, pod, &result);
    attachment.check(&result);
}

fn an_exhausted_second_family_gives_the_first_back(network: &Network) {
    let (node, one, two) = (network.node(), Pod::new(), Pod::new());
    let ranges = json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}],
        [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::5", "rangeEnd": "fd00:1::5"}]]}});
    let first = network.attach(&node, &one).with(&ranges);
    let result = first.add();
    let mend = || first.del(Some(&result));
    let wanted = (102, "no IP addresses available");
    fails_clean((network, &node, &two), &ranges, mend, wanted);
}

fn an_interface_that_is_there_already(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    pod.run("ip link add eth0 type veth peer name eth9");
    let mend = || drop(pod.run("ip link del eth0"));
    let wanted = (103, "container veth name (\"eth0\")");
    fails_clean((network, &node, &pod), &json!({}), mend, wanted);
}

/// What is found out only when routes are set, after everything else.
fn a_route_that_the_kernel_refuses(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let routes = json!({"ipam": {"routes": [{"dst": "192.0.2.0/24", "scope": 255}]}});
    fails_clean((network, &node, &pod), &routes, || (), (100, "route 192.0.2.0/24"));
}

fn a_missing_ipam_plugin(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let broken = json!({"ipam": {"type": "no-such-ipam"}});
    fails_clean((network, &node, &pod), &broken, || (), (104, "no-such-ipam"));
}

fn an_ipam_error_is_passed_up_as_it_is(network: &Network) {
    let (node, one, two) = (network.node(), Pod::new(), Pod::new());
    let ranges =
        json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/30"}], [{"subnet": "fd00:1::/64"}]]}});
    network.attach(&node, &one).with(&ranges).add();
    let error = network.attach(&node, &two).with(&ranges).try_add().err();
    error.expect(
        102,
        "failed to allocate for range 0: no IP addresses available in range set: 10.1.0.1-10.1.0.2",
    );
}

/// A runtime that repeats ADD, and that cleans up after the failure as the specification says it
/// may not: the first ADD's pod goes on.
fn a_repeated_add_leaves_the_live_attachment_alone(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let attachment = network.attach(&node, &pod);
    let result = attachment.add();
    let before = Snapshot::of(&node);
    attachment.try_add().err().expect(103, "already exists");
    assert_same(&before, &Snapshot::of(&node));
    network.answers(&node, &pod, &result);
    attachment.check(&result);
    // Its lease is still its own.
    let next = network.attach(&node, &Pod::new()).add();
    assert_ne!(address(&next, 0), address(&result, 0));
}

/// The same, where the second ADD names another netns.
fn a_repeated_add_from_another_netns_leaves_the_live_attachment_alone(network: &Network) {
    let (node, pod, other) = (network.node(), Pod::new(), Pod::new());
    let attachment = network.attach(&node, &pod);
    let result = attachment.add();
    let before = Snapshot::of(&node);
    attachment.clone().netns(Some(&other.netns())).try_add().err();
    assert_same(&before, &Snapshot::of(&node));
    assert!(other.links().is_empty());
    attachment.check(&result);
}

/// An ADD that was killed: its lease is there, its veth is not.
fn a_lease_without_a_veth_does_not_block_its_own_attachment(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let attachment = network.attach(&node, &pod);
    let first = attachment.add();
    node.run(&format!("ip link del {}", veth(&first)));
    let result = attachment.add();
    network.answers(&node, &pod, &result);
    attachment.check(&result);
    assert_eq!(node.leases().len(), 2, "one lease of each family: {:?}", node.leases());
    attachment.del(Some(&result));
}

fn a_bad_netns_touches_nothing(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let own = node.ns().net_path();
    for netns in [Some("/run/netns/none"), Some("/etc/passwd"), Some(""), None, own.to_str()] {
        let before = Snapshot::of(&node);
        let error = network.attach(&node, &pod).netns(netns).try_add().err();
        assert_eq!(error.code, 4, "CNI_NETNS={netns:?}: {error:?}");
        assert_same(&before, &Snapshot::of(&node));
    }
}
