//! Beside processes that change iptables' table all the time.

use std::sync::atomic::{AtomicBool, Ordering};

use ferrule_tests::node::Place;
use serde_json::json;

use crate::chain::{Chain, leaves, node};

#[test]
fn rules_of_concurrent_iptables_processes_and_pods_survive_each_other() {
    let (node, outside) = node();
    node.run("iptables-nft -P FORWARD DROP");
    node.run("ip6tables-nft -P FORWARD DROP");
    let done = AtomicBool::new(false);
    let added = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut added = 0_u32;
            while !done.load(Ordering::Relaxed) {
                let (high, low) = (added / 250, added % 250);
                node.run(&format!("iptables-nft -w -A FORWARD -s 192.0.{high}.{low} -j ACCEPT"));
                added += 1;
            }
            added
        });
        for _ in 0..6 {
            let pods = [0, 1].map(|_| Chain::add(&node, &json!({})));
            pods.iter().for_each(Chain::check);
            assert!(leaves(&pods[1], &outside));
            pods.iter().for_each(Chain::del);
        }
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    let listed = node.run("iptables-nft -S FORWARD");
    assert_eq!(listed.matches("-s 192.0.").count() as u32, added, "{listed}");
    assert!(!listed.contains("CNI-FORWARD"), "{listed}");
}
