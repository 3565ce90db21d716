//! Bytes in flight: what really passes.

use ferrule_tests::conf::{self, GATEWAY4, GATEWAY6};
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Chain, host_end, limits};

/// Bit/s of frames: a TCP segment of 1448 bytes (with IPv6 1428) is a frame of 1514.
const RATE: f64 = 16_000_000.0;
/// Bits: a quarter of a second, which makes up for a receiver that waits for its processor.
const BURST: u64 = 4_000_000;

/// 16 Mbit/s one way.
fn one_way(direction: &str) -> Value {
    json!({format!("{direction}Rate"): RATE as u64, format!("{direction}Burst"): BURST})
}

/// How fast frames pass between two places, over several spans of time, in bit/s; measured once what
/// may burst has passed.
fn rates(from: &impl Place, to: &impl Place, address: &str) -> Vec<f64> {
    let ip: IpAddr = address.parse().expect("an address");
    let payload = if ip.is_ipv4() { 1448.0 } else { 1428.0 };
    let listener = to.ns().enter(|| TcpListener::bind((ip, 0))).expect("listen");
    let target = SocketAddr::new(ip, listener.local_addr().expect("a port").port());
    let limit = Duration::from_secs(10);
    let mut sender =
        from.ns().enter(|| TcpStream::connect_timeout(&target, limit)).expect("connect");
    let (mut receiver, _) = listener.accept().expect("accept");
    receiver.set_read_timeout(Some(limit)).expect("a time limit");
    // It ends when the receiver is dropped.
    let sending = thread::spawn(move || while sender.write_all(&[0; 32 << 10]).is_ok() {});
    let mut buffer = vec![0; 256 << 10];
    // A signal, such as that of a child's end, ends a read that has a time limit.
    let mut receive = || loop {
        match receiver.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read.expect("bytes"),
        }
    };
    let mut left = (BURST / 8) as usize * 2;
    while left > 0 {
        left = left.saturating_sub(receive());
    }
    let mut span = |length: Duration| {
        let (begun, mut bytes) = (Instant::now(), 0);
        while begun.elapsed() < length {
            bytes += receive();
        }
        bytes as f64 * 8.0 / begun.elapsed().as_secs_f64() * 1514.0 / payload
    };
    let rates = (0..3).map(|_| span(Duration::from_millis(1500))).collect();
    drop(receiver);
    sending.join().expect("the sender ends");
    rates
}

/// Holds a limit within 10 %. A busy machine may be slower than the limit for a time, never faster.
#[track_caller]
fn holds(rates: &[f64]) {
    let burst = BURST as f64 / 1.5;
    let fastest = rates.iter().copied().fold(0.0, f64::max);
    assert!(fastest >= RATE * 0.9, "slower than {RATE} bit/s: {rates:?}");
    assert!(rates.iter().all(|rate| *rate <= RATE + burst), "faster than {RATE} bit/s: {rates:?}");
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    assert!(mean <= RATE * 1.1, "on average faster than {RATE} bit/s: {rates:?}");
}

/// Runs a test behind a main plugin; the addresses of the pod, and one of the node's for each.
fn behind(main: &Value, gateways: [&str; 2], keys: &Value, test: impl Fn(&Node, &Pod, [&str; 2])) {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add uplink up type veth peer name wire; ip link set wire up
        ip addr add 192.0.2.1/24 dev uplink");
    let chain = Chain::new(&node, main, keys, &pod);
    let result = chain.add(&node);
    pod.settle();
    let own = addresses(&result);
    for (address, gateway) in own.iter().zip(gateways) {
        test(&node, &pod, [address, gateway]);
    }
    chain.bandwidth.check(&result);
    chain.del(Some(&result));
}

fn vxlan() -> Value {
    let keys = json!({"type": "vxlan", "vni": 100, "port": 4789, "underlay": "uplink"});
    conf::with(&conf::dual(), &keys)
}

fn bgp() -> Value {
    conf::with(
        &conf::dual(),
        &json!({"type": "bgp", "bridge": null, "isGateway": null,
        "ipam": {"routes": null}}),
    )
}

#[test]
fn what_a_pod_receives_is_limited_behind_bridge() {
    behind(&conf::dual(), [GATEWAY4, GATEWAY6], &one_way("ingress"), |node, pod, [own, _]| {
        holds(&rates(node, pod, own));
    });
}

