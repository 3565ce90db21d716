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
    /// Its executable.
    pub name: &'static str,
    /// What ADD says where no plugin stands before it, in the reference's words.
    pub alone: &'static str,
    /// Its object in the network's list.
    pub keys: Value,
    /// Keys by which it changes nothing of the result.
    pub quiet: Value,
    /// Keys by which a second pod stands beside the first: nothing that only one may have.
    pub second: Value,
    /// Keys that it refuses with code 7.
    pub broken: Value,
    /// Single alterations that CHECK sees: where, a script in which VETH is the host's end, and what
    /// CHECK names.
    pub altered: &'static [(At, &'static str, &'static str)],
}

/// The plugin tuning.
pub fn tuning() -> Plugin {
    Plugin {
        name: "tuning",
        alone: "Required prevResult missing",
        keys: json!({"type": "tuning", "mac": "02:00:00:00:00:42", "mtu": 1400, "promisc": true,
            "allmulti": true, "txQLen": 77, "sysctl": {"net.core.somaxconn": "77",
            "net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.ip_local_port_range": "2000 3000"}}),
        quiet: json!({"mac": null, "mtu": null}),
        second: json!({}),
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

/// The plugin firewall.
pub fn firewall() -> Plugin {
    Plugin {
        name: "firewall",
        alone: "Required prevResult missing",
        keys: json!({"type": "firewall", "ingressPolicy": "same-bridge"}),
        second: json!({}),
        quiet: json!({}),
        broken: json!({"ingressPolicy": "closed"}),
        altered: &[
            (
                At::Node,
                "nft flush map inet ferrule firewall4",
                "of firewall4 in table inet ferrule",
            ),
            (
                At::Node,
                "nft flush map inet ferrule firewall6",
                "of firewall6 in table inet ferrule",
            ),
            (
                At::Node,
                "nft flush chain inet ferrule firewall",
                "chain firewall of table inet ferrule",
            ),
            (At::Node, "nft flush chain inet ferrule firewall-end", "chain firewall-end of table"),
            (
                At::Node,
                "nft flush set inet ferrule closed-bridges",
                "element cni0 of closed-bridges",
            ),
            (
                At::Node,
                "nft flush set inet ferrule same-bridge",
                "element cni0 . cni0 of same-bridge",
            ),
            (
                At::Node,
                "nft 'add element inet ferrule firewall4 { 10.1.0.77 : drop }; flush chain ip filter CNI-FORWARD'",
                "the jump to CNI-ADMIN",
            ),
            (
                At::Node,
                "iptables-nft -F FORWARD",
                "the jump to CNI-FORWARD in chain FORWARD of table ip filter",
            ),
            (At::Node, "ip6tables-nft -D FORWARD 1", "of table ip6 filter is missing"),
            (
                At::Node,
                "iptables-nft -D CNI-FORWARD 2",
                "our rule in chain CNI-FORWARD of table ip filter",
            ),
            (At::Node, "iptables-nft -I FORWARD -j REJECT", "is never reached"),
            (
                At::Node,
                "nft 'add table inet late { chain f { type filter hook forward priority 5; policy drop; }; }'",
                "chain f of table inet late denies",
            ),
            (At::Node, "iptables-legacy -P FORWARD DROP", "iptables-legacy drops what"),
        ],
    }
}

/// The plugin portmap.
pub fn portmap() -> Plugin {
    let port = |host: u16, pod: u16, protocol: &str, ip: &str| json!({"hostPort": host, "containerPort": pod, "protocol": protocol, "hostIP": ip});
    let ports = |host| {
        json!({"portMappings": [port(host, 80, "tcp", ""), port(host, 53, "udp", "192.0.2.1"),
            port(host, 80, "sctp", "2001:db8::1")]})
    };
    Plugin {
        name: "portmap",
        alone: "must be called as chained plugin",
        keys: json!({"type": "portmap", "capabilities": {"portMappings": true},
            "runtimeConfig": ports(8080)}),
        second: json!({"runtimeConfig": ports(8081)}),
        quiet: json!({}),
        broken: json!({"runtimeConfig": {"portMappings": [port(8080, 0, "tcp", "")]}}),
        altered: &[
            (
                At::Node,
                "nft delete element inet ferrule hostports4 '{ tcp . 8080 }'
                 nft add element inet ferrule hostports4 '{ tcp . 8080 : 10.1.0.9 . 80 }'",
                "leads to 10.1.0.9:80",
            ),
            (
                At::Node,
                "nft delete element inet ferrule hostports6 '{ tcp . 8080 }'",
                "tcp [::]:8080",
            ),
            (
                At::Node,
                "nft delete element inet ferrule hostport-ips4 '{ udp . 192.0.2.1 . 8080 }'",
                "udp 192.0.2.1:8080",
            ),
            (
                At::Node,
                "nft delete element inet ferrule hostport-ips6 '{ sctp . 2001:db8::1 . 8080 }'",
                "sctp [2001:db8::1]:8080",
            ),
            (
                At::Node,
                "nft delete element inet ferrule hostport-links '{ \"cni0\" }'",
                "hostport-links",
            ),
            (At::Node, "echo 0 >/proc/sys/net/ipv4/conf/cni0/route_localnet", "route_localnet"),
            (At::Node, "nft flush chain inet ferrule hostports-in", "chain hostports-in"),
            (At::Node, "nft flush chain inet ferrule hostports-out", "chain hostports-out"),
            (At::Node, "nft flush chain inet ferrule hostports-masq", "chain hostports-masq"),
            (At::Node, "nft flush chain inet ferrule hostports-guard", "chain hostports-guard"),
            (At::Node, "nft flush ruleset", "table inet ferrule is missing"),
        ],
    }
}

/// The plugin bandwidth.
pub fn bandwidth() -> Plugin {
    Plugin {
        name: "bandwidth",
        alone: "must be called as chained plugin",
        keys: json!({"type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 800_000,
            "egressRate": 8_000_000, "egressBurst": 800_000}),
        second: json!({}),
        quiet: json!({"egressRate": null, "egressBurst": null}),
        broken: json!({"ingressBurst": 0}),
        altered: &[
            (At::Node, "tc qdisc del dev VETH root", "rate limit of veth"),
            (
                At::Node,
                "tc qdisc replace dev VETH root handle 1: tbf rate 9mbit burst 100000 latency 25ms",
                "rate in bit/s is 9000000, not 8000000",
            ),
            (At::Node, "tc qdisc del dev VETH ingress", "redirection of veth"),
            (At::Node, "tc filter del dev VETH ingress prio 1", "redirection of veth"),
            (At::Node, "ip link del $(ip -br link | grep -o '^bwp[0-9a-f]*')", "IFB device bwp"),
            (At::Node, "ip link set $(ip -br link | grep -o '^bwp[0-9a-f]*') down", "it is down"),
            (At::Node, "ip link del VETH", "eth0"),
            (At::Pod, "ip link del eth0", "eth0"),
        ],
    }
}

/// The plugin sbr.
pub fn sbr() -> Plugin {
    Plugin {
        name: "sbr",
        alone: "This plugin must be called as chained plugin",
        keys: json!({"type": "sbr"}),
        second: json!({}),
        quiet: json!({}),
        broken: json!({"gateways": ["nowhere"]}),
        altered: &[
            (At::Pod, "ip rule del lookup 100", "no rule leads packets from 10.1.0."),
            (At::Pod, "ip -6 rule del lookup 101", "no rule leads packets from fd00:1::"),
            (At::Pod, "ip route del default table 100", "the route 0.0.0.0/0 via 10.1.0.1"),
            (At::Pod, "ip -6 route flush table 101", "the route fd00:1::/64 table 101"),
            (At::Pod, "ip link del eth0", "eth0"),
            (At::Node, "ip link del VETH", "eth0"),
        ],
    }
}
