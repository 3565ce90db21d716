//! static: the reference's own scenarios, on its own and below bridge.

use ferrule_tests::{Outcome, Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};

scenarios!(
    static_of_the_configuration,
    static_of_cni_args,
    static_of_the_runtime,
    static_of_args,
    static_of_all_sources,
    static_without_addresses,
    static_without_ipam,
    static_refusals,
    static_of_a_route_without_a_destination,
    static_check,
    static_del_with_anything,
    static_gc_and_status,
    static_below_a_bridge,
);

/// static alone, with the keys of `ipam`.
fn alone(ipam: &Value) -> Value {
    let ipam = conf::with(&json!({"type": "static"}), ipam);
    json!({"name": "pods", "type": "static", "ipam": ipam})
}

fn both() -> Value {
    json!({
        "addresses": [{"address": "10.10.0.1/24", "gateway": "10.10.0.254"},
            {"address": "3ffe:ffff:0:01ff::1/64", "gateway": "3ffe:ffff:0::1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.168.0.0/16", "gw": "10.10.5.1"},
            {"dst": "3ffe:ffff:0:01ff::1/64"}],
        "dns": {"nameservers": ["8.8.8.8"], "domain": "example.com", "search": ["a.example"]},
    })
}

fn add(bench: &Bench, config: &Value, args: &str) -> Outcome {
    bench.attach(config, &Pod::new()).args(args).try_add()
}

fn answer(bench: &mut Bench, label: &str, config: &Value, args: &str) {
    let outcome = add(bench, config, args);
    let seen = if outcome.code == Some(0) { outcome.ok() } else { json!("refused") };
    bench.see(label, seen);
}

fn static_of_the_configuration(bench: &mut Bench) {
    answer(bench, "both", &alone(&both()), "");
    let one = json!({"addresses": [{"address": "10.10.0.1/24"}]});
    answer(bench, "one", &alone(&one), "IgnoreUnknown=1;K8S_POD_NAME=a");
    let many = json!({"addresses": [{"address": "10.10.0.1/24"}, {"address": "10.10.1.1/24"},
        {"ADDRESS": "fd00::1/64", "Gateway": "fd00::ff"}, {"address": "fd00:1::1/64"}]});
    answer(bench, "many", &alone(&many), "");
    let mapped = json!({"addresses": [{"address": "::ffff:10.10.0.1/120"}]});
    answer(bench, "IPv4 in IPv6 notation", &alone(&mapped), "");
}

fn static_of_cni_args(bench: &mut Bench) {
    let routes = alone(&json!({"routes": both()["routes"]}));
    for (label, args) in [
        ("one", "IP=10.10.0.1/24;GATEWAY=10.10.0.254"),
        ("two", "IP=10.10.0.1/24, 11.11.0.1/24;GATEWAY=10.10.0.254"),
        ("both families", "IP=10.10.0.1/24,fd00::1/64;GATEWAY=fd00::ff,10.10.0.254"),
        ("several gateways", "IP=10.10.0.1/24;GATEWAY=10.10.0.254,10.10.0.253"),
        ("a gateway elsewhere", "IP=10.10.0.1/24;GATEWAY=10.99.0.254"),
        ("nothing", "IP="),
    ] {
        answer(bench, label, &routes, args);
    }
    answer(bench, "added", &alone(&both()), "IP=10.11.0.1/24;GATEWAY=10.11.0.254");
    answer(bench, "gateway alone", &alone(&both()), "GATEWAY=10.10.0.99");
}

fn static_of_the_runtime(bench: &mut Bench) {
    let keys = json!({"runtimeConfig": {"ips": ["10.10.0.1/24", "3ffe:ffff:0:1ff::1/64"]}});
    answer(bench, "alone", &conf::with(&alone(&json!({"routes": both()["routes"]})), &keys), "");
    answer(bench, "instead", &conf::with(&alone(&both()), &keys), "");
}

fn static_of_args(bench: &mut Bench) {
    let keys = json!({"args": {"cni": {"ips": ["10.10.0.1/24", "3ffe:ffff:0:1ff::1/64"]}}});
    answer(bench, "alone", &conf::with(&alone(&json!({})), &keys), "");
    answer(bench, "instead", &conf::with(&alone(&both()), &keys), "");
}

fn static_of_all_sources(bench: &mut Bench) {
    let by_args = json!({"args": {"cni": {"ips": ["10.10.0.2/24", "3ffe:ffff:0:1ff::2/64"]}}});
    let runtime = json!({"runtimeConfig": {"ips": ["10.10.0.3/24", "3ffe:ffff:0:1ff::3/64"]}});
    let env = "IP=10.10.0.1/24;GATEWAY=10.10.0.254";
    let config = conf::with(&alone(&json!({})), &by_args);
    answer(bench, "args", &config, env);
    answer(bench, "runtimeConfig", &conf::with(&config, &runtime), env);
}

fn static_without_addresses(bench: &mut Bench) {
    for (label, ipam) in [("absent", json!({})), ("empty", json!({"addresses": []}))] {
        let outcome = add(bench, &alone(&ipam), "");
        if bench.lists() {
            bench.see(label, outcome.ok());
        } else {
            bench.refused(label, &outcome, "cannot convert: no valid IP addresses");
        }
    }
}

