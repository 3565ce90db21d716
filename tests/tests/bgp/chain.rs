//! The reference's plugins behind ours, as runtimes chain them.

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::packets::{ping, tcp_source};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Attachment, Bins, Node, Outside, Pod, Snapshot};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::{full, veth};

/// One pod on a chain: ours, and the reference's plugins with these configurations.
struct Chain<'a> {
    node: &'a Node,
    links: Vec<Attachment<'a>>,
}

impl<'a> Chain<'a> {
    fn new(node: &'a Node, pod: &Pod, others: &[Value]) -> Self {
        // Since 1.1.0 results contain the MTU, and the reference's tuning leaves ours in them.
        let old = json!({"cniVersion": "1.0.0"});
        let mut links = vec![node.attach(&with(&full(), &old), pod)];
        links.extend(others.iter().map(|keys| {
            let config = with(&json!({"cniVersion": "1.0.0", "name": "pods"}), keys);
            node.attach(&config, pod).by(&Bins::reference())
        }));
        Self { node, links }
    }

    fn add(&self) -> Value {
        let add = |previous: Option<Value>, link: &Attachment<'_>| {
            Some(link.call("ADD", previous.as_ref()).run(self.node).ok())
        };
        self.links.iter().fold(None, add).expect("a result")
    }

    fn check(&self, result: &Value) {
        self.links.iter().for_each(|link| link.check(result));
    }

    fn del(&self, result: Option<&Value>) {
        self.links.iter().rev().for_each(|link| link.del(result));
    }
}

/// A word to a port and its echo; the address that the server saw.
fn talk(from: &impl Place, to: &str, server: &impl Place, port: u16) -> Result<SocketAddr, String> {
    let text = |error: std::io::Error| error.to_string();
    let limit = Duration::from_secs(2);
    // A process that another test starts holds the last listener until its exec.
    let bind = || server.ns().enter(|| TcpListener::bind(("::", port))).ok();
    let listener = ferrule_tests::within(limit, bind).ok_or("the port is taken")?;
    listener.set_nonblocking(true).map_err(text)?;
    let target = SocketAddr::new(to.parse().expect("an address"), 8080);
    let mut client =
        from.ns().enter(|| TcpStream::connect_timeout(&target, limit)).map_err(text)?;
    let accepted = ferrule_tests::within(limit, || listener.accept().ok());
    let (mut served, seen) = accepted.ok_or("no client connects")?;
    served.set_nonblocking(false).map_err(text)?;
    client.set_read_timeout(Some(limit)).map_err(text)?;
    served.write_all(b"hello").map_err(text)?;
    let mut word = [0; 5];
    client.read_exact(&mut word).map_err(text)?;
    Ok(seen)
}

fn state(node: &Node) -> Snapshot {
    crate::steady(node)
}

fn policy(node: &Node, target: &str) {
    for tool in ["iptables", "ip6tables"] {
        node.run(&format!("{tool} -P FORWARD {target}"));
    }
}

/// What portmap and firewall leave for the next pod: empty chains, and what leads to them.
fn without_iptables(node: &Node) -> (Snapshot, String) {
    let rules = node.run("iptables-save") + &node.run("ip6tables-save");
    node.sh("nft list tables | grep -v ferrule | while read line; do nft delete $line; done");
    (state(node), rules)
}

#[test]
fn portmap_bandwidth_tuning_and_firewall_work_behind_it() {
    let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&full(), &other).add();
    let before = state(&node);
    let port = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
    let rate = 8_000_000;
    let bandwidth = json!({"ingressRate": rate, "ingressBurst": rate, "egressRate": rate,
        "egressBurst": rate});
    let chain = Chain::new(
        &node,
        &pod,
        &[
            json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [port]}}),
            json!({"type": "bandwidth", "runtimeConfig": {"bandwidth": bandwidth}}),
            json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "77"}, "mtu": 1400}),
            json!({"type": "firewall", "backend": "iptables"}),
        ],
    );
    let result = chain.add();
    assert_eq!(pod.sysctl("net/core/somaxconn"), "77");
    assert_eq!(pod.link("eth0").unwrap()["mtu"], 1400);
    let qdiscs = node.run(&format!("tc qdisc show dev {}", veth(&result)));
    assert!(qdiscs.contains("tbf") && qdiscs.contains("ingress"), "{qdiscs}");
    // On a node that forwards nothing by itself the firewall plugin lets the pod through.
    policy(&node, "DROP");
    for (to, seen) in [(OUTSIDE4, NODE4), (OUTSIDE6, NODE6)] {
        assert_eq!(tcp_source(&pod, &outside, to), Ok(seen.parse().unwrap()), "egress");
    }
    assert!(tcp_source(&other, &outside, OUTSIDE4).is_err(), "a pod without that plugin");
    policy(&node, "ACCEPT");
    for (from, to) in [(&outside as &dyn Talk, NODE4), (&outside, NODE6), (&node, NODE4)] {
        from.reaches(to, &pod);
    }
    // From the pod to itself, by the host's port.
    (&pod as &dyn Talk).reaches(NODE4, &pod);
    chain.check(&result);
    chain.del(Some(&result));
    chain.del(Some(&result));
    let own = talk(&outside, NODE4, &node, 8080);
    assert!(own.is_ok(), "the port is the node's own again: {own:?}");
    let (after, rules) = without_iptables(&node);
    assert!(!rules.contains("10.1.0.3") && !rules.contains("fd00:1::3"), "{rules}");
    assert!(!node.links().contains(&veth(&result).to_owned()));
    let same = |snapshot: Snapshot| snapshot.without_files(&["/var/lib/cni/tuning", "/run/cni"]);
    assert_same(&same(before), &same(after));
}

/// [`talk`] from any place.
trait Talk {
    fn reaches(&self, to: &str, pod: &Pod);
}

impl<P: Place> Talk for P {
    #[track_caller]
    fn reaches(&self, to: &str, pod: &Pod) {
        let seen = talk(self, to, pod, 80);
        assert!(seen.is_ok(), "{to}: {seen:?}");
    }
}

/// Tuning may set the MAC address: then the pod forgets its neighbours, and the host is to know the
/// new one, at once.
#[test]
fn a_mac_address_that_tuning_sets_is_followed() {
    let mac = "02:00:00:00:00:42";
    for keys in [json!({"mac": mac}), json!({"runtimeConfig": {"mac": mac}})] {
        let (node, pod, other) = (Node::new(), Pod::new(), Pod::new());
        node.attach(&full(), &other).add();
        let chain = Chain::new(&node, &pod, &[with(&json!({"type": "tuning"}), &keys)]);
        let result = chain.add();
        assert_eq!(pod.link("eth0").unwrap()["address"], mac);
        for to in ["10.1.0.3", "fd00:1::3"] {
            ping(&node, to);
            ping(&other, to);
        }
        for to in ["10.1.0.2", "fd00:1::2"] {
            ping(&pod, to);
        }
        chain.check(&result);
        chain.del(None);
        assert!(pod.links().is_empty());
    }
}
