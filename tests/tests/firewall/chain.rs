//! A pod on bridge and firewall, as a runtime chains them.

use ferrule_tests::conf::{dual, with};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6};
use ferrule_tests::packets::tcp_source;
use ferrule_tests::{Attachment, Bins, Node, Outside, Pod};
use serde_json::{Value, json};

/// The configuration of the plugin, with more keys.
pub fn firewall(keys: &Value) -> Value {
    let bare = json!({"cniVersion": "1.0.0", "name": "pods", "type": "firewall"});
    with(&bare, keys)
}

/// A network of both families on a bridge of its own.
pub fn network(bridge: &str, number: u32) -> Value {
    with(
        &dual(),
        &json!({"cniVersion": "1.0.0", "name": format!("pods{number}"), "bridge": bridge,
        "ipam": {"ranges": [
            [{"subnet": format!("10.{number}.0.0/24")}],
            [{"subnet": format!("fd00:{number}::/64")}],
        ]}}),
    )
}

/// A pod, attached by our bridge, and by the firewall of some suite.
pub struct Chain<'a> {
    pub pod: Pod,
    bridge: Attachment<'a>,
    pub firewall: Attachment<'a>,
    /// The result that each plugin gave.
    pub result: Value,
}

impl<'a> Chain<'a> {
    /// Adds a pod on the network 1 to `cni0`.
    #[track_caller]
    pub fn add(node: &'a Node, keys: &Value) -> Self {
        Self::add_by(node, &Bins::ours(), &network("cni0", 1), keys)
    }

    #[track_caller]
    pub fn add_by(node: &'a Node, bins: &Bins, network: &Value, keys: &Value) -> Self {
        let mut chain = Self::bridged(node, bins, network, keys);
        chain.result = chain.firewall.call("ADD", Some(&chain.result)).run(node).ok();
        chain
    }

    /// Adds a pod to the bridge alone.
    #[track_caller]
    pub fn bridged(node: &'a Node, bins: &Bins, network: &Value, keys: &Value) -> Self {
        let pod = Pod::new();
        let bridge = node.attach(network, &pod);
        let keys = with(&firewall(keys), &json!({"name": network["name"]}));
        let firewall = node.attach(&keys, &pod).by(bins);
        let result = bridge.add();
        Self { pod, bridge, firewall, result }
    }

    /// The pod's address of a family.
    pub fn address(&self, v6: bool) -> String {
        addresses(&self.result)[usize::from(v6)].clone()
    }

    #[track_caller]
    pub fn check(&self) {
        self.firewall.check(&self.result);
    }

    /// The details of a CHECK that fails.
    #[track_caller]
    pub fn differences(&self) -> String {
        let failure = self.firewall.try_check(&self.result).err();
        assert_eq!(failure.code, 101);
        failure.details
    }

    #[track_caller]
    pub fn del(&self) {
        self.firewall.del(Some(&self.result));
        self.bridge.del(Some(&self.result));
    }
}

/// A node with a host beside it that knows the way to the pods of the networks 1 to 3.
pub fn node() -> (Node, Outside) {
    let node = Node::new();
    let outside = Outside::beside(&node);
    for number in 1..=3 {
        outside.run(&format!("ip route add 10.{number}.0.0/24 via {NODE4}"));
        outside.run(&format!("ip -6 route add fd00:{number}::/64 via {NODE6}"));
    }
    (node, outside)
}

/// Whether a connection comes about from one place to a pod's address, of both families alike.
#[track_caller]
pub fn reaches(from: &impl Place, to: &Chain<'_>) -> bool {
    let reached = [false, true].map(|v6| tcp_source(from, &to.pod, &to.address(v6)).is_ok());
    assert_eq!(reached[0], reached[1], "IPv4 and IPv6 differ");
    reached[0]
}

/// Whether a pod reaches the host outside.
#[track_caller]
pub fn leaves(chain: &Chain<'_>, outside: &Outside) -> bool {
    use ferrule_tests::outside::{OUTSIDE4, OUTSIDE6};
    let reached = [OUTSIDE4, OUTSIDE6].map(|to| tcp_source(&chain.pod, outside, to).is_ok());
    assert_eq!(reached[0], reached[1], "IPv4 and IPv6 differ");
    reached[0]
}

/// Loads a ruleset; `nft` wants each `}` on a line of its own.
pub fn load(node: &Node, ruleset: &str) {
    node.write("/run/rules.nft", &ruleset.replace('}', "\n}\n"));
    node.run("nft -f /run/rules.nft");
}
