//! A cluster that is laid with the files of conf/ as they are.

use crate::cluster::{ALL, Cluster, OUTSIDE};
use ferrule_tests::bins::workspace;
use ferrule_tests::node::Place;
use ferrule_tests::packets::{ping, tcp_source};
use serde_json::{Value, json};
use std::fs;

fn conf(file: &str) -> String {
    fs::read_to_string(workspace().join("conf").join(file)).unwrap()
}

#[test]
fn pods_reach_each_other_the_nodes_and_the_outside() {
    let mut cluster = Cluster::with("", &ALL);
    let sample = conf("route-sync.toml").replace("/etc/ferrule/nodes.toml", "/run/nodes.toml");
    for member in &mut cluster.members {
        let remarks = member.status().unwrap()["remarks"].to_string();
        assert!(
            remarks.contains("masquerade is off, and pods' addresses are private (10.244."),
            "{remarks}"
        );
        member.kill();
        let named = format!("node-name = \"{}\"\n{sample}", member.name);
        member.node.write("/run/route-sync.toml", &named);
        member.start();
        member.in_sync();
        assert_eq!(member.status().unwrap()["remarks"], json!([]));
    }
    let list: Value = serde_json::from_str(&conf("10-vxlan.conflist")).unwrap();
    let mut network = list["plugins"][0].clone();
    network["cniVersion"] = json!("1.0.0");
    network["name"] = list["name"].clone();
    let pods: Vec<_> = cluster.members.iter().map(|member| member.pod_on(&network)).collect();
    let (pod, _) = &pods[0];
    for (_, addresses) in &pods[1..] {
        addresses.iter().for_each(|address| ping(pod, address));
    }
    let nodes = [(1, ["192.0.2.2", "2001:db8:a::2"]), (2, ["198.51.100.3", "2001:db8:b::3"])];
    for (at, addresses) in nodes {
        for address in addresses {
            let seen = tcp_source(pod, &cluster.members[at].node, address);
            assert!(seen.is_ok(), "{address}: {seen:?}");
        }
    }
    for (address, seen) in OUTSIDE.iter().zip(["192.0.2.1", "2001:db8:a::1"]) {
        assert_eq!(tcp_source(pod, &cluster.router, address), Ok(seen.parse().unwrap()));
    }
}
