//! DEL in bad circumstances, each with each: what was done to the node, to CNI_NETNS and to
//! prevResult. (Each alone is in the bridge suite.)

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Pod, Snapshot, long};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::{gateway, routed};

const LEASES: &str = "/var/lib/cni/networks/pods";

/// What another program did to the node; VETH is the host's end.
const DAMAGES: [&str; 15] = [
    "true",
    "ip link del VETH",
    "ip link set VETH down",
    "ip link set VETH nomaster",
    "ip link set VETH alias ''",
    "ip link del cni0",
    "nft flush ruleset",
    "nft delete table bridge ferrule",
    "nft flush chain inet ferrule masq",
    "rm -r /var/lib/cni/networks/pods",
    "rm -r /var/lib/cni/networks",
    "rm -r /var/lib/cni/networks/.ferrule",
    "rm -r /run/ferrule",
    "truncate -s0 RECORD",
    "sed -i 2q RECORD",
];

/// What a runtime says of the result.
fn results(result: &Value, others: &Value) -> Vec<(&'static str, Option<Value>)> {
    let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": addresses(result)[0].clone() + "/24"}});
    vec![
        ("prevResult", Some(result.clone())),
        ("no prevResult", None),
        ("an older prevResult", Some(old)),
        ("a damaged prevResult", Some(json!({"cniVersion": "1.0.0", "ips": [{}]}))),
        ("another pod's prevResult", Some(others.clone())),
    ]
}

fn veth(result: &Value) -> &str {
    let names = result["interfaces"].as_array().into_iter().flatten().map(|link| &link["name"]);
    let mut veths = names.filter_map(Value::as_str).filter(|name| name.starts_with("veth"));
    veths.next().expect("the host's veth")
}

const NETNS: [&str; 5] = ["its own", "another pod's", "empty", "missing", "left out"];

/// One pod lives, another is deleted; the first goes on. The normal run takes a fifth of the
/// cases, such that each two things still meet.
#[test]
fn every_damage_with_every_netns_and_every_result() {
    every_case(&conf::full(), &DAMAGES);
}

/// What another program did to a node without a bridge.
const ROUTED_DAMAGES: [&str; 11] = [
    "true",
    "ip link del VETH",
    "ip link set VETH down",
    "ip addr flush dev VETH",
    "ip route flush dev VETH; ip -6 route flush dev VETH",
    "nft flush ruleset",
    "nft flush set inet ferrule rpfilter-links",
    "nft flush chain inet ferrule rpfilter",
    "rm -r /var/lib/cni/networks",
    "rm -r /run/ferrule",
    "truncate -s0 RECORD",
];

#[test]
fn every_damage_to_a_routed_pods_node() {
    every_case(&routed(&conf::full()), &ROUTED_DAMAGES);
}

fn every_case(network: &Value, damages: &[&str]) {
    let mut cases = 0;
    for (d, damage) in damages.iter().enumerate() {
        let bench = Bench::used(network);
        let neighbour = Pod::new();
        for (n, netns) in NETNS.into_iter().enumerate() {
            for r in (0..5).filter(|r| long() || (d + n + r) % 5 == 0) {
                case(&bench, network, &neighbour, damage, netns, r);
                cases += 1;
            }
        }
    }
    println!("\n{cases} cases of DEL: damage to the node, CNI_NETNS, prevResult");
}

fn case(bench: &Bench, network: &Value, neighbour: &Pod, damage: &str, netns: &str, result: usize) {
    let next = bench.node.attach(network, neighbour);
    let others = next.add();
    let with_neighbour = Snapshot::of(&bench.node);
    let attachment = bench.attach_plainly(network);
    let own = attachment.add();
    let (what, previous) = results(&own, &others).swap_remove(result);
    let case = format!("`{damage}`, CNI_NETNS {netns}, {what}");
    bench.node.sh(&script(damage, &own));
    let path = match netns {
        "its own" => Some(bench.pod.netns()),
        "another pod's" => Some(neighbour.netns()),
        "empty" => Some(String::new()),
        "missing" => Some("/run/netns/gone".to_owned()),
        _ => None,
    };
    let del = attachment.netns(path.as_deref());
    for _ in 0..2 {
        let outcome = del.try_del(previous.as_ref());
        assert_eq!(outcome.code, Some(0), "{case}: {outcome:#?}");
    }
    let left = with_neighbour.difference(&Snapshot::of(&bench.node));
    let of_the_pod = |line: &&str| line.contains(" + ") && line.contains(bench.pod.id());
    assert_eq!(left.lines().find(of_the_pod), None, "{case} left something of the pod");
    assert!(!bench.node.links().contains(&veth(&own).to_owned()), "{case}");
    assert_eq!(neighbour.links(), ["eth0"], "{case}");
    if !["ip link del cni0", "nft", "rm"].iter().any(|part| damage.contains(part)) {
        ping(neighbour, gateway(network));
        next.check(&others);
    }
    next.del(Some(&others));
    let left = bench.left();
    assert!(left.is_nothing(), "{case} left:\n{left}");
}

