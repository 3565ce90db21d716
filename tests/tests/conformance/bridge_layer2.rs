//! bridge: links, ports and frames.

use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::packets::first_ping;
use ferrule_tests::raw::{self, Mac, Sniffer};
use ferrule_tests::{Node, Pod, conf};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};

scenarios!(
    l2_bridge,
    l2_before_results_listed_interfaces,
    l2_check,
    l2_vlan,
    l2_vlan_trunk,
    l2_vlan_and_trunk,
    l2_no_default_vlan,
    l2_vlan_on_a_bridge_that_is_there,
    an_existing_bridge_is_used,
    what_is_no_bridge_is_refused,
    del_of_an_unconfigured_bridge,
    del_without_a_netns,
    a_promiscuous_bridge,
    a_hairpin_port,
    an_mtu,
    a_name_taken_in_the_pod,
    macs_from_everywhere,
    a_mac_that_stays,
    spoofed_frames,
    spoof_check_goes_with_its_pod,
    isolated_ports,
    a_container_interface_that_stays_down,
    two_interfaces_of_one_pod,
);

fn filters_vlans() -> bool {
    let node = Node::new();
    node.try_run("ip link add probe type bridge vlan_filtering 1").status.success()
}

fn l2_bridge(bench: &mut Bench) {
    // CHECK of the reference fails here: a scenario of its own.
    if !bench.lists() {
        return;
    }
    let pod = Pod::new();
    let outcome = bench.attach(&conf::l2(), &pod).try_add();
    let result = bench.result("ADD", &outcome, &pod);
    bench.node_state("after ADD");
    bench.pod_state("after ADD", &pod);
    let outcome = bench.attach(&conf::l2(), &pod).try_del(result.as_ref());
    bench.ended("DEL", &outcome);
    bench.node_state("after DEL");
    bench.see("after DEL/pod links", pod.links());
}

/// Old results have no place for a network without addresses.
fn l2_before_results_listed_interfaces(bench: &mut Bench) {
    if bench.lists() {
        return;
    }
    let pod = Pod::new();
    let outcome = bench.attach(&conf::l2(), &pod).try_add();
    bench.refused("ADD", &outcome, "cannot convert: no valid IP addresses");
    bench.see("left in the pod", pod.links().len());
    let outcome = bench.attach(&conf::l2(), &pod).try_del(None);
    bench.ended("DEL", &outcome);
    bench.see("after DEL/pod links", pod.links());
}

fn l2_check(bench: &mut Bench) {
    if !bench.lists() {
        return;
    }
    let pod = Pod::new();
    let result = bench.attach(&conf::l2(), &pod).add();
    let outcome = bench.attach(&conf::l2(), &pod).try_check(&result);
    bench.ended("CHECK", &outcome);
}

/// What a plugin asks the kernel for that is about VLANs.
fn asked_for_vlans(bench: &Bench, config: &Value) -> Vec<String> {
    let pod = Pod::new();
    let call = bench.attach(config, &pod).call("ADD", None);
    let folder = "/run/traced";
    bench.node.write(&format!("{folder}/config"), &String::from_utf8_lossy(&call.stdin));
    let env = call.env.iter().map(|(key, value)| format!("{key}={value} "));
    let (env, exe) = (env.collect::<String>(), call.exe.display());
    let strace = format!("strace -f -qq -e trace=sendto -s 4096 -o {folder}/sent");
    bench.node.sh(&format!("env {env} {strace} {exe} <{folder}/config >{folder}/out || true"));
    let trace = bench.node.read(&format!("{folder}/sent"));
    assert!(trace.contains("RTM_NEWLINK"), "{trace}");
    let mut asked = vec![];
    for line in trace.lines() {
        if let Some((_, value)) = line.split_once("IFLA_BR_VLAN_FILTERING}, ") {
            asked.push(format!("VLAN_FILTERING {}", &value[..1]));
        }
        let vlans = line.split("IFLA_BRIDGE_VLAN_INFO}, {").skip(1);
        asked.extend(vlans.filter_map(|vlan| Some(vlan.split_once('}')?.0.to_owned())));
    }
    asked
}

/// VLANs as far as the kernel goes: without VLAN filtering ADD fails, and says so.
fn vlans(bench: &mut Bench, keys: &Value) {
    let config = conf::with(&conf::l2(), keys);
    let pod = Pod::new();
    if !bench.lists() {
        return;
    }
    let outcome = bench.attach(&config, &pod).try_add();
    bench.ended("ADD", &outcome);
    if filters_vlans() {
        let shown = bench.node.json("bridge -j vlan show");
        let ports = shown.as_array().into_iter().flatten();
        let vlans: Vec<Value> = ports.map(|port| port["vlans"].clone()).collect();
        bench.see("vlans", vlans);
    } else {
        let said = (outcome.code != Some(0)).then(|| outcome.err().text());
        let said = said.unwrap_or_default();
        bench.see("what ADD says", said.to_lowercase().contains("vlan"));
        bench.see("left in the pod", pod.links());
        let asked = asked_for_vlans(bench, &config);
        bench.see("asked of the kernel", asked);
    }
    let outcome = bench.attach(&config, &pod).try_del(None);
    bench.ended("DEL", &outcome);
    bench.see("after DEL/pod links", pod.links());
}

