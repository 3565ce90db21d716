//! podman 4 with its CNI backend, on conflists of ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod engine;
mod ports;

use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Snapshot};
use serde_json::{Value, json};

use engine::Engine;

/// A network of both families on a bridge of its own.
fn network(name: &str, bridge: &str, number: u32, default: bool) -> Value {
    let routes = if default { json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]) } else { json!([]) };
    json!({"cniVersion": "0.4.0", "name": name, "plugins": [{
        "type": "bridge", "bridge": bridge, "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "routes": routes, "ranges": [
            [{"subnet": format!("10.{number}.0.0/24")}],
            [{"subnet": format!("fd00:{number}::/64")}],
        ]},
    }]})
}

fn state(node: &Node) -> Snapshot {
    let own = [
        "/var/lib/containers/",
        "/run/podman/",
        "/run/libpod",
        "/run/containers/",
        "/run/crun/",
        "/run/runc/",
        "/run/lock/",
        "/var/lib/cni/results/",
        "/run/netns",
    ];
    Snapshot::of(node).without_first_use("one0").without_first_use("two0").without_files(&own)
}

fn ready(node: &Node) -> Engine<'_> {
    for (name, bridge, number) in [("one", "one0", 71), ("two", "two0", 72)] {
        let list = network(name, bridge, number, name == "one").to_string();
        node.write(&format!("/run/podman/net.d/{name}.conflist"), &list);
    }
    Engine::new(node)
}

#[test]
fn containers_come_talk_restart_and_leave_nothing() {
    let node = Node::new();
    let engine = ready(&node);
    let before = state(&node);
    engine.start("a", "one");
    engine.start("b", "one");
    assert_eq!(engine.addresses("a", "one"), ["10.71.0.2", "fd00:71::2"]);
    assert_eq!(engine.addresses("b", "one"), ["10.71.0.3", "fd00:71::3"]);
    for target in ["10.71.0.1", "10.71.0.3", "fd00:71::1", "fd00:71::3"] {
        engine.exec("a", &format!("ping -c1 -W2 {target}"));
    }
    engine.exec("b", "ping -c1 -W2 10.71.0.2");

    engine.podman("restart -t 0 a");
    let again = engine.addresses("a", "one");
    assert_eq!(again.len(), 2, "{again:?}");
    engine.exec("a", "ping -c1 -W2 10.71.0.3");
    for address in &again {
        engine.exec("b", &format!("ping -c1 -W2 {address}"));
    }
    engine.podman("rm -f -t 0 a b");
    assert_same(&before, &state(&node));
}

#[test]
fn a_container_of_two_networks() {
    let node = Node::new();
    let engine = ready(&node);
    let before = state(&node);
    engine.start("far", "two");
    engine.start("both", "one,two");
    assert_eq!(engine.addresses("both", "one"), ["10.71.0.2", "fd00:71::2"]);
    assert_eq!(engine.addresses("both", "two"), ["10.72.0.3", "fd00:72::3"]);
    for target in ["10.71.0.1", "10.72.0.1", "10.72.0.2", "fd00:72::2"] {
        engine.exec("both", &format!("ping -c1 -W2 {target}"));
    }
    engine.podman("network disconnect two both");
    assert!(engine.exec("both", "ip addr").contains("10.71.0.2/24"));
    assert!(!engine.exec("both", "ip addr").contains("10.72.0.3/24"));
    engine.podman("network connect two both");
    engine.exec("both", "ping -c1 -W2 10.72.0.2");
    engine.podman("stop -t 0 both");
    engine.podman("start both");
    engine.exec("both", "ping -c1 -W2 10.72.0.2");
    engine.podman("rm -f -t 0 both far");
    assert_same(&before, &state(&node));
}
