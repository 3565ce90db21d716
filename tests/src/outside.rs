//! A host outside of the node, which sees what leaves it.

use std::time::Duration;

use crate::node::{Node, Place};
use crate::ns::Namespace;
use crate::packets::first_ping;
use crate::within;

/// A neighbour on the node's uplink that knows no way to any pod.
pub struct Outside {
    ns: Namespace,
}

/// The node's address on its uplink, and the outside host's.
pub const NODE4: &str = "198.51.100.1";
/// The outside host's IPv4 address.
pub const OUTSIDE4: &str = "198.51.100.2";
/// The node's IPv6 address on its uplink.
pub const NODE6: &str = "2001:db8:ffff::1";
/// The outside host's IPv6 address.
pub const OUTSIDE6: &str = "2001:db8:ffff::2";
/// The node's end of the wire.
pub const UPLINK: &str = "uplink0";

impl Outside {
    /// Puts a host beside the node.
    pub fn beside(node: &Node) -> Self {
        let outside = Self { ns: Namespace::new(|| {}) };
        let netns = outside.ns.net_path();
        node.run(&format!(
            "ip link add {UPLINK} type veth peer name eth0 netns {}",
            netns.display()
        ));
        node.sh(&format!(
            "ip addr add {NODE4}/24 dev {UPLINK}
             ip -6 addr add {NODE6}/64 dev {UPLINK} nodad
             echo 0 >/proc/sys/net/ipv6/conf/{UPLINK}/accept_dad
             ip link set {UPLINK} up"
        ));
        outside.sh(&format!(
            "ip link set lo up
             ip addr add {OUTSIDE4}/24 dev eth0
             ip -6 addr add {OUTSIDE6}/64 dev eth0 nodad
             echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad
             ip link set eth0 up"
        ));
        for address in [OUTSIDE4, OUTSIDE6] {
            let answered = || first_ping(node, address).then_some(());
            within(Duration::from_secs(5), answered).expect("the uplink carries packets");
        }
        outside
    }
}

impl Place for Outside {
    fn ns(&self) -> &Namespace {
        &self.ns
    }
}