fn static_without_ipam(bench: &mut Bench) {
    for keys in [
        json!({"args": {"cni": {"ips": ["10.10.0.1/24"]}}}),
        json!({"runtimeConfig": {"ips": ["10.10.0.1/24"]}}),
    ] {
        let config = conf::with(&conf::with(&alone(&json!({})), &json!({"ipam": null})), &keys);
        let outcome = add(bench, &config, "");
        bench.refused("ADD", &outcome, "IPAM config missing 'ipam' key");
    }
}

fn static_refusals(bench: &mut Bench) {
    let address = |text: &str| alone(&json!({"addresses": [{"address": text}]}));
    for text in ["10.10.0.1", "10.10.0/24", "", "10.10.0.1/33", "10.10.0.1/255.255.255.0"] {
        let words =
            format!("the 'address' field is expected to be in CIDR notation, got: '{text}'");
        let outcome = add(bench, &address(text), "");
        bench.refused(&format!("address {text}"), &outcome, &words);
    }
    for (label, keys) in [
        ("runtimeConfig", json!({"runtimeConfig": {"ips": ["10.10.0.1"]}})),
        ("args", json!({"args": {"cni": {"ips": ["10.10.0.1"]}}})),
    ] {
        let outcome = add(bench, &conf::with(&address("10.10.0.1/24"), &keys), "");
        let words = "an entry in the 'ips' field is NOT in CIDR notation, got: '10.10.0.1'";
        bench.refused(label, &outcome, words);
    }
    for (args, words) in [
        ("IP=10.10.0.1", "the 'ip' field is expected to be in CIDR notation, got: '10.10.0.1'"),
        ("IP=10.10.0.1/24;GATEWAY=nowhere", "invalid gateway address: nowhere"),
        ("OTHER=1", "ARGS: unknown args [\"OTHER=1\"]"),
    ] {
        let outcome = add(bench, &address("10.10.0.1/24"), args);
        bench.refused(args, &outcome, words);
    }
    let twice =
        alone(&json!({"addresses": [{"address": "10.10.0.1/24"}, {"address": "10.10.1.1/24"}]}));
    let outcome = add(bench, &twice, "");
    if bench.lists() {
        bench.ended("two of a family", &outcome);
    } else {
        let words = format!(
            "CNI version {} does not support more than 1 address per family",
            bench.version
        );
        bench.refused("two of a family", &outcome, &words);
    }
}

/// Below a bridge both are refused: the reference by its main plugin, which reads `<nil>`. Results before
/// 0.3.0 have routes by family, and the reference leaves it out of both.
fn static_of_a_route_without_a_destination(bench: &mut Bench) {
    let ipam = json!({"addresses": [{"address": "10.1.0.5/24"}], "routes": [{"gw": "10.1.0.1"}]});
    let outcome = add(bench, &alone(&ipam), "");
    bench.see("alone", json!(outcome.code == Some(0)));
    if !bench.lists() {
        return;
    }
    let ipam = conf::with(&ipam, &json!({"type": "static", "ranges": null}));
    let outcome = add(bench, &conf::with(&conf::v4(), &json!({"ipam": ipam})), "");
    bench.see("below a bridge", json!(outcome.code == Some(0)));
}

/// What ADD answered passes; another gateway of an address does not.
fn static_check(bench: &mut Bench) {
    if !bench.checks() {
        return;
    }
    let pod = Pod::new();
    let attachment = bench.attach(&alone(&both()), &pod);
    let result = attachment.add();
    let same = attachment.try_check(&result);
    let mut other = result.clone();
    other["ips"][0]["gateway"] = json!("10.10.0.99");
    let outcome = attachment.try_check(&other);
    let without = attachment.call("CHECK", None).run(&bench.node);
    bench.ended("as it was", &same);
    let words = "static: Failed to match addr 10.10.0.1 on interface eth0";
    bench.refused("another gateway", &outcome, words);
    bench.refused("without prevResult", &without, "Required prevResult missing");
}

fn static_del_with_anything(bench: &mut Bench) {
    for (label, config) in [
        ("valid", alone(&both())),
        ("without ipam", conf::with(&alone(&json!({})), &json!({"ipam": null}))),
        ("torn", alone(&json!({"addresses": [{"address": "nonsense"}]}))),
    ] {
        let outcome = bench.attach(&config, &Pod::new()).args("OTHER=1").try_del(None);
        bench.ended(label, &outcome);
    }
}

fn static_gc_and_status(bench: &mut Bench) {
    if bench.version < "1.1.0" {
        return;
    }
    let attach = |bench: &Bench| {
        (
            bench.attach(&alone(&both()), &Pod::new()).gc(&[]),
            bench.attach(&alone(&both()), &Pod::new()).status(),
        )
    };
    let (gc, status) = attach(bench);
    bench.ended("GC", &gc);
    bench.ended("STATUS", &status);
}

fn static_below_a_bridge(bench: &mut Bench) {
    let ipam = json!({"type": "static", "ranges": null,
        "addresses": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"},
            {"address": "fd00:1::5/64", "gateway": "fd00:1::1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        "dns": {"nameservers": ["10.1.0.1"]}});
    let config = conf::with(&conf::dual(), &json!({"ipam": null}));
    bench.life(&conf::with(&config, &json!({"ipam": ipam})), |_, _, _| {});
}
