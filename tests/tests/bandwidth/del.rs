//! DEL and GC in every circumstance.

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::{Chain, both, host_end, ifbs, state};

const RECORDS: &str = "/run/ferrule/attachments";

/// The state before bandwidth's ADD is that after its DEL, while the pod's link lives on.
fn leaves_nothing(prepare: impl Fn(&Node, &Pod), del: impl Fn(&Chain<'_>, &Value)) {
    let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
    let neighbour = Chain::new(&node, &conf::dual(), &both(), &other);
    let theirs = neighbour.add(&node);
    let chain = Chain::new(&node, &conf::dual(), &both(), &pod);
    let first = chain.main.add();
    let before = state(&node);
    let result = chain.bandwidth.call("ADD", Some(&first)).run(&node).ok();
    assert_eq!(ifbs(&node).len(), 2);
    prepare(&node, &pod);
    del(&chain, &result);
    assert_same(&before, &state(&node));
    neighbour.bandwidth.check(&theirs);
    // Once more there is nothing to do.
    chain.bandwidth.del(None);
    chain.main.check(&first);
}

#[test]
fn del_removes_everything_while_the_pod_lives_on() {
    leaves_nothing(|_, _| {}, |chain, result| chain.bandwidth.del(Some(result)));
}

#[test]
fn del_needs_neither_netns_nor_result_nor_valid_keys() {
    leaves_nothing(|_, _| {}, |chain, _| chain.bandwidth.clone().netns(None).del(None));
    leaves_nothing(|_, _| {}, |chain, _| chain.bandwidth.clone().netns(Some("")).del(None));
    leaves_nothing(
        |_, _| {},
        |chain, _| {
            let broken = json!({"ingressRate": "x", "ingressBurst": null, "runtimeConfig": 5});
            chain.bandwidth.clone().with(&broken).netns(None).del(None);
        },
    );
}

#[test]
fn del_without_a_record_finds_everything() {
    let lose = |node: &Node, pod: &Pod| {
        node.sh(&format!("rm $(grep -l {} {RECORDS}/bandwidth-*)", pod.id()));
    };
    leaves_nothing(lose, |chain, _| chain.bandwidth.clone().netns(None).del(None));
}

#[test]
fn gc_removes_what_is_not_valid() {
    let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
    let neighbour = Chain::new(&node, &conf::dual(), &both(), &other);
    let theirs = neighbour.add(&node);
    let chain = Chain::new(&node, &conf::dual(), &both(), &pod);
    let first = chain.main.add();
    let before = state(&node);
    chain.bandwidth.call("ADD", Some(&first)).run(&node).ok();
    chain.bandwidth.gc(&[(pod.id(), "eth0"), (other.id(), "eth0")]).ok();
    assert_eq!(ifbs(&node).len(), 2);
    chain.bandwidth.gc(&[(other.id(), "eth0")]).ok();
    assert_same(&before, &state(&node));
    neighbour.bandwidth.check(&theirs);
}

#[test]
fn gc_removes_orphaned_devices_without_records() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = Chain::new(&node, &conf::dual(), &both(), &pod);
    let first = chain.main.add();
    chain.bandwidth.call("ADD", Some(&first)).run(&node).ok();
    node.sh(&format!("rm -f {RECORDS}/*; ip link del {}", host_end(&first)));
    // Another program's, and one of another network of ours.
    node.sh("ip link add bwp000000000001 type ifb; ip link add bwp000000000002 type ifb
        ip link set bwp000000000002 alias 'ferrule.bandwidth 0123456789abcdef0123456789abcdef other c eth0'");
    assert_eq!(ifbs(&node).len(), 3);
    chain.bandwidth.gc(&[]).ok();
    assert_eq!(ifbs(&node), ["bwp000000000001", "bwp000000000002"]);
}

#[test]
fn an_add_that_fails_leaves_nothing() {
    for prepare in [
        "tc qdisc add dev HOST root handle 7: tbf rate 1mbit burst 10000 limit 10000",
        "tc qdisc add dev HOST clsact",
    ] {
        let (node, pod) = (Node::new(), Pod::new());
        let chain = Chain::new(&node, &conf::v4(), &both(), &pod);
        let first = chain.main.add();
        node.sh(&prepare.replace("HOST", &host_end(&first)));
        let before = state(&node);
        let error = chain.bandwidth.call("ADD", Some(&first)).run(&node).err();
        error.expect(103, "of another program");
        error.expect(103, "tc qdisc del dev");
        assert_same(&before, &state(&node));
        chain.bandwidth.del(None);
        assert_same(&before, &state(&node));
    }
}

#[test]
fn filters_of_others_stay() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = Chain::new(&node, &conf::v4(), &both(), &pod);
    let result = chain.add(&node);
    let host = host_end(&result);
    node.run(&format!(
        "tc filter add dev {host} ingress prio 9 protocol ip u32 match u32 0 0 classid 1:9"
    ));
    chain.bandwidth.del(None);
    let shown = crate::shaping(&node, &host);
    assert!(shown.contains("pref 9") && !shown.contains("pref 1 "), "{shown}");
    assert!(ifbs(&node).is_empty());
}

#[test]
fn a_second_interface_of_a_container_has_a_device_of_its_own() {
    let (node, pod) = (Node::new(), Pod::new());
    let first = Chain::new(&node, &conf::v4(), &both(), &pod);
    let result = first.add(&node);
    let main = node.attach(&conf::v4(), &pod).ifname("eth1");
    let second = node.attach(&crate::limits(&both()), &pod).ifname("eth1");
    let previous = main.add();
    let before = state(&node);
    for lost in [false, true] {
        let both = second.call("ADD", Some(&previous)).run(&node).ok();
        assert_eq!(ifbs(&node).len(), 2);
        second.check(&both);
        first.bandwidth.check(&result);
        if lost {
            node.sh(&format!("rm $(grep -l eth1 {RECORDS}/bandwidth-*)"));
        }
        second.del(None);
        assert_same(&before, &state(&node));
        first.bandwidth.check(&result);
    }
}
