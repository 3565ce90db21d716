//! 64 pods come at once, and 64 go, on however few processors.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use ferrule_tests::conf::{BRIDGE, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::threads::Ended;
use ferrule_tests::{Node, Outside, Pod};

use crate::crowd::{Crowd, pods};
use crate::{count, full, idle, records, report, steady, timed};

const WAVE: usize = 64;

/// What a round took, in milliseconds: ADD of all with their first packets, DEL of all.
#[derive(Clone, Copy, Default)]
pub struct Took {
    pub add: u128,
    pub del: u128,
}

impl std::ops::AddAssign for Took {
    fn add_assign(&mut self, other: Self) {
        self.add += other.add;
        self.del += other.del;
    }
}

/// A wave of ADDs, GC, a wave of DELs, GC.
pub fn round(node: &Node, outside: &Outside) -> Took {
    let (crowd, add) = timed(|| Crowd::add(node, &full(), pods(WAVE)));
    crowd.assert_unique();
    crowd.assert_masqueraded(outside);
    crowd.gc(&crowd.valid());
    crowd.check();
    assert_eq!((node.leases().len(), node.veths().len(), records(node)), (2 * WAVE, WAVE, WAVE));
    // The runtime lost every second pod. Their DELs, which come late, find nothing.
    let valid: Vec<_> = crowd.valid().into_iter().step_by(2).collect();
    crowd.gc(&valid);
    assert_eq!(
        (node.leases().len(), node.veths().len(), records(node)),
        (WAVE, WAVE / 2, WAVE / 2)
    );
    for (pod, result) in crowd.members.iter().step_by(2) {
        ping(pod, GATEWAY4);
        ping(pod, GATEWAY6);
        node.attach(&full(), pod).check(result);
    }
    let ((), del) = timed(|| crowd.del());
    assert_eq!((node.leases().len(), node.veths().len(), records(node)), (0, 0, 0));
    crowd.gc(&[]);
    Took { add, del }
}

fn tell(what: &str, rounds: usize, took: Took) {
    let rounds = rounds as u128;
    let (add, del) = (took.add / rounds, took.del / rounds);
    report(&format!(
        "{what}: {rounds} rounds of {WAVE}; ADDs with their first packets {add} ms, DELs {del} ms"
    ));
}

#[test]
fn pods_come_and_go_64_at_a_time() {
    let node = Node::new();
    let outside = Outside::beside(&node);
    let before = steady(&node);
    let mut took = round(&node, &outside);
    let first = idle(&node);
    let rounds = count(2, 20);
    for _ in 1..rounds {
        took += round(&node, &outside);
        assert_same(&first, &idle(&node));
    }
    assert_same(&before, &steady(&node));
    tell("one node", rounds, took);
}

/// Bridge, its addresses, forwarding, the nftables tables, the lease directory: all made by 64
/// at once.
#[test]
fn the_first_use_of_a_node_is_raced_by_64() {
    let rounds = count(2, 20);
    let mut took = Took::default();
    for _ in 0..rounds {
        let node = Node::new();
        let outside = Outside::beside(&node);
        let before = steady(&node);
        took += round(&node, &outside);
        assert_same(&before, &steady(&node));
        let shown = node.addresses(BRIDGE);
        assert_eq!(shown, ["10.1.0.1/20".to_owned(), format!("{GATEWAY6}/64")]);
    }
    tell("a fresh node each", rounds, took);
}

/// GC while pods come and go: what it is told to keep is kept, also while its ADD runs.
#[test]
fn gc_runs_beside_adds_and_dels() {
    let node = Node::new();
    let before = steady(&node);
    let (done, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
    let rounds = count(2, 20);
    thread::scope(|scope| {
        let all: Vec<Vec<Pod>> = (0..rounds).map(|_| pods(WAVE / 2)).collect();
        let ids: Vec<String> = all.iter().flatten().map(|pod| pod.id().to_owned()).collect();
        let (node, done, turns) = (&node, &done, &turns);
        scope.spawn(move || {
            let collector = Pod::new();
            let valid: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "eth0")).collect();
            while !done.load(Ordering::Relaxed) {
                node.attach(&full(), &collector).gc(&valid).ok();
                turns.fetch_add(1, Ordering::Relaxed);
            }
        });
        let ended = Ended(done);
        for wave in all {
            let crowd = Crowd::add(node, &full(), wave);
            crowd.assert_unique();
            crowd.check();
            crowd.del();
        }
        drop(ended);
    });
    let turns = turns.into_inner();
    report(&format!("GC beside {rounds} waves of {}: it ran {turns} times", WAVE / 2));
    assert!(turns > 0);
    assert_same(&before, &steady(&node));
    assert_eq!((node.leases().len(), node.veths().len(), records(&node)), (0, 0, 0));
}
