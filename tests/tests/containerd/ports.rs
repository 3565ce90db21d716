//! Pods with host ports and limits of bandwidth, as kubelet asks for them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4};
use ferrule_tests::snapshot::assert_same;
use ferrule_tests::{Node, Outside, bins, within};

use crate::engine::Engine;
use crate::{Running, cri, state};

/// The page of a port.
fn page(from: &impl Place, to: &str, port: u16) -> Option<String> {
    let target = SocketAddr::new(to.parse().unwrap(), port);
    let limit = Duration::from_secs(2);
    let ask = || {
        let connected = from.ns().enter(|| TcpStream::connect_timeout(&target, limit));
        let mut stream = connected.ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.lines().last().map(str::to_owned)
    };
    within(Duration::from_secs(10), ask)
}

/// A program in the pod that asks a port for its page. (busybox' wget, linked statically to glibc,
/// crashes in an image without /etc.)
const ASK: &str = r#"printf '#!/bin/sh\nprintf "GET / HTTP/1.0\\r\\n\\r\\n" | nc -w 5 $1 $2\n' >/ask; chmod 755 /ask"#;

/// A pod that serves its name on port 80, by a port of the node.
fn web(engine: &Engine, name: &str, host: i32) -> Running {
    let script =
        format!("{ASK}; mkdir -p /srv; echo {name} >/srv/index.html; exec httpd -f -p 80 -h /srv");
    let mut pod = engine.sandbox(name);
    pod.ports = vec![cri::PortMapping { container: 80, host }];
    for way in ["ingress", "egress"] {
        pod.annotations.insert(format!("kubernetes.io/{way}-bandwidth"), "80M".to_owned());
    }
    Running::start_as(engine, name, pod, &["/bin/sh", "-c", &script])
}

#[test]
fn host_ports_and_limits_behind_a_node_that_drops_by_default() {
    let node = Node::new();
    let outside = Outside::beside(&node);
    for tool in ["iptables-nft", "ip6tables-nft"] {
        node.sh(&format!("{tool} -P FORWARD DROP; {tool} -N CNI-ADMIN"));
    }
    let list = bins::workspace().join("conf/10-bridge-chain.conflist");
    node.write("/run/net.d/10.conflist", &std::fs::read_to_string(list).unwrap());
    let engine = Engine::start(&node);
    let before = state(&node);
    let pods = [web(&engine, "one", 8081), web(&engine, "two", 8082)];
    let served = || {
        for (port, name) in [(8081, "one"), (8082, "two")] {
            for address in [NODE4, NODE6] {
                assert_eq!(page(&outside, address, port).as_deref(), Some(name), "{address}");
            }
            for address in [NODE4, NODE6, "127.0.0.1"] {
                assert_eq!(page(&node, address, port).as_deref(), Some(name), "{address}");
            }
            let asked = pods[0].exec(&engine, &format!("/ask {NODE4} {port}"));
            assert_eq!(asked.lines().last(), Some(name), "from a pod");
        }
    };
    served();
    pods[1].exec(&engine, &format!("ping -c1 -W2 {OUTSIDE4}"));
    assert_eq!(pods[1].exec(&engine, "cat /proc/sys/net/core/somaxconn").trim(), "1024");
    let queues = node.run("tc qdisc show");
    assert_eq!(queues.matches("qdisc tbf").count(), 4, "{queues}");
    for pod in &pods {
        pod.remove(&engine);
    }
    assert!(page_is_gone(&outside));
    assert_same(&before, &state(&node));
}

/// The port is the node's own again, and nothing there listens.
fn page_is_gone(from: &impl Place) -> bool {
    let target = SocketAddr::new(NODE4.parse().unwrap(), 8081);
    from.ns().enter(|| TcpStream::connect_timeout(&target, Duration::from_secs(2))).is_err()
}
