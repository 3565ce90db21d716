//! Other writers of nftables: each of their changes is a new generation of the ruleset, by which
//! ours are refused and decided again.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::threads::Ended;
use ferrule_tests::{Node, Outside, Pod, Snapshot};

use crate::waves::Took;
use crate::{count, full, report, steady};

/// What is there as long as a writer lives.
const SETTING: &str = "
    table inet foreign {
        set seen { type ipv4_addr; flags timeout; }
        map marks { type ipv6_addr : mark; }
        chain c { type filter hook forward priority 10; }
    }
    table ip others { set a { type inet_service; }; set b { type ifname; }; }";

/// Elements of a table of its own come and go.
const OF_ITS_OWN: &str = "add element inet foreign seen { 192.0.2.NN timeout 1h }
delete element inet foreign seen { 192.0.2.NN }
";

/// Elements of many sets, rules, and whole tables come and go.
const OF_OTHER_SETS: &str = "add element ip others a { 10NN }
add element inet foreign marks { 2001:db8::NN : NN }
add rule inet foreign c ip saddr 192.0.2.NN counter
delete element ip others a { 10NN }
add element ip others b { \"ethNN\" }
delete element inet foreign marks { 2001:db8::NN }
flush chain inet foreign c
delete element ip others b { \"ethNN\" }
add table bridge passingNN
delete table bridge passingNN
";

/// Elements of the sets of our table that are kept for others.
const OF_THE_CLUSTER_SETS: &str = "add element inet ferrule cluster4 { 203.0.113.NN }
delete element inet ferrule cluster4 { 203.0.113.NN }
";

fn nft(node: &Node) -> Child {
    let mut command = Command::new("nft");
    command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    node.ns().enter(|| command.spawn()).expect("nft is missing: apt-get install nftables")
}

/// Runs `work` while a writer makes its changes all the while; gives how many it made.
fn beside(node: &Node, changes: &str, work: impl FnOnce()) -> usize {
    let done = AtomicBool::new(false);
    let mut writer = nft(node);
    let mut input = writer.stdin.take().unwrap();
    let made = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut made = 0;
            // The pipe holds a few hundred changes at most, and then this waits for nft.
            while !done.load(Ordering::Relaxed) {
                let text = changes.replace("NN", &format!("{}", made % 200 + 1));
                input.write_all(text.as_bytes()).expect("nft takes all changes");
                made += text.lines().count();
            }
            input.write_all(b"quit\n").expect("nft takes all changes");
            drop(input);
            made
        });
        let ended = Ended(&done);
        work();
        drop(ended);
        writing.join().unwrap()
    });
    assert!(writer.wait().unwrap().success());
    made
}

/// Waves of 64, on one node, beside a writer.
fn waves(what: &str, changes: &str) {
    let node = Node::new();
    let outside = Outside::beside(&node);
    node.sh(&format!("nft -f - <<'EOF'\n{SETTING}\nEOF"));
    let before = steady(&node);
    let (rounds, mut took) = (count(2, 20), Took::default());
    let made = beside(&node, changes, || (0..rounds).for_each(|_| took.round(&node, &outside)));
    report(&format!("beside a writer of {what}, {made} changes: {took}"));
    assert!(made > rounds * 64, "the writer hardly ran: {made}");
    assert_same(&before, &steady(&node));
}

#[test]
fn beside_a_writer_of_a_table_of_its_own() {
    waves("elements in a table of its own", OF_ITS_OWN);
}

#[test]
fn beside_a_writer_of_many_sets_rules_and_tables() {
    waves("many sets, rules and tables", OF_OTHER_SETS);
}

/// These keep our table alive as long as they are there; the first DEL afterwards takes it.
#[test]
fn beside_a_writer_of_our_cluster_sets() {
    let node = Node::new();
    let outside = Outside::beside(&node);
    let before = steady(&node);
    let (rounds, mut took) = (count(2, 20), Took::default());
    let made = beside(&node, OF_THE_CLUSTER_SETS, || {
        (0..rounds).for_each(|_| took.round(&node, &outside));
    });
    report(&format!("beside a writer of our cluster sets, {made} changes: {took}"));
    assert!(made > rounds * 64, "the writer hardly ran: {made}");
    let pod = Pod::new();
    let attachment = node.attach(&full(), &pod);
    // When `nft` deletes the last element of an interval set it leaves the mark of an end in it,
    // which it does not show and the kernel counts.
    node.sh("nft flush set inet ferrule cluster4 2>/run/flushed || :; rm /run/flushed");
    let result = attachment.add();
    attachment.del(Some(&result));
    assert_same(&before, &steady(&node));
    assert!(Snapshot::of(&node).lines("nft").is_empty(), "no tables without users");
}
