//! What ADD and DEL do where policies are configured, with nobody or the tool `nft` in policy-sync's place.

use std::time::{Duration, Instant};

use ferrule_tests::conf::{BRIDGE, GATEWAY4, GATEWAY6, dual, full, with};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, no_ping, ping};
use ferrule_tests::{Node, Pod, Snapshot, within};
use serde_json::{Value, json};

const FILE: &str = "/run/ferrule/policy.json";
const MAPS: [&str; 4] = ["in4", "in6", "out4", "out6"];

/// A node on which policy-sync wrote that ADD waits so long, and for pods of which namespaces.
fn node(wait_ms: u64, namespaces: Option<&[&str]>) -> Node {
    let node = Node::new();
    for family in ["", "6"] {
        node.set_sysctl(&format!("net/bridge/bridge-nf-call-ip{family}tables"), "0");
    }
    let mut policy = json!({"version": 1, "waitMs": wait_ms});
    if let Some(namespaces) = namespaces {
        policy["namespaces"] = json!(namespaces);
    }
    node.write(FILE, &policy.to_string());
    node
}

/// The addresses of a pod's result without their lengths.
fn ends(result: &Value) -> Vec<String> {
    let addresses = addresses(result).into_iter();
    addresses.map(|text| text.split('/').next().unwrap().to_owned()).collect()
}

fn held(node: &Node) -> String {
    let listed = MAPS.map(|map| node.run(&format!("nft list map inet ferrule-policy {map}")));
    listed.concat()
}

/// What policy-sync does where nothing selects a pod.
fn release(node: &Node, address: &str) {
    let family = if address.contains(':') { 6 } else { 4 };
    node.sh(&format!(
        "nft 'delete element inet ferrule-policy in{family} {{ {address} }}; \
         delete element inet ferrule-policy out{family} {{ {address} }}'"
    ));
}

#[test]
fn without_a_decision_the_pod_starts_without_a_network() {
    let node = node(1, None);
    let (one, two) = (Pod::new(), Pod::new());
    let first = node.attach(&full(), &one).try_add();
    assert!(first.stderr.contains("policy-sync has not decided"), "{}", first.stderr);
    let first = ends(&first.ok());
    let second = ends(&node.attach(&full(), &two).add());
    for (from, to) in [(&one, &second), (&two, &first)] {
        for address in to {
            no_ping(from, address);
        }
    }
    // Its own node it reaches always.
    ping(&one, GATEWAY4);
    ping(&one, GATEWAY6);
    ping(&node, &first[0]);
    // The decision on one of two held pods opens nothing.
    first.iter().for_each(|address| release(&node, address));
    no_ping(&one, &second[0]);
    no_ping(&two, &first[1]);
    second.iter().for_each(|address| release(&node, address));
    for address in &second {
        ping(&one, address);
    }
}

#[test]
fn add_ends_with_the_decision() {
    let node = node(60_000, None);
    let pod = Pod::new();
    std::thread::scope(|scope| {
        let attach = scope.spawn(|| {
            let begun = Instant::now();
            (node.attach(&full(), &pod).add(), begun.elapsed())
        });
        for address in ["10.1.0.2", "fd00:1::2"] {
            let there = || {
                let family = if address.contains(':') { 6 } else { 4 };
                let map = node.try_run(&format!("nft list map inet ferrule-policy out{family}"));
                map.stdout.contains(address).then_some(())
            };
            within(Duration::from_secs(20), there).expect("the pod is held");
            release(&node, address);
        }
        let (_, took) = attach.join().unwrap();
        assert!(took < Duration::from_secs(50), "{took:?}");
    });
}

#[test]
fn what_is_held_goes_with_the_pod() {
    let node = node(1, None);
    let before = Snapshot::of(&node);
    let (one, two) = (Pod::new(), Pod::new());
    let attachment = node.attach(&full(), &one);
    let result = attachment.add();
    node.attach(&full(), &two).add();
    assert!(held(&node).contains("10.1.0.2"));
    attachment.check(&result);
    attachment.del(Some(&result));
    let left = held(&node);
    assert!(!left.contains("10.1.0.2") && left.contains("10.1.0.3"), "{left}");
    node.attach(&full(), &two).gc(&[]).ok();
    assert!(!held(&node).contains("10.1.0"), "GC removes it too");
    node.run("nft delete table inet ferrule-policy");
    node.run(&format!("ip link delete {BRIDGE}"));
    let after = Snapshot::of(&node);
    let steady = |of: Snapshot| of.without_lease_history().without_forwarding();
    assert_eq!(steady(after), steady(before));
}

