//! Three nodes on two links with a router between them.

use crate::background::Background;
use crate::bins::Bins;
use crate::node::{Node, Place, Pod, words};
use crate::ns::Namespace;
use crate::packets::first_ping;
use crate::within;
use serde_json::{Value, json};
use std::time::Duration;

/// The wires: a switch for each link, and the router between the links.
pub struct Router {
    ns: Namespace,
}

impl Place for Router {
    fn ns(&self) -> &Namespace {
        &self.ns
    }
}

/// A node with its daemon.
pub struct Member {
    /// The machine.
    pub node: Node,
    /// Its name in the node list.
    pub name: &'static str,
    /// The daemon, while it runs.
    pub daemon: Option<Background>,
}

/// Nodes, their wires and the router.
pub struct Cluster {
    /// The router between the links.
    pub router: Router,
    /// The nodes, in the order in which they were asked for.
    pub members: Vec<Member>,
    underlay: Underlay,
}

/// The families of the addresses that the node set lists for each node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Underlay {
    /// Both.
    Dual,
    /// IPv6 alone.
    V6,
}

/// Addresses of the router that no node is on a link with: what is outside of the cluster.
pub const OUTSIDE: [&str; 2] = ["203.0.113.1", "2001:db8:ffff::1"];

/// Name, link, host part of its addresses, number of its pod CIDRs.
const NODES: [(&str, char, u8); 3] = [("one", 'a', 1), ("two", 'a', 2), ("three", 'b', 3)];

/// Every node's name.
pub const ALL: [&str; 3] = ["one", "two", "three"];

/// The part of an IPv4 address that says the link.
fn four(link: char) -> &'static str {
    if link == 'a' { "192.0.2" } else { "198.51.100" }
}

/// The network that the vxlan plugin gets: all it needs to know it has from the daemon.
pub fn network() -> Value {
    json!({"cniVersion": "1.1.0", "name": "cluster", "type": "vxlan",
           "ipam": {"type": "host-local"}})
}

/// The node list of these nodes.
pub fn node_list(names: &[&str]) -> String {
    node_list_over(Underlay::Dual, names)
}

