//! Executables swapped while pods live.

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::json;

use crate::{Chain, both, host_end, ifbs, limits, state};

#[test]
fn our_del_removes_what_the_reference_made() {
    for (with_result, old) in [(true, false), (false, false), (true, true)] {
        let bins = if old { Bins::old_reference() } else { Bins::reference() };
        let (node, pod) = (Node::new(), Pod::new());
        let version = json!({"cniVersion": "1.0.0"});
        let chain = Chain::new(&node, &conf::with(&conf::v4(), &version), &both(), &pod);
        let first = chain.main.add();
        let before = state(&node);
        let config = conf::with(&limits(&both()), &version);
        let theirs = node.attach(&config, &pod).by(&bins);
        let result = theirs.call("ADD", Some(&first)).run(&node).ok();
        assert_eq!(ifbs(&node).len(), 1);
        node.attach(&config, &pod).del(with_result.then_some(&result));
        // Our own plugin's link is known without a result, too.
        assert_same(&before, &state(&node));
    }
}

#[test]
fn the_references_del_removes_our_device_and_gc_the_rest() {
    let (node, pod) = (Node::new(), Pod::new());
    let chain = Chain::new(&node, &conf::v4(), &both(), &pod);
    let result = chain.add(&node);
    let version = json!({"cniVersion": "1.0.0"});
    let theirs = chain.bandwidth.clone().with(&version).by(&Bins::reference());
    theirs.del(Some(&result));
    assert!(ifbs(&node).is_empty());
    chain.bandwidth.gc(&[]).ok();
    assert!(!crate::shaping(&node, &host_end(&result)).contains("1:"));
    assert_eq!(node.sh("ls /run/ferrule/attachments | grep bandwidth || true"), "");
}

#[test]
fn an_add_takes_over_what_the_reference_left_of_the_container() {
    let (node, pod) = (Node::new(), Pod::new());
    let version = json!({"cniVersion": "1.0.0"});
    let first = node.attach(&conf::with(&conf::v4(), &version), &pod).add();
    let config = conf::with(&limits(&both()), &version);
    let theirs = node.attach(&config, &pod).by(&Bins::reference());
    theirs.call("ADD", Some(&first)).run(&node).ok();
    let ours = node.attach(&config, &pod);
    let result = ours.call("ADD", Some(&first)).run(&node).ok();
    ours.check(&result);
    ours.del(Some(&result));
    assert!(ifbs(&node).is_empty());
}
