//! Scenarios of sbr: those of the reference's own tests, on a pod with two interfaces.

use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};

scenarios! {
    sbr_of_an_address, sbr_with_a_default_route, sbr_of_several_addresses,
    sbr_before_results_listed_interfaces, sbr_with_a_table, sbr_with_a_gateway,
    sbr_with_a_gateway_of_v6, sbr_with_gateways_of_both, sbr_with_two_gateways_of_a_family,
    sbr_with_source_hints, sbr_without_a_result,
}

/// A pod with eth0 and net1, as the reference's tests make it.
fn pod() -> Pod {
    let pod = Pod::new();
    pod.sh("ip link add net1 type veth peer name peer1; ip link add eth0 type veth peer name peer0
        for link in net1 peer1 eth0 peer0; do
            echo 0 > /proc/sys/net/ipv6/conf/$link/accept_dad; ip link set $link up
        done
        ip addr add 192.168.1.209/24 dev net1; ip addr add 192.168.101.209/24 dev net1
        ip addr add 2001:db8:1::209/64 dev net1 nodad; ip addr add 10.0.0.2/24 dev eth0
        ip route add default via 10.0.0.1 dev eth0");
    pod.settle();
    pod
}

/// A result with net1 and these addresses, each with its gateway.
fn result(bench: &Bench, pod: &Pod, addresses: &[(&str, &str)]) -> Value {
    let ips = addresses.iter().map(|(address, gateway)| {
        let version = if address.contains(':') { "6" } else { "4" };
        let ip = json!({"version": version, "address": address, "interface": 0});
        let keys = if gateway.is_empty() { json!({}) } else { json!({"gateway": gateway}) };
        conf::with(&ip, &keys)
    });
    json!({"cniVersion": bench.version, "routes": [], "ips": ips.collect::<Vec<_>>(),
        "interfaces": [{"name": "net1", "sandbox": pod.netns()}]})
}

fn net1<'a>(bench: &'a Bench, pod: &Pod, keys: &Value) -> Attachment<'a> {
    let config = conf::with(&json!({"type": "sbr", "name": "pods"}), keys);
    bench.attach(&config, pod).ifname("net1")
}

/// Rules, and routes of all tables but the local one, each a line; who made a route is left out, and
/// so are routes of link-local addresses.
fn routing(pod: &Pod) -> Value {
    let text = pod.sh("ip rule; ip -6 rule; ip route show table all; ip -6 route show table all");
    let kept = text.lines().filter(|line| {
        !["table local", "fe80:", "multicast"].iter().any(|word| line.contains(word))
    });
    let words = |line: &str| {
        line.replace(" proto boot", "")
            .replace(" proto static", "")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut lines: Vec<_> = kept.map(words).collect();
    lines.sort();
    lines.into_iter().map(|line| (line, json!(true))).collect::<serde_json::Map<_, _>>().into()
}

const V4: (&str, &str) = ("192.168.1.209/24", "192.168.1.1");
const V6: (&str, &str) = ("2001:db8:1::209/64", "2001:db8:1::1");

/// ADD, CHECK, DEL without a result, and DEL again.
fn life(bench: &mut Bench, pod: &Pod, keys: &Value, addresses: &[(&str, &str)]) {
    if !bench.lists() {
        return;
    }
    let previous = result(bench, pod, addresses);
    let outcome = net1(bench, pod, keys).call("ADD", Some(&previous)).run(&bench.node);
    bench.ended("ADD", &outcome);
    if outcome.code == Some(0) {
        let ips = |result: &Value| {
            result["ips"]
                .as_array()
                .map(|ips| ips.iter().map(|ip| ip["address"].clone()).collect::<Vec<_>>())
        };
        bench.see("passes the addresses on", ips(&outcome.ok()) == ips(&previous));
    }
    bench.see("after ADD", routing(pod));
    if bench.checks() {
        let outcome = net1(bench, pod, keys).try_check(&previous);
        bench.ended("CHECK", &outcome);
    }
    for again in ["DEL", "DEL again"] {
        let outcome = net1(bench, pod, keys).try_del(None);
        bench.ended(again, &outcome);
    }
    bench.see("after DEL", routing(pod));
}

fn sbr_of_an_address(bench: &mut Bench) {
    life(bench, &pod(), &json!({}), &[V4]);
}

fn sbr_with_a_default_route(bench: &mut Bench) {
    let pod = pod();
    pod.sh("ip route del default; ip route add default via 192.168.1.1 dev net1");
    life(bench, &pod, &json!({}), &[V4]);
}

fn sbr_of_several_addresses(bench: &mut Bench) {
    life(bench, &pod(), &json!({}), &[V4, ("192.168.101.209/24", "192.168.101.1")]);
}

fn sbr_before_results_listed_interfaces(bench: &mut Bench) {
    let pod = pod();
    let keys = json!({"anotherAwesomeArg": "foo"});
    let outcome = net1(bench, &pod, &keys).try_add();
    bench.refused("ADD", &outcome, "This plugin must be called as chained plugin");
}

fn sbr_with_a_table(bench: &mut Bench) {
    let addresses = [(V4.0, ""), ("192.168.101.209/24", "")];
    life(bench, &pod(), &json!({"table": 5000}), &addresses);
}

fn sbr_with_a_gateway(bench: &mut Bench) {
    life(bench, &pod(), &json!({"gateways": ["192.168.1.254"]}), &[V4]);
}

fn sbr_with_a_gateway_of_v6(bench: &mut Bench) {
    life(bench, &pod(), &json!({"gateways": ["2001:db8:1::ffff"]}), &[V6]);
}

fn sbr_with_gateways_of_both(bench: &mut Bench) {
    let keys = json!({"gateways": ["192.168.1.254", "2001:db8:1::ffff"]});
    life(bench, &pod(), &keys, &[V4, V6]);
}

fn sbr_with_two_gateways_of_a_family(bench: &mut Bench) {
    if !bench.lists() {
        return;
    }
    let pod = pod();
    let keys = json!({"gateways": ["192.168.1.1", "192.168.1.254"]});
    let previous = result(bench, &pod, &[V4]);
    let outcome = net1(bench, &pod, &keys).call("ADD", Some(&previous)).run(&bench.node);
    bench.refused("ADD", &outcome, "multiple IPv4 addresses");
    bench.see("after ADD", routing(&pod));
}

fn sbr_with_source_hints(bench: &mut Bench) {
    life(bench, &pod(), &json!({"addSourceHints": true}), &[V4]);
}

fn sbr_without_a_result(bench: &mut Bench) {
    let outcome = net1(bench, &pod(), &json!({})).try_add();
    bench.refused("ADD", &outcome, "This plugin must be called as chained plugin");
}
