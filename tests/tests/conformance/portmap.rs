//! Scenarios of portmap, behind bridge: those of the reference's own tests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, Outside};
use ferrule_tests::{Pod, conf, patience, within};
use serde_json::{Value, json};

use crate::bench::{Bench, scenarios};
use crate::chained::{Behind, rules_that_name};

scenarios! {
    portmap_of_tcp, portmap_of_udp_and_a_second_pod, portmap_of_tcp_by_nftables, portmap_of_v6,
    portmap_without_snat, portmap_that_masquerades_all, portmap_of_one_address,
    portmap_of_both_families, portmap_checked, portmap_deleted_by_many_at_once,
    portmap_deleted_by_keys_alone, portmap_of_no_ports, portmap_of_wrong_ports,
    portmap_of_iptables_conditions, portmap_of_nftables_conditions, portmap_of_mixed_options,
    portmap_of_an_unknown_backend, portmap_without_an_interface_index, portmap_without_a_result,
}

const HOST_PORT: u16 = 9080;
const POD_PORT: u16 = 80;

fn portmap(mappings: &Value) -> Value {
    json!({"name": "pods", "type": "portmap", "runtimeConfig": {"portMappings": mappings}})
}

fn port(protocol: &str) -> Value {
    json!({"hostPort": HOST_PORT, "containerPort": POD_PORT, "protocol": protocol})
}

/// One mapping with more keys of the plugin.
fn with(protocol: &str, keys: &Value) -> Value {
    conf::with(&portmap(&json!([port(protocol)])), keys)
}

/// The pod's network; a bridge without hairpin mode would leave out what comes back to the pod.
fn network() -> Value {
    conf::with(&conf::dual(), &json!({"hairpinMode": true}))
}

fn limit() -> Duration {
    patience(Duration::from_secs(5))
}

/// The client that a server in the pod sees, or `no answer`.
fn client(from: &impl Place, address: &str, port: u16, pod: &Pod, udp: bool) -> String {
    let to = SocketAddr::new(address.parse().expect("an address"), port);
    let seen = if udp { over_udp(from, to, pod) } else { over_tcp(from, to, pod) };
    seen.map_or("no answer".to_owned(), |seen| seen.ip().to_canonical().to_string())
}

fn over_tcp(from: &impl Place, to: SocketAddr, pod: &Pod) -> Option<SocketAddr> {
    let bind = || pod.ns().enter(|| TcpListener::bind(("::", POD_PORT))).ok();
    let listener = within(limit(), bind).expect("the pod's port is free");
    let serve = move || {
        let (mut served, peer) = listener.accept().expect("a client");
        served.write_all(b"say").map(|()| peer).ok()
    };
    let dialled = from.ns().enter(|| TcpStream::connect_timeout(&to, limit()));
    let mut stream = dialled.ok()?;
    let server = thread::spawn(serve);
    stream.set_read_timeout(Some(limit())).expect("a time limit");
    let mut word = [0; 3];
    let answered = stream.read_exact(&mut word);
    if answered.is_err() {
        // Another program answers: the server here still waits.
        let own = SocketAddr::new([127, 0, 0, 1].into(), POD_PORT);
        drop(pod.ns().enter(|| TcpStream::connect(own)));
    }
    let seen = server.join().expect("the server ends");
    answered.ok().and(seen)
}

fn over_udp(from: &impl Place, to: SocketAddr, pod: &Pod) -> Option<SocketAddr> {
    let bind = || pod.ns().enter(|| UdpSocket::bind(("::", POD_PORT))).ok();
    let server = within(limit(), bind).expect("the pod's port is free");
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let client = from.ns().enter(|| UdpSocket::bind(any)).expect("a socket");
    for end in [&server, &client] {
        end.set_read_timeout(Some(limit())).expect("a time limit");
    }
    // An error is the answer of a port without a receiver.
    client.connect(to).and_then(|()| client.send(b"ask")).ok()?;
    let mut word = [0; 8];
    let (_, seen) = server.recv_from(&mut word).ok()?;
    server.send_to(b"say", seen).ok()?;
    client.recv(&mut word).ok().map(|_| seen)
}

/// Whether a server in the pod is reached.
fn reached(from: &impl Place, address: &str, port: u16, pod: &Pod, udp: bool) -> bool {
    client(from, address, port, pod, udp) != "no answer"
}

