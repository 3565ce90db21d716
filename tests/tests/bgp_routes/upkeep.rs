//! What is installed, kept and removed.

use crate::pair::{ANNOUNCED, ANNOUNCED6, Pair, ROUTER, router};
use crate::raw_peer::{AS_PATH, KEEPALIVE, NEXT_HOP, ORIGIN, RawPeer, message, update};
use crate::speaker::Speaker;
use crate::stream::Stream;
use ferrule_tests::background::Background;
use ferrule_tests::node::Place;
use serde_json::Value;
use std::io::{Read, Write};
use std::process::Command;

fn status(pair: &Pair) -> Value {
    serde_json::from_str(&pair.node.command("status --json").stdout).unwrap_or_default()
}

/// The CIDR's entry in `status --json`.
fn entry(pair: &Pair, cidr: &str) -> Value {
    let cidrs = status(pair)["cidrs"].as_array().cloned().unwrap_or_default();
    cidrs.into_iter().find(|entry| entry["cidr"] == cidr).unwrap_or_default()
}

/// Killed at once, its routes stay; the next run keeps what its peers still say, without a moment's
/// gap, and removes what they do not.
#[test]
fn a_killed_daemon_leaves_its_routes_and_the_next_sweeps_what_is_stale() {
    let mut pair = Pair::up();
    let before = pair.node.learned();
    // What the router itself forgets of a node whose session is gone is not looked at here.
    pair.router.sh("ip address add 10.244.9.1/32 dev lo
         ip route add 10.244.1.0/24 via 172.16.0.1 metric 100");
    let pod = pair.node.pod();
    let flow = Stream::start(&pod, &pod.v4, "10.244.9.1");
    drop(pair.node.daemon.take());
    assert_eq!(pair.node.learned(), before);
    let mut monitor = Command::new("ip");
    monitor.args(["monitor", "route"]);
    let _monitor = Background::start_in(pair.node.ns(), None, &monitor, "/run/changes");
    let reported = |s: &Speaker, change: &str| s.node.read("/run/changes").contains(change);
    pair.node.until("changes are reported", |s| {
        // A replacement by the same would be no change.
        s.run("ip route flush 198.51.100.0/24");
        s.run("ip route add 198.51.100.0/24 via 172.16.0.2");
        reported(s, "198.51.100.0/24")
    });
    // One that no peer says any more, of both families.
    pair.node.run("ip -6 route add fd00:10:244:8::/64 via 2001:db8:f::2 proto 119");
    pair.node.run("ip route add 10.244.8.0/24 via 172.16.0.2 proto 119");
    // While its peer is silent, all of it stays.
    pair.router.kill();
    pair.node.start();
    pair.node.until("it tries", |s| s.peer(ROUTER)["lastError"].is_string());
    assert_eq!(pair.node.hops("10.244.8.0/24"), 1);
    assert_eq!(status(&pair)["synced"], false);
    pair.start_router("");
    pair.node.is_up();
    pair.node.learns("10.244.8.0/24", 0);
    pair.node.learns("fd00:10:244:8::/64", 0);
    assert_eq!(pair.node.learned(), before);
    assert_eq!(status(&pair)["synced"], true);
    for gone in ["Deleted 10.244.8.0/24", "Deleted fd00:10:244:8::/64"] {
        pair.node.until(gone, |s| reported(s, gone));
    }
    let changes = pair.node.read("/run/changes");
    assert!(
        !changes.contains(ANNOUNCED) && !changes.contains(ANNOUNCED6),
        "what is alive was touched: {changes}"
    );
    assert_eq!(flow.lost(), 0);
}

/// A peer that never comes holds nothing up for ever.
#[test]
fn what_is_stale_goes_after_a_while_without_the_peer() {
    let mut pair = Pair::new();
    pair.node.run("ip route add 10.244.8.0/24 via 172.16.0.2 proto 119");
    pair.start_node("stale-time = 1", "");
    pair.node.until("swept", |s| s.hops("10.244.8.0/24") == 0);
    assert_eq!(status(&pair)["synced"], true);
    assert!(pair.node.log().contains("those of an earlier run go all the same"));
}

/// One peer that has sent its routes is enough for pods; what is stale waits for the other, which is
/// away, until it is configured no more.
#[test]
fn a_peer_that_is_away_keeps_no_pod_away() {
    let mut pair = Pair::new();
    pair.node.run("ip route add 10.244.8.0/24 via 172.16.0.2 proto 119");
    pair.start_router("");
    pair.start_node("", "[[bgp.peer]]\naddress = \"172.16.0.3\"\nasn = 65100\n");
    pair.node.until("in step", |_| status(&pair)["synced"] == true);
    pair.node.learns(ANNOUNCED, 1);
    assert_eq!(pair.node.bgp()["complete"], false);
    assert_eq!(pair.node.hops("10.244.8.0/24"), 1);
    pair.configure("", "");
    pair.node.until("complete", |s| s.bgp()["complete"] == true);
    pair.node.learns("10.244.8.0/24", 0);
    pair.node.learns(ANNOUNCED, 1);
}

/// Who does not offer RFC 4724 sends no End-of-RIB; its first KEEPALIVE stands for it.
#[test]
fn a_peer_without_graceful_restart_is_complete_with_a_keepalive() {
    let mut pair = Pair::new();
    pair.node.run("ip route add 10.244.8.0/24 via 172.16.0.2 proto 119");
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    raw.open(90);
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
    pair.node.learns(ANNOUNCED, 1);
    assert_eq!(status(&pair)["synced"], false);
    assert_eq!(pair.node.hops("10.244.8.0/24"), 1);
    raw.send(&message(KEEPALIVE, &[]));
    pair.node.learns("10.244.8.0/24", 0);
    pair.node.until("in step", |_| status(&pair)["synced"] == true);
}

/// A stop notifies the peers, and leaves all routes; `cleanup` removes them and no other's.
#[test]
fn a_stop_leaves_the_routes_and_cleanup_removes_them() {
    let mut pair = Pair::up();
    let (learned, mut daemon) = (pair.node.learned(), pair.node.daemon.take().unwrap());
    assert!(learned.contains(ANNOUNCED) && learned.contains(ANNOUNCED6));
    pair.node.run(&format!("kill -TERM {}", daemon.pid()));
    pair.node.until("BIRD has it", |_| {
        pair.router.ask("show protocols all node").contains("Administrative shutdown")
    });
    pair.node.until("it ends", |_| !daemon.running());
    assert_eq!(pair.node.learned(), learned);
    pair.node.run("ip route add 10.244.7.0/24 via 172.16.0.2 proto bird");
    let done = pair.node.command("cleanup");
    assert!(done.stdout.contains(&format!("removed route {ANNOUNCED}")), "{}", done.stdout);
    assert!(pair.node.learned().trim().is_empty());
    assert!(pair.node.run("ip route show proto 118").trim().is_empty());
    assert!(pair.node.run("ip route").contains("10.244.7.0/24"));
}

/// What others delete or alter is restored; what others have in the place of ours is reported and left.
#[test]
fn routes_are_kept_and_those_of_others_are_left_alone() {
    let pair = Pair::new();
    pair.node.run("ip route add 10.244.9.0/24 via 172.16.0.77");
    let mut pair = pair;
    pair.start_router("");
    pair.start_node("", "");
    pair.node.learns(ANNOUNCED6, 1);
    pair.node.until("a conflict", |_| entry(&pair, ANNOUNCED)["state"] == "conflict");
    assert_eq!(pair.node.hops(ANNOUNCED), 0);
    assert!(pair.node.run("ip route").contains("10.244.9.0/24 via 172.16.0.77"));
    pair.node.run("ip route del 10.244.9.0/24 via 172.16.0.77");
    pair.node.learns(ANNOUNCED, 1);
    pair.node.until("synced", |_| entry(&pair, ANNOUNCED)["state"] == "synced");
    assert_eq!(entry(&pair, ANNOUNCED)["path"], "bgp");
    assert_eq!(entry(&pair, ANNOUNCED)["via"], ROUTER);
    for family in ["-4", "-6"] {
        let shown = || pair.node.run(&format!("ip {family} route show proto 119"));
        let before = shown();
        let dst = if family == "-4" { ANNOUNCED } else { ANNOUNCED6 };
        pair.node.run(&format!("ip {family} route del {dst} proto 119"));
        pair.node.until("it is back", |_| shown() == before);
        let metric = if family == "-4" { 0 } else { 1024 };
        pair.node.run(&format!(
            "ip {family} route replace {dst} dev up0 proto 119 metric {metric} mtu 1400"
        ));
        pair.node.until("it is mended", |_| shown() == before);
    }
    // A route that the peer withdraws goes.
    pair.router.ask("disable s4");
    pair.node.until("withdrawn", |s| s.hops(ANNOUNCED) == 0 && s.hops(ANNOUNCED6) == 1);
    assert!(entry(&pair, ANNOUNCED).is_null());
}

/// What the metrics' address answers.
fn scraped() -> String {
    let mut stream = std::net::TcpStream::connect("127.0.0.1:9478").unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// `status` reports a session that is down, and so do metrics.
#[test]
fn a_session_that_is_down_is_reported() {
    let mut pair = Pair::new();
    pair.start_router("");
    pair.start_node("", "[metrics]\nlisten = \"127.0.0.1:9478\"\n");
    pair.node.is_up();
    assert!(pair.node.command("status").status.success());
    let metrics = |pair: &Pair| pair.node.ns().enter(scraped);
    let up = format!("ferrule_route_sync_bgp_session_up{{peer=\"{ROUTER}\",asn=\"65100\"}}");
    pair.node.until("prefixes", |_| metrics(&pair).contains("_bgp_prefixes_out{peer="));
    assert!(metrics(&pair).contains(&format!("{up} 1\n")), "{}", metrics(&pair));
    pair.router.kill();
    let what = format!("bgp peer {ROUTER}");
    let reported = |pair: &Pair| {
        let problems = status(pair)["problems"].as_array().cloned().unwrap_or_default();
        problems.into_iter().find(|problem| problem["what"] == what.as_str())
    };
    pair.node.until("reported", |_| {
        reported(&pair).is_some_and(|problem| {
            problem["error"].as_str().is_some_and(|error| error.contains("Connection refused"))
        })
    });
    assert!(metrics(&pair).contains(&format!("{up} 0\n")), "{}", metrics(&pair));
    assert!(!pair.node.command("status").status.success());
    assert!(!pair.node.command("status bgp").status.success());
    pair.router.start("192.0.2.254", &router(""));
    pair.node.is_up();
    assert!(pair.node.command("status").status.success());
}
