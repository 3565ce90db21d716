//! What a configuration may say, and what is refused, with which words.

use ferrule_tests::conf::{self, with};
use ferrule_tests::{Node, Pod};
use serde_json::{Value, json};

use crate::{Mapped, port, port_on, portmap, rules};

/// A pod, whose ADD of these mappings and keys fails so, and leaves nothing.
#[track_caller]
fn is_refused(mappings: &Value, keys: &Value, code: u64, parts: &[&str]) {
    let (node, pod) = (Node::new(), Pod::new());
    let config = with(&portmap(mappings), keys);
    let mapped = Mapped::without_ports(&node, &pod, &conf::dual(), &config);
    for command in ["ADD", "CHECK"] {
        let error = mapped.try_ports(command).err();
        parts.iter().for_each(|part| error.expect(code, part));
    }
    let status = mapped.ports.status();
    parts.iter().for_each(|part| status.err().expect(code, part));
    assert_eq!(rules(&node), "");
    mapped.try_ports("DEL").ok();
}

#[test]
fn ports_are_1_to_65535() {
    for bad in [0, -1, 65536, 1_i64 << 40] {
        let value = bad.to_string();
        let host =
            json!([port(1, 1, "tcp"), {"hostPort": bad, "containerPort": 80, "protocol": "tcp"}]);
        let text = format!("Invalid host port number: {value}");
        is_refused(&host, &json!({}), 7, &[&text, "1 to 65535", "portMappings[1]"]);
        let pod = json!([{"hostPort": 80, "containerPort": bad, "protocol": "tcp"}]);
        let text = format!("Invalid container port number: {value}");
        is_refused(&pod, &json!({}), 7, &[&text, "1 to 65535", "portMappings[0]"]);
    }
}

#[test]
fn other_protocols_are_refused_by_name() {
    for bad in ["", "icmp", "tcp ", "tcp; flush ruleset", "6"] {
        let name = format!("{bad:?}");
        is_refused(&json!([port(80, 80, bad)]), &json!({}), 7, &[&name, "tcp, udp or sctp"]);
    }
}

#[test]
fn a_host_ip_that_is_no_address_is_refused() {
    for bad in [
        "x",
        "10.0.0",
        "10.0.0.0/8",
        "fe80::1%eth0",
        "224.0.0.1",
        "239.1.2.3",
        "::ffff:224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:255.255.255.255",
    ] {
        let mapping = json!([port_on(bad, 80, 80, "tcp")]);
        is_refused(&mapping, &json!({}), 7, &[&format!("invalid hostIP {bad:?}")]);
    }
    is_refused(&json!([port_on("::1", 80, 80, "tcp")]), &json!({}), 7, &["route_localnet"]);
    let loopback = json!([port_on("127.0.0.1", 80, 80, "tcp")]);
    is_refused(
        &loopback,
        &json!({"snat": false}),
        7,
        &["invalid hostIP \"127.0.0.1\"", "set snat"],
    );
}

#[test]
fn values_of_another_type_are_refused_by_place() {
    for (keys, place) in [
        (json!({"snat": "yes"}), "snat"),
        (json!({"masqAll": 1}), "masqAll"),
        (json!({"runtimeConfig": {"portMappings": {}}}), "runtimeConfig.portMappings"),
        (
            json!({"runtimeConfig": {"portMappings": [{"hostPort": "80"}]}}),
            "portMappings[0].hostPort",
        ),
        (json!({"conditionsV4": "x"}), "conditionsV4"),
        (json!({"runDir": "relative"}), "runDir"),
    ] {
        is_refused(&json!([]), &keys, 7, &[place]);
    }
}

#[test]
fn backends_are_the_references_and_both_are_nftables() {
    let mapping = json!([port(8080, 80, "tcp")]);
    let other = json!({"backend": "ipvs"});
    is_refused(&mapping, &other, 7, &["unrecognized backend \"ipvs\""]);
    for keys in [json!({"backend": "nftables"}), json!({"backend": "iptables"}), json!({})] {
        let (node, pod) = (Node::new(), Pod::new());
        Mapped::add(&node, &pod, &conf::v4(), &with(&portmap(&mapping), &keys))
            .try_ports("CHECK")
            .ok();
        assert_eq!(ferrule_tests::node::Place::run(&node, "iptables-save"), "");
    }
}

#[test]
fn keys_of_marks_are_read_and_nothing_is_marked() {
    let mapping = json!([port(8080, 80, "tcp")]);
    let both = json!({"markMasqBit": 3, "externalSetMarkChain": "KUBE-MARK-MASQ"});
    is_refused(&mapping, &both, 7, &["Cannot specify externalSetMarkChain and markMasqBit"]);
    for bit in [-1, 32] {
        let keys = json!({"markMasqBit": bit});
        is_refused(&mapping, &keys, 7, &["MasqMarkBit must be between 0 and 31"]);
    }
    let nft = json!({"backend": "nftables", "externalSetMarkChain": "KUBE-MARK-MASQ"});
    is_refused(&mapping, &nft, 7, &["iptables-specific options [externalSetMarkChain]"]);
    for keys in [json!({"markMasqBit": 14}), json!({"externalSetMarkChain": "KUBE-MARK-MASQ"})] {
        let (node, pod) = (Node::new(), Pod::new());
        let config = with(&portmap(&mapping), &keys);
        let mapped = Mapped::without_ports(&node, &pod, &conf::v4(), &config);
        let added = mapped.try_ports("ADD");
        added.ok();
        let warned = added.stderr.contains("\"KUBE-MARK-MASQ\" is not used");
        assert_eq!(warned, keys.get("externalSetMarkChain").is_some(), "{}", added.stderr);
    }
}

