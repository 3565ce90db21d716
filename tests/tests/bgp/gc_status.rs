//! GC, and STATUS without a daemon.

use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};

use crate::full;

#[test]
fn status_reports_that_there_is_no_daemon() {
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
