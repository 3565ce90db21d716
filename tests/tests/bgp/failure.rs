//! An ADD that fails leaves nothing, and does no harm to what lives.

use ferrule_tests::conf::with;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::{address, full, steady};

/// ADD fails with this; the node and the pod are as they were; once mended, ADD succeeds.
#[track_caller]
fn fails_clean(config: &Value, node: &Node, mend: impl FnOnce(&Pod), wanted: (u64, &str)) {
    let pod = Pod::new();
    fails_clean_in(&pod, config, node, || mend(&pod), wanted);
}

#[track_caller]
fn fails_clean_in(
    pod: &Pod,
    config: &Value,
    node: &Node,
    mend: impl FnOnce(),
    (code, text): (u64, &str),
) {
    let (before, pod_before) = (steady(node), pod.run("ip -o addr"));
    let error = node.attach(config, pod).try_add().err();
    error.expect(code, text);
    let difference = before.difference(&steady(node));
    assert!(difference.is_empty(), "{error:?} left:\n{difference}");
    assert_eq!(pod.run("ip -o addr"), pod_before, "{error:?} changed the pod");
    mend();
    let attachment = node.attach(&full(), pod);
    let result = attachment.add();
    ping(node, &address(&result, 0));
    ping(node, &address(&result, 1));
    attachment.check(&result);
}

/// Found out after everything but the rules.
#[test]
fn a_route_of_the_hosts_own_to_the_pods_address() {
    for (command, text) in [
        ("ip route add 10.1.0.2 dev lo", "the host has a route to 10.1.0.2 already by lo"),
        ("ip -6 route add fd00:1::2 dev lo", "the host has a route to fd00:1::2 already by lo"),
    ] {
        let node = Node::new();
        node.run(command);
        let mend = |_: &Pod| drop(node.run(&command.replace(" add ", " del ")));
        fails_clean(&full(), &node, mend, (103, text));
    }
}

#[test]
fn what_the_configuration_gets_wrong() {
    for (keys, code, text) in [
        (json!({"ipam": null}), 7, "ipam is missing"),
        (json!({"ipam": {"ranges": null}}), 7, "ipam has no ranges"),
        (json!({"ipam": {"type": "no-such-ipam"}}), 104, "no-such-ipam"),
        (json!({"mtu": 1000}), 7, "MTU 1000 is too small for the address fd00:1::2"),
        (json!({"mtu": 70000}), 7, "invalid MTU 70000"),
        (json!({"ipam": {"routes": [{"dst": "::/0", "gw": "fd00:1::2"}]}}), 7, "leave gw out"),
    ] {
        fails_clean(&with(&full(), &keys), &Node::new(), |_| (), (code, text));
    }
}
