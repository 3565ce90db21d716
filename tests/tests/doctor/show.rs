//! `ferrule ls`, and the page of symptoms.

use crate::bench::{Bench, ferrule};
use ferrule_tests::Node;
use ferrule_tests::bins::workspace;
use ferrule_tests::node::Place;
use serde_json::Value;

#[test]
fn attachments_have_addresses_link_network_and_what_they_own() {
    let bench = Bench::new();
    let listed: Value = serde_json::from_str(&ferrule(&bench.node, "ls --json").stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed:#}");
    let one = &listed[0];
    assert_eq!(one["containerID"], bench.pod.id());
    assert_eq!(one["network"], "pods");
    assert_eq!(one["link"], bench.veth());
    assert_eq!(one["addresses"][0], bench.address());
    assert!(one["orphan"].is_null() && one["age"].is_u64(), "{one:#}");
    assert!(one["owns"].to_string().contains("masquerade of "), "{one:#}");
    let text = ferrule(&bench.node, "ls");
    assert_eq!(text.status.code(), Some(0));
    assert!(text.stdout.contains(&bench.address()), "{}", text.stdout);
}

#[test]
fn pods_are_named_as_the_runtime_knows_them() {
    let bench = Bench::new();
    let cached = serde_json::json!({"kind": "cniCacheV1", "containerId": bench.pod.id(), "ifName": "eth0",
        "networkName": "pods", "netns": bench.pod.netns(),
        "cniArgs": [["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", "db-0"]]});
    bench
        .node
        .write(&format!("/var/lib/cni/results/pods-{}-eth0", bench.pod.id()), &cached.to_string());
    let text = ferrule(&bench.node, "ls").stdout;
    assert!(text.contains("shop/db-0"), "{text}");
}

#[test]
fn orphans_are_marked() {
    let bench = Bench::new();
    bench.node.run(&format!("ip link delete {}", bench.veth()));
    let said = ferrule(&bench.node, "ls");
    assert_eq!(said.status.code(), Some(1));
    assert!(said.stdout.lines().nth(1).unwrap().starts_with('!'), "{}", said.stdout);
    assert!(said.stdout.contains(" is gone"), "{}", said.stdout);
}

#[test]
fn a_node_without_attachments_says_so() {
    let said = ferrule(&Node::new(), "ls");
    assert_eq!(
        (said.status.code(), said.stdout.as_str()),
        (Some(0), "no attachments on this node\n")
    );
}

#[test]
fn the_page_of_symptoms_is_what_the_program_explains() {
    let page = std::fs::read_to_string(workspace().join("docs/troubleshooting.md")).unwrap();
    assert_eq!(ferrule(&Node::new(), "doctor --explain").stdout, page);
}
