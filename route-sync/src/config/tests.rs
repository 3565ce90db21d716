use super::read::parse;
use super::*;
use proptest::prelude::*;

const SOURCE: &str = "[source]\ntype = \"file\"\npath = \"/etc/ferrule/nodes.toml\"\n";

fn faults(text: &str) -> Vec<String> {
    parse(text, Some("host")).unwrap_err()
}

#[test]
fn omitted_keys_have_defaults() {
    let config = parse(SOURCE, Some("host")).unwrap();
    let path = PathBuf::from("/etc/ferrule/nodes.toml");
    assert_eq!(
        config,
        Config {
            node_name: "host".to_owned(),
            mode: Mode::Auto,
            cluster_cidrs: vec![],
            service_cidrs: vec![],
            run_dir: "/run/ferrule".into(),
            state_dir: "/var/lib/ferrule".into(),
            resync_interval: Some(Duration::from_secs(60)),
            source: Source::File { path },
            bgp: None,
            vxlan: Vxlan { vni: 100, port: 4789, underlay: None, prefer_ipv6: false, mtu: None },
            masquerade: Masquerade { enabled: false, random_fully: true, exclude_cidrs: vec![] },
            probe: None,
            metrics: None,
            cni: None,
        }
    );
}

#[test]
fn every_key_is_read() {
    let text = format!(
        "node-name = \"one\"\nmode = \"vxlan\"\ncluster-cidrs = [\"10.244.0.0/16\", \
         \"fd00:10:244::/48\"]\nservice-cidrs = [\"10.96.0.0/12\"]\nrun-dir = \"/run/other\"\n\
         state-dir = \"/var/lib/other\"\nresync-interval = 0\n{SOURCE}[vxlan]\nvni = 7\n\
         port = 8472\nunderlay = \"eth0\"\nprefer = \"ipv6\"\nmtu = 1400\n[masquerade]\nenabled = true\n\
         random-fully = false\nexclude-cidrs = [\"198.51.100.0/24\"]\n[probe]\nenabled = true\n\
         interval = 5\npeers = 2\n[metrics]\nlisten = \"[::1]:9478\"\n[cni]\n\
         template = \"/t/a.conflist\"\nconf-dir = \"/c\"\nconf-name = \"05-x.conflist\"\nbin-dir = \"/b\"\n\
         executables = \"/cni\"\n"
    );
    let config = parse(&text, None).unwrap();
    assert_eq!((config.node_name.as_str(), config.mode), ("one", Mode::Vxlan));
    assert_eq!(config.cluster_cidrs.len(), 2);
    assert_eq!(config.service_cidrs, vec!["10.96.0.0/12".parse::<IpNetwork>().unwrap()]);
    assert_eq!(config.run_dir, PathBuf::from("/run/other"));
    assert_eq!(config.state_dir, PathBuf::from("/var/lib/other"));
    assert_eq!(config.resync_interval, None);
    let vxlan = Vxlan {
        vni: 7,
        port: 8472,
        underlay: Some("eth0".to_owned()),
        prefer_ipv6: true,
        mtu: Some(1400),
    };
    assert_eq!(config.vxlan, vxlan);
    let exclude_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
    let masquerade = Masquerade { enabled: true, random_fully: false, exclude_cidrs };
    assert_eq!(config.masquerade, masquerade);
    assert_eq!(config.probe, Some(Probe { interval: Duration::from_secs(5), peers: 2 }));
    assert_eq!(config.metrics, Some("[::1]:9478".parse().unwrap()));
    let cni = Cni {
        template: "/t/a.conflist".into(),
        conf_dir: "/c".into(),
        conf_name: "05-x.conflist".to_owned(),
        bin_dir: "/b".into(),
        executables: Some("/cni".into()),
    };
    assert_eq!(config.cni, Some(cni));
}

#[test]
fn cni_needs_a_template_alone_and_refuses_what_no_runtime_reads() {
    let of = |keys: &str| parse(&format!("{SOURCE}[cni]\n{keys}"), Some("host"));
    let cni = of("template = \"/t\"").unwrap().cni.unwrap();
    assert_eq!(cni.conflist(), PathBuf::from("/etc/cni/net.d/10-ferrule.conflist"));
    assert_eq!((cni.bin_dir, cni.executables), (PathBuf::from("/opt/cni/bin"), None));
    assert!(of("").unwrap_err()[0].starts_with("line 4: cni.template is missing: write the path"));
    for name in ["x.conf", ".conflist", "..conflist", "a/b.conflist", "x.conflist "] {
        let fault = &of(&format!("template = \"/t\"\nconf-name = \"{name}\"")).unwrap_err()[0];
        let wanted = format!("line 6: cni.conf-name is \"{name}\": write a file's name that ends");
        assert!(fault.starts_with(&wanted), "{fault}");
    }
    let itself =
        "template = \"/etc/cni/net.d/10-ferrule.conflist\"\nexecutables = \"/opt/cni/bin\"";
    let faults = of(itself).unwrap_err();
    assert!(faults[0].starts_with("line 4: cni.template is the conflist itself"), "{faults:?}");
    assert!(faults[1].starts_with("line 4: cni.executables is bin-dir"), "{faults:?}");
}

