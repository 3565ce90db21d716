//! A node with route-sync, and pods on it.

use ferrule_tests::background::Background;
use ferrule_tests::bins::Bins;
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::{Node, Place, Pod};
use ferrule_tests::ns::Namespace;
use ferrule_tests::within;
use serde_json::{Value, json};
use std::time::Duration;

/// Node number `n`: CIDRs 10.244.n.0/24 and fd00:10:244:n::/64, addresses 192.0.2.n and
/// 2001:db8::n on its loopback device.
pub struct Speaker {
    pub node: Node,
    pub n: u8,
    pub daemon: Option<Background>,
}

impl Place for Speaker {
    fn ns(&self) -> &Namespace {
        self.node.ns()
    }
}

/// A pod on the network of [`network`], and its addresses.
pub struct Member {
    pub pod: Pod,
    pub v4: String,
    pub v6: String,
}

/// All that a network of the plugin `bgp` says; the rest is the node's matter.
pub fn network() -> Value {
    json!({"cniVersion": "1.1.0", "name": "ferrule", "type": "bgp", "ipMasq": true,
        "ipam": {"type": "host-local"}})
}

impl Place for Member {
    fn ns(&self) -> &Namespace {
        self.pod.ns()
    }
}

/// A counter of the place's kernel, of /proc/net/`file`.
pub fn counted(place: &impl Place, file: &str, name: &str) -> u64 {
    let text = place.read(&format!("/proc/net/{file}"));
    let lines: Vec<&str> = text.lines().collect();
    let of_pair = |pair: &[&str]| {
        let at = pair[0].split_whitespace().position(|found| found == name)?;
        pair[1].split_whitespace().nth(at)?.parse().ok()
    };
    lines.chunks_exact(2).find_map(of_pair).unwrap_or_else(|| panic!("{file} has no {name}"))
}

impl Speaker {
    /// A node without links.
    pub fn new(n: u8) -> Speaker {
        let node = Node::new();
        node.sh(&format!(
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
             sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
             ip address add 192.0.2.{n}/32 dev lo
             ip address add 2001:db8::{n}/128 dev lo"
        ));
        Speaker { node, n, daemon: None }
    }

    /// Puts a wire between this node and a place; `names` and `addresses` of this end and that one.
    pub fn wire(&self, name: &str, other: &impl Place, other_name: &str, addresses: [&[&str]; 2]) {
        let path = other.ns().net_path();
        self.node.sh(&format!(
            "ip link add {name} type veth peer name {other_name} netns {}",
            path.display()
        ));
        let up = |place: &dyn Fn(&str), name: &str, addresses: &[&str]| {
            place(&format!("ip link set {name} up"));
            for address in addresses {
                place(&format!("ip address add {address} dev {name}"));
            }
        };
        up(&|c| drop(self.node.run(c)), name, addresses[0]);
        up(&|c| drop(other.run(c)), other_name, addresses[1]);
    }

    /// A pod that the plugin `bgp` attaches, once it says that it can.
    pub fn pod(&self) -> Member {
        let pod = Pod::new();
        let attachment = self.node.attach(&network(), &pod);
        self.until("STATUS is well", |_| attachment.status().code == Some(0));
        let [v4, v6] = addresses(&attachment.add()).try_into().expect("an address of each family");
        Member { pod, v4, v6 }
    }

    /// Writes the configuration: this node, and `bgp`.
    pub fn configure(&self, bgp: &str) {
        let n = self.n;
        self.configure_whole(&format!(
            "{bgp}\n[node]\naddresses = [\"192.0.2.{n}\", \"2001:db8::{n}\"]\n\
             pod-cidrs = [\"10.244.{n}.0/24\", \"fd00:10:244:{n}::/64\"]\n"
        ));
    }

    /// Writes the configuration; the cluster's CIDRs and the node's name are written before it.
    pub fn configure_whole(&self, rest: &str) {
        let text = format!(
            "node-name = \"node-{}\"\ncluster-cidrs = [\"10.244.0.0/16\", \"fd00:10:244::/48\"]\n\
             resync-interval = 0\n{rest}",
            self.n
        );
        self.node.write("/run/route-sync.toml.new", &text);
        self.node.run("mv /run/route-sync.toml.new /run/route-sync.toml");
    }

    pub fn start(&mut self) {
        let exe = Bins::ours().exe("route-sync");
        let mut command = std::process::Command::new(exe);
        command.args(["--config", "/run/route-sync.toml", "--log-level", "debug"]);
        let daemon = Background::start_in(self.node.ns(), None, &command, "/run/log");
        self.daemon = Some(daemon);
    }

    /// What route-sync logged.
    pub fn log(&self) -> String {
        self.node.read("/run/log")
    }

    /// Runs a command of route-sync.
    pub fn command(&self, command: &str) -> ferrule_tests::tool::Finished {
        let exe = Bins::ours().exe("route-sync");
        let line = format!("{} --config /run/route-sync.toml {command}", exe.display());
        self.node.try_run(&line)
    }

    /// `status bgp --json`; null when no daemon answers.
    pub fn bgp(&self) -> Value {
        serde_json::from_str(&self.command("status bgp --json").stdout).unwrap_or(Value::Null)
    }

    /// One peer of it.
    pub fn peer(&self, address: &str) -> Value {
        let bgp = self.bgp();
        let peers = bgp["peers"].as_array().cloned().unwrap_or_default();
        peers.into_iter().find(|peer| peer["address"] == address).unwrap_or(Value::Null)
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, what: &str, mut done: impl FnMut(&Speaker) -> bool) {
        let reached = within(Duration::from_secs(20), || done(self).then_some(()));
        assert!(
            reached.is_some(),
            "node {}: {what}\n{}\n{}\n{}",
            self.n,
            self.command("status bgp").stdout,
            self.node.sh("ip route; ip -6 route"),
            self.log()
        );
    }

    /// Waits until every session is up and every peer has sent its routes.
    #[track_caller]
    pub fn is_up(&self) {
        self.until("all sessions up", |s| s.command("status bgp").status.success());
    }

    /// The routes of protocol 119, one a line.
    pub fn learned(&self) -> String {
        self.node.sh("ip route show proto 119; ip -6 route show proto 119")
    }

    /// Waits until there is a route of protocol 119 to a prefix with so many next hops.
    #[track_caller]
    pub fn learns(&self, prefix: &str, hops: usize) {
        self.until(&format!("{prefix} by {hops} next hops"), |s| s.hops(prefix) == hops);
    }

    /// How many next hops the route of protocol 119 to a prefix has.
    pub fn hops(&self, prefix: &str) -> usize {
        let family = if prefix.contains(':') { "-6" } else { "-4" };
        let shown = self.node.run(&format!("ip {family} route show exact {prefix} proto 119"));
        shown.matches("via ").count()
    }
}
