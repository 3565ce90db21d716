//! A bridge with a spanning tree passes nothing through a new port for twice its forward delay.

use std::time::Duration;

use ferrule_tests::conf::{self, GATEWAY4};
use ferrule_tests::node::Place;
use ferrule_tests::packets::{first_ping, ping};
use ferrule_tests::{Node, Pod, within};
use serde_json::json;

/// The shortest delay that the kernel takes is two seconds.
const WITH_STP: &str = "ip link add cni0 type bridge stp_state 1 forward_delay 200
    ip link set cni0 up";

#[test]
fn add_returns_when_a_port_of_a_bridge_with_stp_forwards() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh(WITH_STP);
    let config = conf::with(&conf::dual(), &json!({"logFile": "/run/log"}));
    let attachment = node.attach(&config, &pod);
    let result = attachment.add();
    ping(&pod, GATEWAY4);
    ping(&pod, conf::GATEWAY6);
    attachment.check(&result);
    let log = node.read("/run/log");
    assert!(
        log.contains("waiting up to 7 s until the spanning tree (STP) of bridge cni0"),
        "{log}"
    );
}

/// Here another program makes the delay longer while ADD waits. A program that runs the spanning tree may
/// block a port for good.
#[test]
fn add_says_that_a_bridge_holds_the_port_back() {
    let (node, pod) = (Node::new(), Pod::new());
    node.sh("ip link add cni0 type bridge stp_state 1 forward_delay 400; ip link set cni0 up");
    let attachment = node.attach(&conf::v4(), &pod);
    let outcome = std::thread::scope(|scope| {
        let call = scope.spawn(|| attachment.try_add());
        let listens = within(Duration::from_secs(10), || {
            node.run("bridge link show").contains("state listening").then_some(())
        });
        listens.expect("a port that listens");
        node.run("ip link set cni0 type bridge forward_delay 3000");
        call.join().expect("ADD ends")
    });
    let result = outcome.ok();
    assert!(!first_ping(&pod, GATEWAY4));
    let said = &outcome.stderr;
    let whole = said.contains("spanning tree (STP) of bridge cni0 still holds veth");
    assert!(whole && said.contains("forward_delay"), "{said}");
    attachment.del(Some(&result));
}
