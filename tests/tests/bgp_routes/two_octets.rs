//! Peers that know AS numbers of two octets alone (RFC 6793): this node sees whole paths all the
//! same.

use crate::frr::Frr;
use crate::pair::{ANNOUNCED, NODE, Pair, ROUTER};
use crate::speaker::Speaker;

/// This node's, which stands as AS_TRANS in two octets.
const ASN: u32 = 4_200_000_001;
/// One behind the peer.
const BEYOND: u32 = 4_200_000_009;
/// A prefix whose path has this node's AS in it.
const LOOPED: &str = "10.244.8.0/24";

fn configure(node: &Speaker, more: &str) {
    node.configure(&format!(
        "[bgp]\nasn = {ASN}\nconnect-retry = 1\nannounce = [\"10.244.1.0/24\"]\n{more}\
         [[bgp.peer]]\naddress = \"{ROUTER}\"\nasn = 65100\n"
    ));
}

fn start(node: &mut Speaker) {
    configure(node, "");
    node.start();
    node.is_up();
    node.learns(ANNOUNCED, 1);
    // In two octets all that this path says is AS_TRANS: AS4_PATH is read.
    node.until("a loop is seen", |s| s.peer(ROUTER)["rejected"]["our AS is in its path"].is_u64());
    assert_eq!(node.hops(LOOPED), 0);
    let session = node.peer(ROUTER)["session"].clone();
    let capabilities = session["capabilities"].to_string();
    assert!(!capabilities.contains("4-octet-as"), "{capabilities}");
}

#[test]
fn bird_without_as4() {
    let mut pair = Pair::new();
    pair.router.start(
        "192.0.2.254",
        &format!(
            "protocol static s4 {{ ipv4; route {ANNOUNCED} unreachable; route {LOOPED} unreachable; }}
             filter longer {{
               if net = {LOOPED} then bgp_path.prepend({ASN}); else bgp_path.prepend({BEYOND});
               accept;
             }}
             protocol bgp node {{
               local {ROUTER} as 65100; neighbor {NODE} external; connect delay time 1; enable as4 off;
               ipv4 {{ import all; export filter longer; }};
             }}\n"
        ),
    );
    start(&mut pair.node);
    let shown = || pair.router.ask("show route 10.244.1.0/24 all");
    pair.node.until("announced", |_| shown().contains(&format!("BGP.as_path: {ASN}\n")));
}

#[test]
fn frr_without_capabilities() {
    let (mut node, frr) = Frr::beside(&format!(
        " no bgp network import-check
 neighbor {NODE} remote-as {ASN}
 neighbor {NODE} dont-capability-negotiate
 neighbor {NODE} timers connect 1
 address-family ipv4 unicast
  network {ANNOUNCED}
  network {LOOPED}
  neighbor {NODE} route-map longer out
ip prefix-list looped permit {LOOPED}
route-map longer permit 10
 match ip address prefix-list looped
 set as-path prepend {ASN}
route-map longer permit 20
 set as-path prepend {BEYOND}
"
    ));
    start(&mut node);
    node.until("announced", |_| frr.path("10.244.1.0/24")["valid"] == true);
    // As any old speaker it does not know AS4_PATH, and has AS_TRANS in its place.
    assert_eq!(frr.path("10.244.1.0/24")["aspath"]["string"], "23456");
    // It cannot be asked for its routes again: for less of them it need not be, for more the
    // session begins anew.
    let established = || node.peer(ROUTER)["counters"]["established"].clone();
    configure(&node, "import-cidrs = [\"10.244.8.0/24\"]\n");
    node.until("narrower", |s| s.hops(ANNOUNCED) == 0);
    assert_eq!(established(), 1);
    configure(&node, "");
    node.learns(ANNOUNCED, 1);
    assert!(node.log().contains("the session ends: it cannot send its routes again"));
}
