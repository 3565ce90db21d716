//! DEL in every circumstance, and the node as it was.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

use crate::{steady, veth};

fn full() -> Value {
    conf::with(&conf::full(), &json!({"hairpinMode": true}))
}

/// A node that has had a pod before, its state then, a pod and its result.
struct Ready {
    node: Node,
    before: Snapshot,
    pod: Pod,
    result: Value,
}

fn ready() -> Ready {
    let (node, earlier, pod) = (Node::new(), Pod::new(), Pod::new());
    let first = node.attach(&full(), &earlier);
    first.del(Some(&first.add()));
    node.settle();
    let before = steady(Snapshot::of(&node));
    let result = node.attach(&full(), &pod).add();
    Ready { node, before, pod, result }
}

impl Ready {
    #[track_caller]
    fn is_as_before(&self) {
        assert_same(&self.before, &steady(Snapshot::of(&self.node)));
        assert!(!self.node.links().contains(&veth(&self.result).to_owned()));
    }
}

#[test]
fn with_everything_known() {
    let ready = ready();
    ready.node.attach(&full(), &ready.pod).del(Some(&ready.result));
    ready.is_as_before();
    assert!(ready.pod.links().is_empty(), "the pod's end is gone");
}

#[test]
fn twice() {
    let ready = ready();
    let attachment = ready.node.attach(&full(), &ready.pod);
    attachment.del(Some(&ready.result));
    attachment.del(Some(&ready.result));
    attachment.del(None);
    ready.is_as_before();
}

#[test]
fn without_a_result() {
    let ready = ready();
    ready.node.attach(&full(), &ready.pod).del(None);
    ready.is_as_before();
}

#[test]
fn without_a_netns() {
    for (netns, with_result) in [(None, true), (Some(""), true), (None, false), (Some(""), false)] {
        let ready = ready();
        let attachment = ready.node.attach(&full(), &ready.pod).netns(netns);
        attachment.del(with_result.then_some(&ready.result));
        ready.is_as_before();
    }
}

#[test]
fn with_a_netns_that_is_gone() {
    for path in ["/run/netns/gone", "/proc/self/fd/999"] {
        let ready = ready();
        ready.node.attach(&full(), &ready.pod).netns(Some(path)).del(Some(&ready.result));
        ready.is_as_before();
    }
}

/// The path now leads to a pod that lives: its eth0 is not ours to remove.
#[test]
fn with_a_netns_that_is_another_pods() {
    for with_result in [true, false] {
        let ready = ready();
        let other = Pod::new();
        let attachment = ready.node.attach(&full(), &other);
        let others = attachment.add();
        let before_neighbour = ready.pod.links();
        assert_eq!(before_neighbour, ["eth0"]);
        let stale = ready.node.attach(&full(), &ready.pod).netns(Some(&other.netns()));
        stale.del(with_result.then_some(&ready.result));
        assert_eq!(other.links(), ["eth0"], "another pod's eth0 survives");
        ping(&other, GATEWAY4);
        attachment.check(&others);
        attachment.del(Some(&others));
        ready.is_as_before();
    }
}

/// CNI_NETNS leads to the node itself, where a link goes by the same name.
#[test]
fn with_the_nodes_own_netns() {
    let ready = ready();
    ready.node.run("ip link add eth0 type veth peer name eth9");
    let own = ready.node.ns().net_path();
    let attachment = ready.node.attach(&full(), &ready.pod).netns(own.to_str());
    let outcome = attachment.try_del(Some(&ready.result));
    assert!(ready.node.links().contains(&"eth0".to_owned()), "the node's eth0: {outcome:?}");
}

#[test]
fn with_a_result_that_is_damaged_or_old() {
    let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.3/24"}});
    for previous in [json!({"cniVersion": "1.0.0", "ips": [{}]}), json!("rubbish"), old] {
        let ready = ready();
        ready.node.attach(&full(), &ready.pod).del(Some(&previous));
        ready.is_as_before();
    }
}

#[test]
fn of_what_never_was() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = Snapshot::of(&node);
    node.attach(&full(), &pod).del(None);
    node.attach(&full(), &pod).netns(None).del(None);
    assert_same(&steady(before), &steady(Snapshot::of(&node)));
    assert!(node.links().is_empty(), "DEL makes no bridge");
}

#[test]
fn after_someone_else_removed_parts() {
    let scripts = [
        "ip link del VETH",
        "ip link del cni0",
        "nft flush ruleset",
        "rm -r /var/lib/cni/networks/pods",
        "rm -rf /run/ferrule",
    ];
    for script in scripts {
        let ready = ready();
        ready.node.sh(&script.replace("VETH", veth(&ready.result)));
        ready.node.attach(&full(), &ready.pod).del(Some(&ready.result));
        let after = steady(Snapshot::of(&ready.node));
        let left = ready.before.difference(&after);
        let more: Vec<_> = left.lines().filter(|line| line.contains(" + ")).collect();
        assert!(more.is_empty(), "after `{script}`: {more:#?}");
    }
}

#[test]
fn with_a_configuration_that_broke_since() {
    let ready = ready();
    let broken = json!({"vlan": 9999, "ipam": {"ranges": [[{"subnet": "nonsense"}]]}});
    ready.node.attach(&full(), &ready.pod).with(&broken).del(Some(&ready.result));
    ready.is_as_before();
}

#[test]
fn the_lease_is_free_again() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    // One address alone: .1 is the gateway's, .3 the broadcast.
    let config =
        conf::with(&conf::v4(), &json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/30"}]]}}));
    let first = node.attach(&config, &one);
    first.add();
    first.netns(None).del(None);
    let result = node.attach(&config, &two).add();
    assert_eq!(crate::address(&result, 0), "10.1.0.2");
    ping(&two, GATEWAY4);
}

#[test]
fn del_frees_the_lease_where_the_configuration_lost_its_ipam() {
    let types = [json!(null), json!(5), json!("")].map(|kind| json!({"type": kind}));
    let broken = types.into_iter().chain([json!(null), json!(7), json!([])]);
    for ipam in broken {
        for with_result in [true, false] {
            let (node, pod) = (Node::new(), Pod::new());
            let before = steady(Snapshot::of(&node));
            let attachment = node.attach(&conf::full(), &pod);
            let result = attachment.add();
            let broken = attachment.with(&json!({"ipam": ipam}));
            broken.del(with_result.then_some(&result));
            assert!(node.leases().is_empty(), "ipam {ipam}: {:?} stay", node.leases());
            assert_same(&before, &steady(Snapshot::of(&node)));
        }
    }
}

#[test]
fn del_does_not_mind_malformed_arguments() {
    for args in ["rubbish", ";;", "=", "IP=", "a=b=c;;d", "IgnoreUnknown=perhaps;MAC=none"] {
        let (node, pod) = (Node::new(), Pod::new());
        let before = steady(Snapshot::of(&node));
        let attachment = node.attach(&conf::full(), &pod);
        let result = attachment.add();
        attachment.args(args).del(Some(&result));
        assert_same(&before, &steady(Snapshot::of(&node)));
        assert!(node.leases().is_empty(), "CNI_ARGS={args}");
    }
}
