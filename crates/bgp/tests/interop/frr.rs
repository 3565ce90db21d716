//! FRR.

use crate::speaker::{ASN, OWN4, OWN6, Speaker, config};
use bgp_speaker::fsm::{Config, State};
use ferrule_tests::node::Place;
use ferrule_tests::outside::{NODE6, OUTSIDE6};
use ferrule_tests::{Background, Node, Outside};
use serde_json::Value;
use std::time::Duration;

/// zebra and bgpd on a node, and the place beside it where we speak.
struct Frr {
    node: Node,
    outside: Outside,
    _daemons: [Background; 2],
}

impl Frr {
    fn start(bgp: &str) -> Frr {
        let node = Node::new();
        let outside = Outside::beside(&node);
        node.write("/run/frr/bgpd.conf", bgp);
        node.write("/run/frr/zebra.conf", "ip nht resolve-via-default\n");
        // They drop root, and want to be in the group frrvty.
        node.sh("chown -R frr:frr /run/frr");
        let start = |daemon: &str, more: &str| {
            let command = node.spawn(&format!(
                "/usr/lib/frr/{daemon} -f /run/frr/{daemon}.conf -i /run/frr/{daemon}.pid \
                 -z /run/frr/zserv.api --vty_socket /run/frr {more}"
            ));
            let up = || node.exists(&format!("/run/frr/{daemon}.vty")).then_some(());
            ferrule_tests::within(Duration::from_secs(10), up)
                .unwrap_or_else(|| panic!("{daemon} does not start: apt-get install frr"));
            command
        };
        let daemons = [start("zebra", ""), start("bgpd", "-p 179")];
        Frr { node, outside, _daemons: daemons }
    }

    fn ask(&self, question: &str) -> Value {
        let text = self.node.sh(&format!("vtysh --vty_socket /run/frr -c '{question} json'"));
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }
}

/// RFC 4271, 4760, 6793, 8950, 1997: IPv4 and IPv6 over one IPv6 session.
#[test]
fn ipv4_and_ipv6_over_an_ipv6_session() {
    let frr = Frr::start(&format!(
        "router bgp 65002
 bgp router-id 198.51.100.1
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor {OUTSIDE6} remote-as {ASN}
 neighbor {OUTSIDE6} capability extended-nexthop
 address-family ipv4 unicast
  network 10.244.9.0/24
  neighbor {OUTSIDE6} activate
 address-family ipv6 unicast
  network fd00:0:0:9::/64
  neighbor {OUTSIDE6} activate
"
    ));
    let config = Config { extended_next_hop: true, ..config(ASN, 65002) };
    frr.outside.ns().enter(|| {
        let mut speaker = Speaker::start(config, NODE6);
        speaker.until("established", |s| s.session.state() == State::Established);
        speaker.until("FRR's routes", |s| {
            let routes = s.routes();
            let via = |prefix: &str| routes.get(prefix).is_some_and(|vias| vias == &[NODE6]);
            via("10.244.9.0/24") && via("fd00:0:0:9::/64")
        });
        speaker.until("End-of-RIB", |s| s.ends_of_rib.len() == 2);
        for (family, cidr) in [("ipv4", OWN4), ("ipv6", OWN6)] {
            let shown = || frr.ask(&format!("show bgp {family} unicast {cidr}"));
            speaker.until("ours at FRR", |_| shown()["paths"][0]["valid"] == true);
            let path = &shown()["paths"][0];
            assert_eq!(path["aspath"]["string"], ASN.to_string(), "{path}");
            assert_eq!(path["community"]["string"], "65001:7", "{path}");
            assert_eq!(path["nexthops"][0]["ip"], OUTSIDE6, "{path}");
        }
    });
}
