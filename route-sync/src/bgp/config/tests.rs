use super::*;
use crate::config::read::parse;
use crate::config::{Config, Source};
use std::fs;

const NODE: &str = "[node]\naddresses = [\"192.0.2.11\"]\npod-cidrs = [\"10.244.1.0/24\"]\n";
const PEER: &str = "[[bgp.peer]]\naddress = \"192.0.2.254\"\nasn = 65100\n";

fn read(text: &str) -> Result<Config, Vec<String>> {
    parse(text, Some("host"))
}

/// `bgp` are lines under `[bgp]`, `peer` of its one peer.
fn with(bgp: &str, peer: &str) -> Result<Config, Vec<String>> {
    read(&format!("[bgp]\nasn = 65001\n{bgp}\n{PEER}{peer}\n{NODE}"))
}

#[test]
fn omitted_keys_have_defaults() {
    let cluster = "cluster-cidrs = [\"10.244.0.0/16\"]\n";
    let config = read(&format!("{cluster}[bgp]\nasn = 65001\n{PEER}{NODE}")).unwrap();
    let peer = Peer {
        address: "192.0.2.254".parse().unwrap(),
        port: 179,
        asn: 65100,
        password: None,
        multihop: None,
        ttl_security: false,
        passive: false,
        local_address: None,
        extended_next_hop: false,
        allowas_in: 0,
        enforce_first_as: true,
        max_prefixes: 200_000,
    };
    let bgp = Bgp {
        asn: 65001,
        router_id: None,
        listen: vec![],
        announce: None,
        communities: Communities::default(),
        import_cidrs: vec!["10.244.0.0/16".parse().unwrap()],
        import_written: false,
        import_max_length: (32, 128),
        hold_time: 90,
        connect_retry: Duration::from_secs(10),
        stale_time: Duration::from_secs(120),
        peers: vec![peer],
    };
    assert_eq!(config.bgp, Some(bgp));
    let (addresses, pod_cidrs) =
        (vec!["192.0.2.11".parse().unwrap()], vec!["10.244.1.0/24".parse().unwrap()]);
    assert_eq!(config.source, Source::Node { addresses, pod_cidrs });
}

/// What is learned counts inside of import-cidrs alone, which are the cluster's unless written.
#[test]
fn a_speaker_that_takes_nothing_is_warned_of() {
    let warns = |bgp: &str| with(bgp, "").unwrap().bgp.unwrap().warning().is_some();
    assert!(warns(""));
    assert!(!warns("import-cidrs = []") && !warns("import-cidrs = [\"10.0.0.0/8\"]"));
    let cluster =
        read(&format!("cluster-cidrs = [\"10.244.0.0/16\"]\n[bgp]\nasn = 65001\n{PEER}{NODE}"));
    assert_eq!(cluster.unwrap().bgp.unwrap().warning(), None);
}

#[test]
fn every_key_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "secret\n").unwrap();
    let config = with(
        "router-id = \"192.0.2.11\"\nlisten = [\"0.0.0.0\", \"[::]:1179\"]\n\
         announce = [\"10.244.1.0/24\"]\ncommunities = [\"65001:7\", \"no-export\", \"65001:1:2\"]\n\
         import-cidrs = [\"10.0.0.0/8\"]\nimport-max-length-ipv4 = 26\n\
         import-max-length-ipv6 = 64\nhold-time = 0\nconnect-retry = 3\nstale-time = 5",
        &format!(
            "port = 1179\npassword-file = \"{}\"\nmultihop = 2\npassive = true\n\
             local-address = \"192.0.2.11\"\nextended-next-hop = true\nallowas-in = 2\nttl-security = true\nenforce-first-as = false",
            file.display()
        ),
    );
    let bgp = config.unwrap().bgp.unwrap();
    assert_eq!(bgp.listen, ["0.0.0.0:179", "[::]:1179"].map(|listen| listen.parse().unwrap()));
    assert_eq!(bgp.announce.as_ref().map(Vec::len), Some(1));
    assert_eq!(bgp.communities.names(), ["65001:7", "no-export", "65001:1:2"]);
    assert_eq!((bgp.import_max_length, bgp.hold_time), ((26, 64), 0));
    assert_eq!((bgp.connect_retry.as_secs(), bgp.stale_time.as_secs()), (3, 5));
    let peer = &bgp.peers[0];
    assert_eq!((peer.port, peer.multihop, peer.passive), (1179, Some(2), true));
    assert_eq!((peer.allowas_in, peer.least_ttl()), (2, Some(254)));
    assert_eq!((peer.extended_next_hop, peer.enforce_first_as), (true, false));
    assert_eq!(peer.password, Some(Password(b"secret".to_vec())));
    assert!(!format!("{bgp:?}").contains("secret"));
}

