//! Daemons that are killed, and an API server that is away.

use std::time::Duration;

use ferrule_tests::kubernetes::{Scope, alone};
use ferrule_tests::within;
use serde_json::json;

use crate::flow::Flow;

#[test]
fn pods_outlive_a_kubelet_and_a_containerd_that_are_killed() {
    let cluster = alone();
    let scope = Scope::new(&cluster, "killed");
    let (near, far) =
        (scope.pod_on("one", "near", &json!({})), scope.pod_on("two", "far", &json!({})));
    let flow = Flow::start(&scope, &near, &far.addresses);
    drop(cluster.stopped("two", "containerd", "KILL"));
    flow.goes_on();
    // A kubelet that starts before containerd answers ends, for systemd to start it again.
    let answers = || {
        let script = "/run/stage/containerd/ctr version >/dev/null && echo yes || true";
        (cluster.on("two", script).trim() == "yes").then_some(())
    };
    within(Duration::from_secs(60), answers).expect("containerd answers");
    drop(cluster.stopped("two", "kubelet", "KILL"));
    flow.goes_on();
    cluster.nodes_ready();
    let new = scope.pod_on("two", "new", &json!({}));
    assert_eq!(scope.pods("app=far")[0].addresses, far.addresses);
    assert!(!far.addresses.contains(&new.addresses[0]));
    scope.all_reach_each_other(&[near, far, new]);
    flow.lost_nothing();
}

#[test]
fn pods_outlive_a_route_sync_that_is_killed() {
    let cluster = alone();
    let scope = Scope::new(&cluster, "routeless");
    let (near, far) =
        (scope.pod_on("one", "near", &json!({})), scope.pod_on("three", "far", &json!({})));
    let flow = Flow::start(&scope, &near, &far.addresses);
    let (here, there) = (
        cluster.stopped("one", "route-sync", "KILL"),
        cluster.stopped("three", "route-sync", "KILL"),
    );
    flow.goes_on();
    drop((here, there));
    flow.lost_nothing();
}

/// A kubelet needs no API server for the pods of its own folder.
const STATIC: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "static"},
    "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main",
        "image": "ferrule.test/tools:1", "imagePullPolicy": "Never",
        "command": ["/bin/agnhost", "netexec"]}]}}"#;

#[test]
fn pods_come_and_go_while_the_api_server_is_away() {
    let cluster = alone();
    let scope = Scope::new(&cluster, "away");
    cluster.settled();
    let far = scope.pod_on("three", "far", &json!({}));
    let near = scope.pod_on("one", "near", &json!({}));
    let flow = Flow::start(&scope, &near, &far.addresses);
    let leases =
        || cluster.on("two", "ls /var/lib/cni/networks/ferrule | grep -v -e lock -e last || true");
    let before = leases();
    let away = cluster.stopped("control", "kube-apiserver", "KILL");
    cluster.on("two", &format!("cat >/run/static-pods/static.json <<'END'\n{STATIC}\nEND"));
    let limit = Duration::from_secs(120);
    let came = within(limit, || Some(leases()).filter(|now| *now != before));
    let came = came.expect("a pod comes without the API server");
    let new = came.lines().filter(|lease| !before.contains(lease));
    for address in new {
        let address = address.replace('_', ":");
        let answers = || {
            let script = format!("ping -n -c1 -W2 {address} >/dev/null && echo yes || true");
            (cluster.on("three", &script).trim() == "yes").then_some(())
        };
        within(limit, answers).unwrap_or_else(|| panic!("{address} does not answer"));
    }
    cluster.on("two", "rm /run/static-pods/static.json");
    within(limit, || (leases() == before).then_some(())).expect("the pod goes");
    drop(away);
    cluster.answers();
    cluster.nodes_ready();
    let new = scope.pod_on("two", "new", &json!({}));
    scope.all_reach_each_other(&[near, far, new]);
    flow.lost_nothing();
}
