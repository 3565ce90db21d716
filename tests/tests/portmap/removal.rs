//! DEL, GC and failed ADDs: everything of the attachment goes, and nothing else.

use ferrule_tests::conf::{self, with};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, OUTSIDE4};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Bins, Node, Outside, Pod};
use serde_json::{Value, json};

use crate::{Mapped, at, ip, port, port_on, portmap, refused, rules, state, tcp};

fn ports() -> Value {
    json!([port(8080, 80, "tcp"), port(8053, 53, "udp"), port_on(NODE4, 8081, 80, "tcp")])
}

const RECORDS: &str = "/run/ferrule/attachments";

fn bridges_switch() -> String {
    format!("net/ipv4/conf/{}/route_localnet", conf::BRIDGE)
}

/// A pod with host ports is removed by `del`; nothing is left.
fn removed(main: &Value, keys: &Value, del: impl Fn(&Mapped<'_>)) {
    let (node, pod) = (Node::new(), Pod::new());
    let _outside = Outside::beside(&node);
    let main_pod = Mapped::without_ports(&node, &pod, main, &with(&portmap(&ports()), keys));
    let before = state(&node);
    main_pod.add_ports();
    assert!(!rules(&node).is_empty());
    del(&main_pod);
    assert_eq!(rules(&node), "");
    assert_eq!(node.sysctl(&bridges_switch()), "0", "the node's loopback is closed again");
    assert_same(&before, &state(&node));
    refused(&node, &at(NODE4, 8080));
    // Once more is no error.
    main_pod.ports.del(None);
    assert_same(&before, &state(&node));
}

fn in_every_mode(del: impl Fn(&Mapped<'_>)) {
    for keys in [json!({}), json!({"snat": false}), json!({"masqAll": true})] {
        removed(&conf::dual(), &keys, &del);
    }
}

#[test]
fn with_all_that_add_had() {
    in_every_mode(|mapped| drop(mapped.try_ports("DEL").ok()));
}

#[test]
fn without_prev_result_netns_and_mappings() {
    in_every_mode(|mapped| {
        let bare = mapped.ports.clone().netns(None);
        bare.with(&json!({"runtimeConfig": null, "snat": null, "masqAll": null})).del(None);
    });
}

#[test]
fn without_a_record() {
    in_every_mode(|mapped| {
        mapped.node.sh(&format!("rm {RECORDS}/portmap-*"));
        mapped.ports.clone().netns(None).with(&json!({"runtimeConfig": null})).del(None);
    });
}

#[test]
fn with_a_configuration_that_has_become_invalid() {
    let invalid = json!({"backend": "smoke signals", "snat": "yes", "conditionsV4": ["-d", "x"],
        "runtimeConfig": {"portMappings": [{"hostPort": -1}]}});
    in_every_mode(|mapped| mapped.ports.clone().with(&invalid).del(None));
}

#[test]
fn after_the_main_plugin() {
    let (node, pod) = (Node::new(), Pod::new());
    let mapped = Mapped::add(&node, &pod, &conf::dual(), &portmap(&ports()));
    mapped.main.del(Some(&mapped.result));
    mapped.try_ports("DEL").ok();
    assert_eq!(rules(&node), "");
    assert!(!node.sh(&format!("ls {RECORDS}")).contains("portmap"));
}

#[test]
fn after_a_flush_of_nftables() {
    let (node, pod) = (Node::new(), Pod::new());
    let mapped = Mapped::without_ports(&node, &pod, &conf::dual(), &portmap(&ports()));
    let before = state(&node);
    for again in [false, true] {
        mapped.add_ports();
        node.run("nft flush ruleset");
        if again {
            mapped.add_ports();
        }
        mapped.try_ports("DEL").ok();
        assert!(!node.sh(&format!("ls {RECORDS}")).contains("portmap"));
        assert_eq!(node.sysctl(&bridges_switch()), "0", "the node's loopback is closed again");
        assert_same(&before, &state(&node));
    }
}

/// The flush takes the guard and the link's old value along, and a pod that comes then finds the switch
/// on.
#[test]
fn of_pods_before_and_after_a_flush_the_last_closes_the_nodes_loopback() {
    for old_first in [false, true] {
        let (node, [one, two]) = (Node::new(), [Pod::new(), Pod::new()]);
        let with_port = |at| portmap(&json!([port(at, 80, "tcp")]));
        let old = Mapped::add(&node, &one, &conf::v4(), &with_port(8080));
        node.run("nft flush ruleset");
        let new = Mapped::add(&node, &two, &conf::v4(), &with_port(8081));
        let (first, last) = if old_first { (&old, &new) } else { (&new, &old) };
        first.try_ports("DEL").ok();
        if old_first {
            assert_eq!(node.sysctl(&bridges_switch()), "1");
            new.try_ports("CHECK").ok();
        }
        last.try_ports("DEL").ok();
        assert_eq!(node.sysctl(&bridges_switch()), "0", "old first: {old_first}");
        assert_eq!(rules(&node), "");
    }
}

/// The reference leaves the ports of a network that was renamed (issue 752 of its repository).
#[test]
fn gc_of_the_old_name_removes_what_a_renamed_network_left() {
    let (node, pod) = (Node::new(), Pod::new());
    let before = state(&node);
    let mapped = Mapped::add(&node, &pod, &conf::dual(), &portmap(&ports()));
    let renamed = mapped.ports.clone().with(&json!({"name": "renamed"}));
    renamed.del(None);
    assert!(!rules(&node).is_empty(), "another network's");
    mapped.ports.gc(&[]).ok();
    assert_eq!(rules(&node), "");
    mapped.main.del(None);
    assert_same(&before, &state(&node));
}

#[test]
fn gc_keeps_valid_attachments_and_other_networks() {
    let node = Node::new();
    let pods: Vec<Pod> = (0..3).map(|_| node.pod()).collect();
    let of = |nth: usize, name: &str| {
        let ports = json!([port(8080 + u16::try_from(nth).unwrap(), 80, "tcp")]);
        let subnet = format!("10.{}.0.0/24", name.len());
        let network = json!({"name": name, "ipam": {"ranges": [[{"subnet": subnet}]]}});
        let main = with(&with(&conf::v4(), &network), &json!({"bridge": format!("{name}0")}));
        Mapped::add(&node, &pods[nth], &main, &with(&portmap(&ports), &json!({"name": name})))
    };
    let all = [of(0, "pods"), of(1, "pods"), of(2, "pods2")];
    all[0].ports.gc(&[(pods[0].id(), "eth0")]).ok();
    for (mapped, lives) in all.iter().zip([true, false, true]) {
        assert_eq!(mapped.try_ports("CHECK").code == Some(0), lives);
    }
    node.sh(&format!("rm {RECORDS}/portmap-*"));
    all[0].ports.gc(&[]).ok();
    assert!(!rules(&node).contains("8080") && rules(&node).contains("8082"));
}

#[test]
fn the_ports_of_others_stay() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    let first = Mapped::add(&node, &one, &conf::v4(), &portmap(&json!([port(8080, 80, "tcp")])));
    let before = rules(&node);
    let second = Mapped::add(&node, &two, &conf::v4(), &portmap(&json!([port(8081, 80, "tcp")])));
    second.try_ports("DEL").ok();
    assert_eq!(rules(&node), before);
    first.try_ports("CHECK").ok();
    assert_eq!(tcp(&node, "127.0.0.1:8080", &one, 80), Ok(ip("10.1.0.1")));
    assert_eq!(tcp(&outside, &at(NODE4, 8080), &one, 80), Ok(ip(OUTSIDE4)));
    refused(&node, "127.0.0.1:8081");
}

/// The reference made them, before its executables were replaced.
#[test]
fn what_the_reference_made_is_removed_whole() {
    for backend in ["iptables", "nftables"] {
        let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
        let of = |pod: &Pod, host: u16| {
            let keys = json!({"backend": backend, "cniVersion": "1.0.0"});
            let ports = with(&portmap(&json!([port(host, 80, "tcp")])), &keys);
            let main = with(&conf::dual(), &json!({"cniVersion": "1.0.0"}));
            let mapped = Mapped::without_ports(&node, pod, &main, &ports);
            let theirs = mapped.ports.clone().by(&Bins::reference());
            theirs.call("ADD", Some(&mapped.result)).run(&node).ok();
            mapped
        };
        let (first, _second) = (of(&one, 8080), of(&two, 8081));
        let count = |what: &str| node.run("nft list ruleset").matches(what).count();
        let (mine, others) = (count("8080"), count("8081"));
        assert!(mine > 0 && mine == others);
        first.ports.clone().netns(None).with(&json!({"runtimeConfig": null})).del(None);
        assert_eq!((count("8080"), count("8081")), (0, others), "{backend}");
        assert_eq!(count(one.id()), 0, "{backend}");
    }
}

/// The switch that the administrator had on stays on.
#[test]
fn route_localnet_gets_its_old_value() {
    for old in ["0", "1"] {
        let (node, pod) = (Node::new(), Pod::new());
        let mapped =
            Mapped::without_ports(&node, &pod, &conf::v4(), &portmap(&json!([port(1, 2, "tcp")])));
        let switch = bridges_switch();
        node.set_sysctl(&switch, old);
        mapped.add_ports();
        assert_eq!(node.sysctl(&switch), "1");
        mapped.try_ports("DEL").ok();
        assert_eq!(node.sysctl(&switch), old);
    }
}

#[test]
fn a_failed_add_leaves_nothing() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let taken = json!([port(8080, 80, "tcp")]);
    let first = Mapped::add(&node, &one, &conf::dual(), &portmap(&taken));
    let more = json!([port(8079, 80, "tcp"), port(8080, 80, "tcp"), port(8081, 80, "udp")]);
    let second = Mapped::without_ports(&node, &two, &conf::dual(), &portmap(&more));
    let before = state(&node);
    second.try_ports("ADD").err();
    assert_same(&before, &state(&node));
    first.try_ports("CHECK").ok();
}

#[test]
fn the_last_host_port_leaves_a_masqueraded_network_as_it_was() {
    let (node, pod) = (Node::new(), Pod::new());
    let mapped =
        Mapped::without_ports(&node, &pod, &conf::full(), &portmap(&json!([port(1, 2, "tcp")])));
    let before = node.run("nft -s list ruleset");
    mapped.add_ports();
    mapped.try_ports("DEL").ok();
    assert_eq!(node.run("nft -s list ruleset"), before);
    mapped.add_ports();
    let whole = rules(&node);
    mapped.main.del(None);
    assert_eq!(rules(&node), whole, "the main plugin's DEL leaves portmap's");
    mapped.try_ports("DEL").ok();
    assert_eq!(node.run("nft list ruleset"), "");
}
