//! Peers that announce what this node itself needs to reach, where import-cidrs would let them.

use crate::pair::{NODE, NODE6, Pair, ROUTER};
use crate::raw_peer::{AS_PATH, ORIGIN, RawPeer, UPDATE, message};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use std::net::IpAddr;

const ALL: &str = "import-cidrs = [\"0.0.0.0/0\", \"::/0\"]";
/// The gateway of the node's default routes, beside the peer's own address at the router.
const GATEWAYS: [&str; 2] = ["172.16.0.3", "2001:db8:f::3"];
/// Behind the gateways.
const FAR: [&str; 2] = ["203.0.113.9", "2001:db8:9::9"];

fn octets(address: &str) -> Vec<u8> {
    match address.parse().unwrap() {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    }
}

/// An UPDATE of prefixes of one family, by a next hop of that family (RFC 4271, RFC 4760).
fn announce(prefixes: &[&str], next_hop: &str) -> Vec<u8> {
    let encode = |prefix: &&str| {
        let (address, length) = prefix.split_once('/').unwrap();
        let length: u8 = length.parse().unwrap();
        let bytes = octets(address)[..usize::from(length.div_ceil(8))].to_vec();
        [&[length][..], &bytes].concat()
    };
    let prefixes: Vec<u8> = prefixes.iter().flat_map(encode).collect();
    let next_hop = octets(next_hop);
    let length = u8::try_from(next_hop.len()).unwrap();
    let (reach, prefixes) = match length {
        4 => ([&[0x40, 3, 4][..], &next_hop].concat(), prefixes),
        _ => {
            let value = [&[0, 2, 1, length], &next_hop[..], &[0], &prefixes].concat();
            ([&[0x80, 14, u8::try_from(value.len()).unwrap()], &value[..]].concat(), vec![])
        }
    };
    let attributes = [&reach, ORIGIN, AS_PATH].concat();
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    message(UPDATE, &[&[0, 0], &length[..], &attributes, &prefixes].concat())
}

/// Both ends, with a bridge of pods on the node; the session is up.
fn start() -> (Pair, RawPeer) {
    let mut pair = Pair::new();
    let ([four, six], [far, far6]) = (GATEWAYS, FAR);
    pair.router.sh(&format!(
        "ip address add {four}/24 dev node1; ip address add {six}/64 dev node1 nodad
         ip address add {far}/32 dev lo; ip address add {far6}/128 dev lo
         ip route add 10.244.1.0/24 via {NODE}; ip route add fd00:10:244:1::/64 via {NODE6}"
    ));
    pair.node.node.sh(&format!(
        "ip route add default via {four}; ip -6 route add default via {six}
         ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.244.1.1/24 dev cni0
         ip address add fd00:10:244:1::1/64 dev cni0 nodad"
    ));
    let mut raw = RawPeer::listen(&pair);
    pair.start_node(ALL, "");
    raw.open_both();
    (pair, raw)
}

/// What is shown of a prefix: in JSON and as text.
fn is_shown(pair: &Pair, prefix: &str, why: &str) {
    let json = pair.node.peer(ROUTER)["refused"][prefix].as_str().unwrap_or_default().to_owned();
    assert!(json.contains(why), "{prefix}: {json:?} and not {why:?}");
    let text = pair.node.command("status bgp").stdout;
    assert!(text.contains(&format!("{prefix} refused: {json}")), "{text}");
    let remedy = "announce it no more at the peer, or narrow import-cidrs to the ranges of pods";
    assert!(json.ends_with(remedy), "{json}");
}

