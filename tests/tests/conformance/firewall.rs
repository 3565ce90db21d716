//! Scenarios of firewall, behind bridge: those of the reference's own tests of its backend iptables.
//! Those of firewalld need it on D-Bus, which no test of ours starts: `firewall_of_firewalld` has what
//! both say where it does not run.

use ferrule_tests::node::Place;
use ferrule_tests::outside::{OUTSIDE4, Outside};
use ferrule_tests::packets::first_ping;
use ferrule_tests::{Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};
use crate::chained::{Behind, rules_that_name};

scenarios! {
    from "0.4.0":
    firewall_that_passes_the_result_on, firewall_where_forwarding_is_dropped,
    firewall_with_an_admin_chain, firewall_with_an_admin_chain_of_its_name, firewall_checked,
    firewall_within_bridges_alone, firewall_of_isolated_pods, firewall_of_firewalld,
    firewall_of_an_unknown_backend, firewall_of_an_unknown_policy, firewall_without_a_result,
}

fn firewall(keys: &Value) -> Value {
    let own = json!({"type": "firewall", "name": "pods", "backend": "iptables"});
    conf::with(&own, keys)
}

/// A node that forwards nothing of its own accord.
fn closed(bench: &Bench) -> Outside {
    bench.node.sh("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP");
    let outside = Outside::beside(&bench.node);
    outside.run("ip route add 10.0.0.0/8 via 198.51.100.1");
    outside
}

fn firewall_that_passes_the_result_on(bench: &mut Bench) {
    let mut behind = Behind::new(bench, &conf::dual(), &firewall(&json!({})));
    behind.add(bench, "ADD");
    behind.check(bench, "CHECK");
    for again in ["DEL", "DEL again"] {
        behind.del(bench, again);
    }
}

/// What the reference's rules are for: out of the pod and back, and nothing that it did not ask for.
fn firewall_where_forwarding_is_dropped(bench: &mut Bench) {
    let outside = closed(bench);
    let mut behind = Behind::new(bench, &conf::dual(), &firewall(&json!({})));
    bench.see("out before ADD", first_ping(&behind.pod, OUTSIDE4));
    behind.add(bench, "ADD");
    bench.see("out", first_ping(&behind.pod, OUTSIDE4));
    bench.see("in", first_ping(&outside, "10.1.0.2"));
    bench.see("jump of FORWARD", jumps(bench, "CNI-FORWARD"));
    behind.check(bench, "CHECK");
    behind.del(bench, "DEL");
    bench.see("out after DEL", first_ping(&behind.pod, OUTSIDE4));
    bench.see("rules left that name the pod", rules_that_name(bench, "10.1.0.2"));
}

/// Whether chain FORWARD leads to a chain.
fn jumps(bench: &Bench, chain: &str) -> bool {
    bench.node.run("iptables -S FORWARD").contains(&format!("-j {chain}"))
}

fn has_chain(bench: &Bench, chain: &str) -> Value {
    let of = |save: &str| bench.node.run(save).contains(&format!("\n-N {chain}\n"));
    json!({"IPv4": of("iptables -S"), "IPv6": of("ip6tables -S")})
}

/// The administrator's rules come first.
fn admin(bench: &mut Bench, keys: &Value, chain: &str) {
    let _outside = closed(bench);
    let mut behind = Behind::new(bench, &conf::dual(), &firewall(keys));
    behind.add(bench, "ADD");
    bench.see(chain, has_chain(bench, chain));
    bench.see("out", first_ping(&behind.pod, OUTSIDE4));
    bench.node.run(&format!("iptables -A {chain} -d {OUTSIDE4} -j DROP"));
    bench.see("out against the administrator", first_ping(&behind.pod, OUTSIDE4));
    behind.check(bench, "CHECK");
    behind.del(bench, "DEL");
    bench.see("after DEL", has_chain(bench, chain));
}

fn firewall_with_an_admin_chain(bench: &mut Bench) {
    admin(bench, &json!({}), "CNI-ADMIN");
}

fn firewall_with_an_admin_chain_of_its_name(bench: &mut Bench) {
    admin(bench, &json!({"iptablesAdminChainName": "CNI-foobar"}), "CNI-foobar");
}

fn firewall_checked(bench: &mut Bench) {
    let mut behind = Behind::new(bench, &conf::v4(), &firewall(&json!({})));
    behind.check(bench, "CHECK before ADD");
    behind.add(bench, "ADD");
    behind.check(bench, "CHECK");
    bench.node.sh("iptables -F FORWARD");
    behind.check(bench, "CHECK without the jump");
    behind.add(bench, "ADD again");
    behind.check(bench, "CHECK after ADD again");
    behind.del(bench, "DEL");
    behind.check(bench, "CHECK after DEL");
}

/// Three pods: two of the network foo and one of bar, as in the reference's integration test.
fn three_pods(bench: &mut Bench, policy: &str) {
    for family in ["iptables", "ip6tables"] {
        bench.node.set_sysctl(&format!("net/bridge/bridge-nf-call-{family}"), "1");
    }
    let network = |name: &str, number: u8| {
        let keys = json!({"name": name, "bridge": name, "ipMasq": true, "hairpinMode": true,
            "ipam": {"ranges": [[{"subnet": format!("10.88.{number}.0/24"), "gateway": format!("10.88.{number}.1")}]]}});
        conf::with(&conf::v4(), &keys)
    };
    let mut pods = vec![];
    for (label, name, number) in [("one", "foo", 3), ("two", "foo", 3), ("three", "bar", 4)] {
        let config = firewall(&json!({"name": name, "ingressPolicy": policy}));
        let mut behind = Behind::new(bench, &network(name, number), &config);
        behind.add(bench, &format!("ADD of {label}"));
        pods.push(behind);
    }
    let addresses = ["10.88.3.2", "10.88.3.3", "10.88.4.2"];
    for (from, pod) in pods.iter().enumerate() {
        for (to, address) in addresses.iter().enumerate().filter(|(to, _)| *to != from) {
            bench.see(&format!("{from} reaches {to}"), first_ping(&pod.pod, address));
        }
    }
    for behind in &pods {
        behind.check(bench, "CHECK");
        behind.del(bench, "DEL");
    }
    bench.see(
        "rules left that name pods",
        addresses.map(|address| rules_that_name(bench, address)).to_vec(),
    );
}

fn firewall_within_bridges_alone(bench: &mut Bench) {
    three_pods(bench, "same-bridge");
}

fn firewall_of_isolated_pods(bench: &mut Bench) {
    three_pods(bench, "isolated");
}

fn firewall_of_firewalld(bench: &mut Bench) {
    let mut behind = Behind::new(bench, &conf::v4(), &firewall(&json!({"backend": "firewalld"})));
    behind.add(bench, "ADD");
    behind.del(bench, "DEL");
}

fn firewall_of_an_unknown_backend(bench: &mut Bench) {
    let behind = Behind::new(bench, &conf::v4(), &firewall(&json!({"backend": "ipvs"})));
    behind.refused(bench, "ADD", "unrecognized firewall backend");
}

fn firewall_of_an_unknown_policy(bench: &mut Bench) {
    let behind = Behind::new(bench, &conf::v4(), &firewall(&json!({"ingressPolicy": "closed"})));
    behind.refused(bench, "ADD", "unknown ingress policy");
}

fn firewall_without_a_result(bench: &mut Bench) {
    let outcome = bench.attach(&firewall(&json!({})), &Pod::new()).try_add();
    bench.refused("ADD", &outcome, "missing prevResult from earlier plugin");
}
