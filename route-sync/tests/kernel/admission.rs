//! What the node set must not take from this node: its own addresses, networks and gateways.

use crate::common::{Node1, cluster, config, ip, on_a_node};
use route_sync::report::{Entry, State};
use route_sync::source::nodes::{Node, NodeSet};

/// The set of [`cluster`] and a node `wrong` of these CIDRs.
fn with(cidrs: &[&str]) -> NodeSet {
    let mut set = cluster(0);
    set.nodes.push(Node {
        name: "wrong".to_owned(),
        addresses: vec!["192.0.2.66".parse().unwrap(), "2001:db8::66".parse().unwrap()],
        pod_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
    });
    set
}

fn of_wrong(node: &Node1) -> Vec<Entry> {
    node.sync.report().cidrs.into_iter().filter(|entry| entry.node == "wrong").collect()
}

/// No route of ours leads anywhere but to the pods of [`cluster`].
fn nothing_else_is_routed() {
    for line in (ip("-4 route show proto 118") + &ip("-6 route show proto 118")).lines() {
        assert!(line.contains("10.1.") || line.contains("fd00:"), "{line}");
    }
}

#[test]
fn no_pod_cidr_takes_what_this_node_reaches() {
    on_a_node(|| {
        ip("route add 172.31.1.1 dev eth0");
        ip("route add default via 172.31.1.1");
        ip("-6 route add default via 2001:db8:9::1 dev eth0 onlink");
        ip("address add 198.51.100.7/32 dev lo");
        let cidrs = [
            "172.31.0.0/16",
            "2001:db8:9::/64",
            "192.0.2.128/25",
            "2001:db8:0:0:8000::/65",
            "198.51.100.0/24",
        ];
        let node = Node1::new(&with(&cidrs));
        let entries = of_wrong(&node);
        assert_eq!(entries.len(), cidrs.len());
        for entry in entries {
            let error = entry.error.unwrap();
            assert!(entry.state == State::Conflict && error.starts_with("conflict: "), "{error}");
        }
        nothing_else_is_routed();
        assert!(ip("route get 172.31.1.1").contains("172.31.1.1 dev eth0"));
        assert!(node.sync.report().synced && node.sync.next_try().is_none());
    });
}

/// What is free comes at once, and what is needed later goes.
#[test]
fn a_gateway_that_comes_or_goes_decides_at_once() {
    on_a_node(|| {
        let mut node = Node1::new(&with(&["172.31.0.0/16"]));
        let state = |node: &Node1| of_wrong(node)[0].state;
        assert_eq!(state(&node), State::Synced);
        ip("route add default via 172.31.1.1 dev eth0 onlink");
        node.settle();
        assert_eq!(state(&node), State::Conflict);
        nothing_else_is_routed();
        ip("route del default");
        node.settle();
        assert_eq!(state(&node), State::Synced);
        ip("address add 172.31.5.1/32 dev lo");
        node.settle();
        assert_eq!(state(&node), State::Conflict);
    });
}

#[test]
fn nothing_outside_of_the_clusters_cidrs_is_routed() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        let mut config = config(node.run_dir.path());
        config.cluster_cidrs =
            ["10.1.0.0/16", "fd00::/16"].map(|cidr| cidr.parse().unwrap()).into();
        node.sync.reconfigure(config);
        node.sync.set(&with(&["10.2.0.0/24", "10.1.9.0/24", "::ffff:10.1.0.0/112"]), false);
        node.sync.work();
        let states: Vec<State> = of_wrong(&node).iter().map(|entry| entry.state).collect();
        assert_eq!(states, [State::Synced, State::Refused, State::Refused]);
        assert!(ip("route get 10.1.9.1").contains("via 192.0.2.66"));
        nothing_else_is_routed();
    });
}

/// Pods of the plugin bgp have no bridge: each has a route.
#[test]
fn routed_pods_of_an_earlier_cidr_are_reported_until_they_are_gone() {
    on_a_node(|| {
        let mut node = Node1::new(&cluster(0));
        ip("link add veth1 type veth peer name pod1");
        ip("link set veth1 up alias ferrule");
        ip("route add 10.1.1.5/32 dev veth1 proto 117");
        ip("route add fd00:1::5/128 dev veth1 proto 117");
        let mut set = cluster(0);
        set.nodes[0].pod_cidrs = ["10.1.7.0/24", "fd00:7::/64"].map(|c| c.parse().unwrap()).into();
        node.sync.set(&set, false);
        node.sync.work();
        node.settle();
        let left = || -> Vec<String> {
            let file = node::Node::read(node.run_dir.path()).unwrap().unwrap();
            file.earlier
                .iter()
                .map(|earlier| format!("{} {}", earlier.cidr, earlier.left))
                .collect()
        };
        assert_eq!(
            left(),
            ["10.1.1.0/24 1 pod is left (veth1)", "fd00:1::/64 1 pod is left (veth1)"]
        );
        assert_eq!(node.sync.report().problems.len(), 2);
        // A restart forgets nothing.
        node.sync = route_sync::sync::Sync::new(config(node.run_dir.path())).unwrap();
        node.sync.set(&set, false);
        node.sync.work();
        node.settle();
        assert_eq!(node.sync.report().problems.len(), 2);
        ip("link del veth1");
        node.settle();
        let file = node::Node::read(node.run_dir.path()).unwrap().unwrap();
        assert!(file.earlier.is_empty() && node.sync.report().problems.is_empty());
    });
}
