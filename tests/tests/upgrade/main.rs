//! Upgrade in place: attachments of the reference under ours, and of ours under the reference,
//! while packets flow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod both_ways;
mod leftovers;
mod stream;
mod swap;

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, conf};
use serde_json::{Value, json};

/// What one pod's network is like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Of both families, not IPv4 alone.
    pub dual: bool,
    /// `ipMasq`.
    pub masquerade: bool,
    /// `macspoofchk`.
    pub spoof_check: bool,
}

/// Every combination of masquerade and macspoofchk in one or two families.
pub fn kinds(dual: bool) -> impl Iterator<Item = Kind> {
    let switches = [(false, false), (true, false), (false, true), (true, true)];
    switches.map(|(masquerade, spoof_check)| Kind { dual, masquerade, spoof_check }).into_iter()
}

impl Kind {
    /// The network's configuration, in the newest version that both speak.
    pub fn config(self) -> Value {
        let base = if self.dual { conf::dual() } else { conf::v4() };
        let keys = json!({"cniVersion": "1.0.0", "ipMasq": self.masquerade,
            "macspoofchk": self.spoof_check});
        conf::with(&base, &keys)
    }
}

/// The same network as ours alone speaks it, for GC.
pub fn newest(config: &Value) -> Value {
    conf::with(config, &json!({"cniVersion": "1.1.0"}))
}

/// Each of the two before the other.
pub fn both_orders() -> [(Bins, Bins); 2] {
    let (ours, theirs) = (Bins::ours(), Bins::reference());
    [(theirs.clone(), ours.clone()), (ours, theirs)]
}

/// Every rule, set element and chain of an attachment that is left, whoever's it is.
pub fn rules(node: &Node) -> Vec<String> {
    let mut left = vec![];
    for tool in ["iptables-save -t nat", "ip6tables-save -t nat"] {
        let saved = node.run(tool);
        left.extend(saved.lines().filter(|line| line.contains("CNI-")).map(str::to_owned));
    }
    let ruleset = node.json("nft -j list ruleset");
    for object in ruleset["nftables"].as_array().into_iter().flatten() {
        // Base chains that iptables-nft and the reference make stay for all.
        let of_an_attachment =
            |name: &Value| name.as_str().is_some_and(|name| name.starts_with("cni-br-iface"));
        let rule = !object["rule"].is_null();
        let elements = !object["set"]["elem"].is_null() || !object["map"]["elem"].is_null();
        if rule || elements || of_an_attachment(&object["chain"]["name"]) {
            left.push(object.to_string());
        }
    }
    left
}

/// What is left of any attachment on the node, as text; empty when nothing is.
pub fn left(node: &Node) -> String {
    let (rules, leases, veths) = (rules(node), node.leases(), node.veths());
    if rules.is_empty() && leases.is_empty() && veths.is_empty() {
        return String::new();
    }
    format!("rules {rules:#?}\nleases {leases:?}\nveths {veths:?}\n")
}

/// Fails unless nothing of any attachment is left on the node.
#[track_caller]
pub fn require_bare(node: &Node, when: &str) {
    let left = left(node);
    assert!(left.is_empty(), "{when}: left are\n{left}");
}
