//! The last use of a node raced with the first: pods leave while others come.
//!
//! The last element of a subnet takes its chain along, and the last of all the table, which the
//! new pod needs at that moment.

use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Outside, Snapshot};
use serde_json::Value;

use crate::crowd::{Crowd, pods};
use crate::{count, full, report, steady, timed};

/// Swaps `size` pods for as many others, again and again.
fn swap(size: usize, times: usize, config: &Value) {
    let node = Node::new();
    let outside = Outside::beside(&node);
    let before = steady(&node);
    let mut old = Crowd::add(&node, config, pods(size));
    let ((), took) = timed(|| {
        for _ in 0..times {
            let fresh = pods(size);
            let new = std::thread::scope(|scope| {
                let leaving = scope.spawn(|| old.del());
                let new = Crowd::add(&node, config, fresh);
                leaving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                new
            });
            new.assert_unique();
            new.check();
            new.assert_masqueraded(&outside);
            assert_eq!((node.leases().len(), node.veths().len()), (2 * size, size));
            old = new;
        }
    });
    old.del();
    report(&format!("{size} for {size} pods, {times} times: {took} ms with their packets"));
    assert_same(&before, &steady(&node));
    assert!(Snapshot::of(&node).lines("nft").is_empty(), "no tables without users");
}

#[test]
fn the_last_pod_leaves_while_the_first_comes() {
    swap(1, count(30, 400), &full());
}

#[test]
fn the_last_eight_leave_while_the_first_eight_come() {
    swap(8, count(5, 60), &full());
}
