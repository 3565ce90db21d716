//! Frames between ports of a bridge pass the hooks of IP too where the module br_netfilter is
//! loaded, as on every node of Kubernetes, and do not where it is not. Both ways everything arrives,
//! and as whose is the same.

use std::net::IpAddr;
use std::process::Command;

use ferrule_tests::chain::Chain;
use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{ping, tcp_source, udp_source};
use ferrule_tests::{Node, Outside, Pod, tool};
use serde_json::{Value, json};

use crate::peer::Server;

/// A node where frames pass the hooks of IP, or not.
fn node(passes_hooks: bool) -> Node {
    tool::succeed(Command::new("modprobe").arg("br_netfilter"));
    let node = Node::new();
    for family in ["iptables", "ip6tables", "arptables"] {
        let switch = format!("net/bridge/bridge-nf-call-{family}");
        node.set_sysctl(&switch, if passes_hooks { "1" } else { "0" });
    }
    node
}

fn ip(text: &str) -> Result<IpAddr, String> {
    Ok(text.parse().unwrap())
}

fn masquerading(keys: &Value) -> Value {
    conf::with(&conf::with(&conf::dual(), &json!({"ipMasq": true})), keys)
}

#[test]
fn masquerade_changes_what_leaves_the_node_and_nothing_else() {
    for passes_hooks in [true, false] {
        let (node, one, two, third) = (node(passes_hooks), Pod::new(), Pod::new(), Pod::new());
        let outside = Outside::beside(&node);
        let pods = masquerading(&json!({}));
        node.attach(&pods, &one).add();
        node.attach(&pods, &two).add();
        assert_eq!(tcp_source(&one, &outside, OUTSIDE4), ip(NODE4));
        assert_eq!(udp_source(&one, &outside, OUTSIDE6), ip(NODE6));
        assert_eq!(tcp_source(&one, &two, "10.1.0.3"), ip("10.1.0.2"));
        assert_eq!(udp_source(&one, &two, "fd00:1::3"), ip("fd00:1::2"));
        assert_eq!(tcp_source(&one, &node, GATEWAY4), ip("10.1.0.2"));
        let others = json!({"name": "others", "bridge": "cni1", "ipam": {
            "ranges": [[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]}});
        node.attach(&masquerading(&others), &third).add();
        // Another network is not the pod's own: the node's address on the way there.
        assert_eq!(tcp_source(&one, &third, "10.2.0.2"), ip("10.2.0.1"));
    }
}

#[test]
fn pods_that_share_a_bridge_and_a_check_of_mac_addresses_talk() {
    for passes_hooks in [true, false] {
        let (node, one, two) = (node(passes_hooks), Pod::new(), Pod::new());
        let checked = masquerading(&json!({"macspoofchk": true, "hairpinMode": true}));
        node.attach(&checked, &one).add();
        node.attach(&checked, &two).add();
        ping(&one, "10.1.0.3");
        ping(&two, "fd00:1::2");
        assert_eq!(tcp_source(&two, &one, "10.1.0.2"), ip("10.1.0.3"));
    }
}

/// From outside, from the node, from another pod of the same bridge and from the pod itself.
#[test]
fn a_host_port_leads_to_its_pod() {
    for passes_hooks in [true, false] {
        let (node, pod, other) = (node(passes_hooks), Pod::new(), Pod::new());
        let outside = Outside::beside(&node);
        let ports = json!([{"hostPort": 8080, "containerPort": 5000, "protocol": "tcp"}]);
        let portmap = json!({"type": "portmap", "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": ports}});
        let hairpin = masquerading(&json!({"hairpinMode": passes_hooks}));
        let chain = Chain::new(&node, &pod, &hairpin, &[portmap]);
        let result = chain.add();
        node.attach(&masquerading(&json!({})), &other).add();
        let server = Server::at(&pod, "TCP", 5000);
        for (address, client) in [(NODE4, OUTSIDE4), (NODE6, OUTSIDE6)] {
            assert_eq!(server.sees(&outside, address, 8080), client);
            server.sees(&node, address, 8080);
            server.sees(&other, address, 8080);
            server.sees(&pod, address, 8080);
        }
        server.sees(&node, "127.0.0.1", 8080);
        chain.check(&result);
        chain.del(Some(&result));
    }
}
