use super::*;
use crate::follow::Follower;
use crate::source::{Update, implied, yaml::Objects};
use std::collections::BTreeMap;

fn state(text: &str) -> State {
    let mut objects = Objects::default();
    objects.read(text, "f").unwrap();
    let Objects { pods, namespaces, policies, cluster_policies, .. } =
        implied::complete(&objects, &BTreeMap::new(), "here");
    let mut state = State::new("here");
    let mut follower = Follower::default();
    for update in [
        Update::Pods(pods),
        Update::Namespaces(namespaces),
        Update::Policies(policies),
        Update::ClusterPolicies(cluster_policies),
    ] {
        follower.update(update, &mut state);
    }
    assert_eq!(follower.problems(), [""; 0]);
    state
}

const SHOP: &str = "
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{ports: [{name: http, containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}]}
---
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
status: {podIPs: [{ip: 10.0.0.2}, {ip: 'fd00::2'}]}
---
kind: Pod
metadata: {name: web, namespace: other}
status: {podIPs: [{ip: 10.0.0.3}]}
---
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: http}, {port: 443, endPort: 445}]}]
";

fn asked(source: &str, destination: &str) -> Result<String, String> {
    answer(&state(SHOP), source, destination).map(|answer| text(&answer))
}

#[test]
fn the_rule_that_allows_is_named() {
    let expected = "\
TCP 8080 from 10.0.0.2 (pod shop/db) to 10.0.0.1 (pod shop/web) passes.
Egress of the source: passes; no policy selects it.
Ingress of the destination: passes; rule 1 of NetworkPolicy shop/web allows it.
  selected by NetworkPolicy shop/web
";
    assert_eq!(asked("10.0.0.2", "10.0.0.1:8080").unwrap(), expected);
    let both = asked("shop/db", "shop/web:http").unwrap();
    assert!(both.starts_with(expected) && both.contains("TCP 8080 from fd00::2 (pod shop/db)"));
}

#[test]
fn what_is_missing_is_named() {
    let text = asked("db", "[fd00::1]:80").unwrap();
    assert!(
        text.contains("dropped; no rule allows this port: rule 1 of NetworkPolicy shop/web allows the peer at TCP \"http\", TCP 443-445."),
        "{text}"
    );
    let text = asked("other/web", "shop/web:444").unwrap();
    assert!(
        text.contains("dropped; no rule allows this peer: rule 1 of NetworkPolicy shop/web allows the port for pods with app=db of namespace shop."),
        "{text}"
    );
    let text = asked("192.0.2.1", "10.0.0.1:53/udp").unwrap();
    assert!(text.contains("UDP 53 from 192.0.2.1 (no pod)"), "{text}");
    assert!(
        text.contains("no ingress rule of these policies allows the peer or the port"),
        "{text}"
    );
}

#[test]
fn without_a_port_the_ports_that_pass_are_listed() {
    let text = asked("10.0.0.2", "10.0.0.1").unwrap();
    let line = "From 10.0.0.2 (pod shop/db) to 10.0.0.1 (pod shop/web) these pass: TCP 443-445, TCP 8080.\n";
    assert!(text.starts_with(line), "{text}");
    let text = asked("10.0.0.1", "10.0.0.2").unwrap();
    assert!(text.contains("these pass: TCP, UDP, SCTP, ICMP and other protocols."), "{text}");
    let text = asked("other/web", "10.0.0.1").unwrap();
    assert!(text.contains("nothing passes."), "{text}");
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (source, destination, words) in [
        ("web", "db", "web may be other/web or shop/web: write one of them"),
        ("nobody", "db", "nobody is neither an address nor a pod that runs"),
        ("shop/db", "shop/web:dns", "10.0.0.1 has no TCP port named \"dns\": write a number"),
        (
            "shop/db",
            "shop/web:53/quic",
            "\"quic\" is no protocol with ports: write tcp, udp or sctp",
        ),
        ("other/web", "fd00::1", "other/web and fd00::1 have no addresses of one family"),
    ] {
        let why = asked(source, destination).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}