/// Who reaches a pod by the host port: the reference's `contOK`, `dnatOK`, `snatOK`, `hairpinOK`, and a host outside.
fn forwards(bench: &mut Bench, outside: &Outside, behind: &Behind, udp: bool) {
    let pod = &behind.pod;
    let own = pod_address(behind);
    bench.see("the pod is reached", reached(&bench.node, &own, POD_PORT, pod, udp));
    bench.see("by the node's address", reached(&bench.node, NODE4, HOST_PORT, pod, udp));
    bench.see("by 127.0.0.1", reached(&bench.node, "127.0.0.1", HOST_PORT, pod, udp));
    bench.see("by the pod itself", reached(pod, NODE4, HOST_PORT, pod, udp));
    bench.see("from outside, as", client(outside, NODE4, HOST_PORT, pod, udp));
}

fn pod_address(behind: &Behind) -> String {
    let address = behind.pod.json("ip -j -4 addr show dev eth0");
    address[0]["addr_info"][0]["local"].as_str().expect("an address").to_owned()
}

/// DEL twice, and whether anything leads to the pod then.
fn ends(bench: &mut Bench, outside: &Outside, behind: &Behind, udp: bool) {
    for again in ["DEL", "DEL again"] {
        behind.del(bench, again);
    }
    let own = pod_address(behind);
    bench.see("rules left that name the pod", rules_that_name(bench, &own));
    bench.see("after DEL", client(outside, NODE4, HOST_PORT, &behind.pod, udp));
}

fn life(bench: &mut Bench, config: &Value, udp: bool) {
    let outside = Outside::beside(&bench.node);
    let mut behind = Behind::new(bench, &network(), config);
    if behind.add(bench, "ADD") {
        forwards(bench, &outside, &behind, udp);
    }
    behind.check(bench, "CHECK");
    ends(bench, &outside, &behind, udp);
}

fn portmap_of_tcp(bench: &mut Bench) {
    life(bench, &with("tcp", &json!({"snat": true})), false);
}

fn portmap_of_tcp_by_nftables(bench: &mut Bench) {
    life(bench, &with("tcp", &json!({"snat": true, "backend": "nftables"})), false);
}

fn portmap_of_udp_and_a_second_pod(bench: &mut Bench) {
    let outside = Outside::beside(&bench.node);
    for part in ["first/", "second/"] {
        bench.part(part);
        let mut behind = Behind::new(bench, &network(), &with("udp", &json!({})));
        behind.add(bench, "ADD");
        let own = pod_address(&behind);
        bench.see("the pod is reached", reached(&bench.node, &own, POD_PORT, &behind.pod, true));
        let node = reached(&bench.node, NODE4, HOST_PORT, &behind.pod, true);
        bench.see("by the node's address", node);
        bench.see("from outside, as", client(&outside, NODE4, HOST_PORT, &behind.pod, true));
        ends(bench, &outside, &behind, true);
    }
}

fn portmap_of_v6(bench: &mut Bench) {
    let outside = Outside::beside(&bench.node);
    for (part, masquerades) in [("plain/", false), ("masqAll/", true)] {
        bench.part(part);
        let config = with("tcp", &json!({"masqAll": masquerades, "backend": "nftables"}));
        let mut behind = Behind::new(bench, &network(), &config);
        behind.add(bench, "ADD");
        let pod = &behind.pod;
        bench.see("by the node's address", reached(&bench.node, NODE6, HOST_PORT, pod, false));
        bench.see("by the pod itself", reached(pod, NODE6, HOST_PORT, pod, false));
        bench.see("from outside, as", client(&outside, NODE6, HOST_PORT, pod, false));
        behind.check(bench, "CHECK");
        behind.del(bench, "DEL");
        bench.see("after DEL", client(&outside, NODE6, HOST_PORT, pod, false));
    }
}

/// Without SNAT neither 127.0.0.1 nor the pod itself has a way back.
fn portmap_without_snat(bench: &mut Bench) {
    let outside = Outside::beside(&bench.node);
    for (part, backend) in [("iptables/", "iptables"), ("nftables/", "nftables")] {
        bench.part(part);
        let config = with("tcp", &json!({"snat": false, "backend": backend}));
        let mut behind = Behind::new(bench, &network(), &config);
        behind.add(bench, "ADD");
        let pod = &behind.pod;
        bench.see("by the node's address", reached(&bench.node, NODE4, HOST_PORT, pod, false));
        bench.see("from outside, as", client(&outside, NODE4, HOST_PORT, pod, false));
        behind.check(bench, "CHECK");
        behind.del(bench, "DEL");
    }
}

