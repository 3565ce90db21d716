//! Peers that send what they should not, or nothing.

use crate::pair::{Pair, ROUTER, ROUTER6};
use crate::raw_peer::{
    AS_PATH, KEEPALIVE, NEXT_HOP, NOTIFICATION, OPEN, ORIGIN, RawPeer, UPDATE, message, update,
};
use ferrule_tests::node::Place;
use std::net::Ipv6Addr;
use std::time::Instant;

const CIDR: &str = "10.244.9.0/24";

fn start() -> (Pair, RawPeer) {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    raw.open(90);
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 8));
    pair.node.learns(CIDR, 1);
    pair.node.learns("10.244.8.0/24", 1);
    (pair, raw)
}

/// RFC 7606: a broken attribute costs the routes that it came with, and not the session.
#[test]
fn broken_attributes_withdraw_their_routes_alone() {
    let (pair, mut raw) = start();
    let broken: [(&str, Vec<&[u8]>); 7] = [
        ("an ORIGIN that there is not", vec![&[0x40, 1, 1, 7], AS_PATH, NEXT_HOP]),
        ("an ORIGIN of two bytes", vec![&[0x40, 1, 2, 0, 0], AS_PATH, NEXT_HOP]),
        (
            "a segment longer than AS_PATH",
            vec![ORIGIN, &[0x40, 2, 6, 2, 9, 0, 0, 0xfe, 0x4c], NEXT_HOP],
        ),
        ("a NEXT_HOP of three bytes", vec![ORIGIN, AS_PATH, &[0x40, 3, 3, 172, 16, 0]]),
        ("no NEXT_HOP", vec![ORIGIN, AS_PATH]),
        ("no AS_PATH", vec![ORIGIN, NEXT_HOP]),
        (
            "an attribute longer than the attributes",
            vec![ORIGIN, AS_PATH, NEXT_HOP, &[0xc0, 8, 40, 0]],
        ),
    ];
    let since = pair.node.peer(ROUTER)["since"].clone();
    for (at, (what, attributes)) in (1_u64..).zip(broken) {
        raw.send(&update(&attributes, 9));
        pair.node.until(what, |s| s.hops(CIDR) == 0);
        let peer = pair.node.peer(ROUTER);
        assert_eq!((&peer["state"], &peer["since"]), (&"Established".into(), &since), "{what}");
        assert_eq!(peer["counters"]["treatedAsWithdraw"], at, "{what}: {peer:#}");
        assert!(peer["lastFault"].is_string(), "{what}: {peer:#}");
        // Its other route stays, and the same one sent well is taken again.
        assert_eq!(pair.node.hops("10.244.8.0/24"), 1, "{what}");
        raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
        pair.node.learns(CIDR, 1);
    }
    // An attribute of no consequence is dropped alone (attribute discard).
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP, &[0xc0, 7, 1, 0]], 7));
    pair.node.learns("10.244.7.0/24", 1);
    assert!(pair.node.log().contains("an UPDATE is malformed"));
    let shown = pair.node.command("status bgp").stdout;
    assert!(shown.contains("UPDATEs treated as withdrawals; last fault: "), "{shown}");
}

/// MP_REACH_NLRI of fd00:10:244:`n`::/64 by this next hop.
fn reach_v6(next_hop: &[u8], n: u8) -> Vec<u8> {
    let length = u8::try_from(next_hop.len()).unwrap();
    let prefix = [64, 0xfd, 0, 0, 0x10, 2, 0x44, 0, n];
    let value = [&[0, 2, 1, length], next_hop, &[0], &prefix].concat();
    [&[0x80, 14, u8::try_from(value.len()).unwrap()], &value[..]].concat()
}

