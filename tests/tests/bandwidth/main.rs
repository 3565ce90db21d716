//! The bandwidth plugin behind ours and behind the reference's, as a runtime and the packets see it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod check;
mod config;
mod del;
mod flows;
mod mixed;
mod results;

use ferrule_tests::conf::{BRIDGE, version, with};
use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Bins, Node, Pod, Snapshot};
use serde_json::{Value, json};

/// 8 Mbit/s both ways, with a burst of 100,000 bytes.
fn both() -> Value {
    json!({"ingressRate": 8_000_000, "ingressBurst": 800_000,
        "egressRate": 8_000_000, "egressBurst": 800_000})
}

/// The plugin's configuration with these limits.
fn limits(keys: &Value) -> Value {
    with(&json!({"cniVersion": version(), "name": "pods", "type": "bandwidth"}), keys)
}

/// A pod of a main plugin with bandwidth behind it.
struct Chain<'a> {
    main: Attachment<'a>,
    bandwidth: Attachment<'a>,
}

impl<'a> Chain<'a> {
    fn new(node: &'a Node, main: &Value, keys: &Value, pod: &Pod) -> Self {
        Self { main: node.attach(main, pod), bandwidth: node.attach(&limits(keys), pod) }
    }

    /// By other executables.
    fn by(self, bins: &Bins) -> Self {
        Self { main: self.main.by(bins), bandwidth: self.bandwidth.by(bins) }
    }

    /// ADD of both; the last result.
    #[track_caller]
    fn add(&self, node: &Node) -> Value {
        let first = self.main.add();
        self.bandwidth.call("ADD", Some(&first)).run(node).ok()
    }

    /// DEL of both, the last first.
    #[track_caller]
    fn del(&self, result: Option<&Value>) {
        self.bandwidth.del(result);
        self.main.del(result);
    }
}

/// The host's end of the pod's veth pair, by a result.
fn host_end(result: &Value) -> String {
    let all = result["interfaces"].as_array().expect("interfaces");
    let host = all.iter().find(|i| i["sandbox"].is_null() && name(i).starts_with("veth"));
    name(host.expect("a host's end")).to_owned()
}

fn name(interface: &Value) -> &str {
    interface["name"].as_str().expect("a name")
}

/// The IFB devices of a node.
fn ifbs(node: &Node) -> Vec<String> {
    node.links().into_iter().filter(|name| name.starts_with("bwp")).collect()
}

/// What `tc` shows of a link: its qdiscs and filters.
fn shaping(node: &Node, link: &str) -> String {
    node.run(&format!("tc qdisc show dev {link}"))
        + &node.run(&format!("tc filter show dev {link} ingress"))
}

/// A node's state, but for a bridge and the leases' history.
fn state(node: &Node) -> Snapshot {
    Snapshot::of(node).without_first_use(BRIDGE)
}
