use super::read::parse;
use super::*;

#[test]
fn little_must_be_written() {
    let config = parse("[source]\ntype = \"files\"\npath = \"/etc/x\"\n", Some("n1")).unwrap();
    let expected = Config {
        node_name: "n1".into(),
        run_dir: "/run/ferrule".into(),
        strict: true,
        add_wait: Duration::from_millis(500),
        source: Source::Files { path: "/etc/x".into() },
        metrics: None,
    };
    assert_eq!(config, expected);
}

#[cfg(feature = "kubernetes")]
#[test]
fn the_api_server_is_reached_by_the_service_account_or_a_kubeconfig() {
    let of = |more: &str| {
        parse(&format!("[source]\ntype = \"kubernetes\"\n{more}"), Some("n1")).unwrap()
    };
    assert_eq!(of("").source, Source::Kubernetes { kubeconfig: None });
    let kubeconfig = Some(PathBuf::from("/etc/kubernetes/admin.conf"));
    assert_eq!(
        of("kubeconfig = \"/etc/kubernetes/admin.conf\"").source,
        Source::Kubernetes { kubeconfig }
    );
}

#[test]
fn every_fault_is_named_at_once() {
    let text = "strict = 1\nadd-wait = 99999\nrun-dir = \"x\"\n[source]\ntype = \"files\"\n\
                kubeconfig = \"/x\"\npath = \"/y\"\n[metrics]\nlisten = \"x\"\n";
    let faults = parse(text, Some("n1")).unwrap_err();
    for part in [
        "line 1: strict is 1: write true or false",
        "line 2: add-wait is 99999: ",
        "line 3: run-dir is \"x\": ",
        "line 4: source.kubeconfig is for type = \"kubernetes\": remove it, or change the type",
        "line 9: metrics.listen is \"x\": ",
    ] {
        assert!(faults.iter().any(|it| it.starts_with(part)), "{part}: {faults:?}");
    }
    assert_eq!(faults.len(), 5, "{faults:?}");
}

#[test]
fn a_source_is_asked_for() {
    let faults = parse("", None).unwrap_err();
    assert_eq!(faults[0], "node-name is missing and the host has no name: write one");
    assert!(
        faults[1].starts_with("source.type is missing: write [source] with type = "),
        "{faults:?}"
    );
    let faults = parse("[source]\ntype = \"files\"\n", Some("n1")).unwrap_err();
    assert!(faults[0].contains("source.path is missing: write path = "), "{faults:?}");
    let faults = parse("[source]\ntype = \"etcd\"\n", Some("n1")).unwrap_err();
    assert_eq!(faults, ["line 2: source.type is \"etcd\": write \"kubernetes\" or \"files\""]);
}
