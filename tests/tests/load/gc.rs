//! GC of many attachments: after the loss of a runtime's state most are gone, a few remain.

use std::time::Duration;

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Bins, Node, Outside, Pod, Snapshot, within};
use serde_json::{Value, json};

use crate::crowd::{Crowd, pods};
use crate::{LEASES, count, full, records, report, steady, timed};

/// How many attachments there are, and how many remain valid.
fn many() -> (usize, usize) {
    (count(60, 500), count(7, 37))
}

/// Which of them remain valid: spread over all.
fn spread(all: usize, valid: usize) -> Vec<usize> {
    (0..valid).map(|nth| nth * all / valid).collect()
}

/// Fails unless the node holds just these pods, each whole.
fn assert_only(node: &Node, crowd: &Crowd, remaining: &[usize]) {
    let count = remaining.len();
    assert_eq!((node.leases().len(), node.veths().len(), records(node)), (2 * count, count, count));
    let rules = node.run("nft list ruleset");
    // Two addresses, each for masquerade and for what conntrack calls invalid, the port, and the
    // port with its MAC address.
    assert_eq!(rules.matches("comment \"ferrule ").count(), 6 * count, "{rules}");
    for (pod, result) in remaining.iter().map(|nth| &crowd.members[*nth]) {
        ping(pod, GATEWAY4);
        ping(pod, GATEWAY6);
        node.attach(&full(), pod).check(result);
    }
}

#[test]
fn gc_of_many_of_which_few_remain() {
    let (all, valid) = many();
    let node = Node::new();
    let outside = Outside::beside(&node);
    let before = steady(&node);
    let crowd = Crowd::fill(&node, &full(), all);
    crowd.assert_unique();
    let remaining = spread(all, valid);
    let names = crowd.valid();
    let list: Vec<_> = remaining.iter().map(|nth| names[*nth]).collect();
    let ((), took) = timed(|| crowd.gc(&list));
    report(&format!("GC of {all} attachments of which {valid} remain: {took} ms"));
    assert_only(&node, &crowd, &remaining);
    let ((), idle) = timed(|| crowd.gc(&list));
    report(&format!("GC once more, with nothing to do: {idle} ms"));
    assert_only(&node, &crowd, &remaining);
    let ((), took) = timed(|| crowd.gc(&[]));
    report(&format!("GC of these {valid} with an empty list: {took} ms"));
    assert_same(&before, &steady(&node));
    // What GC freed is to be had again, by pods that are whole.
    let again = Crowd::add(&node, &full(), pods(8));
    again.assert_masqueraded(&outside);
    again.del();
    assert_same(&before, &steady(&node));
}

/// Records are on tmpfs and may be lost: the marks in the kernel suffice.
#[test]
fn gc_of_many_without_records() {
    let (all, valid) = (count(20, 100), count(3, 9));
    let node = Node::new();
    let crowd = Crowd::fill(&node, &full(), all);
    let remaining = spread(all, valid);
    let names = crowd.valid();
    node.run("rm -r /run/ferrule");
    let list: Vec<_> = remaining.iter().map(|nth| names[*nth]).collect();
    let ((), took) = timed(|| crowd.gc(&list));
    report(&format!("GC of {all} attachments without records, {valid} remain: {took} ms"));
    assert_eq!((node.leases().len(), node.veths().len(), records(&node)), (2 * valid, valid, 0));
    let rules = node.run("nft list ruleset");
    assert_eq!(rules.matches("comment \"ferrule ").count(), 6 * valid, "{rules}");
}

#[test]
fn gc_leaves_another_network_on_the_bridge() {
    let (all, valid) = (count(20, 200), count(3, 15));
    let node = Node::new();
    let keys = json!({"name": "others", "ipam": {"ranges":
        [[{"subnet": "10.1.0.0/20", "rangeStart": "10.1.15.0"}],
         [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::f:0"}]]}});
    let others = Crowd::fill(&node, &conf::with(&full(), &keys), all);
    let alone = Snapshot::of(&node).without_lease_history();
    let crowd = Crowd::fill(&node, &full(), all);
    let names = crowd.valid();
    let list: Vec<_> = spread(all, valid).into_iter().map(|nth| names[nth]).collect();
    let ((), took) = timed(|| crowd.gc(&list));
    report(&format!("GC of {all}, {valid} remain, {all} of another network: {took} ms"));
    assert_eq!((node.leases().len(), node.veths().len()), (2 * valid, all + valid));
    others.check();
    crowd.gc(&[]);
    assert_same(&alone, &Snapshot::of(&node).without_lease_history());
    for (pod, _) in &others.members {
        ping(pod, GATEWAY4);
        ping(pod, GATEWAY6);
    }
    others.check();
}

/// A node that changed over from the reference: leases of both in one directory.
#[test]
fn gc_with_leases_of_the_reference() {
    let (all, valid) = (count(12, 60), count(3, 10));
    let node = Node::new();
    // The reference sits out a second of detection for its IPv6 gateway.
    node.set_sysctl("net/ipv6/conf/default/accept_dad", "0");
    let old = conf::with(&full(), &json!({"macspoofchk": null}));
    let mut before_us: Vec<(Pod, Value)> = pods(all)
        .into_iter()
        .map(|pod| {
            let result = node.attach(&old, &pod).by(&Bins::reference()).add();
            (pod, result)
        })
        .collect();
    let crowd = Crowd::fill(&node, &full(), all);
    crowd.assert_unique();
    assert_eq!(node.leases().len(), 4 * all, "no address of the reference's is given again");
    let kept = before_us.split_off(all - valid);
    let gone: Vec<String> = before_us.iter().flat_map(|(_, result)| addresses(result)).collect();
    // The pods that are gone took their links along.
    drop(before_us);
    let links_gone = || (node.veths().len() == all + valid).then_some(());
    within(Duration::from_secs(20), links_gone).expect("the kernel removes the links of gone pods");
    let remaining = spread(all, valid);
    let ours = crowd.valid();
    let mut list: Vec<_> = remaining.iter().map(|nth| ours[*nth]).collect();
    list.extend(kept.iter().map(|(pod, _)| (pod.id(), "eth0")));
    let ((), took) = timed(|| crowd.gc(&list));
    report(&format!(
        "GC of {all} of ours and {all} of the reference's, {valid} each remain: {took} ms"
    ));
    assert_eq!(
        (node.leases().len(), node.veths().len(), records(&node)),
        (4 * valid, 2 * valid, valid)
    );
    let rules = node.run("nft list ruleset") + &node.sh("iptables-save; ip6tables-save");
    let words = |text: &str| {
        let part = |c: char| !(c.is_alphanumeric() || ".:".contains(c));
        text.split(part).map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let named = words(&rules);
    for address in &gone {
        assert!(!named.contains(address), "a rule of {address} stayed:\n{rules}");
        assert!(!node.exists(&format!("{LEASES}/{address}")), "the lease of {address} stayed");
    }
    for (pod, result) in &kept {
        ping(pod, GATEWAY4);
        ping(pod, GATEWAY6);
        node.attach(&old, pod).by(&Bins::reference()).check(result);
    }
    for nth in remaining {
        let (pod, result) = &crowd.members[nth];
        node.attach(&full(), pod).check(result);
    }
}