fn portmap_that_masquerades_all(bench: &mut Bench) {
    life(
        bench,
        &with("tcp", &json!({"snat": true, "masqAll": true, "backend": "nftables"})),
        false,
    );
}

fn portmap_of_one_address(bench: &mut Bench) {
    let outside = Outside::beside(&bench.node);
    bench.node.run("ip addr add 198.51.100.7/24 dev uplink0");
    for (part, host) in [("one/", NODE4), ("any/", "0.0.0.0"), ("empty/", "")] {
        bench.part(part);
        let mapping = conf::with(&port("tcp"), &json!({"hostIP": host}));
        let mut behind = Behind::new(bench, &network(), &portmap(&json!([mapping])));
        behind.add(bench, "ADD");
        for address in [NODE4, "198.51.100.7"] {
            let seen = client(&outside, address, HOST_PORT, &behind.pod, false);
            bench.see(&format!("by {address}, as"), seen);
        }
        behind.check(bench, "CHECK");
        behind.del(bench, "DEL");
    }
}

/// The mappings of the reference's tests of its rules.
fn several() -> Value {
    let on = |host: u16, pod: u16, protocol: &str, ip: &str| json!({"hostPort": host, "containerPort": pod, "protocol": protocol, "hostIP": ip});
    json!([
        on(8080, 80, "tcp", ""),
        on(8081, 80, "tcp", ""),
        on(8080, 81, "udp", ""),
        on(8082, 82, "udp", ""),
        on(8083, 83, "tcp", "192.168.0.2"),
        on(8084, 84, "tcp", "0.0.0.0"),
        on(8085, 85, "tcp", "2001:db8:a::1"),
        on(8086, 86, "tcp", "::")
    ])
}

fn portmap_of_both_families(bench: &mut Bench) {
    let outside = Outside::beside(&bench.node);
    let mut behind = Behind::new(bench, &network(), &portmap(&several()));
    behind.add(bench, "ADD");
    for (address, port) in [(NODE4, 8080), (NODE6, 8080), (NODE4, 8081), (NODE6, 8081)] {
        let seen = client(&outside, address, port, &behind.pod, false);
        bench.see(&format!("{address} {port}, as"), seen);
    }
    behind.check(bench, "CHECK");
    behind.del(bench, "DEL");
}

/// CHECK before ADD, of other SNAT than there is, and after DEL.
fn portmap_checked(bench: &mut Bench) {
    let config = conf::with(&portmap(&several()), &json!({"snat": false, "backend": "nftables"}));
    let mut behind = Behind::new(bench, &network(), &config);
    behind.check(bench, "CHECK before ADD");
    behind.add(bench, "ADD without SNAT");
    behind.check(bench, "CHECK without SNAT");
    behind.config = conf::with(&config, &json!({"snat": true}));
    behind.check(bench, "CHECK of SNAT");
    behind.add(bench, "ADD with SNAT");
    behind.check(bench, "CHECK after ADD with SNAT");
    behind.del(bench, "DEL");
    behind.check(bench, "CHECK after DEL");
}

fn portmap_deleted_by_many_at_once(bench: &mut Bench) {
    let mut behind = Behind::new(bench, &network(), &with("tcp", &json!({})));
    behind.add(bench, "ADD");
    let attachment = bench.attach(&behind.config, &behind.pod);
    // A DEL of the reference may lose against another's: what counts is that the last succeeds.
    thread::scope(|scope| {
        (0..4).for_each(|_| drop(scope.spawn(|| attachment.try_del(Some(&behind.result)))));
    });
    behind.del(bench, "the last DEL");
    bench.see("rules left that name the pod", rules_that_name(bench, &pod_address(&behind)));
}

/// When called with DEL, neither runtimeConfig nor prevResult may be there.
fn portmap_deleted_by_keys_alone(bench: &mut Bench) {
    let mut behind = Behind::new(bench, &network(), &with("udp", &json!({"backend": "nftables"})));
    behind.add(bench, "ADD");
    let bare = conf::with(&behind.config, &json!({"runtimeConfig": null}));
    for again in ["DEL", "DEL again"] {
        let outcome = bench.attach(&bare, &behind.pod).netns(None).try_del(None);
        bench.ended(again, &outcome);
    }
    bench.see("rules left that name the pod", rules_that_name(bench, &pod_address(&behind)));
}