/// RFC 7606 section 3 j: IPv6 routes with a next hop of 4 bytes cost IPv6, and IPv4 stays as it is.
#[test]
fn ipv6_that_cannot_be_read_leaves_ipv4_alone() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    raw.open_both();
    let six = "fd00:10:244:9::/64";
    let good = reach_v6(&ROUTER6.parse::<Ipv6Addr>().unwrap().octets(), 9);
    raw.send(&update(&[&good, ORIGIN, AS_PATH, NEXT_HOP], 9));
    pair.node.learns(CIDR, 1);
    pair.node.learns(six, 1);
    raw.send(&update(&[&reach_v6(&[172, 16, 0, 2], 8), ORIGIN, AS_PATH, NEXT_HOP], 8));
    pair.node.learns("10.244.8.0/24", 1);
    pair.node.learns(six, 0);
    let peer = pair.node.peer(ROUTER);
    assert_eq!(
        (&peer["state"], &peer["counters"]["established"]),
        (&"Established".into(), &1.into())
    );
    let why = peer["session"]["disabled"]["IPv6"].as_str().unwrap_or_default().to_owned();
    assert!(why.contains("an IPv6 next hop of 4 bytes") && why.contains("restart"), "{peer:#}");
    let shown = pair.node.command("status bgp");
    assert!(shown.stdout.contains("IPv6 disabled: MP_REACH_NLRI") && !shown.status.success());
    assert!(pair.node.command("status").stdout.contains(&format!("IPv6 of bgp peer {ROUTER}")));
    // It is ignored until the session is new.
    raw.send(&update(&[&good, ORIGIN, AS_PATH, NEXT_HOP], 7));
    pair.node.learns("10.244.7.0/24", 1);
    assert_eq!(pair.node.hops(six), 0);
    raw.open_both();
    raw.send(&update(&[&good, ORIGIN, AS_PATH, NEXT_HOP], 9));
    pair.node.learns(six, 1);
    assert_eq!(pair.node.peer(ROUTER)["session"]["disabled"], serde_json::json!({}));
}

/// RFC 4271 section 6.3, RFC 7947: only a route server may leave its AS out of a path.
#[test]
fn a_path_begins_with_the_peers_as() {
    let (pair, mut raw) = start();
    let paths: [&[u8]; 2] = [&[0x40, 2, 0], &[0x40, 2, 6, 2, 1, 0, 0, 0xfe, 0x4d]];
    for path in paths {
        raw.send(&update(&[ORIGIN, path, NEXT_HOP], 9));
        pair.node.until("withdrawn", |s| s.hops(CIDR) == 0);
        let fault = pair.node.peer(ROUTER)["lastFault"].to_string();
        assert!(fault.contains("(enforce-first-as)"), "{fault}");
        raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
        pair.node.learns(CIDR, 1);
    }
    pair.configure("", "enforce-first-as = false");
    raw.expect(NOTIFICATION);
    for path in paths {
        raw.open(90);
        raw.send(&update(&[ORIGIN, path, NEXT_HOP], 9));
        pair.node.learns(CIDR, 1);
        raw.close();
        pair.node.learns(CIDR, 0);
    }
}

/// RFC 5492 section 5: a peer without a family of ours gets a NOTIFICATION that lists ours.
#[test]
fn a_peer_without_our_families_gets_a_notification_that_lists_them() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    raw.accept();
    // L2VPN EVPN alone.
    let capabilities = [1, 4, 0, 25, 0, 70];
    let head = [4, 0xfe, 0x4c, 0, 90, 192, 0, 2, 254, 8, 2, 6];
    raw.send(&message(OPEN, &[&head[..], &capabilities].concat()));
    let notification = raw.expect(NOTIFICATION);
    assert_eq!(notification, [&[2, 7][..], &[1, 4, 0, 1, 0, 1], &[1, 4, 0, 2, 0, 1]].concat());
    let error = pair.node.peer(ROUTER)["lastError"].to_string();
    assert!(error.contains("the peer offers none of the configured families"), "{error}");
}

