//! macspoofchk as frames show it.

use std::time::Duration;

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::raw::{self, Mac, Sniffer};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Pod, Snapshot};
use serde_json::{Value, json};

const FORGED: Mac = [0x02, 0xba, 0xad, 0, 0, 1];

fn checked() -> Value {
    conf::with(&conf::dual(), &json!({"macspoofchk": true}))
}

fn own_mac(pod: &Pod) -> Mac {
    raw::mac(pod.link("eth0").unwrap()["address"].as_str().unwrap())
}

/// Whether a frame that `from` sends under a MAC arrives at `to`.
fn arrives(from: &Pod, to: &Pod, source: Mac) -> bool {
    let sniffer = Sniffer::on(to, "eth0");
    let frame = raw::frame(own_mac(to), source, b"whose is this?");
    raw::send(from, "eth0", &frame);
    sniffer.wait(Duration::from_millis(500), |seen| seen[..28] == frame[..28]).is_some()
}

#[test]
fn frames_under_another_mac_are_dropped() {
    let (node, guarded, free, target) = (Node::new(), Pod::new(), Pod::new(), Pod::new());
    let attachment = node.attach(&checked(), &guarded);
    let result = attachment.add();
    node.attach(&conf::dual(), &free).add();
    node.attach(&conf::dual(), &target).add();
    assert!(arrives(&free, &target, FORGED), "an unguarded pod may forge");
    assert!(!arrives(&guarded, &target, FORGED), "a guarded pod may not");
    assert!(arrives(&guarded, &target, own_mac(&guarded)), "but may speak as itself");
    ping(&guarded, "10.1.0.4");
    ping(&guarded, "fd00:1::4");
    attachment.check(&result);
}

#[test]
fn it_goes_with_its_pod_and_with_no_other() {
    let (node, one, two, target) = (Node::new(), Pod::new(), Pod::new(), Pod::new());
    let before = Snapshot::of(&node);
    let staying = node.attach(&checked(), &one);
    let leaving = node.attach(&checked(), &two);
    let witness = node.attach(&conf::dual(), &target);
    let (kept, gone, seen) = (staying.add(), leaving.add(), witness.add());
    leaving.del(Some(&gone));
    assert!(!arrives(&one, &target, FORGED));
    staying.check(&kept);
    staying.del(None);
    witness.del(Some(&seen));
    let bare = |snapshot: Snapshot| snapshot.without_first_use("cni0");
    assert_same(&bare(before), &bare(Snapshot::of(&node)));
}

#[test]
fn it_guards_a_network_without_ipam_too() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let config = conf::with(&conf::l2(), &json!({"macspoofchk": true}));
    node.attach(&config, &one).add();
    node.attach(&config, &two).add();
    assert!(arrives(&one, &two, own_mac(&one)));
    assert!(!arrives(&one, &two, FORGED));
}
