//! Upgrade in place: attachments of the reference under ours, and of ours under the reference,
//! while packets flow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod both_ways;
mod chained;
mod leftovers;
mod stream;
mod swap;

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, conf};
use serde_json::{Value, json};

/// A reference that nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Debian's 1.1.1, of 2022.
    Old,
    /// The newest, which masquerades by iptables unless configured otherwise.
    Newest,
    /// The newest, configured to masquerade by nftables.
    Nftables,
}

impl Reference {
    /// Its executables.
    pub fn bins(self) -> Bins {
        if self == Self::Old { Bins::old_reference() } else { Bins::reference() }
    }

    /// The newest version of the specification that it speaks.
    fn version(self) -> &'static str {
        if self == Self::Old { "1.0.0" } else { "1.1.0" }
    }
}

/// What one pod's network is like.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The reference that is replaced, or comes back.
    pub reference: Reference,
    /// Of both families, not IPv4 alone.
    pub dual: bool,
    /// `ipMasq`.
    pub masquerade: bool,
    /// `macspoofchk`.
    pub spoof_check: bool,
}

/// Every combination of masquerade and macspoofchk in one or two families.
pub fn kinds(reference: Reference, dual: bool) -> impl Iterator<Item = Kind> {
    let switches = [(false, false), (true, false), (false, true), (true, true)];
    let all =
        switches.map(|(masquerade, spoof_check)| Kind { reference, dual, masquerade, spoof_check });
    all.into_iter().filter(|kind| kind.masquerade || kind.reference != Reference::Nftables)
}

/// The kinds of every reference; the newest ones' of both families alone.
pub fn all_kinds() -> impl Iterator<Item = Kind> {
    let (old, newest) = (kinds(Reference::Old, false), kinds(Reference::Newest, true));
    let old = old.chain(kinds(Reference::Old, true));
    old.chain(newest).chain(kinds(Reference::Nftables, true))
}

/// All that there is, of each reference.
pub fn wholes() -> [Kind; 3] {
    [Reference::Old, Reference::Newest, Reference::Nftables].map(|reference| Kind {
        reference,
        dual: true,
        masquerade: true,
        spoof_check: true,
    })
}

impl Kind {
    /// The network's configuration, in the newest version that both speak.
    pub fn config(self) -> Value {
        let base = if self.dual { conf::dual() } else { conf::v4() };
        let backend = (self.reference == Reference::Nftables).then_some("nftables");
        let keys = json!({"cniVersion": self.reference.version(), "ipMasq": self.masquerade,
            "ipMasqBackend": backend, "macspoofchk": self.spoof_check});
        conf::with(&base, &keys)
    }
}

/// The same network as ours alone speaks it, for GC.
pub fn newest(config: &Value) -> Value {
    conf::with(config, &json!({"cniVersion": "1.1.0"}))
}

/// Every rule, set element and chain of an attachment that is left, of any plugin.
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
        // As do the three rules by which its table for masquerade begins.
        let of_all = [&object["rule"]["table"], &object["rule"]["chain"]];
        let rule = !object["rule"].is_null() && of_all != ["cni_plugins_masquerade", "postrouting"];
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
