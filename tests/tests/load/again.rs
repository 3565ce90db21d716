//! ADD right after DEL: DEL returns before the kernel is done with the link, and what it frees is
//! used at once.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::threads::at_once;
use ferrule_tests::{Node, Pod, Snapshot, lingering};
use serde_json::{Value, json};

use crate::crowd::{Crowd, pods};
use crate::{count, report, steady, timed};

/// How many pods are deleted at once.
const WAVE: usize = 64;

/// A network with just so many addresses, both families, so that each comes back at once.
fn of_few(network: &Value, pods: usize) -> Value {
    let (last4, last6) = (format!("10.1.0.{}", pods + 1), format!("fd00:1::{:x}", pods + 1));
    let ranges = json!([
        [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.2", "rangeEnd": last4}],
        [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::2", "rangeEnd": last6}],
    ]);
    conf::with(network, &json!({"ipam": {"ranges": ranges}}))
}

/// The same by the plugin bgp, where a pod's gateway is its link's.
fn routed() -> Value {
    let others = json!({"bridge": null, "isGateway": null, "macspoofchk": null,
        "type": "bgp", "ipam": {"routes": null}});
    conf::with(&conf::full(), &others)
}

/// The same name, addresses and namespace, and the first packets arrive, both ways.
fn again(network: &Value, gateways: [&str; 2]) {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&of_few(network, 1), &pod);
    let cycle = || {
        let result = attachment.add();
        gateways.iter().for_each(|gateway| ping(&pod, gateway));
        ping(&node, "10.1.0.2");
        ping(&node, "fd00:1::2");
        attachment.del(Some(&result));
    };
    cycle();
    let before = steady(&node);
    let cycles = count(60, 1000);
    let ((), elapsed) = timed(|| (0..cycles).for_each(|_| cycle()));
    assert_same(&before, &steady(&node));
    report(&format!("ADD right after DEL, by {}: {cycles} in {elapsed} ms", network["type"]));
}

#[test]
fn the_same_pod_comes_back_and_its_first_packets_arrive() {
    again(&conf::full(), [GATEWAY4, GATEWAY6]);
}

#[test]
fn the_same_routed_pod_comes_back_and_its_first_packets_arrive() {
    again(&routed(), ["169.254.1.1", "fe80::1%eth0"]);
}

/// All addresses of the network come back at once, and at most a process for each link lingers.
#[test]
fn a_wave_of_dels_frees_every_address_for_the_next_wave() {
    let node = Node::new();
    let network = of_few(&conf::full(), WAVE);
    let before = steady(&node);
    let mut pods = pods(WAVE);
    let mut lingered = 0;
    for _ in 0..count(3, 20) {
        let crowd = Crowd::add(&node, &network, pods);
        crowd.assert_unique();
        crowd.del();
        let left = lingering::of(node.ns()).len();
        assert!(left <= WAVE, "{left} processes linger after {WAVE} DELs");
        lingered = lingered.max(left);
        pods = crowd.members.into_iter().map(|(pod, _)| pod).collect();
    }
    let gone = at_once(&pods, |_, pod| pod.links().is_empty());
    assert!(gone.iter().all(|gone| *gone));
    assert_same(&before, &steady(&node));
    assert!(Snapshot::of(&node).lines("processes").is_empty());
    report(&format!("{WAVE} DELs at once and the next ADDs: at most {lingered} lingered"));
}
