//! host-local: addresses asked for by name.

use ferrule_tests::{Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};
use crate::host_local::{add_for, five, got, network};

scenarios!(
    requested_from_one_range,
    requested_from_several_ranges,
    requested_of_several_protocols,
    requested_with_a_prefix,
    requested_but_not_used,
    requested_twice_of_one_set,
    requested_but_taken,
    requested_before_the_start,
    requested_after_the_end,
    requested_the_gateway,
    requested_nonsense,
    ranges_of_the_runtime,
);

/// Asks in each of the three ways, each on leases of its own.
fn ask(bench: &mut Bench, config: &Value, asked: &[&str], refusal: Option<&str>) {
    let ways = [
        ("runtimeConfig", json!({"runtimeConfig": {"ips": asked}})),
        ("args", json!({"args": {"cni": {"ips": asked}}})),
    ];
    for (label, keys) in ways {
        let pod = Pod::new();
        let config = conf::with(&conf::with(config, &keys), &json!({"name": label}));
        let outcome = add_for(bench, &pod, &config, "one");
        note(bench, label, &outcome, refusal);
    }
    if let [one] = asked {
        let pod = Pod::new();
        let config = conf::with(config, &json!({"name": "environment"}));
        let args = format!("IgnoreUnknown=1;IP={one}");
        let mut attachment = bench.attach(&config, &pod).args(&args);
        attachment.container = "one".to_owned();
        let outcome = attachment.try_add();
        note(bench, "CNI_ARGS", &outcome, refusal);
    }
    if refusal.is_some() { bench.held_leases("all") } else { bench.leases("all") }
}

fn note(bench: &mut Bench, label: &str, outcome: &ferrule_tests::Outcome, refusal: Option<&str>) {
    match refusal {
        Some(words) => bench.refused(label, outcome, words),
        None => bench.see(label, got(outcome)),
    }
}

fn requested_from_one_range(bench: &mut Bench) {
    ask(bench, &five(), &["10.1.0.4"], None);
}

fn requested_from_several_ranges(bench: &mut Bench) {
    let ranges = json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "10.2.0.0/24"}]]);
    ask(bench, &conf::host_local(&ranges), &["10.2.0.88"], None);
}

fn requested_of_several_protocols(bench: &mut Bench) {
    let config = network(&[json!({"subnet": "10.1.0.0/24"}), json!({"subnet": "fd00:1::/64"})]);
    ask(bench, &config, &["fd00:1::77", "10.1.0.77"], None);
}

fn requested_with_a_prefix(bench: &mut Bench) {
    ask(bench, &five(), &["10.1.0.4/29"], None);
}

fn requested_but_not_used(bench: &mut Bench) {
    ask(
        bench,
        &five(),
        &["10.1.0.4", "192.0.2.99"],
        Some("failed to allocate all requested IPs: 192.0.2.99"),
    );
}

fn requested_twice_of_one_set(bench: &mut Bench) {
    ask(bench, &five(), &["10.1.0.4", "10.1.0.5"], Some("failed to allocate all requested IPs"));
}

fn requested_but_taken(bench: &mut Bench) {
    let pod = Pod::new();
    add_for(bench, &pod, &five(), "first").ok();
    let config = conf::with(&five(), &json!({"runtimeConfig": {"ips": ["10.1.0.2"]}}));
    let outcome = add_for(bench, &pod, &config, "second");
    let words = "requested IP address 10.1.0.2 is not available in range set 10.1.0.1-10.1.0.6";
    bench.refused("ADD", &outcome, words);
    bench.leases("all");
}

fn narrow() -> Value {
    network(&[json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20", "rangeEnd": "10.1.0.30"})])
}

fn requested_before_the_start(bench: &mut Bench) {
    ask(bench, &narrow(), &["10.1.0.19"], Some("failed to allocate all requested IPs: 10.1.0.19"));
}

fn requested_after_the_end(bench: &mut Bench) {
    ask(bench, &narrow(), &["10.1.0.31"], Some("failed to allocate all requested IPs: 10.1.0.31"));
}

fn requested_the_gateway(bench: &mut Bench) {
    ask(bench, &five(), &["10.1.0.1"], Some("requested ip 10.1.0.1 is subnet's gateway"));
}

fn requested_nonsense(bench: &mut Bench) {
    ask(bench, &five(), &["10.1.0"], Some("10.1.0"));
}

fn ranges_of_the_runtime(bench: &mut Bench) {
    let pod = Pod::new();
    let keys = json!({"runtimeConfig": {"ipRanges": [[{"subnet": "10.9.0.0/24"}]]}});
    let alone = conf::with(&conf::with(&five(), &keys), &json!({"ipam": {"ranges": null}}));
    let outcome = add_for(bench, &pod, &alone, "one");
    bench.see("alone", got(&outcome));
    let six = network(&[json!({"subnet": "fd00:1::/64"})]);
    let outcome = add_for(bench, &pod, &conf::with(&six, &keys), "two");
    bench.see("before others", got(&outcome));
    bench.leases("all");
}
