//! A node in a network namespace of its own, and iproute2 in it as the oracle.

use ipnetwork::IpNetwork;
use net::{Event, Monitor};
use nix::sched::{CloneFlags, unshare};
use route_sync::config::{Config, Masquerade, Mode, Source, Vxlan};
use route_sync::source::nodes::{Node, NodeSet};
use route_sync::sync::Sync;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Runs a test in a network namespace that vanishes with its thread: a node with the address
/// 192.0.2.1/24 and 2001:db8::1/64 on `eth0`.
pub fn on_a_node(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
        ip("link set lo up");
        underlay("eth0");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Makes the node's uplink, a veth whose other end is its own wire.
pub fn underlay(name: &str) {
    ip(&format!("link add {name} type veth peer name wire"));
    ip(&format!("link set {name} up"));
    ip("link set wire up");
    ip(&format!("address add 192.0.2.1/24 dev {name}"));
    ip(&format!("address add 2001:db8::1/64 dev {name} nodad"));
}

/// Runs `ip` and gives what it prints.
pub fn ip(args: &str) -> String {
    tool("ip", args)
}

/// Runs `bridge` and gives what it prints.
pub fn bridge(args: &str) -> String {
    tool("bridge", args)
}

/// Runs `nft` and gives what it prints.
pub fn nft(args: &str) -> String {
    tool("nft", args)
}

/// The VXLAN devices that are there.
pub fn tunnels() -> Vec<String> {
    let shown = ip("-o link show type vxlan");
    let name = |line: &str| line.split(": ").nth(1).unwrap().split('@').next().unwrap().to_owned();
    shown.lines().map(name).collect()
}

fn tool(program: &str, args: &str) -> String {
    let output = Command::new(program).args(args.split_whitespace()).output();
    let output =
        output.unwrap_or_else(|e| panic!("{program}: {e}: apt-get install iproute2 nftables"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn config(run_dir: &Path) -> Config {
    Config {
        node_name: "own".to_owned(),
        mode: Mode::Auto,
        cluster_cidrs: vec![],
        service_cidrs: vec![],
        run_dir: run_dir.to_owned(),
        state_dir: run_dir.to_owned(),
        resync_interval: None,
        source: Source::File { path: "/nodes".into() },
        bgp: None,
        vxlan: Vxlan { vni: 100, port: 4789, underlay: None, prefer_ipv6: false, mtu: None },
        masquerade: Masquerade { enabled: false, random_fully: true, exclude_cidrs: vec![] },
        probe: None,
        metrics: None,
        cni: None,
    }
}

/// This node, one on the link, one far away, and `more` far ones.
pub fn cluster(more: u16) -> NodeSet {
    let node = |name: &str, addresses: &[&str], cidrs: &[&str]| Node {
        name: name.to_owned(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        pod_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
    };
    let mut nodes = vec![
        node("own", &["192.0.2.1", "2001:db8::1"], &["10.1.1.0/24", "fd00:1::/64"]),
        node("near", &["192.0.2.2", "2001:db8::2"], &["10.1.2.0/24", "fd00:2::/64"]),
        node("far", &["203.0.113.3"], &["10.1.3.0/24", "fd00:3::/64"]),
    ];
    for at in 0..more {
        let [high, low] = at.to_be_bytes();
        nodes.push(Node {
            name: format!("more-{at}"),
            addresses: vec![[100, 64, high, low].into()],
            pod_cidrs: vec![
                IpNetwork::new([11, high, low, 0].into(), 24).unwrap(),
                format!("fd01:{at:x}::/64").parse().unwrap(),
            ],
        });
    }
    NodeSet { nodes, ..NodeSet::default() }
}

/// A daemon's inside: what it hears and what it does.
pub struct Node1 {
    pub sync: Sync,
    pub monitor: Monitor,
    pub run_dir: TempDir,
}

impl Node1 {
    /// One that is in step with a node set.
    pub fn new(set: &NodeSet) -> Node1 {
        let monitor = Monitor::open().unwrap();
        let run_dir = TempDir::new().unwrap();
        let sync = Sync::new(config(run_dir.path())).unwrap();
        let mut node = Node1 { sync, monitor, run_dir };
        node.sync.set(set, false);
        node.sync.work();
        node.settle();
        node
    }

    /// Hears and works until the kernel tells nothing for a while: its last notifications of a
    /// link come up to a second late, from a work of their own (net/core/link_watch.c).
    pub fn settle(&mut self) {
        let mut quiet = Instant::now();
        while quiet.elapsed() < Duration::from_millis(300) {
            let events = self.monitor.read().unwrap();
            if events.is_empty() {
                std::thread::sleep(Duration::from_millis(2));
            } else {
                quiet = Instant::now();
            }
            self.receive(events);
        }
    }

    /// Waits until something is tried again, and does it.
    pub fn try_again(&mut self) {
        let next = self.sync.next_try().expect("something is tried again");
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        self.sync.work();
    }

    fn receive(&mut self, events: Vec<Event>) {
        self.sync.events(events);
        self.sync.work();
    }
}

/// Everything that the daemon keeps, as iproute2 prints it.
pub fn state() -> String {
    let mut lines = vec![];
    for args in [
        "-4 route show proto 118",
        "-6 route show proto 118",
        "-d link show dev fvxlan.100",
        "address show dev fvxlan.100 scope global",
        "-4 neighbour show dev fvxlan.100 nud permanent",
        "-6 neighbour show dev fvxlan.100 nud permanent",
    ] {
        lines.extend(ip(args).lines().map(str::to_owned));
    }
    lines.extend(bridge("fdb show dev fvxlan.100").lines().map(str::to_owned));
    // Indexes differ for a device that was made anew, and so does what follows from them.
    let strip = |line: String| {
        line.split_once(": fvxlan").map_or(line.clone(), |(_, rest)| rest.to_owned())
    };
    let mut lines: Vec<String> = lines.into_iter().map(strip).collect();
    lines.sort();
    lines.join("\n")
}
