//! What packets to pods must not say of their sender, and who must not send to the tunnel of
//! another node although it is on a node.

use crate::cluster::{ALL, Cluster, Member, node_list};
use crate::guard::{from_pod, udp, udp6};
use ferrule_tests::node::{Place, Pod};
use ferrule_tests::packets::ping;
use ferrule_tests::{raw, within};
use nix::unistd::{Uid, setfsuid};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// How long an expected packet may take: the first one to a place waits until its neighbour is
/// found.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longer than any packet here is on its way, once others have come that way.
const QUIET: Duration = Duration::from_millis(200);
/// The user `nobody`.
const NOBODY: Uid = Uid::from_raw(65534);

/// A pod that listens at one port, of both families.
struct Listener {
    _pod: Pod,
    four: Ipv4Addr,
    six: Ipv6Addr,
    ear: UdpSocket,
}

impl Listener {
    fn on(member: &Member) -> Listener {
        let (pod, addresses) = member.pod();
        let ear = pod.ns().enter(|| UdpSocket::bind("[::]:0")).unwrap();
        let address = |at: usize| addresses[at].parse::<IpAddr>().unwrap();
        let (IpAddr::V4(four), IpAddr::V6(six)) = (address(0), address(1)) else {
            panic!("{addresses:?}");
        };
        Listener { _pod: pod, four, six, ear }
    }

    fn port(&self) -> u16 {
        self.ear.local_addr().unwrap().port()
    }

    /// Packets for it, one of each family, that carry `word` and name this source.
    fn packets(&self, four: &str, six: &str, word: &str) -> [Vec<u8>; 2] {
        let (four, six) = (four.parse().unwrap(), six.parse().unwrap());
        let port = self.port();
        [
            udp(four, self.four, port, format!("{word} 4").as_bytes()),
            udp6(six, self.six, port, format!("{word} 6").as_bytes()),
        ]
    }

