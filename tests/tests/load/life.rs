//! Long life: pods come and go by the thousand, and nothing grows.

use std::fmt::Write as _;

use ferrule_tests::conf::{BRIDGE, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod};

use crate::{LEASES, count, full, idle, report, timed};

/// What is counted besides the snapshot: the kernel's lists, and what the files take.
const COUNTS: [(&str, &str); 9] = [
    ("links", "ls -1 /sys/class/net | wc -l"),
    ("forwarding entries", "bridge fdb show | wc -l"),
    ("multicast groups", "cd /proc/thread-self/net; cat dev_mcast igmp igmp6 | wc -l"),
    ("netlink sockets", "wc -l </proc/thread-self/net/netlink"),
    ("packet sockets", "wc -l </proc/thread-self/net/packet"),
    ("leases", "ls -1 /var/lib/cni/networks/pods | grep -c '^[0-9f]' || :"),
    ("files of leases", "find /var/lib | wc -l"),
    ("bytes of the index", "stat -c %s /var/lib/cni/networks/.ferrule/pods/index"),
    ("inodes of /run", "df --output=iused /run | tail -n1"),
];

fn counts(node: &Node) -> Vec<(&'static str, String)> {
    COUNTS.map(|(name, script)| (name, node.sh(script).trim().to_owned())).to_vec()
}

#[test]
fn nothing_grows_over_a_long_life() {
    let (node, pod) = (Node::new(), Pod::new());
    let mut attachment = node.attach(&full(), &pod);
    let mut cycle = |nth: usize| {
        attachment.container = format!("life-{nth}");
        let result = attachment.add();
        if nth.is_multiple_of(50) {
            ping(&pod, GATEWAY4);
            ping(&pod, GATEWAY6);
            attachment.check(&result);
        }
        // As runtimes call it: mostly with the result, after a crash without.
        attachment.del((!nth.is_multiple_of(7)).then_some(&result));
    };
    // The first pods make the bridge, the index, and the blocks that note which addresses are
    // taken. The IPv6 addresses then come to the next block of 32768, within a normal run too.
    cycle(0);
    node.write(&format!("{LEASES}/last_reserved_ip.1"), "fd00:1::7fc0");
    cycle(1);
    let (before, counted) = (idle(&node), counts(&node));
    let cycles = count(200, 20_000);
    let ((), elapsed) = timed(|| (0..cycles).for_each(&mut cycle));
    // Once the kernel is done with the last link, which DEL does not wait for.
    let end = idle(&node);
    let after = counts(&node);
    let mut text = format!("{cycles} ADD/DEL cycles in {} s;", elapsed / 1000);
    for ((name, old), (_, new)) in counted.iter().zip(&after) {
        write!(text, " {name} {old} → {new};").unwrap();
    }
    report(&text);
    assert_same(&before, &end);
    assert_eq!(counted, after);
    assert!(node.links().contains(&BRIDGE.to_owned()));
}
