//! Peers that send without end, or more than they may.

use crate::pair::{NODE, Pair, ROUTER};
use crate::raw_peer::{
    AS_PATH, KEEPALIVE, NEXT_HOP, NOTIFICATION, ORIGIN, RawPeer, UPDATE, message, update,
};
use ferrule_tests::node::Place;
use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A second peer, at the router's end too.
const OTHER: &str = "172.16.0.3";
/// RFC 2918, of IPv4.
const REFRESH: u8 = 5;

/// A node with two peers, of which the second is up and has sent a route.
fn two() -> (Pair, RawPeer, RawPeer) {
    let mut pair = Pair::new();
    pair.router.run(&format!("ip address add {OTHER}/24 dev node1"));
    let raw = RawPeer::listen(&pair);
    let mut other = RawPeer::listen_at(&pair, OTHER);
    let second = format!("[[bgp.peer]]\naddress = \"{OTHER}\"\nasn = 65100");
    // Its router ID is the higher one: of two connections the one that it dialled stays.
    pair.start_node("listen = [\"0.0.0.0\"]\nrouter-id = \"203.0.113.1\"", &second);
    other.open(90);
    other.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 8));
    pair.node.learns("10.244.8.0/24", 1);
    (pair, raw, other)
}

/// Sends the same again and again while `meanwhile` runs, or until the node closes.
fn flood(mut stream: TcpStream, bytes: &[u8], meanwhile: impl FnOnce()) {
    let enough = Arc::new(AtomicBool::new(false));
    let (until, bytes) = (Arc::clone(&enough), bytes.repeat(1000));
    let flooding = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) && stream.write_all(&bytes).is_ok() {}
    });
    meanwhile();
    enough.store(true, Ordering::Relaxed);
    flooding.join().unwrap();
}

/// However much one peer sends, the others and who asks for the status have their turn.
#[test]
fn a_peer_that_sends_without_end_holds_up_no_other() {
    let (pair, mut raw, mut other) = two();
    raw.open(90);
    let again = [update(&[ORIGIN, AS_PATH, NEXT_HOP], 7), update(&[], 7)].concat();
    for bytes in [message(KEEPALIVE, &[]), message(REFRESH, &[0, 1, 0, 1]), again] {
        let since = pair.node.peer(OTHER)["since"].clone();
        flood(raw.stream(), &bytes, || {
            for third in [20, 21, 22] {
                let cidr = format!("10.244.{third}.0/24");
                other.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], third));
                pair.node.learns(&cidr, 1);
                assert!(pair.node.command("status --json").stdout.contains(&cidr));
            }
        });
        let peer = pair.node.peer(OTHER);
        assert_eq!((&peer["state"], &peer["since"]), (&"Established".into(), &since));
        // What it was sent meanwhile it has not read.
        raw.close();
        raw.open(90);
    }
}

/// RFC 4271 section 6.8: while the OPEN of the connection that the node dialled does not come, the
/// one that the peer dialled waits; what is sent on it meanwhile is not kept without end.
#[test]
fn a_connection_that_waits_for_the_other_one_is_closed_for_a_flood() {
    let (pair, mut raw, mut other) = two();
    // The node's OPEN is not answered here.
    raw.accept();
    let mut dialled = RawPeer::dial(&pair, NODE);
    dialled.say_open(90);
    flood(dialled.stream(), &message(KEEPALIVE, &[]), || {
        pair.node.until("announced", |s| s.log().contains("before its OPEN was answered"));
    });
    other.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
    pair.node.learns("10.244.9.0/24", 1);
    raw.answer(90);
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 7));
    pair.node.learns("10.244.7.0/24", 1);
}

/// RFC 4486: a peer that announces more than it may loses its session and its routes, until the
/// configuration says otherwise; what does not reach the limit costs nothing.
#[test]
fn a_peer_that_announces_too_much_loses_its_session() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "max-prefixes = 4");
    raw.open(90);
    let announce = |raw: &mut RawPeer, thirds: std::ops::Range<u8>| {
        thirds.for_each(|third| raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], third)));
    };
    announce(&mut raw, 20..23);
    pair.node.learns("10.244.22.0/24", 1);
    assert!(!pair.node.command("status bgp").stdout.contains("max-prefixes"));
    announce(&mut raw, 23..24);
    // The same once more is no more.
    announce(&mut raw, 20..24);
    pair.node.until("a warning", |s| {
        s.command("status bgp").stdout.contains("4 IPv4 prefixes: close to max-prefixes, 4")
    });
    announce(&mut raw, 24..25);
    assert_eq!(raw.expect(NOTIFICATION), [6, 1, 0, 1, 1, 0, 0, 0, 4]);
    pair.node.until("no route", |s| s.learned().is_empty());
    assert!(pair.node.peer(ROUTER)["lastError"].to_string().contains("raise max-prefixes"));
    assert!(pair.node.command("status").stdout.contains("more than 4 IPv4 prefixes"));

    pair.configure("", "max-prefixes = 6");
    raw.open(90);
    announce(&mut raw, 20..25);
    pair.node.learns("10.244.24.0/24", 1);
    let since = pair.node.peer(ROUTER)["since"].clone();
    pair.configure("", "max-prefixes = 1000");
    pair.node.until("another limit", |s| s.peer(ROUTER)["maxPrefixes"] == 1000);
    let peer = pair.node.peer(ROUTER);
    assert_eq!((&peer["since"], &peer["counters"]["established"]), (&since, &1.into()));
    pair.configure("", "max-prefixes = 2");
    assert_eq!(raw.expect(NOTIFICATION)[..2], [6, 1]);
}

/// The log has what is wrong, and not each time: all of it is counted.
#[test]
fn broken_updates_do_not_fill_the_log() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    raw.open(90);
    let broken = |origin| update(&[&[0x40, 1, 1, origin], AS_PATH, NEXT_HOP], 9);
    let discarded = |length| {
        let aggregator = [vec![0xc0, 7, length], vec![0; length.into()]].concat();
        update(&[ORIGIN, AS_PATH, NEXT_HOP, &aggregator], 9)
    };
    // Others than before are logged, as long as they are few.
    for nth in 9..109 {
        raw.send(&[broken(7), broken(8), discarded(1), discarded(nth)].concat());
    }
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 7));
    pair.node.learns("10.244.7.0/24", 1);
    let log = pair.node.log();
    let lines = log.lines().filter(|line| line.contains("an UPDATE is malformed")).count();
    assert!((4..=40).contains(&lines), "{lines} lines: {log}");
    assert!(log.contains("more like it are counted and not logged for a minute"), "{log}");
    let counters = &pair.node.peer(ROUTER)["counters"];
    let counted = (&counters["faultyUpdates"], &counters["treatedAsWithdraw"]);
    assert_eq!(counted, (&400.into(), &200.into()));
    let shown = pair.node.command("status bgp").stdout;
    assert!(shown.contains("400 faulty UPDATEs; 200 UPDATEs treated as withdrawals"), "{shown}");
}

/// A change of one route is logged, and a thousand are counted.
#[test]
fn a_flapping_prefix_does_not_fill_the_log() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    raw.open(90);
    for _ in 0..150 {
        raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
        pair.node.learns("10.244.9.0/24", 1);
        raw.send(&message(UPDATE, &[0, 4, 24, 10, 244, 9, 0, 0]));
        pair.node.learns("10.244.9.0/24", 0);
    }
    let log = pair.node.log();
    let lines = log.lines().filter(|line| line.contains("\"BGP\"")).count();
    // Two minutes may have begun.
    assert!((100..=400).contains(&lines), "{lines} lines");
}
