//! bridge: what is refused, and keys that runtimes set.

use ferrule_tests::node::Place;
use ferrule_tests::{Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};

scenarios!(
    trunk_parsing,
    trunk_that_is_no_trunk,
    vlan_ids_out_of_range,
    hairpin_and_promiscuous,
    ipam_without_a_container_interface,
    an_unknown_backend,
    macs_that_are_none,
    unknown_args,
    keys_in_any_case,
    no_network_name,
    an_unknown_command,
    ipam_that_gives_no_address,
    ipam_that_is_missing,
    check_without_a_result,
    the_container_does_not_exist,
);

/// ADD that is to be refused in these words; what is left is noted.
fn refusal(bench: &mut Bench, label: &str, config: &Value, words: &str) {
    let pod = Pod::new();
    let outcome = bench.attach(config, &pod).try_add();
    bench.refused(label, &outcome, words);
    if outcome.code == Some(0) {
        let undone = bench.attach(config, &pod).try_del(None);
        bench.ended(&format!("{label}/DEL"), &undone);
        bench.node.run("ip link del cni0");
    }
    let left: Vec<String> = bench.node.links();
    bench.see(&format!("{label}/links left"), left.len());
    bench.node.sh("ip link del cni0 2>/dev/null || true");
}

fn trunk(entries: &Value) -> Value {
    conf::with(&conf::l2(), &json!({"vlanTrunk": entries}))
}

fn trunk_parsing(bench: &mut Bench) {
    if !bench.lists() {
        return;
    }
    let both = "minID and maxID should be configured simultaneously";
    let cases = [
        ("no maximum", json!([{"minID": 9}]), format!("{both}, maxID is missing")),
        ("no minimum", json!([{"maxID": 9}]), format!("{both}, minID is missing")),
        ("negative minimum", json!([{"minID": -1, "maxID": 9}]), "incorrect trunk minID".into()),
        ("negative maximum", json!([{"minID": 1, "maxID": -9}]), "incorrect trunk maxID".into()),
        ("great maximum", json!([{"minID": 1, "maxID": 4095}]), "incorrect trunk maxID".into()),
        ("great minimum", json!([{"minID": 4095, "maxID": 9}]), "incorrect trunk minID".into()),
        ("negative id", json!([{"id": -1}]), "incorrect trunk id parameter".into()),
        ("great id", json!([{"id": 4095}]), "incorrect trunk id parameter".into()),
        (
            "wrong way round",
            json!([{"minID": 9, "maxID": 5}]),
            "minID is greater than maxID in trunk parameter".into(),
        ),
    ];
    for (label, entries, words) in cases {
        refusal(bench, label, &trunk(&entries), &words);
    }
}

/// An empty list is a bridge without VLANs.
fn trunk_that_is_no_trunk(bench: &mut Bench) {
    if bench.lists() {
        let config = conf::with(&conf::v4(), &json!({"vlanTrunk": []}));
        bench.life(&config, |_, _, _| {});
    }
}

fn vlan_ids_out_of_range(bench: &mut Bench) {
    for id in [-1, 4095, 5000] {
        let words = format!("invalid VLAN ID {id} (must be between 0 and 4094)");
        let config = conf::with(&conf::l2(), &json!({"vlan": id}));
        refusal(bench, &format!("vlan {id}"), &config, &words);
    }
}

fn hairpin_and_promiscuous(bench: &mut Bench) {
    let config = conf::with(&conf::l2(), &json!({"hairpinMode": true, "promiscMode": true}));
    let words = "cannot set hairpin mode and promiscuous mode at the same time";
    refusal(bench, "ADD", &config, words);
}

fn ipam_without_a_container_interface(bench: &mut Bench) {
    let config = conf::with(&conf::v4(), &json!({"disableContainerInterface": true}));
    let words = "cannot use IPAM when DisableContainerInterface flag is set";
    refusal(bench, "ADD", &config, words);
}

fn an_unknown_backend(bench: &mut Bench) {
    let keys = json!({"ipMasq": true, "ipMasqBackend": "ebtables"});
    refusal(bench, "ADD", &conf::with(&conf::v4(), &keys), "ebtables");
}

fn macs_that_are_none(bench: &mut Bench) {
    let config = conf::with(&conf::l2(), &json!({"runtimeConfig": {"mac": "c2:11:22:33:44"}}));
    refusal(bench, "runtimeConfig", &config, "c2:11:22:33:44");
    let pod = Pod::new();
    let outcome = bench.attach(&conf::l2(), &pod).args("MAC=nonsense").try_add();
    bench.refused("CNI_ARGS", &outcome, "nonsense");
}

