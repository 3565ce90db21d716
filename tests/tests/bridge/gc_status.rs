//! GC and STATUS.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

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
