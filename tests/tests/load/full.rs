//! A disk that is full: an ADD fails whole, and what frees space works.

use ferrule_tests::conf::{GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};

use crate::{LEASES, full, records, report};

/// Where small file systems are mounted: the leases', and the records'.
const PLACES: [&str; 2] = ["/var/lib/cni", "/run/ferrule"];

/// Mounts a tmpfs of a few pages or inodes.
fn small(node: &Node, place: &str, limit: &str) {
    node.run(&format!("mkdir -p {place}"));
    node.run(&format!("mount -t tmpfs -o {limit} tmpfs {place}"));
}

/// The node's state without what is in the small file system, and without a bridge.
fn rest(node: &Node) -> Snapshot {
    Snapshot::of(node).without_first_use("cni0").without_files(&PLACES)
}

/// ADDs on ever larger file systems, until one succeeds; gives how many failed.
fn grow(place: &str, limit: impl Fn(usize) -> String) -> usize {
    for size in 1..64 {
        let (node, pod) = (Node::new(), Pod::new());
        let before = rest(&node);
        small(&node, place, &limit(size));
        let attachment = node.attach(&full(), &pod);
        let outcome = attachment.try_add();
        if outcome.code == Some(0) {
            let result = outcome.ok();
            ping(&pod, GATEWAY4);
            ping(&pod, GATEWAY6);
            attachment.check(&result);
            attachment.del(Some(&result));
            assert_same(&before, &rest(&node));
            return size - 1;
        }
        let error = outcome.err();
        assert!(error.code == 5 && error.text().contains("No space left"), "{size}: {error:?}");
        assert!(error.text().contains(place), "{size}: where it is: {error:?}");
        assert_eq!(
            (node.leases().len(), node.veths().len(), records(&node)),
            (0, 0, 0),
            "{size}: {error:?}"
        );
        assert!(pod.links().is_empty(), "{size}");
        assert_same(&before, &rest(&node));
        // DEL of what never was, and GC, on the disk that is still full.
        attachment.del(None);
        attachment.gc(&[]).ok();
        // Space is made, and the retry works.
        node.run(&format!("mount -o remount,{} {place}", limit(4096)));
        let result = attachment.add();
        ping(&pod, GATEWAY4);
        ping(&pod, GATEWAY6);
        attachment.check(&result);
        attachment.del(Some(&result));
        assert_same(&before, &rest(&node));
        assert_eq!((node.leases().len(), records(&node)), (0, 0), "{size}");
    }
    panic!("ADD never succeeds on {place}");
}

#[test]
fn add_on_a_disk_without_space() {
    let place = PLACES[0];
    let failed = grow(place, |pages| format!("size={}", pages * 4096));
    report(&format!("{place} of ever more pages: {failed} ADDs failed, the next succeeded"));
    assert!(failed > 1, "the index alone takes pages");
}

#[test]
fn add_on_a_disk_without_inodes() {
    for place in PLACES {
        let failed = grow(place, |inodes| format!("nr_inodes={inodes}"));
        report(&format!("{place} of ever more inodes: {failed} ADDs failed, the next succeeded"));
        assert!(failed > 1, "{place}: the first inode is the folder's");
    }
}

/// Pods that live when the disk becomes full keep what is theirs, and can be deleted.
#[test]
fn a_disk_that_becomes_full_holds_up_no_del() {
    let (node, pods) = (Node::new(), crate::crowd::pods(6));
    let before = rest(&node);
    for place in PLACES {
        small(&node, place, "size=1m");
    }
    let results: Vec<_> = pods.iter().map(|pod| node.attach(&full(), pod).add()).collect();
    for place in PLACES {
        node.sh(&format!("dd if=/dev/zero of={place}/filler bs=4096 2>/dev/null || :"));
    }
    let late = Pod::new();
    let refused = node.attach(&full(), &late).try_add().err();
    assert!(refused.text().contains("No space left"), "{refused:?}");
    assert_eq!((node.leases().len(), node.veths().len()), (12, 6));
    for (pod, result) in pods.iter().zip(&results) {
        node.attach(&full(), pod).check(result);
        ping(pod, GATEWAY4);
        ping(pod, GATEWAY6);
    }
    for (pod, result) in pods.iter().zip(&results).take(3) {
        node.attach(&full(), pod).del(Some(result));
    }
    assert_eq!((node.leases().len(), node.veths().len()), (6, 3));
    node.attach(&full(), &pods[3]).gc(&[(pods[5].id(), "eth0")]).ok();
    assert_eq!((node.leases().len(), node.veths().len()), (2, 1));
    node.attach(&full(), &pods[5]).check(&results[5]);
    node.attach(&full(), &pods[5]).del(None);
    assert_eq!((node.leases().len(), node.veths().len(), records(&node)), (0, 0, 0));
    assert_same(&before, &rest(&node));
    assert!(node.exists(LEASES));
}
