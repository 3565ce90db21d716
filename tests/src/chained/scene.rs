//! A node on which a chained plugin has worked before, a pod of bridge, and what there is to compare.

use crate::chain::Chain;
use crate::chained::plugins::Plugin;
use crate::conf::{self, BRIDGE};
use crate::node::{Node, Place, Pod};
use crate::snapshot::Snapshot;

/// A node, and a pod on it.
pub struct Scene<'a> {
    /// The plugin.
    pub plugin: &'a Plugin,
    /// The node.
    pub node: Node,
    /// The pod.
    pub pod: Pod,
}

/// What a plugin may have changed.
#[derive(Clone, Debug)]
pub struct State {
    /// The node's.
    pub node: Snapshot,
    /// The pod's, as [`inside`].
    pub pod: Vec<String>,
}

impl State {
    /// Without the node's files below some folders.
    #[must_use]
    pub fn without_files(&self, folders: &[&str]) -> Self {
        Self { node: self.node.clone().without_files(folders), pod: self.pod.clone() }
    }

    /// What differs, as text; empty when nothing does.
    #[must_use]
    pub fn difference(&self, after: &State) -> String {
        let mut text = self.node.difference(&after.node);
        for (sign, one, two) in [("-", self, after), ("+", after, self)] {
            for line in one.pod.iter().filter(|line| !two.pod.contains(line)) {
                text += &format!("pod {sign} {line}\n");
            }
        }
        text
    }

    /// Fails unless both are the same.
    #[track_caller]
    pub fn is(&self, other: &State) {
        let difference = self.difference(other);
        assert!(difference.is_empty(), "node or pod are not as they were:\n{difference}");
    }
}

/// A pod's links, addresses, routes, rules, queues and sysctls, each a line.
pub fn inside(pod: &Pod) -> Vec<String> {
    let text =
        pod.sh("ip -d -o link; ip -o addr; ip route show table all; ip -6 route show table all
        ip rule; ip -6 rule; tc qdisc; tc filter show dev eth0 2> /dev/null || :
        cd /proc/sys/net; grep -rs . ipv4 ipv6 core netfilter || :");
    // Lifetimes and counters go on; the kernel draws a number for each namespace and link, and adds one
    // rule for all VRFs with the first, which it never removes (vrf_add_fib_rules).
    let moving = |line: &&str| {
        let keys = [
            "/stable_secret:",
            "inet_peer_",
            "/route/flush",
            "ip6frag_secret_interval",
            "nf_conntrack_count",
            "nf_conntrack_buckets",
            "[l3mdev-table]",
        ];
        !keys.iter().any(|key| line.contains(key))
    };
    let plain = |line: &str| line.split(" expires ").next().unwrap_or(line).trim().to_owned();
    text.lines().filter(moving).map(plain).collect()
}

impl<'a> Scene<'a> {
    /// A node that had a pod of the chain before, for what the first leaves by intent.
    pub fn new(plugin: &'a Plugin) -> Self {
        let scene = Self { plugin, node: Node::new(), pod: Pod::new() };
        let earlier = Pod::new();
        let chain = scene.chain_of(&earlier);
        let result = chain.add();
        chain.del(Some(&result));
        scene.node.settle();
        scene
    }

    /// Bridge, and the plugin behind it.
    pub fn chain(&self) -> Chain<'_> {
        self.chain_of(&self.pod)
    }

    /// The same of another pod, which may stand beside it.
    pub fn chain_of(&self, pod: &Pod) -> Chain<'_> {
        let Plugin { keys, second, .. } = self.plugin;
        let own = pod.id() == self.pod.id();
        let keys = if own { keys.clone() } else { conf::with(keys, second) };
        Chain::new(&self.node, pod, &conf::full(), &[keys])
    }

    /// What there is now.
    pub fn state(&self) -> State {
        let node = Snapshot::of(&self.node).without_first_use(BRIDGE);
        // Folders that the first use makes stay. Namespaces of this machine come and go.
        let node = node.without_files(&["/run/cni/tuning = ", "/run/netns"]);
        self.pod.settle();
        State { node, pod: inside(&self.pod) }
    }
}
