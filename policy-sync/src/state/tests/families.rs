//! The families of policies that cyclonus generates: three namespaces of three pods, two ports, three protocols; every
//! packet by the sets and by the naive evaluator.

use super::naive::Packet;
use super::points::{PODS, address, cluster, policy};
use super::{by_sets, flow};
use crate::evaluate;
use serde_json::{Value, json};

/// Directions, as the specification names its parts.
const SIDES: [(&str, &str, &str); 2] = [("Ingress", "ingress", "from"), ("Egress", "egress", "to")];

fn peers() -> Vec<Value> {
    let (a, x) = (json!({"matchLabels": {"pod": "a"}}), json!({"matchLabels": {"ns": "x"}}));
    let not = |key: &str, values: [&str; 2]| json!({"matchExpressions": [{"key": key, "operator": "In", "values": values}]});
    vec![
        json!([]),
        json!([{"podSelector": {}}]),
        json!([{"podSelector": a}]),
        json!([{"podSelector": not("pod", ["b", "c"])}]),
        json!([{"namespaceSelector": {}}]),
        json!([{"namespaceSelector": x}]),
        json!([{"namespaceSelector": not("ns", ["x", "y"]), "podSelector": {}}]),
        json!([{"namespaceSelector": x, "podSelector": a}]),
        json!([{"ipBlock": {"cidr": "10.0.1.0/24"}}]),
        json!([{"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.2/31"]}}, {"ipBlock": {"cidr": "fd00::/64"}}]),
        json!([{"podSelector": a}, {"namespaceSelector": x}]),
    ]
}

fn ports() -> Vec<Value> {
    let mut all = vec![json!([]), json!([{"port": 80}, {"port": 81, "protocol": "UDP"}])];
    for protocol in ["TCP", "UDP", "SCTP"] {
        all.push(json!([{"protocol": protocol}]));
        all.push(json!([{"protocol": protocol, "port": 80}]));
        all.push(json!([{"protocol": protocol, "port": 80, "endPort": 81}]));
    }
    all.push(json!([{"port": "serve-80-tcp"}]));
    all.push(json!([{"port": "serve-80-udp", "protocol": "UDP"}]));
    all.push(json!([{"port": "serve-80-udp", "protocol": "TCP"}]));
    all
}

fn targets() -> Vec<Value> {
    vec![
        json!({}),
        json!({"matchLabels": {"pod": "a"}}),
        json!({"matchLabels": {"pod": "none"}}),
        json!({"matchExpressions": [{"key": "pod", "operator": "In", "values": ["a", "b"]}]}),
        json!({"matchExpressions": [{"key": "pod", "operator": "NotIn", "values": ["a"]}]}),
        json!({"matchExpressions": [{"key": "pod", "operator": "Exists"}]}),
    ]
}

fn spec(target: &Value, rules: &[(usize, Value)]) -> Value {
    let types: Vec<&str> = rules.iter().map(|(side, _)| SIDES[*side].0).collect();
    let mut spec = json!({"podSelector": target, "policyTypes": types});
    rules.iter().for_each(|(side, rules)| spec[SIDES[*side].1] = rules.clone());
    spec
}

fn rule(side: usize, peers: &Value, ports: &Value) -> Value {
    json!({SIDES[side].2: peers, "ports": ports})
}

