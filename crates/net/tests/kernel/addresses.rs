//! Addresses.

use crate::common::{NEAR, in_netns, ip, ip_in, look, new_bridge, open, pod};
use crate::socket::PATIENCE;
use ipnetwork::IpNetwork;
use net::address::{self, Address};
use net::{Mac, Socket, link};
use std::net::Ipv6Addr;

fn cidr(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn find(socket: &mut Socket, link: u32, text: &str) -> Option<Address> {
    let all = socket.list(&address::of_link(link)).unwrap();
    all.into_iter().find(|found| found.address == cidr(text))
}

#[test]
fn ipv4_gets_the_broadcast_address_that_its_prefix_has() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        for (text, broadcast) in [
            ("10.1.2.3/24", Some("10.1.2.255")),
            ("10.9.2.3/12", Some("10.15.255.255")),
            ("10.2.0.1/30", Some("10.2.0.3")),
            ("10.3.0.0/31", None),
            ("10.4.0.1/32", None),
        ] {
            socket.set(&address::add(index, cidr(text), false)).unwrap();
            let shown = ip(&format!("-o addr show dev br to {text}"));
            match broadcast {
                Some(broadcast) => {
                    assert!(shown.contains(&format!(" brd {broadcast} ")), "{shown}");
                }
                None => assert!(!shown.contains(" brd "), "{shown}"),
            }
            assert!(shown.contains(" scope global "), "{shown}");
            let found = find(&mut socket, index, text).unwrap();
            assert!(found.global && !found.tentative && found.link == index, "{found:?}");
        }
    });
}

/// Each namespace has a link of index 2, and its own addresses: those of the other are shown.
#[test]
fn addresses_are_seen_from_the_other_end() {
    in_netns(|| {
        let mut socket = open();
        let (_netns, mut inside, far) = pod(&mut socket);
        let near = look(&mut socket, "near");
        assert_eq!(near.peer, far);
        let other = socket.get(&link::by_index(far)).unwrap().expect("the index is taken here");
        socket.set(&address::add(other.index, cidr("192.0.2.1/24"), false)).unwrap();
        let mut wanted = [cidr("10.1.0.2/24"), cidr("fd00:1::2/64")];
        for address in wanted {
            inside.set(&address::add(far, address, false)).unwrap();
        }
        let verb = address::of_link_elsewhere(near.peer_netns.unwrap(), near.peer);
        let seen = socket.list(&verb).unwrap().into_iter();
        let mut seen: Vec<_> = seen.filter(|a| a.global).map(|a| a.address).collect();
        seen.sort();
        wanted.sort();
        assert_eq!(seen, wanted);
        let unknown = socket.list(&address::of_link_elsewhere(4711, near.peer)).unwrap_err();
        assert_eq!(unknown.what, "list addresses in network namespace 4711");
    });
}

#[test]
fn loopback_addresses_are_of_host_scope() {
    in_netns(|| {
        let mut socket = open();
        let index = look(&mut socket, "lo").index;
        socket.set(&address::add(index, cidr("127.0.0.1/8"), false)).unwrap();
        socket.set(&address::add(index, cidr("::1/128"), false)).unwrap();
        let shown = ip("-o addr show dev lo");
        assert_eq!(shown.matches(" scope host ").count(), 2, "{shown}");
        assert!(!find(&mut socket, index, "127.0.0.1/8").unwrap().global);
        assert!(!find(&mut socket, index, "::1/128").unwrap().global);
    });
}

#[test]
fn ipv6_waits_for_nothing_unless_asked_to() {
    in_netns(|| {
        let mut socket = open();
        let (netns, mut inside, far) = pod(&mut socket);
        inside.wait(&link::by_name("far"), "see far run", PATIENCE, |l| l.running).unwrap();
        inside.set(&address::add(far, cidr("fd00::2/64"), false)).unwrap();
        inside.set(&address::add(far, cidr("fd00::3/64"), true)).unwrap();
        assert!(!find(&mut inside, far, "fd00::2/64").unwrap().tentative);
        assert!(find(&mut inside, far, "fd00::3/64").unwrap().tentative);
        assert!(ip_in(&netns, "-o addr show to fd00::2").contains(" nodad "));
        assert!(!ip_in(&netns, "-o addr show to fd00::3").contains(" nodad "));
        let all = inside
            .wait_all(&address::of_link(far), "settle", PATIENCE, |all| {
                all.iter().all(|found| !found.tentative)
            })
            .unwrap();
        let ours = all.iter().filter(|found| found.global);
        assert_eq!(ours.filter(|found| !found.dad_failed).count(), 2, "{all:?}");
    });
}

