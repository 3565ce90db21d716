//! Nodes that join again with other pod CIDRs: nothing of the old ones stays in the way.

use crate::cluster::{Cluster, Member, network, node_list};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::within;
use serde_json::Value;
use std::time::Duration;

const NODES: [&str; 2] = ["one", "two"];

/// The node list with the pod CIDRs of other numbers.
fn renumbered(one: u8, two: u8) -> String {
    let mut text = node_list(&NODES);
    for (at, new) in [(1, one), (2, two)] {
        text = text.replace(&format!("10.244.{at}.0/24"), &format!("10.244.<{new}>.0/24"));
        text = text.replace(&format!("fd00:10:244:{at}::"), &format!("fd00:10:244:<{new}>::"));
    }
    text.replace(['<', '>'], "")
}

/// Waits until a CIDR is this node's own and all is well.
fn owns(member: &Member, cidr: &str) {
    member.status_when(|status| {
        let mut cidrs = status["cidrs"].as_array().into_iter().flatten();
        cidrs.any(|entry| entry["cidr"] == cidr && entry["path"] == "local")
    });
}

fn problems(status: &Value) -> Vec<&str> {
    let problems = status["problems"].as_array().unwrap().iter();
    problems.filter_map(|problem| problem["error"].as_str()).collect()
}

/// No pod is left, so each CIDR leads to its new owner even before a pod is there.
#[test]
fn nodes_that_swap_their_cidrs_serve_new_pods() {
    let cluster = Cluster::with("", &NODES);
    for member in &cluster.members {
        let pod = member.node.pod();
        let attachment = member.node.attach(&network(), &pod);
        attachment.add();
        attachment.del(None);
    }
    cluster.write_nodes(&renumbered(2, 1));
    let [one, two] = &cluster.members[..] else { unreachable!() };
    owns(one, "10.244.2.0/24");
    owns(two, "10.244.1.0/24");
    for (address, gateway) in [("10.244.1.5", "192.0.2.2"), ("fd00:10:244:1::5", "2001:db8:a::2")] {
        let route = one.node.run(&format!("ip route get {address}"));
        assert!(route.contains(&format!("via {gateway}")), "{route}");
    }
    let (pod, addresses) = one.pod();
    let (other, others) = two.pod();
    assert!(addresses[0].starts_with("10.244.2."), "{addresses:?}");
    others.iter().for_each(|address| ping(&pod, address));
    addresses.iter().for_each(|address| ping(&other, address));
    let held = one.node.run("ip address show dev cni0");
    assert!(!held.contains("10.244.1.1") && !held.contains("fd00:10:244:1::1"), "{held}");
    one.in_sync();
    two.in_sync();
}

/// The pods that are left are named, by the daemon and by STATUS, and new ones wait for them.
#[test]
fn pods_of_an_earlier_cidr_are_reported_until_they_are_gone() {
    let cluster = Cluster::with("", &NODES);
    let one = &cluster.members[0];
    let pod = one.node.pod();
    let old = one.node.attach(&network(), &pod);
    old.add();
    cluster.write_nodes(&renumbered(7, 2));
    let named = |status: &Value| problems(status).iter().filter(|p| p.contains(pod.id())).count();
    let status = one.status_when(|status| named(status) == 2);
    assert!(problems(&status)[0].contains("1 pod is left (cluster/"), "{status:#?}");
    let fresh = one.node.pod();
    let new = one.node.attach(&network(), &fresh);
    for part in ["an earlier pod CIDR of this node is in use: 10.244.1.0/24: 1 pod", pod.id()] {
        new.status().err().expect(50, part);
        new.try_add().err().expect(11, part);
    }
    old.del(None);
    one.status_when(|status| problems(status).is_empty());
    // node.json comes a moment after.
    let ready = within(Duration::from_secs(10), || new.status().code.filter(|code| *code == 0));
    assert!(ready.is_some(), "{:?}", new.status());
    let addresses = ferrule_tests::invoke::addresses(&new.add());
    assert!(addresses[0].starts_with("10.244.7."), "{addresses:?}");
    ["10.244.7.1", "fd00:10:244:7::1"].iter().for_each(|gateway| ping(&fresh, gateway));
}

/// An address that an administrator gave the bridge stays, and is reported.
#[test]
fn an_address_without_our_mark_stays() {
    let cluster = Cluster::with("", &NODES);
    let one = &cluster.members[0];
    one.node.sh("ip link add cni0 type bridge; ip address add 10.244.1.9/24 dev cni0");
    cluster.write_nodes(&renumbered(7, 1));
    let status = one.status_when(|status| !problems(status).is_empty());
    assert!(problems(&status)[0].contains("the gateway's address is left"), "{status:#?}");
    let of_two = |entry: &&Value| entry["cidr"] == "10.244.1.0/24" && entry["node"] == "two";
    let entry = status["cidrs"].as_array().unwrap().iter().find(of_two).unwrap();
    assert_eq!(entry["state"], "conflict", "{entry:#?}");
    assert!(one.node.run("ip address show dev cni0").contains("10.244.1.9/24"));
    one.node.run("ip address del 10.244.1.9/24 dev cni0");
    one.in_sync();
}