/// Every family as lists of policies.
fn families() -> Vec<(&'static str, Vec<Value>)> {
    let web = json!({"matchLabels": {"pod": "a"}});
    let mut all = Vec::new();
    for side in 0..2 {
        let mut one = |family, target: &Value, rules: Value| {
            all.push((family, vec![policy("x/p", spec(target, &[(side, rules)]))]));
        };
        targets().iter().for_each(|target| one("target", target, json!([])));
        [json!([]), json!([{}])].into_iter().for_each(|rules| one("rules", &web, rules));
        peers().iter().for_each(|it| one("peers", &web, json!([rule(side, it, &json!([]))])));
        ports().iter().for_each(|it| one("ports", &web, json!([rule(side, &json!([]), it)])));
        for peers in peers() {
            for it in ports().iter().skip(1).step_by(3) {
                one("peer and port", &web, json!([rule(side, &peers, it)]));
            }
        }
        let two = [rule(side, &peers()[2], &ports()[3]), rule(side, &peers()[8], &ports()[5])];
        one("two rules", &web, json!(two));
    }
    for side in 0..2 {
        let of = |name: &str, at: usize| {
            policy(name, spec(&web, &[(side, json!([rule(side, &peers()[at], &ports()[at])]))]))
        };
        all.push((
            "conflict",
            vec![of("x/p", 2), policy("x/q", spec(&json!({}), &[(side, json!([]))]))],
        ));
        all.push(("conflict", vec![of("x/p", 2), of("x/q", 5), of("y/p", 7)]));
    }
    let both = [
        (0, json!([rule(0, &peers()[4], &ports()[2])])),
        (1, json!([rule(1, &peers()[1], &ports()[0])])),
    ];
    all.push(("both directions", vec![policy("x/p", spec(&json!({}), &both))]));
    let deny = |ns: &str| {
        policy(&format!("{ns}/deny"), spec(&json!({}), &[(0, json!([])), (1, json!([]))]))
    };
    all.push(("upstream", ["x", "y", "z"].map(deny).to_vec()));
    let dns = policy(
        "x/dns",
        spec(
            &json!({}),
            &[(1, json!([rule(1, &peers()[4], &json!([{"port": 81, "protocol": "UDP"}]))]))],
        ),
    );
    all.push(("upstream", vec![deny("x"), dns]));
    all
}

#[test]
fn every_packet_of_every_family_is_as_the_naive_evaluator_says() {
    let ends = PODS.iter().copied().chain(["192.0.2.1"]);
    let pairs: Vec<(&str, &str)> =
        ends.clone().flat_map(|source| ends.clone().map(move |to| (source, to))).collect();
    let families = families();
    assert!(families.len() > 150);
    for (family, policies) in families {
        let objects = cluster(&policies);
        let desired = objects.state().desired();
        let judge = objects.judge();
        let (mut passed, mut dropped) = (0, 0);
        for (source, destination) in &pairs {
            let worlds = [*source, *destination].contains(&"192.0.2.1");
            for v6 in [false, true] {
                if v6 && worlds {
                    continue;
                }
                for (protocol, port) in [
                    ("TCP", 80),
                    ("TCP", 81),
                    ("UDP", 80),
                    ("UDP", 81),
                    ("SCTP", 80),
                    ("SCTP", 81),
                    ("ICMP", 0),
                ] {
                    let (source, destination) = (address(source, v6), address(destination, v6));
                    let packet = Packet { source, destination, protocol, port };
                    let passes = evaluate::verdict(&desired, &flow(&packet));
                    let text = || {
                        format!("{family}: {source} {destination} {protocol} {port}: {policies:?}")
                    };
                    assert_eq!(passes, judge(&packet), "{}", text());
                    *(if passes { &mut passed } else { &mut dropped }) += 1;
                }
            }
        }
        assert!(passed > 0 && passed + dropped > 1000, "{family}");
    }
}

#[test]
fn a_sequence_of_the_families_is_as_each_alone() {
    let mut state = cluster(&[]).state();
    for (family, policies) in families().into_iter().step_by(7) {
        policies.iter().for_each(|policy| state.change(super::change(policy, true)));
        assert_eq!(state.desired(), cluster(&policies).state().desired(), "{family}");
        policies.iter().for_each(|policy| state.change(super::change(policy, false)));
    }
    assert!(state.desired().profiles.is_empty());
    let packet = Packet {
        source: address("x/a", false),
        destination: address("y/b", false),
        protocol: "TCP",
        port: 80,
    };
    assert!(by_sets(&cluster(&[]), &packet));
}