#[test]
fn all_faults_are_reported_at_once_with_line_key_value_and_remedy() {
    let text = "mode = \"host-gw\"\ncluster-cidrs = [\n  \"10.244.1.0/16\",\n  \"10.0.0.1\",\n]\n\
                typo = 1\n[source]\ntype = \"etcd\"\npath = \"nodes.toml\"\n[vxlan]\nvni = 16777216\n\
                port = \"4789\"\nMTU = 1400\n";
    assert_eq!(
        faults(text),
        [
            "line 1: mode is \"host-gw\": write \"auto\", \"direct\" or \"vxlan\"",
            "line 3: cluster-cidrs has \"10.244.1.0/16\": it has host bits set; write \
             \"10.244.0.0/16\"",
            "line 4: cluster-cidrs has \"10.0.0.1\": write a CIDR, as \"10.244.0.0/16\" or \
             \"fd00:10:244::/48\"",
            "line 6: typo is no key: write one of node-name, mode, cluster-cidrs, service-cidrs, \
             run-dir, state-dir, resync-interval, source, vxlan, masquerade, probe, metrics, cni",
            "line 8: source.type is \"etcd\": write \"file\" or \"kubernetes\"",
            "line 9: source.path is \"nodes.toml\": write a path that begins with /",
            "line 11: vxlan.vni is 16777216: write a number from 1 to 16777215",
            "line 12: vxlan.port is \"4789\": write a number from 1 to 65535",
            "line 13: vxlan.MTU is no key: write one of vni, port, underlay, prefer, mtu",
        ]
    );
}

#[test]
fn each_value_has_its_bounds() {
    for (line, key) in [
        ("node-name = \"\"", "node-name is \"\""),
        ("node-name = \"a b\"", "node-name is \"a b\""),
        ("mode = 1", "mode is 1"),
        ("cluster-cidrs = \"10.0.0.0/8\"", "cluster-cidrs is \"10.0.0.0/8\": write a list"),
        ("cluster-cidrs = [\"10.0.0.0/8\", \"10.1.0.0/16\"]", "overlaps 10.0.0.0/8"),
        ("service-cidrs = [\"fd00::1/64\"]", "write \"fd00::/64\""),
        ("run-dir = \"run\"", "run-dir is \"run\""),
        ("run-dir = \"/\"", "run-dir is \"/\""),
        ("run-dir = \"/run/../etc\"", "run-dir is"),
        ("state-dir = false", "state-dir is false"),
        ("resync-interval = -1", "resync-interval is -1: write a number from 0 to 86400"),
        ("resync-interval = 1.5", "resync-interval is 1.5"),
        ("vxlan.vni = 0", "vxlan.vni is 0"),
        ("vxlan.port = 0", "vxlan.port is 0"),
        ("vxlan.port = 65536", "vxlan.port is 65536"),
        ("probe.interval = 0", "probe.interval is 0: write a number from 1 to 3600"),
        ("probe.peers = 1", "probe.peers is 1: write a number from 2 to 256"),
        ("probe.enabled = 1", "probe.enabled is 1"),
        ("vxlan.prefer = \"IPv6\"", "vxlan.prefer is \"IPv6\": write \"ipv4\" or \"ipv6\""),
        ("vxlan.mtu = 575", "vxlan.mtu is 575"),
        ("vxlan.underlay = \"a-name-too-long-1\"", "vxlan.underlay is"),
        ("vxlan = 1", "vxlan is 1: write a table [vxlan]"),
        ("masquerade.enabled = \"yes\"", "masquerade.enabled is \"yes\": write true or false"),
        ("metrics.listen = \"9478\"", "metrics.listen is \"9478\""),
        ("metrics.listen = \"127.0.0.1:0\"", "metrics.listen is"),
        ("mode = \"auto\"\nmode = \"auto\"", "duplicate key"),
    ] {
        let found = faults(&format!("{line}\n{SOURCE}"));
        assert!(found.len() == 1 && found[0].contains(key), "{line}: {found:?}");
    }
    let long = format!("run-dir = \"/{}\"\n{SOURCE}", "a".repeat(100));
    assert!(faults(&long)[0].contains("at most 86 bytes"));
    assert!(parse(SOURCE, None).unwrap_err()[0].contains("node-name is missing"));
}

