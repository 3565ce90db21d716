//! A network that loses and delays packets below the tunnel.

use ferrule_tests::cluster::{Cluster, Member};
use ferrule_tests::node::Place;
use ferrule_tests::packets::bulk_within;
use serde_json::json;
use std::time::Duration;

const PROBE: &str = "[probe]\nenabled = true\ninterval = 1";

fn rounds(member: &Member) -> u64 {
    member.status().unwrap()["probe"]["rounds"].as_u64().unwrap()
}

/// One packet of ten is lost, each way: connections across go on, and nothing is taken for broken,
/// neither by the daemon nor by its probe.
#[test]
fn one_packet_of_ten_is_lost_and_nothing_is_removed() {
    let cluster = Cluster::with(PROBE, &["one", "three"]);
    let [one, three] = [0, 1].map(|at: usize| &cluster.members[at]);
    let ((near, _), (far, to_far)) = (one.pod(), three.pod());
    let (kept, before) = (one.kept(), rounds(one));
    let lossy = "root netem loss random 10% delay 5ms 2ms";
    one.node.run(&format!("tc qdisc add dev eth0 {lossy}"));
    cluster.router.run(&format!("tc qdisc add dev one {lossy}"));
    for address in &to_far {
        bulk_within(&near, &far, address, 200_000, Duration::from_secs(60)).unwrap();
    }
    one.status_when(|status| status["probe"]["rounds"].as_u64().unwrap() > before + 5);
    let status = one.status().unwrap();
    assert_eq!(status["problems"], json!([]), "{}", one.log());
    assert_eq!(status["synced"], true);
    assert_eq!(one.kept(), kept);
    let lost = cluster.router.json("tc -s -j qdisc show dev one");
    assert!(lost[0]["drops"].as_u64().unwrap() > 0, "nothing was lost: {lost}");
}
