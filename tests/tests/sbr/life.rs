//! ADD again, CHECK, DEL and GC.

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};
use std::thread;

use crate::{Two, network, routing};

#[test]
fn del_gives_the_pod_its_routes_back() {
    for keys in [json!({}), json!({"addSourceHints": true}), json!({"table": 50})] {
        let (node, pod) = (Node::new(), Pod::new());
        let two = Two::new(&node, &pod, &keys);
        let first = two.main.add();
        pod.settle();
        let before = routing(&pod);
        for result in [Some(&first), None] {
            let added = two.sbr.call("ADD", Some(&first)).run(&node).ok();
            assert_ne!(routing(&pod), before);
            two.sbr.check(&added);
            two.sbr.del(result);
            assert_eq!(routing(&pod), before, "{keys}");
        }
        two.sbr.del(None);
    }
}

#[test]
fn a_repeated_add_is_one() {
    let (node, pod) = (Node::new(), Pod::new());
    let two = Two::new(&node, &pod, &json!({}));
    let first = two.main.add();
    pod.settle();
    let before = routing(&pod);
    two.sbr.call("ADD", Some(&first)).run(&node).ok();
    let once = routing(&pod);
    two.sbr.call("ADD", Some(&first)).run(&node).ok();
    assert_eq!(routing(&pod), once);
    two.sbr.del(None);
    assert_eq!(routing(&pod), before);
}

#[test]
fn rules_go_though_the_interface_is_gone() {
    let (node, pod) = (Node::new(), Pod::new());
    let two = Two::new(&node, &pod, &json!({}));
    two.add();
    pod.run("ip link del net1");
    assert!(pod.run("ip rule").contains("from 10.2.0.2"));
    two.sbr.del(None);
    assert!(!pod.run("ip rule").contains("from 10.2.0.2"));
}

#[test]
fn del_without_a_namespace_and_gc_leave_no_record() {
    let (node, pod) = (Node::new(), Pod::new());
    let two = Two::new(&node, &pod, &json!({}));
    let records = || node.sh("ls /run/ferrule/attachments | grep sbr || true");
    for end in ["", "/run/netns/none", "gc"] {
        let first = two.main.add();
        two.sbr.call("ADD", Some(&first)).run(&node).ok();
        assert_ne!(records(), "");
        if end == "gc" {
            two.sbr.gc(&[(pod.id(), "net1")]).ok();
            assert_ne!(records(), "");
            two.sbr.gc(&[]).ok();
        } else {
            two.sbr.clone().netns(Some(end)).del(None);
        }
        assert_eq!(records(), "", "{end}");
        two.main.del(None);
        pod.sh(
            "for f in -4 -6; do while ip $f rule | grep -q 'lookup 10'; do
            ip $f rule del priority $(ip $f rule | grep -m1 'lookup 10' | cut -d: -f1); done; done",
        );
    }
}

#[test]
fn another_pods_routes_are_not_touched_by_a_stale_record() {
    let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
    let two = Two::new(&node, &pod, &json!({}));
    two.add();
    node.attach(&network(3), &other).ifname("net1").add();
    other.settle();
    let before = routing(&other);
    two.sbr.clone().netns(Some(&other.netns())).del(None);
    assert_eq!(routing(&other), before);
}

#[test]
fn check_names_each_alteration() {
    let alterations = [
        ("ip rule del from 10.2.0.2", "no rule leads packets from 10.2.0.2 to table 100"),
        ("ip -6 rule del from fd00:2::2", "no rule leads packets from fd00:2::2 to table 101"),
        ("ip route del default table 100", "the route 0.0.0.0/0 via 10.2.0.1 table 100 is missing"),
        ("ip -6 route flush table 101", "the route ::/0 via fd00:2::1 table 101 is missing"),
        (
            "ip route add 10.2.0.0/24 dev net1 src 10.2.0.2",
            "the route 10.2.0.0/24 is in the main table again",
        ),
        ("ip link del net1", "net1"),
    ];
    for (script, wanted) in alterations {
        let (node, pod) = (Node::new(), Pod::new());
        let two = Two::new(&node, &pod, &json!({}));
        let result = two.add();
        two.sbr.check(&result);
        pod.run(script);
        let outcome = two.sbr.try_check(&result);
        assert_ne!(outcome.code, Some(0), "after `{script}`: {:#?}", routing(&pod));
        outcome.err().expect(101, wanted);
    }
}

#[test]
fn two_networks_at_once_take_two_tables() {
    for _ in 0..5 {
        let (node, pod) = (Node::new(), Pod::new());
        let of = |number: u32| {
            let ifname = format!("net{number}");
            let first = node.attach(&network(number), &pod).ifname(&ifname).add();
            let name = json!({"name": format!("pods{number}"), "type": "sbr"});
            let config = with(&json!({"cniVersion": "1.1.0"}), &name);
            (node.attach(&config, &pod).ifname(&ifname), first)
        };
        let networks: Vec<_> = (2..6).map(of).collect();
        thread::scope(|scope| {
            for (sbr, first) in &networks {
                scope.spawn(|| sbr.call("ADD", Some(first)).run(&node).ok());
            }
        });
        let rules = pod.run("ip rule");
        for table in ["100", "102", "104", "106"] {
            assert_eq!(rules.matches(&format!("lookup {table}")).count(), 1, "{rules}");
        }
    }
}

#[test]
fn an_add_that_fails_leaves_the_routes_as_they_were() {
    let (node, pod) = (Node::new(), Pod::new());
    let two = Two::new(&node, &pod, &json!({"gateways": ["192.0.2.1"]}));
    let first = two.main.add();
    pod.settle();
    let before = routing(&pod);
    let error = two.sbr.call("ADD", Some(&first)).run(&node).err();
    error.expect(100, "failed to replace route 0.0.0.0/0 via 192.0.2.1 table 100");
    assert_eq!(routing(&pod), before);
    assert_eq!(node.sh("ls /run/ferrule/attachments | grep sbr || true"), "");
}

#[test]
fn refusals_name_key_and_value() {
    let (node, pod) = (Node::new(), Pod::new());
    let first = node.attach(&network(2), &pod).ifname("net1").add();
    let add = |keys: &Value, previous: Option<&Value>| {
        Two::second(&node, &pod, keys).sbr.call("ADD", previous).run(&node).err()
    };
    let four = |list: &[&str]| json!({"gateways": list});
    add(&four(&["a"]), Some(&first)).expect(7, "invalid static gateway IP address: a");
    add(&four(&["10.0.0.1", "10.0.0.2"]), Some(&first))
        .expect(7, "gateways list contains multiple IPv4 addresses: 10.0.0.1 and 10.0.0.2");
    add(&four(&["10.0.0.1", "fd00::1", "fd00::2"]), Some(&first))
        .expect(7, "gateways list cannot contain more than 2 entries");
    add(&json!({"table": -1}), Some(&first)).expect(7, "invalid table -1");
    add(&json!({"table": "x"}), Some(&first)).expect(7, "table: invalid type");
    add(&json!({}), None).expect(7, "This plugin must be called as chained plugin");
    let bare = with(&first, &json!({"ips": null}));
    add(&json!({}), Some(&bare)).expect(7, "No IP addresses supplied on interface: net1");
}
