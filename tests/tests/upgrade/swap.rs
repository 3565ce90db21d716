//! The executables are replaced while runtimes call them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::threads::Ended;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::Value;

use crate::{Kind, Reference, newest, require_bare};

/// A folder that a node's runtimes use, with one suite's executables in it.
fn install(node: &Node, from: &Bins) {
    let folder = from.dir().display();
    node.sh(&format!(
        "mkdir -p /run/bin
        for name in bridge host-local; do
            cp {folder}/$name /run/bin/.$name.new
            mv /run/bin/.$name.new /run/bin/$name
        done"
    ));
}

fn add_all(node: &Node, config: &Value, pods: &[Pod], done: &AtomicUsize) -> Vec<Value> {
    let next = AtomicUsize::new(0);
    let mut results = vec![Value::Null; pods.len()];
    let slots: Vec<_> = results.iter_mut().map(std::sync::Mutex::new).collect();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while let Some(nth) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && nth < pods.len()
                {
                    let by = Bins::at("/run/bin".as_ref());
                    let result = node.attach(config, &pods[nth]).by(&by).add();
                    **slots[nth].lock().unwrap() = result;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    drop(slots);
    results
}

#[test]
fn during_many_adds() {
    let node = Node::new();
    let reference = Reference::Old;
    let kind = Kind { reference, dual: true, masquerade: true, spoof_check: false };
    let config = kind.config();
    let pods: Vec<Pod> = (0..64).map(|_| Pod::new()).collect();
    install(&node, &Bins::old_reference());
    let (ended, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let results = thread::scope(|scope| {
        scope.spawn(|| {
            let all = [Bins::ours(), Bins::old_reference(), Bins::reference()];
            let mut turns = all.into_iter().cycle();
            while !ended.load(Ordering::Relaxed) {
                install(&node, &turns.next().unwrap());
                thread::sleep(Duration::from_millis(20));
            }
        });
        let _ended = Ended(&ended);
        add_all(&node, &config, &pods, &done)
    });
    assert_eq!(done.load(Ordering::Relaxed), pods.len());
    let all: BTreeSet<String> = results.iter().flat_map(addresses).collect();
    assert_eq!(all.len(), 2 * pods.len(), "no address was given twice");
    for nth in [0, 31, 63] {
        ping(&pods[nth], "10.1.0.1");
        ping(&pods[nth], &addresses(&results[63 - nth])[0]);
    }
    for (pod, result) in pods.iter().zip(&results) {
        node.attach(&config, pod).check(result);
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(nth) = Some(next.fetch_add(1, Ordering::Relaxed))
                    && let Some(pod) = pods.get(nth)
                {
                    node.attach(&config, pod).del(Some(&results[nth]));
                }
            });
        }
    });
    node.attach(&newest(&config), &pods[0]).gc(&[]).ok();
    require_bare(&node, "after all");
}
