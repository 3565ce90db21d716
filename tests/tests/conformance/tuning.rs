//! Scenarios of tuning, behind bridge: those of the reference's own tests.

use ferrule_tests::node::Place;
use ferrule_tests::{Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};

scenarios! {
    tuning_of_an_mtu, tuning_of_a_promiscuous_interface, tuning_of_a_mac_address,
    tuning_of_all_multicast, tuning_of_a_transmit_queue, tuning_by_args,
    tuning_by_args_with_nothing_else, tuning_by_the_runtime, tuning_of_sysctls,
    tuning_of_an_interfaces_sysctl, tuning_of_what_is_no_network_sysctl,
    tuning_of_an_empty_value, tuning_of_nothing, tuning_without_a_result, tuning_with_unknown_args, tuning_of_a_wrong_mac,
}

/// What the pod has of what tuning may set.
fn values(pod: &Pod) -> Value {
    let link = pod.link("eth0").expect("eth0");
    let flags = link["flags"].to_string();
    json!({
        "mtu": link["mtu"], "queue": link["txqlen"],
        "mac is the one asked for": link["address"] == MAC,
        "promiscuous": flags.contains("PROMISC"), "all multicast": flags.contains("ALLMULTI"),
        "somaxconn": pod.sysctl("net/core/somaxconn"),
        "arp_filter": pod.sysctl("net/ipv4/conf/eth0/arp_filter"),
    })
}

const MAC: &str = "c2:11:22:33:44:55";

/// A pod behind the reference's bridge, so that all that differs is of tuning: ADD, CHECK, DEL twice.
fn life(bench: &mut Bench, keys: &Value, args: Option<&str>) {
    let pod = Pod::new();
    let main = bench.attach(&conf::v4(), &pod).by(&ferrule_tests::Bins::reference());
    let previous = main.add();
    let tuning = conf::with(&json!({"type": "tuning", "name": "pods"}), keys);
    bench.see("before", values(&pod));
    let add = attachment_of(bench, &tuning, &pod, args).call("ADD", Some(&previous));
    let outcome = add.run(&bench.node);
    let place = if outcome.code == Some(0) { "succeeds" } else { "fails" };
    bench.see("ADD", place);
    let mut result = previous.clone();
    if outcome.code == Some(0) {
        result = outcome.ok();
        let answer = result["interfaces"][2]["mac"] == json!(MAC);
        bench.see("the result has the MAC address asked for", answer);
        bench.see("addresses of the result", result["ips"].clone());
        bench.see("routes of the result", result["routes"].clone());
    }
    bench.see("after ADD", values(&pod));
    if bench.checks() {
        let outcome = attachment_of(bench, &tuning, &pod, args).try_check(&result);
        bench.ended("CHECK", &outcome);
    }
    for again in ["DEL", "DEL again"] {
        let outcome = attachment_of(bench, &tuning, &pod, args).try_del(Some(&result));
        bench.ended(again, &outcome);
        bench.see(&format!("after {again}"), values(&pod));
    }
    bench.see("files left", bench.node.sh("ls /run/cni/tuning 2> /dev/null || :"));
}

fn attachment_of<'a>(
    bench: &'a Bench,
    config: &Value,
    pod: &Pod,
    args: Option<&str>,
) -> ferrule_tests::Attachment<'a> {
    let mut attachment = bench.attach(config, pod);
    attachment.args = args.map(str::to_owned);
    attachment
}

fn tuning_of_an_mtu(bench: &mut Bench) {
    life(bench, &json!({"mtu": 1454}), None);
}

fn tuning_of_a_promiscuous_interface(bench: &mut Bench) {
    life(bench, &json!({"promisc": true}), None);
}

fn tuning_of_a_mac_address(bench: &mut Bench) {
    life(bench, &json!({"mac": MAC}), None);
}

fn tuning_of_all_multicast(bench: &mut Bench) {
    life(bench, &json!({"allmulti": true}), None);
}

fn tuning_of_a_transmit_queue(bench: &mut Bench) {
    life(bench, &json!({"txQLen": 20_000}), None);
}

fn tuning_by_args(bench: &mut Bench) {
    let args = json!({"mac": MAC, "mtu": 1454, "promisc": true, "allmulti": true, "txQLen": 20_000,
        "sysctl": {"net.core.somaxconn": "512"}});
    life(
        bench,
        &json!({"mtu": 1300, "sysctl": {"net.core.somaxconn": "99"}, "args": {"cni": args}}),
        None,
    );
}

fn tuning_by_args_with_nothing_else(bench: &mut Bench) {
    life(bench, &json!({"args": {"cni": {"mac": MAC, "mtu": 1454}}}), None);
}

fn tuning_by_the_runtime(bench: &mut Bench) {
    let keys = json!({"mac": "c2:11:22:33:44:77", "runtimeConfig": {"mac": MAC}});
    life(bench, &keys, Some("IgnoreUnknown=1;MAC=c2:11:22:33:44:66;K8S_POD_NAME=x"));
}

fn tuning_of_sysctls(bench: &mut Bench) {
    life(bench, &json!({"sysctl": {"net.core.somaxconn": "512"}}), None);
}

fn tuning_of_an_interfaces_sysctl(bench: &mut Bench) {
    life(bench, &json!({"sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}), None);
}

fn tuning_of_what_is_no_network_sysctl(bench: &mut Bench) {
    life(bench, &json!({"sysctl": {"kernel.hostname": "x"}}), None);
}

/// The reference writes nothing, and its CHECK finds that what it did not set is not set.
fn tuning_of_an_empty_value(bench: &mut Bench) {
    life(bench, &json!({"sysctl": {"net.core.somaxconn": ""}}), None);
}

fn tuning_of_nothing(bench: &mut Bench) {
    life(bench, &json!({}), None);
}

fn tuning_without_a_result(bench: &mut Bench) {
    let pod = Pod::new();
    let attachment = bench.attach(&json!({"type": "tuning", "name": "pods", "mtu": 1400}), &pod);
    let outcome = attachment.try_add();
    bench.refused("ADD", &outcome, "Required prevResult missing");
}

fn tuning_with_unknown_args(bench: &mut Bench) {
    life(bench, &json!({"mtu": 1454}), Some("NOBODYS=1"));
}

fn tuning_of_a_wrong_mac(bench: &mut Bench) {
    let pod = Pod::new();
    let main = bench.attach(&conf::v4(), &pod).by(&ferrule_tests::Bins::reference());
    let previous = main.add();
    let attachment =
        bench.attach(&json!({"type": "tuning", "name": "pods", "mac": "c2:11:22"}), &pod);
    let outcome = attachment.call("ADD", Some(&previous)).run(&bench.node);
    bench.refused("ADD", &outcome, "invalid args c2:11:22 for MAC addr");
}
