//! Pods of Deployments, by packet.

use ferrule_tests::kubernetes::scope::fetch;
use ferrule_tests::kubernetes::{NODES, OUTSIDE, Scope, alone, shared};

use crate::{addresses_of, client};

#[test]
fn every_pod_of_a_deployment_reaches_every_other_by_its_own_address() {
    let cluster = shared();
    let scope = Scope::new(&cluster, "pods");
    let pods = scope.deploy("many", 9);
    assert_eq!(pods.len(), 9);
    for node in NODES {
        assert!(pods.iter().any(|pod| pod.node == node), "no pod on {node}: {pods:?}");
    }
    assert!(pods.iter().all(|pod| pod.addresses.len() == 2), "{pods:?}");
    scope.all_reach_each_other(&pods);
    for (from, to) in pods.iter().zip(pods.iter().cycle().skip(1)) {
        for (own, address) in from.addresses.iter().zip(&to.addresses) {
            let seen = scope.exec(from, &fetch(address, 8080, "clientip"));
            assert_eq!(client(&seen), own, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn every_pod_reaches_the_api_server_and_the_outside_without_a_key_set() {
    let cluster = shared();
    let scope = Scope::new(&cluster, "outside");
    for pod in scope.pod_on_each("client") {
        scope.exec_soon(&pod, "agnhost connect 10.96.0.1:443 --timeout=5s");
        scope.exec_soon(&pod, "agnhost connect outside.example:80 --timeout=5s");
        for (outside, node) in OUTSIDE.iter().zip(addresses_of(&pod.node)) {
            let seen = scope.exec(&pod, &fetch(outside, 80, "clientip"));
            assert_eq!(client(&seen), node, "the address that {outside} sees of {pod:?}");
        }
    }
}

#[test]
fn nodes_reach_pods_and_pods_reach_nodes() {
    let cluster = shared();
    let scope = Scope::new(&cluster, "nodes");
    let pods = scope.pod_on_each("peer");
    for pod in &pods {
        for node in NODES {
            for (address, own) in addresses_of(node).iter().zip(&pod.addresses) {
                scope.exec(pod, &format!("ping -c1 -W5 {address}"));
                cluster.on(node, &format!("ping -n -c1 -W5 {own}"));
            }
        }
    }
}

#[test]
fn pods_that_end_leave_nothing_on_their_nodes() {
    let cluster = alone();
    let left = "ls /var/lib/cni/networks/ferrule /run/ferrule/attachments | grep -v last_reserved
        ip -o link show type veth | cut -d: -f2 | cut -d@ -f1
        ls /run/netns; nft list table inet ferrule; nft list table bridge ferrule || true";
    cluster.settled();
    let before: Vec<_> = NODES.iter().map(|node| cluster.on(node, left)).collect();
    let scope = Scope::new(&cluster, "ends");
    scope.deploy("short", 12);
    let during: Vec<_> = NODES.iter().map(|node| cluster.on(node, left)).collect();
    assert_ne!(before, during);
    drop(scope);
    cluster.settled();
    let after: Vec<_> = NODES.iter().map(|node| cluster.on(node, left)).collect();
    assert_eq!(before, after);
}
