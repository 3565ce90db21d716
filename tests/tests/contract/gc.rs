//! GC, and what STATUS says of a configuration.

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Pod, Snapshot};
use serde_json::json;

use crate::networks::{Network, veth};

on_each_network! {
    gc_removes_what_is_not_listed_and_nothing_else, gc_without_a_list_changes_nothing,
    gc_with_an_empty_list_removes_all_of_the_network, gc_of_another_network_leaves_it_alone,
    gc_of_a_network_that_never_was, gc_goes_by_interface_too,
    status_refuses_a_broken_configuration,
}

fn gc_removes_what_is_not_listed_and_nothing_else(network: &Network) {
    for lost_record in [false, true] {
        let (node, kept, lost) = (network.node(), Pod::new(), Pod::new());
        let staying = network.attach(&node, &kept);
        let result = staying.add();
        let before = Snapshot::of(&node).without_lease_history();
        let gone = network.attach(&node, &lost).add();
        if lost_record {
            node.sh(&format!("cd /run/ferrule/attachments; rm $(grep -l {} *)", lost.id()));
        }
        staying.gc(&[(kept.id(), "eth0")]).ok();
        assert!(!node.links().contains(&veth(&gone).to_owned()), "its veth");
        assert_same(&before, &Snapshot::of(&node).without_lease_history());
        staying.check(&result);
        network.answers(&node, &kept, &result);
    }
}

/// Clients of before the list, as `cnitool gc`, send none: that is no list without members.
fn gc_without_a_list_changes_nothing(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let attachment = network.attach(&node, &pod);
    let result = attachment.add();
    let before = Snapshot::of(&node);
    attachment.call("GC", None).run(&node).ok();
    assert_same(&before, &Snapshot::of(&node));
    attachment.check(&result);
}

fn gc_with_an_empty_list_removes_all_of_the_network(network: &Network) {
    let (node, pods) = (network.node(), [Pod::new(), Pod::new(), Pod::new()]);
    let first = network.attach(&node, &pods[0]);
    first.del(Some(&first.add()));
    node.settle();
    let before = network.steady(&node);
    pods.iter().for_each(|pod| drop(network.attach(&node, pod).add()));
    first.gc(&[]).ok();
    assert_same(&before, &network.steady(&node));
    assert_eq!(node.run("nft list ruleset"), "");
    first.gc(&[]).ok();
}

fn gc_of_another_network_leaves_it_alone(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let attachment = network.attach(&node, &pod);
    let result = attachment.add();
    attachment.clone().with(&json!({"name": "other"})).gc(&[]).ok();
    attachment.check(&result);
    network.answers(&node, &pod, &result);
}

fn gc_of_a_network_that_never_was(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let before = Snapshot::of(&node).without_lease_history();
    network.attach(&node, &pod).gc(&[]).ok();
    assert_same(&before, &Snapshot::of(&node).without_lease_history());
}

/// The same container ID on another interface is another attachment.
fn gc_goes_by_interface_too(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let first = network.attach(&node, &pod);
    let result = first.add();
    let routes = json!({"ipam": {"routes": [{"dst": "203.0.113.0/24"}]}});
    first.clone().ifname("net1").with(&routes).add();
    first.gc(&[(pod.id(), "eth0")]).ok();
    assert_eq!(pod.links(), ["eth0"]);
    first.check(&result);
}

fn status_refuses_a_broken_configuration(network: &Network) {
    let (node, pod) = (network.node(), Pod::new());
    let broken = json!({"mtu": 70000, "ipam": {"ranges": [[{"subnet": "nonsense"}]]}});
    network.attach(&node, &pod).with(&broken).status().err();
}
