//! Each point of the semantics by itself; every answer is also the naive evaluator's.

use super::naive::Packet;
use super::{Objects, attachment, by_sets, change};
use crate::state::Change;
use serde_json::{Value, json};
use std::net::IpAddr;

pub(super) const PODS: [&str; 9] = ["x/a", "x/b", "x/c", "y/a", "y/b", "y/c", "z/a", "z/b", "z/c"];

fn place(pod: &str) -> Option<(usize, usize)> {
    let (namespace, name) = pod.split_once('/')?;
    Some(("xyz".find(namespace)?, "abc".find(name)? + 1))
}

/// The address of a pod, or the text itself.
pub(super) fn address(end: &str, v6: bool) -> IpAddr {
    let text = match (place(end), v6) {
        (Some((namespace, pod)), false) => format!("10.0.{namespace}.{pod}"),
        (Some((namespace, pod)), true) => format!("fd00::{namespace}:{pod}"),
        (None, _) => end.to_owned(),
    };
    text.parse().unwrap()
}

pub(super) fn pod(name: &str) -> Value {
    let (namespace, at) = name.split_once('/').unwrap();
    json!({
        "kind": "Pod",
        "metadata": {
            "name": at, "namespace": namespace, "uid": format!("uid-{name}"), "labels": {"pod": at},
            "creationTimestamp": "2026-11-30T20:00:00Z",
        },
        "spec": {"nodeName": "here", "containers": [{"ports": [
            {"name": "serve-80-tcp", "containerPort": 80},
            {"name": "serve-80-udp", "containerPort": 80, "protocol": "UDP"},
            {"name": "serve-81-tcp", "containerPort": 81},
        ]}]},
        "status": {"phase": "Running", "podIPs": [
            {"ip": address(name, false).to_string()}, {"ip": address(name, true).to_string()},
        ]},
    })
}

/// Three namespaces of three pods.
pub(super) fn cluster(policies: &[Value]) -> Objects {
    let mut objects = Objects::default();
    for name in ["x", "y", "z"] {
        objects
            .put(json!({"kind": "Namespace", "metadata": {"name": name, "labels": {"ns": name}}}));
    }
    PODS.iter().for_each(|name| objects.put(pod(name)));
    policies.iter().for_each(|policy| objects.put(policy.clone()));
    objects
}