/// RFC 4271 section 6.1: what is no BGP, is too long or is cut short ends the session, and the peer
/// gets the reason; a peer that corrects itself is accepted again.
#[test]
fn what_cannot_be_read_ends_the_session() {
    let mut long = message(UPDATE, &[0; 8]);
    long[16..18].copy_from_slice(&5000_u16.to_be_bytes());
    let mut short = message(KEEPALIVE, &[]);
    short[16..18].copy_from_slice(&18_u16.to_be_bytes());
    let cases = [
        ("garbage", b"GET / HTTP/1.1\r\n\r\n..............".to_vec(), [1, 1]),
        ("5000 bytes", long, [1, 2]),
        ("18 bytes", short, [1, 2]),
        ("an unknown type", message(9, &[]), [1, 3]),
        ("withdrawn routes longer than the message", message(UPDATE, &[0, 99, 0, 0]), [3, 1]),
        ("attributes longer than the message", message(UPDATE, &[0, 0, 0, 99]), [3, 1]),
        ("a second OPEN", message(1, &[4, 0xfe, 0x4c, 0, 90, 192, 0, 2, 254, 0]), [5, 3]),
    ];
    for (what, bytes, expected) in cases {
        let (pair, mut raw) = start();
        raw.send(&bytes);
        let notification = raw.expect(NOTIFICATION);
        assert_eq!(notification[..2], expected, "{what}");
        pair.node.until(what, |s| s.learned().is_empty());
        let error = pair.node.peer(ROUTER)["lastError"].as_str().unwrap_or_default().to_owned();
        assert!(error.contains("sent the peer"), "{what}: {error}");
        raw.open(90);
        raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
        pair.node.learns(CIDR, 1);
    }
}

/// A peer that fails in two ways by turns: each is logged once, not at each attempt.
#[test]
fn failures_that_alternate_are_logged_once() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    for _ in 0..3 {
        raw.accept();
        raw.send(&message(OPEN, &[4, 0xfe, 0x4d, 0, 90, 192, 0, 2, 254, 0]));
        assert_eq!(raw.expect(NOTIFICATION)[..2], [2, 2], "Bad Peer AS");
        raw.accept();
        raw.close();
    }
    raw.accept();
    let log = pair.node.log();
    let reasons = log.lines().filter_map(|line| Some(line.split_once("no session: ")?.1));
    let mut reasons: Vec<&str> = reasons.collect();
    reasons.sort_unstable();
    assert!(reasons.len() >= 2, "{log}");
    assert!(reasons.windows(2).all(|pair| pair[0] != pair[1]), "{log}");
}

/// A message in pieces is one message; half of one, and then the end, is none.
#[test]
fn pieces_are_put_together() {
    let (pair, mut raw) = start();
    for byte in update(&[ORIGIN, AS_PATH, NEXT_HOP], 5) {
        raw.send(&[byte]);
    }
    pair.node.learns("10.244.5.0/24", 1);
    let half = update(&[ORIGIN, AS_PATH, NEXT_HOP], 4);
    raw.send(&half[..half.len() / 2]);
    raw.close();
    pair.node.until("withdrawn", |s| s.learned().is_empty());
    assert!(pair.node.log().contains("connection lost: "));
}

/// RFC 4271 section 6.5: a silent peer gets a NOTIFICATION after the hold time, the smaller of the
/// two offers.
#[test]
fn a_silent_peer_is_given_up() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    raw.open(9);
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
    pair.node.learns(CIDR, 1);
    assert_eq!(pair.node.peer(ROUTER)["session"]["holdTime"], 9);
    raw.send(&message(KEEPALIVE, &[]));
    let silent = Instant::now();
    let notification = raw.expect(NOTIFICATION);
    assert_eq!(notification[..2], [4, 0], "Hold Timer Expired");
    assert!(silent.elapsed().as_secs() >= 8, "{:?}", silent.elapsed());
    pair.node.until("withdrawn", |s| s.learned().is_empty());
    let error = pair.node.peer(ROUTER)["lastError"].clone();
    assert!(error.as_str().is_some_and(|error| error.starts_with("nothing came")), "{error}");
}

