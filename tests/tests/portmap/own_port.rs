//! A pod that connects to its own host ports, whatever the keys of its bridge.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6, with};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6};
use ferrule_tests::{Node, Outcome, Outside, Pod};
use serde_json::{Value, json};

use crate::{Mapped, at, bridge_netfilter, ip, port, portmap, tcp, udp, unreachable};

const WARNING: &str = "does not reach its own host ports";

fn ports(keys: &Value) -> Value {
    with(&portmap(&json!([port(8080, 80, "tcp"), port(8053, 53, "udp")])), keys)
}

/// A node with br_netfilter on or off, and a pod of it.
struct Bench {
    node: Node,
    pod: Pod,
    _outside: Outside,
}

impl Bench {
    fn new(frames_pass: bool) -> Self {
        let node = Node::new();
        let outside = Outside::beside(&node);
        bridge_netfilter(&node, frames_pass);
        Self { pod: node.pod(), _outside: outside, node }
    }

    /// ADD of bridge with these keys, and of portmap with those.
    fn mapped(&self, bridge: &Value, keys: &Value) -> (Mapped<'_>, Outcome) {
        let main = with(&conf::dual(), bridge);
        let mapped = Mapped::without_ports(&self.node, &self.pod, &main, &ports(keys));
        let added = mapped.try_ports("ADD");
        added.ok();
        (mapped, added)
    }

    #[track_caller]
    fn is_answered(&self, what: &str) {
        let addresses =
            [(NODE4, GATEWAY4), (NODE6, GATEWAY6), (GATEWAY4, GATEWAY4), (GATEWAY6, GATEWAY6)];
        for (address, seen) in addresses {
            let answers = [
                tcp(&self.pod, &at(address, 8080), &self.pod, 80),
                udp(&self.pod, &at(address, 8053), &self.pod, 53),
            ];
            assert_eq!(answers, [Ok(ip(seen)), Ok(ip(seen))], "{what}, {address}");
        }
    }
}

#[test]
fn without_br_netfilter_every_bridge_answers() {
    for bridge in [
        json!({}),
        json!({"ipMasq": true}),
        json!({"hairpinMode": true, "ipMasq": true}),
        json!({"promiscMode": true}),
        json!({"macspoofchk": true, "ipMasq": true}),
        json!({"portIsolation": true}),
    ] {
        let bench = Bench::new(false);
        let (_, added) = bench.mapped(&bridge, &json!({}));
        assert!(!added.stderr.contains(WARNING), "{bridge}: {}", added.stderr);
        bench.is_answered(&bridge.to_string());
    }
}

#[test]
fn with_br_netfilter_a_bridge_in_hairpin_mode_answers() {
    for (bridge, keys) in [
        (json!({"hairpinMode": true}), json!({})),
        (json!({"hairpinMode": true, "ipMasq": true}), json!({})),
        (json!({"hairpinMode": true, "macspoofchk": true}), json!({"masqAll": true})),
    ] {
        let bench = Bench::new(true);
        let (_, added) = bench.mapped(&bridge, &keys);
        assert!(!added.stderr.contains(WARNING), "{bridge}: {}", added.stderr);
        bench.is_answered(&bridge.to_string());
    }
}

/// The kernel bridges what a host port translated, and sends no frame back to where it came from.
#[test]
fn with_br_netfilter_and_no_hairpin_mode_add_and_check_say_what_to_set() {
    for (bridge, remedy) in [
        (json!({}), "; set hairpinMode to true in the object"),
        (json!({"ipMasq": true}), "; set hairpinMode to true in the object"),
        (json!({"promiscMode": true}), "; unset promiscMode and set hairpinMode to true"),
        (json!({"hairpinMode": true, "portIsolation": true}), "; unset portIsolation in the"),
    ] {
        let bench = Bench::new(true);
        let (mapped, added) = bench.mapped(&bridge, &json!({}));
        let checked = mapped.try_ports("CHECK");
        checked.ok();
        for said in [added.stderr, checked.stderr] {
            assert!(said.contains(&format!("10.1.0.2 and fd00:1::2 {WARNING}")), "{said}");
            assert!(said.contains(remedy), "{said}");
        }
        for address in [NODE4, NODE6] {
            unreachable(&bench.pod, &at(address, 8080));
        }
        assert!(udp(&bench.pod, &at(NODE4, 8053), &bench.pod, 53).is_err());
    }
}

/// What was warned of is that, and no more: the remedy helps without another ADD.
#[test]
fn the_warning_is_of_the_family_whose_frames_pass_and_its_remedy_helps() {
    let bench = Bench::new(false);
    bench.node.set_sysctl("net/bridge/bridge-nf-call-ip6tables", "1");
    let (mapped, added) = bench.mapped(&json!({}), &json!({}));
    assert!(added.stderr.contains(&format!("pod fd00:1::2 {WARNING}")), "{}", added.stderr);
    assert_eq!(tcp(&bench.pod, &at(NODE4, 8080), &bench.pod, 80), Ok(ip(GATEWAY4)));
    unreachable(&bench.pod, &at(NODE6, 8080));
    bench.node.sh("for port in /sys/class/net/cni0/brif/*; do echo 1 >$port/hairpin_mode; done");
    let checked = mapped.try_ports("CHECK");
    checked.ok();
    assert!(!checked.stderr.contains(WARNING), "{}", checked.stderr);
    bench.is_answered("after the remedy");
}

/// The bridge's own switch counts as that of the namespace.
#[test]
fn a_bridge_that_calls_the_hooks_itself_is_warned_of() {
    let bench = Bench::new(false);
    bench.node.run("ip link add cni0 type bridge nf_call_iptables 1");
    let (_, added) = bench.mapped(&json!({}), &json!({}));
    assert!(added.stderr.contains(&format!("pod 10.1.0.2 {WARNING}")), "{}", added.stderr);
    unreachable(&bench.pod, &at(NODE4, 8080));
    assert_eq!(tcp(&bench.pod, &at(NODE6, 8080), &bench.pod, 80), Ok(ip(GATEWAY6)));
}

#[test]
fn without_snat_no_pod_expects_to_reach_itself_and_add_says_nothing() {
    let bench = Bench::new(true);
    let (_, added) = bench.mapped(&json!({}), &json!({"snat": false}));
    assert!(!added.stderr.contains(WARNING), "{}", added.stderr);
}
