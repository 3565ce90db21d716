//! Keys, and what the daemon says.

use super::*;
use crate::plan;
use cni::{Command, Env, NetConf};
use serde_json::{Value, json};

/// A request with these keys besides type and IPAM; null removes one.
fn request(keys: &Value) -> Request {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "pods", "type": "vxlan",
        "ipam": {"type": "host-local"}});
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    let stdin = conf.to_string().into_bytes();
    let conf = NetConf::read(NetConf::parse(&stdin).unwrap(), Command::Check).unwrap();
    let env = Env::read("STATUS", &|_| None).unwrap();
    Request { env, conf, stdin }
}

fn a_node() -> Node {
    let pod_cidrs = vec!["10.244.1.0/24".parse().unwrap(), "fd00:1::/64".parse().unwrap()];
    let local = "192.0.2.1".parse().unwrap();
    Node {
        version: Node::VERSION,
        node: "one".to_owned(),
        cluster_cidrs: vec![],
        mtu: 1450,
        vxlan: Some(node::Vxlan {
            device: "fvxlan.100".to_owned(),
            vni: 100,
            port: 4789,
            underlay: "eth0".to_owned(),
            local,
            mac: "02:56:c0:00:02:01".to_owned(),
            mtu: 1450,
            addresses: node::vtep::addresses(&pod_cidrs),
        }),
        pod_cidrs,
        bgp: None,
        earlier: vec![],
        forwarding_off: None,
        synced: true,
    }
}

/// What is read of the keys beside a node.json, or beside none.
fn read(keys: &Value, node: Option<&Node>) -> Result<Overlay> {
    let dir = tempfile::tempdir().unwrap();
    if let Some(node) = node {
        node.write(dir.path()).unwrap();
    }
    let mut keys = keys.clone();
    keys["runDir"] = json!(dir.path());
    Overlay::read(&request(&keys))
}

#[track_caller]
fn refused(keys: &Value, node: Option<&Node>, part: &str) {
    let error = read(keys, node).unwrap_err();
    let text = format!("{}; {}", error.msg, error.details);
    assert!(error.code == code::INVALID_CONFIG && text.contains(part), "{keys}: {text}");
}

#[test]
fn the_daemon_says_all() {
    let node = a_node();
    for keys in [json!({}), json!({"vni": 100, "port": 4789, "underlay": "eth0"})] {
        let wanted = read(&keys, Some(&node)).unwrap();
        assert!(wanted.daemon && wanted.synced);
        assert_eq!((wanted.vni, wanted.port, wanted.underlay.as_str()), (100, 4789, "eth0"));
        assert_eq!((wanted.local, wanted.mtu), (Some("192.0.2.1".parse().unwrap()), Some(1450)));
        assert_eq!(wanted.pod_cidrs, node.pod_cidrs);
    }
}

#[test]
fn what_contradicts_the_daemon_is_refused() {
    let node = a_node();
    refused(&json!({"vni": 7}), Some(&node), "vni is 7 here, and 100 in");
    refused(&json!({"port": 8472}), Some(&node), "port is 8472 here, and 4789 in");
    refused(&json!({"underlay": "eth1"}), Some(&node), "underlay is \"eth1\" here, and \"eth0\"");
    let direct = Node { vxlan: None, ..node };
    refused(&json!({}), Some(&direct), "route-sync runs without a tunnel");
}

#[test]
fn without_a_daemon_the_keys_say_all() {
    let all = json!({"vni": 7, "port": 8472, "underlay": "eth1",
        "ipam": {"type": "host-local", "subnet": "10.1.0.0/24"}});
    let wanted = read(&all, None).unwrap();
    assert!(!wanted.daemon && !wanted.synced);
    assert_eq!((wanted.vni, wanted.port, wanted.underlay.as_str()), (7, 8472, "eth1"));
    assert_eq!((wanted.local, wanted.mtu), (None, None), "the link has to be asked");
    assert_eq!(wanted.pod_cidrs, ["10.1.0.0/24".parse::<IpNetwork>().unwrap()]);
    let but = |key: &str, value: Value| {
        let mut keys = all.clone();
        keys[key] = value;
        keys
    };
    refused(&json!({}), None, "the configuration has no vni, port, underlay");
    refused(&but("underlay", json!("")), None, "the configuration has no underlay");
    for vni in [0_u64, 1 << 24, u64::MAX] {
        refused(&but("vni", json!(vni)), None, &format!("invalid vni {vni}"));
    }
    for port in [0_u64, 1 << 16, u64::MAX] {
        refused(&but("port", json!(port)), None, &format!("invalid port {port}"));
    }
    refused(&but("ipam", json!({"type": "host-local"})), None, "ipam has no ranges");
}

#[test]
fn a_daemon_is_expected_where_the_keys_say_nothing() {
    assert!(Overlay::expects_daemon(&request(&json!({"mtu": 1400, "runDir": "/run/other"}))));
    for keys in [json!({"vni": 7}), json!({"port": 8472}), json!({"underlay": "eth1"})] {
        assert!(!Overlay::expects_daemon(&request(&keys)), "{keys}");
    }
}

#[test]
fn the_ipam_plugin_gets_the_nodes_ranges() {
    let wanted = read(&json!({}), Some(&a_node())).unwrap();
    let given = plan::with_ranges(&request(&json!({})), &wanted.pod_cidrs);
    let sets = json!([[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]);
    assert_eq!(given.conf.object["ipam"]["ranges"], sets);
}

#[test]
fn what_removes_takes_what_it_finds() {
    let dir = tempfile::tempdir().unwrap();
    let ranges = || {
        let request = request(&json!({"runDir": dir.path()}));
        plan::for_teardown(&request).conf.object["ipam"].get("ranges").cloned()
    };
    assert_eq!(ranges(), None);
    a_node().write(dir.path()).unwrap();
    assert!(ranges().unwrap().to_string().contains("10.244.1.0/24"));
    std::fs::write(dir.path().join("node.json"), "damaged").unwrap();
    assert_eq!(ranges(), None);
}
