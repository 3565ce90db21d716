//! GC and STATUS.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

use crate::{steady, veth};

#[test]
fn gc_removes_what_is_not_listed_and_nothing_else() {
    let (node, kept, lost, late) = (Node::new(), Pod::new(), Pod::new(), Pod::new());
    let staying = node.attach(&conf::full(), &kept);
    let result = staying.add();
    let before = Snapshot::of(&node);
    let gone = node.attach(&conf::full(), &lost).add();
    staying.gc(&[(kept.id(), "eth0")]).ok();
    assert!(!node.links().contains(&veth(&gone).to_owned()), "its veth");
    let bookless = |snapshot: Snapshot| snapshot.without_lease_history();
    assert_same(&bookless(before), &bookless(Snapshot::of(&node)));
    staying.check(&result);
    ping(&kept, GATEWAY4);
    ping(&kept, GATEWAY6);
    node.attach(&conf::full(), &late).add();
    ping(&late, GATEWAY4);
}

#[test]
fn gc_with_an_empty_list_removes_all_of_the_network() {
    let (node, pods) = (Node::new(), [Pod::new(), Pod::new(), Pod::new()]);
    let before = steady(Snapshot::of(&node));
    let attachments: Vec<_> = pods.iter().map(|pod| node.attach(&conf::full(), pod)).collect();
    attachments.iter().for_each(|attachment| drop(attachment.add()));
    attachments[0].gc(&[]).ok();
    assert_same(&before, &steady(Snapshot::of(&node)));
    attachments[0].gc(&[]).ok();
}

/// Clients of before the list, as `cnitool gc`, send none: that is no list without members.
#[test]
fn gc_without_a_list_warns_and_changes_nothing() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::full(), &pod).with(&json!({"logFile": "/var/lib/log"}));
    let result = attachment.add();
    let before = Snapshot::of(&node).without_files(&["/var/lib/log"]);
    let mut call = attachment.call("GC", None);
    let mut config: Value = serde_json::from_slice(&call.stdin).unwrap();
    let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
    keys.iter().for_each(|key| drop(config.as_object_mut().unwrap().remove(*key)));
    call.stdin = config.to_string().into_bytes();
    call.run(&node).ok();
    assert_same(&before, &Snapshot::of(&node).without_files(&["/var/lib/log"]));
    let said = node.read("/var/lib/log");
    assert!(said.contains("warning") && said.contains("cni.dev/valid-attachments"), "{said}");
    attachment.check(&result);
    ping(&pod, GATEWAY4);
}

/// The same container ID on another interface is another attachment.
#[test]
fn gc_goes_by_interface_too() {
    let (node, pod) = (Node::new(), Pod::new());
    let first = node.attach(&conf::full(), &pod);
    let second = first.clone().ifname("net1").with(&json!({"ipam": {"routes": null}}));
    let result = first.add();
    second.add();
    first.gc(&[(pod.id(), "eth0")]).ok();
    assert_eq!(pod.links(), ["eth0"]);
    first.check(&result);
}

#[test]
fn gc_leaves_another_network_on_the_same_bridge() {
    let (node, ours, theirs) = (Node::new(), Pod::new(), Pod::new());
    let other = json!({"name": "others", "isGateway": false, "ipam": {"routes": null, "ranges":
        [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100"}]]}});
    let neighbour = node.attach(&conf::with(&conf::full(), &other), &theirs);
    let result = neighbour.add();
    let attachment = node.attach(&conf::full(), &ours);
    attachment.add();
    attachment.gc(&[]).ok();
    assert!(ours.links().is_empty());
    assert_eq!(theirs.links(), ["eth0"]);
    ping(&theirs, GATEWAY4);
    neighbour.check(&result);
}

#[test]
fn gc_of_a_network_that_never_was() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = Snapshot::of(&node);
    node.attach(&conf::full(), &pod).gc(&[]).ok();
    assert_same(&steady(before), &steady(Snapshot::of(&node)));
    assert!(node.links().is_empty());
}

fn tiny() -> Value {
    conf::with(&conf::v4(), &json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/30"}]]}}))
}

#[test]
fn status_is_ready_while_addresses_are_left() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&tiny(), &pod);
    let before = Snapshot::of(&node);
    attachment.status().ok();
    assert_same(&before.without_lease_history(), &Snapshot::of(&node).without_lease_history());
}

#[test]
fn status_is_50_when_a_range_set_is_exhausted() {
    let (node, pod) = (Node::new(), Pod::new());
    let strict = json!({"ipam": {"statusWhenFull": "not-ready"}});
    let attachment = node.attach(&conf::with(&tiny(), &strict), &pod);
    let result = attachment.add();
    attachment.status().err().expect(50, "10.1.0");
    node.attach(&tiny(), &pod).status().ok();
    attachment.del(Some(&result));
    attachment.status().ok();
}

#[test]
fn status_refuses_a_broken_configuration() {
    let (node, pod) = (Node::new(), Pod::new());
    let broken = node.attach(&tiny(), &pod).with(&json!({"vlan": 5000}));
    broken.status().err().expect(7, "invalid VLAN ID 5000");
}
