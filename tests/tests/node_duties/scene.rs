//! A node with route-sync and `[cni]`, beside another node.

use ferrule_tests::Pod;
use ferrule_tests::background::Background;
use ferrule_tests::cluster::{Cluster, LOG, Member, node_list};
use ferrule_tests::cnitool;
use ferrule_tests::node::{Place, words};
use ferrule_tests::within;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// More than anything here takes.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The runtime's files, on the node's /run.
pub const CONFLIST: &str = "/run/net.d/10-ferrule.conflist";
pub const TEMPLATE: &str = "/run/template/conflist";
const KEYS: &str = "[cni]\ntemplate = \"/run/template/conflist\"\nconf-dir = \"/run/net.d\"\n\
                    bin-dir = \"/run/bin\"\n";

/// A network of the node's pod CIDRs, of a bridge.
pub fn bridge() -> Value {
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": "cni0", "isGateway": true,
         "ipam": {"type": "host-local", "ranges": "${ranges}"}}]})
}

/// Node one of a cluster of two; its daemon is not started.
pub struct Scene {
    cluster: Cluster,
}

impl Scene {
    /// With a template, and more under `[cni]`.
    pub fn new(template: &Value, keys: &str) -> Scene {
        let mut cluster = Cluster::with("", &["one", "two"]);
        let member = &mut cluster.members[0];
        member.kill();
        // A clean node: what the harness's own daemon made is gone.
        let cleaned = member.node.try_run(&member.command("cleanup"));
        assert!(cleaned.status.success(), "{}", cleaned.stderr);
        member.node.write(LOG, "");
        let path = "/run/route-sync.toml";
        let config = member.node.read(path);
        let listen = "[metrics]\nlisten = \"127.0.0.1:9478\"\n";
        member.node.write(path, &format!("{config}\n{listen}{KEYS}{keys}"));
        member.node.write(TEMPLATE, &template.to_string());
        Scene { cluster }
    }

    pub fn member(&self) -> &Member {
        &self.cluster.members[0]
    }

    pub fn start(&mut self) {
        self.cluster.members[0].start();
    }

    pub fn kill(&mut self) {
        self.cluster.members[0].kill();
    }

    /// Starts the daemon by this command line in front of its own.
    pub fn start_by(&mut self, prefix: &str) {
        let member = &mut self.cluster.members[0];
        let command = format!("{prefix} {}", member.command(""));
        member.daemon = Some(Background::start_in(member.node.ns(), None, &words(&command), LOG));
    }

    /// Replaces the template in one step.
    pub fn template(&self, template: &Value) {
        self.replace(TEMPLATE, &template.to_string());
    }

    /// Writes a file in one step, as other programs of such folders do.
    pub fn replace(&self, path: &str, text: &str) {
        let node = &self.member().node;
        node.write("/run/aside", text);
        node.run(&format!("mv /run/aside {path}"));
    }

    /// The conflist as the runtime would read it.
    pub fn conflist(&self) -> Option<Value> {
        let node = &self.member().node;
        node.exists(CONFLIST).then(|| serde_json::from_str(&node.read(CONFLIST)).expect("whole"))
    }

    #[track_caller]
    pub fn conflist_when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = within(LIMIT, || self.conflist().filter(&wanted));
        found.unwrap_or_else(|| panic!("{:#?}\n{}", self.conflist(), self.member().log()))
    }

    /// What /readyz says: whether it is ready, and the text.
    pub fn ready(&self) -> Option<(bool, String)> {
        self.get("/readyz").map(|answer| (answer.starts_with("HTTP/1.1 200 "), answer))
    }

    pub fn get(&self, path: &str) -> Option<String> {
        self.member().node.ns().enter(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9478").ok()?;
            write!(stream, "GET {path} HTTP/1.1\r\n\r\n").ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            Some(text)
        })
    }

    /// The node list, with or without this node.
    pub fn list(&self, names: &[&str]) {
        self.member().write_nodes(&node_list(names));
    }

    /// Attaches a pod by the reference's own client, and gives what it prints.
    pub fn add(&self, pod: &Pod) -> String {
        cnitool::must(&self.member().node, "add", "pods", pod, &json!({}))
    }

    pub fn del(&self, pod: &Pod) {
        cnitool::must(&self.member().node, "del", "pods", pod, &json!({}));
    }
}

/// The types of a conflist's plugins.
pub fn types(list: &Value) -> Vec<&str> {
    let plugins = list["plugins"].as_array().unwrap();
    plugins.iter().map(|plugin| plugin["type"].as_str().unwrap()).collect()
}

/// The remarks and problems of a status, as one text.
pub fn said(status: &Value) -> String {
    format!("{} {}", status["remarks"], status["problems"])
}
