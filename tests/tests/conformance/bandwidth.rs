//! Scenarios of bandwidth, behind bridge: those of the reference's own tests. Rates by packet are in
//! the suite `bandwidth`.

use ferrule_tests::node::Place;
use ferrule_tests::{Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};
use crate::chained::Behind;

scenarios! {
    from "0.3.0":
    bandwidth_of_a_pod, bandwidth_of_what_it_sends_alone, bandwidth_of_what_it_receives_alone,
    bandwidth_by_the_runtime, bandwidth_of_keys_and_runtime, bandwidth_of_nothing,
    bandwidth_that_is_no_limit, bandwidth_deleted_without_a_result, bandwidth_beside_other_veths,
    bandwidth_of_what_is_no_veth, bandwidth_without_interfaces, bandwidth_of_another_veth,
    bandwidth_checked, bandwidth_without_a_result,
}

fn bandwidth(keys: &Value) -> Value {
    conf::with(&json!({"type": "bandwidth", "name": "pods"}), keys)
}

fn limits(ingress: u64, egress: u64, burst: u64) -> Value {
    json!({"ingressRate": ingress, "ingressBurst": burst, "egressRate": egress,
        "egressBurst": burst})
}

/// The limits on the host's end and on the IFB device, and where what comes from the pod goes.
fn shaping(bench: &Bench, behind: &Behind) -> Value {
    let host = host_end(bench, &behind.pod);
    let ifb = ifb(bench);
    let limit = |link: &str| match bench.node.json(&format!("tc -j qdisc show dev {link} root")) {
        Value::Array(list) if list.iter().any(|qdisc| qdisc["kind"] == "tbf") => {
            let options = &list[0]["options"];
            json!({"rate": options["rate"], "burst": options["burst"], "limit": options["lat"]})
        }
        _ => json!("none"),
    };
    let redirected = bench.node.run(&format!("tc filter show dev {host} ingress"));
    let to_ifb = ifb.as_ref().is_some_and(|ifb| redirected.contains(&format!("to device {ifb}")));
    json!({
        "of the host's end": limit(&host),
        "of the IFB device": ifb.as_deref().map_or(json!("none"), limit),
        "MTU of the IFB device": ifb.as_ref().map(|ifb| bench.node.link(ifb).expect("a link")["mtu"].clone()),
        "redirected to the IFB device": to_ifb,
    })
}

fn host_end(bench: &Bench, pod: &Pod) -> String {
    let peer = pod.link("eth0").expect("eth0")["link_index"].clone();
    let links = bench.node.json("ip -j link");
    let links = links.as_array().expect("links").iter();
    let host = links.into_iter().find(|link| link["ifindex"] == peer).expect("the host's end");
    host["ifname"].as_str().expect("a name").to_owned()
}

fn ifb(bench: &Bench) -> Option<String> {
    bench.node.links().into_iter().find(|name| name.starts_with("bwp"))
}

/// ADD, what it made, CHECK, DEL twice, what is left.
fn life(bench: &mut Bench, keys: &Value) {
    let main = conf::with(&conf::v4(), &json!({"mtu": 1400}));
    let behind = Behind::new(bench, &main, &bandwidth(keys));
    let attachment = bench.attach(&behind.config, &behind.pod);
    let outcome = attachment.call("ADD", Some(&behind.result)).run(&bench.node);
    bench.ended("ADD", &outcome);
    let mut behind = behind;
    if outcome.code == Some(0) {
        behind.result = outcome.ok();
        let interfaces = behind.result["interfaces"].as_array().cloned().unwrap_or_default();
        bench.see("interfaces of the result", interfaces.len());
        let last = interfaces.last().cloned().unwrap_or_default();
        let is_ifb = ifb(bench).is_some_and(|ifb| last["name"] == json!(ifb));
        bench.see("the last is the IFB device", is_ifb);
        bench.see("its sandbox", last["sandbox"].as_str().unwrap_or_default().is_empty());
    }
    bench.see("limits", shaping(bench, &behind));
    behind.check(bench, "CHECK");
    for again in ["DEL", "DEL again"] {
        behind.del(bench, again);
        bench.see(&format!("IFB device after {again}"), ifb(bench).is_some());
    }
}

fn bandwidth_of_a_pod(bench: &mut Bench) {
    life(bench, &limits(8_000_000, 16_000_000, 800_000));
}

fn bandwidth_of_what_it_sends_alone(bench: &mut Bench) {
    life(
        bench,
        &json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": 8_000_000,
        "egressBurst": 800_000}),
    );
}

fn bandwidth_of_what_it_receives_alone(bench: &mut Bench) {
    life(
        bench,
        &json!({"egressRate": 0, "egressBurst": 0, "ingressRate": 8_000_000,
        "ingressBurst": 800_000}),
    );
}

fn bandwidth_by_the_runtime(bench: &mut Bench) {
    life(bench, &json!({"runtimeConfig": {"bandwidth": limits(8_000_000, 16_000_000, 800_000)}}));
}

fn bandwidth_of_keys_and_runtime(bench: &mut Bench) {
    let runtime = json!({"runtimeConfig": {"bandwidth": limits(1_000_000, 2_000_000, 400_000)}});
    life(bench, &conf::with(&limits(8_000_000, 16_000_000, 800_000), &runtime));
}