#[test]
fn a_duplicate_is_reported() {
    in_netns(|| {
        let mut socket = open();
        let (_netns, mut inside, far) = pod(&mut socket);
        let bridge = look(&mut socket, "br").index;
        socket.set(&address::add(bridge, cidr("fd00::2/64"), false)).unwrap();
        // Only one who listens defends its address.
        let group = address::solicited_node("fd00::2".parse().unwrap());
        let listens = |groups: &[Ipv6Addr]| groups.contains(&group);
        socket.wait_all(&address::groups_of_link(bridge), "join", PATIENCE, listens).unwrap();
        for name in ["br", "near"] {
            socket.wait(&link::by_name(name), "run", PATIENCE, |l| l.running).unwrap();
        }
        inside.set(&address::add(far, cidr("fd00::2/64"), true)).unwrap();
        let settled = |all: &[Address]| {
            all.iter()
                .filter(|found| found.global)
                .all(|found| !found.tentative || found.dad_failed)
        };
        inside.wait_all(&address::of_link(far), "settle", PATIENCE, settled).unwrap();
        assert!(find(&mut inside, far, "fd00::2/64").unwrap().dad_failed);
    });
}

#[test]
fn an_address_is_added_once_and_removed_once() {
    in_netns(|| {
        let mut socket = open();
        let index = new_bridge(&mut socket, "br");
        for text in ["10.1.2.3/24", "fd00::1/64"] {
            let (add, del) =
                (address::add(index, cidr(text), false), address::del(index, cidr(text)));
            let none = socket.set(&del).unwrap_err();
            assert!(none.is_gone(), "{none}");
            assert!(none.to_string().starts_with(&format!("remove address {text}: ")), "{none}");
            socket.set(&add).unwrap();
            let again = socket.set(&add).unwrap_err();
            assert!(again.is_exists(), "{again}");
            socket.set(&del).unwrap();
            assert_eq!(find(&mut socket, index, text), None);
        }
        let gone = socket.set(&address::add(9999, cidr("10.1.2.3/24"), false)).unwrap_err();
        assert!(gone.is_gone(), "{gone}");
    });
}

#[test]
fn the_lists_are_of_one_link() {
    in_netns(|| {
        let mut socket = open();
        let (one, two) = (new_bridge(&mut socket, "one"), new_bridge(&mut socket, "two"));
        let pairs = [(one, "10.1.0.1/24", "fd01::1:1"), (two, "10.2.0.1/24", "fd02::2:2")];
        for (index, v4, v6) in pairs {
            socket.set(&address::add(index, cidr(v4), false)).unwrap();
            socket.set(&address::add(index, cidr(&format!("{v6}/64")), false)).unwrap();
        }
        for (index, v4, v6) in pairs {
            let all = socket.list(&address::of_link(index)).unwrap();
            assert!(all.iter().all(|found| found.link == index), "{all:?}");
            let texts: Vec<_> =
                all.iter().filter(|a| a.global).map(|a| a.address.to_string()).collect();
            assert_eq!(texts, [v4.to_owned(), format!("{v6}/64")]);
            let own = address::solicited_node(v6.parse().unwrap());
            let groups = socket
                .wait_all(&address::groups_of_link(index), "join", PATIENCE, |groups| {
                    groups.contains(&own)
                })
                .unwrap();
            let others = pairs.iter().filter(|(other, ..)| *other != index);
            for (_, _, other) in others {
                assert!(!groups.contains(&address::solicited_node(other.parse().unwrap())));
            }
        }
    });
}

#[test]
fn a_mac_that_is_set_again_is_announced() {
    in_netns(|| {
        let mut socket = open();
        let (netns, mut inside, far) = pod(&mut socket);
        let bridge = look(&mut socket, "br").index;
        socket.set(&address::add(bridge, cidr("10.1.0.1/24"), false)).unwrap();
        inside.set(&address::add(far, cidr("10.1.0.2/24"), false)).unwrap();
        netns.enter(|| net::sysctl::set("net/ipv4/conf/far/arp_notify", "1")).unwrap();
        for (socket, name) in [(&mut socket, "br"), (&mut inside, "far")] {
            socket.wait(&link::by_name(name), "run", PATIENCE, |l| l.running).unwrap();
        }
        // A neighbour that remembers the address's previous owner.
        ip(&format!("neigh replace 10.1.0.2 lladdr {NEAR} dev br nud stale"));
        let mac: Mac = look(&mut inside, "far").mac;
        inside.set(&link::set_mac(far, mac, "far")).unwrap();
        // A gratuitous ARP passes a veth pair and a bridge within the call that sends it, but
        // for the receiver's softirq.
        let deadline = std::time::Instant::now() + PATIENCE;
        while !ip("neigh show 10.1.0.2").contains(&mac.to_string()) {
            assert!(std::time::Instant::now() < deadline, "{}", ip("neigh show"));
        }
    });
}
