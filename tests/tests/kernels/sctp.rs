//! SCTP of pods.

use ferrule_tests::conf;
use ferrule_tests::node::{Place, words};
use ferrule_tests::outside::{NODE4, NODE6, OUTSIDE4, OUTSIDE6};
use ferrule_tests::{Background, Node, Outside, Pod, within};
use serde_json::json;
use std::time::Duration;

/// The address that an SCTP server at `address` in `to` sees when `from` connects: socat gives it
/// to the program that it starts, which prints it to the client.
fn source(from: &impl Place, to: &impl Place, address: &str) -> String {
    let six = address.contains(':');
    let (family, address) = if six { (6, format!("[{address}]")) } else { (4, address.to_owned()) };
    let server = format!("socat -U SCTP{family}-LISTEN:5000,fork,reuseaddr EXEC:env");
    let _server = Background::start(to.ns(), &words(&server));
    let ask = || {
        let done = from.try_run(&format!("socat -u SCTP{family}-CONNECT:{address}:5000 -"));
        let peer = done.stdout.lines().find_map(|line| line.strip_prefix("SOCAT_PEERADDR="));
        peer.map(|peer| peer.trim_matches(['[', ']']).to_owned())
    };
    within(Duration::from_secs(10), ask).expect("an SCTP connection")
}

/// socat writes IPv6 addresses in full.
const NODE6_IN_FULL: &str = "2001:0db8:ffff:0000:0000:0000:0000:0001";

#[test]
fn an_association_across_the_masquerade_has_the_nodes_address() {
    let (node, pod) = (Node::new(), Pod::new());
    let outside = Outside::beside(&node);
    node.attach(&conf::with(&conf::dual(), &json!({"ipMasq": true})), &pod).add();
    assert_eq!(source(&pod, &outside, OUTSIDE4), NODE4);
    let six = source(&pod, &outside, OUTSIDE6);
    assert!(six == NODE6 || six == NODE6_IN_FULL, "{six}");
}

#[test]
fn an_association_between_pods_keeps_their_addresses() {
    let (node, one, two) = (Node::new(), Pod::new(), Pod::new());
    let config = conf::with(&conf::v4(), &json!({"ipMasq": true}));
    node.attach(&config, &one).add();
    node.attach(&config, &two).add();
    assert_eq!(source(&one, &two, "10.1.0.3"), "10.1.0.2");
}
