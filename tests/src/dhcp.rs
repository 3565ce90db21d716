//! DHCP on a link of pods: servers, and the plugin dhcp's daemon.

pub mod bench;
pub mod lan;

use crate::node::Place;
use crate::{Background, Bins, Node, conf, within};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// For what takes a second on a machine that does nothing else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A bridge whose pods ask for their addresses, with keys of `ipam`.
pub fn pods(ipam: &Value) -> Value {
    let ipam = conf::with(&json!({"type": "dhcp"}), ipam);
    conf::with(&conf::l2(), &json!({"ipam": ipam}))
}

/// A daemon on a node.
pub struct Daemon<'a> {
    node: &'a Node,
    /// Its process.
    pub process: Background,
}

impl<'a> Daemon<'a> {
    /// Starts one, and waits until it listens.
    pub fn start(node: &'a Node, flags: &str) -> Self {
        Self::start_of(node, &Bins::ours(), flags)
    }

    /// As [`Daemon::start`], of other executables.
    pub fn start_of(node: &'a Node, bins: &Bins, flags: &str) -> Self {
        let mut command = Command::new(bins.exe("dhcp"));
        command.arg("daemon").args(flags.split_whitespace());
        let process = Background::start_in(node.ns(), None, &command, "/run/dhcp.log");
        let daemon = Self { node, process };
        let connects = || std::os::unix::net::UnixStream::connect("/run/cni/dhcp.sock").is_ok();
        let listens = || node.ns().enter(connects).then_some(());
        within(PATIENCE, listens).unwrap_or_else(|| panic!("the daemon listens: {}", daemon.log()));
        daemon
    }

    /// Kills it.
    pub fn stop(&mut self) {
        self.node.run(&format!("kill -9 {}", self.process.pid()));
        within(PATIENCE, || (!self.process.running()).then_some(())).expect("it ends");
    }

    /// What it logged.
    pub fn log(&self) -> String {
        log(self.node)
    }

    /// Waits until its log has a line with `text`.
    #[track_caller]
    pub fn says(&self, text: &str) {
        let said = || self.log().contains(text).then_some(());
        within(PATIENCE, said).unwrap_or_else(|| panic!("no {text:?} in the log:\n{}", self.log()));
    }

    /// How often its log has `text`.
    pub fn count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// The leases that `dhcp status` shows.
    pub fn leases(&self) -> Vec<Value> {
        let shown = status(self.node, "-json");
        let report: Value = serde_json::from_str(&shown).unwrap_or_else(|e| panic!("{e}: {shown}"));
        report["leases"].as_array().unwrap().clone()
    }

    /// Waits until it has one lease, in this state.
    #[track_caller]
    pub fn reaches(&self, state: &str) -> Value {
        let found = || self.leases().into_iter().find(|lease| lease["state"] == state);
        within(PATIENCE, found)
            .unwrap_or_else(|| panic!("no lease is {state}: {:?}\n{}", self.leases(), self.log()))
    }
}

/// What the node's daemons logged.
pub fn log(node: &Node) -> String {
    if node.exists("/run/dhcp.log") { node.read("/run/dhcp.log") } else { String::new() }
}

/// What `dhcp status` prints.
pub fn status(node: &Node, arguments: &str) -> String {
    let dhcp = Bins::ours().exe("dhcp");
    node.try_run(&format!("{} status {arguments}", dhcp.display())).stdout
}

/// The addresses whose records are on disk.
pub fn records(node: &Node) -> Vec<String> {
    let texts = node.sh("cat /var/lib/ferrule/dhcp/*.json 2>/dev/null || true");
    let records = serde_json::Deserializer::from_str(&texts).into_iter::<Value>();
    records.map(|record| record.unwrap()["lease"]["address"].as_str().unwrap().to_owned()).collect()
}