/// The node list of these nodes, by addresses of these families.
pub fn node_list_over(underlay: Underlay, names: &[&str]) -> String {
    let of = |(name, link, at): &(&str, char, u8)| {
        let four = format!("\"{}.{at}\", ", four(*link));
        let four = if underlay == Underlay::Dual { four.as_str() } else { "" };
        format!(
            "[[node]]\nname = \"{name}\"\n\
             addresses = [{four}\"2001:db8:{link}::{at}\"]\n\
             pod-cidrs = [\"10.244.{at}.0/24\", \"fd00:10:244:{at}::/64\"]\n"
        )
    };
    NODES.iter().filter(|(name, ..)| names.contains(name)).map(of).collect()
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// Wires, nodes and daemons; it is in step when this returns.
    pub fn new() -> Cluster {
        Cluster::with("", &ALL)
    }

    /// As [`Cluster::new`] of these nodes, with more at the top of the daemons' configuration.
    pub fn with(keys: &str, names: &[&str]) -> Cluster {
        Cluster::over(Underlay::Dual, keys, names)
    }

    /// As [`Cluster::with`], where nodes are known by addresses of these families.
    pub fn over(underlay: Underlay, keys: &str, names: &[&str]) -> Cluster {
        let router = Router { ns: Namespace::new(|| {}) };
        for link in ['a', 'b'] {
            // A bridge without an address of its own has its ports' lowest, and another when one
            // comes; who knows the router sends to the old one then.
            router.sh(&format!(
                "ip link add name wire-{link} address 02:00:00:00:00:0{link} type bridge
                 ip link set wire-{link} up
                 ip address add {}.254/24 dev wire-{link}
                 ip address add 2001:db8:{link}::fe/64 dev wire-{link} nodad",
                four(link)
            ));
        }
        router.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        router.sh(&format!(
            "ip link set lo up; ip address add {}/32 dev lo; ip address add {}/128 dev lo",
            OUTSIDE[0], OUTSIDE[1]
        ));
        router.sh("nft add table inet seen
             nft add chain inet seen forward '{ type filter hook forward priority 0; }'
             nft add counter inet seen routed
             nft add counter inet seen full
             nft add counter inet seen fragments
             nft add rule inet seen forward udp dport 4789 counter name routed
             nft add rule inet seen forward udp dport 4789 meta length 1500 counter name full
             nft add rule inet seen forward ip frag-off \\& 0x3fff != 0 counter name fragments
             nft add rule inet seen forward exthdr frag exists counter name fragments
             nft add table bridge seen
             nft add chain bridge seen forward '{ type filter hook forward priority 0; }'
             nft add counter bridge seen switched
             nft add rule bridge seen forward udp dport 4789 counter name switched");
        let mut cluster = Cluster { router, members: vec![], underlay };
        let nodes = NODES.iter().filter(|(name, ..)| names.contains(name));
        for &(name, link, at) in nodes.clone() {
            cluster.join(name, link, at, keys);
        }
        cluster.set_nodes(names);
        for at in 0..cluster.members.len() {
            cluster.members[at].start();
        }
        for member in &cluster.members {
            member.in_sync();
            // A node's link-local address is in detection for a second or two, and a source of no
            // neighbour solicitation: what is forwarded meanwhile is lost.
            member.node.settle();
            for (_, link, at) in nodes.clone() {
                let answers = || first_ping(&member.node, &format!("2001:db8:{link}::{at}"));
                let found = within(Duration::from_secs(10), || answers().then_some(()));
                assert!(found.is_some(), "{} does not reach node {at}", member.name);
            }
        }
        cluster
    }

    /// As [`Cluster::over`], in a network that routes: each node's addresses, 10.255.0.N and
    /// 2001:db8:ff::N, are on its loopback device.
    pub fn routed(underlay: Underlay) -> Cluster {
        Cluster::routed_on("lo", underlay, &ALL)
    }

    /// As [`Cluster::routed`], of these nodes, with the addresses on another device, which is made if
    /// it is a dummy.
    pub fn routed_on(device: &str, underlay: Underlay, names: &[&str]) -> Cluster {
        let cluster = Cluster::over(underlay, "", names);
        let mut list = node_list_over(underlay, names);
        let nodes = NODES.iter().filter(|(name, ..)| names.contains(name));
        for (member, &(_, link, at)) in cluster.members.iter().zip(nodes) {
            if device != "lo" {
                member
                    .node
                    .sh(&format!("ip link add {device} type dummy; ip link set {device} up"));
            }
            let (four, six) = (four(link), format!("2001:db8:{link}::"));
            cluster.router.sh(&format!(
                "ip route add 10.255.0.{at} via {four}.{at}
                 ip route add 2001:db8:ff::{at} via {six}{at}"
            ));
            member.node.sh(&format!(
                "ip address add 10.255.0.{at}/32 dev {device}
                 ip address add 2001:db8:ff::{at}/128 dev {device} nodad
                 ip route replace default via {four}.254 src 10.255.0.{at}
                 ip -6 route replace default via {six}fe src 2001:db8:ff::{at}"
            ));
            list = list.replace(&format!("\"{four}.{at}\""), &format!("\"10.255.0.{at}\""));
            list = list.replace(&format!("\"{six}{at}\""), &format!("\"2001:db8:ff::{at}\""));
        }
        cluster.write_nodes(&list);
        let prefix = if underlay == Underlay::Dual { "10.255.0." } else { "2001:db8:ff::" };
        let reported = |entry: &Value| {
            let via = entry["via"].as_str();
            via.map_or(entry["path"] == "local", |via| via.starts_with(prefix))
        };
        for member in &cluster.members {
            member.status_when(|status| status["cidrs"].as_array().unwrap().iter().all(reported));
            member.in_sync();
        }
        cluster
    }

    fn join(&mut self, name: &'static str, link: char, at: u8, keys: &str) {
        let node = self.plug_in(name, link, at);
        node.write(
            "/run/route-sync.toml",
            &format!(
                "node-name = \"{name}\"\ncluster-cidrs = [\"10.244.0.0/16\", \"fd00:10:244::/48\"]\n\
                 service-cidrs = [\"10.96.0.0/12\", \"fd00:10:96::/112\"]\n\
                 resync-interval = 0\n{keys}\n[source]\ntype = \"file\"\npath = \"/run/nodes.toml\"\n"
            ),
        );
        self.members.push(Member { node, name, daemon: None });
    }

    /// A machine on a link, by the host part of its addresses; it is no node of the cluster yet.
    pub fn plug_in(&self, name: &str, link: char, at: u8) -> Node {
        let node = Node::new();
        let path = self.router.ns.net_path();
        node.sh(&format!(
            "ip link add eth0 type veth peer name {name} netns {}
             ip link set eth0 up
             ip address add {}.{at}/24 dev eth0
             ip address add 2001:db8:{link}::{at}/64 dev eth0 nodad
             ip route add default via {}.254
             ip -6 route add default via 2001:db8:{link}::fe",
            path.display(),
            four(link),
            four(link)
        ));
        self.router.sh(&format!("ip link set {name} master wire-{link} up"));
        node
    }

    /// Gives every node a node list.
    pub fn set_nodes(&self, names: &[&str]) {
        self.write_nodes(&node_list_over(self.underlay, names));
    }

    /// Gives every node a node list of this text.
    pub fn write_nodes(&self, text: &str) {
        self.members.iter().for_each(|member| member.write_nodes(text));
    }

    /// Packets of the tunnel that passed the router, and that passed a switch.
    pub fn tunnelled(&self) -> (u64, u64) {
        (self.seen("inet", "routed"), self.seen("bridge", "switched"))
    }

    /// Packets that a counter of the router's nftables has seen.
    pub fn seen(&self, family: &str, counter: &str) -> u64 {
        let shown = self.router.json(&format!("nft -j list counter {family} seen {counter}"));
        let counters = shown["nftables"].as_array().unwrap();
        counters.iter().find_map(|c| c["counter"]["packets"].as_u64()).unwrap()
    }
}

/// Where a daemon's log is on its node.
pub const LOG: &str = "/run/route-sync.log";

impl Member {
    /// Starts the daemon; it is killed with SIGKILL when it is dropped.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// As [`Member::start`], with more in its environment.
    pub fn start_with(&mut self, environment: &[(&str, &str)]) {
        let mut command = words(&self.command(""));
        command.envs(environment.iter().copied());
        self.daemon = Some(Background::start_in(self.node.ns(), None, &command, LOG));
    }

    /// The daemon's process ID.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a daemon").pid()
    }

    /// Kills the daemon with SIGKILL.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// The command line of `route-sync` with this node's configuration.
    pub fn command(&self, arguments: &str) -> String {
        let exe = Bins::ours().exe("route-sync");
        format!("{} --config /run/route-sync.toml {arguments}", exe.display())
    }

    /// What the daemons of this node have logged.
    pub fn log(&self) -> String {
        self.node.read(LOG)
    }

    /// Gives this node a node list of this text, renamed into its place.
    pub fn write_nodes(&self, text: &str) {
        self.node.write("/run/nodes.toml.new", text);
        self.node.run("mv /run/nodes.toml.new /run/nodes.toml");
    }

    /// What `route-sync status --json` says; None when no daemon answers.
    pub fn status(&self) -> Option<Value> {
        let done = self.node.try_run(&self.command("status --json"));
        serde_json::from_str(&done.stdout).ok()
    }

    /// Waits until all is in sync.
    pub fn in_sync(&self) {
        let synced = || {
            let report = self.status()?;
            let cidrs = report["cidrs"].as_array()?;
            let all = cidrs.iter().all(|entry| entry["state"] == "synced");
            (all && report["synced"] == true && !cidrs.is_empty()).then_some(())
        };
        let done = within(Duration::from_secs(20), synced);
        assert!(done.is_some(), "{}: {:#?}", self.name, self.status());
    }

    /// Waits until the status is as wanted, and returns it.
    #[track_caller]
    pub fn status_when(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = within(Duration::from_secs(20), || self.status().filter(&wanted));
        found.unwrap_or_else(|| panic!("{}: {:#?}\n{}", self.name, self.status(), self.log()))
    }

    /// Everything that the daemon keeps, as iproute2 and nft print it.
    pub fn kept(&self) -> String {
        let mut lines = String::new();
        for command in [
            "ip -4 route show proto 118",
            "ip -6 route show proto 118",
            "ip -d link show type vxlan",
            "ip address show dev fvxlan.100 scope global",
            "ip -4 neighbour show dev fvxlan.100 nud permanent",
            "ip -6 neighbour show dev fvxlan.100 nud permanent",
            "bridge fdb show dev fvxlan.100",
            "nft list table inet ferrule",
        ] {
            lines += &self.node.try_run(command).stdout;
        }
        // Indexes differ for a device that was made anew; flags and modes of links are no state.
        let strip = |line: &str| match line.split_once(": ") {
            Some((index, rest)) if index.parse::<u32>().is_ok() => rest.to_owned(),
            _ => line.to_owned(),
        };
        let mut lines: Vec<String> = lines.lines().map(strip).collect();
        lines.sort();
        lines.join("\n")
    }

    /// A pod that the vxlan plugin attached, with its addresses.
    pub fn pod(&self) -> (Pod, Vec<String>) {
        self.pod_on(&network())
    }

    /// A pod on another network, with its addresses.
    pub fn pod_on(&self, network: &Value) -> (Pod, Vec<String>) {
        let pod = self.node.pod();
        let result = self.node.attach(network, &pod).add();
        let addresses = crate::invoke::addresses(&result);
        (pod, addresses)
    }
}