pub(super) fn policy(name: &str, spec: Value) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    json!({"kind": "NetworkPolicy", "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

pub(super) fn asked(
    objects: &Objects,
    source: &str,
    destination: &str,
    protocol: &'static str,
    port: u16,
) -> bool {
    let mut answers = [false, true].map(|v6| {
        let (source, destination) = (address(source, v6), address(destination, v6));
        let packet = Packet { source, destination, protocol, port };
        let answer = by_sets(objects, &packet);
        assert_eq!(
            answer,
            objects.passes(&packet),
            "naive: {source} {destination} {protocol} {port}"
        );
        answer
    });
    if place(source).is_none() || place(destination).is_none() {
        answers = [answers[0]; 2];
    }
    assert_eq!(answers[0], answers[1], "families: {source} {destination} {protocol} {port}");
    answers[0]
}

fn tcp(objects: &Objects, source: &str, destination: &str) -> bool {
    asked(objects, source, destination, "TCP", 80)
}

/// As [`asked`] between ends of which one is an address.
fn tcp_of(objects: &Objects, source: &str, destination: &str) -> bool {
    let v6 = source.contains(':') || destination.contains(':');
    let (source, destination) = (address(source, v6), address(destination, v6));
    let packet = Packet { source, destination, protocol: "TCP", port: 80 };
    let answer = by_sets(objects, &packet);
    assert_eq!(answer, objects.passes(&packet), "naive: {source} {destination}");
    answer
}

fn a() -> Value {
    json!({"matchLabels": {"pod": "a"}})
}

#[test]
fn policy_types_are_ingress_and_egress_where_it_has_rules() {
    let empty = cluster(&[policy("x/p", json!({"podSelector": a()}))]);
    assert!(!tcp(&empty, "y/a", "x/a"), "no rule denies");
    assert!(tcp(&empty, "x/a", "y/a"), "egress is not isolated");
    let with_egress = json!({"podSelector": a(), "egress": [{"to": [{"podSelector": {}}]}]});
    let both = cluster(&[policy("x/p", with_egress.clone())]);
    assert!(!tcp(&both, "y/a", "x/a") && !tcp(&both, "x/a", "y/a") && tcp(&both, "x/a", "x/b"));
    let mut spec = with_egress;
    spec["policyTypes"] = json!(["Egress"]);
    let egress = cluster(&[policy("x/p", spec)]);
    assert!(tcp(&egress, "y/a", "x/a") && !tcp(&egress, "x/a", "y/a"));
}

#[test]
fn an_empty_list_denies_and_an_empty_rule_allows_everything() {
    let of =
        |ingress: Value| cluster(&[policy("x/p", json!({"podSelector": {}, "ingress": ingress}))]);
    assert!(!tcp(&of(json!([])), "x/b", "x/a"));
    assert!(tcp(&of(json!([{}])), "z/c", "x/a"));
    assert!(asked(&of(json!([{}])), "z/c", "x/a", "ICMP", 0));
    assert!(tcp(&of(json!([{"from": [], "ports": []}])), "z/c", "x/a"));
}

#[test]
fn selectors_in_one_peer_are_anded_and_peers_are_ored() {
    let y = json!({"matchLabels": {"ns": "y"}});
    let b = json!({"matchLabels": {"pod": "b"}});
    let one = json!([{"from": [{"podSelector": b, "namespaceSelector": y}]}]);
    let one = cluster(&[policy("x/p", json!({"podSelector": a(), "ingress": one}))]);
    assert!(tcp(&one, "y/b", "x/a") && !tcp(&one, "y/a", "x/a") && !tcp(&one, "x/b", "x/a"));
    let two = json!([{"from": [{"podSelector": b}, {"namespaceSelector": y}]}]);
    let two = cluster(&[policy("x/p", json!({"podSelector": a(), "ingress": two}))]);
    assert!(tcp(&two, "y/b", "x/a") && tcp(&two, "y/a", "x/a") && tcp(&two, "x/b", "x/a"));
    assert!(!tcp(&two, "z/b", "x/a"), "a podSelector alone is of the policy's own namespace");
}

#[test]
fn policies_unite_and_what_one_excepts_another_allows() {
    let of = |name: &str, block: Value| {
        policy(name, json!({"podSelector": a(), "ingress": [{"from": [{"ipBlock": block}]}]}))
    };
    let without =
        of("x/p", json!({"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25", "192.0.2.7/32"]}));
    let first = cluster(std::slice::from_ref(&without));
    assert!(tcp_of(&first, "192.0.2.6", "x/a") && !tcp_of(&first, "192.0.2.7", "x/a"));
    assert!(!tcp_of(&first, "192.0.2.200", "x/a") && !tcp_of(&first, "198.51.100.1", "x/a"));
    assert!(!tcp_of(&first, "2001:db8::1", "x/a"), "the other family is isolated too");
    let both = cluster(&[without, of("x/q", json!({"cidr": "192.0.2.200/32"}))]);
    assert!(tcp_of(&both, "192.0.2.200", "x/a") && !tcp_of(&both, "192.0.2.201", "x/a"));
}

#[test]
fn ports_default_to_tcp_and_end_ports_are_included() {
    let of = |ports: Value| {
        cluster(&[policy("x/p", json!({"podSelector": a(), "ingress": [{"ports": ports}]}))])
    };
    let plain = of(json!([{"port": 80}]));
    assert!(tcp(&plain, "y/b", "x/a") && !asked(&plain, "y/b", "x/a", "UDP", 80));
    assert!(!asked(&plain, "y/b", "x/a", "TCP", 81) && !asked(&plain, "y/b", "x/a", "ICMP", 0));
    let range = of(json!([{"port": 80, "endPort": 82, "protocol": "SCTP"}]));
    for (port, passes) in [(79, false), (80, true), (82, true), (83, false)] {
        assert_eq!(asked(&range, "y/b", "x/a", "SCTP", port), passes, "{port}");
    }
    let protocol = of(json!([{"protocol": "UDP"}]));
    assert!(asked(&protocol, "y/b", "x/a", "UDP", 1) && !tcp(&protocol, "y/b", "x/a"));
}

#[test]
fn ranges_of_ports_of_pods_are_theirs_alone() {
    let ingress = json!([{"from": [{"podSelector": {}}], "ports": [{"port": 80, "endPort": 81}]}]);
    let objects = cluster(&[policy("x/p", json!({"podSelector": a(), "ingress": ingress}))]);
    assert!(asked(&objects, "x/b", "x/a", "TCP", 81) && !asked(&objects, "x/b", "x/a", "TCP", 82));
    assert!(!tcp(&objects, "y/b", "x/a"));
}

#[test]
fn a_named_port_is_what_each_destination_has_by_that_name() {
    let mut other = pod("x/b");
    other["spec"]["containers"] = json!([{"ports": [{"name": "web", "containerPort": 8080}]}]);
    let mut web = pod("x/a");
    web["spec"]["containers"] = json!([
        {"ports": [{"name": "web", "containerPort": 80}, {"name": "web", "containerPort": 53, "protocol": "UDP"}]},
    ]);
    let ports = json!([{"port": "web"}]);
    let mut objects =
        cluster(&[policy("x/p", json!({"podSelector": {}, "ingress": [{"ports": ports}]}))]);
    objects.put(other.clone());
    objects.put(web.clone());
    assert!(tcp(&objects, "y/a", "x/a") && !asked(&objects, "y/a", "x/a", "TCP", 8080));
    assert!(asked(&objects, "y/a", "x/b", "TCP", 8080) && !tcp(&objects, "y/a", "x/b"));
    assert!(!asked(&objects, "y/a", "x/a", "UDP", 53), "of another protocol");
    assert!(!tcp(&objects, "y/a", "x/c"), "a pod without that name has no such port");
    // From the source's side, with pods, anybody and addresses as peers.
    for to in [
        json!([{"namespaceSelector": {}}]),
        json!([]),
        json!([{"ipBlock": {"cidr": "10.0.0.0/16"}}, {"ipBlock": {"cidr": "fd00::/16"}}]),
    ] {
        let egress = json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": to, "ports": ports}]});
        let mut objects = cluster(&[policy("y/p", egress)]);
        objects.put(other.clone());
        objects.put(web.clone());
        assert!(tcp(&objects, "y/a", "x/a") && asked(&objects, "y/a", "x/b", "TCP", 8080));
        assert!(!tcp(&objects, "y/a", "x/b") && !asked(&objects, "y/a", "x/a", "TCP", 8080));
        assert!(!tcp_of(&objects, "y/a", "192.0.2.1"), "no pod has that address");
    }
}

#[test]
fn a_pods_traffic_with_itself_passes() {
    let deny = json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]});
    let objects = cluster(&[policy("x/p", deny)]);
    assert!(tcp(&objects, "x/a", "x/a") && !tcp(&objects, "x/a", "x/b"));
}

