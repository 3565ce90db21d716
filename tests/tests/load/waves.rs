//! 64 pods come at once, and 64 go, on however few processors.

use std::fmt;
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

/// What rounds took, in milliseconds: ADD of all with their first packets, and DEL of all where
/// all were there.
#[derive(Default)]
pub struct Took {
    add: Vec<u128>,
    del: Vec<u128>,
}

impl Took {
    /// A wave of ADDs, GC, a wave of DELs, GC. Every second round the runtime lost every second pod,
    /// beginning with the second round.
    pub fn round(&mut self, node: &Node, outside: &Outside) {
        let (crowd, add) = timed(|| Crowd::add(node, &full(), pods(WAVE)));
        self.add.push(add);
        crowd.assert_unique();
        crowd.assert_masqueraded(outside);
        crowd.gc(&crowd.valid());
        crowd.check();
        assert_eq!(counted(node), (2 * WAVE, WAVE, WAVE));
        if self.add.len().is_multiple_of(2) {
            halve(&crowd, node);
            crowd.del();
        } else {
            self.del.push(timed(|| crowd.del()).1);
        }
        assert_eq!(counted(node), (0, 0, 0));
        crowd.gc(&[]);
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mean = |all: &[u128]| all.iter().sum::<u128>() / all.len().max(1) as u128;
        let Self { add, del } = self;
        let (rounds, whole) = (add.len(), del.len());
        write!(f, "{rounds} rounds of {WAVE}; ADDs with their first packets {} ms; ", mean(add))?;
        write!(f, "DELs of all {WAVE} {} ms, {whole} times", mean(del))
    }
}

/// Leases of both families, links and records.
fn counted(node: &Node) -> (usize, usize, usize) {
    (node.leases().len(), node.veths().len(), records(node))
}

/// GC of every second pod, whose DEL comes late and finds nothing; the others live on.
fn halve(crowd: &Crowd, node: &Node) {
    let valid: Vec<_> = crowd.valid().into_iter().step_by(2).collect();
    crowd.gc(&valid);
    assert_eq!(counted(node), (WAVE, WAVE / 2, WAVE / 2));
    for (pod, result) in crowd.members.iter().step_by(2) {
        ping(pod, GATEWAY4);
        ping(pod, GATEWAY6);
        node.attach(&full(), pod).check(result);
    }
}

#[test]
fn pods_come_and_go_64_at_a_time() {
    let node = Node::new();
    let outside = Outside::beside(&node);
    let before = steady(&node);
    let mut took = Took::default();
    took.round(&node, &outside);
    let first = idle(&node);
    for _ in 1..count(2, 20) {
        took.round(&node, &outside);
        assert_same(&first, &idle(&node));
    }
    assert_same(&before, &steady(&node));
    report(&format!("one node: {took}"));
}

/// Bridge, its addresses, forwarding, the nftables tables, the lease directory: all made by 64
/// at once.
#[test]
fn the_first_use_of_a_node_is_raced_by_64() {
    let mut took = Took::default();
    for _ in 0..count(2, 20) {
        let node = Node::new();
        let outside = Outside::beside(&node);
        let before = steady(&node);
        took.round(&node, &outside);
        assert_same(&before, &steady(&node));
        let shown = node.addresses(BRIDGE);
        assert_eq!(shown, ["10.1.0.1/20".to_owned(), format!("{GATEWAY6}/64")]);
    }
    report(&format!("a fresh node each: {took}"));
}

/// GC while pods come and go: attachments that it lists are kept, also while its ADD runs.
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
    assert_eq!(counted(&node), (0, 0, 0));
}