#[test]
fn conditions_are_code_2_with_key_and_value() {
    let mapping = json!([port(8080, 80, "tcp")]);
    for (key, words, text) in [
        ("conditionsV4", json!(["!", "-d", "192.0.2.0/24"]), "! -d 192.0.2.0/24"),
        ("conditionsV6", json!(["ip6", "daddr", "!=", "fc00::/7"]), "ip6 daddr != fc00::/7"),
    ] {
        let mut keys = json!({});
        keys[key] = words;
        is_refused(&mapping, &keys, 2, &[&format!("{key} is not supported"), text]);
    }
    let (node, pod) = (Node::new(), Pod::new());
    let empty = json!({"conditionsV4": [], "conditionsV6": [""]});
    Mapped::add(&node, &pod, &conf::v4(), &with(&portmap(&mapping), &empty));
}

#[test]
fn keys_count_in_any_case_and_unknown_ones_are_ignored() {
    let (node, pod) = (Node::new(), Pod::new());
    let config = json!({"cniVersion": conf::version(), "name": "pods", "type": "portmap",
        "SNAT": false, "MasqALL": true, "unknown": {"a": 1},
        "RuntimeConfig": {"PORTMAPPINGS": [
            {"HOSTPORT": 8080, "ContainerPort": 80, "PROTOCOL": "TCP", "HostIP": "", "x": 1}]}});
    Mapped::add(&node, &pod, &conf::v4(), &config);
    assert!(rules(&node).contains("hostport-not-lo"));
    let listed = ferrule_tests::node::Place::run(&node, "nft list map inet ferrule hostports4");
    assert!(listed.contains("tcp . 8080 comment"), "{listed}");
}

#[test]
fn add_needs_a_result() {
    let (node, pod) = (Node::new(), Pod::new());
    let bare = node.attach(&portmap(&json!([port(8080, 80, "tcp")])), &pod);
    bare.try_add().err().expect(7, "must be called as chained plugin");
    assert_eq!(rules(&node), "");
}

#[test]
fn status_is_ready() {
    let (node, pod) = (Node::new(), Pod::new());
    node.attach(&portmap(&json!([])), &pod).status().ok();
}

/// A result of any version is passed on as it came.
#[test]
fn results_of_every_version_are_passed_on() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let (node, pod) = (Node::new(), Pod::new());
        let old = json!({"cniVersion": version});
        let ports = with(&portmap(&json!([port(8080, 80, "tcp")])), &old);
        let mapped = Mapped::add(&node, &pod, &with(&conf::dual(), &old), &ports);
        for family in ["4", "6"] {
            let map = format!("nft list map inet ferrule hostports{family}");
            assert!(ferrule_tests::node::Place::run(&node, &map).contains("8080"), "{version}");
        }
        mapped.try_ports("DEL").ok();
        assert_eq!(rules(&node), "", "{version}");
    }
}

/// The pod's address is that of `CNI_IFNAME`, the first of each family.
#[test]
fn the_first_address_of_the_interface_counts() {
    let (node, pod) = (Node::new(), Pod::new());
    let mut mapped =
        Mapped::without_ports(&node, &pod, &conf::v4(), &portmap(&json!([port(8080, 80, "tcp")])));
    let own = mapped.result["ips"][0].clone();
    let other = with(&own, &json!({"address": "10.9.9.9/24", "interface": 0}));
    let second = with(&own, &json!({"address": "10.9.9.8/24"}));
    mapped.result["ips"] = json!([other, own, second]);
    mapped.add_ports();
    let listed = ferrule_tests::node::Place::run(&node, "nft list map inet ferrule hostports4");
    assert!(listed.contains(": 10.1.0.2 . 80") && !listed.contains("10.9.9"), "{listed}");
}

#[test]
fn a_mapping_that_leads_to_no_address_is_warned_of() {
    let (node, pod) = (Node::new(), Pod::new());
    let ports = json!([port_on("2001:db8::1", 8080, 80, "tcp"), port(8081, 80, "tcp")]);
    let mapped = Mapped::without_ports(&node, &pod, &conf::v4(), &portmap(&ports));
    let added = mapped.try_ports("ADD");
    added.ok();
    assert!(added.stderr.contains("hostPort 8080 leads nowhere"), "{}", added.stderr);
    assert!(!added.stderr.contains("8081"), "{}", added.stderr);
}
