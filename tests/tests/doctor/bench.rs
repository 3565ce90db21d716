//! A node with one pod, and `ferrule` on it.

use ferrule_tests::conf::{self, with};
use ferrule_tests::node::Place;
use ferrule_tests::outside::OUTSIDE4;
use ferrule_tests::tool::Finished;
use ferrule_tests::{Bins, Node, Outside, Pod};
use serde_json::{Value, json};

/// Where the conflists of these nodes are; /etc/cni is not there on every machine.
pub const CONF_DIR: &str = "/run/net.d";
/// Files that `ferrule` reads in the place of the node's.
pub const OVERLAY: &str = "/run/overlay";

/// A node with an uplink and one pod on a masqueraded network of both families.
pub struct Bench {
    pub node: Node,
    pub pod: Pod,
    pub result: Value,
    pub config: Value,
    pub outside: Outside,
}

impl Bench {
    /// A healthy one.
    pub fn new() -> Bench {
        Bench::of(&conf::full())
    }

    /// On another network.
    pub fn of(config: &Value) -> Bench {
        let node = Node::new();
        let outside = Outside::beside(&node);
        node.run(&format!("ip route add default via {OUTSIDE4}"));
        let pod = node.pod();
        let result = node.attach(config, &pod).add();
        write_conflist(&node, "10-pods.conflist", config);
        node.sh(&format!("mkdir -p /run/netns; ln -s {} /run/netns/pod", pod.netns()));
        Bench { node, pod, result, config: config.clone(), outside }
    }

    /// The pod's IPv4 address.
    pub fn address(&self) -> String {
        ferrule_tests::invoke::addresses(&self.result)[0].clone()
    }

    /// The host's end of the pod's link.
    pub fn veth(&self) -> String {
        self.node.veths()[0].clone()
    }
}

/// Writes a network as a conflist of one plugin.
pub fn write_conflist(node: &Node, name: &str, config: &Value) {
    let plugin = with(config, &json!({"name": null, "cniVersion": null}));
    let (network, version) = (&config["name"], &config["cniVersion"]);
    let list = json!({"cniVersion": version, "name": network, "plugins": [plugin]});
    node.write(&format!("{CONF_DIR}/{name}"), &list.to_string());
}

/// Runs `ferrule` on a node.
pub fn ferrule(node: &Node, arguments: &str) -> Finished {
    let bins = Bins::ours();
    let (exe, folder) = (bins.exe("ferrule"), bins.dir().display().to_string());
    let folders = format!("--conf-dir {CONF_DIR} --overlay {OVERLAY}");
    let folders = if arguments.contains("--bin-dir") {
        folders
    } else {
        format!("{folders} --bin-dir {folder}")
    };
    node.try_run(&format!("{} {arguments} {folders}", exe.display()))
}

/// What `ferrule doctor` finds: the exit code, and the report.
pub fn doctor(node: &Node, arguments: &str) -> (i32, Value) {
    let watch = if arguments.contains("--watch") { "" } else { "--watch 0" };
    let done = ferrule(node, &format!("doctor --json {watch} {arguments}"));
    let report = serde_json::from_str(&done.stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}: {}{}", done.stdout, done.stderr));
    (done.status.code().unwrap(), report)
}

/// The one finding of a check; there must be one.
#[track_caller]
pub fn found(node: &Node, check: &str) -> Value {
    found_by(node, check, "")
}

/// As [`found`], with more arguments.
#[track_caller]
pub fn found_by(node: &Node, check: &str, arguments: &str) -> Value {
    let (code, report) = doctor(node, arguments);
    assert_eq!(code, 1, "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    let one = findings.iter().find(|finding| finding["check"] == check);
    let one = one.unwrap_or_else(|| panic!("{check} found nothing: {report:#}")).clone();
    assert!(!one["remedy"].as_array().unwrap().is_empty(), "no remedy: {one:#}");
    assert!(!one["evidence"].as_array().unwrap().is_empty(), "no evidence: {one:#}");
    one
}

/// As [`found`], and no other check finds anything.
#[track_caller]
pub fn alone(node: &Node, check: &str) -> Value {
    let (_, report) = doctor(node, "");
    let findings = report["findings"].as_array().unwrap();
    let others = findings.iter().filter(|finding| finding["check"] != check);
    assert_eq!(others.count(), 0, "{report:#}");
    found(node, check)
}

/// Fails unless the node is well.
#[track_caller]
pub fn well(node: &Node) {
    let (code, report) = doctor(node, "");
    assert!(code == 0 && report["verdict"] == "well", "{report:#}");
}

/// What a finding says.
pub fn what(finding: &Value) -> String {
    finding["what"].as_str().unwrap().to_owned()
}

/// All that it says, in one text.
pub fn all(finding: &Value) -> String {
    finding.to_string()
}
