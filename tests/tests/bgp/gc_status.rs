//! GC, and STATUS without a daemon.

use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod};
use serde_json::json;

use crate::{address, full, steady, veth};

#[test]
fn gc_removes_what_is_not_listed_and_nothing_else() {
    for lost_record in [false, true] {
        let (node, kept, lost) = (Node::new(), Pod::new(), Pod::new());
        let staying = node.attach(&full(), &kept);
        let result = staying.add();
        let before = steady(&node);
        let gone = node.attach(&full(), &lost).add();
        if lost_record {
            node.sh(&format!("cd /run/ferrule/attachments; rm $(grep -l {} *)", lost.id()));
        }
        staying.gc(&[(kept.id(), "eth0")]).ok();
        assert!(!node.links().contains(&veth(&gone).to_owned()), "its veth");
        assert_same(&before, &steady(&node));
        staying.check(&result);
        ping(&node, &address(&result, 0));
        staying.gc(&[]).ok();
        assert!(node.links().is_empty());
        assert_eq!(node.run("nft list ruleset"), "");
        staying.gc(&[]).ok();
    }
}

#[test]
fn gc_of_another_network_leaves_it_alone() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&full(), &pod);
    let result = attachment.add();
    let other = json!({"name": "other", "ipam": {"ranges": [[{"subnet": "10.9.0.0/24"}]]}});
    attachment.clone().with(&other).gc(&[]).ok();
    attachment.check(&result);
}

#[test]
fn status_tells_that_there_is_no_daemon() {
    let (node, pod) = (Node::new(), Pod::new());
    let error = node.attach(&full(), &pod).status().err();
    error.expect(50, "route-sync has not said yet what this node is");
}

/// Only where there is a bridge can its ports be the reference's. A network of routed pods may share
/// its leases' folder with one of the reference that is still there.
#[test]
fn del_and_gc_look_for_no_pods_of_the_reference() {
    let (node, theirs, pod) = (Node::new(), Pod::new(), Pod::new());
    let attachment = node.attach(&full(), &pod);
    attachment.del(Some(&attachment.add()));
    let netns = theirs.netns();
    node.sh(&format!(
        "ip link add cni0 type bridge; ip link add veththeirs type veth peer name eth0 netns {netns}
         ip link set veththeirs master cni0"
    ));
    theirs.run("ip addr add 10.1.0.77/24 dev eth0");
    let lease =
        || node.write("/var/lib/cni/networks/pods/10.1.0.77", &format!("{}\r\neth0", theirs.id()));
    lease();
    attachment.gc(&[]).ok();
    assert!(node.links().contains(&"veththeirs".to_owned()), "GC");
    lease();
    node.attach(&full(), &theirs).del(None);
    assert!(node.links().contains(&"veththeirs".to_owned()), "DEL");
}
