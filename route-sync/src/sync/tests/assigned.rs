//! A pod CIDR that is assigned late, or anew.

use super::*;
use crate::config::Source;

fn set(cidrs: &[&str]) -> NodeSet {
    let node = |name: &str, address: &str, cidrs: &[&str]| Node {
        name: name.to_owned(),
        addresses: vec![address.parse().unwrap()],
        pod_cidrs: cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect(),
    };
    let nodes = vec![node("own", "192.0.2.1", cidrs), node("near", "192.0.2.2", &["10.1.2.0/24"])];
    NodeSet { nodes, ..NodeSet::default() }
}

#[test]
fn a_late_cidr_is_waited_for_and_a_new_one_replaces_the_old_one_at_once() {
    on_a_node(|| {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            run_dir: dir.path().to_owned(),
            source: Source::Kubernetes { kubeconfig: None },
            ..config(Mode::Auto)
        };
        let mut sync = Sync::new(config).unwrap();
        let mut put = |cidrs: &[&str]| {
            sync.set(&set(cidrs), false);
            sync.work();
            let routes = run("ip route show proto 118");
            let problems =
                sync.report().problems.into_iter().map(|it| it.error).collect::<String>();
            {
                let waits =
                    sync.figures().not_ready.is_some_and(|why| why.contains("is not assigned yet"));
                (sync.report().synced, waits, problems, routes)
            }
        };
        let (synced, unassigned, problems, routes) = put(&[]);
        assert!(!synced && unassigned && routes.is_empty(), "{routes}");
        assert!(problems.starts_with("its pod CIDR is not assigned yet: "), "{problems}");
        assert!(node::Node::read(dir.path()).unwrap().is_none());
        let (synced, unassigned, problems, routes) = put(&["10.1.1.0/24"]);
        assert!(synced && !unassigned && problems.is_empty(), "{problems}");
        assert!(
            routes.contains("blackhole 10.1.1.0/24") && routes.contains("10.1.2.0/24"),
            "{routes}"
        );
        // Its Node object was deleted and made again.
        let (_, unassigned, problems, without) = put(&[]);
        assert!(unassigned && !problems.is_empty());
        assert_eq!(without, routes);
        let file = node::Node::read(dir.path()).unwrap().unwrap();
        assert!(!file.synced && file.pod_cidrs.len() == 1, "{file:?}");
        let (_, unassigned, problems, routes) = put(&["10.1.7.0/24"]);
        assert!(!unassigned && problems.is_empty(), "{problems}");
        assert!(routes.contains("blackhole 10.1.7.0/24"), "{routes}");
        assert!(!routes.contains("10.1.1.0/24"), "{routes}");
        assert!(node::Node::read(dir.path()).unwrap().unwrap().synced);
    });
}
