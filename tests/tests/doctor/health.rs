//! Nothing to say.

use crate::bench::{Bench, ferrule, well, write_conflist};
use ferrule_tests::cluster::{self, Cluster};
use ferrule_tests::{Node, Snapshot};

#[test]
fn a_healthy_node_is_one_line() {
    let bench = Bench::new();
    well(&bench.node);
    let said = ferrule(&bench.node, "doctor");
    assert_eq!(said.status.code(), Some(0), "{}{}", said.stdout, said.stderr);
    assert_eq!(said.stdout.lines().count(), 1, "{}", said.stdout);
    assert!(
        said.stdout.starts_with("well: ") && said.stderr.is_empty(),
        "{}{}",
        said.stdout,
        said.stderr
    );
}

#[test]
fn healthy_nodes_of_a_cluster_are_well_with_and_without_pods() {
    let cluster = Cluster::with("[masquerade]\nenabled = true\n", &cluster::ALL);
    let node = |at: usize| &cluster.members[at].node;
    (0..3).for_each(|at| write_conflist(node(at), "10-cluster.conflist", &cluster::network()));
    well(node(0));
    let pods: Vec<_> = cluster.members.iter().map(cluster::Member::pod).collect();
    (0..3).for_each(|at| well(node(at)));
    drop(pods);
}

#[test]
fn nothing_is_changed() {
    let bench = Bench::new();
    let before = Snapshot::of(&bench.node);
    for arguments in
        ["doctor", "ls", "doctor --json", &format!("trace {} 198.51.100.2", bench.address())]
    {
        ferrule(&bench.node, arguments);
    }
    ferrule_tests::snapshot::assert_same(&before, &Snapshot::of(&bench.node));
}

#[test]
fn without_privileges_it_cannot_tell() {
    let node = Node::new();
    let exe = ferrule_tests::Bins::ours().exe("ferrule");
    write_conflist(&node, "10-pods.conflist", &ferrule_tests::conf::full());
    let said = ferrule_tests::node::Place::try_run(
        &node,
        &format!(
            "setpriv --bounding-set -all --inh-caps -all {} doctor \
             --conf-dir /run/net.d --bin-dir {}",
            exe.display(),
            ferrule_tests::Bins::ours().dir().display()
        ),
    );
    assert_eq!(said.status.code(), Some(2), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.starts_with("cannot tell: "), "{}", said.stdout);
    assert!(said.stdout.contains("\nnot read:\n"), "{}", said.stdout);
}