fn l2_vlan(bench: &mut Bench) {
    vlans(bench, &json!({"vlan": 100}));
}

fn l2_vlan_trunk(bench: &mut Bench) {
    vlans(bench, &json!({"vlanTrunk": [{"id": 101}, {"minID": 200, "maxID": 210}]}));
}

fn l2_vlan_and_trunk(bench: &mut Bench) {
    vlans(bench, &json!({"vlan": 100, "vlanTrunk": [{"id": 101}, {"minID": 200, "maxID": 210}]}));
}

fn l2_no_default_vlan(bench: &mut Bench) {
    vlans(bench, &json!({"vlan": 100, "preserveDefaultVlan": false}));
}

fn l2_vlan_on_a_bridge_that_is_there(bench: &mut Bench) {
    bench.node.run("ip link add cni0 type bridge");
    vlans(bench, &json!({"vlan": 100}));
}

fn an_existing_bridge_is_used(bench: &mut Bench) {
    // Not a spanning tree, for which ours waits half a minute.
    bench
        .node
        .sh("ip link add cni0 address 02:00:00:00:00:99 mtu 1450 type bridge ageing_time 777");
    bench.life(&conf::v4(), |bench, _, _| {
        let link = bench.node.link("cni0").unwrap();
        bench.see("MAC", link["address"].clone());
        bench.see("ageing time", link["linkinfo"]["info_data"]["ageing_time"].clone());
    });
}

fn what_is_no_bridge_is_refused(bench: &mut Bench) {
    bench.node.run("ip link add cni0 type veth peer name other0");
    let pod = Pod::new();
    let outcome = bench.attach(&conf::v4(), &pod).try_add();
    bench.refused("ADD", &outcome, "\"cni0\" already exists but is not a bridge");
    bench.see("left", bench.node.links());
    bench.leases("ADD");
}

fn del_of_an_unconfigured_bridge(bench: &mut Bench) {
    let pod = Pod::new();
    for config in [conf::l2(), conf::v4()] {
        let outcome = bench.attach(&config, &pod).try_del(None);
        bench.ended("DEL", &outcome);
    }
    bench.see("links", bench.node.links());
}

fn del_without_a_netns(bench: &mut Bench) {
    let pod = Pod::new();
    let result = bench.attach(&conf::v4(), &pod).add();
    let outcome = bench.attach(&conf::v4(), &pod).netns(Some("")).try_del(Some(&result));
    bench.ended("DEL", &outcome);
    bench.leases("DEL");
    bench.see("host veths left", bench.node.links().len() - 1);
}

fn a_promiscuous_bridge(bench: &mut Bench) {
    bench.life(&conf::with(&conf::v4(), &json!({"promiscMode": true})), |_, _, _| {});
}

fn a_hairpin_port(bench: &mut Bench) {
    bench.life(&conf::with(&conf::v4(), &json!({"hairpinMode": true})), |_, _, _| {});
}

fn an_mtu(bench: &mut Bench) {
    bench.life(&conf::with(&conf::v4(), &json!({"mtu": 1400})), |_, _, _| {});
}

/// "Container veth peer": the name is taken, and the address goes back.
fn a_name_taken_in_the_pod(bench: &mut Bench) {
    let pod = Pod::new();
    pod.run("ip link add eth0 type veth peer name other0");
    let outcome = bench.attach(&conf::v4(), &pod).try_add();
    bench.refused("ADD", &outcome, "container veth name (\"eth0\") peer provided (\"veth");
    bench.refused("ADD, shorter", &outcome, "already exists");
    bench.see("left in the pod", pod.links());
    bench.see(
        "host veths left",
        bench.node.links().iter().filter(|n| n.starts_with("veth")).count(),
    );
    bench.leases("ADD");
}

const ONE: &str = "c2:11:22:33:44:01";
const TWO: &str = "c2:11:22:33:44:02";
const THREE: &str = "c2:11:22:33:44:03";

fn macs_from_everywhere(bench: &mut Bench) {
    if !bench.lists() {
        return;
    }
    let by_args = json!({"args": {"cni": {"mac": TWO}}});
    let by_runtime = json!({"runtimeConfig": {"mac": THREE}});
    let both = conf::with(&by_args, &by_runtime);
    let asked = format!("MAC={ONE}");
    let cases: [(&str, Value, Option<&str>); 6] = [
        ("CNI_ARGS", json!({}), Some(&asked)),
        ("args", by_args.clone(), None),
        ("runtimeConfig", by_runtime.clone(), None),
        ("CNI_ARGS and args", by_args, Some(&asked)),
        ("CNI_ARGS and runtimeConfig", by_runtime, Some(&asked)),
        ("all three", both, Some(&asked)),
    ];
    for (label, keys, args) in cases {
        let pod = Pod::new();
        let mut attachment = bench.attach(&conf::with(&conf::l2(), &keys), &pod);
        attachment.args = args.map(str::to_owned);
        attachment.add();
        let mac = pod.link("eth0").unwrap()["address"].clone();
        bench.see(label, mac);
    }
}

