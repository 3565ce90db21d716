//! With macspoofchk no frame of a pod moves what the bridge learned of another pod.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ferrule_tests::node::Place;
use ferrule_tests::packets::{ping, udp_source};
use ferrule_tests::raw::{self, Mac};
use ferrule_tests::{Node, Pod, conf};
use serde_json::{Value, json};

fn checked() -> Value {
    conf::with(&conf::dual(), &json!({"macspoofchk": true}))
}

fn own_mac(pod: &Pod) -> Mac {
    raw::mac(pod.link("eth0").unwrap()["address"].as_str().unwrap())
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The sixteen group addresses of IEEE 802.1D, and others that a bridge treats each in its own way.
fn destinations(victim: Mac, bridge: Mac) -> Vec<Mac> {
    let reserved = (0..16).map(|last| [0x01, 0x80, 0xc2, 0, 0, last]);
    let others = [
        [0xff; 6],
        [0x01, 0, 0x5e, 0, 0, 1],
        [0x01, 0x80, 0xc2, 0, 0, 0x10],
        [0x01, 0x0c, 0xcd, 0, 0, 1],
        [0x33, 0x33, 0, 0, 0, 1],
        [0x02, 0xba, 0xad, 0, 0, 9],
        victim,
        bridge,
    ];
    reserved.chain(others).collect()
}

/// What a frame may carry: its type or, for LLC, its length, and the beginning of the payload.
fn contents(source: Mac) -> Vec<Vec<u8>> {
    // A configuration BPDU (IEEE 802.1D section 9.3.1) of a better root, with the flag for a change
    // of topology, and a notification of one.
    let root = [0, 0, 0, 0, 0, 0, 0, 1];
    let times = [0, 0, 20, 0, 2, 0, 15, 0];
    let mut config = [&[0, 38, 0x42, 0x42, 3, 0, 0, 0, 0, 1][..], &root, &[0; 4]].concat();
    config.extend([&root[..], &[0x80, 1, 0], &times[..7]].concat());
    let change = vec![0, 7, 0x42, 0x42, 3, 0, 0, 0x80, 0];
    let arp = [&[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2][..], &source, &[10, 1, 0, 99], &[0xff; 6]];
    let arp = [&arp.concat()[..], &[10, 1, 0, 99]].concat();
    // Types: the experimental one, IPv4, IPv6, LLDP, PAUSE, EAPOL, slow protocols, MRP, CFM, GVRP.
    let types: [[u8; 2]; 10] = [
        [0x88, 0xb5],
        [0x08, 0x00],
        [0x86, 0xdd],
        [0x88, 0xcc],
        [0x88, 0x08],
        [0x88, 0x8e],
        [0x88, 0x09],
        [0x88, 0xe3],
        [0x89, 0x02],
        [0x88, 0xf5],
    ];
    let plain = types.map(|kind| [&kind[..], &[1, 2, 3, 4]].concat());
    plain.into_iter().chain([config, change, arp]).collect()
}

/// Frames to one destination in every dress: each content, without a tag and behind tags of both
/// kinds.
fn frames(to: Mac, source: Mac) -> Vec<Vec<u8>> {
    let tags: [&[u8]; 6] = [
        &[],
        &[0x81, 0, 0, 0],
        &[0x81, 0, 0, 1],
        &[0x81, 0, 0, 5],
        &[0x88, 0xa8, 0, 1],
        &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 5],
    ];
    let mut all = Vec::new();
    for content in contents(source) {
        for tag in tags {
            let mut frame = [&to[..], &source, tag, &content].concat();
            frame.resize(frame.len().max(60), 0);
            all.push(frame);
        }
    }
    all
}

/// The ports that the bridge has learned a MAC address on.
fn learned(node: &Node, mac: Mac) -> Vec<String> {
    let entries = node.json("bridge -j fdb show br cni0");
    let of_mac = entries.as_array().into_iter().flatten().filter(|e| e["mac"] == text(mac));
    let learned = of_mac.filter(|entry| entry["state"] != "permanent");
    learned.map(|entry| entry["ifname"].as_str().unwrap().to_owned()).collect()
}

/// A victim and an attacker, both checked, on a bridge that a script makes, if it makes one.
struct Scene {
    node: Node,
    victim: Pod,
    attacker: Pod,
    port: String,
}

impl Scene {
    fn new(config: &Value, bridge: &str) -> Scene {
        let (node, victim, attacker) = (Node::new(), Pod::new(), Pod::new());
        node.sh(bridge);
        let result = node.attach(config, &victim).add();
        node.attach(config, &attacker).add();
        Scene { port: crate::veth(&result).to_owned(), node, victim, attacker }
    }

    /// The bridge knows the victim, and nothing that the attacker sends changes that.
    fn holds(&self, speak: impl Fn()) {
        let (victim, bridge) = (own_mac(&self.victim), self.bridge());
        speak();
        let mut moved = Vec::new();
        for to in destinations(victim, bridge) {
            raw::send_all(&self.attacker, "eth0", &frames(to, victim));
            // The entry of each VLAN counts.
            let ports = learned(&self.node, victim);
            if ports.is_empty() || ports.iter().any(|port| *port != self.port) {
                moved.push((text(to), ports));
                speak();
            }
        }
        assert_eq!(moved, [], "frames to these moved the victim away from {}", self.port);
    }

