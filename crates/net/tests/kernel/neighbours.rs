//! Neighbours and FDB entries.

use crate::common::{FAR, NEAR, bridge, in_netns, ip, new_bridge, new_vxlan, open};
use net::fdb::{self, FdbEntry};
use net::neighbour::{self, Neighbour};
use net::{Mac, Socket, address};
use std::net::IpAddr;

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The permanent ones that the test set; the kernel adds multicast groups.
fn set_ones(socket: &mut Socket, link: u32, v6: bool) -> Vec<Neighbour> {
    let all = socket.list(&neighbour::of_link(link, v6)).unwrap();
    all.into_iter().filter(|found| found.permanent).collect()
}

#[test]
fn neighbours_are_set_changed_listed_and_removed() {
    in_netns(|| {
        let mut socket = open();
        let link = new_bridge(&mut socket, "br");
        let other = new_bridge(&mut socket, "other");
        for text in ["10.9.0.0", "fe80::56ff:fe00:1"] {
            let address = addr(text);
            let v6 = address.is_ipv6();
            let first = Neighbour { link, address, mac: NEAR, permanent: true };
            let elsewhere = Neighbour { link: other, ..first };
            let second = Neighbour { mac: FAR, ..first };
            socket.set(&neighbour::replace(&elsewhere)).unwrap();
            for wanted in [first, second] {
                socket.set(&neighbour::replace(&wanted)).unwrap();
                assert_eq!(set_ones(&mut socket, link, v6), [wanted]);
                let shown = ip(&format!("neigh show {text} dev br"));
                assert_eq!(shown.trim(), format!("{text} lladdr {} PERMANENT", wanted.mac));
            }
            socket.set(&neighbour::del(&first)).unwrap();
            assert_eq!(set_ones(&mut socket, link, v6), []);
            assert!(socket.set(&neighbour::del(&first)).unwrap_err().is_gone());
            assert_eq!(set_ones(&mut socket, other, v6), [elsewhere]);
        }
    });
}

#[test]
fn a_learned_neighbour_is_not_permanent_and_becomes_so() {
    in_netns(|| {
        let mut socket = open();
        let link = new_bridge(&mut socket, "br");
        ip("neigh add 10.9.0.1 lladdr 02:00:00:00:00:01 dev br nud stale");
        let learned = Neighbour { link, address: addr("10.9.0.1"), mac: NEAR, permanent: false };
        // There are multicast groups as well.
        let list = neighbour::of_link(link, false);
        assert!(socket.list(&list).unwrap().contains(&learned));
        socket.set(&neighbour::replace(&learned)).unwrap();
        let set = Neighbour { permanent: true, ..learned };
        assert_eq!(set_ones(&mut socket, link, false), [set]);
    });
}

#[test]
fn fdb_entries_are_set_changed_listed_and_removed() {
    in_netns(|| {
        let mut socket = open();
        let underlay = new_bridge(&mut socket, "br");
        for (local, first, second, foreign) in [
            ("192.0.2.1", "192.0.2.2", "192.0.2.3", "fd00::2"),
            ("fd00::1", "fd00::2", "fd00::3", "192.0.2.2"),
        ] {
            let link = new_vxlan(&mut socket, "vx", underlay, local);
            let list = fdb::of_link(link);
            let entry = |dst| FdbEntry { link, mac: FAR, dst: Some(addr(dst)), permanent: true };
            for wanted in [entry(first), entry(second)] {
                socket.set(&fdb::replace(&wanted)).unwrap();
                assert_eq!(socket.list(&list).unwrap(), [wanted]);
            }
            let shown = bridge("fdb show dev vx");
            assert_eq!(shown.trim(), format!("{FAR} dst {second} self permanent"));
            let error = socket.set(&fdb::replace(&entry(foreign))).unwrap_err();
            assert!(error.is_unsupported(), "{error}");
            // Wherever it leads.
            socket.set(&fdb::del(&entry(first))).unwrap();
            assert_eq!(socket.list(&list).unwrap(), []);
            assert!(socket.set(&fdb::del(&entry(second))).unwrap_err().is_gone());
            socket.set(&net::link::del(link, "vx")).unwrap();
        }
    });
}

#[test]
fn the_entries_of_a_bridge_are_not_the_devices() {
    in_netns(|| {
        let mut socket = open();
        let underlay = new_bridge(&mut socket, "br");
        let link = new_vxlan(&mut socket, "vx", underlay, "192.0.2.1");
        ip("link add over type bridge");
        ip("link set vx master over");
        bridge("fdb add 02:00:00:00:00:07 dev vx master static");
        let mac = Mac([2, 0, 0, 0, 0, 8]);
        let own = FdbEntry { link, mac, dst: Some(addr("192.0.2.2")), permanent: true };
        socket.set(&fdb::replace(&own)).unwrap();
        assert!(bridge("fdb show dev vx").contains("02:00:00:00:00:07"));
        assert_eq!(socket.list(&fdb::of_link(link)).unwrap(), [own]);
    });
}

#[test]
fn host_addresses_are_usable_at_once_and_alone() {
    in_netns(|| {
        let mut socket = open();
        let underlay = new_bridge(&mut socket, "br");
        let link = new_vxlan(&mut socket, "vx", underlay, "192.0.2.1");
        for text in ["10.9.0.0", "fd00:9::"] {
            socket.set(&address::add_host(link, addr(text))).unwrap();
            let again = socket.set(&address::add_host(link, addr(text))).unwrap_err();
            assert!(again.is_exists(), "{again}");
            let all = socket.list(&address::list()).unwrap();
            let found = all.iter().find(|found| found.address.ip() == addr(text)).unwrap();
            assert!(found.link == link && found.global && !found.tentative, "{found:?}");
            assert_eq!(found.address, ipnetwork::IpNetwork::from(addr(text)));
            let family = if text.contains(':') { "-6" } else { "-4" };
            let routes = ip(&format!("{family} route show {text}"));
            assert_eq!(routes, "", "none in the main table");
            socket.set(&address::del(link, found.address)).unwrap();
        }
        assert!(socket.list(&address::list()).unwrap().iter().all(|found| !found.global));
    });
}
