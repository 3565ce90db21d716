//! The shape of a result in each version.

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::VERSIONS;

fn speaking(config: &Value, version: &str) -> Value {
    conf::with(config, &json!({"cniVersion": version, "mtu": 1400}))
}

/// What a bridge's and a host-local's result have in common.
#[track_caller]
fn require_ips(result: &Value, version: &str, interface: Option<u64>) {
    assert_eq!(result["cniVersion"], version);
    if version < "0.3.0" {
        assert_eq!(result["ip4"]["ip"], "10.1.0.2/24");
        assert_eq!(result["ip4"]["gateway"], GATEWAY4);
        assert_eq!(result["ip4"]["routes"][0]["dst"], "0.0.0.0/0");
        assert_eq!(result["ip6"]["ip"], "fd00:1::2/64");
        assert_eq!(result["ip6"]["routes"][0]["dst"], "::/0");
        for newer in ["ips", "interfaces", "routes"] {
            assert!(result[newer].is_null(), "`{newer}` in {version}: {result:#}");
        }
        return;
    }
    assert!(result["ip4"].is_null() && result["ip6"].is_null(), "{result:#}");
    assert_eq!(result["routes"].as_array().map(Vec::len), Some(2));
    for (nth, (family, address)) in [("4", "10.1.0.2/24"), ("6", "fd00:1::2/64")].iter().enumerate()
    {
        let ip = &result["ips"][nth];
        assert_eq!(ip["address"], *address);
        assert_eq!(ip["interface"].as_u64(), interface);
        let named = if version < "1.0.0" { json!(family) } else { Value::Null };
        assert_eq!(ip["version"], named, "in {version}");
    }
}

#[test]
fn of_the_bridge() {
    for version in VERSIONS {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&speaking(&conf::dual(), version), &pod);
        let result = attachment.add();
        require_ips(&result, version, Some(2));
        if version >= "0.3.0" {
            let links = result["interfaces"].as_array().unwrap();
            let names: Vec<&Value> = links.iter().map(|link| &link["name"]).collect();
            assert_eq!((names.len(), names[0], names[2]), (3, &json!("cni0"), &json!("eth0")));
            let mtu = if version < "1.1.0" { Value::Null } else { json!(1400) };
            assert!(links.iter().all(|link| link["mtu"] == mtu), "mtu in {version}: {result:#}");
        }
        ping(&pod, GATEWAY4);
        attachment.del(Some(&result));
        assert!(pod.links().is_empty());
    }
}

#[test]
fn of_host_local() {
    for version in VERSIONS {
        let (node, pod) = (Node::new(), Pod::new());
        let config = conf::with(&conf::dual(), &json!({"type": "host-local"}));
        let attachment = node.attach(&speaking(&config, version), &pod);
        let result = attachment.add();
        require_ips(&result, version, None);
        attachment.del(Some(&result));
        assert!(!node.exists("/var/lib/cni/networks/pods/10.1.0.2"));
    }
}

#[test]
fn without_a_version_it_is_the_first() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&conf::dual(), &pod).with(&json!({"cniVersion": null}));
    let result = attachment.add();
    require_ips(&result, "0.1.0", None);
    attachment.del(Some(&result));
}

/// 0.4.0 brought CHECK.
#[test]
fn check_from_the_version_that_has_it() {
    for version in VERSIONS {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&speaking(&conf::dual(), version), &pod);
        let result = attachment.add();
        let outcome = attachment.try_check(&result);
        if version < "0.4.0" {
            outcome.err().expect(1, "CHECK");
        } else {
            outcome.ok();
        }
    }
}

/// 1.1.0 brought GC and STATUS.
#[test]
fn gc_and_status_from_the_version_that_has_them() {
    for version in VERSIONS {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = node.attach(&speaking(&conf::dual(), version), &pod);
        attachment.add();
        if version < "1.1.0" {
            attachment.status().err().expect(1, "STATUS");
            attachment.gc(&[]).err().expect(1, "GC");
            assert_eq!(pod.links(), ["eth0"], "a refused GC does nothing");
        } else {
            attachment.status().ok();
            attachment.gc(&[]).ok();
            assert!(pod.links().is_empty());
        }
    }
}

/// A runtime may hand back a result in another version than the configuration's.
#[test]
fn results_of_any_version_are_understood() {
    for version in VERSIONS {
        let (node, pod) = (Node::new(), Pod::new());
        let result = node.attach(&speaking(&conf::dual(), version), &pod).add();
        let newer = node.attach(&speaking(&conf::dual(), "1.1.0"), &pod);
        // Without interfaces a result says too little for CHECK, and enough for DEL.
        if version >= "0.3.0" {
            newer.check(&result);
        }
        newer.del(Some(&result));
        assert!(pod.links().is_empty());
    }
}

#[test]
fn an_error_names_the_version_that_was_asked_for() {
    for version in VERSIONS {
        let (node, pod) = (Node::new(), Pod::new());
        let broken = conf::with(&conf::dual(), &json!({"vlan": 9999}));
        let outcome = node.attach(&speaking(&broken, version), &pod).try_add();
        let error: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(error["cniVersion"], version);
    }
}