/// Only prefixes inside of import-cidrs, not ours, not too long, never a default route.
#[test]
fn what_is_not_wanted_is_not_taken() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("import-max-length-ipv4 = 24", "");
    raw.open(90);
    let with = |prefix: &[u8]| {
        let attributes = [ORIGIN, AS_PATH, NEXT_HOP].concat();
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        message(UPDATE, &[&[0, 0], &length[..], &attributes, prefix].concat())
    };
    let refused: [&[u8]; 5] =
        [&[0], &[8, 10], &[24, 10, 245, 1], &[24, 10, 244, 1], &[32, 10, 244, 9, 1]];
    refused.iter().for_each(|prefix| raw.send(&with(prefix)));
    // A path with our AS in it has been here.
    let looped = [0x40, 2, 10, 2, 2, 0, 0, 0xfe, 0x4c, 0, 0, 0xfd, 0xe9];
    raw.send(&update(&[ORIGIN, &looped, NEXT_HOP], 6));
    // A next hop that is on no link, and this node's own address.
    raw.send(&update(&[ORIGIN, AS_PATH, &[0x40, 3, 4, 203, 0, 113, 1]], 5));
    raw.send(&update(&[ORIGIN, AS_PATH, &[0x40, 3, 4, 172, 16, 0, 1]], 4));
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
    pair.node.learns(CIDR, 1);
    assert_eq!(pair.node.learned().lines().count(), 1, "{}", pair.node.learned());
    // Why, and what to do.
    let peer = pair.node.peer(ROUTER);
    let shown = pair.node.command("status bgp").stdout;
    for (next_hop, example, why) in [
        ("172.16.0.1", "10.244.4.0/24", "it is this node's own address, on up0: set next-hop-self"),
        ("203.0.113.1", "10.244.5.0/24", "it cannot be reached"),
    ] {
        let of = |unusable: &&serde_json::Value| unusable["nextHop"] == next_hop;
        let unusable = peer["unusable"].as_array().unwrap().iter().find(of).unwrap();
        assert_eq!((&unusable["example"], &unusable["prefixes"]), (&example.into(), &1.into()));
        assert!(unusable["why"].as_str().unwrap().starts_with(why), "{unusable:#}");
        let remark = format!("1 prefixes not used, as {example}: next hop {next_hop}: {why}");
        assert!(shown.contains(&remark), "{shown}");
    }
    assert!(pair.node.log().contains("routes with the next hop 172.16.0.1 are not used"));
    let rejected = peer["rejected"].clone();
    for why in [
        "a default route",
        "outside of import-cidrs",
        "inside of this node's own CIDRs",
        "more specific than import-max-length",
        "our AS is in its path",
    ] {
        assert!(rejected[why].is_u64(), "{why}: {rejected:#}");
    }
}

/// Without End-of-RIB the first KEEPALIVE would mark the end of the routes, after half a minute.
#[test]
fn routes_that_stand_make_a_node_ready() {
    let mut pair = Pair::new();
    let mut raw = RawPeer::listen(&pair);
    pair.start_node("", "");
    raw.open(90);
    assert!(pair.node.command("status").stdout.contains("synced   not yet"));
    raw.send(&update(&[ORIGIN, AS_PATH, NEXT_HOP], 9));
    pair.node.until("ready", |s| s.command("status").stdout.contains("synced   yes"));
    // That these are all is not known.
    assert_eq!(pair.node.bgp()["complete"], false);
}

/// Neither cluster-cidrs nor import-cidrs.
#[test]
fn a_speaker_that_takes_nothing_says_so() {
    let mut pair = Pair::new();
    let bgp = format!("[bgp]\nasn = 65001\n[[bgp.peer]]\naddress = \"{ROUTER}\"\nasn = 65100\n");
    pair.node.configure(&bgp);
    let text = pair.node.node.read("/run/route-sync.toml");
    let without: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("cluster-cidrs")).collect();
    pair.node.node.write("/run/route-sync.toml", &without.join("\n"));
    let warning = "[bgp] has neither import-cidrs nor cluster-cidrs";
    let checked = pair.node.command("check-config /run/route-sync.toml");
    assert!(checked.status.success() && checked.stderr.contains(warning), "{}", checked.stderr);
    pair.node.start();
    pair.node.until("it says so", |s| s.command("status").stdout.contains(warning));
    assert!(pair.node.command("status bgp").stdout.contains(warning));
    assert!(pair.node.log().contains(warning));
}