fn script(damage: &str, result: &Value) -> String {
    let hash = veth(result).trim_start_matches("veth");
    let record = format!("/run/ferrule/attachments/bridge-{hash}*");
    damage.replace("VETH", veth(result)).replace("RECORD", &record)
}

/// The pod's namespace is gone, and the link with it; rules and leases are not.
#[test]
fn of_a_pod_that_died() {
    for (with_result, netns) in [(true, true), (true, false), (false, true), (false, false)] {
        let bench = Bench::used(&conf::full());
        let pod = Pod::new();
        let attachment = bench.node.attach(&conf::full(), &pod);
        let attachment = if netns { attachment } else { attachment.netns(None) };
        let result = bench.node.attach(&conf::full(), &pod).add();
        drop(pod);
        let gone = || bench.node.veths().is_empty().then_some(());
        ferrule_tests::within(std::time::Duration::from_secs(10), gone).expect("the link goes");
        attachment.del(with_result.then_some(&result));
        let left = bench.left();
        assert!(left.is_nothing(), "{left}");
    }
}

/// The interface was taken out of the pod, or renamed in it.
#[test]
fn of_an_interface_that_was_moved() {
    let moves = ["ip link del eth0", "ip link set eth0 down; ip link set eth0 name eth7"];
    for script in moves {
        let bench = Bench::used(&conf::full());
        let result = bench.attach_plainly(&conf::full()).add();
        bench.pod.sh(script);
        bench.attach_plainly(&conf::full()).del(Some(&result));
        let left = bench.left();
        assert!(left.is_nothing(), "`{script}`: {left}");
    }
}

/// After DEL in a node that lost its bridge or its tables, the next pod works.
#[test]
fn the_next_pod_works() {
    for damage in DAMAGES {
        let bench = Bench::used(&conf::full());
        let attachment = bench.attach_plainly(&conf::full());
        let result = attachment.add();
        bench.node.sh(&script(damage, &result));
        attachment.del(Some(&result));
        let again = attachment.add();
        ping(&bench.pod, GATEWAY4);
        ping(&bench.pod, GATEWAY6);
        attachment.check(&again);
        attachment.del(Some(&again));
    }
}

/// As a reboot leaves a node: another boot ID, /run empty, no links and no rules; leases and
/// their index are on disk.
fn reboot(node: &Node) {
    boot(node, "22222222-2222-4222-8222-222222222222");
    node.sh("rm -r /run/ferrule; nft flush ruleset; ip link del cni0");
}

fn boot(node: &Node, id: &str) {
    // Beside the seam, which is no part of the node's state.
    node.write("/run/seam/boot_id", &format!("{id}\n"));
    node.sh("umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
        mount --bind /run/seam/boot_id /proc/sys/kernel/random/boot_id");
}

/// A runtime calls DEL for the pods from before the boot one by one, while new ones exist.
#[test]
fn after_a_reboot() {
    for (with_result, new_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let bench = Bench::fresh();
        let node = &bench.node;
        boot(node, "11111111-1111-4111-8111-111111111111");
        let old: Vec<Pod> = (0..3).map(|_| Pod::new()).collect();
        let results: Vec<Value> =
            old.iter().map(|pod| node.attach(&conf::full(), pod).add()).collect();
        for result in &results {
            node.run(&format!("ip link del {}", veth(result)));
        }
        reboot(node);
        let same = json!({"runtimeConfig": {"ips": addresses(&results[0])}});
        let attachment = node.attach(&conf::full(), &bench.pod).with(&same);
        let added = new_first.then(|| attachment.add());
        for (pod, result) in old.iter().zip(&results) {
            let late = node.attach(&conf::full(), pod).netns(Some("/run/netns/gone"));
            late.del(with_result.then_some(result));
        }
        if let Some(added) = &added {
            // It has an address that was one of theirs.
            assert_eq!(addresses(added), addresses(&results[0]));
            ping(&bench.pod, GATEWAY4);
            attachment.check(added);
            attachment.del(Some(added));
        }
        let left = node.sh(&format!("cd {LEASES}; ls | grep -v -e lock -e last_reserved || true"));
        assert_eq!(left, "", "leases of before the boot");
        let again = node.attach(&conf::dual(), &bench.pod).add();
        assert_eq!(addresses(&again).len(), 2);
        node.attach(&conf::dual(), &bench.pod).del(Some(&again));
    }
}
