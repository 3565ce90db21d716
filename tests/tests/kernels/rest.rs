//! A daemon that has nothing to do.

use ferrule_tests::cluster::Cluster;
use ferrule_tests::node::Place;

/// Kernels report some changes twice, and its own changes are reported to it: it answers none of
/// these with another change.
#[test]
fn a_daemon_in_step_changes_nothing() {
    let cluster = Cluster::with("", &["one", "three"]);
    let member = &cluster.members[0];
    member.pod();
    member.in_sync();
    let watch = |monitor: &str| member.node.try_run(&format!("timeout 3 {monitor}")).stdout;
    // What came before is done with.
    watch("bridge monitor fdb");
    for monitor in ["bridge monitor fdb", "ip monitor route link address"] {
        assert_eq!(watch(monitor), "", "{}", member.log());
    }
}
