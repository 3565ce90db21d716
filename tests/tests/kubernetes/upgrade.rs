//! Executables that are replaced under traffic.

use ferrule_tests::kubernetes::{NODES, Scope, alone};
use serde_json::json;

use crate::flow::Flow;

#[test]
fn no_packet_is_lost_while_executables_and_daemons_are_replaced() {
    let cluster = alone();
    let scope = Scope::new(&cluster, "upgrade");
    let near = scope.pod_on("one", "near", &json!({}));
    let far = scope.pod_on("three", "far", &json!({}));
    let flow = Flow::start(&scope, &near, &far.addresses);
    for node in NODES {
        cluster.cluster(&["upgrade", node]);
        flow.goes_on();
    }
    flow.lost_nothing();
    let new = scope.pod_on("three", "new", &json!({}));
    scope.kubectl("delete pod far --now=true --wait=true");
    let again = scope.pod_on("three", "again", &json!({}));
    scope.all_reach_each_other(&[near, new, again]);
}