#[test]
fn pods_of_the_nodes_network_are_nodes() {
    let mut host = pod("x/a");
    host["spec"]["hostNetwork"] = true.into();
    let ingress = json!([{"from": [{"podSelector": {}}]}]);
    let mut objects = cluster(&[policy("x/p", json!({"podSelector": {}, "ingress": ingress}))]);
    objects.put(host);
    assert!(!tcp(&objects, "x/a", "x/b"), "no podSelector selects it");
    assert!(tcp(&objects, "y/a", "x/a"), "no policy selects it");
    assert!(tcp(&objects, "x/c", "x/b"));
}

#[test]
fn ended_pods_are_none_although_they_keep_their_address() {
    for phase in ["Succeeded", "Failed"] {
        let mut ended = pod("y/b");
        ended["status"] = json!({"phase": phase, "podIPs": [
            {"ip": address("z/b", false).to_string()}, {"ip": address("z/b", true).to_string()},
        ]});
        ended["metadata"]["creationTimestamp"] = "2026-11-30T23:00:00Z".into();
        let y = json!([{"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]}]);
        let mut objects = cluster(&[policy("x/p", json!({"podSelector": a(), "ingress": y}))]);
        objects.put(ended);
        assert!(!tcp(&objects, "z/b", "x/a"), "{phase}");
        assert!(tcp(&objects, "y/a", "x/a"));
    }
}

#[test]
fn an_address_that_two_pods_name_is_the_newer_ones() {
    let mut newer = pod("y/b");
    newer["metadata"]["creationTimestamp"] = "2026-11-30T23:00:00Z".into();
    newer["status"]["podIPs"] = pod("z/b")["status"]["podIPs"].clone();
    let of = |ns: &str| json!([{"from": [{"namespaceSelector": {"matchLabels": {"ns": ns}}}]}]);
    for (namespace, passes) in [("y", true), ("z", false)] {
        let mut objects =
            cluster(&[policy("x/p", json!({"podSelector": a(), "ingress": of(namespace)}))]);
        objects.put(newer.clone());
        assert_eq!(tcp(&objects, "z/b", "x/a"), passes);
        // When it is gone the older one has it.
        objects.put(pod("y/b"));
        assert_eq!(tcp(&objects, "z/b", "x/a"), !passes);
    }
}

#[test]
fn a_pod_without_address_comes_in_with_its_address() {
    let mut early = pod("y/b");
    early["status"] = json!({"phase": "Pending", "podIPs": null});
    let ingress = json!([{"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]}]);
    let mut objects = cluster(&[policy("x/p", json!({"podSelector": a(), "ingress": ingress}))]);
    objects.put(early);
    assert!(!tcp(&objects, "y/b", "x/a"));
    objects.put(pod("y/b"));
    assert!(tcp(&objects, "y/b", "x/a"));
}

#[test]
fn labels_of_namespaces_and_pods_may_change() {
    let team = json!([{"from": [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]}]);
    let mut objects = cluster(&[policy("x/p", json!({"podSelector": a(), "ingress": team}))]);
    assert!(!tcp(&objects, "y/b", "x/a"));
    objects.put(json!({"kind": "Namespace", "metadata": {"name": "y", "labels": {"team": "a"}}}));
    assert!(tcp(&objects, "y/b", "x/a") && !tcp(&objects, "z/b", "x/a"));
    let mut other = pod("x/a");
    other["metadata"]["labels"] = json!({"pod": "other"});
    objects.put(other);
    assert!(tcp(&objects, "z/b", "x/a"), "no longer selected");
}

#[test]
fn a_thousand_policies_on_one_pod_are_one_profile() {
    let of = |at: usize| {
        let ingress = json!([{"from": [{"ipBlock": {"cidr": format!("192.0.{}.{}/32", at / 250, at % 250)}}]}]);
        policy(&format!("x/p{at}"), json!({"podSelector": a(), "ingress": ingress}))
    };
    let objects = cluster(&(0..1000).map(of).collect::<Vec<_>>());
    let desired = objects.state().desired();
    assert_eq!(desired.profiles.len(), 2, "one for each family");
    assert_eq!(desired.sets.len(), 1);
    assert!(tcp_of(&objects, "192.0.3.249", "x/a") && !tcp_of(&objects, "192.0.4.0", "x/a"));
}

#[test]
fn policies_that_select_nothing_make_nothing() {
    let none = json!({"podSelector": {"matchLabels": {"pod": "none"}}, "policyTypes": ["Ingress", "Egress"]});
    let desired = cluster(&[policy("x/p", none)]).state().desired();
    assert!(desired.profiles.is_empty() && desired.sets.is_empty());
    assert_eq!(desired.pods.len(), 18, "every address is decided");
}

#[test]
fn pods_that_the_same_policies_select_share_a_profile() {
    let ports = json!([{"port": "serve-80-tcp"}]);
    let spec = json!({"podSelector": {}, "ingress": [{"ports": ports}]});
    let mut objects = cluster(&[policy("x/p", spec)]);
    assert_eq!(objects.state().desired().profiles.len(), 2);
    let mut other = pod("x/b");
    other["spec"]["containers"] =
        json!([{"ports": [{"name": "serve-80-tcp", "containerPort": 8080}]}]);
    objects.put(other);
    assert_eq!(objects.state().desired().profiles.len(), 4, "its named port is another");
}

fn cluster_policy(name: &str, tier: &str, priority: u32, subject: Value, ingress: Value) -> Value {
    json!({"kind": "ClusterNetworkPolicy", "metadata": {"name": name}, "spec": {
        "tier": tier, "priority": priority, "subject": subject, "ingress": ingress,
    }})
}

#[test]
fn cluster_policies_come_before_and_after_those_of_namespaces() {
    let x = json!({"namespaces": {"matchLabels": {"ns": "x"}}});
    let from = |ns: &str, action: &str| json!({"action": action, "from": [{"namespaces": {"matchLabels": {"ns": ns}}}]});
    let baseline = cluster_policy(
        "deny",
        "Baseline",
        0,
        x.clone(),
        json!([from("y", "Deny"), from("z", "Deny")]),
    );
    let objects = cluster(std::slice::from_ref(&baseline));
    assert!(!tcp(&objects, "y/a", "x/a") && tcp(&objects, "x/b", "x/a"));
    let own = policy(
        "x/p",
        json!({"podSelector": a(), "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"ns": "y"}}}]}]}),
    );
    let objects = cluster(&[baseline.clone(), own.clone()]);
    assert!(
        tcp(&objects, "y/a", "x/a") && !tcp(&objects, "z/a", "x/a") && !tcp(&objects, "x/b", "x/a")
    );
    assert!(!tcp(&objects, "y/a", "x/b"), "not isolated: the tier Baseline decides");
    let admin = cluster_policy(
        "first",
        "Admin",
        5,
        x.clone(),
        json!([from("z", "Accept"), from("y", "Deny")]),
    );
    let objects = cluster(&[baseline.clone(), own.clone(), admin.clone()]);
    assert!(
        tcp(&objects, "z/a", "x/a") && !tcp(&objects, "y/a", "x/a") && tcp(&objects, "z/a", "x/b")
    );
    let pass = cluster_policy("zero", "Admin", 0, x, json!([from("y", "Pass"), from("z", "Pass")]));
    let objects = cluster(&[baseline, own, admin, pass]);
    assert!(
        tcp(&objects, "y/a", "x/a") && !tcp(&objects, "z/a", "x/b"),
        "Pass skips the rest of its tier"
    );
}

#[test]
fn rules_of_cluster_policies_with_one_verdict_are_one_step() {
    let all = json!({"namespaces": {}});
    let from = |ns: &str, action: &str| json!({"action": action, "from": [{"namespaces": {"matchLabels": {"ns": ns}}}]});
    let of = |at: u32| {
        let name = format!("c{at}");
        cluster_policy(
            &name,
            "Admin",
            at,
            all.clone(),
            json!([from("x", "Deny"), from("y", "Deny")]),
        )
    };
    let objects = cluster(&(0..100).map(of).collect::<Vec<_>>());
    let desired = objects.state().desired();
    assert!(desired.profiles.values().all(|it| it.tiers.before.len() == 1));
}

#[test]
fn a_policy_in_dry_run_drops_nothing_and_is_tried() {
    let mut dry =
        policy("x/p", json!({"podSelector": a(), "ingress": [{"from": [{"podSelector": {}}]}]}));
    dry["metadata"]["annotations"] = json!({"ferrule.io/dry-run": "true"});
    let objects = cluster(std::slice::from_ref(&dry));
    assert!(tcp(&objects, "y/a", "x/a"));
    let desired = objects.state().desired();
    assert_eq!(desired.profiles.len(), 2);
    assert!(desired.profiles.values().all(|it| it.trial.is_some() && it.tiers.isolated.is_none()));
    // Where another policy isolates the pod it could only allow more.
    let objects = cluster(&[dry, policy("x/q", json!({"podSelector": a()}))]);
    assert!(!tcp(&objects, "x/b", "x/a"), "it allows nothing either");
}

#[test]
fn an_attachment_says_whose_an_address_is_before_the_status_does() {
    let deny = policy("x/p", json!({"podSelector": a()}));
    let mut objects = cluster(&[deny]);
    let mut early = pod("x/a");
    early["status"] = json!({"phase": "Pending"});
    objects.put(early);
    let mut state = objects.state();
    let at = attachment("k1", &["10.0.0.1"], Some(("x", "a", "uid-x/a")));
    state.change(Change::Attachment("k1".into(), Some(at.clone())));
    let desired = state.desired();
    let found = &desired.pods[&address("x/a", false)];
    assert!(found.ingress.is_some() && found.attachment.as_deref() == Some("k1"));
    // The address goes to the next pod, while the status of the first one still names it.
    state.change(change(&pod("x/a"), true));
    state.change(Change::Attachment("k1".into(), None));
    let next = attachment("k2", &["10.0.0.1"], Some(("x", "b", "uid-x/b")));
    state.change(Change::Attachment("k2".into(), Some(next)));
    let desired = state.desired();
    let found = &desired.pods[&address("x/a", false)];
    assert!(found.ingress.is_none() && found.attachment.as_deref() == Some("k2"));
}

#[test]
fn an_attachment_of_an_unknown_pod_is_undecided_where_a_policy_may_select_it() {
    let deny = policy("x/p", json!({"podSelector": {"matchLabels": {"pod": "later"}}}));
    let objects = cluster(std::slice::from_ref(&deny));
    let mut state = objects.state();
    let mut attach = |key: &str, at: &str, pod| {
        state.change(Change::Attachment(key.into(), Some(attachment(key, &[at], pod))));
        state.desired()
    };
    let decided = |desired: &nft::policy::Desired, at: &str| {
        desired.pods.contains_key(&at.parse::<IpAddr>().unwrap())
    };
    let desired = attach("k1", "10.0.0.77", Some(("x", "later", "u1")));
    assert!(!decided(&desired, "10.0.0.77"));
    let desired = attach("k2", "10.0.1.77", Some(("y", "later", "u2")));
    assert!(decided(&desired, "10.0.1.77"), "no policy is in its namespace");
    let desired = attach("k3", "10.0.3.77", None);
    assert!(decided(&desired, "10.0.3.77"), "no pod of the cluster");
    let desired = attach("k4", "10.0.0.78", Some(("x", "a", "an-earlier-uid")));
    assert!(!decided(&desired, "10.0.0.78"), "an earlier pod of that name");
    let mut later = pod("x/a");
    later["metadata"] =
        json!({"name": "later", "namespace": "x", "uid": "u1", "labels": {"pod": "later"}});
    later["status"] = json!({"phase": "Pending"});
    state.change(change(&later, true));
    assert!(state.desired().pods[&"10.0.0.77".parse::<IpAddr>().unwrap()].ingress.is_some());
    state.change(change(&deny, false));
    assert!(decided(&state.desired(), "10.0.0.78"));
}

#[test]
fn a_static_pods_uid_is_the_one_of_its_file() {
    let mut mirror = pod("x/a");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.hash": "of-the-file"});
    let mut objects = cluster(&[policy("x/p", json!({"podSelector": a()}))]);
    objects.put(mirror);
    let mut state = objects.state();
    let at = attachment("k1", &["10.0.0.99"], Some(("x", "a", "of-the-file")));
    state.change(Change::Attachment("k1".into(), Some(at)));
    assert!(state.desired().pods[&"10.0.0.99".parse::<IpAddr>().unwrap()].ingress.is_some());
}
