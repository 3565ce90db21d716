//! TCP MD5 (RFC 2385): with the same password there is a session, with another there is none,
//! whichever side connects.

use crate::frr::Frr;
use crate::pair::{ANNOUNCED, ANNOUNCED6, NODE, NODE6, Pair, ROUTER, ROUTER6};
use crate::speaker::{Speaker, counted};
use ferrule_tests::node::Place;

/// Who dials.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dials {
    Node,
    Router,
}

/// Configures the node and starts it: one peer of this AS at this address, with a password, that is
/// announced this node's CIDR of its family.
fn start(node: &mut Speaker, address: &str, asn: u32, dials: Dials) {
    let own = if address == ROUTER6 { "fd00:10:244:1::/64" } else { "10.244.1.0/24" };
    node.write("/run/password", "secret\n");
    let (listen, passive) = match dials {
        Dials::Node => ("", ""),
        Dials::Router => ("listen = [\"0.0.0.0\", \"::\"]\n", "passive = true\n"),
    };
    node.configure(&format!(
        "[bgp]\nasn = 65001\nconnect-retry = 1\nannounce = [\"{own}\"]\n{listen}[[bgp.peer]]\naddress = \"{address}\"\n\
         asn = {asn}\npassword-file = \"/run/password\"\n{passive}"
    ));
    node.start();
}

/// The session comes up; with another password, which is read again at SIGHUP, it ends and does not
/// come back; with the right one it does.
fn right_and_wrong(node: &Speaker, router: &impl Place, address: &str, announced: &str) {
    node.is_up();
    node.learns(announced, 1);
    let pid = node.daemon.as_ref().unwrap().pid();
    let dropped = || {
        counted(&node.node, "netstat", "TCPMD5Failure")
            + counted(router, "netstat", "TCPMD5Failure")
    };
    let before = dropped();
    node.write("/run/password", "other\n");
    node.run(&format!("kill -HUP {pid}"));
    node.until("no session", |s| s.hops(announced) == 0);
    node.until("it is tried in vain", |_| dropped() > before + 1);
    assert_ne!(node.peer(address)["state"], "Established");
    assert_eq!(node.hops(announced), 0);
    node.write("/run/password", "secret");
    node.run(&format!("kill -HUP {pid}"));
    node.learns(announced, 1);
    assert!(!node.log().contains("secret"));
}

fn with_bird(six: bool, asn: u32, dials: Dials) {
    let mut pair = Pair::new();
    let (local, neighbor, channel, announced) = match six {
        true => (ROUTER6, NODE6, "ipv6", ANNOUNCED6),
        false => (ROUTER, NODE, "ipv4", ANNOUNCED),
    };
    let passive = if dials == Dials::Node { "passive on;" } else { "" };
    pair.router.start(
        "192.0.2.254",
        &format!(
            "protocol static announced {{ {channel}; route {announced} unreachable; }}
             protocol bgp node {{
               local {local} as {asn}; neighbor {neighbor} as 65001; password \"secret\"; {passive}
               connect delay time 1; connect retry time 1; error wait time 1, 2;
               {channel} {{ import all; export all; next hop self; }};
             }}\n"
        ),
    );
    start(&mut pair.node, local, asn, dials);
    right_and_wrong(&pair.node, &pair.router, local, announced);
}

#[test]
fn with_bird_over_ipv4_and_ebgp() {
    [Dials::Node, Dials::Router].into_iter().for_each(|dials| with_bird(false, 65100, dials));
}

#[test]
fn with_bird_over_ipv6_and_ebgp() {
    [Dials::Node, Dials::Router].into_iter().for_each(|dials| with_bird(true, 65100, dials));
}

#[test]
fn with_bird_over_ipv4_and_ibgp() {
    [Dials::Node, Dials::Router].into_iter().for_each(|dials| with_bird(false, 65001, dials));
}

#[test]
fn with_bird_over_ipv6_and_ibgp() {
    [Dials::Node, Dials::Router].into_iter().for_each(|dials| with_bird(true, 65001, dials));
}

#[test]
fn with_frr_over_both_families() {
    for (six, dials) in [(false, Dials::Node), (true, Dials::Router)] {
        let (local, neighbor, family, announced) = match six {
            true => (ROUTER6, NODE6, "ipv6", ANNOUNCED6),
            false => (ROUTER, NODE, "ipv4", ANNOUNCED),
        };
        let passive = if dials == Dials::Node { "passive" } else { "timers connect 1" };
        let (mut node, frr) = Frr::beside(&format!(
            " no bgp network import-check
 no bgp default ipv4-unicast
 neighbor {neighbor} remote-as 65001
 neighbor {neighbor} password secret
 neighbor {neighbor} {passive}
 address-family {family} unicast
  network {announced}
  neighbor {neighbor} activate
"
        ));
        start(&mut node, local, 65100, dials);
        right_and_wrong(&node, &frr, local, announced);
    }
}
