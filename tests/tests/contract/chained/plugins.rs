//! The plugins: a configuration of each with all that it can do, and how to see that it does.

use serde_json::{Value, json};

/// Where something is altered.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// In the pod.
    Pod,
    /// On the node.
    Node,
}

/// A plugin that is chained behind bridge.
pub struct Plugin {
    /// Its object in the network's list.
    pub keys: Value,
    /// Keys by which it changes nothing of the result.
    pub quiet: Value,
    /// Keys that it refuses with code 7.
    pub broken: Value,
    /// Single alterations that CHECK sees: where, a script in which VETH is the host's end, and what
    /// CHECK names.
    pub altered: &'static [(At, &'static str, &'static str)],
}

/// The plugin tuning.
pub fn tuning() -> Plugin {
    Plugin {
        keys: json!({"type": "tuning", "mac": "02:00:00:00:00:42", "mtu": 1400, "promisc": true,
            "allmulti": true, "txQLen": 77, "sysctl": {"net.core.somaxconn": "77",
            "net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.ip_local_port_range": "2000 3000"}}),
        quiet: json!({"mac": null, "mtu": null}),
        broken: json!({"sysctl": {"kernel.hostname": "x"}}),
        altered: &[
            (At::Pod, "ip link set eth0 address 02:00:00:00:00:99", "02:00:00:00:00:99"),
            (At::Pod, "ip link set eth0 mtu 1333", "1333"),
            (At::Pod, "ip link set eth0 promisc off", "promiscuous mode of eth0"),
            (At::Pod, "ip link set eth0 allmulticast off", "all-multicast mode of eth0"),
            (At::Pod, "ip link set eth0 txqueuelen 78", "transmit queue length of eth0"),
            (At::Pod, "echo 78 > /proc/sys/net/core/somaxconn", "net/core/somaxconn"),
            (At::Pod, "echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_filter", "eth0/arp_filter"),
            (At::Pod, "echo 2000 3001 > /proc/sys/net/ipv4/ip_local_port_range", "3001"),
            (At::Pod, "ip link del eth0", "eth0"),
            (At::Node, "ip link del VETH", "eth0"),
        ],
    }
}
