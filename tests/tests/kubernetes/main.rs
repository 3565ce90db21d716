//! A Kubernetes cluster of three nodes on two subnets, whose pod network is ours: pods of a real
//! kubelet and containerd, Services by the real kube-proxy, CoreDNS, nodes that come and go.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod dns;
mod flow;
mod nodes;
mod pods;
mod restarts;
mod services;
mod upgrade;

/// The addresses of a node on its subnet, IPv4 first.
fn addresses_of(node: &str) -> [&'static str; 2] {
    match node {
        "one" => ["192.0.2.1", "2001:db8:a::1"],
        "two" => ["192.0.2.2", "2001:db8:a::2"],
        "three" => ["198.51.100.3", "2001:db8:b::3"],
        other => panic!("there is no node {other}"),
    }
}

/// The address that a program of `agnhost netexec` answers as the client's, without the port.
fn client(answer: &str) -> &str {
    let address = answer.trim().rsplit_once(':').map_or(answer, |(address, _)| address);
    address.trim_matches(['[', ']'])
}
