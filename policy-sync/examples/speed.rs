//! How long a change takes from objects to what nf_tables must hold, and how much memory that needs: 10,000 pods in 100
//! namespaces, 110 of them here, 1,000 policies. `cargo run --release -p policy-sync --example speed`.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for people")]

use kube_source::objects::{Namespace, Pod};
use policy_sync::follow::Follower;
use policy_sync::source::Update;
use policy_sync::state::State;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const NAMESPACES: usize = 100;
const PODS: usize = 100;
const POLICIES: usize = 10;

fn pod(namespace: usize, at: usize, label: &str) -> Arc<Pod> {
    // 110 of them.
    let here = at == 0 || (at == 50 && namespace < 10);
    let node = if here { "here" } else { "there" };
    let object = json!({
        "metadata": {
            "name": format!("pod-{at}"), "namespace": format!("ns-{namespace}"), "uid": format!("{namespace}-{at}"),
            "labels": {
                "app": format!("app-{}", at % 20), "tier": label, "pod-template-hash": "5d4f8c7b9",
                "app.kubernetes.io/name": "something", "app.kubernetes.io/instance": "something-else",
            },
            "creationTimestamp": "2026-11-30T20:00:00Z",
        },
        "spec": {"nodeName": node, "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIPs": [
            {"ip": format!("10.{}.{}.{}", namespace / 50, namespace % 50 * 4 + at / 50, at % 50 + 1)},
            {"ip": format!("fd00::{namespace}:{at}")},
        ]},
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn policy(
    namespace: usize,
    at: usize,
    port: u16,
) -> Arc<kube_source::objects::policy::NetworkPolicy> {
    let object = json!({
        "metadata": {"name": format!("policy-{at}"), "namespace": format!("ns-{namespace}")},
        "spec": {
            "podSelector": if at == 0 { json!({}) } else { json!({"matchLabels": {"app": format!("app-{}", at * 2)}}) },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"podSelector": {}}], "ports": [{"port": "http"}]},
                {"from": [{"namespaceSelector": {"matchLabels": {"team": format!("team-{}", at % 5)}}}], "ports": [{"port": port}]},
                {"from": [{"ipBlock": {"cidr": format!("192.0.{at}.0/24")}}]},
            ],
            "egress": [
                {"to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": format!("app-{at}")}}}]},
                {"ports": [{"port": 53, "protocol": "UDP"}]},
            ],
        },
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn namespace(at: usize, team: usize) -> Arc<Namespace> {
    let object = json!({"metadata": {"name": format!("ns-{at}"), "labels": {"team": format!("team-{team}")}}});
    Arc::new(serde_json::from_value(object).unwrap())
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

/// Everything at once, and what it takes.
fn load(objects: &Cluster) -> (Follower, State) {
    let (mut follower, mut state) = (Follower::default(), State::new("here"));
    let begin = Instant::now();
    for update in [
        Update::Pods(objects.pods.clone()),
        Update::Namespaces(objects.namespaces.clone()),
        Update::Policies(objects.policies.clone()),
        Update::ClusterPolicies(Vec::new()),
        Update::Attachments(BTreeMap::new()),
    ] {
        follower.update(update, &mut state);
    }
    let desired = state.desired();
    let elements: usize = desired.sets.values().map(|set| len(set)).sum();
    println!(
        "all at once: {:?}; {} pods here, {} profiles, {} sets, {elements} elements; memory {}",
        begin.elapsed(),
        state.counts()[2],
        desired.profiles.len(),
        desired.sets.len(),
        memory(),
    );
    drop(desired);
    (follower, state)
}

fn len(set: &nft::policy::Members) -> usize {
    match set {
        nft::policy::Members::Peers(all) => all.len(),
        nft::policy::Members::PeerPorts(all) => all.len(),
        nft::policy::Members::Ports(all) => all.len(),
        nft::policy::Members::Networks(all) => all.len(),
        nft::policy::Members::NetworkPorts(all) => all.len(),
    }
}

struct Cluster {
    pods: Vec<Arc<Pod>>,
    namespaces: Vec<Arc<Namespace>>,
    policies: Vec<Arc<kube_source::objects::policy::NetworkPolicy>>,
}

impl Cluster {
    fn new() -> Cluster {
        let pairs =
            |count: usize| (0..NAMESPACES).flat_map(move |ns| (0..count).map(move |at| (ns, at)));
        Cluster {
            pods: pairs(PODS).map(|(ns, at)| pod(ns, at, "a")).collect(),
            namespaces: (0..NAMESPACES).map(|at| namespace(at, at % 5)).collect(),
            policies: pairs(POLICIES).map(|(ns, at)| policy(ns, at, 80)).collect(),
        }
    }
}

/// The time of a change from the source's set to what nf_tables must hold.
fn show(
    what: &str,
    (follower, state): &mut (Follower, State),
    mut make: impl FnMut(usize) -> Update,
) {
    let mut times: Vec<_> = (0..21)
        .map(|at| {
            let update = make(at);
            let begin = Instant::now();
            follower.update(update, state);
            let desired = state.desired();
            (begin.elapsed(), desired).0
        })
        .collect();
    times.sort();
    println!("{what}: median {:?}, most {:?}", times[10], times[20]);
}

fn main() {
    println!("memory before: {}", memory());
    let mut all = Cluster::new();
    println!("memory with objects: {}", memory());
    let mut loaded = load(&all);
    show("a remote pod's label", &mut loaded, |at| {
        all.pods[5033] = pod(50, 33, ["b", "c"][at % 2]);
        Update::Pods(all.pods.clone())
    });
    show("a local pod's label", &mut loaded, |at| {
        all.pods[0] = pod(0, 0, ["b", "c"][at % 2]);
        Update::Pods(all.pods.clone())
    });
    show("a pod goes or comes", &mut loaded, |at| {
        match at % 2 {
            0 => drop(all.pods.remove(5034)),
            _ => all.pods.insert(5034, pod(50, 34, "a")),
        }
        Update::Pods(all.pods.clone())
    });
    show("a policy's port", &mut loaded, |at| {
        all.policies[0] = policy(0, 0, [81, 82][at % 2]);
        Update::Policies(all.policies.clone())
    });
    show("a namespace's label", &mut loaded, |at| {
        all.namespaces[50] = namespace(50, at % 5);
        Update::Namespaces(all.namespaces.clone())
    });
    println!("memory: {}", memory());
}
