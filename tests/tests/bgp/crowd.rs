//! Pods that are added and deleted all at once.

use std::collections::BTreeSet;

use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, OUTSIDE4};
use ferrule_tests::packets::{ping, udp_source};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::threads::at_once;
use ferrule_tests::{Node, Outside, Pod};

use crate::{full, steady};

#[test]
fn sixty_four_at_once() {
    let node = Node::new();
    let outside = Outside::beside(&node);
    let pods: Vec<Pod> = (0..64).map(|_| Pod::new()).collect();
    let before = steady(&node);
    let results = at_once(&pods, |_, pod| {
        let result = node.attach(&full(), pod).add();
        // The first packets, while others are still being added.
        for address in addresses(&result) {
            ping(&node, &address);
        }
        result
    });
    let all: Vec<String> = results.iter().flat_map(addresses).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 128, "{all:?}");
    at_once(&pods, |nth, pod| {
        node.attach(&full(), pod).check(&results[nth]);
        let next = &results[(nth + 1) % results.len()];
        addresses(next).iter().for_each(|address| ping(pod, address));
        assert_eq!(udp_source(pod, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
    });
    at_once(&pods, |nth, pod| {
        let attachment = node.attach(&full(), pod);
        match nth % 3 {
            0 => attachment.del(Some(&results[nth])),
            1 => attachment.del(None),
            _ => attachment.netns(None).del(None),
        }
    });
    assert_same(&before, &steady(&node));
    assert_eq!(node.run("nft list ruleset"), "");
}
