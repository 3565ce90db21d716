//! CHECK compares what is there with what ADD made, and names what differs.

use ferrule_tests::conf::{self, with};
use ferrule_tests::node::Place;
use ferrule_tests::{Node, Pod};
use serde_json::json;

use crate::{Mapped, port, port_on, portmap};

fn mapped<'a>(node: &'a Node, pod: &Pod, keys: &serde_json::Value) -> Mapped<'a> {
    let ports = json!([
        port(8080, 80, "tcp"),
        port_on("192.0.2.1", 8080, 80, "udp"),
        port_on("2001:db8::1", 8080, 80, "sctp")
    ]);
    Mapped::add(node, pod, &conf::dual(), &with(&portmap(&ports), keys))
}

/// One alteration of the node, and what CHECK says then.
fn found(keys: &serde_json::Value, alterations: &[(&str, &str)]) {
    for (script, says) in alterations {
        let (node, pod) = (Node::new(), Pod::new());
        let mapped = mapped(&node, &pod, keys);
        mapped.try_ports("CHECK").ok();
        node.sh(script);
        let error = mapped.try_ports("CHECK").err();
        error.expect(101, "eth0 of ");
        error.expect(101, says);
        // ADD makes it whole; but what has another's comment, or none, is not taken from its owner.
        if !script.contains("add element") {
            mapped.add_ports();
            mapped.try_ports("CHECK").ok();
        }
    }
}

#[test]
fn a_mapping_that_leads_elsewhere_is_named() {
    found(
        &json!({}),
        &[
            (
                "nft delete element inet ferrule hostports4 '{ tcp . 8080 }'
                 nft add element inet ferrule hostports4 '{ tcp . 8080 : 10.1.0.9 . 80 }'",
                "element tcp 0.0.0.0:8080 of hostports4 in table inet ferrule leads to 10.1.0.9:80 \
                 and not 10.1.0.2:80",
            ),
            (
                "nft delete element inet ferrule hostports6 '{ tcp . 8080 }'",
                "element tcp [::]:8080 of hostports6 in table inet ferrule is missing",
            ),
            (
                "nft delete element inet ferrule hostport-ips4 '{ udp . 192.0.2.1 . 8080 }'",
                "element udp 192.0.2.1:8080 of hostport-ips4 in table inet ferrule is missing",
            ),
            (
                "nft delete element inet ferrule hostport-ips6 '{ sctp . 2001:db8::1 . 8080 }'",
                "element sctp [2001:db8::1]:8080 of hostport-ips6",
            ),
        ],
    );
}

#[test]
fn missing_sources_rules_and_the_switch_are_named() {
    found(
        &json!({}),
        &[
            (
                "nft delete element inet ferrule hostport-self4 '{ 10.1.0.2 . 10.1.0.2 }'",
                "element 10.1.0.2 . 10.1.0.2 of hostport-self4",
            ),
            (
                "nft delete element inet ferrule hostport-near6 '{ fd00:1::2 . \"cni0\" }'",
                "element fd00:1::2 . cni0 of hostport-near6",
            ),
            (
                "nft delete element inet ferrule hostport-links '{ \"cni0\" }'",
                "element cni0 of hostport-links",
            ),
            ("echo 0 >/proc/sys/net/ipv4/conf/cni0/route_localnet", "route_localnet is not 1"),
            ("nft flush chain inet ferrule hostports-in", "chain hostports-in of table inet"),
            ("nft flush chain inet ferrule hostports-out", "chain hostports-out of table inet"),
            ("nft flush chain inet ferrule hostports-masq", "chain hostports-masq of table inet"),
            ("nft flush chain inet ferrule hostports-guard", "chain hostports-guard of table"),
            ("nft flush ruleset", "table inet ferrule is missing"),
        ],
    );
    found(
        &json!({"masqAll": true}),
        &[(
            "nft delete element inet ferrule hostport-all4 '{ tcp . 10.1.0.2 . 80 }'",
            "element tcp 10.1.0.2:80 of hostport-all4",
        )],
    );
    found(
        &json!({"snat": false}),
        &[(
            "nft delete element inet ferrule hostport-not-lo '{ tcp . 8080 }'",
            "element tcp 0.0.0.0:8080 of hostport-not-lo",
        )],
    );
}

#[test]
fn another_attachments_element_is_named() {
    let (node, pod) = (Node::new(), Pod::new());
    let mapped = mapped(&node, &pod, &json!({}));
    node.sh(
        "nft delete element inet ferrule hostports4 '{ tcp . 8080 }'
         nft add element inet ferrule hostports4 '{ tcp . 8080 comment \"theirs\" : 10.1.0.2 . 80 }'",
    );
    mapped.try_ports("CHECK").err().expect(101, "has the comment \"theirs\"");
    // It is not taken from them.
    mapped.try_ports("ADD").err().expect(7, "with the comment \"theirs\"");
}

#[test]
fn check_needs_a_result() {
    let (node, pod) = (Node::new(), Pod::new());
    let mapped = mapped(&node, &pod, &json!({}));
    let bare = mapped.ports.call("CHECK", None).run(&node);
    bare.err().expect(7, "Required prevResult missing");
}

#[test]
fn without_mappings_there_is_nothing_to_differ() {
    let (node, pod) = (Node::new(), Pod::new());
    let mapped = Mapped::add(&node, &pod, &conf::dual(), &portmap(&json!([])));
    mapped.try_ports("CHECK").ok();
    assert_eq!(crate::rules(&node), "");
}
