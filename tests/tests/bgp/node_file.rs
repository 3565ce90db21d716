//! What the daemon says of the node in node.json: ranges, MTU, and whether STATUS is well.

use ferrule_tests::bins::workspace;
use ferrule_tests::conf::{version, with};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Background, Node, Pod, within};
use serde_json::{Value, json};
use std::time::Duration;

use crate::{address, steady};

const LOCK: &str = "/run/ferrule/route-sync.lock";

fn file() -> Value {
    json!({
        "version": 1, "node": "one", "podCIDRs": ["10.244.1.0/24", "fd00:10:244:1::/64"],
        "clusterCIDRs": ["10.244.0.0/16"], "mtu": 1420, "bgp": {"asn": 64512}, "synced": true,
    })
}

fn write_node_file(node: &Node, over: &Value) {
    node.write("/run/ferrule/node.json", &with(&file(), over).to_string());
}

/// The lock of a daemon that runs.
fn daemon(node: &Node) -> Background {
    let held = node.spawn(&format!("flock --close {LOCK} sleep 600"));
    let taken = || (!node.try_run(&format!("flock -n {LOCK} true")).status.success()).then_some(());
    within(Duration::from_secs(5), taken).expect("the lock is taken");
    held
}

/// All that a network needs to say then.
fn bare() -> Value {
    json!({"cniVersion": version(), "name": "pods", "type": "bgp", "ipMasq": true,
        "ipam": {"type": "host-local"}})
}

#[test]
fn ranges_and_mtu_are_the_nodes() {
    let (node, pod) = (Node::new(), Pod::new());
    write_node_file(&node, &json!({}));
    let before = steady(&node);
    let attachment = node.attach(&bare(), &pod);
    let result = attachment.add();
    assert_eq!(
        (address(&result, 0), address(&result, 1)),
        ("10.244.1.2".into(), "fd00:10:244:1::2".into())
    );
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1420);
    ping(&node, "10.244.1.2");
    ping(&node, "fd00:10:244:1::2");
    attachment.check(&result);
    // The daemon says another MTU: pods that live keep theirs.
    write_node_file(&node, &json!({"mtu": 1380}));
    attachment.check(&result);
    attachment.del(Some(&result));
    write_node_file(&node, &json!({}));
    assert_same(&before, &steady(&node));
    let own = json!({"mtu": 1300, "ipam": {"ranges": [[{"subnet": "10.9.0.0/24"}]]}});
    let result = attachment.with(&own).add();
    assert_eq!(address(&result, 0), "10.9.0.2");
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1300);
}

/// The conflist to copy.
#[test]
fn the_example_attaches_a_pod() {
    let text = std::fs::read_to_string(workspace().join("conf/10-bgp.conflist")).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    let (node, pod) = (Node::new(), Pod::new());
    write_node_file(&node, &json!({}));
    let shared = json!({"name": list["name"], "cniVersion": list["cniVersion"]});
    let of = |nth: usize| with(&list["plugins"][nth], &shared);
    let ours = node.attach(&of(0), &pod);
    let ports = json!({"runtimeConfig": {"portMappings": []}});
    let portmap = node.attach(&of(1), &pod).with(&ports);
    let first = ours.add();
    let result = portmap.call("ADD", Some(&first)).run(&node).ok();
    assert_eq!(addresses(&result), ["10.244.1.2", "fd00:10:244:1::2"]);
    ping(&node, "10.244.1.2");
    ping(&node, "fd00:10:244:1::2");
    portmap.del(Some(&result));
    ours.del(Some(&result));
    assert!(pod.links().is_empty());
}

/// The daemon and its file may be gone by then.
#[test]
fn del_and_gc_need_no_file() {
    for gc in [false, true] {
        let (node, pod) = (Node::new(), Pod::new());
        let before = steady(&node);
        write_node_file(&node, &json!({}));
        let attachment = node.attach(&bare(), &pod);
        attachment.add();
        node.run("rm /run/ferrule/node.json");
        if gc {
            attachment.gc(&[]).ok();
        } else {
            attachment.netns(None).del(None);
        }
        assert_eq!(node.links(), Vec::<String>::new());
        let left = before.difference(&steady(&node));
        // host-local without ranges cannot know which network a lease belongs to.
        assert!(left.is_empty(), "{left}");
    }
}

#[test]
fn status_is_well_after_a_daemon_with_bgp() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&bare(), &pod);
    write_node_file(&node, &json!({}));
    attachment.status().err().expect(50, "route-sync does not run");
    let running = daemon(&node);
    attachment.status().ok();
    write_node_file(&node, &json!({"bgp": null}));
    attachment.status().err().expect(50, "route-sync runs without BGP");
    write_node_file(&node, &json!({"synced": false}));
    attachment.status().err().expect(50, "route-sync has not installed the routes");
    node.run("rm /run/ferrule/node.json");
    attachment.status().err().expect(50, "route-sync has not said yet what this node is");
    write_node_file(&node, &json!({}));
    attachment.status().ok();
    attachment.add();
    drop(running);
    let released = || node.try_run(&format!("flock -n {LOCK} true")).status.success().then_some(());
    within(Duration::from_secs(5), released).expect("the lock is released");
    attachment.status().ok();
    node.run(&format!("touch -d @1 {LOCK}"));
    attachment.status().err().expect(50, "route-sync does not run");
    node.run(&format!("touch {LOCK}"));
    attachment.status().ok();
    // A node without pods loses nothing by waiting for the daemon.
    attachment.del(None);
    attachment.status().err().expect(50, "route-sync does not run");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let (node, pod) = (Node::new(), Pod::new());
    for (text, wanted) in [(r#"{"version": 9}"#, "is of version 9"), ("{", "is not a node file")] {
        node.write("/run/ferrule/node.json", text);
        let before = steady(&node);
        node.attach(&bare(), &pod).try_add().err().expect(7, wanted);
        assert_same(&before, &steady(&node));
        node.attach(&bare(), &pod).del(None);
    }
}

#[test]
fn without_a_file_the_ranges_must_stand_in_the_configuration() {
    let (node, pod) = (Node::new(), Pod::new());
    let error = node.attach(&bare(), &pod).try_add().err();
    error.expect(7, "there is no /run/ferrule/node.json, and ipam has no ranges");
}
