//! The networks: a configuration with all that a pod can own there, and what answers.

use ferrule_tests::conf::{self, BRIDGE, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Attachment, Node, Pod, Snapshot};
use serde_json::{Value, json};

pub use ferrule_tests::chained::veth;

/// A network on nodes of its kind.
pub struct Network {
    /// Both families, masqueraded, and every check that it has.
    pub config: Value,
    /// What its nodes need besides.
    prepare: &'static str,
    /// What answers a pod, of each family.
    pub gateways: [&'static str; 2],
    /// The lengths of a pod's addresses, of each family.
    pub lengths: [u8; 2],
    /// What other programs may do to a pod's parts: scripts in which VETH is the host's end.
    pub damages: &'static [&'static str],
}

const ON_A_BRIDGE: &[&str] = &["ip link del cni0", "ip link set VETH nomaster"];

/// By the plugin bridge.
pub fn bridge() -> Network {
    let keys = json!({"hairpinMode": true, "mtu": 1400, "portIsolation": true});
    Network {
        config: conf::with(&conf::full(), &keys),
        prepare: "true",
        gateways: [GATEWAY4, GATEWAY6],
        lengths: [24, 64],
        damages: ON_A_BRIDGE,
    }
}

/// By the plugin vxlan, where no daemon runs.
pub fn vxlan() -> Network {
    let keys = json!({"type": "vxlan", "vni": 100, "port": 4789, "underlay": "uplink"});
    Network {
        config: conf::with(&bridge().config, &keys),
        prepare: "ip link add uplink up type veth peer name wire; ip link set wire up
            ip addr add 192.0.2.1/24 dev uplink",
        ..bridge()
    }
}

/// By the plugin bgp, without a bridge.
pub fn bgp() -> Network {
    let keys = json!({"type": "bgp", "mtu": 1400, "bridge": null, "isGateway": null,
        "macspoofchk": null, "ipam": {"routes": null}});
    Network {
        config: conf::with(&conf::full(), &keys),
        prepare: "true",
        gateways: ["169.254.1.1", "fe80::1%eth0"],
        lengths: [32, 128],
        damages: &[
            "ip addr flush dev VETH",
            "ip route flush dev VETH; ip -6 route flush dev VETH",
            "nft flush set inet ferrule rpfilter-links",
            "nft flush chain inet ferrule rpfilter",
        ],
    }
}

impl Network {
    /// A node that never had a pod.
    pub fn node(&self) -> Node {
        let node = Node::new();
        node.sh(self.prepare);
        node
    }

    /// `eth0` of a pod.
    pub fn attach<'a>(&self, node: &'a Node, pod: &Pod) -> Attachment<'a> {
        node.attach(&self.config, pod)
    }

    /// A node's state, without what its first pod leaves for the next by intent.
    pub fn steady(&self, node: &Node) -> Snapshot {
        Snapshot::of(node).without_first_use(BRIDGE)
    }

    /// Fails unless the first packets arrive, both families, both ways.
    #[track_caller]
    pub fn answers(&self, node: &Node, pod: &Pod, result: &Value) {
        self.gateways.iter().for_each(|gateway| ping(pod, gateway));
        ping(node, &address(result, 0));
        ping(node, &address(result, 1));
    }
}

/// The address of a result, the nth, without its length.
pub fn address(result: &Value, nth: usize) -> String {
    ferrule_tests::invoke::addresses(result).get(nth).cloned().expect("an address")
}
