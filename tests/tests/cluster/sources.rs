//! The source of what a node itself sends to pods of others, under a strict reverse-path filter
//! at the receiver: inside the node's own pod CIDR.

use crate::cluster::{ALL, Cluster, Member, network};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{tcp_source, udp_source};
use ferrule_tests::within;
use serde_json::{Value, json};
use std::time::Duration;

/// Strict on every link, as several distributions have it.
fn strict(member: &Member) {
    member.node.sh("for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$file; done");
}

/// What the nodes send to the pods of each other.
fn sources_are_inside(keys: &str, names: &[&str], network: fn(usize) -> Value) {
    let cluster = Cluster::with(keys, names);
    let members = cluster.members.iter().enumerate();
    let pods: Vec<_> = members.map(|(at, member)| member.pod_on(&network(at + 1))).collect();
    cluster.members.iter().for_each(Member::in_sync);
    cluster.members.iter().for_each(strict);
    for (from, member) in cluster.members.iter().enumerate() {
        let inside = [format!("10.244.{}.", from + 1), format!("fd00:10:244:{}:", from + 1)];
        for (pod, addresses) in pods.iter().enumerate().filter(|(to, _)| *to != from).map(|p| p.1) {
            for (address, inside) in addresses.iter().zip(&inside) {
                let mut seen = Err(String::new());
                // A bridge that has come since is followed by events.
                let well = within(Duration::from_secs(5), || {
                    seen = tcp_source(&member.node, pod, address);
                    seen.as_ref().ok().filter(|seen| seen.to_string().starts_with(inside)).map(drop)
                });
                let all = || member.kept();
                assert!(well.is_some(), "{} to {address}: {seen:?}\n{}", member.name, all());
                assert_eq!(udp_source(&member.node, pod, address), seen);
            }
        }
    }
}

#[test]
fn directly_and_through_the_tunnel() {
    sources_are_inside("", &ALL, |_| network());
}

/// Without a tunnel it is the address of the pods' bridge.
#[test]
fn in_mode_direct() {
    sources_are_inside("mode = \"direct\"", &["one", "two"], |at| {
        let ranges = json!([[{"subnet": format!("10.244.{at}.0/24")}],
                            [{"subnet": format!("fd00:10:244:{at}::/64")}]]);
        json!({"cniVersion": "1.1.0", "name": "plain", "type": "bridge", "isDefaultGateway": true,
               "ipam": {"type": "host-local", "ranges": ranges}})
    });
}

#[test]
fn in_mode_vxlan() {
    sources_are_inside("mode = \"vxlan\"", &ALL, |_| network());
}
