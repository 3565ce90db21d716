//! FRR.

use crate::pair::{NODE, ROUTER, wired};
use crate::speaker::Speaker;
use ferrule_tests::background::Background;
use ferrule_tests::node::{Node, Place};
use ferrule_tests::ns::Namespace;
use ferrule_tests::packets::ping;
use ferrule_tests::within;
use serde_json::Value;
use std::time::Duration;

pub struct Frr {
    node: Node,
    _daemons: [Background; 2],
}

impl Frr {
    /// Node 1, and FRR of AS 65100 on a wire to it, with the addresses of a
    /// [`Pair`](crate::pair::Pair): `bgp` goes on after `router bgp`.
    pub fn beside(bgp: &str) -> (Speaker, Frr) {
        let router = Node::new();
        router.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
        let node = wired(&router);
        (node, Frr::start(router, bgp))
    }

    /// zebra, which installs routes, and bgpd; `bgp` goes on after `router bgp`.
    fn start(node: Node, bgp: &str) -> Frr {
        const HEAD: &str = "router bgp 65100
 bgp router-id 192.0.2.254
 no bgp ebgp-requires-policy
";
        node.write("/run/frr/bgpd.conf", &format!("{HEAD}{bgp}"));
        node.write("/run/frr/zebra.conf", "ip nht resolve-via-default\n");
        // They drop root, and want to be in the group frrvty.
        node.sh("chown -R frr:frr /run/frr");
        let start = |daemon: &str| {
            let command = node.spawn(&format!(
                "/usr/lib/frr/{daemon} -f /run/frr/{daemon}.conf -i /run/frr/{daemon}.pid \
                 -z /run/frr/zserv.api --vty_socket /run/frr"
            ));
            let up = || node.exists(&format!("/run/frr/{daemon}.vty")).then_some(());
            within(Duration::from_secs(10), up)
                .unwrap_or_else(|| panic!("{daemon} does not start: apt-get install frr"));
            command
        };
        let daemons = [start("zebra"), start("bgpd")];
        Frr { node, _daemons: daemons }
    }

    /// What vtysh answers.
    pub fn ask(&self, question: &str) -> Value {
        let text = self.node.sh(&format!("vtysh --vty_socket /run/frr -c '{question} json'"));
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// The path to a prefix that it knows, of IPv4; null when it knows none.
    pub fn path(&self, prefix: &str) -> Value {
        self.ask(&format!("show bgp ipv4 unicast {prefix}"))["paths"][0].clone()
    }

    /// Commands of vtysh, one after the other.
    fn configure(&self, commands: &[&str]) {
        let commands: String = commands.iter().map(|command| format!(" -c '{command}'")).collect();
        self.node.sh(&format!("vtysh --vty_socket /run/frr{commands}"));
    }
}

impl Place for Frr {
    fn ns(&self) -> &Namespace {
        self.node.ns()
    }
}

/// RFC 2918: `clear ... soft in` asks for the routes again, and they come in the same session.
#[test]
fn it_asks_and_is_sent_the_routes_again() {
    let (mut node, frr) = Frr::beside(&format!(
        " neighbor {NODE} remote-as 65001
 neighbor {NODE} timers connect 1
 address-family ipv4 unicast
  neighbor {NODE} route-map wall in
bgp route-map delay-timer 0
route-map wall deny 10
"
    ));
    node.configure(&format!(
        "[bgp]\nasn = 65001\nconnect-retry = 1\nannounce = [\"10.244.1.0/24\"]\n[[bgp.peer]]\naddress = \"{ROUTER}\"\nasn = 65100\n"
    ));
    node.start();
    node.is_up();
    let counters = || frr.ask(&format!("show bgp neighbors {NODE}"))[NODE]["messageStats"].clone();
    let updates = || counters()["updatesRecv"].as_u64();
    // One with our route, one that ends the first round.
    node.until("FRR has the UPDATEs", |_| updates() >= Some(2));
    frr.configure(&["configure terminal", "no route-map wall deny 10", "route-map wall permit 10"]);
    assert!(frr.path("10.244.1.0/24").is_null(), "FRR has thrown it away");
    let before = updates();
    frr.configure(&[&format!("clear bgp ipv4 unicast {NODE} soft in")]);
    node.until("announced again", |_| frr.path("10.244.1.0/24")["valid"] == true);
    assert!(updates() > before, "{:?} after {before:?}", updates());
    assert_eq!(counters()["routeRefreshSent"], 1);
    assert_eq!(node.peer(ROUTER)["counters"]["established"], 1);
}

/// RFC 4271, 4760, 6793, 8950, 1997: links of IPv6 alone, both families of pods.
#[test]
fn pods_reach_each_other_through_frr_over_links_without_ipv4() {
    let switch = Node::new();
    switch.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
         sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    let mut bgp = " no bgp default ipv4-unicast\n".to_owned();
    let mut nodes = vec![];
    for n in [1_u8, 2] {
        let mut node = Speaker::new(n);
        let (near, far) = (format!("2001:db8:f{n}::1/64"), format!("2001:db8:f{n}::2/64"));
        node.wire("up0", &switch, &format!("node{n}"), [&[&near], &[&far]]);
        let asn = 4_200_000_000 + u32::from(n);
        node.configure(&format!(
            "[bgp]\nasn = {asn}\nconnect-retry = 1\ncommunities = [\"65001:{n}\"]\n\
             [[bgp.peer]]\naddress = \"2001:db8:f{n}::2\"\nasn = 65100\n"
        ));
        let peer = format!(" neighbor 2001:db8:f{n}::1");
        bgp.push_str(&format!(
            "{peer} remote-as {asn}\n{peer} capability extended-nexthop\n{peer} timers connect 1\n"
        ));
        node.start();
        nodes.push(node);
    }
    for family in ["ipv4", "ipv6"] {
        bgp.push_str(&format!(
            " address-family {family} unicast\n  neighbor 2001:db8:f1::1 activate\n  \
             neighbor 2001:db8:f2::1 activate\n exit-address-family\n"
        ));
    }
    let frr = Frr::start(switch, &bgp);
    for (node, other) in nodes.iter().zip([2, 1]) {
        node.is_up();
        node.learns(&format!("10.244.{other}.0/24"), 1);
        node.learns(&format!("fd00:10:244:{other}::/64"), 1);
    }
    let route = nodes[0].run("ip route show 10.244.2.0/24");
    assert!(route.contains("via inet6 2001:db8:f1::2 dev up0 proto 119"), "{route}");
    let received = frr.ask("show bgp ipv4 unicast 10.244.1.0/24");
    let path = &received["paths"][0];
    assert_eq!(path["aspath"]["string"], "4200000001", "{received:#}");
    assert_eq!(path["community"]["string"], "65001:1", "{received:#}");
    assert_eq!(path["nexthops"][0]["ip"], "2001:db8:f1::1", "{received:#}");
    let pods = [nodes[0].pod(), nodes[1].pod()];
    ping(&pods[0], &pods[1].v4);
    ping(&pods[0], &pods[1].v6);
    ping(&pods[1], &pods[0].v4);
}
