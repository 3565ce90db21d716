//! The source `kubernetes`, against an API server that does as it is told. The suite `kubernetes` has
//! the real one.

mod api;

use crate::cluster::{ALL, Cluster, Member};
use api::{ADDRESS, Api};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;

const CIDRS: [[&str; 2]; 2] =
    [["10.244.1.0/24", "fd00:10:244:1::/64"], ["10.244.3.0/24", "fd00:10:244:3::/64"]];

/// A Node object.
fn node(name: &str, addresses: [&str; 2], cidrs: &[&str], annotations: Value) -> Value {
    let addresses = addresses.map(|address| json!({"type": "InternalIP", "address": address}));
    json!({
        "metadata": {"name": name, "uid": format!("{name}-{}", cidrs.join(",")), "annotations": annotations},
        "spec": {"podCIDRs": cidrs},
        "status": {"addresses": addresses, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn one(cidrs: &[&str], annotations: Value) -> Value {
    node("one", ["192.0.2.1", "2001:db8:a::1"], cidrs, annotations)
}

fn three(cidrs: &[&str]) -> Value {
    node("three", ["198.51.100.3", "2001:db8:b::3"], cidrs, json!({}))
}

/// Two nodes on two links; from now on their source is the API server, which runs on the router.
fn follow(api: &Api, member: &mut Member) {
    member.kill();
    let configuration = member.node.read("/run/route-sync.toml");
    let (before, _) = configuration.split_once("[source]").unwrap();
    let source = "[source]\ntype = \"kubernetes\"\nkubeconfig = \"/run/kubeconfig\"\n\
                  [metrics]\nlisten = \"127.0.0.1:9478\"\n";
    member.node.write("/run/route-sync.toml", &format!("{before}{source}"));
    member.node.write("/run/kubeconfig", &api.kubeconfig());
    member.start();
}

fn has_problem(status: &Value, text: &str) -> bool {
    status["problems"].to_string().contains(text)
}

fn cidrs_of(status: &Value, node: &str) -> Vec<String> {
    let entries = status["cidrs"].as_array().unwrap().iter();
    let of = entries.filter(|entry| entry["node"] == node && entry["state"] == "synced");
    of.map(|entry| entry["cidr"].as_str().unwrap().to_owned()).collect()
}

fn readyz(member: &Member) -> String {
    let answer = member.node.ns().enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9478").unwrap();
        stream.write_all(b"GET /readyz HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    });
    answer.unwrap()
}

#[test]
fn nodes_of_the_api_server_reach_each_other() {
    let mut cluster = Cluster::with("", &[ALL[0], ALL[2]]);
    let api = Api::start(&cluster.router);
    api.put(one(&[], json!({})));
    api.put(three(&CIDRS[1]));
    for member in &mut cluster.members {
        member.node.run("rm -rf /var/lib/ferrule /run/ferrule/node.json");
        follow(&api, member);
    }
    let [first, second] = &mut cluster.members[..] else { panic!("two members") };
    // Its CIDR comes late.
    let waiting =
        first.status_when(|status| has_problem(status, "its pod CIDR is not assigned yet"));
    assert!(waiting["synced"] == false && waiting["source"]["nodes"] == 2, "{waiting:#?}");
    let ready = readyz(first);
    assert!(ready.contains(" 503 ") && ready.contains("not assigned yet"), "{ready}");
    api.put(one(&CIDRS[0], json!({})));
    first.in_sync();
    assert!(readyz(first).contains(" 200 "));
    second.status_when(|status| cidrs_of(status, "one") == CIDRS[0]);
    let (near, _) = first.pod();
    let (_far, addresses) = second.pod();
    addresses.iter().for_each(|address| ping(&near, address));
    // A heartbeat is no set.
    let sets = |member: &Member| member.log().matches("node set").count();
    let before = sets(first);
    (0..20).for_each(|beat| api.beat("three", beat));
    // A wrong annotation is named, and the rest of the node counts.
    api.put(one(&CIDRS[0], json!({"ferrule.io/node-addresses": "eth1"})));
    first.status_when(|status| has_problem(status, "annotation ferrule.io/node-addresses is"));
    assert_eq!(sets(first), before + 1, "{}", first.log());
    api.put(one(&CIDRS[0], json!({})));
    first.status_when(|status| status["problems"] == json!([]));
    addresses.iter().for_each(|address| ping(&near, address));
}

#[test]
fn an_api_server_that_is_away_changes_nothing() {
    let mut cluster = Cluster::with("", &[ALL[0], ALL[2]]);
    let api = Api::start(&cluster.router);
    api.put(one(&CIDRS[0], json!({})));
    api.put(three(&CIDRS[1]));
    cluster.members.iter_mut().for_each(|member| follow(&api, member));
    let [first, second] = &mut cluster.members[..] else { panic!("two members") };
    first.in_sync();
    second.in_sync();
    let (near, _) = first.pod();
    let (_far, addresses) = second.pod();
    api.away(true);
    let failing = |status: &Value| {
        let error = status["source"]["error"].as_str();
        error.is_some_and(|error| {
            error.contains(&format!("the API server http://{ADDRESS} does not answer"))
        })
    };
    first.status_when(failing);
    addresses.iter().for_each(|address| ping(&near, address));
    // A start without it goes by the nodes of before.
    first.kill();
    first.start();
    let kept = first.status_when(|status| failing(status) && status["synced"] == true);
    assert_eq!(kept["source"]["kept"], true, "{kept:#?}");
    addresses.iter().for_each(|address| ping(&near, address));
    // Meanwhile a node was deleted, and made again with another CIDR.
    api.remove("three");
    api.put(three(&["10.244.9.0/24"]));
    api.away(false);
    let now = first.status_when(|status| cidrs_of(status, "three") == ["10.244.9.0/24"]);
    assert_eq!(now["source"]["error"], Value::Null, "{now:#?}");
    let routes = first.node.run("ip route show proto 118");
    assert!(!routes.contains("10.244.3.0/24"), "{routes}");
    // Its own node learns it too, and names the pod that is left of the old CIDR.
    second.status_when(|status| has_problem(status, "10.244.3.0/24"));
    // What the API server refuses is told with what to grant.
    api.refuse(Some("nodes is forbidden: User \"system:serviceaccount:x:y\" cannot list resource"));
    let grant =
        "service account y of namespace x watch nodes: grant it the verb watch on resource nodes";
    first.status_when(|status| {
        status["source"]["error"].as_str().is_some_and(|it| it.contains(grant))
    });
    api.refuse(None);
    first.status_when(|status| status["source"]["error"].is_null());
}
