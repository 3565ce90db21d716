//! eBGP to a pair of top-of-rack switches, which are BIRD.

use crate::bird::Bird;
use crate::speaker::{Member, Speaker, counted};
use crate::stream::Stream;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::within;
use std::time::Duration;

/// Two switches, and nodes with a wire to each.
pub struct Rack {
    pub tors: [Bird; 2],
    pub nodes: Vec<Speaker>,
}

impl Rack {
    /// Everything is up when this returns.
    pub fn new(nodes: u8) -> Rack {
        let mut rack = Rack { tors: [Bird::new(), Bird::new()], nodes: vec![] };
        for n in 1..=nodes {
            let mut node = Speaker::new(n);
            let mut bgp = format!("[bgp]\nasn = {}\nconnect-retry = 1\n", 65000 + u32::from(n));
            for (t, tor) in (1..).zip(&rack.tors) {
                let near =
                    [format!("172.16.{t}.{}/31", 2 * n + 1), format!("2001:db8:{t}:{n}::2/64")];
                let far = [format!("172.16.{t}.{}/31", 2 * n), format!("2001:db8:{t}:{n}::1/64")];
                let (near, far) = (near.each_ref().map(|a| &a[..]), far.each_ref().map(|a| &a[..]));
                node.wire(&format!("up{t}"), tor, &format!("node{n}"), [&near, &far]);
                bgp.push_str(&format!(
                    "[[bgp.peer]]\naddress = \"172.16.{t}.{}\"\nasn = {}\n",
                    2 * n,
                    65100 + t
                ));
            }
            node.configure(&bgp);
            node.start();
            rack.nodes.push(node);
        }
        for t in [1, 2] {
            rack.start_tor(t);
        }
        for node in &rack.nodes {
            node.is_up();
            for other in (1..=nodes).filter(|other| *other != node.n) {
                node.learns(&format!("10.244.{other}.0/24"), 2);
                node.learns(&format!("fd00:10:244:{other}::/64"), 2);
            }
        }
        rack
    }

    fn start_tor(&mut self, t: usize) {
        let peer = |node: &Speaker| {
            let n = node.n;
            format!(
                "protocol bgp node{n} {{
                   local 172.16.{t}.{} as {}; neighbor 172.16.{t}.{} as {}; connect delay time 1;
                   ipv4 {{ import all; export where source = RTS_BGP; }};
                   ipv6 {{ import all; export where source = RTS_BGP; next hop address 2001:db8:{t}:{n}::1; }};
                 }}\n",
                2 * n,
                65100 + t,
                2 * n + 1,
                65000 + u32::from(n)
            )
        };
        let peers: String = self.nodes.iter().map(peer).collect();
        self.tors[t - 1].start(&format!("192.0.2.25{t}"), &peers);
    }
}

/// RFC 4271 section 9.1.2.2 and ECMP: as good up to the tie-breakers, both ways are used.
#[test]
fn flows_spread_over_both_switches_and_outlive_one() {
    let rack = Rack::new(2);
    // Of one address, all would go one way.
    let pods: Vec<Member> = (0..16).map(|_| rack.nodes[0].pod()).collect();
    let b = rack.nodes[1].pod();
    let before = forwarded(&rack);
    for pod in &pods {
        ping(pod, &b.v4);
        ping(pod, &b.v6);
    }
    let after = forwarded(&rack);
    for t in 0..2 {
        assert!(after[t] > before[t], "switch {t} forwards nothing: {before:?} {after:?}");
    }

    // A wire is cut: what flows through it goes on by the other within a second.
    let node = &rack.nodes[0];
    let flows: Vec<Stream> = pods.iter().map(|pod| Stream::start(pod, &pod.v4, &b.v4)).collect();
    let running = within(Duration::from_secs(20), || {
        let now = forwarded(&rack);
        (now[0] > after[0] + 100 && now[1] > after[1] + 100).then_some(())
    });
    assert!(running.is_some(), "the streams do not run over both: {:?}", forwarded(&rack));
    rack.tors[0].run("ip link set node1 down");
    node.until("one next hop", |s| s.hops("10.244.2.0/24") == 1);
    for flow in flows {
        let lost = flow.lost();
        assert!(lost <= 50, "{lost} packets, one in 20 ms, are lost");
    }
    ping(&pods[0], &b.v6);
    node.until("the session is over", |s| s.peer("172.16.1.2")["state"] != "Established");

    // It is mended: both are used again.
    rack.tors[0].sh("ip link set node1 up; ip address replace 2001:db8:1:1::1/64 dev node1 nodad");
    node.learns("10.244.2.0/24", 2);
    node.learns("fd00:10:244:2::/64", 2);
}

/// Packets that each switch forwarded.
fn forwarded(rack: &Rack) -> [u64; 2] {
    rack.tors.each_ref().map(|tor| counted(tor, "snmp", "ForwDatagrams"))
}
