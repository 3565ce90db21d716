//! Rules and routes beside the reference's, and executables that are swapped.

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, Pod};
use serde_json::{Value, json};

use crate::{Two, routing};

/// The routing after an ADD, or the error; without what the reference removes that neighbours need.
fn outcome(bins: &Bins, keys: &Value) -> Result<Vec<String>, String> {
    let (node, pod) = (Node::new(), Pod::new());
    let two = Two::new(&node, &pod, keys);
    let first = two.main.add();
    pod.settle();
    let sbr = two.sbr.by(bins);
    let added = sbr.call("ADD", Some(&first)).run(&node);
    if added.code != Some(0) {
        return Err(added.err().msg);
    }
    assert_eq!(added.ok(), first);
    let lines = routing(&pod).into_iter();
    Ok(lines.filter(|line| !line.starts_with("fe80::/64")).map(|line| plain(&line)).collect())
}

/// The reference copies on-link routes of one family into the other's table, too.
fn plain(line: &str) -> String {
    line.replace(" proto boot", "").replace(" proto static", "")
}

fn as_the_reference(keys: &Value) {
    let ours = outcome(&Bins::ours(), keys);
    let theirs = outcome(&Bins::reference(), keys);
    let (Ok(ours), Ok(theirs)) = (&ours, &theirs) else {
        assert_eq!(ours, theirs, "{keys}");
        return;
    };
    let missing: Vec<_> = theirs.iter().filter(|line| !ours.contains(line)).collect();
    // Copies for an address of the other family, which no packet takes.
    let idle = |line: &&&String| line.starts_with("fd00:2::/64") && line.contains("table 100");
    let missing: Vec<_> = missing.into_iter().filter(|line| !idle(&line)).collect();
    let more: Vec<_> = ours.iter().filter(|line| !theirs.contains(line)).collect();
    assert!(missing.is_empty() && more.is_empty(), "{keys}\n- {missing:#?}\n+ {more:#?}");
}

#[test]
fn rules_and_routes_are_the_references() {
    for keys in [
        json!({}),
        json!({"table": 77}),
        json!({"addSourceHints": true}),
        json!({"gateways": ["10.2.0.99"]}),
        json!({"gateways": ["fd00:2::99", "10.2.0.99"]}),
        json!({"GATEWAYS": [], "Table": null, "unknown": 5}),
        json!({"table": 77, "gateways": ["nonsense"]}),
    ] {
        as_the_reference(&keys);
    }
}

#[test]
fn each_side_removes_the_others_rules() {
    let both_ways = [(Bins::reference(), Bins::ours()), (Bins::ours(), Bins::reference())];
    for (maker, remover) in &both_ways {
        let (node, pod) = (Node::new(), Pod::new());
        let version = json!({"cniVersion": "1.0.0"});
        let mut two = Two::new(&node, &pod, &version);
        two.main = two.main.with(&version);
        let two = two.by(maker);
        let result = two.add();
        two.sbr.clone().by(remover).check(&result);
        two.sbr.by(remover).del(Some(&result));
        for rules in ["ip rule", "ip -6 rule"] {
            let rules = pod.run(rules);
            assert!(
                !rules.contains("from 10.2.0.2") && !rules.contains("from fd00:2::2"),
                "{rules}"
            );
        }
    }
}

#[test]
fn every_version_of_the_reference_is_served() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (node, pod) = (Node::new(), Pod::new());
        let version = json!({"cniVersion": version});
        let mut two = Two::new(&node, &pod, &version);
        two.main = two.main.with(&version);
        let first = two.main.add();
        let result = two.sbr.call("ADD", Some(&first)).run(&node).ok();
        assert_eq!(result, first, "{version}");
        two.sbr.del(Some(&with(&result, &json!({}))));
    }
}