/// A source names every node's pods; `[node]` names this node's alone.
#[test]
fn masquerade_needs_cluster_cidrs_where_no_source_lists_the_nodes() {
    let enabled = "masquerade.enabled = true\n";
    assert!(parse(&format!("{enabled}{SOURCE}"), Some("host")).is_ok());
    let alone = "[node]\naddresses = [\"192.0.2.1\"]\npod-cidrs = [\"10.1.0.0/24\"]\n[bgp]\nasn = 65001\n\
                 [[bgp.peer]]\naddress = \"192.0.2.254\"\nasn = 65100\n";
    let found = faults(&format!("{enabled}{alone}"));
    assert!(found.len() == 1 && found[0].contains("cluster-cidrs is empty"), "{found:?}");
    let listed = format!("{enabled}cluster-cidrs = [\"10.1.0.0/16\"]\n{alone}");
    assert!(parse(&listed, Some("host")).is_ok());
}

#[test]
fn a_source_is_required_whole() {
    assert!(faults("")[0].starts_with("[source] is missing"));
    assert!(faults("[source]\ntype = \"file\"")[0].starts_with("source.path is missing"));
    assert!(faults("[source]\npath = \"/x\"")[0].starts_with("source.type is missing"));
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_cluster_is_a_source() {
    let cluster = "[source]\ntype = \"kubernetes\"\n";
    let config = parse(cluster, Some("host")).unwrap();
    assert_eq!(config.source, Source::Kubernetes { kubeconfig: None });
    assert!(config.source.assigns_late() && config.source.lists_other_nodes());
    assert_eq!(config.source.to_string(), "kubernetes");
    let config = parse(&format!("{cluster}kubeconfig = \"/k\"\n"), Some("host")).unwrap();
    assert_eq!(config.source.to_string(), "kubernetes /k");
    let extra = faults(&format!("{cluster}path = \"/x\"\n"));
    assert_eq!(extra, ["source.path belongs to type \"file\": leave it out"]);
    let extra = faults(&format!("{SOURCE}kubeconfig = \"/k\"\n"));
    assert_eq!(extra, ["source.kubeconfig belongs to type \"kubernetes\": leave it out"]);
    let wrong = faults(&format!("{cluster}kubeconfig = \"k\"\n"));
    assert_eq!(wrong, ["line 3: source.kubeconfig is \"k\": write a path that begins with /"]);
}

/// NODE_NAME is the node's name where the pod's manifest sets it, and only with that source.
#[cfg(feature = "kubernetes")]
#[test]
fn a_pod_knows_its_node_by_the_environment() {
    let name = |text: &str, of_pod| {
        let names = read::Names { host: Some("host"), of_pod };
        let text = format!("{text}\n[source]\ntype = \"kubernetes\"\n");
        read::parse_with(&text, names).unwrap().node_name
    };
    assert_eq!(name("", Some("node-1")), "node-1");
    assert_eq!(name("", Some("")), "host");
    assert_eq!(name("", None), "host");
    assert_eq!(name("node-name = \"other\"", Some("node-1")), "other");
    let names = read::Names { host: Some("host"), of_pod: Some("node-1") };
    assert_eq!(read::parse_with(SOURCE, names).unwrap().node_name, "host");
}

#[cfg(not(feature = "kubernetes"))]
#[test]
fn a_small_build_says_how_to_get_the_source() {
    let faults = faults("[source]\ntype = \"kubernetes\"\n");
    assert!(faults[0].contains("built with the feature kubernetes"), "{faults:?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let faults = read("/nonexistent/route-sync.toml".as_ref()).unwrap_err();
    assert!(faults[0].starts_with("/nonexistent/route-sync.toml: No such file"), "{faults:?}");
}

#[test]
fn the_one_in_conf_holds_the_defaults() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/route-sync.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let config = parse(&text, Some("host")).unwrap();
    let cluster_cidrs = config.cluster_cidrs.clone();
    let defaults = parse(SOURCE, Some("host")).unwrap();
    // Pods with private addresses want it.
    let masquerade = Masquerade { enabled: true, ..defaults.masquerade.clone() };
    assert_eq!(config, Config { cluster_cidrs, masquerade, ..defaults });
    // What is commented out is true too.
    let all: String = text
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|l| l.contains(" = ") || l.starts_with('['))
                .unwrap_or(line)
        })
        // A file that is not there, and what belongs to the other source.
        .filter(|line| !line.starts_with("password-file") && !line.starts_with("kubeconfig"))
        .flat_map(|line| [line, "\n"])
        .collect();
    parse(&all, Some("host")).unwrap();
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = parse(&text, Some("host"));
    }

    #[test]
    fn no_text_of_our_keys_panics(lines in prop::collection::vec(
        "(\\[(source|vxlan|metrics|masquerade)\\]|(mode|cluster-cidrs|vni|mtu|path|type|listen|run-dir) = (\"[^\"]{0,20}\"|-?[0-9]{1,30}|\\[\"[0-9a-f:./]{0,20}\"\\]|0x[0-9]{1,20}|true|\\{\\}))", 0..12,
    )) {
        if let Err(faults) = parse(&lines.join("\n"), Some("host")) {
            prop_assert!(!faults.is_empty());
        }
    }
}