    /// The words that come until nothing more does; the first may take `time`.
    fn receives(&self, time: Duration) -> Vec<String> {
        let mut words = Vec::new();
        let mut time = time;
        loop {
            self.ear.set_read_timeout(Some(time)).unwrap();
            let mut word = [0; 64];
            match self.ear.recv(&mut word) {
                Ok(length) => {
                    words.push(String::from_utf8_lossy(&word[..length]).into_owned());
                    time = QUIET;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return words,
            }
        }
    }

    /// What a place says by ordinary means.
    fn receives_from(&self, place: &impl Place, word: &str) {
        for to in [IpAddr::from(self.four), self.six.into()] {
            let socket = place.ns().enter(|| UdpSocket::bind("[::]:0")).unwrap();
            let mapped = match to {
                IpAddr::V4(four) => four.to_ipv6_mapped(),
                IpAddr::V6(six) => six,
            };
            socket.send_to(word.as_bytes(), (mapped, self.port())).unwrap();
        }
        let reported = || (self.receives(PATIENCE).len() >= 2).then_some(());
        assert!(reported().is_some(), "{word} does not get through");
    }
}

/// An Ethernet frame for a link of a member, from a machine beside it.
fn to_link(member: &Member, link: &str, packet: &[u8]) -> Vec<u8> {
    let link = member.node.link(link).unwrap();
    let to = raw::mac(link["address"].as_str().unwrap());
    let kind = if packet[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&to[..], &[2, 0, 0, 0, 0, 9], &kind, packet].concat()
}

/// Reverse-path filters of the distribution do not help.
fn without_rp_filter(cluster: &Cluster) {
    for member in &cluster.members {
        member.node.sh("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done");
    }
}

#[test]
fn a_stranger_on_the_underlay_does_not_pass_for_a_pod() {
    let cluster = Cluster::with("mode = \"vxlan\"", &ALL);
    without_rp_filter(&cluster);
    let stranger = cluster.plug_in("stranger", 'a', 77);
    let pods: Vec<_> = cluster.members.iter().map(Member::pod).collect();
    let near = Listener::on(&cluster.members[0]);
    let far = Listener::on(&cluster.members[2]);
    near.receives_from(&pods[2].0, "a pod");
    far.receives_from(&pods[0].0, "a pod");
    // A pod of the second node, a pod that is not there, and a pod of the first node itself.
    let sources = [("10.244.2.2", "fd00:10:244:2::2"), ("10.244.3.99", "fd00:10:244:3::99")];
    for (four, six) in sources {
        for listener in [&near, &far] {
            for packet in listener.packets(four, six, "forged") {
                raw::send(&stranger, "eth0", &to_link(&cluster.members[0], "eth0", &packet));
            }
            assert_eq!(listener.receives(QUIET), [] as [&str; 0], "{four}");
        }
    }
    // The same datagram arrives where nothing blocks it.
    let mut cluster = cluster;
    cluster.members[0].kill();
    cluster.members[0].node.run("nft delete table inet ferrule");
    for packet in near.packets("10.244.2.2", "fd00:10:244:2::2", "forged") {
        raw::send(&stranger, "eth0", &to_link(&cluster.members[0], "eth0", &packet));
    }
    assert_eq!(near.receives(PATIENCE).len(), 2, "the frames are no good");
}

/// Routes to nodes on the link are plain: who is on another link cannot be on the way.
#[test]
fn where_routes_are_plain_another_link_is_no_way_in() {
    let cluster = Cluster::with("mode = \"auto\"", &["one", "two"]);
    without_rp_filter(&cluster);
    let listener = Listener::on(&cluster.members[0]);
    let (pod, _) = cluster.members[1].pod();
    listener.receives_from(&pod, "a pod");
    let one = &cluster.members[0];
    let beyond = ferrule_tests::node::Node::new();
    one.node.sh(&format!(
        "ip link add public type veth peer name eth0 netns {}
         ip link set public up; ip address add 203.0.113.77/24 dev public",
        beyond.ns().net_path().display()
    ));
    beyond.sh("ip link set eth0 up");
    beyond.settle();
    for packet in listener.packets("10.244.2.2", "fd00:10:244:2::2", "forged") {
        raw::send(&beyond, "eth0", &to_link(one, "public", &packet));
    }
    assert_eq!(listener.receives(QUIET), [] as [&str; 0]);
}

#[test]
fn a_pod_sends_to_other_nodes_with_no_source_but_its_nodes() {
    let cluster = Cluster::new();
    without_rp_filter(&cluster);
    let listener = Listener::on(&cluster.members[0]);
    for member in &cluster.members[1..] {
        let (pod, _) = member.pod();
        listener.receives_from(&pod, "a pod");
        let at = if member.name == "two" { 2 } else { 3 };
        let third = 5 - at;
        let sources = [
            // A third node's pod, and a pod of the receiver.
            (format!("10.244.{third}.77"), format!("fd00:10:244:{third}::77")),
            ("10.244.1.77".to_owned(), "fd00:10:244:1::77".to_owned()),
            // The node itself and its bridge, another machine, and no address.
            ("192.0.2.2".to_owned(), "2001:db8:a::2".to_owned()),
            (format!("10.244.{at}.1"), "2001:db8:b::3".to_owned()),
            ("203.0.113.9".to_owned(), "2001:db8:ffff::9".to_owned()),
        ];
        for (four, six) in sources {
            // The bridge's own address is a source that IPv4 itself refuses.
            for packet in listener.packets(&four, &six, &format!("{four} of {}", member.name)) {
                raw::send(&pod, "eth0", &from_pod(member, &packet));
            }
        }
        assert_eq!(listener.receives(QUIET), [] as [&str; 0]);
    }
}

/// The frame that the tunnel of the first node would take, sent by a process of another node.
fn datagram(listener: &Listener, vtep: raw::Mac, word: &str) -> Vec<u8> {
    let packet =
        udp(Ipv4Addr::new(10, 244, 3, 77), listener.four, listener.port(), word.as_bytes());
    [&[8, 0, 0, 0, 0, 0, 100, 0][..], &vtep, &[2, 0, 0, 0, 0, 1], &[8, 0], &packet].concat()
}

#[test]
fn an_unprivileged_process_does_not_send_to_another_nodes_tunnel() {
    let cluster = Cluster::new();
    let listener = Listener::on(&cluster.members[0]);
    let link = cluster.members[0].node.link("fvxlan.100").unwrap();
    let vtep = raw::mac(link["address"].as_str().unwrap());
    let third = &cluster.members[2].node;
    let send = |user: Option<Uid>, word: &str| {
        third.ns().enter(|| {
            user.map(setfsuid);
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            // The kernel says EPERM.
            let _ = socket.send_to(&datagram(&listener, vtep, word), ("192.0.2.1", 4789));
        });
    };
    send(None, "root");
    assert_eq!(listener.receives(PATIENCE), ["root"]);
    send(Some(NOBODY), "nobody");
    assert_eq!(listener.receives(QUIET), [] as [&str; 0]);
}

/// Tunnel packets of a local process carry its socket as datagrams of its own would.
#[test]
fn an_unprivileged_process_reaches_other_nodes_pods() {
    let cluster = Cluster::with("mode = \"vxlan\"", &ALL);
    let (pod, addresses) = cluster.members[2].pod();
    let one = &cluster.members[0].node;
    for address in &addresses {
        ping(one, address);
        let listener = pod.ns().enter(|| TcpListener::bind((address.as_str(), 0))).unwrap();
        let to = listener.local_addr().unwrap();
        let connected = one.ns().enter(|| {
            setfsuid(NOBODY);
            TcpStream::connect_timeout(&to, PATIENCE).map(drop)
        });
        assert!(connected.is_ok(), "{address}: {connected:?}");
        let ear = pod.ns().enter(|| UdpSocket::bind((address.as_str(), 4789))).unwrap();
        ear.set_read_timeout(Some(PATIENCE)).unwrap();
        one.ns().enter(|| {
            setfsuid(NOBODY);
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.send_to(b"word", (address.as_str(), 4789)).unwrap();
        });
        assert!(ear.recv(&mut [0; 8]).is_ok(), "{address}");
        // A Service's address: DNAT changes the way after the packet has left its socket.
        if to.is_ipv4() {
            one.sh(&format!(
                "nft add table ip service
                 nft add chain ip service out '{{ type nat hook output priority -100; }}'
                 nft add rule ip service out ip daddr 10.96.0.10 dnat to {address}"
            ));
            let service = one.ns().enter(|| {
                setfsuid(NOBODY);
                TcpStream::connect_timeout(
                    &(Ipv4Addr::new(10, 96, 0, 10), to.port()).into(),
                    PATIENCE,
                )
                .map(drop)
            });
            assert!(service.is_ok(), "{service:?}");
        }
    }
}

/// The sets follow the node set and the pods' links.
#[test]
fn what_pods_may_send_from_follows_the_node_set() {
    let cluster = Cluster::new();
    let one = &cluster.members[0];
    let (_pod, _) = one.pod();
    let has = |set: &str, element: &str| {
        one.node.run(&format!("nft list set inet ferrule {set}")).contains(element)
    };
    let linked = || has("pod-links", "\"cni0\"").then_some(());
    within(PATIENCE, linked).expect("the pods' bridge is a link of pods");
    assert!(has("remote-pods4", "10.244.2.0/23"), "the other nodes' pods");
    cluster.write_nodes(&node_list(&["one", "two"]));
    let left = || (!has("remote-pods4", "10.244.2.0/23")).then_some(());
    within(PATIENCE, left).expect("a node that left has no pods");
}
