//! Pods that are added and deleted all at once.

use std::collections::BTreeSet;

use ferrule_tests::conf::{GATEWAY4, GATEWAY6};
use ferrule_tests::invoke::addresses;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{ping, udp_source};
use ferrule_tests::threads::at_once;
use ferrule_tests::{Node, Outside, Pod};
use serde_json::Value;

/// Pods of one network, each with what its ADD answered.
pub struct Crowd<'a> {
    node: &'a Node,
    config: Value,
    /// The pods.
    pub members: Vec<(Pod, Value)>,
}

impl<'a> Crowd<'a> {
    /// Adds pods at once. Each reaches the gateway with its first packet, of IPv4 and of IPv6,
    /// while others are still being added.
    pub fn add(node: &'a Node, config: &Value, pods: Vec<Pod>) -> Self {
        let results = at_once(&pods, |_, pod| {
            let result = node.attach(config, pod).add();
            ping(pod, GATEWAY4);
            ping(pod, GATEWAY6);
            result
        });
        let members = pods.into_iter().zip(results).collect();
        Self { node, config: config.clone(), members }
    }

    /// Adds many, 32 at a time, without packets. A bridge sends what each newcomer announces to
    /// all its ports, and where they are hundreds the kernel's queue for it is full
    /// (net.core.netdev_max_backlog, 1000): it drops first packets, whichever plugin added the pods.
    pub fn fill(node: &'a Node, config: &Value, count: usize) -> Self {
        let mut members = vec![];
        while members.len() < count {
            let pods = pods(32.min(count - members.len()));
            let results = at_once(&pods, |_, pod| node.attach(config, pod).add());
            members.extend(pods.into_iter().zip(results));
        }
        Self { node, config: config.clone(), members }
    }

    /// Fails unless every pod has one address of each family, which no other has.
    pub fn assert_unique(&self) {
        let all = self.members.iter().flat_map(|(_, result)| addresses(result));
        let all: Vec<String> = all.collect();
        assert_eq!(all.len(), 2 * self.members.len(), "{all:?}");
        let unique: BTreeSet<&String> = all.iter().collect();
        assert_eq!(unique.len(), all.len(), "an address was given twice: {all:?}");
    }

    /// Fails unless CHECK of every pod succeeds, 64 at once.
    pub fn check(&self) {
        for some in self.members.chunks(64) {
            at_once(some, |_, (pod, result)| {
                self.node.attach(&self.config, pod).check(result);
            });
        }
    }

    /// Fails unless every pod speaks to the world as the node.
    pub fn assert_masqueraded(&self, outside: &Outside) {
        at_once(&self.members, |_, (pod, _)| {
            for (to, seen) in [(OUTSIDE4, NODE4), (OUTSIDE6, NODE6)] {
                assert_eq!(udp_source(pod, outside, to), Ok(seen.parse().unwrap()), "{}", pod.id());
            }
        });
    }

    /// The pods as GC's list names them.
    pub fn valid(&self) -> Vec<(&str, &str)> {
        self.members.iter().map(|(pod, _)| (pod.id(), "eth0")).collect()
    }

    /// GC that leaves only these attachments; it must succeed.
    pub fn gc(&self, valid: &[(&str, &str)]) {
        self.node.attach(&self.config, &Pod::new()).gc(valid).ok();
    }

    /// Deletes all at once, as a runtime does on good days and on bad ones: with the result,
    /// without it, and without the namespace.
    pub fn del(&self) {
        at_once(&self.members, |nth, (pod, result)| {
            let attachment = self.node.attach(&self.config, pod);
            match nth % 3 {
                0 => attachment.del(Some(result)),
                1 => attachment.del(None),
                _ => attachment.netns(None).del(None),
            }
        });
    }
}

/// New pods, some at a time: making one waits for the kernel more than it works.
pub fn pods(count: usize) -> Vec<Pod> {
    let makers = 16.min(count);
    let shares: Vec<usize> = (0..makers).map(|nth| (count + nth) / makers).collect();
    let made = at_once(&shares, |_, share| (0..*share).map(|_| Pod::new()).collect::<Vec<_>>());
    made.into_iter().flatten().collect()
}
