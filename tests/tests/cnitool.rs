//! The reference's own client, cnitool, drives our executables.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{ping, tcp_source};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::tool::Finished;
use ferrule_tests::{Node, Outside, Pod, Snapshot, bins, cnitool};
use serde_json::{Value, json};

fn call(node: &Node, verb: &str, network: &str, pod: &Pod) -> Finished {
    cnitool::call(node, verb, network, pod, &json!({}))
}

#[track_caller]
fn must(node: &Node, verb: &str, network: &str, pod: &Pod) -> String {
    cnitool::must(node, verb, network, pod, &json!({}))
}

fn conflist(version: &str) -> Value {
    let text = std::fs::read_to_string(bins::workspace().join("conf/10-bridge.conflist")).unwrap();
    let mut list: Value = serde_json::from_str(&text).unwrap();
    list["cniVersion"] = json!(version);
    list
}

fn run_of(version: &str) {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    let before = Snapshot::of(&node);
    node.write("/run/net.d/10-bridge.conflist", &conflist(version).to_string());
    let first: Value = serde_json::from_str(&must(&node, "add", "ferrule", &one)).unwrap();
    must(&node, "add", "ferrule", &two);
    assert_eq!(first["cniVersion"], version);
    assert_eq!(first["ips"][0]["address"], "10.244.0.2/24");
    for target in ["10.244.0.1", "fd00:10:244::1", "10.244.0.3", "fd00:10:244::3"] {
        ping(&one, target);
    }
    assert_eq!(tcp_source(&one, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
    assert_eq!(tcp_source(&one, &outside, OUTSIDE6), Ok(NODE6.parse().unwrap()));
    // CHECK is of 0.4.0.
    if version >= "0.4.0" {
        must(&node, "check", "ferrule", &one);
        one.run("ip addr del 10.244.0.2/24 dev eth0");
        assert!(!call(&node, "check", "ferrule", &one).status.success());
    }
    for pod in [&one, &two] {
        must(&node, "del", "ferrule", pod);
        must(&node, "del", "ferrule", pod);
        assert!(pod.links().is_empty());
    }
    node.run("rm -r /run/net.d");
    // libcni keeps the results of attachments in its own folder.
    let bare = |snapshot: Snapshot| snapshot.without_first_use("cni0");
    assert_same(&bare(before), &bare(Snapshot::of(&node)));
}

#[test]
fn conflist_0_3_1() {
    run_of("0.3.1");
}

#[test]
fn conflist_0_4_0() {
    run_of("0.4.0");
}

#[test]
fn conflist_1_0_0() {
    run_of("1.0.0");
}

/// A single `.conf` as tutorials of 2016 have it.
#[test]
fn an_old_tutorials_configuration() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    let text =
        std::fs::read_to_string(bins::workspace().join("conf/10-bridge-legacy.conf")).unwrap();
    node.write("/run/net.d/10-mynet.conf", &text);
    let result: Value = serde_json::from_str(&must(&node, "add", "mynet", &one)).unwrap();
    assert_eq!(result["cniVersion"], "0.2.0");
    assert_eq!(result["ip4"]["ip"], "10.22.0.2/16");
    must(&node, "add", "mynet", &two);
    ping(&one, "10.22.0.3");
    ping(&one, "10.22.0.1");
    assert_eq!(tcp_source(&one, &outside, OUTSIDE4), Ok(NODE4.parse().unwrap()));
    for pod in [&one, &two] {
        must(&node, "del", "mynet", pod);
        assert!(pod.links().is_empty());
    }
    assert_eq!(node.sh("ls /var/lib/cni/networks/mynet | grep -v -e ^last -e lock || true"), "");
}

/// A failure's text reaches the user of cnitool.
#[test]
fn an_error_reaches_the_user() {
    let (node, pod) = (Node::new(), Pod::new());
    let mut list = conflist("1.0.0");
    list["plugins"][0]["promiscMode"] = json!(true);
    node.write("/run/net.d/10-bridge.conflist", &list.to_string());
    let done = call(&node, "add", "ferrule", &pod);
    assert!(!done.status.success());
    let said = done.stdout + &done.stderr;
    assert!(
        said.contains("cannot set hairpin mode and promiscuous mode at the same time"),
        "{said}"
    );
    assert!(pod.links().is_empty());
}
