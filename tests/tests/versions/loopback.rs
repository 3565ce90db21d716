//! The loopback plugin in every version.

use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, ping};
use ferrule_tests::{Attachment, Node, Pod};
use serde_json::{Value, json};

use crate::VERSIONS;

fn loopback<'a>(node: &'a Node, pod: &Pod, version: &str) -> Attachment<'a> {
    pod.run("ip link set lo down");
    let config = json!({"cniVersion": version, "name": "lo", "type": "loopback"});
    node.attach(&config, pod).ifname("lo")
}

#[test]
fn lo_comes_up_and_is_listed() {
    for version in VERSIONS {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = loopback(&node, &pod, version);
        assert!(!first_ping(&pod, "127.0.0.1"));
        let result = attachment.add();
        ping(&pod, "127.0.0.1");
        ping(&pod, "::1");
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], "127.0.0.1/8", "{result:#}");
            assert_eq!(result["ip6"]["ip"], "::1/128");
        } else {
            assert_eq!(result["interfaces"][0]["name"], "lo");
            assert_eq!(result["interfaces"][0]["mac"], "00:00:00:00:00:00");
            assert_eq!(result["interfaces"][0]["sandbox"], pod.netns());
            assert_eq!(result["ips"][0]["address"], "127.0.0.1/8");
            assert_eq!(result["ips"][1]["address"], "::1/128");
            assert_eq!(result["ips"][0]["interface"], 0);
        }
        attachment.del(Some(&result));
    }
}

/// Callers that have to write something: it takes no arguments.
#[test]
fn any_arguments_will_do() {
    for args in ["none", "K8S_POD_NAME", "a=b=c;;", ";"] {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = loopback(&node, &pod, "1.1.0").args(args);
        let result = attachment.add();
        ping(&pod, "127.0.0.1");
        attachment.check(&result);
        attachment.del(Some(&result));
    }
}

#[test]
fn check_is_up() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let (node, pod) = (Node::new(), Pod::new());
        let attachment = loopback(&node, &pod, version);
        let result = attachment.add();
        attachment.check(&result);
        pod.run("ip link set lo down");
        attachment.try_check(&result).err().expect(101, "loopback interface is down");
    }
}

#[test]
fn a_non_loopback_address_is_reported() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = loopback(&node, &pod, "1.1.0");
    pod.run("ip addr add 192.0.2.1/32 dev lo");
    let text = "loopback interface found with non-loopback address 192.0.2.1";
    attachment.try_add().err().expect(103, text);
    pod.run("ip addr del 192.0.2.1/32 dev lo");
    attachment.add();
}

#[test]
fn del_is_at_peace_with_everything() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = loopback(&node, &pod, "1.1.0");
    attachment.del(None);
    let result = attachment.add();
    attachment.del(Some(&result));
    for netns in [None, Some(""), Some("/run/netns/gone")] {
        attachment.clone().netns(netns).del(Some(&result));
    }
    attachment.status().ok();
    attachment.gc(&[]).ok();
}

/// In a chain, what came before passes through.
#[test]
fn a_previous_result_passes_through() {
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (node, pod) = (Node::new(), Pod::new());
        let old = version < "1.0.0";
        let mut ip = json!({"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0});
        if old {
            ip["version"] = json!("4");
        }
        let previous = json!({"cniVersion": version, "ips": [ip], "dns": {"domain": "a.test"},
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": pod.netns()}],
            "routes": [{"dst": "0.0.0.0/0"}]});
        let attachment = loopback(&node, &pod, version);
        let passed = attachment.call("ADD", Some(&previous)).run(&node).ok();
        for key in ["ips", "interfaces", "routes", "dns", "cniVersion"] {
            assert_eq!(passed[key], previous[key], "{version}: {key}");
        }
        ping(&pod, "127.0.0.1");
    }
}

#[test]
fn keys_in_odd_case() {
    let (node, pod) = (Node::new(), Pod::new());
    pod.run("ip link set lo down");
    let config: Value = json!({"CNIVERSION": "0.4.0", "NAME": "lo", "type": "loopback"});
    let result = node.attach(&config, &pod).ifname("lo").add();
    assert_eq!(result["cniVersion"], "0.4.0");
}
