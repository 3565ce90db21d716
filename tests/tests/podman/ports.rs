//! `podman run -p` on a network that podman makes itself: bridge, portmap, firewall and tuning.

use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, OUTSIDE4};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Outside, within};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::engine::Engine;
use crate::{ready, state};

/// A server of one page.
const SERVER: &str = "mkdir -p /srv; echo hello >/srv/index.html; httpd -f -p 80 -h /srv";

/// The answer of a port, which may take a while to be open.
fn answer(from: &impl Place, to: &str) -> Option<String> {
    let target: SocketAddr = format!("{to}:8080").parse().unwrap();
    let limit = Duration::from_secs(2);
    let ask = || {
        let connected = from.ns().enter(|| TcpStream::connect_timeout(&target, limit));
        let mut stream = connected.ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.ends_with("hello\n").then_some(text)
    };
    within(Duration::from_secs(10), ask)
}

/// The plugins of the list that podman wrote.
fn plugins(node: &Node, name: &str) -> Vec<String> {
    let list: Value =
        serde_json::from_str(&node.read(&format!("/run/podman/net.d/{name}.conflist"))).unwrap();
    let kind = |plugin: &Value| plugin["type"].as_str().unwrap().to_owned();
    list["plugins"].as_array().unwrap().iter().map(kind).collect()
}

fn drop_by_default(node: &Node) {
    for tool in ["iptables-nft", "ip6tables-nft"] {
        node.run(&format!("{tool} -P FORWARD DROP"));
    }
}

/// Everyone who may asks the port, and is answered.
fn is_served(node: &Node, outside: &Outside, engine: &Engine<'_>) {
    assert!(answer(outside, NODE4).is_some(), "from outside: {}", node.run("nft list ruleset"));
    assert!(answer(node, NODE4).is_some(), "from the node, by its address");
    assert!(answer(node, "127.0.0.1").is_some(), "from the node, by loopback");
    // From the container by its own host port, and out of the node.
    engine.exec("web", &format!("wget -qO- -T 5 http://{NODE4}:8080/; ping -c1 -W2 {OUTSIDE4}"));
}

#[test]
fn a_host_port_on_a_network_that_podman_made_is_served_and_leaves_nothing() {
    let node = Node::new();
    let outside = Outside::beside(&node);
    drop_by_default(&node);
    let engine = ready(&node);
    engine.podman("network create made");
    assert_eq!(plugins(&node, "made"), ["bridge", "portmap", "firewall", "tuning"]);
    // What the first container of the network leaves for the next.
    engine.run("first", "--network made", "sleep 86400");
    engine.podman("rm -f -t 0 first");
    let before = state(&node).without_bridge("cni-podman1");
    for _ in 0..2 {
        engine.run("web", "--network made -p 8080:80", SERVER);
        is_served(&node, &outside, &engine);
        engine.podman("restart -t 0 web");
        is_served(&node, &outside, &engine);
        engine.podman("rm -f -t 0 web");
        assert_same(&before, &state(&node).without_bridge("cni-podman1"));
    }
}