/// The bridge's MAC does not follow its ports.
fn a_mac_that_stays(bench: &mut Bench) {
    let mac = |bench: &Bench| bench.node.link("cni0").unwrap()["address"].clone();
    let (one, low) = (Pod::new(), Pod::new());
    bench.attach(&conf::v4(), &one).add();
    let before = mac(bench);
    bench.node.sh("ip link add low0 address 00:00:00:00:00:01 type veth peer name other0
        ip link set low0 master cni0");
    bench.attach(&conf::v4(), &low).add();
    bench.see("the same", mac(bench) == before);
    bench.node.run("ip link del low0");
    bench.attach(&conf::v4(), &low).del(None);
    bench.see("still the same", mac(bench) == before);
}

const FORGED: Mac = [0x02, 0xba, 0xad, 0, 0, 1];

fn arrives(from: &Pod, to: &Pod, source: Mac) -> bool {
    let sniffer = Sniffer::on(to, "eth0");
    let target = raw::mac(to.link("eth0").unwrap()["address"].as_str().unwrap());
    let frame = raw::frame(target, source, b"whose is this?");
    raw::send(from, "eth0", &frame);
    sniffer.wait(Duration::from_millis(150), |seen| seen[..28] == frame[..28]).is_some()
}

fn spoofed_frames(bench: &mut Bench) {
    let checked = conf::with(&conf::v4(), &json!({"macspoofchk": true}));
    let (guarded, free, target) = (Pod::new(), Pod::new(), Pod::new());
    bench.attach(&checked, &guarded).add();
    bench.attach(&conf::v4(), &free).add();
    bench.attach(&conf::v4(), &target).add();
    let own = raw::mac(guarded.link("eth0").unwrap()["address"].as_str().unwrap());
    bench.see("an unguarded pod forges", arrives(&free, &target, FORGED));
    bench.see("a guarded pod forges", arrives(&guarded, &target, FORGED));
    bench.see("a guarded pod speaks as itself", arrives(&guarded, &target, own));
    bench.see("a guarded pod pings", first_ping(&guarded, "10.1.0.4"));
}

fn spoof_check_goes_with_its_pod(bench: &mut Bench) {
    let checked = conf::with(&conf::v4(), &json!({"macspoofchk": true}));
    let (going, staying, target) = (Pod::new(), Pod::new(), Pod::new());
    let result = bench.attach(&checked, &going).add();
    let kept = bench.attach(&checked, &staying).add();
    bench.attach(&conf::v4(), &target).add();
    let outcome = bench.attach(&checked, &going).try_del(Some(&result));
    bench.ended("DEL", &outcome);
    bench.see("the other pod forges", arrives(&staying, &target, FORGED));
    if bench.checks() {
        let outcome = bench.attach(&checked, &staying).try_check(&kept);
        bench.ended("CHECK of the other", &outcome);
    }
    bench.attach(&checked, &staying).del(Some(&kept));
    let rules = bench.node.run("nft list ruleset");
    bench.see("rules of it left", rules.matches("ether saddr").count());
}

fn isolated_ports(bench: &mut Bench) {
    let isolated = conf::with(&conf::v4(), &json!({"portIsolation": true}));
    let (one, two, free) = (Pod::new(), Pod::new(), Pod::new());
    bench.attach(&isolated, &one).add();
    bench.attach(&isolated, &two).add();
    bench.attach(&conf::v4(), &free).add();
    let own = raw::mac(one.link("eth0").unwrap()["address"].as_str().unwrap());
    bench.see("isolated to isolated", arrives(&one, &two, own));
    bench.see("isolated to free", arrives(&one, &free, own));
    bench.see("isolated to gateway", first_ping(&one, "10.1.0.1"));
}

fn a_container_interface_that_stays_down(bench: &mut Bench) {
    if !bench.lists() {
        return;
    }
    let pod = Pod::new();
    let config = conf::with(&conf::l2(), &json!({"disableContainerInterface": true}));
    bench.attach(&config, &pod).add();
    bench.pod_state("ADD", &pod);
    let outcome = bench.attach(&config, &pod).try_del(None);
    bench.ended("DEL", &outcome);
}

fn two_interfaces_of_one_pod(bench: &mut Bench) {
    let pod = Pod::new();
    let second = conf::with(
        &conf::v4(),
        &json!({"name": "others", "bridge": "cni1",
        "ipam": {"routes": null, "ranges": [[{"subnet": "10.2.0.0/24"}]]}}),
    );
    bench.attach(&conf::v4(), &pod).add();
    bench.attach(&second, &pod).ifname("net1").add();
    bench.pod_state("both", &pod);
    bench.leases("both");
    bench.attach(&second, &pod).ifname("net1").del(None);
    bench.pod_state("one", &pod);
    bench.leases("one");
}
