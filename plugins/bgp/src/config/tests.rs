//! Keys, and what the daemon says.

use super::*;
use cni::{Command, Env, NetConf};
use node::{Bgp, Lock};
use serde_json::{Value, json};

fn request(keys: &Value) -> Request {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "pods", "type": "bgp",
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}});
    for (key, value) in keys.as_object().unwrap() {
        conf[key] = value.clone();
    }
    let stdin = conf.to_string().into_bytes();
    let conf = NetConf::read(NetConf::parse(&stdin).unwrap(), Command::Check).unwrap();
    let env = Env::read("STATUS", &|_| None).unwrap();
    Request { env, conf, stdin }
}

fn a_node() -> Node {
    Node {
        version: Node::VERSION,
        node: "one".to_owned(),
        pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        cluster_cidrs: vec![],
        mtu: 1420,
        vxlan: None,
        bgp: Some(Bgp { asn: 64512 }),
        earlier: vec![],
        forwarding_off: None,
        synced: true,
    }
}

#[test]
fn keys_and_their_defaults() {
    let bare = Config {
        masquerade: false,
        exclude: vec![],
        mtu: None,
        metric: None,
        mac: None,
        accept_ra: false,
        pod_cidrs: vec!["10.1.0.0/24".parse().unwrap()],
        run_dir: PathBuf::from("/run/ferrule"),
    };
    assert_eq!(Config::read(&request(&json!({}))).unwrap(), bare);
    let keys = json!({"ipMasq": true, "acceptRa": true, "mtu": 1400, "metric": 500, "runDir": "/run/x",
        "runtimeConfig": {"mac": "02:00:00:00:00:01"}});
    let full = Config {
        masquerade: true,
        exclude: vec![],
        accept_ra: true,
        mtu: Some(1400),
        metric: Some(500),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        run_dir: PathBuf::from("/run/x"),
        ..bare
    };
    assert_eq!(Config::read(&request(&keys)).unwrap(), full);
}

#[test]
fn without_ranges_only_the_node_tells() {
    let bare = request(&json!({"ipam": {"type": "host-local"}}));
    let error = Config::read(&with_ranges(&bare, None)).unwrap_err();
    assert_eq!(error.msg, "there is no /run/ferrule/node.json, and ipam has no ranges");
    let told = with_ranges(&bare, Some(&a_node()));
    assert_eq!(Config::read(&told).unwrap().pod_cidrs, a_node().pod_cidrs);
    assert!(String::from_utf8_lossy(&told.stdin).contains("10.244.1.0/24"), "IPAM gets it too");
    // Another IPAM plugin knows its addresses itself.
    let other = request(&json!({"ipam": {"type": "static"}}));
    assert_eq!(Config::read(&other).unwrap().pod_cidrs, []);
    let none = request(&json!({"ipam": null}));
    assert_eq!(Config::read(&none).unwrap_err().msg, "ipam is missing");
}

#[test]
fn ready_is_a_daemon_that_runs_with_bgp_and_is_in_step() {
    let dir = tempfile::tempdir().unwrap();
    let says = |node: Option<&Node>| {
        let error = ready(dir.path(), node).err();
        assert!(error.as_ref().is_none_or(|error| error.code == code::NOT_AVAILABLE));
        error.map(|error| error.msg).unwrap_or_default()
    };
    let node = a_node();
    assert_eq!(says(None), "route-sync has not said yet what this node is");
    assert_eq!(says(Some(&node)), "route-sync does not run");
    let _lock = Lock::take(dir.path()).unwrap().unwrap();
    assert_eq!(says(Some(&node)), "");
    assert_eq!(says(None), "route-sync has not said yet what this node is");
    let plain = Node { bgp: None, ..a_node() };
    assert_eq!(says(Some(&plain)), "route-sync runs without BGP");
    let late = Node { synced: false, ..a_node() };
    assert_eq!(says(Some(&late)), "route-sync has not installed the routes to other nodes yet");
}