/// By a next hop that no host has, each of these routes would take packets away.
#[test]
fn a_peer_cannot_take_what_the_node_needs() {
    let (pair, mut raw) = start();
    let refused = [
        ("0.0.0.0/1", "it is wider than /8"),
        ("128.0.0.0/1", "it is wider than /8"),
        ("127.0.0.0/8", "127.0.0.0/8 are loopback addresses"),
        ("169.254.0.0/16", "link-local addresses"),
        ("172.16.0.0/16", "172.16.0.1, an address of this node on up0"),
        ("172.16.0.0/24", "172.16.0.1, an address of this node on up0"),
        ("172.16.0.1/32", "172.16.0.1, an address of this node on up0"),
        ("172.16.0.2/32", "172.16.0.2, the address of a BGP peer"),
        ("172.16.0.3/32", "172.16.0.3, a gateway of this node's routes"),
        ("172.16.0.64/26", "172.16.0.0/24, a network of this node on up0"),
        ("192.0.2.0/24", "192.0.2.1, an address of this node on lo"),
    ];
    let refused6 = [
        ("8000::/1", "it is wider than /16"),
        ("2000::/3", "it is wider than /16"),
        ("::ffff:0.0.0.0/96", "IPv4-mapped addresses"),
        ("fe80::/10", "it is wider than /16"),
        ("fe80::/64", "link-local addresses"),
        ("2001:db8::/32", "2001:db8::1, an address of this node on lo"),
        ("2001:db8:f::/64", "2001:db8:f::1, an address of this node on up0"),
        ("2001:db8:f::2/128", "2001:db8:f::/64, a network of this node on up0"),
        ("2001:db8:f::3/128", "2001:db8:f::3, a gateway of this node's routes"),
    ];
    // An aggregate that covers this node's own pods is theirs as it was.
    let taken = ["10.244.0.0/16", "198.51.100.0/24"];
    let taken6 = ["fd00:10:244::/48", "2001:db8:a::/48"];
    let all = |refused: &[(&'static str, &str)], taken: &[&'static str]| -> Vec<&'static str> {
        refused.iter().map(|(prefix, _)| *prefix).chain(taken.iter().copied()).collect()
    };
    let count = refused.len() + refused6.len();
    let refuses = |count: usize| {
        let what = format!("{count} prefixes refused");
        pair.node.until(&what, |s| s.peer(ROUTER)["refusedPrefixes"] == count);
    };
    for _ in 0..2 {
        raw.send(&announce(&all(&refused, &taken), "172.16.0.66"));
        raw.send(&announce(&all(&refused6, &taken6), "2001:db8:f::66"));
        taken.iter().chain(&taken6).for_each(|prefix| pair.node.learns(prefix, 1));
        let learned = pair.node.learned();
        assert_eq!(learned.lines().count(), taken.len() + taken6.len(), "{learned}");
        for to in [&GATEWAYS[..], &FAR, &[ROUTER, "2001:db8:f::2"]].concat() {
            ping(&pair.node, to);
        }
        refuses(count);
        // 0.0.0.0/1 is withdrawn.
        raw.send(&message(UPDATE, &[0, 2, 1, 0, 0, 0]));
        refuses(count - 1);
    }
    raw.send(&announce(&["0.0.0.0/1"], "172.16.0.66"));
    refuses(count);
    for (prefix, why) in refused.iter().chain(&refused6) {
        is_shown(&pair, prefix, why);
        let logged = format!("the route to {prefix} that a BGP peer announces is refused: ");
        assert_eq!(pair.node.log().matches(&logged).count(), 1, "{prefix}: {}", pair.node.log());
    }
    let peer = pair.node.peer(ROUTER);
    assert_eq!(
        (&peer["state"], &peer["counters"]["established"]),
        (&"Established".into(), &1.into())
    );
}

/// What comes later to the node removes the route that covers it, and the route comes back when that
/// goes.
#[test]
fn a_learned_route_gives_way_to_what_the_node_needs_later() {
    let (pair, mut raw) = start();
    let prefix = "198.51.100.0/24";
    pair.router.sh("ip address add 198.51.100.9/32 dev lo");
    raw.send(&announce(&[prefix, "10.244.9.0/24"], ROUTER));
    pair.node.learns(prefix, 1);
    let sh = |command: &'static str| move |pair: &Pair| drop(pair.node.node.sh(command));
    let peer = "[[bgp.peer]]\naddress = \"198.51.100.8\"\nasn = 65101\n";
    type Step<'a> = Box<dyn Fn(&Pair) + 'a>;
    let steps: [(&str, Step<'_>, Step<'_>); 4] = [
        (
            "198.51.100.7, an address of this node on lo",
            Box::new(sh("ip address add 198.51.100.7/32 dev lo")),
            Box::new(sh("ip address del 198.51.100.7/32 dev lo")),
        ),
        (
            "198.51.100.129, an address of this node on br1",
            Box::new(sh("ip link add br1 type bridge; ip link set br1 up
                         ip address add 198.51.100.129/25 dev br1")),
            Box::new(sh("ip link del br1")),
        ),
        (
            "198.51.100.5, a gateway of this node's routes",
            Box::new(sh(
                "ip route add 192.0.2.128/25 via 198.51.100.5 dev up0 onlink proto static",
            )),
            Box::new(sh("ip route del 192.0.2.128/25")),
        ),
        (
            "198.51.100.8, the address of a BGP peer",
            Box::new(|pair| pair.configure(ALL, peer)),
            Box::new(|pair| pair.configure(ALL, "")),
        ),
    ];
    for (why, come, go) in steps {
        ping(&pair.node, "198.51.100.9");
        come(&pair);
        pair.node.learns(prefix, 0);
        is_shown(&pair, prefix, why);
        assert!(pair.node.log().contains(&format!("it covers {why}")), "{}", pair.node.log());
        go(&pair);
        pair.node.learns(prefix, 1);
        assert_eq!(pair.node.peer(ROUTER)["refused"], serde_json::json!({}), "{why}");
        assert_eq!(pair.node.hops("10.244.9.0/24"), 1);
    }
    assert_eq!(pair.node.peer(ROUTER)["counters"]["established"], 1);
}
