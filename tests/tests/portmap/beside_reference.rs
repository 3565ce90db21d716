//! What the reference accepts and refuses, and what is another answer here by intent.

use ferrule_tests::conf::{self, with};
use ferrule_tests::{Bins, Node, Pod};
use serde_json::{Value, json};

use crate::{Mapped, port, port_on, portmap};

/// Whether ADD of ours and of the reference's succeeds, each on a node of its own.
fn accepted(config: &Value) -> [bool; 2] {
    [false, true].map(|reference| {
        let (node, pod) = (Node::new(), Pod::new());
        let main = with(&conf::dual(), &json!({"cniVersion": config["cniVersion"]}));
        let mut mapped = Mapped::without_ports(&node, &pod, &main, config);
        if reference {
            mapped.ports = mapped.ports.by(&Bins::reference());
        }
        mapped.try_ports("ADD").code == Some(0)
    })
}

fn keys(keys: &Value) -> Value {
    with(&portmap(&json!([port(8080, 80, "tcp")])), keys)
}

#[test]
fn both_accept_and_refuse_the_same() {
    let bad_port = |host: i64, pod: i64| {
        portmap(&json!([{"hostPort": host, "containerPort": pod, "protocol": "tcp"}]))
    };
    for (config, both) in [
        (keys(&json!({})), true),
        (keys(&json!({"snat": false})), true),
        (keys(&json!({"masqAll": true})), true),
        (keys(&json!({"backend": "nftables"})), true),
        (keys(&json!({"backend": "iptables", "markMasqBit": 20})), true),
        (keys(&json!({"conditionsV4": [], "conditionsV6": null})), true),
        (keys(&json!({"SNAT": true, "unknown": 1})), true),
        (portmap(&json!([])), true),
        (portmap(&Value::Null), true),
        (portmap(&json!([port_on("0.0.0.0", 1, 2, "udp"), port_on("::", 3, 4, "tcp")])), true),
        (portmap(&json!([port(65535, 65535, "udp")])), true),
        (keys(&json!({"backend": "ipvs"})), false),
        (keys(&json!({"backend": ""})), false),
        (keys(&json!({"markMasqBit": 32})), false),
        (keys(&json!({"markMasqBit": 1, "externalSetMarkChain": "X"})), false),
        (keys(&json!({"backend": "nftables", "externalSetMarkChain": "X"})), false),
        (keys(&json!({"snat": 1})), false),
        (bad_port(0, 80), false),
        (bad_port(80, 0), false),
        (bad_port(-5, 80), false),
        (bad_port(65536, 80), false),
        (portmap(&json!([port(80, 80, "icmp")])), false),
    ] {
        assert_eq!(accepted(&config), [both; 2], "ours, the reference's: {config}");
    }
}

#[test]
fn what_differs_is_intended() {
    for (config, ours_and_theirs) in [
        // An address that is none is no rule there, and no error.
        (portmap(&json!([port_on("::1", 80, 80, "tcp")])), [false, true]),
        // Conditions are words of iptables.
        (keys(&json!({"conditionsV4": ["!", "-d", "192.0.2.0/24"]})), [false, true]),
        (portmap(&json!([port(80, 80, "TCP"), port(80, 81, "tcp")])), [false, true]),
    ] {
        assert_eq!(accepted(&config), ours_and_theirs, "{config}");
    }
}

/// The result is the one that the reference passes on.
#[test]
fn results_are_the_same_in_every_version() {
    for version in ["0.2.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (node, pod) = (Node::new(), Pod::new());
        let old = json!({"cniVersion": version});
        let main = with(&conf::dual(), &old);
        let mapped = Mapped::without_ports(&node, &pod, &main, &with(&keys(&json!({})), &old));
        let ours = mapped.add_ports();
        mapped.try_ports("DEL").ok();
        let theirs = mapped.ports.clone().by(&Bins::reference());
        let theirs = theirs.call("ADD", Some(&mapped.result)).run(&node).ok();
        assert_eq!(ours, theirs, "{version}");
    }
}
