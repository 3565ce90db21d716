//! Services by the real kube-proxy, and host ports by the plugin portmap.

use std::collections::BTreeSet;

use ferrule_tests::kubernetes::scope::{fetch, in_url};
use ferrule_tests::kubernetes::{Kubernetes, NODES, Scope, alone, shared};
use serde_json::json;

use crate::{addresses_of, client};

/// A Service whose pods are on every node is reached from pods, and by its node port from
/// outside, by both families; each of its pods answers.
fn service_is_reached(cluster: &Kubernetes, name: &'static str) {
    let scope = Scope::new(cluster, name);
    let backends = scope.deploy("web", 6);
    let addresses = scope.service("web", &json!({"type": "NodePort"}));
    let names: BTreeSet<_> = backends.iter().map(|pod| pod.name.clone()).collect();
    let service = cluster.get(&format!("-n {} service web", scope.name));
    let port = service["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    for client in scope.pod_on_each("client") {
        for address in &addresses {
            scope.exec_soon(&client, &fetch(address, 80, "hostname"));
            let all = format!(
                "for i in $(seq 60); do {} || exit 1; echo; done",
                fetch(address, 80, "hostname")
            );
            let answers = scope.exec(&client, &all);
            let seen: BTreeSet<_> = answers.split_whitespace().map(str::to_owned).collect();
            assert_eq!(seen, names, "the pods that answer {client:?} for {address}");
        }
    }
    for node in NODES {
        for address in addresses_of(node) {
            let port = u16::try_from(port).unwrap();
            let answer = cluster.outside(&fetch(address, port, "hostname"));
            assert!(names.contains(answer.trim()), "{node}: {answer}");
        }
    }
}

#[test]
fn all_pods_of_a_service_are_reached_with_kube_proxy_by_nftables() {
    service_is_reached(&shared(), "nftables");
}

/// Gives kube-proxy its first mode back.
struct Nftables<'a>(&'a Kubernetes);

impl Drop for Nftables<'_> {
    fn drop(&mut self) {
        self.0.cluster(&["proxy", "nftables"]);
    }
}

#[test]
fn all_pods_of_a_service_are_reached_with_kube_proxy_by_iptables() {
    let cluster = alone();
    cluster.cluster(&["proxy", "iptables"]);
    let back = Nftables(&cluster);
    service_is_reached(&cluster, "iptables");
    assert!(cluster.on("one", "iptables-save -t nat").contains("KUBE-SVC"));
    drop(back);
}

#[test]
fn a_pod_reaches_itself_through_its_service_and_its_host_port() {
    let cluster = shared();
    let scope = Scope::new(&cluster, "hairpin");
    let port = json!({"ports": [{"containerPort": 8080, "hostPort": 18081}]});
    let pod = scope.pod_on("two", "own", &port);
    let services = scope.service("own", &json!({}));
    let node = addresses_of("two").map(str::to_owned);
    for (addresses, port) in [(services, 80), (node.to_vec(), 18081)] {
        for address in addresses {
            let answer = scope.exec_soon(&pod, &fetch(&address, port, "hostname"));
            assert_eq!(answer.trim(), "own", "{address}:{port}");
        }
    }
}

#[test]
fn a_host_port_is_reached_from_everywhere_and_the_pod_sees_the_client() {
    let cluster = shared();
    let scope = Scope::new(&cluster, "hostports");
    let ports = json!({"ports": [
        {"containerPort": 8080, "hostPort": 18080},
        {"containerPort": 8081, "hostPort": 18080, "protocol": "UDP"},
    ]});
    scope.pod_on("three", "server", &ports);
    let own = ["198.51.100.254", "2001:db8:b::fe"];
    for (address, own) in addresses_of("three").iter().zip(own) {
        let seen = cluster.outside(&fetch(address, 18080, "clientip"));
        assert_eq!(client(&seen), own, "the source that the pod sees");
        cluster.on("one", &fetch(address, 18080, "hostname"));
        cluster.on("three", &fetch(address, 18080, "hostname"));
        let udp = format!(
            "echo hostname | timeout 5 socat -t3 - UDP:{}:18080 | grep -q server",
            in_url(address)
        );
        cluster.outside(&udp);
    }
    for pod in scope.pod_on_each("client") {
        for (address, own) in addresses_of("three").iter().zip(&pod.addresses) {
            let seen = scope.exec(&pod, &fetch(address, 18080, "clientip"));
            let expected = if pod.node == "three" { own } else { client(&seen) };
            assert_eq!(client(&seen), expected, "the source that the pod sees of {pod:?}");
        }
    }
}