fn portmap_of_no_ports(bench: &mut Bench) {
    for (part, mappings) in [("none/", Value::Null), ("empty/", json!([]))] {
        bench.part(part);
        let mut behind = Behind::new(bench, &network(), &portmap(&mappings));
        behind.add(bench, "ADD");
        behind.check(bench, "CHECK");
        behind.del(bench, "DEL");
    }
}

fn portmap_of_wrong_ports(bench: &mut Bench) {
    let wrong = |host: u32, pod: u32, protocol: &str| {
        portmap(&json!([{"hostPort": host, "containerPort": pod, "protocol": protocol}]))
    };
    for (part, config, words) in [
        ("host port 0/", wrong(0, 80, "tcp"), "Invalid host port number: 0"),
        ("host port 65536/", wrong(65536, 80, "tcp"), "Invalid host port number: 65536"),
        ("pod port 0/", wrong(80, 0, "tcp"), "Invalid container port number: 0"),
    ] {
        bench.part(part);
        Behind::new(bench, &network(), &config).refused(bench, "ADD", words);
    }
}

fn portmap_of_iptables_conditions(bench: &mut Bench) {
    let keys = json!({"backend": "iptables", "snat": false, "conditionsV4": ["-s", "1.2.3.4"],
        "conditionsV6": ["!", "-s", "12::34"]});
    let mut behind = Behind::new(bench, &network(), &with("tcp", &keys));
    behind.add(bench, "ADD");
    behind.del(bench, "DEL");
}

fn portmap_of_nftables_conditions(bench: &mut Bench) {
    let keys = json!({"backend": "nftables", "conditionsV4": ["ip", "saddr", "1.2.3.4"],
        "conditionsV6": ["ip6", "saddr", "12::34"]});
    let mut behind = Behind::new(bench, &network(), &with("tcp", &keys));
    behind.add(bench, "ADD");
    behind.del(bench, "DEL");
}

fn portmap_of_mixed_options(bench: &mut Bench) {
    let nftables = json!({"backend": "iptables", "conditionsV4": ["ip", "saddr", "1.2.3.4"],
        "conditionsV6": ["ip6", "saddr", "12::34"]});
    let iptables = json!({"backend": "nftables", "externalSetMarkChain": "KUBE-MARK-MASQ",
        "conditionsV4": ["-s", "1.2.3.4"], "conditionsV6": ["-s", "12::34"]});
    for (part, keys, words) in [
        (
            "nftables/",
            nftables,
            "iptables backend was requested but configuration contains nftables-specific options",
        ),
        (
            "iptables/",
            iptables,
            "nftables backend was requested but configuration contains iptables-specific options [externalSetMarkChain",
        ),
    ] {
        bench.part(part);
        Behind::new(bench, &network(), &with("tcp", &keys)).refused(bench, "ADD", words);
    }
}

fn portmap_of_an_unknown_backend(bench: &mut Bench) {
    let behind = Behind::new(bench, &network(), &with("tcp", &json!({"backend": "ipvs"})));
    behind.refused(bench, "ADD", "unrecognized backend");
}

/// The address is of a pod although no interface is named.
fn portmap_without_an_interface_index(bench: &mut Bench) {
    if !bench.lists() {
        return;
    }
    let mut behind = Behind::new(bench, &network(), &with("tcp", &json!({})));
    for ip in behind.result["ips"].as_array_mut().expect("addresses") {
        ip.as_object_mut().expect("an address").remove("interface");
    }
    behind.result["interfaces"] = json!([{"name": "host"}]);
    behind.add(bench, "ADD");
    bench.see(
        "the pod is reached",
        reached(&bench.node, "127.0.0.1", HOST_PORT, &behind.pod, false),
    );
    behind.del(bench, "DEL");
}

fn portmap_without_a_result(bench: &mut Bench) {
    let pod = Pod::new();
    let outcome = bench.attach(&with("tcp", &json!({})), &pod).try_add();
    bench.refused("ADD", &outcome, "must be called as chained plugin");
}
