//! A node on which a chained plugin has worked before, a pod of bridge, and what there is to compare.

use ferrule_tests::conf::{self, BRIDGE};
use ferrule_tests::node::Place;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Chain, Node, Pod, Snapshot};
use serde_json::Value;

use crate::chained::plugins::Plugin;

/// A node, and a pod on it.
pub struct Scene<'a> {
    pub plugin: &'a Plugin,
    pub node: Node,
    pub pod: Pod,
}

/// What a plugin may have changed.
#[derive(Clone, Debug)]
pub struct State {
    pub node: Snapshot,
    pub pod: Vec<String>,
}

impl State {
    /// Fails unless both are the same.
    #[track_caller]
    pub fn is(&self, other: &State) {
        assert_same(&self.node, &other.node);
        let differing = |one: &State, two: &State| {
            one.pod.iter().filter(|line| !two.pod.contains(line)).cloned().collect::<Vec<_>>()
        };
        let (gone, come) = (differing(self, other), differing(other, self));
        assert!(
            gone.is_empty() && come.is_empty(),
            "the pod is not as it was:\n- {gone:#?}\n+ {come:#?}"
        );
    }
}

/// A pod's links, addresses, routes, rules, queues and sysctls, each a line.
pub fn inside(pod: &Pod) -> Vec<String> {
    let text =
        pod.sh("ip -d -o link; ip -o addr; ip route show table all; ip -6 route show table all
        ip rule; ip -6 rule; tc qdisc; tc filter show dev eth0 2> /dev/null || :
        cd /proc/sys/net; grep -rs . ipv4 ipv6 core netfilter || :");
    // Lifetimes and counters go on; the kernel draws a number for each namespace and link.
    let moving = |line: &&str| {
        let keys = [
            "/stable_secret:",
            "inet_peer_",
            "/route/flush",
            "ip6frag_secret_interval",
            "nf_conntrack_count",
            "nf_conntrack_buckets",
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

    /// The same of another pod.
    pub fn chain_of(&self, pod: &Pod) -> Chain<'_> {
        Chain::new(&self.node, pod, &conf::full(), std::slice::from_ref(&self.plugin.keys))
    }

    /// What there is now.
    pub fn state(&self) -> State {
        let node = Snapshot::of(&self.node).without_first_use(BRIDGE);
        // Folders that the first use makes stay.
        let node = node.without_files(&["/run/cni/tuning = "]);
        self.pod.settle();
        State { node, pod: inside(&self.pod) }
    }
}

/// The host's end of a result.
pub fn veth(result: &Value) -> String {
    crate::networks::veth(result).to_owned()
}
