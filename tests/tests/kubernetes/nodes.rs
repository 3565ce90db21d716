//! Nodes that are drained, deleted and made again.

use ferrule_tests::kubernetes::{Kubernetes, Scope, alone};
use serde_json::json;

/// Lets pods onto a node again.
struct Cordoned<'a>(&'a Kubernetes, &'a str);

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        let _ = self.0.try_kubectl(&["uncordon", self.1], "");
    }
}

fn drain<'a>(cluster: &'a Kubernetes, node: &'a str) -> Cordoned<'a> {
    let cordoned = Cordoned(cluster, node);
    cluster.kubectl(&format!("drain {node} --force --ignore-daemonsets --timeout=120s"));
    cordoned
}

#[test]
fn the_pods_of_a_drained_node_are_reached_where_they_go() {
    let cluster = alone();
    let scope = Scope::new(&cluster, "drained");
    scope.deploy("web", 6);
    let cordoned = drain(&cluster, "two");
    scope.kubectl("rollout status deployment/web --timeout=150s");
    let moved = scope.pods("app=web");
    assert!(moved.len() == 6 && moved.iter().all(|pod| pod.node != "two"), "{moved:?}");
    scope.all_reach_each_other(&moved);
    drop(cordoned);
    let back = scope.pod_on("two", "back", &json!({}));
    scope.all_reach_each_other(&[back, moved[0].clone()]);
}

#[test]
fn a_node_that_is_made_again_has_the_pods_of_its_new_cidr() {
    let cluster = alone();
    let scope = Scope::new(&cluster, "remade");
    let far = scope.pod_on("one", "far", &json!({}));
    let old = cluster.get("node three")["spec"]["podCIDRs"].clone();
    let cordoned = drain(&cluster, "three");
    let kubelet = cluster.stopped("three", "kubelet", "TERM");
    cluster.kubectl("delete node three");
    drop(kubelet);
    cluster.kubectl("wait --for=create node/three --timeout=120s");
    cluster.kubectl("wait --for=jsonpath={.spec.podCIDRs[1]} node/three --timeout=60s");
    drop(cordoned);
    let new = cluster.get("node three")["spec"]["podCIDRs"].clone();
    assert_ne!(old, new);
    cluster.cluster(&["nodes"]);
    cluster.nodes_ready();
    let near = scope.pod_on("three", "near", &json!({}));
    let prefix = new[0].as_str().unwrap().trim_end_matches("0/24").to_owned();
    assert!(near.addresses[0].starts_with(&prefix), "{near:?} is of {new}");
    scope.all_reach_each_other(&[near, far]);
}