    fn bridge(&self) -> Mac {
        raw::mac(&self.node.read("/sys/class/net/cni0/address"))
    }
}

fn holds_on(bridge: &str) {
    let scene = Scene::new(&checked(), bridge);
    scene.holds(|| ping(&scene.victim, "10.1.0.1"));
    udp_source(&scene.node, &scene.victim, "10.1.0.2").expect("the victim gets what is sent to it");
    udp_source(&scene.attacker, &scene.victim, "fd00:1::2").expect("and over IPv6");
}

#[test]
fn no_frame_moves_it_on_a_bridge_that_we_make() {
    holds_on("true");
}

#[test]
fn no_frame_moves_it_on_a_bridge_that_was_there() {
    holds_on("ip link add cni0 type bridge; ip link set cni0 up");
}

#[test]
fn no_frame_moves_it_where_the_bridge_forwards_reserved_groups() {
    holds_on("ip link add cni0 type bridge group_fwd_mask 0xfff8; ip link set cni0 up");
}

/// There the bridge itself takes BPDUs.
#[test]
fn no_frame_moves_it_on_a_bridge_with_stp() {
    holds_on("ip link add cni0 type bridge stp_state 1 forward_delay 200; ip link set cni0 up");
}

#[test]
fn no_frame_moves_it_in_a_vlan() {
    let config = conf::with(&checked(), &json!({"vlan": 5}));
    if !crate::keys::kernel_filters_vlans() {
        let (node, pod) = (Node::new(), Pod::new());
        node.attach(&config, &pod).try_add().err().expect(2, "cannot filter by VLAN");
        return;
    }
    let scene = Scene::new(&config, "true");
    scene.holds(|| ping(&scene.victim, "10.1.0.1"));
    udp_source(&scene.node, &scene.victim, "10.1.0.2").expect("the victim gets what is sent to it");
}

/// A bridge of a network without the check, which another network with the check joins.
#[test]
fn a_network_with_the_check_that_comes_later_alters_the_bridge() {
    let (node, early) = (Node::new(), Pod::new());
    let first = node.attach(&conf::with(&conf::l2(), &json!({"name": "other"})), &early);
    let result = first.add();
    let (victim, attacker) = (Pod::new(), Pod::new());
    let port = crate::veth(&node.attach(&checked(), &victim).add()).to_owned();
    node.attach(&checked(), &attacker).add();
    let scene = Scene { node, victim, attacker, port };
    scene.holds(|| ping(&scene.victim, "10.1.0.1"));
    scene.node.attach(&conf::with(&conf::l2(), &json!({"name": "other"})), &early).check(&result);
}

/// What was not requested stays: a bridge of the administrator's may learn from such frames.
#[test]
fn a_bridge_that_was_there_is_altered_only_for_the_check() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge; ip link set cni0 up");
    let option =
        || node.link("cni0").unwrap()["linkinfo"]["info_data"]["no_linklocal_learn"].clone();
    let before = option();
    node.attach(&conf::v4(), &pod).add();
    assert_eq!(option(), before);
    node.attach(&checked(), &Pod::new())
        .with(&json!({"name": "checked", "isGateway": false}))
        .add();
    assert_eq!(option(), json!(1));
}

#[test]
fn check_sees_a_bridge_that_learns_again() {
    let (node, pod) = (Node::new(), Pod::new());
    let attachment = node.attach(&checked(), &pod);
    let result = attachment.add();
    attachment.check(&result);
    node.run("ip link set cni0 type bridge no_linklocal_learn 0");
    let error = attachment.try_check(&result).err();
    assert!(error.text().contains("no_linklocal_learn"), "{error:?}");
    // The next pod's ADD repairs it.
    node.attach(&checked(), &Pod::new()).add();
    attachment.check(&result);
}

/// A pod that sends from the first moment on, before its ADD is done.
#[test]
fn no_frame_of_a_pod_whose_add_is_under_way_moves_it() {
    let (node, victim) = (Node::new(), Pod::new());
    let attachment = node.attach(&checked(), &victim);
    let port = crate::veth(&attachment.add()).to_owned();
    ping(&victim, "10.1.0.1");
    let mac = own_mac(&victim);
    for _ in 0..8 {
        let attacker = Pod::new();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    attacker.try_run("ip link set eth0 up");
                    if attacker.links().contains(&"eth0".to_owned()) {
                        let frame = raw::frame([0x01, 0x80, 0xc2, 0, 0, 0x0e], mac, b"early");
                        raw::send(&attacker, "eth0", &frame);
                        raw::send(&attacker, "eth0", &raw::frame([0xff; 6], mac, b"early"));
                    }
                }
            });
            let other = node.attach(&checked(), &attacker);
            let added = other.try_add();
            done.store(true, Ordering::Relaxed);
            added.ok();
        });
        assert_eq!(learned(&node, mac), [port.as_str()]);
    }
}
