//! Network configurations of other projects as they ship them (`fixtures/conflists`), run unchanged on
//! our executables by cnitool; flannel's with our `vxlan` in the place of `flannel`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, OUTSIDE4, UPLINK};
use ferrule_tests::packets::{ping, tcp_source};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Outside, Pod, Snapshot, bins, cnitool, within};
use serde_json::{Value, json};

/// A list of `fixtures/conflists`.
fn fixture(name: &str) -> Value {
    let path = bins::workspace().join(format!("tests/fixtures/conflists/{name}.conflist"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// flannel's list with our vxlan, by the keys that flannel hands to its bridge. What flannel takes
/// from its daemon's file, vxlan takes from route-sync's, or without it from these keys.
fn with_vxlan(mut list: Value) -> Value {
    let flannel = &mut list["plugins"][0];
    assert_eq!(flannel["type"], "flannel");
    let node = json!({"type": "vxlan", "vni": 1, "port": 8472, "underlay": UPLINK,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.42.0.0/24"}]]}});
    *flannel = with(&node, &flannel["delegate"]);
    list
}

/// A node that drops what nothing accepts, with a list in its configuration, and the ports that the
/// runtime asks for.
struct Scene {
    node: Node,
    outside: Outside,
    network: String,
    checked: bool,
}

const PORT: u16 = 8080;

impl Scene {
    fn new(list: &Value) -> Scene {
        let node = Node::new();
        let outside = Outside::beside(&node);
        node.write("/run/net.d/10-list.conflist", &list.to_string());
        let network = list["name"].as_str().unwrap().to_owned();
        // CHECK is of 0.4.0.
        let checked = list["cniVersion"].as_str().unwrap() >= "0.4.0";
        Scene { node, outside, network, checked }
    }

    fn drop_by_default(&self) {
        self.node.run("iptables-nft -P FORWARD DROP");
    }

    /// What the runtime asks for one of the pods.
    fn capabilities(port: Option<u16>) -> Value {
        let mapping = |port| json!({"hostPort": port, "containerPort": 80, "protocol": "tcp"});
        let rate = 80_000_000;
        json!({"portMappings": port.map(mapping).into_iter().collect::<Vec<_>>(),
            "bandwidth": {"ingressRate": rate, "ingressBurst": rate, "egressRate": rate, "egressBurst": rate}})
    }

    #[track_caller]
    fn call(&self, verb: &str, pod: &Pod, port: Option<u16>) -> String {
        cnitool::must(&self.node, verb, &self.network, pod, &Self::capabilities(port))
    }

    /// The pod's address.
    #[track_caller]
    fn add(&self, pod: &Pod, port: Option<u16>) -> String {
        let result: Value = serde_json::from_str(&self.call("add", pod, port)).unwrap();
        if self.checked {
            self.call("check", pod, port);
        }
        let address = result["ips"][0]["address"].as_str().unwrap();
        address.split('/').next().unwrap().to_owned()
    }

    fn state(&self, bridge: &str) -> Snapshot {
        Snapshot::of(&self.node).without_first_use(bridge).without_files(&["/run/netns"])
    }

    /// Two pods of which one has a host port: who reaches it, that both leave the node, and that
    /// nothing is left of them.
    fn pods_come_talk_and_leave_nothing(&self, bridge: &str) {
        let [first, web, client] = [Pod::new(), Pod::new(), Pod::new()];
        self.add(&first, Some(PORT));
        self.call("del", &first, Some(PORT));
        let before = self.state(bridge);
        let address = self.add(&web, Some(PORT));
        self.add(&client, None);
        ping(&client, &address);
        for (from, to) in [
            (&self.outside as &dyn Reach, NODE4),
            (&self.node, NODE4),
            (&self.node, "127.0.0.1"),
            (&client, NODE4),
            (&web, NODE4),
        ] {
            assert!(from.reaches(to, &web), "{to}");
        }
        for pod in [&web, &client] {
            assert!(tcp_source(pod, &self.outside, OUTSIDE4).is_ok());
        }
        for pod in [&web, &client] {
            for _ in 0..2 {
                self.call("del", pod, None);
            }
            assert!(pod.links().is_empty());
        }
        assert_same(&before, &self.state(bridge));
    }
}

/// Something with a network of its own.
trait Reach {
    /// Whether a connection to the host port of an address ends in the pod.
    fn reaches(&self, to: &str, pod: &Pod) -> bool;
}

impl<P: Place> Reach for P {
    fn reaches(&self, to: &str, pod: &Pod) -> bool {
        let limit = Duration::from_secs(2);
        // A process that another test starts holds the last listener until its exec.
        let bind = || pod.ns().enter(|| TcpListener::bind(("0.0.0.0", 80))).ok();
        let listener = within(limit, bind).expect("port 80 is free");
        listener.set_nonblocking(true).unwrap();
        let target = SocketAddr::new(to.parse().unwrap(), PORT);
        let client = self.ns().enter(|| TcpStream::connect_timeout(&target, limit));
        client.is_ok() && within(limit, || listener.accept().ok()).is_some()
    }
}

#[test]
fn podmans_default_network() {
    let scene = Scene::new(&fixture("podman"));
    scene.drop_by_default();
    scene.pods_come_talk_and_leave_nothing("cni-podman0");
}

#[test]
fn nerdctls_default_network() {
    let scene = Scene::new(&fixture("nerdctl"));
    scene.drop_by_default();
    scene.pods_come_talk_and_leave_nothing("nerdctl0");
}

/// `nerdctl network create` gives each network a bridge, which same-bridge keeps apart.
#[test]
fn nerdctls_networks_are_apart() {
    let scene = Scene::new(&fixture("nerdctl"));
    scene.drop_by_default();
    let mut other = fixture("nerdctl");
    other["name"] = json!("other");
    other["plugins"][0]["bridge"] = json!("br-other");
    other["plugins"][0]["ipam"]["ranges"] = json!([[{"subnet": "10.4.1.0/24"}]]);
    scene.node.write("/run/net.d/20-other.conflist", &other.to_string());
    let [one, peer, stranger] = [Pod::new(), Pod::new(), Pod::new()];
    scene.add(&one, None);
    let address = scene.add(&peer, None);
    let none = Scene::capabilities(None);
    cnitool::must(&scene.node, "add", "other", &stranger, &none);
    assert!(tcp_source(&one, &peer, &address).is_ok());
    assert!(tcp_source(&stranger, &peer, &address).is_err());
    assert!(tcp_source(&stranger, &scene.outside, OUTSIDE4).is_ok());
    cnitool::must(&scene.node, "check", "other", &stranger, &none);
}

/// Pods keep their addresses outside of the node.
fn with_routes_to_pods(list: &Value) -> Scene {
    let scene = Scene::new(list);
    scene.outside.run(&format!("ip route add 10.42.0.0/24 via {NODE4}"));
    scene
}

#[test]
fn k3s() {
    with_routes_to_pods(&with_vxlan(fixture("k3s"))).pods_come_talk_and_leave_nothing("cni0");
}

#[test]
fn kubeadm_with_flannel() {
    with_routes_to_pods(&with_vxlan(fixture("kube-flannel")))
        .pods_come_talk_and_leave_nothing("cni0");
}