#[test]
fn what_a_pod_sends_is_limited_behind_bridge() {
    behind(&conf::dual(), [GATEWAY4, GATEWAY6], &one_way("egress"), |node, pod, [_, gateway]| {
        holds(&rates(pod, node, gateway));
    });
}

#[test]
fn the_other_direction_is_not_limited() {
    for (direction, to_pod) in [("ingress", false), ("egress", true)] {
        let keys = one_way(direction);
        behind(&conf::v4(), [GATEWAY4, ""], &keys, |node, pod, [own, gateway]| {
            let rates = if to_pod { rates(node, pod, own) } else { rates(pod, node, gateway) };
            assert!(rates.iter().any(|rate| *rate > RATE * 2.0), "{rates:?}");
        });
    }
}

#[test]
fn both_ways_are_limited_behind_vxlan() {
    let keys = conf::with(&one_way("ingress"), &one_way("egress"));
    let main = conf::with(
        &vxlan(),
        &json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}]}}),
    );
    behind(&main, [GATEWAY4, ""], &keys, |node, pod, [own, gateway]| {
        holds(&rates(node, pod, own));
        holds(&rates(pod, node, gateway));
    });
}

#[test]
fn both_ways_are_limited_behind_bgp() {
    let keys = conf::with(&one_way("ingress"), &one_way("egress"));
    let main = conf::with(&bgp(), &json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}]]}}));
    behind(&main, ["169.254.1.1", ""], &keys, |node, pod, [own, gateway]| {
        holds(&rates(node, pod, own));
        holds(&rates(pod, node, gateway));
    });
}

#[test]
fn one_pod_does_not_wait_for_another() {
    let node = Node::new();
    let (slow, fast) = (Pod::new(), Pod::new());
    let keys = json!({"ingressRate": 64_000, "ingressBurst": 64_000,
        "egressRate": 64_000, "egressBurst": 64_000});
    Chain::new(&node, &conf::v4(), &keys, &slow).add(&node);
    let result = Chain::new(&node, &conf::v4(), &one_way("ingress"), &fast).add(&node);
    holds(&rates(&node, &fast, &addresses(&result)[0]));
}

#[test]
fn packets_pass_at_a_rate_of_a_few_bytes_a_second() {
    // At 16 bit/s, 25 ms are no byte: only the burst lets anything pass.
    let keys = json!({"ingressRate": 16, "ingressBurst": 80_000, "egressRate": 16,
        "egressBurst": 80_000});
    behind(&conf::v4(), [GATEWAY4, ""], &keys, |node, pod, [own, gateway]| {
        ping(pod, gateway);
        ping(node, own);
    });
}

#[test]
fn a_burst_of_an_hour_passes_at_once() {
    // The reference leaves what is above 274 s to 32 bits.
    let keys = json!({"ingressRate": 8_000, "ingressBurst": 28_800_000});
    behind(&conf::v4(), [GATEWAY4, ""], &keys, |node, pod, [own, _]| {
        let listener = pod.ns().enter(|| TcpListener::bind((own, 0))).unwrap();
        let target = SocketAddr::new(own.parse().unwrap(), listener.local_addr().unwrap().port());
        let mut sender = node.ns().enter(|| TcpStream::connect(target)).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let sending = thread::spawn(move || sender.write_all(&vec![1; 3_000_000]));
        // At its rate they would take 50 minutes.
        receiver.read_exact(&mut vec![0; 3_000_000]).unwrap();
        sending.join().unwrap().unwrap();
    });
}

#[test]
fn a_burst_below_a_frame_is_warned_of() {
    let (node, pod) = (Node::new(), Pod::new());
    let main = node.attach(&conf::v4(), &pod);
    let result = main.add();
    let keys = json!({"ingressRate": 8_000_000, "ingressBurst": 8_000});
    let added = node.attach(&limits(&keys), &pod).call("ADD", Some(&result)).run(&node);
    added.ok();
    let wanted = "ingressBurst is 1000 bytes, and packets that are larger are dropped; set it to \
                  12112 bits or more";
    assert!(added.stderr.contains(wanted), "{}", added.stderr);
    assert!(node.run(&format!("tc qdisc show dev {}", host_end(&result))).contains("burst 1000b"));
}