#[test]
fn a_pod_that_no_policy_can_select_is_not_held() {
    let node = node(60_000, Some(&["shop"]));
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=other;K8S_POD_NAME=web;K8S_POD_UID=u-1";
    let (one, two) = (Pod::new(), Pod::new());
    let first = node.attach(&full(), &one).args(args).add();
    node.attach(&full(), &two).args(args).add();
    for address in ends(&first) {
        ping(&two, &address);
    }
    assert!(!node.try_run("nft list table inet ferrule-policy").status.success());
    // policy-sync finds it by its record all the same.
    let record = node.sh("cat /run/ferrule/attachments/bridge-*");
    let owned = record.lines().filter(|line| line.contains("\"held\"")).count();
    assert_eq!(owned, 4, "two pods of two families: {record}");
    assert!(record.contains("\"other\"") && record.contains("\"u-1\""), "{record}");
}

#[test]
fn a_pod_of_a_namespace_with_policies_is_held() {
    let node = node(1, Some(&["shop"]));
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web";
    node.attach(&full(), &Pod::new()).args(args).add();
    assert!(held(&node).contains("10.1.0.2"));
}

#[test]
fn a_failed_add_leaves_nothing_held() {
    let node = node(1, None);
    let pod = Pod::new();
    node.attach(&full(), &Pod::new()).add();
    let keep = held(&node);
    // The bridge has another network's gateway address: refused after the pod is held.
    let ranges = json!([[{"subnet": "10.2.0.0/24"}]]);
    let conf = with(&full(), &json!({"name": "others", "ipam": {"ranges": ranges}}));
    node.attach(&conf, &pod).try_add().err().expect(103, "different");
    assert_eq!(held(&node), keep);
}

#[test]
fn a_damaged_file_is_an_error_and_nothing_is_made() {
    let node = node(1, None);
    for (text, part) in [
        ("{", "policy.json is not what policy-sync writes"),
        (r#"{"version": 2}"#, "policy.json is of version 2"),
    ] {
        node.write(FILE, text);
        let before = Snapshot::of(&node);
        node.attach(&full(), &Pod::new()).try_add().err().expect(7, part);
        assert_eq!(Snapshot::of(&node), before);
    }
    node.write(FILE, r#"{"version": 1}"#);
    node.attach(&full(), &Pod::new()).try_add().err().expect(7, "waitMs");
}

/// The bridge's own switches are set; those of other bridges and of the node stay as they are.
#[test]
fn what_pods_of_one_bridge_send_is_seen_and_other_bridges_stay_as_they_are() {
    let node = node(1, None);
    node.run("ip link add other type bridge");
    node.attach(&full(), &Pod::new()).add();
    let calls = |name: &str| {
        let link = node.link(name).unwrap();
        let data = &link["linkinfo"]["info_data"];
        [data["nf_call_iptables"].clone(), data["nf_call_ip6tables"].clone()]
    };
    assert_eq!(calls(BRIDGE), [json!(1), json!(1)]);
    assert_eq!(calls("other"), [json!(0), json!(0)]);
    assert_eq!(node.sysctl("net/bridge/bridge-nf-call-iptables"), "0");
}

#[test]
fn without_policies_nothing_is_different() {
    let node = Node::new();
    let (one, two) = (Pod::new(), Pod::new());
    node.attach(&dual(), &one).add();
    let second = node.attach(&dual(), &two).add();
    assert!(ends(&second).iter().all(|address| first_ping(&one, address)));
    let record = node.sh("cat /run/ferrule/attachments/bridge-*");
    assert!(!record.contains("held"), "{record}");
    assert_eq!(node.run("nft list tables").trim(), "");
    let link = node.link(BRIDGE).unwrap();
    assert_eq!(link["linkinfo"]["info_data"]["nf_call_iptables"], json!(0));
}

/// A pod's address comes back to another pod while its elements are still those of the first.
#[test]
fn an_address_that_is_leased_again_is_held_again() {
    let node = node(1, None);
    let one = Pod::new();
    let attachment = node.attach(&full(), &one);
    let result = attachment.add();
    ends(&result).iter().for_each(|address| release(&node, address));
    // As if policy-sync had decided, and been killed before it saw the pod go.
    node.sh("nft 'add chain inet ferrule-policy open; add element inet ferrule-policy out4 { 10.1.0.2 : jump open }'");
    attachment.del(Some(&result));
    let other = Pod::new();
    node.attach(
        &with(&full(), &json!({"args": {"cni": {"ips": ["10.1.0.2", "fd00:1::2"]}}})),
        &other,
    )
    .add();
    let listed = held(&node);
    assert_eq!(listed.matches("jump held").count(), 4, "{listed}");
}