fn bandwidth_of_nothing(bench: &mut Bench) {
    life(bench, &json!({}));
}

/// Rates without bursts, bursts without rates, and a burst that the kernel's 32 bits do not hold.
fn bandwidth_that_is_no_limit(bench: &mut Bench) {
    let mut egress = limits(123, 123, 123);
    for (part, keys, words) in [
        (
            "burst/",
            json!({"ingressRate": 0, "ingressBurst": 123}),
            "if burst is set, rate must also be set",
        ),
        (
            "rate/",
            json!({"ingressRate": 123, "ingressBurst": 0}),
            "if rate is set, burst must also be set",
        ),
        ("large/", json!({"ingressBurst": 34_359_738_368_u64}), "burst cannot be more than 4GB"),
    ] {
        bench.part(part);
        egress = conf::with(&egress, &keys);
        let behind = Behind::new(bench, &conf::v4(), &bandwidth(&egress));
        behind.refused(bench, "ADD", words);
    }
}

fn bandwidth_deleted_without_a_result(bench: &mut Bench) {
    let keys = bandwidth(&limits(8_000_000, 8_000_000, 800_000));
    let mut behind = Behind::new(bench, &conf::v4(), &keys);
    let added = behind.add(bench, "ADD");
    bench.see("IFB device", ifb(bench).is_some());
    if added {
        for again in ["DEL", "DEL again"] {
            let outcome = bench.attach(&keys, &behind.pod).try_del(None);
            bench.ended(again, &outcome);
        }
    }
    bench.see("IFB device after DEL", ifb(bench).is_some());
}

/// The result names a pair of the node itself before the host's end.
fn bandwidth_beside_other_veths(bench: &mut Bench) {
    bench.node.run("ip link add veth-peer1 type veth peer name veth-peer2");
    let keys = bandwidth(&limits(8_000_000, 16_000_000, 800_000));
    let mut behind = Behind::new(bench, &conf::v4(), &keys);
    let interfaces = behind.result["interfaces"].as_array_mut().expect("interfaces");
    interfaces.extend([json!({"name": "veth-peer1"}), json!({"name": "veth-peer2"})]);
    interfaces.rotate_right(2);
    for ip in behind.result["ips"].as_array_mut().expect("addresses") {
        ip["interface"] = json!(4);
    }
    if behind.add(bench, "ADD") {
        bench.see("interfaces of the result", behind.result["interfaces"].as_array().map(Vec::len));
    }
    bench.see("limits", shaping(bench, &behind));
    behind.check(bench, "CHECK");
    behind.del(bench, "DEL");
}

/// No end of the host belongs to it.
fn bandwidth_of_what_is_no_veth(bench: &mut Bench) {
    let keys = bandwidth(&limits(8_000_000, 16_000_000, 800_000));
    let behind = Behind::new(bench, &conf::v4(), &keys);
    behind.pod.run("ip link add link eth0 name macv0 type macvlan");
    let result = conf::with(
        &behind.result,
        &json!({"interfaces": [{"name": "cni0"},
        {"name": host_end(bench, &behind.pod)}, {"name": "macv0", "sandbox": behind.pod.netns()}]}),
    );
    let attachment = bench.attach(&keys, &behind.pod).ifname("macv0");
    let outcome = attachment.call("ADD", Some(&result)).run(&bench.node);
    bench.ended("ADD", &outcome);
    bench.see("IFB device", ifb(bench).is_some());
}

fn bandwidth_without_interfaces(bench: &mut Bench) {
    let keys = bandwidth(&limits(8_000_000, 16_000_000, 800_000));
    let mut behind = Behind::new(bench, &conf::v4(), &keys);
    behind.result = json!({"cniVersion": bench.version, "interfaces": [], "ips": [], "routes": []});
    behind.add(bench, "ADD");
    bench.see("IFB device", ifb(bench).is_some());
}

/// The result names another end than the pod's.
fn bandwidth_of_another_veth(bench: &mut Bench) {
    let keys = bandwidth(&limits(8_000_000, 16_000_000, 800_000));
    let mut behind = Behind::new(bench, &conf::v4(), &keys);
    behind.result["interfaces"][1]["name"] = json!("veth-fake");
    behind.add(bench, "ADD");
    bench.see("IFB device", ifb(bench).is_some());
}

fn bandwidth_checked(bench: &mut Bench) {
    let keys = bandwidth(&limits(8_000_000, 16_000_000, 800_000));
    let mut behind = Behind::new(bench, &conf::v4(), &keys);
    if !behind.add(bench, "ADD") {
        return;
    }
    behind.check(bench, "CHECK");
    behind.config = bandwidth(&limits(9_000_000, 16_000_000, 800_000));
    behind.check(bench, "CHECK of another rate");
    behind.config = keys;
    let ifb = ifb(bench).expect("an IFB device");
    bench.node.run(&format!("ip link del {ifb}"));
    behind.check(bench, "CHECK without the IFB device");
    behind.del(bench, "DEL");
}

fn bandwidth_without_a_result(bench: &mut Bench) {
    let config = bandwidth(&limits(8_000_000, 16_000_000, 800_000));
    let outcome = bench.attach(&config, &Pod::new()).try_add();
    bench.refused("ADD", &outcome, "must be called as chained plugin");
}