#[test]
fn each_fault_is_reported_with_line_key_value_and_remedy() {
    for (bgp, peer, expected) in [
        ("asn = 1", "", "duplicate key"),
        (
            "router-id = \"0.0.0.0\"",
            "",
            "line 3: bgp.router-id is \"0.0.0.0\": write it as an IPv4",
        ),
        ("listen = [\"all\"]", "", "line 3: bgp.listen has \"all\": write an address"),
        ("communities = [\"1\"]", "", "bgp.communities has \"1\": write two numbers"),
        ("import-max-length-ipv4 = 33", "", "write a number from 1 to 32"),
        ("hold-time = 2", "", "bgp.hold-time is 2: write 0, or 3 and more"),
        ("announce = [\"10.244.1.1/24\"]", "", "write \"10.244.1.0/24\""),
        ("typo = 1", "", "line 3: bgp.typo is no key"),
        ("", "multihop = 1", "bgp.peer.multihop is 1: write a number from 2 to 255"),
        ("", "allowas-in = 11", "bgp.peer.allowas-in is 11: write a number from 0 to 10"),
        ("", "ttl-security = 255", "bgp.peer.ttl-security is 255: write true or false"),
        ("", "passive = true", "nothing listens: write listen = [\"0.0.0.0\"] under [bgp]"),
        ("listen = [\"::\"]", "passive = true", "write listen = [\"0.0.0.0\"]"),
        ("", "local-address = \"2001:db8::1\"", "of another family than 192.0.2.254"),
        ("", "password-file = \"x\"", "begins with /"),
        ("", "password-file = \"/nonexistent\"", "cannot read it: No such file"),
        ("", "next-hop = \"self\"", "bgp.peer.next-hop is no key: write one of address"),
    ] {
        let faults = with(bgp, peer).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains(expected), "{expected}: {faults:?}");
    }
}

#[test]
fn missing_and_duplicate_keys_are_reported_all_at_once() {
    let text = format!(
        "[bgp]\n[[bgp.peer]]\naddress = \"fe80::1\"\n[[bgp.peer]]\nasn = 23456\n{PEER}{PEER}{NODE}"
    );
    let faults = read(&text).unwrap_err();
    let expected = [
        "line 1: bgp.asn is missing: write it, as asn = 65001",
        "line 2: bgp.peer.asn is missing",
        "line 3: bgp.peer.address is \"fe80::1\": write an address that identifies one host",
        "line 4: bgp.peer.address is missing",
        "line 5: bgp.peer.asn is 23456: it is reserved",
        "line 10: bgp.peer.address is \"192.0.2.254\": it is another peer's too",
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}\n{expected}");
    }
    assert!(read(&format!("[bgp]\nasn = 1\n{NODE}")).unwrap_err()[0].contains("has no peer"));
    assert!(read(&format!("bgp = 1\n{NODE}")).unwrap_err()[0].contains("write a table [bgp]"));
    let one = format!("[bgp]\nasn = 1\npeer = \"192.0.2.254\"\n{NODE}");
    assert!(read(&one).unwrap_err()[0].contains("write a table [[bgp.peer]]"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    for content in [vec![], vec![b'x'; 81]] {
        fs::write(&file, content).unwrap();
        let faults = with("", &format!("password-file = \"{}\"", file.display())).unwrap_err();
        assert!(faults[0].contains("write 1 to 80"), "{faults:?}");
    }
}

#[test]
fn a_node_stands_in_for_a_source_with_bgp_only() {
    let source = "[source]\ntype = \"file\"\npath = \"/nodes\"\n";
    assert!(read(&format!("[bgp]\nasn = 1\n{PEER}{source}")).is_ok());
    let faults = read(&format!("[bgp]\nasn = 1\n{PEER}{source}{NODE}")).unwrap_err();
    assert!(faults[0].contains("[source] describes this node, and [node] too"), "{faults:?}");
    let faults = read(NODE).unwrap_err();
    assert!(faults[0].starts_with("line 1: [node] alone names no other node"), "{faults:?}");
    let faults = read(&format!("mode = \"vxlan\"\n[bgp]\nasn = 1\n{PEER}{NODE}")).unwrap_err();
    assert!(faults[0].contains("mode is \"vxlan\" and [node]"), "{faults:?}");
    let faults = read(&format!("[bgp]\nasn = 1\n{PEER}[node]\n")).unwrap_err();
    assert!(faults[0].contains("[node] wants addresses and pod-cidrs"), "{faults:?}");
    let faults = read(&format!("[bgp]\nasn = 1\n{PEER}")).unwrap_err();
    assert!(faults[0].contains("or with [bgp] a [node]"), "{faults:?}");
}
