//! The sbr plugin: two networks on one pod, by packet, and what becomes of its rules and routes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod beside_reference;
mod life;
mod packets;

use ferrule_tests::conf::{version, with};
use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Bins, Node, Pod};
use serde_json::{Value, json};

/// A network with the nth bridge: 10.n.0.0/24 and fd00:n::/64, as `pods<n>`.
fn network(number: u32) -> Value {
    json!({"cniVersion": version(), "name": format!("pods{number}"), "type": "bridge",
        "bridge": format!("br{number}"), "isGateway": true, "ipam": {"type": "host-local",
        "ranges": [[{"subnet": format!("10.{number}.0.0/24")}],
            [{"subnet": format!("fd00:{number}::/64")}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}})
}

/// A pod with `eth0` in the first network, and `net1` in the second with sbr behind it.
struct Two<'a> {
    node: &'a Node,
    main: Attachment<'a>,
    sbr: Attachment<'a>,
}

impl<'a> Two<'a> {
    fn new(node: &'a Node, pod: &Pod, keys: &Value) -> Self {
        node.attach(&network(1), pod).add();
        Self::second(node, pod, keys)
    }

    /// Without the first network.
    fn second(node: &'a Node, pod: &Pod, keys: &Value) -> Self {
        let main = network(2);
        let common = json!({"cniVersion": main["cniVersion"], "name": main["name"], "type": "sbr"});
        let sbr = node.attach(&with(&common, keys), pod).ifname("net1");
        Self { node, main: node.attach(&main, pod).ifname("net1"), sbr }
    }

    fn by(self, bins: &Bins) -> Self {
        Self { sbr: self.sbr.by(bins), ..self }
    }

    /// ADD of both; the last result.
    #[track_caller]
    fn add(&self) -> Value {
        let first = self.main.add();
        self.sbr.call("ADD", Some(&first)).run(self.node).ok()
    }
}

/// Rules and routes of a pod, each a line; `table local` follows from the addresses.
fn routing(pod: &Pod) -> Vec<String> {
    let text = pod.sh("ip rule; ip -6 rule; ip route show table all; ip -6 route show table all");
    let lines = text.lines().filter(|line| !line.contains("table local"));
    let mut lines: Vec<_> = lines.map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}