fn unknown_args(bench: &mut Bench) {
    let pod = Pod::new();
    let outcome = bench.attach(&conf::l2(), &pod).args("K8S_POD_NAME=a").try_add();
    bench.refused("strict", &outcome, "ARGS: unknown args [\"K8S_POD_NAME=a\"]");
    for yes in ["1", "true"] {
        let args = format!("IgnoreUnknown={yes};K8S_POD_NAMESPACE=b;K8S_POD_NAME=a");
        let outcome = bench.attach(&conf::l2(), &pod).args(&args).try_add();
        bench.ended(&format!("lenient by {yes}"), &outcome);
        let outcome = bench.attach(&conf::l2(), &pod).args(&args).try_del(None);
        bench.ended(&format!("lenient by {yes}/DEL"), &outcome);
    }
}

fn keys_in_any_case(bench: &mut Bench) {
    let config = json!({"CNIVersion": "0.4.0", "Name": "pods", "type": "bridge",
        "BRIDGE": "odd0", "ISGATEWAY": true, "Mtu": 1400,
        "Ipam": {"TYPE": "host-local", "SUBNET": "10.1.0.0/24", "ROUTES": [{"DST": "0.0.0.0/0"}]}});
    let config = conf::with(&config, &json!({"CNIVersion": null}));
    bench.life(&config, |_, _, _| {});
}

fn no_network_name(bench: &mut Bench) {
    refusal(
        bench,
        "absent",
        &conf::with(&conf::l2(), &json!({"name": null})),
        "missing network name",
    );
    let slash = conf::with(&conf::l2(), &json!({"name": "a/b"}));
    refusal(bench, "with a slash", &slash, "invalid characters found in network name");
}

fn an_unknown_command(bench: &mut Bench) {
    let pod = Pod::new();
    let outcome = bench.attach(&conf::l2(), &pod).call("FROB", None).run(&bench.node);
    bench.refused("FROB", &outcome, "unknown CNI_COMMAND: FROB");
    for (key, command) in [
        ("CNI_CONTAINERID", "ADD"),
        ("CNI_NETNS", "ADD"),
        ("CNI_IFNAME", "ADD"),
        ("CNI_PATH", "ADD"),
        ("CNI_CONTAINERID", "DEL"),
        ("CNI_IFNAME", "DEL"),
    ] {
        let outcome = bench.attach(&conf::v4(), &pod).call(command, None).without(key);
        let outcome = outcome.run(&bench.node);
        bench.refused(&format!("{command} without {key}"), &outcome, key);
    }
}

const SCRIPT: &str = "#!/bin/sh\ncat >/dev/null\nprintf '%s' \"$ANSWER\"\ncat /run/answer\n";

fn ipam_that_gives_no_address(bench: &mut Bench) {
    let pod = Pod::new();
    bench.node.write("/run/bin/scripted", SCRIPT);
    bench.node.write("/run/answer", &json!({"cniVersion": bench.version}).to_string());
    bench.node.run("chmod +x /run/bin/scripted");
    let config = conf::with(&conf::l2(), &json!({"ipam": {"type": "scripted"}}));
    let path = format!("{}:/run/bin", bench.bins().dir().display());
    let call = bench.attach(&config, &pod).call("ADD", None).env("CNI_PATH", &path);
    let outcome = call.run(&bench.node);
    bench.refused("ADD", &outcome, "IPAM plugin returned missing IP config");
    bench.see("links left in the pod", pod.links());
}

fn ipam_that_is_missing(bench: &mut Bench) {
    let config = conf::with(&conf::l2(), &json!({"ipam": {"type": "nowhere"}}));
    let pod = Pod::new();
    let outcome = bench.attach(&config, &pod).try_add();
    bench.refused("ADD", &outcome, "failed to find plugin \"nowhere\" in path");
    bench.see("links left in the pod", pod.links());
}

fn check_without_a_result(bench: &mut Bench) {
    let pod = Pod::new();
    let outcome = bench.attach(&conf::v4(), &pod).try_add();
    bench.ended("ADD", &outcome);
    let outcome = bench.attach(&conf::v4(), &pod).call("CHECK", None).run(&bench.node);
    let words = if bench.checks() { "Required prevResult missing" } else { "CHECK" };
    bench.refused("CHECK", &outcome, words);
}

fn the_container_does_not_exist(bench: &mut Bench) {
    let pod = Pod::new();
    let nowhere = "/run/netns/nowhere";
    let outcome = bench.attach(&conf::v4(), &pod).netns(Some(nowhere)).try_add();
    bench.refused("ADD", &outcome, nowhere);
    bench.leases("ADD");
    for netns in [Some(nowhere), Some(""), None] {
        let outcome = bench.attach(&conf::v4(), &pod).netns(netns).try_del(None);
        bench.ended(&format!("DEL with {netns:?}"), &outcome);
    }
}
