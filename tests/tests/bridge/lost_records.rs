//! DEL and GC after the records were lost or torn, and GC of more attachments than descriptors.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{ping, tcp_source};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Attachment, Bins, Call, Node, Outside, Pod, Snapshot};
use serde_json::{Value, json};

use crate::{address, records, steady, veth};

/// What may happen to the records between two calls.
const LOSSES: [&str; 3] = [
    "rm -rf /run/ferrule",
    "for file in /run/ferrule/attachments/*; do : >$file; done",
    "for file in /run/ferrule/attachments/*; do truncate -s 40 $file; done",
];

#[test]
fn del_without_its_record_leaves_nothing() {
    for loss in LOSSES {
        for with_result in [true, false] {
            for netns in [true, false] {
                let (node, pod) = (Node::new(), Pod::new());
                let before = steady(Snapshot::of(&node));
                let mut attachment = node.attach(&conf::full(), &pod);
                let result = attachment.add();
                node.sh(loss);
                if !netns {
                    attachment = attachment.netns(None);
                }
                attachment.del(with_result.then_some(&result));
                assert_eq!(node.run("nft list ruleset"), "", "after `{loss}`");
                assert!(!node.links().contains(&veth(&result).to_owned()), "after `{loss}`");
                assert!(node.leases().is_empty(), "after `{loss}`: {:?}", node.leases());
                assert_eq!(records(&node), "", "after `{loss}`");
                assert_same(&before, &steady(Snapshot::of(&node)));
            }
        }
    }
}

/// The same where the veth went as well, with the pod's namespace: elements carry the hash.
#[test]
fn del_without_its_record_and_its_link_leaves_nothing() {
    for loss in LOSSES {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&conf::full(), &pod);
        let result = attachment.add();
        node.sh(loss);
        node.run(&format!("ip link del {}", veth(&result)));
        attachment.netns(None).del(None);
        assert_eq!(node.run("nft list ruleset"), "", "after `{loss}`");
        assert!(node.leases().is_empty(), "after `{loss}`: {:?}", node.leases());
        assert_eq!(records(&node), "", "after `{loss}`");
    }
}

/// GC as [`Attachment::gc`] calls it, still to be altered.
fn gc(attachment: &Attachment, valid: &[&Pod]) -> Call {
    let list = valid.iter().map(|pod| json!({"containerID": pod.id(), "ifname": "eth0"}));
    let keys = json!({"cni.dev/valid-attachments": list.collect::<Vec<_>>()});
    let bare = attachment.clone().with(&keys).call("GC", None);
    let unset = ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS"];
    unset.into_iter().fold(bare, Call::without)
}

/// Some pods, of which three are valid, and something happens: GC takes the others, whole.
fn gc_after(happens: &str, count: usize, alter: impl Fn(&Node, Call) -> Call) {
    let node = Node::new();
    let outside = Outside::beside(&node);
    let pods: Vec<Pod> = (0..count).map(|_| Pod::new()).collect();
    let results: Vec<Value> =
        pods.iter().map(|pod| node.attach(&conf::full(), pod).add()).collect();
    // Not the first three alone.
    let stays = |nth: usize| [0, count / 2, count - 1].contains(&nth);
    let valid: Vec<&Pod> = (0..count).filter(|nth| stays(*nth)).map(|nth| &pods[nth]).collect();
    node.sh(happens);
    alter(&node, gc(&node.attach(&conf::full(), &pods[0]), &valid)).run(&node).ok();
    let (links, rules, leased) = (node.links(), node.run("nft list ruleset"), node.leases());
    for (nth, (pod, result)) in pods.iter().zip(&results).enumerate() {
        let (host, four, six) = (veth(result), address(result, 0), address(result, 1));
        let which = format!("pod {nth} after `{happens}`");
        let hash = host.strip_prefix("veth").unwrap();
        assert_eq!(links.contains(&host.to_owned()), stays(nth), "veth of {which}");
        assert_eq!(rules.contains(hash), stays(nth), "elements of {which}:\n{rules}");
        assert_eq!(leased.contains(&four), stays(nth), "lease of {which}: {leased:?}");
        assert_eq!(leased.contains(&six), stays(nth), "lease of {which}: {leased:?}");
        if stays(nth) {
            ping(pod, GATEWAY4);
            ping(pod, GATEWAY6);
            assert_eq!(tcp_source(pod, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
            assert_eq!(tcp_source(pod, &outside, OUTSIDE6), Ok(NODE6.parse().unwrap()));
        } else {
            assert!(pod.links().is_empty(), "the pod's end of {which}");
        }
    }
    // Those that stay are torn down as any other.
    for (nth, pod) in pods.iter().enumerate().filter(|(nth, _)| stays(*nth)) {
        node.attach(&conf::full(), pod).del(Some(&results[nth]));
    }
    assert_eq!(node.run("nft list ruleset"), "");
    assert!(node.leases().is_empty());
    assert_eq!(records(&node), "", "after `{happens}`");
}

#[test]
fn gc_without_records_removes_what_is_not_valid() {
    for loss in LOSSES {
        gc_after(loss, 7, |_, call| call);
    }
}

#[test]
fn gc_of_many_needs_few_descriptors() {
    let limited = |node: &Node, call: Call| {
        let bridge = Bins::ours().exe("bridge");
        let script = format!("#!/bin/sh\nulimit -n 24\nexec {}\n", bridge.display());
        node.write("/run/bin/limited", &script);
        node.run("chmod +x /run/bin/limited");
        Call { exe: "/run/bin/limited".into(), ..call }
    };
    gc_after("true", 40, limited);
}
