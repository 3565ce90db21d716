//! iBGP with a route reflector, which is BIRD, and four nodes on one link.

use crate::bird::Bird;
use crate::speaker::{Member, Speaker};
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;

/// How sessions and packets of IPv4 go over the link.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Underlay {
    /// Sessions over IPv4; both families have addresses.
    Both,
    /// The link has IPv6 addresses alone: IPv4 goes by next hops of IPv6 (RFC 8950).
    Six,
}

struct Cluster {
    reflector: Bird,
    nodes: Vec<Speaker>,
}

impl Cluster {
    fn new(underlay: Underlay) -> Cluster {
        let mut reflector = Bird::new();
        reflector.sh("ip link add wire address 02:00:00:00:00:fe type bridge
             ip link set wire up
             ip address add 2001:db8:f::fe/64 dev wire");
        if underlay == Underlay::Both {
            reflector.run("ip address add 198.51.100.254/24 dev wire");
        }
        let mut nodes = vec![];
        let mut peers = "protocol direct { ipv4; ipv6; }\n".to_owned();
        for n in 1..=4 {
            let mut node = Speaker::new(n);
            let (four, six) = (format!("198.51.100.{n}/24"), format!("2001:db8:f::{n}/64"));
            let near: &[&str] = if underlay == Underlay::Both { &[&four, &six] } else { &[&six] };
            node.wire("eth0", &reflector, &format!("node{n}"), [near, &[]]);
            reflector.run(&format!("ip link set node{n} master wire"));
            let (local, peer, more) = match underlay {
                Underlay::Both => ("198.51.100.254", format!("198.51.100.{n}"), ""),
                Underlay::Six => {
                    ("2001:db8:f::fe", format!("2001:db8:f::{n}"), "extended next hop on;")
                }
            };
            let export = "import all; export where source = RTS_BGP;";
            peers.push_str(&format!(
                "protocol bgp node{n} {{ local {local} as 65000; neighbor {peer} as 65000;
                   rr client; connect delay time 1;
                   ipv4 {{ {export} {more} }}; ipv6 {{ {export} }}; }}\n"
            ));
            node.configure(&format!(
                "[bgp]\nasn = 65000\nconnect-retry = 1\n\
                 [[bgp.peer]]\naddress = \"{local}\"\nasn = 65000\n"
            ));
            node.start();
            nodes.push(node);
        }
        reflector.start("198.51.100.254", &peers);
        let cluster = Cluster { reflector, nodes };
        cluster.is_up();
        cluster
    }

    fn is_up(&self) {
        for node in &self.nodes {
            node.is_up();
            for n in (1..=4).filter(|n| *n != node.n) {
                node.learns(&format!("10.244.{n}.0/24"), 1);
                node.learns(&format!("fd00:10:244:{n}::/64"), 1);
            }
        }
    }
}

fn all_reach_all(pods: &[Member]) {
    for from in pods {
        for to in pods {
            ping(from, &to.v4);
            ping(from, &to.v6);
        }
    }
}

/// RFC 4271 and 4456: what a client announces, the others learn with its next hop.
#[test]
fn pods_of_four_nodes_reach_each_other() {
    let mut cluster = Cluster::new(Underlay::Both);
    let pods: Vec<Member> = cluster.nodes.iter().map(Speaker::pod).collect();
    all_reach_all(&pods);
    // Directly: the reflector is no hop.
    let route = cluster.nodes[0].run("ip route show 10.244.2.0/24");
    assert!(route.contains("via 198.51.100.2 dev eth0 proto 119"), "{route}");
    let node: serde_json::Value =
        serde_json::from_str(&cluster.nodes[0].run("cat /run/ferrule/node.json")).unwrap();
    assert_eq!((&node["bgp"]["asn"], &node["synced"]), (&65000.into(), &true.into()), "{node}");
    // One that leaves takes its routes with it, and no other's.
    drop(cluster.nodes[3].daemon.take());
    let rest = &cluster.nodes[..3];
    rest.iter().for_each(|node| node.learns("10.244.4.0/24", 0));
    all_reach_all(&pods[..3]);
    // The reflector dies: hold time 90 s, but its end of TCP shows at once.
    cluster.reflector.kill();
    cluster.nodes[0].until("withdrawn", |s| s.learned().is_empty());
}

/// RFC 8950: the link has no IPv4 at all.
#[test]
fn ipv4_goes_over_ipv6_next_hops() {
    let mut cluster = Cluster::new(Underlay::Six);
    let route = cluster.nodes[0].run("ip route show 10.244.2.0/24");
    assert!(route.contains("via inet6 2001:db8:f::2 dev eth0 proto 119"), "{route}");
    let received = cluster.reflector.ask("show route 10.244.1.0/24 all");
    assert!(received.contains("BGP.next_hop: 2001:db8:f::1"), "{received}");
    let pods: Vec<Member> = cluster.nodes.iter().map(Speaker::pod).collect();
    all_reach_all(&pods);
    drop(cluster.nodes[3].daemon.take());
    cluster.nodes[0].learns("10.244.4.0/24", 0);
    cluster.nodes[0].run("ip route add 10.244.4.0/24 via inet6 2001:db8:f::4 proto 119");
    cluster.nodes[0].learns("10.244.4.0/24", 0);
}
